//! Deno.

use super::{PLAIN, Probe};

pub(super) const DENO: Probe = Probe {
    subject: "deno fetch",
    programs: &["deno"],
    files: &[(
        "probe.js",
        "const headers = { authorization: 'Bearer ' + Deno.env.get('DOCTOR_TOKEN') };
console.log(await (await fetch('https://probe.valetkey.test/user', { headers })).text());
",
    )],
    script: r#"exec "$PROGRAM" run --allow-net --allow-env probe.js"#,
    mend: "this Deno honours neither HTTPS_PROXY nor DENO_CERT; DENO_TLS_CA_STORE=system,mozilla adds the system's roots",
    ..PLAIN
};
