//! Stage 4: a permit, or a refusal, or a wait for a person.

use std::sync::Arc;

use approval::{Ask, NotApproved, PREVIEW_BYTES_MAX};
use bytes::Bytes;
use http::HeaderMap;
use model::event::ApprovalRecord;
use model::{Code, Refusal, bounds};
use policy::limit::{Over, Reached, Reservation};
use policy::{ApprovalNeed, Binding, Conditions, Decision, Grant, Permit, Question};

use crate::classify::{Classified, JudgedBody, leaked};
use crate::exchange::Refused;
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
        Err(refusal) => Err(classified.trip.refuse(refusal)),
    }
}

async fn permit(worker: &Arc<Worker>, classified: &mut Classified) -> Result<Permit, Refusal> {
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

fn question_of<'a>(worker: &Worker, classified: &'a Classified) -> Question<'a> {
    Question {
        subject: &classified.subject,
        classification: &classified.classification,
        method: classified.request.method(),
        origin: classified.request.origin(),
        presented: classified.presented.as_ref().map(|(_, name)| name),
        now: worker.gateway.clock.now(),
    }
}

fn judge(worker: &Worker, classified: &Classified) -> Result<Conditions, Refusal> {
    match classified.snapshot.rules.decide(&question_of(worker, classified)) {
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
            conditions.ask(rules.ask_over(&question_of(worker, classified), &reached.need));
            let again = limits.reserve_approved(tenant, conditions.limits(), now).await;
            match again.map_err(|error| counters_away(&error))? {
                Ok(reservation) => Ok(reservation),
                Err(reached) => Err(limit_reached(&reached)),
            }
        }
        Err(reached) => Err(limit_reached(&reached)),
    }
}

fn limit_reached(reached: &Reached) -> Refusal {
    let need = &reached.need;
    let refusal = Refusal::new(Code::LimitReached, format!("The limit {} is reached", need.label)).rule(&need.rule);
    match reached.retry_after_seconds {
        Some(seconds) => refusal.retry_after(seconds),
        None => refusal.hint("this request alone is over the limit; no waiting helps"),
    }
}

/// Counters that cannot be asked are closed (row J119).
fn counters_away(error: &store::StoreError) -> Refusal {
    Refusal::new(Code::Unavailable, "Limits cannot be counted now, so nothing is sent")
        .internal(error.to_string())
        .retry_after(1)
}

/// Puts the question, bound to the whole body.
async fn ask(worker: &Arc<Worker>, classified: &mut Classified, need: ApprovalNeed) -> Result<Grant, Refusal> {
    let body = std::mem::replace(&mut classified.body, JudgedBody::Empty);
    let unread = body.passes();
    let live = &classified.who.live;
    classified.body = body.gather(&mut classified.trip, live, bounds::APPROVAL_BODY_BYTES_MAX).await?;
    // Streams are searched while they pass; what is read whole for a person has to be searched before he sees it.
    let bytes = classified.body.bytes().filter(|_| unread).map(|bytes| &**bytes);
    if let (Some(known), Some(bytes)) = (live.known(), bytes)
        && let Some(name) = known.find(&classified.request, Some(bytes))
    {
        classified.trip.recorder.mask();
        return Err(leaked(&name));
    }
    let seen = bytes.map(|bytes| worker.gateway.index.sight_stream(&live.holdings().placeholders).push(bytes));
    if let Some(refusal) = classified.trip.recorder.sighted(seen.unwrap_or_default()) {
        return Err(refusal);
    }
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
fn patience(headers: &HeaderMap) -> Option<u64> {
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
        preview: classified.body.bytes().map(preview).unwrap_or_default(),
        bytes: classified.body.bytes().map_or(0, Bytes::len),
        task: classified.subject.task.clone(),
        patience_seconds: patience(request.headers()),
    }
}

/// What is kept of a body for people. A copy where that is a part: a question outlives its exchange, and with it the memory that
/// the session is charged for.
fn preview(body: &Bytes) -> Bytes {
    body.get(..PREVIEW_BYTES_MAX).map_or_else(|| body.clone(), Bytes::copy_from_slice)
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
