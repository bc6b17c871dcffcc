//! Stage 6: the credential goes on, in the declared slot and nowhere else.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use inject::{Armed, InjectError, Presented, Put};
use model::call::ServiceBounds;
use model::canonical::Scheme;
use model::{AgentName, Classification, Code, CredentialName, Digest, Refusal, ServiceName};
use policy::Permit;

use crate::accepted::Trip;
use crate::answer::tools::Shown;
use crate::body::{Spool, Unsent};
use crate::capture::{Road, Wanted};
use crate::classify::{Classified, JudgedBody, Who};
use crate::cuts::Cuts;
use crate::exchange::Refused;
use crate::gate::Gate;
use crate::gateway::{Snapshot, Worker};
use crate::resolve::Resolved;
use crate::retry::{Kept, Rest};

/// A request that is ready to leave.
pub(crate) struct Ready {
    pub(crate) permit: Permit,
    pub(crate) parcel: Parcel,
}

/// What leaves, with the needles to look for in its answer, and all that its journey needs.
pub(crate) struct Parcel {
    pub(crate) armed: Armed,
    pub(crate) passing: Option<Passing>,
    pub(crate) judged: Judged,
    /// Its name and the mark of its value: connections are kept by both.
    pub(crate) credential: Option<(CredentialName, u64)>,
    /// The client certificate that new connections for it present.
    pub(crate) presents: Option<Box<Presented>>,
    pub(crate) cut: Cuts,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) gate: Option<Box<Gate>>,
    /// What sending it again needs, where it may come to that.
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) who: Who,
    pub(crate) trip: Trip,
}

/// A body that is not in memory.
pub(crate) enum Passing {
    /// It passes as it comes.
    Stream(Box<Unsent>),
    /// It was judged and lies in a file.
    Spool(Box<Spool>),
}

impl Passing {
    fn stream(unsent: Unsent) -> Self {
        Self::Stream(Box::new(unsent))
    }
}

/// What was judged, for redeeming the permit and for bounding the answer.
pub(crate) struct Judged {
    pub(crate) head: Digest,
    pub(crate) body: Option<Digest>,
    pub(crate) bounds: ServiceBounds,
    pub(crate) service: Option<ServiceName>,
    pub(crate) made: Vec<(String, String)>,
    /// The answer may list tools: which of them are shown.
    pub(crate) shown: Option<Shown>,
    /// The answer lists refs before a push of which a rule asks what it touches: git is asked for whole packs.
    pub(crate) whole_packs: bool,
}

/// Puts the credential on, or sends the request as it is.
pub(crate) fn arm(worker: &Arc<Worker>, resolved: Resolved) -> Result<Road, Box<Refused>> {
    let Resolved { permitted, credential, cut, turn } = resolved;
    let wanted = Wanted::of(&permitted, turn);
    let gate = gate(worker, &permitted.classified);
    let Classified {
        request,
        body,
        upgrade,
        snapshot,
        classification,
        head,
        subject,
        presented,
        minted,
        who,
        mut trip,
    } = permitted.classified;
    let judged = Judged {
        head,
        body: body.digest(),
        bounds: classification.bounds,
        service: classification.service.clone(),
        made: made(&snapshot, &classification),
        shown: shown(&snapshot, &classification, &who.live.session.agent),
        whole_packs: whole_packs(&snapshot, &classification, &who.live.session.agent),
    };
    let repeats = upgrade.is_none()
        && wanted.is_none()
        && Kept::is_wanted(&request, &body, credential.as_ref().map(|(_, credential)| credential));
    let kept = repeats.then(|| {
        let snapshot = Arc::clone(&snapshot);
        Kept::of(&request, &body, Rest { head, snapshot, subject, classification, presented, minted })
    });
    let (passing, whole) = sent(body, &mut trip);
    let named = credential.as_ref().map(|(_, credential)| (credential.name().clone(), credential.material().mark()));
    let armed = match &credential {
        None => Ok(Armed::bare(request, whole)),
        Some((scheme, credential)) => {
            let needles = worker.gateway.needles.of(credential, scheme);
            let put = Put { spec: scheme, credential, now: worker.gateway.clock.now() };
            inject::arm(request, put, needles, whole)
        }
    };
    match armed {
        Ok(armed) => {
            if let Some(path) = armed.redacted_target() {
                trip.recorder.redacted_path(&path);
            }
            let presents = credential.and_then(|(_, credential)| Presented::of(credential)).map(Box::new);
            let parcel = Parcel {
                armed,
                passing,
                judged,
                credential: named,
                presents,
                cut,
                snapshot,
                upgrade,
                gate,
                kept,
                who,
                trip,
            };
            Ok(Road::of(Ready { permit: permitted.permit, parcel }, wanted))
        }
        Err(error) => Err(trip.refuse(cannot(&error))),
    }
}

