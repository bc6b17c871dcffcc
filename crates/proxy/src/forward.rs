//! Stage 7: the attempt is written, the permit is spent, the request leaves. No redirect is followed, and nothing is sent twice on one
//! attempt; what comes of it may lead to another ([`crate::retry`]).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use inject::{Armed, ArmedParts, Needles};
use model::canonical::Origin;
use model::{Code, CredentialName, Refusal, bounds};
use policy::{Permit, Redeemed};
use smallvec::SmallVec;

use crate::accepted::Trip;
use crate::arm::{Judged, Parcel, Passing, Ready};
use crate::body::{BodyFate, OutBody, Search};
use crate::classify::{Who, leaked};
use crate::cuts::Cuts;
use crate::exchange::Refused;
use crate::gate::Gate;
use crate::gateway::{Snapshot, Worker};
use crate::identify::ended;
use crate::net::dial::DialError;
use crate::net::pool::{PoolKey, Pooled, SendError, Way};
use crate::record::Attempt;
use crate::retry::Repeat;

/// An answer's head has come.
pub(crate) struct Answered {
    pub(crate) response: Response<Pooled<Incoming>>,
    pub(crate) needles: Option<Arc<Needles>>,
    pub(crate) fate: Option<Arc<BodyFate>>,
    /// Its name and the mark of its value.
    pub(crate) credential: Option<(CredentialName, u64)>,
    pub(crate) cut: Cuts,
    pub(crate) origin: Origin,
    pub(crate) judged: Judged,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) gate: Option<Box<Gate>>,
    pub(crate) who: Who,
    pub(crate) trip: Trip,
}

/// What came of an attempt.
#[expect(clippy::large_enum_variant, reason = "nearly all are answered; a box would be an allocation for each")]
pub(crate) enum Sent {
    /// An answer's head.
    Answered(Answered, Repeat),
    /// No answer.
    Lost(Box<Lost>),
}

/// An attempt without an answer.
pub(crate) struct Lost {
    pub(crate) refusal: Refusal,
    /// The connection had served before, and its server closed it before anything came.
    pub(crate) kept_alive: bool,
    pub(crate) repeat: Repeat,
    pub(crate) who: Who,
    pub(crate) trip: Trip,
}

impl Sent {
    /// The answer, for what is never sent again.
    pub(crate) fn answered(self) -> Result<Answered, Box<Refused>> {
        match self {
            Self::Answered(answered, _) => Ok(answered),
            Self::Lost(lost) => Err(lost.trip.refuse(lost.refusal)),
        }
    }
}

/// What may leave: its attempt is written, its session and its credential were alive after that, and its permit is spent.
/// Made by [`depart`] alone.
pub(crate) struct Departing(Parcel, Redeemed);

impl Departing {
    /// What leaves; it does so once.
    pub(crate) fn parcel(self) -> Parcel {
        self.0
    }
}

/// Writes the attempt and spends the permit: nothing leaves without.
pub(crate) async fn depart(worker: &Arc<Worker>, ready: Ready) -> Result<Departing, Box<Refused>> {
    let Ready { permit, mut parcel } = ready;
    let spent = match parcel.trip.recorder.attempt().await {
        Ok(attempt) => {
            still_alive(worker, &parcel.who, &parcel.cut).and_then(|()| spend(worker, permit, &parcel.judged, attempt))
        }
        Err(refusal) => Err(refusal),
    };
    match spent {
        Ok(redeemed) => Ok(Departing(parcel, redeemed)),
        Err(refusal) => Err(parcel.trip.refuse(refusal)),
    }
}

/// Writes the attempt and sends.
pub(crate) async fn forward(worker: &Arc<Worker>, ready: Ready) -> Result<Sent, Box<Refused>> {
    let Departing(parcel, spent) = depart(worker, ready).await?;
    let Parcel { armed, passing, judged, credential, presents, cut, snapshot, upgrade, gate, kept, who, mut trip } =
        parcel;
    let repeat = Repeat { spent, kept };
    let fate = passing.as_ref().map(|_| Arc::new(BodyFate::default()));
    let key = PoolKey {
        agent: who.live.session.agent.clone(),
        credential: credential.clone(),
        origin: armed.origin().clone(),
    };
    let origin = armed.origin().clone();
    let search = search(worker, &snapshot, &who, matches!(passing, Some(Passing::Stream(_))));
    // Messages that are judged must read as they are.
    let plain = gate.as_ref().is_some_and(|gate| gate.judges);
    let sending = (passing, &judged, fate.as_ref(), search);
    let (request, needles) = request_of(armed, &who, sending, (upgrade.is_some(), plain));
    let way = Way { dialer: &snapshot.dialer, presents: presents.as_deref() };
    let send = pin!(worker.pool.send(way, key, request, upgrade.is_some()));
    match send_within(send, &who, &cut, &judged).await {
        Ok(response) => {
            let answered =
                Answered { response, needles, fate, credential, cut, origin, judged, upgrade, gate, who, trip };
            Ok(Sent::Answered(answered, repeat))
        }
        Err((refusal, kept_alive)) => {
            let refusal = match &fate {
                Some(fate) => fate.leaked().map(leaked).or_else(|| fate.broken().cloned()).unwrap_or(refusal),
                None => refusal,
            };
            let seen = fate.as_ref().map(|fate| fate.take_sighted()).unwrap_or_default();
            let refusal = trip.recorder.sighted(seen).unwrap_or(refusal);
            let unsent = [Code::UpstreamUnreachable, Code::BlockedAddress, Code::UpstreamUntrusted];
            if unsent.contains(&refusal.code) {
                trip.recorder.nothing_sent();
            }
            Ok(Sent::Lost(Box::new(Lost { refusal, kept_alive, repeat, who, trip })))
        }
    }
}

