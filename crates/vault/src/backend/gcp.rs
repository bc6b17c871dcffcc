//! `gcp-sm:PROJECT/NAME[?version=V][#FIELD]`: Google Secret Manager (REST v1, `projects.secrets.versions.access`). We log in with a service account's key: a
//! token that it signs is exchanged for one that Google takes (RFC 7523 2.1; developers.google.com, "Using OAuth 2.0 for Server to Server Applications").
#![expect(clippy::disallowed_methods, reason = "a key signs, and what comes back is a secret")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use secret::Secret;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::bearer::{Bearer, LogsIn, Token};
use super::pick::{Tree, message_of, of_value};
use super::{Backend, BackendError, Fetched, Local, Wanted};
use crate::far::{Client, Reply, encoded};
use crate::instance::{LogIn, Site};
use crate::issue::http::Form;
use crate::issue::jwt::{self, Signer};
use crate::reference::Spot;
use crate::{Pending, Scheme};

/// What is asked for; what the key may read is said by its roles.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// How long what the key signs is good, seconds.
const ASSERTION_SECONDS: i64 = 600;

pub(super) struct Gcp {
    client: Client,
    login: LogIn,
    local: Local,
    bearer: Bearer,
}

impl Gcp {
    pub fn new(site: &Site, client: Client, local: Local) -> Self {
        Self { client, login: site.login.clone(), local, bearer: Bearer::default() }
    }

    async fn token(&self, now: Timestamp) -> Result<Token, BackendError> {
        let LogIn::GoogleKey(reference) = &self.login else {
            return Err(malformed("nothing says how to log in to Google; write `google_key`"));
        };
        let key = self.local.secret(reference, now).await?;
        let (at, form) = question(&key, now)?;
        self.local.token(&at, form, now).await
    }

    async fn ask(&self, target: &str, now: Timestamp) -> Result<Reply, BackendError> {
        self.bearer.ask((&self.client, target), self, now).await
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let spot = Spot::read(Scheme::GcpSm, wanted.reference.rest()).map_err(malformed)?;
        let (Some(project), Some(name)) = (spot.segments.first(), spot.segments.get(1)) else {
            return Err(malformed("it is written `gcp-sm:PROJECT/NAME`"));
        };
        let version = spot.version.unwrap_or("latest");
        let target =
            format!("/v1/projects/{}/secrets/{}/versions/{}:access", encoded(project), encoded(name), encoded(version));
        let reply = self.ask(&target, wanted.now).await?;
        if reply.status != 200 {
            return Err(refused(&reply, name));
        }
        read(&reply.body, spot.field).map_err(|why| BackendError::Missing { what: format!("`{name}`: {why}") })
    }
}

impl LogsIn for Gcp {
    fn log_in(&self, now: Timestamp) -> Pending<'_, Result<Token, BackendError>> {
        Box::pin(self.token(now))
    }
}

fn malformed(what: &str) -> BackendError {
    BackendError::Malformed { what: what.to_owned() }
}

/// The question for a token, and where it is asked.
fn question(key: &Secret, now: Timestamp) -> Result<(String, Form), BackendError> {
    let wrong = || malformed("what logs in to Google is no key of a service account; store the JSON that Google gave");
    let tree: Tree = serde_json::from_slice(key.expose()).map_err(|_| wrong())?;
    let text = |name: &str| tree.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(email), Some(private), Some(at)) = (text("client_email"), text("private_key"), text("token_uri")) else {
        return Err(wrong());
    };
    let issued = jwt::seconds(now);
    let claims = json!({ "iss": email, "scope": SCOPE, "aud": at, "iat": issued, "exp": issued + ASSERTION_SECONDS });
    let head: Map<String, Value> = text("private_key_id").map(|id| ("kid".to_owned(), json!(id))).into_iter().collect();
    let assertion = Signer::of(&Secret::new(private.as_bytes().to_vec()))?.sign(head, &claims)?;
    let mut form = Form::new();
    form.add("grant_type", b"urn:ietf:params:oauth:grant-type:jwt-bearer");
    form.add("assertion", &assertion);
    Ok((at.to_owned(), form))
}

