//! `aws-sm:NAME[?version=STAGE][#FIELD]`, AWS Secrets Manager, and `aws-ps:NAME[?version=N][#FIELD]`, the Parameter Store of Systems Manager: their JSON
//! protocol (`X-Amz-Target`), signed by AWS Signature Version 4 (docs.aws.amazon.com, "Create a signed AWS API request") with keys that lie elsewhere.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use secret::Secret;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::pick::{Tree, said};
use super::{Backend, BackendError, Fetched, Local, Wanted};
use crate::aws::{Keys, Question};
use crate::far::{Client, Reply};
use crate::instance::{LogIn, Site};
use crate::reference::Spot;
use crate::{Pending, Scheme};

const JSON: &str = "application/x-amz-json-1.1";
/// A name that nobody has; who is told so is known.
const NOBODY: &str = "valetkey-asks-whether-it-is-known";

pub(super) struct Aws {
    scheme: Scheme,
    client: Client,
    login: LogIn,
    local: Local,
}

impl Aws {
    pub fn new(scheme: Scheme, site: &Site, client: Client, local: Local) -> Self {
        Self { scheme, client, login: site.login.clone(), local }
    }

    const fn service(&self) -> &'static str {
        if matches!(self.scheme, Scheme::AwsPs) { "ssm" } else { "secretsmanager" }
    }

    async fn ask(&self, body: &Value, now: Timestamp) -> Result<Reply, BackendError> {
        let (region, keys) = match &self.login {
            LogIn::AwsKey { region, key_id, secret, session_token } => {
                let token = match session_token {
                    Some(token) => Some(self.local.secret(token, now).await?),
                    None => None,
                };
                let (id, secret) = (self.local.secret(key_id, now).await?, self.local.secret(secret, now).await?);
                (region, Arc::new(Keys { id, secret, token, expires: None }))
            }
            LogIn::AwsAmbient { region } => (region, self.local.aws(now).await?),
            _ => {
                let what = "nothing says how to log in to AWS; write `region` and `aws_key`".to_owned();
                return Err(BackendError::Malformed { what });
            }
        };
        let host = self.client.host();
        let question = Question {
            host: &host,
            region,
            service: self.service(),
            target: Some(match self.scheme {
                Scheme::AwsPs => "AmazonSSM.GetParameter",
                _ => "secretsmanager.GetSecretValue",
            }),
            content_type: JSON,
            body: Zeroizing::new(body.to_string().into_bytes()),
        };
        self.client.ask(&question.signed(&keys, now)?).await
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let malformed = |why: &str| BackendError::Malformed { what: format!("`{}`: {why}", wanted.reference) };
        let rest = wanted.reference.rest();
        let spot = Spot::read(self.scheme, rest).map_err(malformed)?;
        let name = spot.segments.join("/");
        let body = if self.scheme == Scheme::AwsPs {
            let root = if rest.starts_with('/') { "/" } else { "" };
            let version = spot.version.map_or_else(String::new, |version| format!(":{version}"));
            json!({ "Name": format!("{root}{name}{version}"), "WithDecryption": true })
        } else {
            spot.version
                .map_or_else(|| json!({ "SecretId": name }), |stage| json!({ "SecretId": name, "VersionStage": stage }))
        };
        let reply = self.ask(&body, wanted.now).await?;
        if reply.status != 200 {
            return Err(refused(&reply, &name));
        }
        read(&reply.body, spot.field).map_err(|why| BackendError::Missing { what: format!("`{name}`: {why}") })
    }
}

/// The value of an answer of either.
pub(super) fn read(body: &[u8], field: Option<&str>) -> Result<Fetched, String> {
    let tree: Tree = serde_json::from_slice(body).map_err(|_| "AWS does not answer as it does".to_owned())?;
    let text = |at: &str| tree.0.pointer(at).and_then(Value::as_str);
    let version = tree.0.pointer("/Parameter/Version").and_then(Value::as_u64).unwrap_or(1);
    if let (Some(binary), None) = (text("/SecretBinary"), field) {
        let value = STANDARD.decode(binary).map_err(|_| "its value is no Base64".to_owned())?;
        return Ok(Fetched::of_version(1, Secret::new(value)));
    }
    let value = text("/SecretString").or_else(|| text("/Parameter/Value")).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| "there is nothing".to_owned())?;
    // Most secrets there are objects of fields; a text is a value as it stands.
    let inner = serde_json::from_str::<Tree>(value).ok().filter(|inner| inner.0.is_object());
    let secret = match (inner, field) {
        (Some(inner), Some(field)) => inner.pick(Some(field))?,
        (None, Some(_)) => return Err("it is a text without fields; leave `#FIELD` out".to_owned()),
        (Some(inner), None) => inner.pick(None).unwrap_or_else(|_| Secret::new(value.as_bytes().to_vec())),
        (None, None) => Secret::new(value.as_bytes().to_vec()),
    };
    Ok(Fetched::of_version(version, secret))
}