type Sending<'a> = (Option<Passing>, &'a Judged, Option<&'a Arc<BodyFate>>, Search);

/// What a body that streams is searched for; nothing where there is none.
pub(crate) fn search(worker: &Worker, snapshot: &Snapshot, who: &Who, streams: bool) -> Search {
    if !streams {
        return Search::default();
    }
    Search {
        known: who.live.known().as_ref().map(inject::KnownSecrets::scan),
        sight: Some(worker.gateway.index.sight_stream(&who.live.holdings().placeholders)),
        stops_from: snapshot.rules.stops_from(),
    }
}

/// The request as it is sent, and what must not come back.
fn request_of(
    armed: Armed,
    who: &Who,
    sending: Sending<'_>,
    (upgrade, plain): (bool, bool),
) -> (Request<OutBody>, Option<Arc<Needles>>) {
    let ArmedParts { method, target, mut headers, body, needles, signer, .. } = armed.into_parts();
    let fate = sending.2.map(Arc::clone);
    let body = match sending {
        (Some(Passing::Spool(spool)), _, Some(fate), _) => OutBody::spooled(*spool, Arc::clone(fate)),
        (Some(Passing::Stream(stream)), judged, Some(fate), search) => {
            OutBody::stream(*stream, judged.bounds.body_bytes.unwrap_or(u64::MAX), search, Arc::clone(fate))
        }
        _ => OutBody::whole(body),
    };
    let body = match (signer, fate) {
        (Some(signer), Some(fate)) => body.signed(signer, fate),
        _ => body,
    };
    let needles = Some(needles).filter(|needles| !needles.is_empty());
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if plain || needles.is_some() || who.live.holdings().known.is_some() {
            // Compressed messages could be neither scrubbed (row E62), searched nor judged; clients do without when none is agreed on.
            headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    (request, needles)
}

/// Making the attempt durable takes time, in which a session or a grant may have ended or a credential been revoked.
fn still_alive(worker: &Worker, who: &Who, cut: &Cuts) -> Result<(), Refusal> {
    if !who.live.is_live(worker.gateway.clock.now()) {
        return Err(ended());
    }
    cut.refusal().map_or(Ok(()), Err)
}

/// The permit and the attempt are both used up here: one exchange, once, for the octets that were judged.
fn spend(worker: &Worker, permit: Permit, judged: &Judged, attempt: Attempt) -> Result<Redeemed, Refusal> {
    attempt.spend();
    let now = worker.gateway.clock.now();
    match permit.redeem(&judged.head, judged.body.as_ref(), now) {
        Ok(redeemed) => Ok(redeemed),
        Err(stale) => Err(Refusal::new(Code::Denied, "The permission for this request has lapsed; send it again")
            .internal(stale.to_string())),
    }
}

async fn send_within(
    send: impl Future<Output = Result<Response<Pooled<Incoming>>, SendError>>,
    who: &Who,
    cut: &Cuts,
    judged: &Judged,
) -> Result<Response<Pooled<Incoming>>, (Refusal, bool)> {
    let seconds = judged.bounds.answer_head_seconds.unwrap_or(bounds::ANSWER_HEAD_SECONDS_DEFAULT);
    let refusal = tokio::select! {
        biased;
        sent = tokio::time::timeout(Duration::from_secs(seconds), send) => match sent {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => return Err((not_sent(&error), error.is_stale())),
            Err(_) => Refusal::new(Code::UpstreamTimeout, format!("The upstream did not answer within {seconds} s")),
        },
        () = who.live.cancelled().cancelled() => Refusal::new(Code::SessionEnded, "The session has ended"),
        refusal = cut.cut() => refusal,
    };
    Err((refusal, false))
}

fn not_sent(error: &SendError) -> Refusal {
    match error {
        SendError::Dial(error) => not_dialled(error),
        SendError::Broken { .. } => Refusal::new(Code::UpstreamInvalid, "The upstream broke off or broke the protocol")
            .internal(error.to_string()),
    }
}

/// What the agent is told of an upstream to which there is no connection.
pub(crate) fn not_dialled(error: &DialError) -> Refusal {
    let internal = error.to_string();
    let refusal = match error {
        DialError::Blocked { .. } => {
            Refusal::new(Code::BlockedAddress, "The host's address is one that is never dialled")
                .hint("if this is a service of yours, list it under `upstreams:` in the configuration")
        }
        DialError::Untrusted { .. } => {
            Refusal::new(Code::UpstreamUntrusted, "The upstream's certificate does not verify")
                .hint("if your own authority signs it, name its certificate under `upstreams: ca:`")
        }
        DialError::Timeout { .. } => Refusal::new(Code::UpstreamTimeout, "The upstream could not be connected in time"),
        DialError::Resting { seconds, .. } => Refusal::new(
            Code::UpstreamUnreachable,
            "The upstream could not be reached of late, and is left alone for a while",
        )
        .retry_after(*seconds),
        DialError::Unknown { .. } | DialError::Unreachable { .. } => {
            Refusal::new(Code::UpstreamUnreachable, "The upstream cannot be reached").retry_after(1)
        }
    };
    refusal.internal(internal)
}

/// Fields of an answer that belong to one hop, or that lead clients around the proxy (row A14).
pub(crate) fn clean_answer(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let nominated: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .filter_map(|token| HeaderName::from_bytes(token.trim().to_ascii_lowercase().as_bytes()).ok())
            .collect();
        for name in nominated {
            headers.remove(name);
        }
    }
    let dropped: SmallVec<[HeaderName; 8]> = headers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

fn is_dropped(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "alt-svc"
            | "trailer"
    )
}
