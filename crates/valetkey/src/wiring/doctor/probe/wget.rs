//! GNU wget: it reads the proxy from its environment, the certificates from the `wgetrc` that SYSTEM_WGETRC names.

use super::{PLAIN, Probe};

pub(super) const WGET: Probe = Probe {
    subject: "wget",
    programs: &["wget"],
    script: r#"exec "$PROGRAM" -q -O - --tries=1 --header="Authorization: Bearer $DOCTOR_TOKEN" https://probe.valetkey.test/user"#,
    mend: "this wget honours neither https_proxy nor SYSTEM_WGETRC, or ~/.wgetrc names other certificates: give it \
           --ca-certificate=\"$SSL_CERT_FILE\"",
    ..PLAIN
};
