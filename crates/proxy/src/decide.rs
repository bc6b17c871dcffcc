//! Stage 4: a permit, or a refusal, or a wait for a person.

use std::sync::Arc;

use approval::{Ask, NotApproved, PREVIEW_BYTES_MAX};
use bytes::Bytes;
use http::HeaderMap;
use model::canonical::Length;
use model::event::ApprovalRecord;
use model::{Code, Refusal, Sighting, bounds};
use policy::limit::{Over, Reached, Reservation};
use policy::{ApprovalNeed, Binding, Conditions, Decision, Given, Grant, Permit, Question};
use tokio::time::timeout;

use crate::body::{Search, Spool, Stopped, spool, too_large};
use crate::classify::{Classified, GATHER_TIME_MAX, JudgedBody, leaked};
use crate::exchange::Refused;
use crate::fallback;
use crate::forward::search;
use crate::gateway::Worker;
use crate::identify;

/// When it makes sense to ask for a person's answer again: people take longer, and each time the client may be held.
const PENDING_RETRY_SECONDS: u64 = 10;

/// A request that may leave.
pub(crate) struct Permitted {
    pub(crate) classified: Classified,
    pub(crate) permit: Permit,
}

/// Decides, reserves limits, asks, and decides again after a person has answered.
pub(crate) async fn decide(worker: &Arc<Worker>, mut classified: Classified) -> Result<Permitted, Box<Refused>> {
    match permit(worker, &mut classified).await {
        Ok(permit) => Ok(Permitted { classified, permit }),
        // Who was stopped is denied as well, and nothing stands in for that.
        Err(refusal) if refusal.code == Code::Denied && identify::alive(worker, &classified.who.live).is_ok() => {
            let meant = fallback::meant(&classified);
            fallback::stand_in(worker, classified, meant.as_ref(), refusal).await
        }
        Err(refusal) => Err(classified.trip.refuse(refusal)),
    }
}

/// Decides, reserves limits and asks, for the credential that is presented now.
pub(crate) async fn permit(worker: &Arc<Worker>, classified: &mut Classified) -> Result<Permit, Refusal> {
    same_world(worker, classified)?;
    let mut conditions = judge(worker, classified)?;
    let reservation = reserve(worker, classified, &mut conditions).await?;
    classified.trip.recorder.reserved(reservation.id());
    let mut grant = None;
    if let Some(need) = conditions.approval().cloned() {
        grant = Some(ask(worker, classified, need.clone()).await?);
        // Minutes may have passed: what was true then must be true now.
        same_world(worker, classified)?;
        conditions = judge(worker, classified)?;
        if conditions.approval().is_none_or(|again| again.key != need.key) {
            conditions.ask(need);
        }
    }
    classified.trip.recorder.allowed(conditions.rules(), conditions.observed());
    classified.trip.recorder.under(conditions.grants().first().copied());
    let binding = Binding {
        exchange: classified.trip.recorder.exchange(),
        head: classified.head,
        body: classified.body.digest(),
    };
    let now = worker.gateway.clock.now();
    conditions.satisfy(binding, &reservation, grant.as_ref(), now).map_err(|unmet| {
        Refusal::new(Code::Denied, "The conditions of the rule are not met").internal(unmet.to_string())
    })
}

/// A body or a person may have taken long. What the session may do, and the configuration by which the request was
/// understood, must still hold; where they do not, nothing is decided by what held once.
fn same_world(worker: &Worker, classified: &Classified) -> Result<(), Refusal> {
    identify::alive(worker, &classified.who.live)?;
    if Arc::ptr_eq(&classified.snapshot, &worker.gateway.snapshot.load()) {
        return Ok(());
    }
    let changed = "The configuration changed while this request was under way; send it again";
    Err(Refusal::new(Code::Unavailable, changed).retry_after(1))
}

/// Whether what let a request through once lets it through still: its session, the configuration, and the rules now, with the grants of now. What
/// was reserved and whoever was asked counts for the whole exchange.
pub(crate) fn holds(worker: &Worker, classified: &Classified) -> Result<(), Refusal> {
    same_world(worker, classified)?;
    judge(worker, classified).map(drop)
}

fn question_of<'a>(worker: &Worker, classified: &'a Classified, grants: &'a [Arc<Given>]) -> Question<'a> {
    Question {
        subject: &classified.subject,
        classification: &classified.classification,
        method: classified.request.method(),
        origin: classified.request.origin(),
        presented: classified.presented.as_ref().map(|(_, name)| name),
        grants,
        now: worker.gateway.clock.now(),
    }
}

fn judge(worker: &Worker, classified: &Classified) -> Result<Conditions, Refusal> {
    let grants = classified.who.live.grants();
    match classified.snapshot.rules.decide(&question_of(worker, classified, &grants)) {
        Decision::Allow(conditions) => Ok(conditions),
        Decision::Deny(refusal) => Err(refusal),
    }
}

