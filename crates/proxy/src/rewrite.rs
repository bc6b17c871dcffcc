//! Real secrets in model requests. A conversation quotes what the agent has read; refusing it would end the agent's work,
//! so each value is replaced by its placeholder before anything is decided or sent. What is judged afterwards, and what
//! permits are bound to, are the octets that leave.
//!
//! Bodies alone, read whole and JSON before and after; everywhere else a real secret is refused.

use bytes::Bytes;
use inject::{KnownSecrets, SessionPlaceholders};
use model::call::BodyView;
use model::canonical::CanonicalRequest;
use model::{Classification, CredentialName, SchemeSpec, bounds};
use serde::de::IgnoredAny;

use crate::accepted::Trip;
use crate::classify::{JudgedBody, schemes};
use crate::gateway::Snapshot;
use crate::session::LiveSession;

/// Memory that replacing takes, in bodies: the one that came, a masked copy, the one that is made.
const COPIES: usize = 3;

/// A model request whose body holds no real secret any more.
pub(crate) struct Rewritten {
    pub(crate) body: JudgedBody,
    pub(crate) classification: Classification,
    /// Whose values it held.
    pub(crate) names: Vec<CredentialName>,
}

/// Octets of a body in which facts are looked for.
pub(crate) fn fact_bound(classification: &Classification) -> usize {
    classification.bounds.body_fact_bytes.unwrap_or(bounds::BODY_FACT_BYTES_DEFAULT)
}

/// Octets of a body that are read before it is decided about.
pub(crate) fn read_bound(classification: &Classification) -> usize {
    fact_bound(classification).max(bounds::APPROVAL_BODY_BYTES_MAX)
}

/// What a classifier may look at of a body that was read whole.
pub(crate) const fn view(bytes: &[u8], fact_bound: usize) -> BodyView<'_> {
    if bytes.len() > fact_bound { BodyView::TooLarge(bytes) } else { BodyView::Whole(bytes) }
}

/// Whether all that is asked are model requests. A host that takes its credential in the body is none: there a real
/// value could become the placeholder that is substituted.
pub(crate) fn is_model_request(
    snapshot: &Snapshot,
    request: &CanonicalRequest,
    classification: &Classification,
) -> bool {
    let service = classification.service.as_ref().and_then(|name| snapshot.catalog.service(name.as_str()));
    service.is_some_and(|service| {
        !classification.calls.is_empty()
            && classification.calls.iter().all(|call| service.is_model_request(call.action.as_str()))
            && !schemes(snapshot, request.origin()).iter().any(|scheme| matches!(scheme, SchemeSpec::Body { .. }))
    })
}

/// The model request without the real secrets of its body; nothing where it is none, or where something would be left.
pub(crate) fn rewrite(
    snapshot: &Snapshot,
    (live, trip): (&LiveSession, &mut Trip),
    request: &CanonicalRequest,
    (classification, body): (&Classification, &JudgedBody),
) -> Option<Rewritten> {
    let came = body.bytes()?;
    if !is_model_request(snapshot, request, classification) {
        return None;
    }
    trip.held.as_mut()?.grow(came.len().saturating_mul(COPIES)).ok()?;
    let holdings = live.holdings();
    let known = holdings.known.as_ref()?;
    let (made, names) = replaced(known, &holdings.placeholders, came)?;
    if made.len() > read_bound(classification) {
        return None;
    }
    // Facts are those of the new text; an upstream that reads it differently than it read the old is judged by the new.
    let classification = snapshot.catalog.classify(request, view(&made, fact_bound(classification))).ok()?;
    let clean = known.find(request, Some(&made)).is_none() && is_model_request(snapshot, request, &classification);
    clean.then(|| Rewritten { body: JudgedBody::whole(made), classification, names })
}

/// A JSON body with every real secret replaced: by the session's placeholder, or by a mask where the session holds none
/// or where the value was encoded.
fn replaced(
    known: &KnownSecrets,
    placeholders: &SessionPlaceholders,
    body: &[u8],
) -> Option<(Bytes, Vec<CredentialName>)> {
    let placeholder = |name: &CredentialName, part| placeholders.part_of(name, part).map(|entry| &*entry.text);
    let (made, names) = known.replace_with_placeholder(body, &placeholder)?;
    (is_json(body) && is_json(&made)).then(|| (made.into(), names))
}

fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use inject::{Entry, Index};
    use model::{AgentName, SessionId};
    use secret::{Material, Secret};

    use super::*;

    const HELD: &str = "ghp_q7Rk2ZtVw9LxN4bYc8DmHs3JpGf6AeUuT1Xo";
    const OTHER: &str = "glpat-Zk3vQ8wL1nR6tY2uX9pM";
    const PLACEHOLDER: &str = "ghp_00000000000000000000000000000000AGENT";

    fn parts() -> (KnownSecrets, SessionPlaceholders) {
        let name = |name: &str| CredentialName::new(name).expect("a name");
        let secrets = [("github", HELD), ("gitlab", OTHER)]
            .map(|(named, value)| (name(named), Material::token(Secret::new(value.into()))));
        let (session, agent) = (SessionId::from_bits(7), AgentName::new("bot").expect("a name"));
        let entry = Entry {
            part: model::Part::Value,
            minted: None,
            text: PLACEHOLDER.into(),
            credential: name("github"),
            service: None,
            session,
            agent: agent.clone(),
        };
        let known = KnownSecrets::new(secrets.iter().map(|(name, material)| (name, material)));
        (known, Index::new().open(session, &agent, vec![entry]).expect("open"))
    }

    #[test]
    fn json_alone_is_rewritten_and_nothing_is_left() {
        let (known, own) = parts();
        let escaped = HELD.replace('_', "\\u005f");
        for (body, want, whose) in [
            (format!(r#"{{"c":"it is {HELD}."}}"#), Some(format!(r#"{{"c":"it is {PLACEHOLDER}."}}"#)), 1),
            (format!(r#"["{escaped}"]"#), Some(format!(r#"["{PLACEHOLDER}"]"#)), 1),
            (format!(r#"["{HELD}","{HELD}"]"#), Some(format!(r#"["{PLACEHOLDER}","{PLACEHOLDER}"]"#)), 1),
            // A value that this session holds no placeholder for is masked.
            (format!(r#"["{OTHER}"]"#), Some(format!(r#"["{}"]"#, "*".repeat(OTHER.len()))), 1),
            // Not JSON, or not any more.
            (format!("token={HELD}"), None, 0),
            (format!(r#"{{"c":"{HELD}""#), None, 0),
            (format!(r#"{{"c":"{HELD}"}} trailing"#), None, 0),
            // Nothing to do.
            (r#"{"c":"hello"}"#.to_owned(), None, 0),
        ] {
            let made = replaced(&known, &own, body.as_bytes());
            assert_eq!(made.as_ref().map_or(0, |(_, names)| names.len()), whose, "{body}");
            let made = made.map(|(made, _)| String::from_utf8(made.to_vec()).expect("text"));
            assert_eq!(made, want, "{body}");
            assert!(made.is_none_or(|made| known.find_in(made.as_bytes()).is_none()), "{body}");
        }
        // Text that is no text is no JSON.
        let odd = [b"[\"\xff".as_slice(), HELD.as_bytes(), b"\"]"].concat();
        assert!(replaced(&known, &own, &odd).is_none());
    }
}
