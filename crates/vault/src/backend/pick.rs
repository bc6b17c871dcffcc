//! What a back end answers, as JSON, and which of it is the value.
#![expect(clippy::disallowed_methods, reason = "what a back end hands out becomes a secret here")]

use secret::Secret;
use serde::Deserialize;
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

/// JSON whose texts are wiped when it is dropped.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Tree(pub Value);

impl Drop for Tree {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(wipe),
        Value::Object(map) => map.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Names of members that are told where one must be chosen.
const NAMES_MAX: usize = 12;

impl Tree {
    /// The value: the member that is named; else what there is, if it is plain what is meant: `value`, a user and a password, the two halves of
    /// an AWS key, a document, or the only member.
    ///
    /// # Errors
    /// Why there is none, in words that hold no value.
    pub fn pick(&self, field: Option<&str>) -> Result<Secret, String> {
        let Value::Object(map) = &self.0 else { return Err("it holds no fields".to_owned()) };
        if let Some(field) = field {
            let value = map.get(field).ok_or_else(|| format!("it has no field `{field}`{}", self.names()))?;
            return text(value).ok_or_else(|| format!("its field `{field}` is empty"));
        }
        let word = |name: &str| map.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(value) = map.get("value").and_then(text) {
            return Ok(value);
        }
        if let (Some(user), Some(password)) = (word("username"), word("password")) {
            return Ok(joined(&[user, ":", password]));
        }
        if let (Some(id), Some(key)) = (word("access_key"), word("secret_key")) {
            return Ok(document(id, key, word("session_token").or_else(|| word("security_token"))));
        }
        if word("secret").is_some() && word("key_id").is_some() {
            return text(&self.0).ok_or_else(|| "it is empty".to_owned());
        }
        match map.iter().next() {
            Some((name, value)) if map.len() == 1 => text(value).ok_or_else(|| format!("its field `{name}` is empty")),
            _ => Err(format!("it holds several fields: name one with `#FIELD`{}", self.names())),
        }
    }

    fn names(&self) -> String {
        let Value::Object(map) = &self.0 else { return String::new() };
        let shown = |name: &String| name.chars().filter(|letter| !letter.is_control()).take(64).collect::<String>();
        let names: Vec<String> = map.keys().take(NAMES_MAX).map(shown).collect();
        if names.is_empty() { String::new() } else { format!(" (it has {})", names.join(", ")) }
    }
}

/// A text as it is, anything else as JSON; nothing where there is nothing.
fn text(value: &Value) -> Option<Secret> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(Secret::new(text.as_bytes().to_vec())),
        other => serde_json::to_vec(other).ok().map(Secret::new),
    }
}

fn joined(parts: &[&str]) -> Secret {
    // Reserved whole: growing would leave copies behind.
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
    Secret::new(out)
}

/// `{"key_id":..,"secret":..,"session_token":..}`.
fn document(id: &str, key: &str, token: Option<&str>) -> Secret {
    let quoted = |text: &str| Zeroizing::new(Value::from(text).to_string());
    let (id, key, token) = (quoted(id), quoted(key), token.map(quoted));
    let mut parts = vec![r#"{"key_id":"#, id.as_str(), r#","secret":"#, key.as_str()];
    if let Some(token) = &token {
        parts.extend([r#","session_token":"#, token.as_str()]);
    }
    parts.push("}");
    joined(&parts)
}

/// A body with these members, none of which leaves a copy behind.
pub(crate) fn body(members: &[(&str, &[u8])]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut out = Zeroizing::new(Vec::with_capacity(
        2 + members.iter().map(|(name, value)| name.len() + 6 * value.len() + 6).sum::<usize>(),
    ));
    out.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        let value = std::str::from_utf8(value).map_err(|_| "what logs in to it is no text")?;
        if at > 0 {
            out.push(b',');
        }
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        let _ = serde_json::to_writer(&mut *out, value);
    }
    out.push(b'}');
    Ok(out)
}

/// What a server that refuses says in its member `message`, in brackets for people; nothing where it says nothing.
pub(super) fn message(body: &[u8]) -> String {
    let tree = serde_json::from_slice::<Tree>(body).unwrap_or_default();
    let text = tree.0.get("message").and_then(Value::as_str);
    text.map_or_else(String::new, |text| format!(" (it says: {})", said(text)))
}

/// The same of a server that puts it under `error`.
pub(super) fn message_of(body: &[u8]) -> String {
    let tree = serde_json::from_slice::<Tree>(body).unwrap_or_default();
    let text = tree.0.pointer("/error/message").and_then(Value::as_str);
    text.map_or_else(String::new, |text| format!(" (it says: {})", said(text)))
}

/// What is meant of a value that may be an object of fields; a text is a value as it stands.
pub(super) fn of_value(value: &[u8], field: Option<&str>) -> Result<Secret, String> {
    let whole = || Secret::new(value.to_vec());
    match (serde_json::from_slice::<Tree>(value).ok().filter(|inner| inner.0.is_object()), field) {
        (Some(inner), Some(field)) => inner.pick(Some(field)),
        (None, Some(_)) => Err("it is a text without fields; leave `#FIELD` out".to_owned()),
        (Some(inner), None) => Ok(inner.pick(None).unwrap_or_else(|_| whole())),
        (None, None) if value.is_empty() => Err("there is nothing".to_owned()),
        (None, None) => Ok(whole()),
    }
}

/// The octets of a secret that goes out in a header field, after these words.
pub(super) fn field(words: &str, secret: &Secret) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(words.len() + secret.len()));
    out.extend_from_slice(words.as_bytes());
    out.extend_from_slice(secret.expose());
    out
}

