//! `http`: any service that makes keys when it is asked. What is asked stands in the configuration as templates; `{key}` is what
//! authenticates, `{value}` and `{id}` the value that is looked at or retired, `{ticket}` the same however often a step is done again.
//!
//! A service that knows what it made for a ticket (an idempotency key, a name that is taken) makes nothing twice; one that does not may keep a
//! value of a `make` whose answer was lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method, header};
use model::canonical::{Origin, Scheme};
use policy::document::{ByHttp, HttpAuth, Question, Receiver};
use secret::{Field, Material, Secret};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Around, Looked, RotateError, Rotator, Turn};
use crate::Pending;
use crate::backend::Tree;
use crate::far::{Ask, Reply, secret_field};

const JSON: &str = "application/json";

pub(super) struct Http {
    by: ByHttp,
    around: Around,
}

/// What is filled into templates.
struct Holes<'a> {
    turn: &'a Turn<'a>,
    /// What authenticates.
    key: &'a Material,
    /// What it is about; nothing where it is not made yet.
    about: Option<&'a Material>,
}

/// Where a template stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a URL or a form: encoded (RFC 3986 2.1).
    Encoded,
    /// In a text of JSON: escaped, without quotes around it.
    Json,
    /// As it is.
    Plain,
}

impl Http {
    pub fn new(by: ByHttp, around: Around) -> Self {
        Self { by, around }
    }

