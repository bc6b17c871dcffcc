//! What is common to everything that asks AWS: a pair of keys, the question that they sign, and the Security Token Service, which gives keys
//! that end for others.
#![expect(clippy::disallowed_methods, reason = "the key signs the question")]

pub(crate) mod chain;
pub(crate) mod profile;
pub(crate) mod sigv4;
pub(crate) mod sts;
pub(crate) mod xml;

use http::{HeaderName, HeaderValue, header};
use model::Timestamp;
use secret::{Field, Material, Secret};
use zeroize::Zeroizing;

use crate::backend::{BackendError, without_newline};
use crate::far::{Ask, secret_field};
use sigv4::{Signed, amz_date};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// A pair of keys.
pub(crate) struct Keys {
    pub id: Secret,
    pub secret: Secret,
    /// What goes with one that ends.
    pub token: Option<Secret>,
    pub expires: Option<Timestamp>,
}

/// A question to one service of one region.
pub(crate) struct Question<'a> {
    /// What `Host` holds.
    pub host: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    /// `X-Amz-Target`, for services of JSON.
    pub target: Option<&'static str>,
    pub content_type: &'static str,
    pub body: Zeroizing<Vec<u8>>,
}

fn malformed(what: &str) -> BackendError {
    BackendError::Malformed { what: what.to_owned() }
}

impl Keys {
    /// What is stored as kind `aws`.
    pub fn stored(value: Secret) -> Result<Self, BackendError> {
        let expires = crate::kind::expires("aws", &value);
        let material =
            crate::kind::material("aws", value).map_err(|error| BackendError::Malformed { what: error.to_string() })?;
        let part = |field| material.field(field).map(|part| Secret::new(part.expose().to_vec()));
        match (part(Field::KeyId), part(Field::Value)) {
            (Some(id), Some(secret)) => Ok(Self { id, secret, token: part(Field::SessionToken), expires }),
            _ => Err(malformed("what is stored is no pair of keys")),
        }
    }

    /// The same as it goes on requests.
    pub fn into_material(self) -> Material {
        let mut fields = vec![(Field::Value, self.secret), (Field::KeyId, self.id)];
        fields.extend(self.token.map(|token| (Field::SessionToken, token)));
        Material::new(fields)
    }
}

impl Question<'_> {
    /// The question, signed.
    pub fn signed(self, keys: &Keys, now: Timestamp) -> Result<Ask, BackendError> {
        let date = amz_date(now);
        let token = keys.token.as_ref().map(|token| without_newline(token.expose()));
        let mut fields: Vec<(&str, &[u8])> = vec![
            ("content-type", self.content_type.as_bytes()),
            ("host", self.host.as_bytes()),
            ("x-amz-date", date.as_bytes()),
        ];
        fields.extend(token.map(|token| ("x-amz-security-token", token)));
        fields.extend(self.target.map(|target| ("x-amz-target", target.as_bytes())));
        let signed = Signed {
            method: "POST",
            query: "",
            fields: &fields,
            body: &self.body,
            date: &date,
            region: self.region,
            service: self.service,
        };
        let id = std::str::from_utf8(without_newline(keys.id.expose()));
        let id = id.map_err(|_| malformed("the key's id is no text"))?;
        let authorization = signed.authorization(id, without_newline(keys.secret.expose()));
        let text = |text: &str| HeaderValue::from_str(text).map_err(|_| malformed("the key's id is no plain text"));
        let (date, authorization) = (text(&date)?, text(&authorization)?);
        let token = token.map(|token| secret_field(Zeroizing::new(token.to_vec()))).transpose()?;
        let (target, mut ask) = (self.target, self.unsigned());
        ask.fields.extend([(DATE, date), (header::AUTHORIZATION, authorization)]);
        ask.fields.extend(target.map(|target| (sigv4::TARGET, HeaderValue::from_static(target))));
        ask.fields.extend(token.map(|token| (TOKEN, token)));
        Ok(ask)
    }

    /// The question by nobody: for what proves itself.
    pub fn unsigned(self) -> Ask {
        let mut ask = Ask::post("/", self.body);
        ask.fields = vec![(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))];
        ask
    }
}
