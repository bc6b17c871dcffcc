//! Stages 8 and 9: the answer is scrubbed on its way, and its end is recorded.

mod made;
mod refs;
mod scrub;
pub(crate) mod tools;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use inject::Needles;
use model::{Code, Refusal, bounds};
use smallvec::SmallVec;

use crate::accepted::Leg;
use crate::body::{AnswerBody, AnswerParts, Hook};
use crate::exchange::Refused;
use crate::forward::{Answered, clean_answer};
use crate::gateway::Worker;
use crate::{respond, websocket};

/// Names the credential that was used, on the reverse leg: its clients chose a service, not a credential.
const X_CREDENTIAL_USED: HeaderName = HeaderName::from_static("x-credential-used");

/// Hands the answer on, through the hooks.
pub(crate) fn answer(worker: &Arc<Worker>, answered: Answered) -> Result<Response<AnswerBody>, Box<Refused>> {
    if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return websocket::switch(worker, answered);
    }
    let Answered { response, needles, fate, credential, cut, origin, judged, who, trip, .. } = answered;
    let (mut parts, body) = response.into_parts();
    clean_answer(&mut parts.headers);
    parts.extensions.clear();
    let mut hooks: SmallVec<[Box<dyn Hook>; 2]> = SmallVec::new();
    let mut masked = 0;
    let holdings = who.live.holdings();
    let guarded = &holdings.guarded;
    let bound = judged.service.as_ref().is_some_and(|service| guarded.services.contains(service));
    // An answer to a bare request may show what an earlier one carried.
    let needles = needles.or_else(|| guarded.needles.clone().filter(|_| bound));
    // What is to be read is decoded, whether or not there is anything to mask.
    let is_read = judged.shown.is_some() || judged.whole_packs;
    if let Some(needles) = needles.or_else(|| is_read.then(|| Arc::new(Needles::none()))) {
        masked = inject::scrub_headers(&mut parts.headers, &needles);
        match scrub::Scrub::of(needles, &mut parts.headers, is_read) {
            Ok(hook) => hooks.push(Box::new(hook)),
            Err(refusal) => return Err(trip.refuse(refusal)),
        }
    }
    if let Some(filter) = judged.shown.and_then(|shown| tools::Tools::of(shown, &mut parts.headers)) {
        hooks.push(Box::new(filter));
    }
    if let Some(refs) = judged.whole_packs.then(|| refs::Refs::of(&mut parts.headers)).flatten() {
        hooks.push(Box::new(refs));
    }
    if let Some(made) = made::Made::of(judged.made, &parts.headers) {
        hooks.push(Box::new(made));
    }
    if let (Leg::Reverse, Some(Ok(name))) = (trip.leg, credential.as_ref().map(|(name, _)| name.as_str().parse())) {
        parts.headers.insert(X_CREDENTIAL_USED, name);
    }
    let bare = credential.is_none();
    let live = AnswerBody::live(AnswerParts {
        body,
        hooks,
        recorder: trip.recorder,
        fate,
        status: parts.status.as_u16(),
        masked,
        cut: std::iter::once(who.live.cancelled().clone()).chain(cut).collect(),
        place: Some(who.place),
        idle: Duration::from_secs(judged.bounds.answer_idle_seconds.unwrap_or(bounds::ANSWER_IDLE_SECONDS_DEFAULT)),
    });
    if bare && parts.status == StatusCode::UNAUTHORIZED && judged.service.is_some() {
        return Ok(guide(&mut parts.headers, &origin.to_string(), live));
    }
    Ok(Response::from_parts(parts, live))
}

/// A 401 from a host for which the agent has no credential: its status and `WWW-Authenticate` stay, the body tells which
/// credential is missing and which command adds it.
fn guide(headers: &mut HeaderMap, host: &str, upstream: AnswerBody) -> Response<AnswerBody> {
    let refusal =
        Refusal::new(Code::Unidentified, format!("{host} asks for a credential, and this agent has none for it")).hint(
            "add one with `valetkey credential add NAME --service SERVICE` and name it in the agent's permission",
        );
    let document = respond::document(&refusal, StatusCode::UNAUTHORIZED);
    let mut response = Response::new(AnswerBody::replaced(Bytes::clone(&document), upstream));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenges: Vec<HeaderValue> = headers.get_all(header::WWW_AUTHENTICATE).iter().cloned().collect();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, respond::PROBLEM);
    for challenge in challenges {
        out.append(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
