//! Capture, injection's mirror: secrets are taken out of an answer that hands them out, and placeholders stand in their
//! places. A document that cannot be read is none: its caller withholds it.

use http::HeaderMap;
use model::bounds::JSON_DEPTH_MAX;
use model::canonical::pairs;
use secret::Secret;
use serde_json::Value;
use zeroize::Zeroize;

use crate::answer::{Answer, Undecodable};

/// Ends of names under which a token may stand that no service file speaks of.
const TOKEN_NAMES: [&str; 2] = ["token", "secret"];
/// A text under such a name that is shorter is a word (`bearer`).
const TOKEN_BYTES_MIN: usize = 16;

/// An answer that was read whole: JSON, or a form (RFC 6749 says JSON; GitHub answers with a form where nobody asks for
/// JSON).
pub struct Document(Form);

enum Form {
    Json(Value),
    Pairs(Vec<(String, String)>),
}

impl Document {
    /// Undoes an answer's coding and reads it; `None` for what is no document.
    ///
    /// # Errors
    /// The coding cannot be undone, or the body is longer than `max` octets.
    pub fn of_answer(headers: &HeaderMap, body: &[u8], max: usize) -> Result<Option<Self>, Undecodable> {
        let plain = Answer::decode(headers, body, max)?;
        let kind = headers.get(http::header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
        Ok(Self::read(kind, &plain))
    }

    /// Reads a body by its type; a body without one, or of plain text, is read as JSON. `None` for anything else.
    #[must_use]
    pub fn read(content_type: Option<&str>, body: &[u8]) -> Option<Self> {
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => {
                let text = std::str::from_utf8(body).ok()?;
                let read = pairs(text).ok()?;
                let own = read.into_iter().map(|(name, value)| (name.into_string(), value.into_string()));
                Some(Self(Form::Pairs(own.collect())))
            }
            "" | "application/json" | "text/json" | "text/plain" | "text/javascript" | "application/javascript" => {
                json(body)
            }
            other if other.ends_with("+json") => json(body),
            _ => None,
        }
    }

    /// Takes a text out; an empty one stays in its place. `at` is a JSON pointer (RFC 6901), whose last key names the
    /// field of a form.
    pub fn take(&mut self, at: &str) -> Option<Secret> {
        let text = std::mem::take(self.text_at(at)?);
        (!text.is_empty()).then(|| Secret::new(text.into_bytes()))
    }

    /// Puts a text where one stands.
    pub fn put(&mut self, at: &str, text: &str) {
        if let Some(there) = self.text_at(at) {
            text.clone_into(there);
        }
    }

    /// A whole number, also one written as text (some servers do).
    #[must_use]
    pub fn number(&self, at: &str) -> Option<u64> {
        match &self.0 {
            Form::Json(tree) => match tree.pointer(at)? {
                Value::String(text) => text.parse().ok(),
                // `3600.0` is what some languages make of a whole number.
                value => value.as_u64().or_else(|| value.as_f64().map(|float| float.max(0.0) as u64)),
            },
            Form::Pairs(_) => self.text(at)?.parse().ok(),
        }
    }

    /// A text that is no secret: a moment.
    #[must_use]
    pub fn text(&self, at: &str) -> Option<&str> {
        match &self.0 {
            Form::Json(tree) => tree.pointer(at)?.as_str(),
            Form::Pairs(all) => {
                let name = at.rsplit('/').next()?;
                all.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
            }
        }
    }

