//! Capture, injection's mirror: where the catalogue says that an answer hands out a secret, the answer is held, read, its
//! secrets go into the vault, and the agent gets placeholders in their places (rows E66 and E67). What cannot be read is
//! withheld.
//!
//! It goes on when the client has gone away: a server that rotates refresh tokens has taken the old one back by then, and
//! what it gave instead would be lost for everybody.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use catalog::CaptureMap;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use inject::Document;
use model::bounds::CAPTURE_BYTES_MAX;
use model::event::ResponseRecord;
use model::{Code, CredentialName, Part, Refusal, ServiceName, Timestamp};
use vault::Tokens;

use crate::answer;
use crate::arm::Ready;
use crate::body::AnswerBody;
use crate::classify::captures;
use crate::decide::Permitted;
use crate::exchange::Refused;
use crate::forward::{self, Answered, clean_answer};
use crate::gateway::{Turn, Worker};
use crate::net::pool::Pooled;
use crate::respond::{self, Side};
use crate::session::{Handed, HandedSet};

/// How long an answer that is held may take to come whole.
const READ_TIME_MAX: Duration = Duration::from_mins(1);

/// What the answer is expected to hand out, and whose it will be.
pub(crate) struct Wanted {
    places: Vec<CaptureMap>,
    service: ServiceName,
    credential: Option<CredentialName>,
    minted: Option<CredentialName>,
    /// A refresh token is away.
    turn: Option<Turn>,
}

impl Wanted {
    /// Of a request whose answer hands something out.
    pub(crate) fn of(permitted: &Permitted, turn: Option<Turn>) -> Option<Box<Self>> {
        let classified = &permitted.classified;
        let classification = &classified.classification;
        let service = classification.service.clone().filter(|_| classification.hands_out)?;
        Some(Box::new(Self {
            places: captures(&classified.snapshot, classification).into_iter().cloned().collect(),
            service,
            credential: permitted.permit.credential().cloned(),
            minted: classified.minted.clone(),
            turn,
        }))
    }
}

/// Which way a request goes from here.
pub(crate) enum Road {
    /// Its answer passes as it comes.
    Passes(Ready),
    /// Its answer is held.
    HandsOut(HandsOut),
}

/// A request whose answer hands something out. Only this module can send it: no such answer passes unread.
pub(crate) struct HandsOut {
    ready: Ready,
    wanted: Box<Wanted>,
}

impl HandsOut {
    /// Ends the road: what is asked for has no answer that could be read.
    pub(crate) fn refuse(self) -> Box<Refused> {
        self.ready.parcel.trip.refuse(Refusal::new(Code::Malformed, "What hands out secrets is asked for by HTTP"))
    }
}

impl Road {
    pub(crate) fn of(ready: Ready, wanted: Option<Box<Wanted>>) -> Self {
        match wanted {
            Some(wanted) => Self::HandsOut(HandsOut { ready, wanted }),
            None => Self::Passes(ready),
        }
    }
}

/// The rest of the road for such a request, to its end whatever becomes of the client.
pub(crate) async fn travel(worker: &Arc<Worker>, held: HandsOut) -> Result<Response<AnswerBody>, Box<Refused>> {
    let own = Arc::clone(worker);
    let rest = async move {
        let HandsOut { ready, wanted } = held;
        let answered = forward::forward(&own, ready).await?.answered()?;
        capture(&own, answered, wanted).await
    };
    tokio::spawn(rest).await.unwrap_or_else(|error| {
        // The process is ending; the recorder has written that the exchange was abandoned.
        let refusal = Refusal::new(Code::Unavailable, "The gateway is stopping").internal(error.to_string());
        Ok(respond::refuse(&refusal, Side::Origin, respond::Form::Ours(respond::PROBLEM)))
    })
}

