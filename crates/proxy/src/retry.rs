//! Between an answer's head and the agent: whether the request is sent again. It is where that had no effect: refused with 401 by a
//! service whose credential has a newer value, put off with 429, or lost with a connection that the server was closing.
//!
//! What is sent again is decided about once more and travels the road from the vault on, with a permit and an attempt record of its own:
//! this stage gives a [`Permitted`], and nothing that could leave.

pub(crate) mod pace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use model::canonical::CanonicalRequest;
use model::event::ResponseRecord;
use model::{Classification, Code, CredentialName, Digest, Rank, Refusal, Timestamp, bounds};
use policy::{Permit, Redeemed, Subject};
use secret::Credential;
use tokio::time::Instant;

use crate::accepted::Trip;
use crate::classify::{Classified, JudgedBody, Who};
use crate::decide::{self, Permitted};
use crate::exchange::Refused;
use crate::fallback;
use crate::forward::{Answered, Lost, Sent};
use crate::gateway::{Snapshot, Worker};
use crate::identify;

/// What was tried for one exchange so far; it travels with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tries {
    /// A newer value of the credential was asked for.
    renewed: bool,
    /// How often an upstream's 429 was waited for.
    waits: u8,
    /// A connection was lost.
    lost: bool,
    /// How many stood in for a credential that failed.
    pub(crate) stand_ins: u8,
}

/// How often one exchange waits for a 429.
const WAITS_MAX: u8 = 3;
/// What is remembered of a 429 that asks for longer: it would keep others from being sent again for good.
const WAIT_MAX: Duration = Duration::from_hours(1);
/// What a 429 that says nothing asks for.
const WAIT_DEFAULT: Duration = Duration::from_mins(1);

/// What a repetition needs. Kept only where there may be one: the body is none or in memory, nothing is upgraded or handed out, and a
/// credential is put on.
pub(crate) struct Kept {
    request: CanonicalRequest,
    body: Option<(Bytes, Digest)>,
    rest: Rest,
}

/// What of a request is kept besides its head and its body.
pub(crate) struct Rest {
    pub(crate) head: Digest,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) subject: Subject,
    pub(crate) classification: Classification,
    pub(crate) presented: Option<(usize, CredentialName)>,
    pub(crate) minted: Option<CredentialName>,
}

impl Kept {
    /// Whether it may come to a repetition.
    pub(crate) fn is_wanted(request: &CanonicalRequest, body: &JudgedBody, credential: Option<&Credential>) -> bool {
        let in_memory = matches!(body, JudgedBody::Empty | JudgedBody::Whole(..));
        in_memory && credential.is_some_and(|one| one.is_renewable() || request.method().is_idempotent())
    }

    /// Keeps what is needed of a request for which it is wanted.
    pub(crate) fn of(request: &CanonicalRequest, body: &JudgedBody, rest: Rest) -> Box<Self> {
        let body = match body {
            JudgedBody::Whole(bytes, digest) => Some((bytes.clone(), *digest)),
            _ => None,
        };
        Box::new(Self { request: request.repeated(), body, rest })
    }

    /// Whether doing it twice is doing it once (RFC 9110 9.2.2).
    fn is_idempotent(&self) -> bool {
        self.request.method().is_idempotent()
    }

    /// The request as it was judged.
    fn classified(self, who: Who, trip: Trip) -> Classified {
        let Self { request, body, rest } = self;
        let body = body.map_or(JudgedBody::Empty, |(bytes, digest)| JudgedBody::Whole(bytes, digest));
        let Rest { head, snapshot, subject, classification, presented, minted } = rest;
        Classified {
            request,
            body,
            upgrade: None,
            snapshot,
            subject,
            classification,
            head,
            presented,
            minted,
            who,
            trip,
        }
    }
}

/// Where the road goes from here.
#[expect(clippy::large_enum_variant, reason = "nearly all are answered; a box would be an allocation for each")]
pub(crate) enum Next {
    /// To the agent.
    Answered(Answered),
    /// Back to the vault.
    Again(Box<Permitted>),
}

/// What was spent and kept for one attempt.
pub(crate) struct Repeat {
    pub(crate) spent: Redeemed,
    pub(crate) kept: Option<Box<Kept>>,
}

