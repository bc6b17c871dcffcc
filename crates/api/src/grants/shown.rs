//! A grant as people and agents see it, and as it is recorded.

use std::sync::Arc;

use model::event::{ApprovalRecord, Verdict};
use model::{Event, GrantId, SessionId, Timestamp};
use policy::{Consent, Cut, Scope};
use serde::Serialize;
use store::{GrantRow, GrantState};

/// A grant as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    id: GrantId,
    state: &'static str,
    session: SessionId,
    agent: model::AgentName,
    /// What it covers, or would cover.
    allowed: Vec<Scope>,
    /// What was asked for and not given.
    cut: Vec<Cut>,
    rules: Vec<String>,
    justification: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    ttl_seconds: u64,
    /// Who asked for it or gave it.
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<model::ApprovalId>,
    /// Who said yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<String>,
    asked: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

pub(super) fn shown(row: GrantRow, now: Timestamp) -> Shown {
    let consent: Option<Consent> = row.consent.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let over = row.state == GrantState::Live && !row.is_live(now);
    Shown {
        id: row.id,
        state: if over { GrantState::Ended.as_str() } else { row.state.as_str() },
        session: row.session,
        agent: row.agent,
        allowed: serde_json::from_str(&row.scopes).unwrap_or_default(),
        cut: serde_json::from_str(&row.cut).unwrap_or_default(),
        rules: serde_json::from_str(&row.rules).unwrap_or_default(),
        justification: row.justification,
        task: row.task,
        ttl_seconds: row.ttl_seconds,
        by: row.author,
        approval: row.approval,
        approver: consent.map(|consent| consent.by).filter(|by| !by.is_empty()),
        asked: row.asked,
        expires: row.expires,
        ended: row.ended,
        reason: row.reason,
    }
}

/// What is said of a grant on record.
pub fn describe(event: &mut Event, row: &GrantRow, what: &str) {
    event.agent = Some(row.agent.clone());
    event.session = Some(row.session);
    event.grant = Some(row.id);
    event.task.clone_from(&row.task);
    event.justification = Some(row.justification.clone());
    let scopes: Vec<Scope> = serde_json::from_str(&row.scopes).unwrap_or_default();
    event.service = scopes.first().and_then(|scope| scope.service.parse().ok());
    let rules: Vec<String> = serde_json::from_str(&row.rules).unwrap_or_default();
    event.rules = rules.into_iter().map(Arc::from).collect();
    let consent: Option<Consent> = row.consent.as_deref().and_then(|text| serde_json::from_str(text).ok());
    event.approval = row
        .approval
        .map(|id| ApprovalRecord { id, approver: consent.map(|consent| consent.by).filter(|by| !by.is_empty()) });
    event.decision = match row.state {
        GrantState::Live => Some(Verdict::Allow),
        GrantState::Denied => Some(Verdict::Deny),
        GrantState::Pending | GrantState::Ended => None,
    };
    let why = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
    event.reason = Some(format!("grant {what} by {}, {}{why}", row.author, covers(&scopes)));
}

/// What a grant covers, on one line.
pub(super) fn covers(scopes: &[Scope]) -> String {
    let line =
        |scope: &Scope| format!("{} {} on {}", scope.service, scope.actions.join(", "), scope.resources.join(", "));
    scopes.iter().filter(|scope| !scope.implied).map(line).collect::<Vec<_>>().join("; ")
}

/// The word for a state that a grant has come to.
#[must_use]
pub const fn word(state: GrantState) -> &'static str {
    match state {
        GrantState::Pending => "requested",
        GrantState::Live => "given",
        GrantState::Denied => "denied",
        GrantState::Ended => "ended",
    }
}
