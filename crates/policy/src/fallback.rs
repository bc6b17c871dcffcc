//! What stands in for a credential that fails: another credential of the same service, or a fixed answer.
//!
//! It is never a way around a denial of the action itself: another credential is decided about anew, and a fixed answer comes from us.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use model::CredentialName;
use model::canonical::is_hop_by_hop;

use crate::document::{At, CredentialEntry, Document, Fallback as Written, Respond};
use crate::rules::CredentialFacts;

/// Octets of a fixed answer's body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Fields of one.
const FIELDS_MAX: usize = 32;
/// The mark of an answer that no upstream gave.
const MARK: &str = "x-valetkey-fallback";

/// What stands in for a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This one, where the policy lets the agent use it for the call.
    Credential(CredentialName),
    /// This answer.
    Respond(Arc<FixedAnswer>),
}

/// An answer that is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedAnswer {
    /// The status.
    pub status: u16,
    /// Its fields, the type of its body among them.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Credentials that stand in for one another are followed this far; the configuration has no circles.
const STEPS_MAX: usize = 16;

/// Whether `other` stands in for `one`, or for one that does.
pub(crate) fn is_behind(
    credentials: &BTreeMap<CredentialName, CredentialFacts>,
    one: &CredentialName,
    other: &CredentialName,
) -> bool {
    let next = |name: &&CredentialName| match credentials.get(*name)?.fallback.as_ref()? {
        Fallback::Credential(next) => Some(next),
        Fallback::Respond(_) => None,
    };
    std::iter::successors(Some(one), next).skip(1).take(STEPS_MAX).any(|name| name == other)
}

/// What an entry of a document that was checked says.
pub(crate) fn of(entry: &CredentialEntry) -> Option<Fallback> {
    let Written { credential, respond, cached: _ } = &entry.fallback.as_ref()?.value;
    if let Some(name) = credential {
        return CredentialName::new(&name.value).ok().map(Fallback::Credential);
    }
    let Respond { status, headers, body } = &respond.as_ref()?.value;
    let is_text = matches!(body, Some(serde_json::Value::String(_)));
    let own = if is_text { "text/plain; charset=utf-8" } else { "application/json" };
    let mut fields: Vec<(HeaderName, HeaderValue)> = headers.iter().filter_map(field).collect();
    if body.is_some() && !fields.iter().any(|(name, _)| name == header::CONTENT_TYPE) {
        fields.push((header::CONTENT_TYPE, HeaderValue::from_static(own)));
    }
    Some(Fallback::Respond(Arc::new(FixedAnswer {
        status: status.value,
        headers: fields,
        body: octets(body.as_ref()),
    })))
}

fn octets(body: Option<&serde_json::Value>) -> Vec<u8> {
    match body {
        None => Vec::new(),
        Some(serde_json::Value::String(text)) => text.clone().into_bytes(),
        Some(other) => other.to_string().into_bytes(),
    }
}

fn field((name, value): &(At<String>, At<String>)) -> Option<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.value.to_ascii_lowercase().as_bytes()).ok()?;
    Some((name, HeaderValue::from_str(&value.value).ok()?))
}

/// Takes a fault: its place and what is wrong.
type Say<'s> = &'s mut dyn FnMut(&At<String>, String);

/// What is wrong with the fallback of a credential.
pub(crate) fn check(name: &str, entry: &CredentialEntry, document: &Document, say: Say<'_>) {
    let Some(at) = &entry.fallback else { return };
    let Written { credential, respond, cached } = &at.value;
    let here = at.with("fallback".to_owned());
    if cached.is_some() {
        return say(&here, "`cached` is not in this version; use `credential` or `respond`".to_owned());
    }
    if entry.kind.as_ref().is_some_and(|kind| kind.value == "database") {
        return say(&here, "nothing stands in for a log-in to a database; take `fallback` out".to_owned());
    }
    match (credential, respond) {
        (Some(other), None) => another((name, entry), other, document, say),
        (None, Some(respond)) => answer(respond, say),
        _ => say(&here, "a fallback is one of `credential` and `respond`".to_owned()),
    }
}

fn another((name, entry): (&str, &CredentialEntry), other: &At<String>, document: &Document, say: Say<'_>) {
    let Some(known) = document.credentials.get(&other.value) else {
        return say(other, format!("there is no credential `{}`; a fallback is declared beside it", other.value));
    };
    let word = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    if word(&known.service) != word(&entry.service) {
        return say(other, format!("`{}` is for another service than `{name}`", other.value));
    }
    if word(&known.kind) != word(&entry.kind) {
        return say(other, format!("`{}` is of another kind than `{name}`, so it does not fit its place", other.value));
    }
    // One step is looked at for each: a circle is found at each of its members.
    let mut seen = vec![name.to_owned()];
    let mut next = Some(other.value.clone());
    while let Some(at) = next {
        if seen.contains(&at) {
            return say(other, format!("the fallbacks of `{name}` come back to `{at}`"));
        }
        let further = document.credentials.get(&at).and_then(|entry| entry.fallback.as_ref());
        next = further.and_then(|further| further.value.credential.as_ref()).map(|further| further.value.clone());
        seen.push(at);
    }
}

