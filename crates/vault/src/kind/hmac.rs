//! A key that signs requests (HMAC), stored as JSON with the id that goes with it and perhaps a passphrase,
//! `{"key_id": .., "secret": .., "passphrase": ..}`, or as the key alone where a vendor has no ids.

use secret::{Field, Material, Secret};
use serde::Deserialize;
use zeroize::Zeroize;

use super::{Kind, KindError, check, check_lines};

const NAME: &str = "hmac";

pub(super) struct Hmac;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    #[serde(alias = "api_key")]
    key_id: String,
    #[serde(alias = "api_secret")]
    secret: String,
    #[serde(default)]
    passphrase: Option<String>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.key_id.zeroize();
        self.secret.zeroize();
        self.passphrase.zeroize();
    }
}

impl Kind for Hmac {
    fn name(&self) -> &'static str {
        NAME
    }

    fn takes_documents(&self) -> bool {
        false
    }

    /// JSON may; its parts may not.
    fn has_lines(&self) -> bool {
        true
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        if !value.expose().trim_ascii_start().starts_with(b"{") {
            check_lines(&value)?;
            return Ok(Material::token(value));
        }
        let form = "the key alone, or `{\"key_id\": .., \"secret\": ..}`, perhaps with `passphrase`";
        let read = serde_json::from_slice(value.expose());
        let mut parts: Parts = read.map_err(|_| KindError::Form { kind: NAME, form })?;
        let keep = |text: &mut String| Secret::new(std::mem::take(text).into_bytes());
        let mut fields = vec![(Field::Value, keep(&mut parts.secret)), (Field::KeyId, keep(&mut parts.key_id))];
        fields.extend(parts.passphrase.as_mut().map(|text| (Field::SessionToken, keep(text))));
        fields.iter().try_for_each(|(_, part)| check(part))?;
        Ok(Material::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_or_with_its_id() {
        let made = |text: &str| Hmac.material(Secret::new(text.as_bytes().to_vec()));
        for (value, id, passphrase) in [
            ("k/+=", None, None),
            (r#"{"key_id":"i-1","secret":"k/+="}"#, Some("i-1"), None),
            ("{\n \"api_key\": \"i-1\",\n \"api_secret\": \"k/+=\"\n}\n", Some("i-1"), None),
            (r#"{"key_id":"i-1","secret":"k/+=","passphrase":"p"}"#, Some("i-1"), Some("p")),
        ] {
            let material = made(value).expect(value);
            let is = |field, text: Option<&str>| match (material.field(field), text) {
                (Some(part), Some(text)) => part.equals(text.as_bytes()),
                (part, text) => part.is_none() && text.is_none(),
            };
            assert!(is(Field::Value, Some("k/+=")) && is(Field::KeyId, id), "{value}");
            assert!(is(Field::SessionToken, passphrase), "{value}");
        }
        for bad in [
            "a\nb",
            "{}",
            r#"{"secret":"k"}"#,
            r#"{"key_id":"","secret":"k"}"#,
            r#"{"key_id":"i","secret":""}"#,
            r#"{"key_id":"i","secret":"a\r\nX: y"}"#,
            r#"{"key_id":"i","secret":"k","other":"x"}"#,
        ] {
            assert!(made(bad).is_err(), "{bad}");
        }
    }
}