    async fn ask(
        &self,
        question: &Question,
        usual: Method,
        (turn, about, stays): (&Turn<'_>, Option<&Material>, &Material),
    ) -> Result<Reply, RotateError> {
        let admin = match &self.by.admin {
            Some(admin) => Some(self.around.other(&admin.value).await?),
            None => None,
        };
        let holes = Holes { turn, key: admin.as_deref().unwrap_or(stays), about };
        let url = holes.fill(&question.url.value, Place::Encoded)?;
        let url = std::str::from_utf8(&url).map_err(|_| refused("the URL is no text"))?;
        let Receiver { host, port, target } =
            Receiver::parse(url).map_err(|_| refused("what is filled into the URL does not fit there"))?;
        let origin = Origin { scheme: Scheme::Https, host, port };
        let method = question.method.as_ref().map(|method| Method::from_bytes(method.value.as_bytes()));
        let method = method.transpose().map_err(|_| refused("its method is none of HTTP"))?.unwrap_or(usual);
        let fields = self.fields(question, &holes)?;
        let is_form = fields.iter().any(|(name, value)| {
            *name == header::CONTENT_TYPE && value.as_bytes().starts_with(b"application/x-www-form-urlencoded")
        });
        let place = if is_form { Place::Encoded } else { Place::Json };
        let body = question.body.as_ref().map(|body| holes.fill(&body.value, place)).transpose()?;
        let ask = Ask { method, target, fields, body: body.map(bytes::Bytes::from_owner) };
        Ok(self.around.ask(&origin, &ask).await?)
    }

    fn fields(&self, question: &Question, holes: &Holes<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, RotateError> {
        let mut fields = Vec::new();
        for (name, value) in &question.headers {
            let name =
                HeaderName::from_bytes(name.value.as_bytes()).map_err(|_| refused("a field's name is none of HTTP"))?;
            fields.push((name, secret_field(holes.fill(&value.value, Place::Plain)?)?));
        }
        let has = |wanted: HeaderName| fields.iter().any(|(name, _)| *name == wanted);
        let (is_typed, is_known) = (has(header::CONTENT_TYPE), has(header::AUTHORIZATION));
        if question.body.is_some() && !is_typed {
            fields.push((header::CONTENT_TYPE, HeaderValue::from_static(JSON)));
        }
        let text = match self.by.auth.as_ref().map(|auth| auth.value).unwrap_or_default() {
            _ if is_known => return Ok(fields),
            HttpAuth::None => return Ok(fields),
            HttpAuth::Bearer => holes.fill("Bearer {key}", Place::Plain)?,
            HttpAuth::Basic => {
                let id =
                    id_of(holes.key).ok_or_else(|| refused("`auth: basic` needs a user or an id beside the value"))?;
                let pair = Zeroizing::new([id.expose(), b":", part(holes.key)?].concat());
                Zeroizing::new(format!("Basic {}", &*Zeroizing::new(STANDARD.encode(&*pair))).into_bytes())
            }
        };
        fields.push((header::AUTHORIZATION, secret_field(text)?));
        Ok(fields)
    }

    /// The new value, in the form in which it is stored.
    fn made(&self, reply: &Reply) -> Result<Secret, RotateError> {
        let tree: Tree = serde_json::from_slice(&reply.body)
            .map_err(|_| refused("the answer is no JSON; if it made a value, delete that there"))?;
        let text = |pointer: &str| match tree.0.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => Some(Zeroizing::new(text.clone())),
            Some(Value::Number(number)) => Some(Zeroizing::new(number.to_string())),
            _ => None,
        };
        let missing = |pointer: &str| {
            RotateError::Refused(format!(
                "the answer has no text at `{pointer}`; if it made a value, delete that there"
            ))
        };
        let pointer = self.by.value.value.as_str();
        let value = text(pointer).ok_or_else(|| missing(pointer))?;
        let Some(pointer) = self.by.id.as_ref().map(|id| id.value.as_str()) else {
            return Ok(Secret::new(value.as_bytes().to_vec()));
        };
        let id = text(pointer).ok_or_else(|| missing(pointer))?;
        if matches!(self.around.kind(), "database" | "basic") {
            return Ok(Secret::new([id.as_bytes(), b":", value.as_bytes()].concat()));
        }
        let document = crate::backend::body(&[("key_id", id.as_bytes()), ("secret", value.as_bytes())]);
        let document = document.map_err(refused)?;
        Ok(Secret::new(document.to_vec()))
    }

    /// The parts of a value. One without an id cannot be retired where an id is asked for.
    fn parts(&self, secret: &Secret) -> Result<Material, RotateError> {
        self.around.parts(secret)
    }
}

fn refused(why: &str) -> RotateError {
    RotateError::Refused(why.to_owned())
}

fn part(material: &Material) -> Result<&[u8], RotateError> {
    material.field(Field::Value).map(Secret::expose).ok_or_else(|| refused("the credential has no value"))
}

fn id_of(material: &Material) -> Option<&Secret> {
    material.field(Field::Username).or_else(|| material.field(Field::KeyId))
}

impl Holes<'_> {
    /// What stands for a hole; nothing for what is none.
    fn value(&self, hole: &str) -> Result<Option<&[u8]>, RotateError> {
        let about = || self.about.ok_or_else(|| refused("nothing is made yet that could be filled in"));
        Ok(Some(match hole {
            "ticket" => self.turn.ticket().as_bytes(),
            "credential" => self.turn.name().as_str().as_bytes(),
            "key" => part(self.key)?,
            "value" => part(about()?)?,
            "id" => id_of(about()?).map(Secret::expose).ok_or_else(|| {
                refused(
                    "the value has no id; store it as `{\"key_id\": .., \"secret\": ..}` (`credential add --replace`)",
                )
            })?,
            _ => return Ok(None),
        }))
    }

    fn fill(&self, template: &str, place: Place) -> Result<Zeroizing<Vec<u8>>, RotateError> {
        let mut parts: Vec<(&[u8], bool)> = Vec::new();
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let (front, behind) = rest.split_at(at);
            let end = behind.find('}').unwrap_or(0);
            let value = self.value(behind.get(1..end).unwrap_or_default())?;
            let next = if value.is_some() { end + 1 } else { 1 };
            parts.push((front.as_bytes(), false));
            parts.push(value.map_or((&b"{"[..], false), |value| (value, true)));
            rest = behind.get(next..).unwrap_or_default();
        }
        parts.push((rest.as_bytes(), false));
        // Reserved whole: growing would leave copies behind. An octet is escaped by six.
        let most = parts.iter().map(|(octets, filled)| if *filled { octets.len() * 6 } else { octets.len() }).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(most));
        for (octets, filled) in parts {
            if filled { put(&mut out, octets, place)? } else { out.extend_from_slice(octets) }
        }
        Ok(out)
    }
}

