//! Questions to people. Anybody who may ask may look and deny; a yes needs an operator's own token, because the socket's
//! peer is the same user as the agent that asks (row H100), a role that approves, and a name that the rule allows.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::ApprovalId;
use serde::{Deserialize, Serialize};
use store::{Answer, Answered, ApprovalRow, Scope, Verdict};

use crate::auth::Caller;
use crate::{Api, Problem};

/// A question as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    id: ApprovalId,
    session: model::SessionId,
    agent: model::AgentName,
    sentence: String,
    rule: String,
    state: &'static str,
    asked: model::Timestamp,
    expires: model::Timestamp,
    digest: model::Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hash: Option<model::Digest>,
}

/// What `POST /v1/approvals/{id}` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    decision: Decision,
    #[serde(default)]
    scope: Reach,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Approve,
    Deny,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reach {
    #[default]
    Once,
    Session,
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown>>, Problem> {
    let rows = api.store.approvals().open(&api.tenant, api.clock.now()).await?;
    Ok(Json(rows.into_iter().map(shown).collect()))
}

pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Shown>, Problem> {
    let row = api.store.approvals().get(&api.tenant, parse(&id)?).await?;
    row.map(|row| Json(shown(row))).ok_or_else(|| Problem::missing("approval"))
}

pub(crate) async fn answer(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let id = parse(&id)?;
    let Json(wanted) = wanted?;
    if wanted.decision == Decision::Approve && !caller.is_operator() {
        let detail = "a yes needs an operator's token; without one the agent itself could be asking on this socket";
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    }
    if wanted.decision == Decision::Approve && !caller.may_approve() {
        let detail = format!("`{}` may not approve; give the operator the role `approver` to allow it", caller.name());
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    }
    let now = api.clock.now();
    let row = api.store.approvals().get(&api.tenant, id).await?.ok_or_else(|| Problem::missing("approval"))?;
    let session = api.store.sessions().get(&api.tenant, row.session).await?;
    let given = Answer {
        approver: caller.name(),
        verdict: if wanted.decision == Decision::Approve { Verdict::Approve } else { Verdict::Deny },
        scope: match wanted.scope {
            Reach::Once => Scope::Once,
            Reach::Session => Scope::Session,
        },
        until: session.map_or(now, |session| session.expires),
    };
    match api.store.approvals().answer(&api.tenant, id, &given, now).await? {
        Answered::Settled(_) | Answered::Counted { .. } => {
            api.plane.refresh().await;
            api.plane.record(&caller.name(), &format!("answered {id}: {}", given.verdict));
            Ok(StatusCode::NO_CONTENT)
        }
        Answered::Late(state) => Err(Problem::conflict(format!("this question is already {state}"))),
        Answered::Unknown => Err(Problem::missing("approval")),
        Answered::NotAllowed => {
            let (by, of) = (caller.name(), row.approvers.join(", "));
            let detail = format!("`{by}` may not approve this question; its rule names {of}");
            Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail))
        }
    }
}

fn parse(id: &str) -> Result<ApprovalId, Problem> {
    id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))
}

fn shown(row: ApprovalRow) -> Shown {
    Shown {
        id: row.id,
        session: row.session,
        agent: row.agent,
        sentence: row.sentence,
        rule: row.rule,
        state: row.state.as_str(),
        asked: row.asked,
        expires: row.expires,
        digest: row.head,
        body_hash: row.body,
    }
}