async fn capture(
    worker: &Arc<Worker>,
    answered: Answered,
    wanted: Box<Wanted>,
) -> Result<Response<AnswerBody>, Box<Refused>> {
    let status = answered.response.status();
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    if !status.is_success() || empty {
        return answer::answer(worker, answered);
    }
    let Answered { response, needles, who, trip, .. } = answered;
    let (mut parts, body) = response.into_parts();
    clean_answer(&mut parts.headers);
    parts.extensions.clear();
    let mut document = match read(&parts.headers, body).await {
        Ok(document) => document,
        Err(refusal) => return Err(trip.refuse(refusal)),
    };
    let now = worker.gateway.clock.now();
    let (sets, places) = taken(&mut document, &wanted.places, now);
    let veiled = document.veil();
    let mut captured = Vec::new();
    if !sets.is_empty() {
        let Wanted { service, credential, minted, turn, .. } = *wanted;
        let handed = Handed { service, credential, minted, renews: turn.is_some(), sets };
        let kept = match worker.gateway.source.keep(&who.live, handed).await {
            Ok(kept) => kept,
            Err(refusal) => return Err(trip.refuse(refusal)),
        };
        for (place, texts) in places.iter().zip(&kept.placeholders) {
            for (part, text) in texts {
                if let Some(at) = at(place, *part) {
                    document.put(at, text);
                }
            }
        }
        captured = kept.captured;
    }
    // What else is in it may quote what was put on, or what was just handed out.
    let (mut body, mut scrubbed) = (document.write(), veiled);
    for needles in needles.into_iter().chain(who.live.holdings().guarded.needles.clone()) {
        scrubbed += inject::scrub_headers(&mut parts.headers, &needles);
        if let Some((clean, count)) = needles.scrub(&body) {
            (body, scrubbed) = (clean, scrubbed + count);
        }
    }
    fit(&mut parts.headers, body.len());
    trip.recorder.outcome(
        ResponseRecord { status: status.as_u16(), bytes: body.len() as u64, made: None, captured, scrubbed },
        None,
    );
    Ok(Response::from_parts(parts, AnswerBody::whole(Bytes::from(body))))
}

fn unreadable(why: &str) -> Refusal {
    Refusal::new(Code::UpstreamInvalid, "The answer hands out a secret and cannot be read, so it is withheld")
        .internal(why.to_owned())
}

/// The body, whole, decoded and understood.
async fn read(headers: &HeaderMap, mut body: Pooled<Incoming>) -> Result<Document, Refusal> {
    let gather = async {
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| unreadable(&error.to_string()))?;
            if let Ok(data) = frame.into_data() {
                if all.len() + data.len() > CAPTURE_BYTES_MAX {
                    return Err(unreadable("it is longer than what is held"));
                }
                all.extend_from_slice(&data);
            }
        }
        Ok(all)
    };
    let all = tokio::time::timeout(READ_TIME_MAX, gather).await.map_err(|_| {
        Refusal::new(Code::UpstreamTimeout, "The answer that hands out a secret did not come whole in time")
    })??;
    let document = Document::of_answer(headers, &all, CAPTURE_BYTES_MAX);
    document.map_err(|error| unreadable(&error.to_string()))?.ok_or_else(|| unreadable("it is neither JSON nor a form"))
}

/// Takes every declared secret out. A place without a value hands nothing out: an error, or a log-in not yet complete.
fn taken<'a>(
    document: &mut Document,
    places: &'a [CaptureMap],
    now: Timestamp,
) -> (Vec<HandedSet>, Vec<&'a CaptureMap>) {
    let (mut sets, mut found) = (Vec::new(), Vec::new());
    for place in places {
        let expires = expires(document, place, now);
        let Some(value) = document.take(&place.value) else { continue };
        let refresh = place.refresh.as_deref().and_then(|at| document.take(at));
        let identity = place.identity.as_deref().and_then(|at| document.take(at));
        sets.push(HandedSet { login: place.login, tokens: Tokens { value, refresh, identity, expires } });
        found.push(place);
    }
    (sets, found)
}

fn expires(document: &Document, place: &CaptureMap, now: Timestamp) -> Option<Timestamp> {
    let seconds = place.expires_in.as_deref().and_then(|at| document.number(at));
    if let Some(seconds) = seconds {
        return Some(now.plus_secs(seconds));
    }
    let at = place.expires_at.as_deref()?;
    let moment = document.number(at).map(|seconds| Timestamp::default().plus_secs(seconds));
    moment.or_else(|| document.text(at).and_then(Timestamp::parse))
}

fn at(place: &CaptureMap, part: Part) -> Option<&str> {
    match part {
        Part::Value => Some(&place.value),
        Part::Refresh => place.refresh.as_deref(),
        Part::Identity => place.identity.as_deref(),
        // Keys that sign are handed out by no answer that is captured.
        Part::KeyId | Part::Session => None,
    }
}

/// Makes the head fit the body that leaves.
fn fit(headers: &mut HeaderMap, length: usize) {
    let gone = [
        header::CONTENT_ENCODING,
        header::ACCEPT_RANGES,
        header::ETAG,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
        HeaderName::from_static("content-digest"),
    ];
    for name in gone {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
