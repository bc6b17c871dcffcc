//! A field of the body: a JSON pointer (RFC 6901) or a field of a form. The value changes in place; every other octet
//! stays, so what was judged is what is sent.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;
use model::canonical::{CanonicalRequest, pairs};
use secret::Credential;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Draft, Scheme, Slot, SlotValue, printable, query, values};
use crate::InjectError;

/// `/auth/token`, or `client_secret`.
pub(crate) struct Field<'a> {
    pub field: &'a str,
}

/// How a body is read, by its declared type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
}

fn kind(headers: &HeaderMap) -> Option<Kind> {
    if headers.contains_key(http::header::CONTENT_ENCODING) {
        return None;
    }
    let text = values(headers, "content-type").next()?.ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "application/json" => Some(Kind::Json),
        other if other.ends_with("+json") => Some(Kind::Json),
        _ => None,
    }
}

/// Keys of a pointer; a bare name is a key of the outermost object.
fn keys(field: &str) -> Vec<String> {
    match field.strip_prefix('/') {
        Some(rest) => rest.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect(),
        None => vec![field.to_owned()],
    }
}

/// The members of one JSON object, or the items of an array, with where their values stand in the whole text.
fn step<'a>(whole: &'a str, inside: &'a str, key: &str) -> Option<Range<usize>> {
    let found: &RawValue = if inside.trim_start().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(inside).ok()?;
        let index: usize = key.parse().ok()?;
        items.get(index).copied()?
    } else {
        let Members(members) = serde_json::from_str(inside).ok()?;
        let mut own = members.into_iter().filter(|(name, _)| name == key);
        let (_, value) = own.next()?;
        if own.next().is_some() {
            // A doubled key: readers differ in which one they take (row B28).
            return None;
        }
        value
    };
    let start = (found.get().as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    Some(start..start + found.get().len())
}

/// All members in order, doubles included, values unread.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut all = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    all.push((Cow::Owned(name), value));
                }
                Ok(all)
            }
        }
        from.deserialize_map(Visitor).map(Members)
    }
}

/// Where the JSON text of the field's value stands.
fn locate(text: &str, field: &str) -> Option<Range<usize>> {
    // The whole must be JSON: a tail that some readers skip could hold a second document.
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut at = 0..text.len();
    for key in keys(field) {
        at = step(text, text.get(at)?, &key)?;
    }
    Some(at)
}

impl Field<'_> {
    fn form_name(&self) -> &str {
        self.field.strip_prefix('/').unwrap_or(self.field)
    }

    fn cannot(&self) -> InjectError {
        InjectError::Body { field: self.field.to_owned() }
    }
}

impl Scheme for Field<'_> {
    fn slot(&self) -> Slot<'_> {
        Slot::Body(self.field)
    }

    fn slot_value<'a>(&self, request: &'a CanonicalRequest, body: Option<&'a [u8]>) -> SlotValue<'a> {
        let mut found = SlotValue::default();
        let Some(text) = body.and_then(|body| std::str::from_utf8(body).ok()) else { return found };
        match kind(request.headers()) {
            Some(Kind::Form) => {
                for (name, value) in pairs(text).unwrap_or_default() {
                    if &*name == self.form_name() {
                        found.whole.push(Cow::Owned(value.into_string()));
                    }
                }
            }
            Some(Kind::Json) => {
                if let Some(raw) = locate(text, self.field).and_then(|at| text.get(at)) {
                    match serde_json::from_str::<Cow<'_, str>>(raw) {
                        Ok(value) => found.whole.push(Cow::Owned(value.into_owned())),
                        Err(_) => found.part.push(Cow::Borrowed(raw.as_bytes())),
                    }
                }
            }
            None => {}
        }
        found
    }

    fn apply(&self, draft: &mut Draft, credential: &Credential) -> Result<(), InjectError> {
        let value = printable(credential)?;
        let body = draft.body.clone().ok_or_else(|| self.cannot())?;
        let text = std::str::from_utf8(&body).map_err(|_| self.cannot())?;
        let made = match kind(&draft.headers).ok_or_else(|| self.cannot())? {
            Kind::Form => {
                pairs(text).map_err(|_| self.cannot())?;
                query::put(text, self.form_name(), value).as_bytes().to_vec()
            }
            Kind::Json => {
                let at = locate(text, self.field).ok_or_else(|| self.cannot())?;
                let value = std::str::from_utf8(value).map_err(|_| self.cannot())?;
                let quoted = Zeroizing::new(serde_json::to_string(value).map_err(|_| self.cannot())?);
                let (before, after) = (text.get(..at.start), text.get(at.end..));
                let (Some(before), Some(after)) = (before, after) else { return Err(self.cannot()) };
                [before, quoted.as_str(), after].concat().into_bytes()
            }
        };
        draft.body = Some(Bytes::from(made));
        Ok(())
    }

    fn redacted(&self, name: &str) -> String {
        format!("body {}=<{name}>", self.field)
    }
}
