//! Classifiers: from a canonical request of a known service to its calls. A file for each road, and helpers that they
//! share ([`body`], [`fact`], [`line`]).
//!
//! A host may have a protocol of its own ([`PROTOCOLS`]), which looks first; the patterns of the service file ([`rest`])
//! take what it leaves, and where a pattern leads to GraphQL, JSON-RPC or a batch, the body says the calls ([`graphql`], [`rpc`], [`batch`]).
//! Messages on an open WebSocket come later, each by itself ([`socket`]).
//! Bodies are read by type ([`body`]), and only for what the matched pattern asks; but forms that are posted are searched for another method,
//! whatever they match.

mod aws;
mod batch;
mod body;
mod fact;
mod form;
mod git;
mod graphql;
mod json;
mod line;
mod multipart;
mod rest;
mod rpc;
mod socket;
mod sql;
mod tcp;
mod touch;
mod tree;

use std::sync::Arc;

use model::bounds::BODY_FACT_BYTES_MAX;
use model::call::BodyView;
use model::canonical::{CanonicalPath, CanonicalRequest, Malformed};
use model::{Call, Class, Classification, Code, Effects, Facts, Refusal, Resource};
use smallvec::{SmallVec, smallvec};

use crate::catalog::HostUse;
use crate::file::Protocol;

pub(crate) use rpc::is_same_but_spelled;
pub use sql::{SESSION_SETTINGS, again, is_harmless_setting, shape};

/// What a classifier found.
pub(crate) struct Found {
    pub calls: SmallVec<[Call; 1]>,
    /// The calls depend on the body, which has not been read; they are the most that they could be.
    pub needs_body: bool,
    /// What decides stands at the front of the body.
    pub reads_front: bool,
    /// The answer hands out a secret that is captured.
    pub hands_out: bool,
}

impl Found {
    /// One call that is certain.
    pub fn one(call: Call) -> Self {
        Self { calls: smallvec![call], needs_body: false, reads_front: false, hands_out: false }
    }

    /// Whether it is this action.
    pub fn is(&self, action: &model::ActionId) -> bool {
        self.calls.iter().any(|call| call.action == *action)
    }
}

/// Everything a classifier may look at.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub at: HostUse<'a>,
    pub request: &'a CanonicalRequest,
    pub body: BodyView<'a>,
    /// Segments of the base path, already matched.
    pub skip: usize,
    /// It stands in a batch.
    pub nested: bool,
}

impl<'a> View<'a> {
    /// Segments after the base path.
    pub fn len(&self) -> usize {
        self.request.path().len().saturating_sub(self.skip)
    }

    /// One segment after the base path.
    pub fn segment(&self, index: usize) -> Option<&'a str> {
        self.request.path().segment(self.skip + index)
    }
}

