//! Signatures of messages to and from webhooks, as Standard Webhooks 1.0 writes them: HMAC-SHA256 over `id.timestamp.body`
//! under a secret that both sides hold, written `whsec_` and base64.
#![expect(clippy::disallowed_methods, reason = "a secret of a webhook is made into a key here, and nowhere else")]

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secret::Secret;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Octets of a secret, as the specification bounds them.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets of one webhook: what signs, and what is on its way out.
const KEYS_MAX: usize = 4;
/// Signatures that are looked at in one message; senders that change their secret send two.
const SIGNATURES_MAX: usize = 8;
/// Octets of a message's id.
const ID_BYTES_MAX: usize = 128;
/// Octets of the field with the signatures.
const FIELD_BYTES_MAX: usize = 2 * 1024;

/// Why a secret or a stamp cannot be used. No message holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// A secret has another form.
    #[error(
        "a webhook's secret is `whsec_` and the base64 of 24 to 64 random octets; make one with `echo \"whsec_$(openssl rand -base64 32)\"`"
    )]
    Secret,
    /// Too many secrets.
    #[error("a webhook has at most {KEYS_MAX} secrets; take out those that nobody signs with any more")]
    TooMany,
    /// The id of a message.
    #[error("`webhook-id` is missing, too long, or holds a dot or what is no printable ASCII")]
    Id,
    /// The time of a message.
    #[error("`webhook-timestamp` is missing, or no count of seconds since 1970")]
    Time,
    /// The signatures of a message.
    #[error("`webhook-signature` is missing or too long")]
    Signature,
}

/// The keys of one webhook. The first signs; any of them verifies, so that a secret can be changed without a gap.
#[derive(Default)]
pub struct Keys(Vec<hmac::Key>);

impl Keys {
    /// Adds the key of a secret.
    ///
    /// # Errors
    /// [`SigningError::Secret`], [`SigningError::TooMany`].
    pub fn add(&mut self, secret: &Secret) -> Result<(), SigningError> {
        if self.0.len() >= KEYS_MAX {
            return Err(SigningError::TooMany);
        }
        let text = std::str::from_utf8(secret.expose()).map_err(|_| SigningError::Secret)?;
        let base64 = text.trim_end().strip_prefix(SECRET_PREFIX).ok_or(SigningError::Secret)?;
        // Zeroed when it is dropped.
        let octets = Secret::new(STANDARD.decode(base64).map_err(|_| SigningError::Secret)?);
        if !SECRET_BYTES.contains(&octets.len()) {
            return Err(SigningError::Secret);
        }
        self.0.push(hmac::Key::new(hmac::HMAC_SHA256, octets.expose()));
        Ok(())
    }

    /// Whether a message that one of the others signs would hold here.
    #[must_use]
    pub fn share(&self, others: &Self) -> bool {
        let tags = |keys: &Self| keys.0.iter().map(|key| hmac::sign(key, b"the same?")).collect::<Vec<_>>();
        let own = tags(self);
        tags(others).iter().any(|tag| own.iter().any(|own| own.as_ref() == tag.as_ref()))
    }

    /// The value of `webhook-signature`; none where there is no key.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> Option<String> {
        let tag = hmac::sign(self.0.first()?, &content(id, seconds, body));
        Some(format!("v1,{}", STANDARD.encode(tag.as_ref())))
    }

    /// Whether one of the signatures is one of these keys'. Each is compared with each in constant time.
    #[must_use]
    pub fn verify(&self, stamp: &Stamp<'_>, body: &[u8]) -> bool {
        let content = content(stamp.id, stamp.seconds, body);
        let mut holds = false;
        for signature in stamp.signatures.split(' ').take(SIGNATURES_MAX) {
            // Others than `v1` are public-key signatures, or of a time to come.
            let Some(tag) = signature.strip_prefix("v1,").and_then(|base64| STANDARD.decode(base64).ok()) else {
                continue;
            };
            for key in &self.0 {
                holds |= hmac::verify(key, &content, &tag).is_ok();
            }
        }
        holds
    }
}

/// What is signed.
fn content(id: &str, seconds: u64, body: &[u8]) -> Vec<u8> {
    [format!("{id}.{seconds}.").as_bytes(), body].concat()
}

/// What stands in the fields of a signed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// `webhook-id`: the same whenever the message is sent again.
    pub id: &'a str,
    /// `webhook-timestamp`: seconds since 1970.
    pub seconds: u64,
    /// `webhook-signature`: some of them, apart by blanks.
    pub signatures: &'a str,
}