/// Octets of a word from which on it may be a secret: paths have slashes, and sentences have none that are longer.
const WORD_BYTES_MAX: usize = 20;

/// What a server says, for people: printable and short, without words that may be what it was sent. A server that quotes a question would
/// otherwise put a token into our log.
pub(crate) fn said(text: &str) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(400).collect();
    let ends = |letter: char| letter.is_whitespace() || "\"'`,;:=/()[]{}<>".contains(letter);
    let words = plain.split_inclusive(ends).map(|word| {
        let end = word.chars().next_back().filter(|letter| ends(*letter));
        match (word.len() > WORD_BYTES_MAX, end) {
            (false, _) => word.to_owned(),
            (true, Some(end)) => format!("..{end}"),
            (true, None) => "..".to_owned(),
        }
    });
    words.collect::<String>().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_field_is_meant() {
        for (tree, field, value) in [
            (r#"{"a":"x","b":"y"}"#, Some("b"), "y"),
            (r#"{"a":"x"}"#, None, "x"),
            (r#"{"value":"x","note":"y"}"#, None, "x"),
            (r#"{"username":"ada","password":"p:w"}"#, None, "ada:p:w"),
            (r#"{"username":"ada","password":"p"}"#, Some("password"), "p"),
            (
                r#"{"access_key":"AK","secret_key":"s\"","security_token":null}"#,
                None,
                r#"{"key_id":"AK","secret":"s\""}"#,
            ),
            (
                r#"{"access_key":"AK","secret_key":"s","session_token":"t"}"#,
                None,
                r#"{"key_id":"AK","secret":"s","session_token":"t"}"#,
            ),
            (
                r#"{"key_id":"k","secret":"s","permissions":[]}"#,
                None,
                r#"{"key_id":"k","secret":"s","permissions":[]}"#,
            ),
            (r#"{"a":{"secret":"x"}}"#, Some("a"), r#"{"secret":"x"}"#),
            (r#"{"a":7}"#, None, "7"),
        ] {
            let tree: Tree = serde_json::from_str(tree).expect(tree);
            let picked = tree.pick(field).unwrap_or_else(|why| panic!("{why}"));
            assert!(picked.equals(value.as_bytes()), "{value}");
        }
        for (tree, field, why) in [
            (r#"{"a":"sek","b":"ret"}"#, None, "(it has a, b)"),
            (r#"{"a":"sek"}"#, Some("b"), "no field `b`"),
            (r#"{"a":""}"#, None, "is empty"),
            ("{}", None, "several fields"),
            ("[]", None, "no fields"),
            ("null", Some("a"), "no fields"),
        ] {
            let tree: Tree = serde_json::from_str(tree).expect(tree);
            let said = tree.pick(field).err().expect("none");
            assert!(said.contains(why) && !said.contains("sek") && !said.contains("ret"), "{said}");
        }
    }

    #[test]
    fn bodies_are_json_of_the_size_that_was_reserved() {
        let made = body(&[("role_id", b"r\"\\"), ("secret_id", b"\x01\x02")]).expect("text");
        assert_eq!(made.as_slice(), br#"{"role_id":"r\"\\","secret_id":"\u0001\u0002"}"#);
        assert!(made.len() <= made.capacity());
        assert!(body(&[("a", b"\xff")]).is_err());
    }

    #[test]
    fn what_a_server_quotes_is_not_repeated() {
        let token = format!("hvs.{}", "CAESI".repeat(10));
        for (text, shown) in [
            ("1 error occurred:\n\t* permission denied\n\n", "1 error occurred:  * permission denied  "),
            ("no handler for route \"secret/data/app\"", "no handler for route \"secret/data/app\""),
            (&format!("bad token {token}"), "bad token .."),
            (&format!("token=\"{token}\", role=\"x\""), "token=\"..\", role=\"x\""),
            ("secret_id 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f is over", "secret_id .. is over"),
        ] {
            assert_eq!(said(text), shown);
        }
        assert!(said(&"word ".repeat(1_000)).len() <= 200);
    }
}
