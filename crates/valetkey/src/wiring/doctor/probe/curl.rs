//! curl.

use super::{PLAIN, Probe};

pub(super) const CURL: Probe = Probe {
    subject: "curl",
    programs: &["curl"],
    script: r#"exec "$PROGRAM" -sS -H "Authorization: Bearer $DOCTOR_TOKEN" https://probe.valetkey.test/user"#,
    mend: "this curl honours neither HTTPS_PROXY nor CURL_CA_BUNDLE, or ~/.curlrc says otherwise; use one linked with OpenSSL or \
           GnuTLS",
    ..PLAIN
};