impl<'a> Stamp<'a> {
    /// Reads the values of the fields `webhook-id`, `webhook-timestamp` and `webhook-signature`. An id with a dot is refused: the
    /// signed octets could be read as those of another id.
    ///
    /// # Errors
    /// The first of them that cannot be right.
    pub fn read(id: &'a str, timestamp: &str, signatures: &'a str) -> Result<Self, SigningError> {
        let plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'.');
        if id.is_empty() || id.len() > ID_BYTES_MAX || !plain(id) {
            return Err(SigningError::Id);
        }
        // Eleven digits are the year 5138. A second spelling of a number would be a second signature.
        let digits = timestamp.len() <= 11 && timestamp.bytes().all(|octet| octet.is_ascii_digit());
        let written_once = digits && !timestamp.starts_with('0');
        let seconds = timestamp.parse().ok().filter(|_| written_once).ok_or(SigningError::Time)?;
        if signatures.is_empty() || signatures.len() > FIELD_BYTES_MAX {
            return Err(SigningError::Signature);
        }
        Ok(Self { id, seconds, signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the specification's own libraries. Put together, so that no scanner takes it for somebody's.
    const VECTOR: [&str; 2] = ["whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn keys(secrets: &[String]) -> Result<Keys, SigningError> {
        let mut keys = Keys::default();
        for secret in secrets {
            keys.add(&Secret::new(secret.clone().into_bytes()))?;
        }
        Ok(keys)
    }

    fn other(octet: u8, length: usize) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(vec![octet; length]))
    }

    #[test]
    fn the_published_vector() {
        let keys = keys(&[VECTOR.concat()]).expect("keys");
        assert_eq!(keys.sign(ID, SECONDS, BODY).as_deref(), Some(SIGNATURE));
        assert!(keys.verify(&Stamp::read(ID, "1614265330", SIGNATURE).expect("a stamp"), BODY));
    }

    #[test]
    fn what_is_signed_otherwise_does_not_hold() {
        let rotating = keys(&[other(1, 24), VECTOR.concat()]).expect("keys");
        let wrong = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let several = format!("v1a,abc {wrong} v1,not-base64 {SIGNATURE}");
        let late = format!("{}{SIGNATURE}", format!("{wrong} ").repeat(SIGNATURES_MAX));
        for (id, timestamp, signatures, body, holds) in [
            (ID, "1614265330", SIGNATURE, BODY, true),
            (ID, "1614265330", &*several, BODY, true),
            (ID, "1614265330", &*late, BODY, false),
            (ID, "1614265330", wrong, BODY, false),
            (ID, "1614265330", SIGNATURE.trim_start_matches("v1,"), BODY, false),
            (ID, "1614265330", &SIGNATURE.replace("v1,", "v2,"), BODY, false),
            (ID, "1614265331", SIGNATURE, BODY, false),
            ("msg_p5jXN8AQM9LWM0D4loKWxJel", "1614265330", SIGNATURE, BODY, false),
            (ID, "1614265330", SIGNATURE, &BODY[1..], false),
        ] {
            let stamp = Stamp::read(id, timestamp, signatures).expect("a stamp");
            assert_eq!(rotating.verify(&stamp, body), holds, "{stamp:?}");
        }
        let stamp = Stamp::read(ID, "1614265330", SIGNATURE).expect("a stamp");
        assert!(!keys(&[other(1, 24)]).expect("keys").verify(&stamp, BODY), "another secret");
        assert!(rotating.share(&keys(&[VECTOR.concat()]).expect("keys")), "the second of them");
        assert!(!rotating.share(&keys(&[other(2, 24)]).expect("keys")) && !rotating.share(&Keys::default()));
        assert!(!Keys::default().verify(&stamp, BODY) && Keys::default().sign(ID, 1, BODY).is_none(), "no secret");
    }

    #[test]
    fn secrets_have_one_form() {
        for (secret, fits) in [
            (other(7, 24), true),
            (other(7, 64), true),
            (format!("{}\n", other(7, 32)), true),
            (other(7, 23), false),
            (other(7, 65), false),
            (other(7, 32).replace(SECRET_PREFIX, ""), false),
            (other(7, 32).replace('B', "*"), false),
            (String::new(), false),
        ] {
            assert_eq!(keys(std::slice::from_ref(&secret)).err(), (!fits).then_some(SigningError::Secret), "{secret}");
        }
        assert_eq!(keys(&vec![other(7, 24); 5]).err(), Some(SigningError::TooMany));
    }

    #[test]
    fn stamps_have_one_form() {
        use SigningError as E;
        let long = "x".repeat(129);
        let field = "x".repeat(FIELD_BYTES_MAX + 1);
        for (id, timestamp, signatures, why) in [
            ("", "1", "v1,", E::Id),
            (&*long, "1", "v1,", E::Id),
            ("a.1", "1", "v1,", E::Id),
            ("a b", "1", "v1,", E::Id),
            ("a", "", "v1,", E::Time),
            ("a", "-1", "v1,", E::Time),
            ("a", "+1", "v1,", E::Time),
            ("a", "01", "v1,", E::Time),
            ("a", "1.5", "v1,", E::Time),
            ("a", "999999999999", "v1,", E::Time),
            ("a", "1", "", E::Signature),
            ("a", "1", &*field, E::Signature),
        ] {
            assert_eq!(Stamp::read(id, timestamp, signatures), Err(why), "{id} {timestamp}");
        }
    }
}