/// How a body is sent: as it passes, or whole.
fn sent(body: JudgedBody, trip: &mut Trip) -> (Option<Passing>, Option<Bytes>) {
    match body {
        JudgedBody::Empty => (None, None),
        JudgedBody::Streamed => (trip.unread.take().map(Unsent::all).map(Passing::stream), None),
        JudgedBody::Front(front) => {
            let held = trip.held.take();
            (trip.unread.take().map(|rest| Passing::stream(Unsent { front, held, rest })), None)
        }
        JudgedBody::Whole(bytes, digest) => {
            trip.recorder.body(Some(digest), bytes.len() as u64);
            (None, Some(bytes))
        }
        JudgedBody::Spooled(spool) => {
            trip.recorder.body(Some(spool.digest()), spool.bytes());
            (Some(Passing::Spool(spool)), None)
        }
    }
}

/// What is judged again while a WebSocket or a bare connection stays open; other exchanges end with their answer.
fn gate(worker: &Arc<Worker>, classified: &Classified) -> Option<Box<Gate>> {
    let stays =
        classified.upgrade.is_some() || matches!(classified.request.origin().scheme, Scheme::Tcp | Scheme::Postgres);
    let opening = &classified.classification;
    let service = opening.service.as_ref().and_then(|name| classified.snapshot.catalog.service(name.as_str()));
    stays.then(|| {
        Box::new(Gate {
            worker: Arc::clone(worker),
            live: Arc::clone(&classified.who.live),
            exchange: classified.trip.recorder.exchange(),
            subject: classified.subject.clone(),
            method: classified.request.method().clone(),
            origin: classified.request.origin().clone(),
            presented: classified.presented.as_ref().map(|(_, name)| name.clone()),
            opening: opening.clone(),
            judges: service.is_some_and(|service| service.judges_messages(opening)),
            judged: Instant::now(),
        })
    })
}

/// Which tools the agent is shown, where the answer may list some.
fn shown(snapshot: &Arc<Snapshot>, classification: &Classification, agent: &AgentName) -> Option<Shown> {
    let name = classification.service.clone()?;
    let service = snapshot.catalog.service(name.as_str())?;
    if !classification.calls.iter().any(|call| service.may_list_tools(call.action.as_str())) {
        return None;
    }
    let (snapshot, agent) = (Arc::clone(snapshot), agent.clone());
    Some(Arc::new(move |tool: &str| {
        let Some(service) = snapshot.catalog.service(name.as_str()) else { return true };
        service.prospects(tool).iter().any(|all| snapshot.rules.might_allow(&agent, &name, all))
    }))
}

/// Whether git is asked for whole packs: the answer lists the refs of a service that knows sets of paths, and a rule speaks of them.
fn whole_packs(snapshot: &Snapshot, classification: &Classification, agent: &AgentName) -> bool {
    let Some(name) = &classification.service else { return false };
    let Some(service) = snapshot.catalog.service(name.as_str()) else { return false };
    classification.calls.iter().any(|call| service.lists_refs(call.action.as_str()))
        && service.touches().any(|fact| snapshot.rules.may_ask(agent, name, fact))
}

/// Names and pointers of what the answer will say was created.
fn made(snapshot: &Snapshot, classification: &Classification) -> Vec<(String, String)> {
    let service = classification.service.as_ref().and_then(|name| snapshot.catalog.service(name.as_str()));
    let Some(service) = service else { return Vec::new() };
    let fields = classification.calls.iter().flat_map(|call| service.made(call.action.as_str()));
    fields.map(|(name, pointer)| (name.to_owned(), pointer.to_owned())).collect()
}

fn cannot(error: &InjectError) -> Refusal {
    if let InjectError::Sign { why } = error {
        return Refusal::new(Code::Malformed, format!("The request cannot be signed anew: {why}"));
    }
    let code = match error {
        InjectError::ClearText { .. } => Code::PlaceholderMisplaced,
        _ => Code::CredentialUnavailable,
    };
    Refusal::new(code, "The credential cannot be put on this request").internal(error.to_string())
}