fn put(out: &mut Vec<u8>, octets: &[u8], place: Place) -> Result<(), RotateError> {
    match place {
        Place::Plain => out.extend_from_slice(octets),
        Place::Encoded => {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            for octet in octets {
                if octet.is_ascii_alphanumeric() || b"-._~".contains(octet) {
                    out.push(*octet);
                } else {
                    out.extend([b'%', digit(octet >> 4), digit(octet & 15)]);
                }
            }
        }
        Place::Json => {
            let text =
                std::str::from_utf8(octets).map_err(|_| refused("the value is no text, so it stands in no JSON"))?;
            let mut quoted = Zeroizing::new(Vec::with_capacity(octets.len() * 6 + 2));
            serde_json::to_writer(&mut *quoted, text).map_err(|error| RotateError::Refused(error.to_string()))?;
            out.extend_from_slice(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
        }
    }
    Ok(())
}

/// An answer that is none: whether it may be better later.
fn failed(what: &str, status: u16) -> RotateError {
    let why = format!("{what} is answered with status {status}");
    // 408, 425, 429: not now. Anything else below 500 is a no.
    if matches!(status, 408 | 425 | 429 | 500..) { RotateError::Away(why) } else { RotateError::Refused(why) }
}

impl Rotator for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>> {
        Box::pin(async move {
            let old = self.parts(turn.old().1)?;
            let ids = |question: &Question| format!("{}{:?}", question.url.value, question.body).contains("{id}");
            if self.by.retire.as_ref().is_some_and(ids) && id_of(&old).is_none() {
                // Better now than when nothing can be taken back any more.
                Holes { turn, key: &old, about: Some(&old) }.value("id")?;
            }
            let reply = self.ask(&self.by.make, Method::POST, (turn, None, &old)).await?;
            match reply.status {
                200..=299 => self.made(&reply),
                status => Err(failed("`make`", status)),
            }
        })
    }

    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(async move {
            let (Some(verify), Some((_, made))) = (&self.by.verify, turn.made()) else { return Ok(Looked::Unable) };
            let made = self.parts(made)?;
            // It is tried by itself, whoever made it.
            let own = Self { by: ByHttp { admin: None, ..self.by.clone() }, around: self.around.clone() };
            let reply = own.ask(verify, Method::GET, (turn, Some(&made), &made)).await?;
            match reply.status {
                200..=299 => Ok(Looked::Works),
                status @ (401 | 403) => {
                    Err(RotateError::Refused(format!("the new value does not work: status {status}")))
                }
                status => Err(RotateError::Away(format!("`verify` is answered with status {status}"))),
            }
        })
    }

    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        Box::pin(async move {
            let (Some(retire), Some((_, stays))) = (&self.by.retire, turn.made()) else { return Ok(()) };
            let (old, stays) = (self.parts(turn.old().1)?, self.parts(stays)?);
            let reply = self.ask(retire, Method::DELETE, (turn, Some(&old), &stays)).await?;
            match reply.status {
                200..=299 | 404 | 410 => Ok(()),
                status => Err(failed("`retire`", status)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_for_their_place() {
        let name = model::CredentialName::new("k").expect("a name");
        let (old, key) = (Secret::new(b"old".to_vec()), Material::token(Secret::new(b"a\"b/\\ c".to_vec())));
        let turn = Turn { name: &name, ticket: "rot_1", old: (1, &old), new: None };
        let about = Material::new(vec![
            (Field::Value, Secret::new("v\u{fc}".as_bytes().to_vec())),
            (Field::Username, Secret::new(b"7".to_vec())),
        ]);
        let holes = Holes { turn: &turn, key: &key, about: Some(&about) };
        for (template, place, filled) in [
            ("https://x/{id}?t={ticket}", Place::Encoded, "https://x/7?t=rot_1"),
            ("/{key}/{value}", Place::Encoded, "/a%22b%2F%5C%20c/v%C3%BC"),
            (r#"{"a":"{key}","b":{"c":"{credential}"}}"#, Place::Json, r#"{"a":"a\"b/\\ c","b":{"c":"k"}}"#),
            ("Key {key}; {other} {", Place::Plain, "Key a\"b/\\ c; {other} {"),
            ("}{}{{id}}", Place::Plain, "}{}{7}"),
        ] {
            let made = holes.fill(template, place).expect(template);
            assert_eq!(String::from_utf8_lossy(&made), filled, "{template}");
        }
        let nothing = Holes { about: None, ..holes };
        assert!(nothing.fill("{id}", Place::Plain).is_err() && nothing.fill("{value}", Place::Plain).is_err());
    }
}