/// A classifier: nothing where the request is not its kind.
pub(crate) type Classify = fn(View<'_>) -> Result<Option<Found>, Refusal>;

/// Protocols, by the word that hosts use. To add one, write a file and a line.
const PROTOCOLS: &[(Protocol, Classify)] = &[
    (Protocol::Aws, aws::classify),
    (Protocol::Git, git::classify),
    (Protocol::Tcp, tcp::classify),
    (Protocol::Postgres, sql::classify),
];

/// What says its calls in its body: how they are read, and whether the body must be.
type InBody = (fn(View<'_>, &Found) -> Result<Option<Several>, Refusal>, fn(View<'_>, &Found) -> bool);

/// The calls of a body, and the requests that they are of, where it holds whole ones.
#[derive(Default)]
pub(crate) struct Several {
    pub calls: line::Calls,
    pub parts: Vec<model::call::Part>,
}

impl From<line::Calls> for Several {
    fn from(calls: line::Calls) -> Self {
        Self { calls, parts: Vec::new() }
    }
}

/// Each takes what is at its own place. To add one, write a file and a line.
const IN_BODY: &[InBody] = &[
    (|view, found| Ok(graphql::calls(view, found)?.map(Several::from)), graphql::needs_body),
    (|view, found| Ok(rpc::calls(view, found)?.map(Several::from)), rpc::needs_body),
    (batch::calls, batch::needs_body),
];

/// Classifies a request of a known service.
pub(crate) fn classify(
    at: HostUse<'_>,
    request: &CanonicalRequest,
    body: BodyView<'_>,
) -> Result<Classification, Refusal> {
    classify_in(at, request, body, false)
}

/// The same of one that perhaps stands in a batch, which has none in it.
fn classify_in(
    at: HostUse<'_>,
    request: &CanonicalRequest,
    body: BodyView<'_>,
    nested: bool,
) -> Result<Classification, Refusal> {
    let base = &at.host.base;
    let segments = request.path();
    let any_case = at.service.tables.any_case;
    let same = |step: &str, segment: &str| step == segment || any_case && step.eq_ignore_ascii_case(segment);
    let under =
        base.iter().enumerate().all(|(index, step)| segments.segment(index).is_some_and(|found| same(step, found)));
    let view = View { at, request, body, skip: if under { base.len() } else { 0 }, nested };
    let protocol = at.host.protocol.and_then(|wanted| PROTOCOLS.iter().find(|(known, _)| *known == wanted));
    let mut found = match protocol {
        Some((_, classify)) if under => classify(view)?,
        _ => None,
    };
    if found.is_none() && under {
        found = rest::classify(view)?;
    }
    let found = match found {
        Some(found) => found,
        None => unknown(view, None)?,
    };
    let unsure = body::check_method(view)?;
    let mut unread = false;
    let mut several = None;
    for (calls, needs_body) in IN_BODY {
        if several.is_none() {
            several = calls(view, &found)?;
            unread |= several.is_none() && needs_body(view, &found);
        }
    }
    let (several, parts) = several.map_or((None, Vec::new()), |several: Several| (Some(several.calls), several.parts));
    let after = endpoint(request.path(), view.skip);
    let mut bounds = at.service.bounds();
    if found.reads_front {
        bounds.body_fact_bytes = Some(BODY_FACT_BYTES_MAX);
    }
    Ok(Classification {
        service: Some(at.service.name().clone()),
        calls: several.unwrap_or(found.calls),
        needs_body: found.needs_body || unsure || unread,
        hands_out: found.hands_out,
        reads_front: found.reads_front,
        path: if view.skip == 0 { Arc::clone(&after) } else { endpoint(request.path(), 0) },
        endpoint: after,
        bounds,
        parts,
    })
}

/// An unknown path of a known service: the method alone says what it is. A WebSocket is opened by a GET and carries
/// messages both ways: where nobody says what for, it may change things.
pub(crate) fn unknown(view: View<'_>, resource: Option<Resource>) -> Result<Found, Refusal> {
    if view.request.path().has_encoded_slash() && !view.at.service.tables.all_opaque {
        return Err(malformed(Malformed::EncodedSlash));
    }
    let method = view.request.method();
    let Some(action) = view.at.service.unknown_action(method) else {
        return Err(malformed(Malformed::Method));
    };
    let resource =
        resource.unwrap_or_else(|| Resource::new(&format!("resource:{}", endpoint(view.request.path(), view.skip))));
    let class = Class::of_method(method);
    let class = if view.request.is_websocket() { class.max(Class::Write) } else { class };
    let taken = rpc::may_be_taken(view) || socket::may_be_taken(view);
    let strength = if taken { (Class::Admin, Effects::EVERY) } else { (class, Effects::NONE) };
    let (class, effects) = strength;
    Ok(Found::one(Call { action: action.clone(), class, effects, resource, facts: Facts::default() }))
}

/// The path after the base path, decoded, with its leading slash. A slash inside a segment stays `%2F`, so that the
/// text divides where the path does.
pub(crate) fn endpoint(path: &CanonicalPath, skip: usize) -> Arc<str> {
    if skip == 0 && !path.raw().contains('%') {
        return Arc::from(path.raw());
    }
    let mut text = String::with_capacity(path.raw().len());
    for segment in path.segments().skip(skip) {
        text.push('/');
        if segment.contains('/') {
            text.push_str(&segment.replace('/', "%2F"));
        } else {
            text.push_str(segment);
        }
    }
    if text.is_empty() || path.has_trailing_slash() {
        text.push('/');
    }
    text.into()
}

pub(crate) fn malformed(why: Malformed) -> Refusal {
    Refusal::new(Code::Malformed, format!("Request is malformed: {why}"))
}

pub(crate) fn refuse(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Code::Malformed, sentence)
}
