//! A pair of AWS keys, perhaps with a session token: one JSON object. Three spellings of it are read: our own,
//! `{"access_key_id", "secret_access_key", "session_token"?, "expiration"?}`; what programs of `credential_process` and STS print
//! (`AccessKeyId`, `SecretAccessKey`, `SessionToken`, `Expiration`; STS's stand under `Credentials`); and documents of the form
//! `{"key_id", "secret", "expires_at", "permissions"}`, whose permissions say what the keys may do and are not ours to keep.

use model::Timestamp;
use model::time::MICROS;
use secret::{Field, Material, Secret};
use serde::Deserialize;
use zeroize::Zeroize;

use super::{Kind, KindError};

/// Its word.
const NAME: &str = "aws";
/// Characters of a key's id (IAM API Reference, `AccessKey`: 16 to 128), and of a session token at most.
const KEY_ID_CHARS: std::ops::RangeInclusive<usize> = 16..=128;

pub(super) struct Aws;

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    /// What `aws sts assume-role` prints.
    Nested {
        #[serde(rename = "Credentials")]
        keys: Keys,
    },
    Plain(Keys),
}

#[derive(Deserialize)]
struct Keys {
    #[serde(alias = "AccessKeyId", alias = "key_id")]
    access_key_id: String,
    #[serde(alias = "SecretAccessKey", alias = "secret")]
    secret_access_key: String,
    #[serde(default, alias = "SessionToken", alias = "Token")]
    session_token: Option<String>,
    #[serde(default, alias = "Expiration", alias = "expires_at")]
    expiration: Option<End>,
}

/// RFC 3339, or seconds since 1970.
#[derive(Deserialize)]
#[serde(untagged)]
enum End {
    Seconds(i64),
    Text(String),
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.access_key_id.zeroize();
        self.secret_access_key.zeroize();
        self.session_token.zeroize();
    }
}

fn read(value: &Secret) -> Result<Keys, KindError> {
    let form = KindError::Form {
        kind: NAME,
        form: "one line of JSON with `access_key_id` and `secret_access_key`, each once",
    };
    let keys = match serde_json::from_slice(value.expose()).map_err(|_| form.clone())? {
        Written::Nested { keys } | Written::Plain(keys) => keys,
    };
    let graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let id = &keys.access_key_id;
    let fits = KEY_ID_CHARS.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let token = keys.session_token.as_deref().unwrap_or_default();
    let whole = fits && !keys.secret_access_key.is_empty() && graphic(&keys.secret_access_key) && graphic(token);
    let dated = keys.expiration.as_ref().is_none_or(|end| moment(end).is_some());
    if whole && dated { Ok(keys) } else { Err(form) }
}

fn moment(end: &End) -> Option<Timestamp> {
    match end {
        End::Seconds(seconds) => Some(Timestamp::from_secs((*seconds).clamp(0, i64::MAX / MICROS))),
        End::Text(text) => Timestamp::parse(text),
    }
}

impl Kind for Aws {
    fn name(&self) -> &'static str {
        NAME
    }

    fn takes_documents(&self) -> bool {
        false
    }

    fn material(&self, value: Secret) -> Result<Material, KindError> {
        let mut keys = read(&value)?;
        let secret = |text: &mut String| Secret::new(std::mem::take(text).into_bytes());
        let mut fields =
            vec![(Field::Value, secret(&mut keys.secret_access_key)), (Field::KeyId, secret(&mut keys.access_key_id))];
        let token = keys.session_token.as_mut().filter(|token| !token.is_empty());
        fields.extend(token.map(|token| (Field::SessionToken, secret(token))));
        Ok(Material::new(fields))
    }

    fn expires(&self, value: &Secret) -> Option<Timestamp> {
        moment(read(value).ok()?.expiration.as_ref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn three_spellings() {
        let end = Timestamp::parse("2026-11-20T18:38:47Z");
        for (value, token, expires) in [
            (r#"{"access_key_id":"IDIDIDIDIDIDIDID","secret_access_key":"k/+"}"#, false, None),
            (
                r#"{"access_key_id":"IDIDIDIDIDIDIDID","secret_access_key":"k/+","session_token":"t==","expiration":"2026-11-20T18:38:47Z"}"#,
                true,
                end,
            ),
            (
                r#"{"Version":1,"AccessKeyId":"IDIDIDIDIDIDIDID","SecretAccessKey":"k/+","SessionToken":"t==","Expiration":"2026-11-20T18:38:47+00:00"}"#,
                true,
                end,
            ),
            (
                r#"{"Credentials":{"AccessKeyId":"IDIDIDIDIDIDIDID","SecretAccessKey":"k/+","SessionToken":"t=="},"AssumedRoleUser":{}}"#,
                true,
                None,
            ),
            (
                r#"{"key_id":"IDIDIDIDIDIDIDID","secret":"k/+","expires_at":1795199927,"permissions":["s3:GetObject"]}"#,
                false,
                end,
            ),
        ] {
            let material = Aws.material(secret(value)).expect(value);
            let is = |field, text: &[u8]| material.field(field).is_some_and(|value| value.equals(text));
            assert!(is(Field::Value, b"k/+") && is(Field::KeyId, b"IDIDIDIDIDIDIDID"), "{value}");
            assert_eq!(is(Field::SessionToken, b"t=="), token, "{value}");
            assert_eq!(Aws.expires(&secret(value)), expires, "{value}");
        }
        for bad in [
            "{}",
            "x",
            r#"{"access_key_id":"IDIDIDIDIDIDIDID"}"#,
            r#"{"access_key_id":"short","secret_access_key":"k"}"#,
            r#"{"access_key_id":"IDIDIDIDIDID/IDID","secret_access_key":"k"}"#,
            r#"{"access_key_id":"IDIDIDIDIDIDIDID","secret_access_key":""}"#,
            r#"{"access_key_id":"IDIDIDIDIDIDIDID","secret_access_key":"a b"}"#,
            r#"{"access_key_id":"IDIDIDIDIDIDIDID","key_id":"IDIDIDIDIDIDIDID","secret_access_key":"k"}"#,
            r#"{"access_key_id":"IDIDIDIDIDIDIDID","secret_access_key":"k","expiration":"tomorrow"}"#,
        ] {
            assert!(Aws.material(secret(bad)).is_err(), "{bad}");
        }
    }
}
