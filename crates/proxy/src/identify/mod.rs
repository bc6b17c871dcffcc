//! Stage 2: whose request it is. One file per way to say so, one list.

mod header;
mod token;

use std::sync::Arc;

use http::HeaderMap;
use model::{Code, Refusal};

use crate::accepted::{Accepted, Leg};
use crate::exchange::Refused;
use crate::gateway::Worker;
use crate::session::{LiveSession, Place};
use crate::tunnel::Link;

/// What a request says of who sends it. Taken off before the request becomes canonical, so it can never travel on.
#[derive(Default)]
pub(crate) struct Claim {
    /// The session token.
    pub(crate) token: Option<String>,
    /// `X-Agent-ID`: checked against the session, never trusted alone.
    pub(crate) agent: Option<String>,
}

impl Claim {
    /// Takes the claim out of the headers of this leg.
    pub(crate) fn take(leg: Leg, headers: &mut HeaderMap) -> Self {
        Self { token: token::take(leg, headers), agent: header::take(headers) }
    }
}

/// A request with its session.
pub(crate) struct Identified {
    pub(crate) accepted: Accepted,
    pub(crate) live: Arc<LiveSession>,
    pub(crate) place: Place,
}

/// Finds the session and checks that it is alive now: authority is a matter of the request, not of the connection.
pub(crate) async fn identify(
    worker: &Arc<Worker>,
    link: &Link,
    mut accepted: Accepted,
) -> Result<Identified, Box<Refused>> {
    let live = match find(worker, link, &accepted.claim).await {
        Ok(live) => live,
        Err(refusal) => return Err(accepted.refuse(refusal)),
    };
    accepted.trip.recorder.identified(&live);
    if let Err(refusal) = check(worker, &live, &accepted.claim) {
        return Err(accepted.refuse(refusal));
    }
    match live.enter() {
        Some(place) => Ok(Identified { accepted, live, place }),
        None => Err(accepted.refuse(crowded())),
    }
}

fn crowded() -> Refusal {
    Refusal::new(Code::Unavailable, "This session has too many requests under way").retry_after(1)
}

/// The session of a link or a claim.
pub(crate) async fn find(worker: &Arc<Worker>, link: &Link, claim: &Claim) -> Result<Arc<LiveSession>, Refusal> {
    if let Some(live) = &link.session {
        return Ok(Arc::clone(live));
    }
    if let Some(token) = &claim.token {
        return token::find(worker, token).await;
    }
    if let (true, Some(agent)) = (worker.gateway.identify_by_header, &claim.agent) {
        return header::find(worker, agent);
    }
    Err(unidentified())
}

/// One answer for unknown, revoked and missing tokens (row J116).
pub(crate) fn unidentified() -> Refusal {
    Refusal::new(Code::Unidentified, "The request carries no valid session token")
        .hint("start the agent with `valetkey run`, or use the token that `valetkey session start` printed")
}

/// The session was known, and is over.
pub(crate) fn ended() -> Refusal {
    Refusal::new(Code::SessionEnded, "The session has ended")
        .hint("start another with `valetkey run` or `valetkey session start`")
}

/// Whether anything may be done in the session's name now.
pub(crate) fn alive(worker: &Worker, live: &LiveSession) -> Result<(), Refusal> {
    if !live.is_live(worker.gateway.clock.now()) {
        return Err(ended());
    }
    let stopped = worker.gateway.stopped.load();
    if stopped.all || stopped.agents.contains(&live.session.agent) {
        return Err(Refusal::new(Code::Denied, "An operator has stopped this agent").hint(
            "`valetkey stop --agent NAME --lift` lets it work again, `--all --lift` where everything was stopped",
        ));
    }
    Ok(())
}

pub(crate) fn check(worker: &Worker, live: &LiveSession, claim: &Claim) -> Result<(), Refusal> {
    alive(worker, live)?;
    if claim.agent.as_deref().is_some_and(|name| name != live.session.agent.as_str()) {
        return Err(Refusal::new(Code::Unidentified, "X-Agent-ID names another agent than the session token"));
    }
    Ok(())
}
