//! A Go program, built as it is started.

use super::{PLAIN, Probe};

pub(super) const GO: Probe = Probe {
    subject: "go net/http",
    programs: &["go"],
    version: r#""$PROGRAM" version"#,
    files: &[(
        "probe.go",
        "package main

import (
\t\"io\"
\t\"net/http\"
\t\"os\"
)

func main() {
\trequest, _ := http.NewRequest(\"GET\", \"https://probe.valetkey.test/user\", nil)
\trequest.Header.Set(\"Authorization\", \"Bearer \"+os.Getenv(\"DOCTOR_TOKEN\"))
\tanswer, err := http.DefaultClient.Do(request)
\tif err != nil {
\t\tpanic(err)
\t}
\tio.Copy(os.Stdout, answer.Body)
}
",
    )],
    script: r#"exec "$PROGRAM" run probe.go"#,
    mend: "Go honours HTTPS_PROXY and, on Linux, SSL_CERT_FILE unless the program makes a Transport or a pool of its own; on macOS \
           trust the session's certificate in the keychain",
    ..PLAIN
};
