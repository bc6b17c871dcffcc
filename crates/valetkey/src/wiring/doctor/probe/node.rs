//! Node: `fetch` and the module `https`. Both read the proxy from the environment from Node 24 on.

use super::{PLAIN, Probe};

const MEND: &str = "this Node ignores HTTPS_PROXY: Node 24 and later honour it (NODE_USE_ENV_PROXY=1 is set); with an older one use \
                    undici's EnvHttpProxyAgent, or a proxy agent of the client";

pub(super) const FETCH: Probe = Probe {
    subject: "node fetch",
    programs: &["node"],
    files: &[(
        "probe.mjs",
        "const headers = { authorization: 'Bearer ' + process.env.DOCTOR_TOKEN };
console.log(await (await fetch('https://probe.valetkey.test/user', { headers })).text());
",
    )],
    script: r#"exec "$PROGRAM" probe.mjs"#,
    mend: MEND,
    ..PLAIN
};

pub(super) const HTTPS: Probe = Probe {
    subject: "node https",
    files: &[(
        "probe.mjs",
        "import https from 'node:https';
const headers = { authorization: 'Bearer ' + process.env.DOCTOR_TOKEN };
https.get('https://probe.valetkey.test/user', { headers }, (answer) => answer.pipe(process.stdout));
",
    )],
    ..FETCH
};
