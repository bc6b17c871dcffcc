//! `X-Agent-ID`: a claim that is checked against the session; trusted alone only under `serve --dev-identify-by-header`,
//! which binds loopback only and says so loudly.

use std::sync::Arc;

use http::HeaderMap;
use model::Refusal;

use super::unidentified;
use crate::gateway::Worker;
use crate::session::LiveSession;

/// Takes the claim out of the headers.
pub(super) fn take(headers: &mut HeaderMap) -> Option<String> {
    headers.remove("x-agent-id").and_then(|value| value.to_str().ok().map(str::to_owned))
}

/// The newest live session of the named agent.
pub(super) fn find(worker: &Arc<Worker>, agent: &str) -> Result<Arc<LiveSession>, Refusal> {
    let now = worker.gateway.clock.now();
    let all = worker.gateway.sessions.all();
    let live = all.into_iter().filter(|live| live.session.agent.as_str() == agent && live.is_live(now));
    live.max_by_key(|live| live.session.started).ok_or_else(unidentified)
}