/// Reserves every limit at once, or none. A limit that asks when it is used up adds its question.
async fn reserve(
    worker: &Worker,
    classified: &Classified,
    conditions: &mut Conditions,
) -> Result<Reservation, Refusal> {
    if conditions.limits().is_empty() {
        return Ok(Reservation::nothing());
    }
    let tenant = &classified.subject.tenant;
    let now = worker.gateway.clock.now();
    let limits = worker.gateway.store.limits();
    match limits.reserve(tenant, conditions.limits(), now).await.map_err(|error| counters_away(&error))? {
        Ok(reservation) => Ok(reservation),
        Err(reached) if reached.need.over == Over::Ask => {
            let rules = &classified.snapshot.rules;
            conditions.ask(rules.ask_over(&question_of(worker, classified, &[]), &reached.need));
            let again = limits.reserve_approved(tenant, conditions.limits(), now).await;
            match again.map_err(|error| counters_away(&error))? {
                Ok(reservation) => Ok(reservation),
                Err(reached) => Err(limit_reached(&reached)),
            }
        }
        Err(reached) => Err(limit_reached(&reached)),
    }
}

pub(crate) fn limit_reached(reached: &Reached) -> Refusal {
    let need = &reached.need;
    let refusal = Refusal::new(Code::LimitReached, format!("The limit {} is reached", need.label)).rule(&need.rule);
    match reached.retry_after_seconds {
        Some(seconds) => refusal.retry_after(seconds),
        None => refusal.hint("this request alone is over the limit; no waiting helps"),
    }
}

/// Counters that cannot be asked are closed (row J119).
pub(crate) fn counters_away(error: &store::StoreError) -> Refusal {
    Refusal::new(Code::Unavailable, "Limits cannot be counted now, so nothing is sent")
        .internal(error.to_string())
        .retry_after(1)
}

/// Reads the whole body: in memory where it is short, else into a file. Streams are searched while they pass; what is read whole for
/// a person has to be searched before he sees it.
async fn gather(worker: &Arc<Worker>, classified: &mut Classified) -> Result<(), Refusal> {
    if !classified.body.passes() {
        return Ok(());
    }
    let bound = classified.classification.bounds.body_bytes.unwrap_or(u64::MAX).min(bounds::SPOOL_BYTES_MAX as u64);
    let length = classified.request.length();
    let in_memory = match length {
        Length::Known(length) if length > bound => return Err(too_large(bound)),
        Length::Known(length) if length > bounds::APPROVAL_BODY_BYTES_MAX as u64 => 0,
        _ => bounds::APPROVAL_BODY_BYTES_MAX,
    };
    let body = std::mem::replace(&mut classified.body, JudgedBody::Empty);
    let live = &classified.who.live;
    let (leak, seen) = match body.read_to(&mut classified.trip, live, in_memory).await? {
        JudgedBody::Front(front) => {
            let search = search(worker, &classified.snapshot, &classified.who, true);
            let stopped = match spooled(worker, classified, (front, search), bound).await {
                Ok((spool, seen)) => {
                    classified.body = JudgedBody::Spooled(Box::new(spool));
                    Ok((None, seen))
                }
                Err(Stopped::Leaked(name)) => Ok((Some(name), Vec::new())),
                Err(Stopped::Refused(refusal)) => Err(refusal),
            };
            stopped?
        }
        body => {
            let bytes = body.bytes().map(|bytes| &**bytes).unwrap_or_default();
            let leak = live.known().and_then(|known| known.find(&classified.request, Some(bytes)));
            let seen = worker.gateway.index.sight_stream(&live.holdings().placeholders).push(bytes);
            classified.body = body;
            (leak, seen)
        }
    };
    if let Some(name) = leak {
        classified.trip.recorder.mask();
        return Err(leaked(&name));
    }
    classified.trip.recorder.sighted(seen).map_or(Ok(()), Err)
}

/// Reads what is left of a body into a file, within the time in which a body must have come.
async fn spooled(
    worker: &Worker,
    classified: &mut Classified,
    (front, search): (Bytes, Search),
    bound: u64,
) -> Result<(Spool, Vec<Sighting>), Stopped> {
    let (gateway, live) = (&worker.gateway, &classified.who.live);
    let trip = &mut classified.trip;
    let malformed = |text: &str| Stopped::Refused(Refusal::new(Code::Malformed, text));
    let Some(incoming) = &mut trip.unread else { return Err(malformed("The request's body was read before")) };
    let sealing = gateway.spools.open(&*gateway.random).map_err(|error| Stopped::cannot(&error))?;
    let room = gateway.spools.room(&live.spooled);
    let spooling = timeout(GATHER_TIME_MAX, spool((front, incoming), sealing, room, search, bound));
    let spooled = tokio::select! {
        spooled = spooling => spooled.unwrap_or_else(|_| Err(malformed("The request's body did not come in time"))),
        () = live.cancelled().cancelled() => Err(Stopped::Refused(identify::ended())),
    };
    if let Some(held) = &mut trip.held {
        held.give_back();
    }
    spooled
}

