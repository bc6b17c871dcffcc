//! Python: its own library, and three that most programs use.

use super::{PLAIN, Probe};

const PROGRAMS: &[&str] = &["python3", "python"];

pub(super) const URLLIB: Probe = Probe {
    subject: "python3 urllib",
    programs: PROGRAMS,
    files: &[("probe.py", "import os, urllib.request as u
request = u.Request('https://probe.valetkey.test/user', headers={'Authorization': 'Bearer ' + os.environ['DOCTOR_TOKEN']})
print(u.urlopen(request).read().decode())
")],
    script: r#"exec "$PROGRAM" probe.py"#,
    mend: "this Python honours neither HTTPS_PROXY nor SSL_CERT_FILE; some builds bring roots of their own: use the system's",
    ..PLAIN
};

pub(super) const REQUESTS: Probe = Probe {
    subject: "python3 requests",
    programs: PROGRAMS,
    needs: r#""$PROGRAM" -c "import requests""#,
    version: r#""$PROGRAM" -c "import requests; print(requests.__version__)""#,
    files: &[("probe.py", "import os, requests
print(requests.get('https://probe.valetkey.test/user', headers={'Authorization': 'Bearer ' + os.environ['DOCTOR_TOKEN']}).text)
")],
    script: r#"exec "$PROGRAM" probe.py"#,
    mend: "requests honours REQUESTS_CA_BUNDLE and HTTPS_PROXY unless the program sets `verify`, `proxies` or `trust_env` itself",
    ..PLAIN
};

pub(super) const HTTPX: Probe = Probe {
    subject: "python3 httpx",
    programs: PROGRAMS,
    needs: r#""$PROGRAM" -c "import httpx""#,
    version: r#""$PROGRAM" -c "import httpx; print(httpx.__version__)""#,
    files: &[("probe.py", "import os, httpx
print(httpx.get('https://probe.valetkey.test/user', headers={'Authorization': 'Bearer ' + os.environ['DOCTOR_TOKEN']}).text)
")],
    script: r#"exec "$PROGRAM" probe.py"#,
    mend: "httpx honours SSL_CERT_FILE and HTTPS_PROXY unless the program sets `verify`, `mounts` or `trust_env=False`",
    ..PLAIN
};

pub(super) const AIOHTTP: Probe = Probe {
    subject: "python3 aiohttp",
    programs: PROGRAMS,
    needs: r#""$PROGRAM" -c "import aiohttp""#,
    version: r#""$PROGRAM" -c "import aiohttp; print(aiohttp.__version__)""#,
    files: &[(
        "probe.py",
        "import aiohttp, asyncio, os
async def main():
    async with aiohttp.ClientSession() as session:
        headers = {'Authorization': 'Bearer ' + os.environ['DOCTOR_TOKEN']}
        async with session.get('https://probe.valetkey.test/user', headers=headers) as answer:
            print(await answer.text())
asyncio.run(main())
",
    )],
    script: r#"exec "$PROGRAM" probe.py"#,
    mend: "aiohttp ignores HTTPS_PROXY unless it is told: write ClientSession(trust_env=True)",
    ..PLAIN
};

pub(super) const AIOHTTP_TRUSTING: Probe = Probe {
    subject: "python3 aiohttp, trust_env=True",
    files: &[(
        "probe.py",
        "import aiohttp, asyncio, os
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session:
        headers = {'Authorization': 'Bearer ' + os.environ['DOCTOR_TOKEN']}
        async with session.get('https://probe.valetkey.test/user', headers=headers) as answer:
            print(await answer.text())
asyncio.run(main())
",
    )],
    mend: "this aiohttp does not honour SSL_CERT_FILE; a program that makes an SSL context of its own must load it",
    ..AIOHTTP
};
