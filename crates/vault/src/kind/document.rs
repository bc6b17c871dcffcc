//! Documents `{"key_id":..,"secret":..,"expires_at":..,"permissions":[..]}`, as issuers of keys hand them out and as back ends make them of
//! two halves: the value is `secret`, the user `key_id`, and after `expires_at` (RFC 3339) it is not used. `permissions` are read and say nothing yet.

use model::Timestamp;
use secret::Secret;
use serde::Deserialize;
use zeroize::Zeroize;

/// What is taken for one: these members, `secret` among them, and none besides. Anything else that begins with a brace is a value as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(default)]
    key_id: Option<String>,
    secret: String,
    #[serde(default)]
    session_token: Option<String>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    #[serde(default, rename = "permissions")]
    _permissions: Option<serde::de::IgnoredAny>,
}

impl Drop for Read {
    fn drop(&mut self) {
        self.key_id.zeroize();
        self.secret.zeroize();
        self.session_token.zeroize();
    }
}

/// Its parts.
pub(super) struct Document {
    pub key_id: Option<Secret>,
    pub secret: Secret,
    pub session_token: Option<Secret>,
    pub expires: Option<Timestamp>,
}

/// Reads a value as a document, if it is one.
pub(super) fn read(value: &Secret) -> Option<Document> {
    let octets = value.expose();
    if octets.iter().find(|octet| !octet.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let mut read: Read = serde_json::from_slice(octets).ok()?;
    let keep = |text: &mut String| Secret::new(std::mem::take(text).into_bytes());
    Some(Document {
        key_id: read.key_id.as_mut().map(keep),
        secret: keep(&mut read.secret),
        session_token: read.session_token.as_mut().map(keep),
        expires: read.expires_at,
    })
}
