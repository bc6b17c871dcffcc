//! GitHub's command line, a Go program.

use super::{PLAIN, Probe};

pub(super) const GH: Probe = Probe {
    subject: "gh",
    programs: &["gh"],
    script: r#"export GH_CONFIG_DIR="$PWD" GH_ENTERPRISE_TOKEN="$DOCTOR_TOKEN" GH_NO_UPDATE_NOTIFIER=1
exec "$PROGRAM" api --hostname probe.valetkey.test user"#,
    mend: "this gh honours neither HTTPS_PROXY nor SSL_CERT_FILE; on macOS trust the session's certificate in the keychain",
    ..PLAIN
};
