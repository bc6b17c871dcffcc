//! npm with a registry that wants a token.

use super::{PLAIN, Probe};

pub(super) const NPM: Probe = Probe {
    subject: "npm",
    programs: &["npm"],
    files: &[
        ("package.json", "{}\n"),
        (
            ".npmrc",
            "registry=https://probe.valetkey.test/npm/\n//probe.valetkey.test/npm/:_authToken=${DOCTOR_TOKEN}\n",
        ),
    ],
    script: r#"export NPM_CONFIG_CACHE="$PWD/cache" NPM_CONFIG_UPDATE_NOTIFIER=false NPM_CONFIG_FETCH_RETRIES=0
exec "$PROGRAM" whoami"#,
    mend: "this npm honours neither HTTPS_PROXY nor NPM_CONFIG_CAFILE; look at `npm config ls` for `proxy`, `https-proxy` and `cafile`",
    ..PLAIN
};
