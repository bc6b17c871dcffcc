//! The arithmetic: a key for one day, region and service (AWS IAM User Guide, "Derive a signing key").

use aws_lc_rs::hmac::{HMAC_SHA256, Key, Tag, sign};
use model::aws::Scope;
use zeroize::Zeroizing;

/// A derived key. It signs for one scope alone.
pub(crate) struct SigningKey(Key);

impl SigningKey {
    /// From the secret key.
    pub fn derive(secret: &[u8], scope: &Scope<'_>) -> Self {
        let first = Zeroizing::new([b"AWS4", secret].concat());
        let step = |key: &Key, word: &str| Key::new(HMAC_SHA256, sign(key, word.as_bytes()).as_ref());
        let day = step(&Key::new(HMAC_SHA256, &first), scope.date);
        let service = step(&step(&day, scope.region), scope.service);
        Self(step(&service, "aws4_request"))
    }

    /// HMAC-SHA-256 of a text.
    pub fn sign(&self, text: &[u8]) -> [u8; 32] {
        let tag: Tag = sign(&self.0, text);
        let mut out = [0; 32];
        for (slot, octet) in out.iter_mut().zip(tag.as_ref()) {
            *slot = *octet;
        }
        out
    }
}
