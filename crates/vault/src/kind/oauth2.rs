//! The tokens of a log-in (RFC 6749 5.1), stored as one JSON object, so that they are renewed together or not at all:
//! `{"access_token":..,"refresh_token":..,"id_token":..,"expires_at":1790000000}`, all but the first optional.

use model::Timestamp;
use model::time::MICROS;
use secret::{Field, Material, Secret};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{Kind, KindError};

/// Its word.
pub(crate) const NAME: &str = "oauth2";

pub(super) struct OAuth2;

/// Tokens as an answer handed them out.
pub struct Tokens {
    /// The access token, or a key that was minted.
    pub value: Secret,
    /// The refresh token; none where the one before stays in force.
    pub refresh: Option<Secret>,
    /// The ID token.
    pub identity: Option<Secret>,
    /// When the value ends.
    pub expires: Option<Timestamp>,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    access_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
        self.id_token.zeroize();
    }
}

fn read(value: &Secret) -> Result<Stored, KindError> {
    let form =
        KindError::Form { kind: NAME, form: "one line of JSON with `access_token` and, if any, `refresh_token`" };
    let stored: Stored = serde_json::from_slice(value.expose()).map_err(|_| form.clone())?;
    if stored.access_token.is_empty() { Err(form) } else { Ok(stored) }
}

impl Kind for OAuth2 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn takes_documents(&self) -> bool {
        false
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        let mut stored = read(&value)?;
        let secret = |text: &mut String| Secret::new(std::mem::take(text).into_bytes());
        let mut fields = vec![(Field::Value, secret(&mut stored.access_token))];
        for (field, text) in [(Field::Refresh, &mut stored.refresh_token), (Field::Identity, &mut stored.id_token)] {
            fields.extend(text.as_mut().filter(|text| !text.is_empty()).map(|text| (field, secret(text))));
        }
        Ok(Material::new(fields))
    }

    /// Where there is a refresh token, a token past its end still goes out: the service says so itself, and that answer is
    /// what makes its holder renew it.
    fn expires(&self, value: &Secret) -> Option<Timestamp> {
        let stored = read(value).ok()?;
        let end = stored.expires_at.filter(|_| stored.refresh_token.is_none())?;
        Some(Timestamp::from_secs(end.clamp(0, i64::MAX / MICROS)))
    }
}

/// The value to store: what is new, and of what was there before whatever the answer does not speak of.
pub(crate) fn join(tokens: Tokens, before: Option<&Material>) -> Result<Secret, KindError> {
    let Tokens { value, refresh, identity, expires } = tokens;
    let text = |secret: Option<&Secret>| secret.map(|secret| String::from_utf8_lossy(secret.expose()).into_owned());
    let old = |field| before.and_then(|material| material.field(field));
    let stored = Stored {
        access_token: text(Some(&value)).unwrap_or_default(),
        refresh_token: text(refresh.as_ref().or_else(|| old(Field::Refresh))),
        id_token: text(identity.as_ref().or_else(|| old(Field::Identity))),
        expires_at: expires.map(|end| end.0.div_euclid(MICROS)),
    };
    let made = serde_json::to_vec(&stored).map_err(|_| KindError::Empty)?;
    Ok(Secret::new(made))
}

/// The parts of a stored value, for a back end that keeps them apart.
pub(crate) struct Parts {
    pub access: Zeroizing<String>,
    pub refresh: Option<Zeroizing<String>>,
    pub identity: Option<Zeroizing<String>>,
    pub expires: Option<Timestamp>,
}

impl Parts {
    pub fn of(value: &Secret) -> Result<Self, KindError> {
        let mut stored = read(value)?;
        let keep = |text: &mut String| Zeroizing::new(std::mem::take(text));
        Ok(Self {
            access: keep(&mut stored.access_token),
            refresh: stored.refresh_token.as_mut().map(keep),
            identity: stored.id_token.as_mut().map(keep),
            expires: stored.expires_at.map(|end| Timestamp::from_secs(end.clamp(0, i64::MAX / MICROS))),
        })
    }

    pub fn join(self) -> Result<Secret, KindError> {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let tokens = Tokens {
            value: secret(&self.access),
            refresh: self.refresh.as_ref().map(|text| secret(text)),
            identity: self.identity.as_ref().map(|text| secret(text)),
            expires: self.expires,
        };
        join(tokens, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn parts_and_ends() {
        let end = Some(Timestamp::from_secs(1_790_000_000));
        for (value, parts, expires) in [
            (r#"{"access_token":"a"}"#, 1, None),
            (r#"{"access_token":"a","expires_at":1790000000}"#, 1, end),
            (r#"{"access_token":"a","refresh_token":"r","expires_at":1790000000}"#, 2, None),
            (r#"{"access_token":"a","refresh_token":"r","id_token":"i"}"#, 3, None),
        ] {
            let kind = OAuth2;
            assert_eq!(kind.expires(&secret(value)), expires, "{value}");
            assert_eq!(kind.material(secret(value)).expect("read").fields().count(), parts, "{value}");
        }
        for bad in ["a", "{}", r#"{"access_token":""}"#, r#"{"access_token":7}"#] {
            assert!(OAuth2.material(secret(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_an_answer_does_not_speak_of_stays() {
        let before =
            OAuth2.material(secret(r#"{"access_token":"a","refresh_token":"r","id_token":"i"}"#)).expect("read");
        let plain = |value, refresh: Option<&str>| Tokens {
            value: secret(value),
            refresh: refresh.map(secret),
            identity: None,
            expires: None,
        };
        for (refresh, want) in [(None, b"r"), (Some("s"), b"s")] {
            let made = join(plain("b", refresh), Some(&before)).expect("joined");
            let made = OAuth2.material(made).expect("read");
            assert!(made.field(Field::Value).is_some_and(|value| value.equals(b"b")));
            assert!(made.field(Field::Refresh).is_some_and(|value| value.equals(want)));
            assert!(made.field(Field::Identity).is_some_and(|value| value.equals(b"i")));
        }
    }
}
