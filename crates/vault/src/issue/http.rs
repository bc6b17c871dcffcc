//! How issuers are asked: one question on one connection, bounded in time and size; no redirect is followed.

use ::http::{HeaderName, HeaderValue, Method, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::Endpoint;
use crate::backend::BackendError;
use crate::far::{self, Ask, Reply};
use crate::road::Road;

/// Characters of what an issuer says that are repeated.
const SAID_CHARS_MAX: usize = 200;

/// The body of a question as a form (WHATWG URL 5.2), wiped.
pub(crate) struct Form(Zeroizing<Vec<u8>>);

impl Form {
    pub fn new() -> Self {
        // Grown seldom: a copy that is left behind would not be wiped.
        Self(Zeroizing::new(Vec::with_capacity(16 * 1024)))
    }

    pub fn add(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        put(&mut self.0, name.as_bytes());
        self.0.push(b'=');
        put(&mut self.0, value);
    }

    /// Its octets.
    pub fn into_body(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    pub fn post(self, target: &str) -> Ask {
        let fields = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))];
        Ask { method: Method::POST, target: target.to_owned(), fields, body: Some(Bytes::from_owner(self.0)) }
    }
}

/// Writes octets as a form has them.
pub(crate) fn put(out: &mut Vec<u8>, octets: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for octet in octets {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) {
            out.push(*octet);
        } else {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
            out.extend([b'%', digit(octet >> 4), digit(octet & 15)]);
        }
    }
}

/// The field `Authorization`, marked so that nothing prints it.
pub(crate) fn authorization(value: Zeroizing<Vec<u8>>) -> Result<(HeaderName, HeaderValue), BackendError> {
    Ok((header::AUTHORIZATION, far::secret_field(value)?))
}

/// Asks, within the time that a back end has.
pub(crate) async fn ask(way: &dyn Road, at: &Endpoint, ask: &Ask) -> Result<Reply, BackendError> {
    crate::road::ask(way, &at.origin, ask).await
}

/// What a good answer holds. Answers of 429 and of the 500s are passing, others a no.
pub(crate) fn read<T: DeserializeOwned>(at: &Endpoint, reply: &Reply) -> Result<T, BackendError> {
    match reply.status {
        200..=299 => serde_json::from_slice(&reply.body).map_err(|_| BackendError::Malformed {
            what: format!(
                "{} answers something else than the JSON that is expected of it; is it the right URL?",
                at.origin
            ),
        }),
        429 | 500..=599 => {
            Err(BackendError::Away { what: format!("{} answers {}{}", at.origin, reply.status, said(reply)) })
        }
        status => Err(BackendError::Forbidden { what: format!("{} answers {status}{}", at.origin, said(reply)) }),
    }
}

/// A word that cannot be a secret repeated: short, and not mixed as drawn texts are.
fn is_plain(word: &str) -> bool {
    let has = |kind: fn(&char) -> bool| word.chars().any(|letter| kind(&letter));
    let mixed = has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit);
    let length = word.chars().count();
    length <= 20 && !(mixed && length > 8)
}

/// What the answer says of itself: `error` and `error_description` (RFC 6749 5.2), or `message`. Issuers may repeat what they were asked, so
/// texts that are long and without blanks are left out.
fn said(reply: &Reply) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        error: Option<serde_json::Value>,
        error_description: Option<String>,
        message: Option<String>,
    }
    let Ok(said) = serde_json::from_slice::<Said>(&reply.body) else { return String::new() };
    let word = said.error.as_ref().and_then(|error| error.as_str().map(str::to_owned));
    let nested = said.error.as_ref().and_then(|error| error.get("message")?.as_str().map(str::to_owned));
    let texts = [word, said.error_description.or(said.message).or(nested)].into_iter().flatten();
    let mut out = String::new();
    for text in texts {
        let words = text.split_whitespace().filter(|word| is_plain(word));
        let plain: String = words.collect::<Vec<_>>().join(" ").chars().filter(|letter| !letter.is_control()).collect();
        out.push_str(if out.is_empty() { ": " } else { ", " });
        out.extend(plain.chars().take(SAID_CHARS_MAX));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, retry_after: None, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    #[test]
    fn forms_are_encoded() {
        let mut form = Form::new();
        form.add("scope", b"a b");
        form.add("x", "ü&=+".as_bytes());
        assert_eq!(&form.post("/t").body.expect("a body")[..], b"scope=a%20b&x=%C3%BC%26%3D%2B");
    }

    #[test]
    fn what_is_said_is_short_and_no_secret() {
        let long = "x".repeat(60);
        for (body, says) in [
            ("", ""),
            ("[]", ""),
            (r#"{"error":"invalid_client"}"#, ": invalid_client"),
            (r#"{"error":"invalid_grant","error_description":"Bad\nRequest"}"#, ": invalid_grant, Bad Request"),
            (r#"{"message":"Bad credentials"}"#, ": Bad credentials"),
            (r#"{"error":{"code":403,"message":"not allowed"}}"#, ": not allowed"),
            (&format!(r#"{{"error":"e","error_description":"token {long} is bad"}}"#), ": e, token is bad"),
        ] {
            assert_eq!(said(&reply(400, body)), says, "{body}");
        }
    }
}