fn answer(respond: &At<Respond>, say: Say<'_>) {
    let Respond { status, headers, body } = &respond.value;
    // 401 and 407 would make clients ask for a log-in that nobody here takes.
    if !(200..=599).contains(&status.value) || matches!(status.value, 204 | 205 | 304 | 401 | 407) {
        say(&status.with(status.value.to_string()), "`status` is from 200 to 599, of an answer with a body".to_owned());
    }
    if headers.iter().len() > FIELDS_MAX {
        say(&respond.with("headers".to_owned()), format!("at most {FIELDS_MAX} fields"));
    }
    for pair in headers {
        let Some((name, _)) = field(pair) else {
            say(&pair.0, "it cannot be a field of an answer".to_owned());
            continue;
        };
        if is_hop_by_hop(&name) || name == header::CONTENT_LENGTH || name == MARK {
            say(&pair.0, "this field is ours to write".to_owned());
        }
    }
    if octets(body.as_ref()).len() > BODY_BYTES_MAX {
        say(&respond.with("body".to_owned()), format!("a body has at most {BODY_BYTES_MAX} octets"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(fallback: &str) -> String {
        let text = format!(
            "credentials:\n  a: {{ service: github, fallback: {fallback} }}\n  b: {{ service: github, fallback: {{ credential: c }} }}\n  \
             c: {{ service: github, fallback: {{ credential: b }} }}\n  d: {{ service: github }}\n  e: {{ service: other }}\n  \
             f: {{ service: github, kind: basic }}\n"
        );
        match Document::parse(&text, "f.yaml") {
            Ok((document, _)) => Document::join([document]).err().unwrap_or_default(),
            Err(faults) => faults,
        }
        .iter()
        .map(ToString::to_string)
        .filter(|line| line.starts_with("f.yaml:2:"))
        .collect()
    }

    #[test]
    fn what_is_wrong_with_a_fallback() {
        for good in [
            "{ credential: d }",
            "{ respond: { status: 200, body: { ok: true } } }",
            "{ respond: { status: 503, headers: { Retry-After: '30' }, body: later } }",
        ] {
            assert_eq!(faults(good), "", "{good}");
        }
        for (bad, says) in [
            ("{ }", "one of `credential` and `respond`"),
            ("{ credential: d, respond: { status: 200 } }", "one of `credential` and `respond`"),
            ("{ cached: { max_age: 5m } }", "not in this version"),
            ("{ credential: nobody }", "no credential `nobody`"),
            ("{ credential: a }", "come back to `a`"),
            ("{ credential: b }", "come back to `b`"),
            ("{ credential: e }", "another service"),
            ("{ credential: f }", "another kind"),
            ("{ respond: { status: 99 } }", "from 200 to 599"),
            ("{ respond: { status: 401 } }", "from 200 to 599"),
            ("{ respond: { status: 200, headers: { 'a b': x } } }", "cannot be a field"),
            ("{ respond: { status: 200, headers: { Connection: close } } }", "ours to write"),
            ("{ respond: { status: 200, headers: { content-length: '3' } } }", "ours to write"),
            ("{ respond: { status: 200, headers: { x-valetkey-fallback: no } } }", "ours to write"),
        ] {
            assert!(faults(bad).contains(says), "{bad}: {}", faults(bad));
        }
    }

    #[test]
    fn an_answer_says_what_it_is() {
        let answer = |text: &str| {
            let text = format!("credentials:\n  a: {{ service: github, fallback: {{ respond: {text} }} }}\n");
            let (document, _) = Document::parse(&text, "f.yaml").expect("a document");
            match of(document.credentials.get("a").expect("an entry")) {
                Some(Fallback::Respond(answer)) => answer,
                other => panic!("{other:?}"),
            }
        };
        let json = answer("{ status: 200, body: { ok: true } }");
        assert_eq!((json.body.as_slice(), json.status), (br#"{"ok":true}"#.as_slice(), 200));
        assert_eq!(json.headers, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let text = answer("{ status: 503, headers: { Content-Type: text/html }, body: '<p>' }");
        assert_eq!(text.headers, [(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    }
}
