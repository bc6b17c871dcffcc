//! Chromium without a window. A page is loaded without a token: what is proven is trust and the proxy.

use super::{PLAIN, Probe};

pub(super) const CHROMIUM: Probe = Probe {
    subject: "chromium",
    programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    script: r#"exec timeout 30 "$PROGRAM" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$PWD/profile" \
    --dump-dom https://open.valetkey.test/page"#,
    swaps: false,
    mend: "Chromium sends no password to a proxy unasked and trusts its own store: start it with a driver that answers for the proxy \
           (Playwright: `proxy: { server, username, password }`, `ignoreHTTPSErrors`), or import $SSL_CERT_FILE with certutil",
    ..PLAIN
};