/// Looks at what came of an attempt.
pub(crate) async fn settle(worker: &Arc<Worker>, sent: Sent) -> Result<Next, Box<Refused>> {
    match sent {
        Sent::Answered(answered, repeat) => match answered.response.status() {
            // Boxed: most exchanges come to neither.
            StatusCode::UNAUTHORIZED => Box::pin(renewed(worker, answered, repeat)).await,
            StatusCode::TOO_MANY_REQUESTS => Box::pin(waited(worker, answered, repeat)).await,
            _ => Ok(Next::Answered(answered)),
        },
        Sent::Lost(lost) => lost_one(worker, *lost),
    }
}

/// A connection that had served before was closed by its server before anything of an answer came: what may be done twice is done once
/// more, on another (RFC 9112 9.3.1).
fn lost_one(worker: &Arc<Worker>, lost: Lost) -> Result<Next, Box<Refused>> {
    let Lost { refusal, kept_alive, repeat: Repeat { spent, kept }, who, mut trip } = lost;
    match kept.filter(|kept| kept_alive && kept.is_idempotent() && !trip.tries.lost) {
        Some(kept) => {
            trip.tries.lost = true;
            let why = "sent again: the upstream was closing the connection".to_owned();
            trip.recorder.repeats(ResponseRecord::default(), why, Some(refusal.code));
            again(worker, kept.classified(who, trip), spent)
        }
        None => Err(trip.refuse(refusal)),
    }
}

/// The same request with a permit of its own, if everything that let it through still holds.
fn again(worker: &Arc<Worker>, classified: Classified, spent: Redeemed) -> Result<Next, Box<Refused>> {
    match decide::holds(worker, &classified) {
        Ok(()) => {
            let permit = spent.again(worker.gateway.clock.now());
            Ok(Next::Again(Box::new(Permitted { classified, permit })))
        }
        Err(refusal) => Err(classified.trip.refuse(refusal)),
    }
}

/// What asking for a newer value came to.
enum Renewal {
    /// There is one.
    Newer,
    /// It is the one that was refused, or nobody may be asked now.
    Same,
    /// It cannot be had.
    Failed(Refusal),
}

/// A 401: a newer value is asked for, once, and put on. What cannot be mended passes on, and is noted.
async fn renewed(
    worker: &Arc<Worker>,
    mut answered: Answered,
    Repeat { spent, kept }: Repeat,
) -> Result<Next, Box<Refused>> {
    let Some((name, mark)) = answered.credential.clone() else { return Ok(Next::Answered(answered)) };
    let tried = std::mem::replace(&mut answered.trip.tries.renewed, true);
    let renewal = if tried { Renewal::Same } else { renewal(worker, spent.permit(), (&name, mark)).await };
    let refusal = match renewal {
        Renewal::Same => {
            worker.gateway.doubts.note(&name);
            return Ok(Next::Answered(answered));
        }
        Renewal::Newer => None,
        Renewal::Failed(refusal) => Some(refusal),
    };
    let Answered { who, mut trip, response, .. } = answered;
    drop(response);
    if let Some(refusal) = &refusal {
        let why = format!("`{name}` was refused and could not be renewed: {}", refusal.internal);
        trip.recorder.credential_alert(Rank::High, &name, why);
    }
    let Some(kept) = kept else {
        let renewed = || {
            Refusal::new(
                Code::CredentialExpired,
                format!("The credential `{name}` was past its end and has been renewed"),
            )
            .hint("send the request again; its body has passed, so it cannot be repeated here")
            .retry_after(1)
        };
        return Err(trip.refuse(refusal.unwrap_or_else(renewed)));
    };
    let record = ResponseRecord { status: StatusCode::UNAUTHORIZED.as_u16(), ..ResponseRecord::default() };
    if let Some(refusal) = refusal {
        trip.recorder.repeats(record, format!("`{name}` was refused and could not be renewed"), None);
        let permitted = fallback::stand_in(worker, kept.classified(who, trip), Some(&name), refusal).await?;
        return Ok(Next::Again(Box::new(permitted)));
    }
    trip.recorder.repeats(record, format!("sent again: `{name}` was refused, and renewed"), None);
    again(worker, kept.classified(who, trip), spent)
}

