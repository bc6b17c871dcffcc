//! pip with an index that wants a token.

use super::{PLAIN, Probe};

pub(super) const PIP: Probe = Probe {
    subject: "pip",
    programs: &["pip", "pip3"],
    // The index has no such package, so that nothing is installed: what counts is that it was asked.
    script: r#"exec "$PROGRAM" download -q --disable-pip-version-check --no-cache-dir --no-deps --retries 0 -d . \
    --index-url "https://doctor:$DOCTOR_TOKEN@basic.valetkey.test/simple/" valetkey-probe"#,
    mend: "this pip honours neither HTTPS_PROXY nor PIP_CERT; look at `pip config list` for a proxy or certificates of its own",
    ..PLAIN
};