    fn text_at(&mut self, at: &str) -> Option<&mut String> {
        match &mut self.0 {
            Form::Json(tree) => match tree.pointer_mut(at)? {
                Value::String(text) => Some(text),
                _ => None,
            },
            Form::Pairs(all) => {
                let name = at.rsplit('/').next()?;
                // A doubled field: readers differ in which one they take; none is left beside the one that is taken.
                let mut first = true;
                all.retain(|(known, _)| known != name || std::mem::take(&mut first));
                all.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value)
            }
        }
    }

    /// Masks what stands under a name of tokens and was not declared; to be called before placeholders are put in. How
    /// many there were.
    pub fn veil(&mut self) -> u64 {
        let mut count = 0;
        let mut one = |name: &str, text: &mut String| {
            let name = name.to_ascii_lowercase();
            let odd = TOKEN_NAMES.iter().any(|end| name.ends_with(end)) && text.len() >= TOKEN_BYTES_MIN;
            if odd {
                let mask = "*".repeat(text.len());
                text.zeroize();
                *text = mask;
                count += 1;
            }
        };
        match &mut self.0 {
            Form::Json(tree) => walk(tree, "", 0, &mut one),
            Form::Pairs(all) => all.iter_mut().for_each(|(name, value)| one(name, value)),
        }
        count
    }

    /// The document as it is now.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        match &self.0 {
            Form::Json(tree) => serde_json::to_vec(tree).unwrap_or_default(),
            Form::Pairs(all) => {
                let field = |text: &String| crate::scheme::escaped(text.as_bytes());
                let pair = |(name, value): &(String, String)| format!("{}={}", *field(name), *field(value));
                all.iter().map(pair).collect::<Vec<_>>().join("&").into_bytes()
            }
        }
    }
}

fn json(body: &[u8]) -> Option<Document> {
    let tree: Value = serde_json::from_slice(body).ok()?;
    // Nothing but an object or a list hands anything out.
    (tree.is_object() || tree.is_array()).then_some(Document(Form::Json(tree)))
}

fn walk(value: &mut Value, name: &str, depth: usize, one: &mut dyn FnMut(&str, &mut String)) {
    // serde_json reads 128 levels; below the bound of the house nothing is left standing.
    if depth > JSON_DEPTH_MAX {
        *value = Value::Null;
        return;
    }
    match value {
        Value::String(text) => one(name, text),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, name, depth + 1, one)),
        Value::Object(map) => map.iter_mut().for_each(|(key, item)| walk(item, key, depth + 1, one)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");

    #[test]
    fn what_is_declared_is_taken_and_replaced() {
        let body = br#"{"access_token":"real","n":{"t":"other"},"expires_in":3600,"late":"60","access_token":"last"}"#;
        let mut document = Document::read(JSON, body).expect("JSON");
        assert!(document.take("/access_token").is_some_and(|taken| taken.equals(b"last")));
        assert!(document.take("/n/t").is_some_and(|taken| taken.equals(b"other")));
        assert!(document.take("/nothing").is_none() && document.take("/expires_in").is_none());
        assert_eq!((document.number("/expires_in"), document.number("/late")), (Some(3600), Some(60)));
        document.put("/access_token", "placeholder");
        document.put("/n/t", "two");
        let made: Value = serde_json::from_slice(&document.write()).expect("JSON");
        let want =
            serde_json::json!({"access_token": "placeholder", "expires_in": 3600, "late": "60", "n": {"t": "two"}});
        assert_eq!(made, want);
    }

    #[test]
    fn forms_are_read_too() {
        let form = Some("application/x-www-form-urlencoded");
        let mut document = Document::read(form, b"access_token=a%2Bb&access_token=c&scope=x").expect("a form");
        assert!(document.take("/access_token").is_some_and(|taken| taken.equals(b"a+b")));
        document.put("/access_token", "p&q");
        assert_eq!(document.write(), b"access_token=p%26q&scope=x");
    }

    #[test]
    fn what_nobody_declared_is_veiled() {
        let body =
            br#"{"token_type":"bearer","other_token":"0123456789abcdef","a":[{"Client_Secret":"0123456789abcdef"}]}"#;
        let mut document = Document::read(JSON, body).expect("JSON");
        assert_eq!(document.veil(), 2);
        let made = String::from_utf8(document.write()).expect("text");
        assert!(made.contains("bearer") && !made.contains("0123456789abcdef"), "{made}");
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        for (kind, body) in [
            (JSON, &b"{\"a\":"[..]),
            (JSON, b"\"text\""),
            (Some("text/html"), b"{}"),
            (Some("application/octet-stream"), b"{}"),
            (Some("application/x-www-form-urlencoded"), b"\xff=1"),
        ] {
            assert!(Document::read(kind, body).is_none(), "{kind:?}");
        }
        assert!(Document::read(None, b"{}").is_some() && Document::read(Some("text/plain"), b"[]").is_some());
    }
}
