//! What Vault answers, and what it means.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use zeroize::Zeroize;

use super::Engine;
use crate::backend::BackendError;
use crate::backend::pick::{Tree, said};
use crate::far::Reply;

/// Longest life of anything that is issued, seconds: what a server says is added to the time. Ten years.
const LIFE_SECONDS_MAX: u64 = 10 * 365 * 24 * 60 * 60;

/// One answer of the API; every endpoint has the same frame.
#[derive(Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    pub lease_id: String,
    #[serde(default)]
    pub lease_duration: u64,
    #[serde(default)]
    pub renewable: bool,
    #[serde(default)]
    data: Option<Tree>,
    #[serde(default)]
    pub auth: Option<Auth>,
    #[serde(default)]
    wrap_info: Option<IgnoredAny>,
}

/// A log-in.
#[derive(Deserialize)]
pub(crate) struct Auth {
    #[serde(default)]
    pub client_token: String,
    #[serde(default)]
    pub lease_duration: u64,
    #[serde(default)]
    pub renewable: bool,
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.client_token.zeroize();
    }
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl Answer {
    /// Reads an answer of status 200.
    ///
    /// # Errors
    /// It is not of that form; it is wrapped.
    pub fn read(reply: &Reply) -> Result<Self, BackendError> {
        Self::parse(&reply.body)
    }

    /// The same of its body.
    ///
    /// # Errors
    /// As [`Self::read`]. Never with a word of the body.
    pub fn parse(body: &[u8]) -> Result<Self, BackendError> {
        let malformed = |what: &str| BackendError::Malformed { what: what.to_owned() };
        let foreign = || malformed("it does not answer as Vault does; is `address` right?");
        // A list would be read as the members in their order.
        let is_object = body.iter().find(|octet| !octet.is_ascii_whitespace()) == Some(&b'{');
        let mut answer: Self = is_object.then(|| serde_json::from_slice(body).ok()).flatten().ok_or_else(foreign)?;
        if answer.wrap_info.is_some() {
            return Err(malformed("its answer is wrapped; take the wrapping off the policy or the role"));
        }
        answer.lease_duration = answer.lease_duration.min(LIFE_SECONDS_MAX);
        if let Some(auth) = &mut answer.auth {
            auth.lease_duration = auth.lease_duration.min(LIFE_SECONDS_MAX);
        }
        Ok(answer)
    }

    /// Takes the fields that were read out, and their version.
    ///
    /// # Errors
    /// There are none, or this version was deleted.
    pub fn take_data(&mut self, versioned: bool) -> Result<(Tree, u64), &'static str> {
        let mut data = self.data.take().ok_or("there is nothing")?;
        if !versioned {
            return Ok((data, 1));
        }
        let version = data.0.pointer("/metadata/version").and_then(Value::as_u64).unwrap_or(1);
        let inner = data.0.get_mut("data").map(Value::take).filter(|inner| !inner.is_null());
        inner.map(|inner| (Tree(inner), version)).ok_or("this version was deleted")
    }

    /// Of `sys/internal/ui/mounts/PATH`: the mount with its last slash, and what it is.
    pub fn mount(&self) -> Option<(String, Engine)> {
        let data = &self.data.as_ref()?.0;
        let path = data.get("path")?.as_str().filter(|path| path.ends_with('/'))?;
        let engine = match data.get("type")?.as_str()? {
            "kv" | "generic" => match data.pointer("/options/version").and_then(Value::as_str) {
                Some("2") => Engine::Kv2,
                _ => Engine::Kv1,
            },
            "cubbyhole" => Engine::Kv1,
            _ => Engine::Other,
        };
        Some((path.to_owned(), engine))
    }

    /// Of `auth/token/lookup-self`: seconds left (0: no end), and whether it may be renewed.
    pub fn own(&self) -> (u64, bool) {
        let Some(data) = &self.data else { return (0, false) };
        let left = data.0.get("ttl").and_then(Value::as_u64).unwrap_or(0);
        (left.min(LIFE_SECONDS_MAX), data.0.get("renewable").and_then(Value::as_bool).unwrap_or(false))
    }
}

