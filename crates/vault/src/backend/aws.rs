//! `aws-sm:NAME[?version=STAGE][#FIELD]`, AWS Secrets Manager, and `aws-ps:NAME[?version=N][#FIELD]`, the Parameter Store of Systems Manager: their JSON
//! protocol (`X-Amz-Target`), signed by AWS Signature Version 4 (docs.aws.amazon.com, "Create a signed AWS API request") with keys that lie elsewhere.
#![expect(clippy::disallowed_methods, reason = "the key signs the question")]

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use model::{Timestamp, hex};
use secret::Secret;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::pick::{Tree, said};
use super::{Backend, BackendError, Fetched, Local, Wanted, without_newline};
use crate::far::{Ask, Client, Reply, secret_field};
use crate::instance::{LogIn, Site};
use crate::reference::Spot;
use crate::{Pending, Scheme};

const JSON: &str = "application/x-amz-json-1.1";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// A name that nobody has; who is told so is known.
const NOBODY: &str = "valetkey-asks-whether-it-is-known";

pub(super) struct Aws {
    scheme: Scheme,
    client: Client,
    login: LogIn,
    local: Local,
}

/// What is signed (octets of fields in the order of their names), for what.
pub(crate) struct Signed<'a> {
    pub method: &'a str,
    pub query: &'a str,
    pub fields: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
    pub date: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl Aws {
    pub fn new(scheme: Scheme, site: &Site, client: Client, local: Local) -> Self {
        Self { scheme, client, login: site.login.clone(), local }
    }

    const fn service(&self) -> &'static str {
        if matches!(self.scheme, Scheme::AwsPs) { "ssm" } else { "secretsmanager" }
    }

    async fn ask(&self, body: &Value, now: Timestamp) -> Result<Reply, BackendError> {
        let malformed = |what: &str| BackendError::Malformed { what: what.to_owned() };
        let LogIn::AwsKey { region, key_id, secret, session_token } = &self.login else {
            return Err(malformed("nothing says how to log in to AWS; write `region` and `aws_key`"));
        };
        let target = match self.scheme {
            Scheme::AwsPs => "AmazonSSM.GetParameter",
            _ => "secretsmanager.GetSecretValue",
        };
        let id = self.local.secret(key_id, now).await?;
        let key = self.local.secret(secret, now).await?;
        let token = match session_token {
            Some(token) => Some(self.local.secret(token, now).await?),
            None => None,
        };
        let token = token.as_ref().map(|token| without_newline(token.expose()));
        let (body, date) = (body.to_string(), amz_date(now));
        let host = self.client.host();
        let mut fields: Vec<(&str, &[u8])> =
            vec![("content-type", JSON.as_bytes()), ("host", host.as_bytes()), ("x-amz-date", date.as_bytes())];
        fields.extend(token.map(|token| ("x-amz-security-token", token)));
        fields.push(("x-amz-target", target.as_bytes()));
        let signed = Signed {
            method: "POST",
            query: "",
            fields: &fields,
            body: body.as_bytes(),
            date: &date,
            region,
            service: self.service(),
        };
        let id = std::str::from_utf8(without_newline(id.expose())).map_err(|_| malformed("the key's id is no text"))?;
        let authorization = signed.authorization(id, without_newline(key.expose()));
        let text = |text: &str| HeaderValue::from_str(text).map_err(|_| malformed("the key's id is no plain text"));
        let mut ask = Ask::post("/", Zeroizing::new(body.into_bytes()));
        ask.fields.clear();
        let mut ask = ask
            .with(header::CONTENT_TYPE, HeaderValue::from_static(JSON))
            .with(DATE, text(&date)?)
            .with(TARGET, HeaderValue::from_static(target))
            .with(header::AUTHORIZATION, text(&authorization)?);
        if let Some(token) = token {
            ask = ask.with(TOKEN, secret_field(Zeroizing::new(token.to_vec()))?);
        }
        self.client.ask(&ask).await
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

/// `20261120T180000Z`.
pub(crate) fn amz_date(now: Timestamp) -> String {
    let text = now.to_string();
    let seconds: String = text.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
    format!("{seconds}Z")
}

impl Signed<'_> {
    /// The field `Authorization`.
    pub fn authorization(&self, id: &str, key: &[u8]) -> String {
        let day = self.date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let names = self.fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = Zeroizing::new(Vec::with_capacity(4 * 1024));
        canonical.extend_from_slice(format!("{}\n/\n{}\n", self.method, self.query).as_bytes());
        for (name, value) in self.fields {
            canonical.extend_from_slice(name.as_bytes());
            canonical.push(b':');
            canonical.extend_from_slice(value);
            canonical.push(b'\n');
        }
        let body = hex(digest::digest(&digest::SHA256, self.body).as_ref());
        canonical.extend_from_slice(format!("\n{names}\n{body}").as_bytes());
        let hashed = hex(digest::digest(&digest::SHA256, &canonical).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hashed}", self.date);
        let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
        let mut first = Zeroizing::new(Vec::with_capacity(4 + key.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(key);
        let of_day = sign(&first, day.as_bytes());
        let of_region = sign(of_day.as_ref(), self.region.as_bytes());
        let of_service = sign(of_region.as_ref(), self.service.as_bytes());
        let signing = sign(of_service.as_ref(), b"aws4_request");
        let signature = hex(sign(signing.as_ref(), text.as_bytes()).as_ref());
        format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_documentation() {
        // "Examples of the complete Signature Version 4 signing process", GET ListUsers.
        let signed = Signed {
            method: "GET",
            query: "Action=ListUsers&Version=2010-05-08",
            fields: &[
                ("content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
                ("host", b"iam.amazonaws.com"),
                ("x-amz-date", b"20150830T123600Z"),
            ],
            body: b"",
            date: "20150830T123600Z",
            region: "us-east-1",
            service: "iam",
        };
        let made =
            signed.authorization("AKIDEXAMPLE", concat!("wJalrXUtnFEMI/K7MDENG", "+bPxRfiCYEXAMPLEKEY").as_bytes());
        let want = concat!("5d672d79c15b13162d9279b0855cfba6", "789a8edb4c82c400e06b5924a6f2b5d7");
        assert!(made.ends_with(&format!("Signature={want}")), "{made}");
        assert!(
            made.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "),
            "{made}"
        );
        assert_eq!(amz_date(Timestamp::from_secs(1_795_197_600)), "20261120T180000Z");
    }

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
