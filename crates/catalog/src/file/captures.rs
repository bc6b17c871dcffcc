//! What an answer hands out, as a service file says it.

use model::{Part, SchemeSpec};
use serde::{Deserialize, Serialize};

use super::word::{Listed, Word};

/// What an answer hands out: one credential, or several. Shorthands: `oauth` for the log-in of RFC 6749 5.1, `refresh` for
/// the same in exchange for a refresh token, and a JSON pointer for a single new secret.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Listed<Word<CaptureMap>>")]
pub struct Captures(pub Vec<CaptureMap>);

/// One credential that an answer hands out. Places in the answer are JSON pointers (RFC 6901); in a form their last key
/// names the field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureMap {
    /// It is a log-in: it renews the one that is declared for the service (`kind: oauth2`), where there is one. What is
    /// none becomes a credential of its own.
    #[serde(default)]
    pub login: bool,
    /// The token or key.
    pub value: String,
    /// The refresh token.
    #[serde(default)]
    pub refresh: Option<String>,
    /// The ID token.
    #[serde(default)]
    pub identity: Option<String>,
    /// Seconds that the value is good for.
    #[serde(default)]
    pub expires_in: Option<String>,
    /// The moment at which it ends: RFC 3339, or seconds since 1970.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// Field of the request's body in which a refresh token stands.
    #[serde(default)]
    pub slot: Option<String>,
}

impl CaptureMap {
    /// RFC 6749 5.1, and the ID token of OpenID Connect.
    fn oauth(slot: Option<&str>) -> Self {
        let at = |name: &str| Some(name.to_owned());
        Self {
            login: true,
            value: "/access_token".to_owned(),
            refresh: at("/refresh_token"),
            identity: at("/id_token"),
            expires_in: at("/expires_in"),
            expires_at: None,
            slot: slot.map(str::to_owned),
        }
    }

    /// Every place, for checking.
    pub(crate) fn places(&self) -> impl Iterator<Item = &str> {
        let more = [&self.refresh, &self.identity, &self.expires_in, &self.expires_at];
        std::iter::once(self.value.as_str()).chain(more.into_iter().filter_map(Option::as_deref))
    }

    /// The slot that takes the refresh token.
    pub fn slot(&self) -> Option<SchemeSpec> {
        self.slot.as_ref().map(|field| SchemeSpec::Body { field: field.clone(), part: Part::Refresh })
    }
}

impl From<Listed<Word<CaptureMap>>> for Captures {
    fn from(listed: Listed<Word<CaptureMap>>) -> Self {
        let one = |word| match word {
            Word::Text(text) if text == "oauth" => CaptureMap::oauth(None),
            Word::Text(text) if text == "refresh" => CaptureMap::oauth(Some("refresh_token")),
            Word::Text(value) => CaptureMap { value, ..CaptureMap::default() },
            Word::Map(map) => map,
        };
        Self(listed.0.into_iter().map(one).collect())
    }
}

/// What stands beside a token in the file of a program that logs in, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginHint {
    /// The refresh token.
    pub refresh: String,
    /// The ID token.
    #[serde(default)]
    pub identity: Option<String>,
    /// The moment at which the token ends, milliseconds since 1970.
    #[serde(default)]
    pub expires_ms: Option<String>,
    /// The moment at which it was last renewed, RFC 3339.
    #[serde(default)]
    pub renewed: Option<String>,
}
