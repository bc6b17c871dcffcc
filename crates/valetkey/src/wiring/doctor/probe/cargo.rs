//! cargo with a registry that wants a token, in a folder of its own.

use super::{PLAIN, Probe};

pub(super) const CARGO: Probe = Probe {
    subject: "cargo",
    programs: &["cargo"],
    script: r#"export CARGO_HOME="$PWD/home" CARGO_REGISTRIES_PROBE_TOKEN="$DOCTOR_TOKEN"
export CARGO_REGISTRIES_PROBE_INDEX=sparse+https://raw.valetkey.test/index/
export CARGO_REGISTRIES_PROBE_CREDENTIAL_PROVIDER=cargo:token CARGO_NET_RETRY=0
exec "$PROGRAM" owner --list --registry probe probe"#,
    mend: "this cargo honours neither HTTPS_PROXY nor CARGO_HTTP_CAINFO; look at `[http]` in ~/.cargo/config.toml for a proxy of its \
           own",
    ..PLAIN
};