fn tree(reply: &Reply) -> Tree {
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

/// The name of an exception, without its namespace.
fn named(tree: &Tree) -> &str {
    let name = tree.0.get("__type").and_then(Value::as_str).unwrap_or_default();
    name.rsplit_once('#').map_or(name, |(_, name)| name)
}

/// The same for people.
fn exception(reply: &Reply) -> String {
    said(named(&tree(reply)))
}

fn refused(reply: &Reply, name: &str) -> BackendError {
    let exception = known(reply);
    let status = reply.status;
    match exception {
        "ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound" => {
            BackendError::Missing { what: format!("AWS has no `{name}` in this region, or not this version of it") }
        }
        "InvalidRequestException" => BackendError::Missing { what: format!("`{name}` is about to be deleted at AWS") },
        "ThrottlingException" => BackendError::Busy { what: "AWS is asked too often".to_owned() },
        "AccessDeniedException" | "DecryptionFailure" | "InvalidKeyId" => BackendError::Forbidden {
            what: format!("AWS does not give `{name}` to us ({exception}); allow reading and `kms:Decrypt` to our key"),
        },
        "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => BackendError::Forbidden {
            what: format!("AWS does not take our key ({exception}); check key, region and this machine's clock"),
        },
        _ if status == 429 || status == 500 => BackendError::Busy { what: format!("AWS answers {status}") },
        _ if status > 500 => BackendError::Away { what: format!("AWS answers {status}") },
        _ if status == 403 => BackendError::Forbidden { what: format!("AWS refuses us (status {status})") },
        _ => BackendError::Malformed { what: format!("AWS answers {status} {}", self::exception(reply)) },
    }
}

/// The exception, where it is one that we know.
fn known(reply: &Reply) -> &'static str {
    const KNOWN: [&str; 13] = [
        "ResourceNotFoundException",
        "ParameterNotFound",
        "ParameterVersionNotFound",
        "InvalidRequestException",
        "ThrottlingException",
        "AccessDeniedException",
        "DecryptionFailure",
        "InvalidKeyId",
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "ExpiredTokenException",
        "IncompleteSignature",
        "MissingAuthenticationToken",
    ];
    let tree = tree(reply);
    let name = named(&tree);
    KNOWN.into_iter().find(|known| *known == name).unwrap_or_default()
}

impl Backend for Aws {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let key = if self.scheme == Scheme::AwsPs { "Name" } else { "SecretId" };
            let reply = self.ask(&json!({ key: NOBODY }), now).await?;
            match known(&reply) {
                "ResourceNotFoundException" | "ParameterNotFound" | "AccessDeniedException" => Ok(()),
                _ => Err(refused(&reply, NOBODY)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_value() {
        for (body, field, value) in [
            (json!({"SecretString": "plain"}), None, "plain"),
            (json!({"SecretString": r#"{"a":"x","b":"y"}"#}), Some("b"), "y"),
            (json!({"SecretString": r#"{"a":"x","b":"y"}"#}), None, r#"{"a":"x","b":"y"}"#),
            (json!({"SecretString": r#"{"username":"u","password":"p"}"#}), None, "u:p"),
            (json!({"SecretBinary": "YWJj"}), None, "abc"),
            (json!({"Parameter": {"Value": "v", "Version": 3}}), None, "v"),
        ] {
            let read = read(body.to_string().as_bytes(), field).unwrap_or_else(|why| panic!("{body}: {why}"));
            assert!(read.value.equals(value.as_bytes()), "{body}");
        }
        for (body, field) in [
            (json!({}), None),
            (json!({"SecretString": ""}), None),
            (json!({"SecretString": "plain"}), Some("a")),
            (json!({"SecretString": r#"{"a":"x"}"#}), Some("b")),
            (json!([]), None),
        ] {
            assert!(read(body.to_string().as_bytes(), field).is_err(), "{body}");
        }
    }
}