/// An answer of another status (<https://developer.hashicorp.com/vault/api-docs#http-status-codes>), in words. `what` was asked for.
pub(crate) fn refused(reply: &Reply, what: &str) -> BackendError {
    let errors = serde_json::from_slice::<Errors>(&reply.body).map(|it| it.errors).unwrap_or_default();
    let told = errors.first().map_or_else(String::new, |first| format!(" (it says: {})", said(first)));
    let status = reply.status;
    match status {
        400 => BackendError::Malformed { what: format!("Vault takes the question about {what} for a wrong one{told}") },
        403 => BackendError::Forbidden {
            what: format!("Vault does not give {what} to us{told}; allow `read` on it in the policy of our log-in"),
        },
        404 if deleted(reply) => {
            BackendError::Missing { what: format!("this version of {what} was deleted; write a new one") }
        }
        404 => BackendError::Missing {
            what: format!("Vault has nothing at {what}{told}; check mount, path and namespace"),
        },
        412 => BackendError::Away { what: format!("Vault has not caught up with its leader yet{told}") },
        429 => {
            let later = reply.retry_after.map_or_else(String::new, |seconds| format!(", for {seconds} s"));
            BackendError::Busy { what: format!("Vault is asked too often{later}{told}") }
        }
        472 | 473 => BackendError::Away { what: format!("this Vault is a standby of another site (status {status})") },
        500 => BackendError::Busy { what: format!("Vault fails with status 500{told}") },
        501 => BackendError::Away { what: "Vault is not initialised".to_owned() },
        503 => BackendError::Away { what: format!("Vault is sealed or in maintenance{told}; unseal it") },
        502 | 504..=599 => BackendError::Away { what: format!("Vault fails with status {status}{told}") },
        _ => BackendError::Malformed { what: format!("Vault answers {status} to the question about {what}{told}") },
    }
}

/// KV 2 answers 404 with its metadata where a version was there.
fn deleted(reply: &Reply) -> bool {
    serde_json::from_slice::<Tree>(&reply.body).is_ok_and(|tree| tree.0.pointer("/data/metadata/version").is_some())
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, retry_after: None, body: Zeroizing::new(body.as_bytes().to_vec()) }
    }

    #[test]
    fn documented_refusals() {
        type Is = fn(&BackendError) -> bool;
        let (away, busy, missing, forbidden, malformed): (Is, Is, Is, Is, Is) = (
            |it| matches!(it, BackendError::Away { .. }),
            |it| matches!(it, BackendError::Busy { .. }),
            |it| matches!(it, BackendError::Missing { .. }),
            |it| matches!(it, BackendError::Forbidden { .. }),
            |it| matches!(it, BackendError::Malformed { .. }),
        );
        for (status, body, is, says) in [
            (400, r#"{"errors":["missing client token"]}"#, malformed, "missing client token"),
            (403, r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#, forbidden, "permission denied"),
            (404, r#"{"errors":[]}"#, missing, "nothing at `a/b`"),
            (404, r#"{"data":{"data":null,"metadata":{"version":3,"deletion_time":"x"}}}"#, missing, "was deleted"),
            (404, r#"{"errors":["no handler for route \"a/b\""]}"#, missing, "no handler"),
            (405, r#"{"errors":["unsupported operation"]}"#, malformed, "405"),
            (412, r#"{"errors":["required index state not present"]}"#, away, "caught up"),
            (429, r#"{"errors":["request path \"a\": rate limit quota exceeded"]}"#, busy, "too often"),
            (472, "", away, "standby"),
            (473, "", away, "standby"),
            (500, r#"{"errors":["internal error"]}"#, busy, "status 500"),
            (501, "", away, "not initialised"),
            (502, "<html>", away, "status 502"),
            (503, r#"{"errors":["Vault is sealed"]}"#, away, "is sealed"),
            (418, "", malformed, "418"),
        ] {
            let error = refused(&reply(status, body), "`a/b`");
            assert!(is(&error), "{status}: {error:?}");
            assert!(error.to_string().contains(says), "{status}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_is_no_answer_of_vault() {
        for bad in
            ["", "[]", "{", r#"{"data":1,"lease_duration":-1}"#, r#"{"wrap_info":{"token":"hvs.sekret"}}"#, "null"]
        {
            let error = Answer::parse(bad.as_bytes()).err().expect(bad);
            assert!(matches!(&error, BackendError::Malformed { what } if !what.contains("sekret")), "{bad}: {error}");
        }
        let long = Answer::parse(br#"{"lease_id":"x","lease_duration":18446744073709551615}"#).expect("read");
        assert_eq!(long.lease_duration, LIFE_SECONDS_MAX);
    }
}