/// Puts the question, bound to the whole body.
async fn ask(worker: &Arc<Worker>, classified: &mut Classified, need: ApprovalNeed) -> Result<Grant, Refusal> {
    gather(worker, classified).await?;
    let rule = need.rule.clone();
    let question = question(classified, need);
    let ended = classified.who.live.cancelled().clone();
    // Counted before the answer: a client that goes away leaves a question that somebody saw.
    classified.trip.recorder.asks();
    let answer = tokio::select! {
        answer = worker.gateway.room.ask(question) => answer,
        () = ended.cancelled() => return Err(Refusal::new(Code::SessionEnded, "The session has ended")),
    };
    if matches!(answer, Err(NotApproved::NoChannel { .. } | NotApproved::TooMany | NotApproved::Unavailable { .. })) {
        classified.trip.recorder.asked_nobody();
    }
    let recorder = &mut classified.trip.recorder;
    match answer {
        Ok(grant) => {
            recorder.question(ApprovalRecord { id: grant.approval, approver: Some(grant.approver.clone()) });
            Ok(grant)
        }
        Err(not) => {
            if let NotApproved::Pending { id } = not {
                recorder.question(ApprovalRecord { id, approver: None });
            }
            Err(not_approved(not).rule(rule))
        }
    }
}

/// How long the client wants to wait (RFC 7240: `Prefer: wait=SECONDS`, `respond-async` for not at all). It is a wish of the
/// client about us, and passes on like any other field.
pub(crate) fn patience(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut wishes = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
    wishes.find_map(|wish| {
        if wish.eq_ignore_ascii_case("respond-async") {
            return Some(0);
        }
        let (name, seconds) = wish.split_once('=')?;
        let seconds = seconds.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("wait") { seconds.parse().ok() } else { None }
    })
}

fn question(classified: &Classified, need: ApprovalNeed) -> Ask {
    let request = &classified.request;
    let service = classified.classification.service.as_ref();
    let service = service.and_then(|name| classified.snapshot.catalog.service(name.as_str()));
    let sentences = match service {
        Some(service) => classified.classification.calls.iter().map(|call| service.sentence(call)).collect(),
        None => vec![format!("{} {} at {}", request.method(), request.path().raw(), request.origin())],
    };
    let content_type = request.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Ask {
        tenant: classified.subject.tenant.clone(),
        session: classified.subject.session,
        agent: classified.subject.agent.clone(),
        need,
        sentences,
        method: request.method().as_str().to_owned(),
        url: format!("{}://{}{}", request.origin().scheme.as_str(), request.origin(), request.target()),
        content_type: content_type.map(str::to_owned),
        head: classified.head,
        body: classified.body.digest(),
        preview: preview(&classified.body),
        bytes: usize::try_from(classified.body.length()).unwrap_or(usize::MAX),
        task: classified.subject.task.clone(),
        patience_seconds: patience(request.headers()),
    }
}

/// What is kept of a body for people. A copy where that is a part: a question outlives its exchange, and with it the memory that
/// the session is charged for.
fn preview(body: &JudgedBody) -> Bytes {
    match body {
        JudgedBody::Spooled(spool) => spool.preview().clone(),
        JudgedBody::Whole(bytes, _) => {
            bytes.get(..PREVIEW_BYTES_MAX).map_or_else(|| bytes.clone(), Bytes::copy_from_slice)
        }
        JudgedBody::Empty | JudgedBody::Streamed | JudgedBody::Front(_) => Bytes::new(),
    }
}

fn not_approved(not: NotApproved) -> Refusal {
    match not {
        NotApproved::Denied { by, reason } => {
            let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
            Refusal::new(Code::ApprovalDenied, format!("{by} denied this request{why}"))
        }
        NotApproved::Expired => Refusal::new(Code::ApprovalExpired, "Nobody answered in time"),
        NotApproved::Pending { id } => {
            Refusal::new(Code::ApprovalPending, "A person has been asked and has not answered yet")
                .hint("send the identical request again: it waits for the answer, or uses it")
                .retry_after(PENDING_RETRY_SECONDS)
                .approval(id)
        }
        NotApproved::NoChannel { hint } => {
            Refusal::new(Code::Denied, "This action needs a person's approval, and nobody can be asked here").hint(hint)
        }
        NotApproved::TooMany => Refusal::new(Code::ApprovalDenied, "This agent has too many open questions")
            .hint("wait until the open ones are answered"),
        NotApproved::Unavailable { reason } => {
            Refusal::new(Code::Unavailable, "Nobody can be asked now").internal(reason).retry_after(1)
        }
    }
}
