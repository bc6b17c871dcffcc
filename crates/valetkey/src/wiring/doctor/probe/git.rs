//! git over HTTPS, with a credential helper that knows the token of the environment.

use super::{PLAIN, Probe};

pub(super) const GIT: Probe = Probe {
    subject: "git",
    programs: &["git"],
    script: r#"export GIT_TERMINAL_PROMPT=0
exec "$PROGRAM" -c credential.helper= -c credential.helper='!f() { echo username=doctor; echo "password=$DOCTOR_TOKEN"; }; f' \
    ls-remote https://basic.valetkey.test/probe.git"#,
    mend: "this git honours neither HTTPS_PROXY nor GIT_SSL_CAINFO; look at `git config --get-regexp 'http.*'` for a proxy or \
           certificates of its own",
    ..PLAIN
};