/// The value of an answer, if it is what was sent.
pub(super) fn read(body: &[u8], field: Option<&str>) -> Result<Fetched, String> {
    let tree: Tree = serde_json::from_slice(body).map_err(|_| "Google does not answer as it does".to_owned())?;
    let text = |at: &str| tree.0.pointer(at).and_then(Value::as_str);
    let data = text("/payload/data").ok_or_else(|| "there is nothing".to_owned())?;
    let value = STANDARD.decode(data).map(Zeroizing::new).map_err(|_| "its value is no Base64".to_owned())?;
    if let Some(sum) = text("/payload/dataCrc32c")
        && sum.parse() != Ok(u64::from(crc32c(&value)))
    {
        return Err("its value does not have the checksum that Google sent with it".to_owned());
    }
    let version = text("/name").and_then(|name| name.rsplit('/').next()?.parse().ok()).unwrap_or(1);
    Ok(Fetched::of_version(version, of_value(&value, field)?))
}

/// The checksum of Castagnoli (RFC 3720, appendix B.4), bit by bit: values are short.
fn crc32c(octets: &[u8]) -> u32 {
    let step = |sum: u32| (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
    !octets.iter().fold(!0, |sum, octet| (0..8).fold(sum ^ u32::from(*octet), |sum, _| step(sum)))
}

fn refused(reply: &Reply, name: &str) -> BackendError {
    let told = message_of(&reply.body);
    match reply.status {
        401 => BackendError::Forbidden { what: format!("Google does not take our token{told}") },
        403 => BackendError::Forbidden {
            what: format!(
                "Google does not give `{name}` to us{told}; give our service account the role `Secret Manager Secret Accessor` on it"
            ),
        },
        404 => BackendError::Missing {
            what: format!("Google has no `{name}` in this project, or not this version of it{told}"),
        },
        400 if told.contains("DESTROYED") || told.contains("DISABLED") => {
            BackendError::Missing { what: format!("this version of `{name}` is disabled or destroyed{told}") }
        }
        429 | 500 => BackendError::Busy { what: format!("Google answers {}{told}", reply.status) },
        501..=599 => BackendError::Away { what: format!("Google answers {}{told}", reply.status) },
        status => BackendError::Malformed { what: format!("Google answers {status}{told}") },
    }
}

impl Backend for Gcp {
    fn scheme(&self) -> Scheme {
        Scheme::GcpSm
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        Box::pin(async move {
            // Nobody's project: whoever is known is told so.
            let reply = self.ask("/v1/projects/valetkey-asks/secrets/whether-it-is-known", now).await?;
            match reply.status {
                200 | 403 | 404 => Ok(()),
                _ => Err(refused(&reply, "whether-it-is-known")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_and_values() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let body = |data: &str, sum: Option<u32>| {
            let data = STANDARD.encode(data);
            let sum = sum.map(|sum| sum.to_string());
            json!({"name": "projects/1/secrets/s/versions/7", "payload": {"data": data, "dataCrc32c": sum}}).to_string()
        };
        let good = read(body("the value", Some(crc32c(b"the value"))).as_bytes(), None);
        let good = good.unwrap_or_else(|why| panic!("{why}"));
        assert!(good.version == 7 && good.value.equals(b"the value"));
        let field = read(body(r#"{"token":"x","b":1}"#, None).as_bytes(), Some("token"));
        assert!(field.unwrap_or_else(|why| panic!("{why}")).value.equals(b"x"));
        for (text, says) in [
            (body("the value", Some(7)), "checksum"),
            ("{}".to_owned(), "nothing"),
            ("[".to_owned(), "does not answer"),
            (body("the value", None).replace("dGhl", "%%%%"), "no Base64"),
        ] {
            assert!(read(text.as_bytes(), None).is_err_and(|why| why.contains(says)), "{text}");
        }
    }
}