async fn renewal(worker: &Worker, permit: &Permit, (name, mark): (&CredentialName, u64)) -> Renewal {
    let vault = &worker.gateway.vault;
    match vault.renew(permit, (name, mark)) {
        Ok(true) => {}
        Ok(false) | Err(_) => return Renewal::Same,
    }
    let opened = if permit.credential() == Some(name) {
        vault.resolve(permit).await
    } else {
        vault.resolve_minted(permit, name).await
    };
    match opened {
        Ok(credential) if credential.material().mark() == mark => Renewal::Same,
        Ok(_) => Renewal::Newer,
        Err(error) => {
            let code = match error.code() {
                Code::CredentialUnavailable => Code::CredentialExpired,
                code => code,
            };
            let refusal = Refusal::new(code, format!("The credential `{name}` was refused and cannot be renewed now"));
            let refusal = refusal.internal(error.to_string());
            Renewal::Failed(if code.retryable() { refusal.retry_after(5) } else { refusal })
        }
    }
}

/// A 429: what may be done twice waits as long as the upstream asks for, if the request's time allows it, and is sent again.
/// Everything else passes on.
async fn waited(
    worker: &Arc<Worker>,
    answered: Answered,
    Repeat { spent, kept }: Repeat,
) -> Result<Next, Box<Refused>> {
    let kept = kept.filter(|kept| kept.is_idempotent() && answered.trip.tries.waits < WAITS_MAX);
    let (Some(kept), Some((name, _))) = (kept, answered.credential.clone()) else {
        return Ok(Next::Answered(answered));
    };
    let asked = asked_for(answered.response.headers(), worker.gateway.clock.now());
    let deadline = deadline(&answered, &kept);
    let place = (answered.origin.clone(), name);
    let paces = &worker.gateway.paces;
    let Some(mut at) = paces.put_off(&place, Instant::now() + asked, deadline) else {
        return Ok(Next::Answered(answered));
    };
    let Answered { who, cut, mut trip, response, .. } = answered;
    drop(response);
    trip.tries.waits += 1;
    let status = StatusCode::TOO_MANY_REQUESTS.as_u16();
    // For the record of a client that does not wait for it.
    trip.recorder.partly(status, 0);
    let began = Instant::now();
    loop {
        let ended = tokio::select! {
            () = tokio::time::sleep_until(at) => None,
            () = who.live.cancelled().cancelled() => Some(identify::ended()),
            refusal = cut.cut() => Some(refusal),
            () = worker.gateway.drain.cancelled() => {
                Some(Refusal::new(Code::Unavailable, "The gateway is shutting down").retry_after(5))
            }
        };
        if let Some(refusal) = ended {
            return Err(trip.refuse(refusal));
        }
        // Somebody who was sooner may have been put off once more.
        match paces.put_off_again(&place, Instant::now(), deadline) {
            Some(later) => at = later,
            None => break,
        }
    }
    let why = format!("sent again: the upstream asked to wait, for {} s", began.elapsed().as_secs());
    trip.recorder.repeats(ResponseRecord { status, ..ResponseRecord::default() }, why, None);
    again(worker, kept.classified(who, trip), spent)
}

/// Until when the agent may be kept waiting: the time in which an answer must begin, or less where it says so.
fn deadline(answered: &Answered, kept: &Kept) -> Instant {
    let seconds = answered.judged.bounds.answer_head_seconds.unwrap_or(bounds::ANSWER_HEAD_SECONDS_DEFAULT);
    let wish = decide::patience(kept.request.headers()).unwrap_or(seconds);
    Instant::from_std(answered.trip.recorder.accepted()) + Duration::from_secs(seconds.min(wish))
}

/// How long `Retry-After` asks to wait (RFC 9110 10.2.3): seconds or a date. A minute where it says nothing that can be read.
fn asked_for(headers: &HeaderMap, now: Timestamp) -> Duration {
    let said = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    said.and_then(|text| retry_after(text, now)).unwrap_or(WAIT_DEFAULT).min(WAIT_MAX)
}

/// How long a `Retry-After` of this text asks to wait; none where it is neither seconds nor a date.
#[must_use]
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) {
        // More digits than fit are more seconds than anybody waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX)).min(u64::from(u32::MAX))));
    }
    let then = httpdate::parse_http_date(text).ok()?;
    let since = then.duration_since(std::time::UNIX_EPOCH).ok()?;
    let then = Timestamp::default().plus_secs(since.as_secs());
    // Dates have no parts of seconds: one that is now is not in the past.
    Some(Duration::from_micros(then.micros_since(now)))
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
