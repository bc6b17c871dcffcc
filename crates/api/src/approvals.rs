//! Questions to people. Anybody who may ask may look and deny; a yes needs an operator's own token, because the socket's
//! peer is the same user as the agent that asks (row H100), a role that approves, and a name that the rule allows.

use std::fmt::Write as _;

use approval::{ApprovalError, Question, Reply};
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::{ApprovalId, bounds};
use serde::{Deserialize, Serialize};
use store::ApprovalRow;

use crate::auth::{Caller, Reach};
use crate::{Api, Problem};

/// Octets of a reason, which the agent reads.
const REASON_BYTES_MAX: usize = 1_024;
/// Octets of a body that are shown; its digest speaks for the rest.
const BODY_SHOWN_BYTES_MAX: usize = 256 * 1024;

/// A question as it is shown. Texts in it may have been chosen by the agent.
#[derive(Serialize)]
pub(crate) struct Shown {
    id: ApprovalId,
    session: model::SessionId,
    agent: model::AgentName,
    sentence: String,
    method: String,
    url: String,
    rule: String,
    state: &'static str,
    /// How many must say yes.
    wanted: u32,
    /// Whose yes counts; any approver's where empty.
    approvers: Vec<String>,
    asked: model::Timestamp,
    expires: model::Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<model::Timestamp>,
    digest: model::Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hash: Option<model::Digest>,
    /// What is sent, where this process holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<ShownBody>,
}

/// The octets behind a question.
#[derive(Serialize)]
struct ShownBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// How many there are.
    bytes: usize,
    /// The first of them, with what is no text, or could deceive, written by number.
    text: String,
    /// Whether `text` is all of them.
    whole: bool,
}

/// What `POST /v1/approvals/{id}` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    decision: Decision,
    #[serde(default)]
    scope: Scope,
    /// How long a yes of scope `time` holds.
    #[serde(default)]
    seconds: Option<u64>,
    /// Why not, for the agent.
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    Approve,
    Deny,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    #[default]
    Once,
    Session,
    Time,
}

impl Wanted {
    /// Who says what.
    fn reply(self, caller: &Caller) -> Result<(String, Reply), Problem> {
        if self.reason.len() > REASON_BYTES_MAX {
            return Err(Problem::wrong(format!("`reason` is longer than {REASON_BYTES_MAX} octets")));
        }
        let of_time = |seconds: &u64| (1..=bounds::SESSION_SECONDS_DEFAULT).contains(seconds);
        if self.decision == Decision::Deny {
            return match (self.scope, self.seconds) {
                (Scope::Once, None) => Ok((caller.name(), Reply::Deny(self.reason))),
                _ => Err(Problem::wrong("a no has neither `scope` nor `seconds`: it is for this question")),
            };
        }
        let approver = caller.approver()?;
        match (self.scope, self.seconds) {
            (Scope::Once, None) => Ok(approver.yes(Reach::Once)),
            (Scope::Session, None) => Ok(approver.yes(Reach::Session)),
            (Scope::Time, Some(seconds)) if of_time(&seconds) => Ok(approver.yes(Reach::Seconds(seconds))),
            (Scope::Time, _) => Err(Problem::wrong(format!(
                "a yes of scope `time` says for how many `seconds`, from 1 to {}",
                bounds::SESSION_SECONDS_DEFAULT
            ))),
            _ => Err(Problem::wrong("`seconds` belongs to a yes of scope `time`")),
        }
    }
}

/// With `?watch` the caller says that he will look again soon; where he may say yes, agents can ask as long as he does.
pub(crate) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Json<Vec<Shown>>, Problem> {
    if query.as_deref() == Some("watch") && caller.approver().is_ok() {
        api.room.watched();
    }
    let rows = api.store.approvals().open(&api.tenant, api.clock.now()).await?;
    Ok(Json(rows.into_iter().map(|row| shown(row, None)).collect()))
}

pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Shown>, Problem> {
    let id = parse(&id)?;
    let row = api.store.approvals().get(&api.tenant, id).await?;
    row.map(|row| Json(shown(row, api.room.question(id).as_ref()))).ok_or_else(|| Problem::missing("approval"))
}

pub(crate) async fn answer(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let id = parse(&id)?;
    let Json(wanted) = wanted?;
    let (by, reply) = wanted.reply(&caller)?;
    answered(&api, (id, &by), reply).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes an answer, by whichever door it came, and puts it on record.
pub(crate) async fn answered(api: &Api, (id, by): (ApprovalId, &str), reply: Reply) -> Result<(), ApprovalError> {
    let verdict = if matches!(reply, Reply::Deny(_)) { "deny" } else { "approve" };
    api.room.answer(&api.tenant, id, by, reply).await?;
    api.plane.refresh().await;
    api.plane.record(by, &format!("answered {id}: {verdict}"));
    Ok(())
}

fn parse(id: &str) -> Result<ApprovalId, Problem> {
    id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))
}

fn shown(row: ApprovalRow, question: Option<&Question>) -> Shown {
    let (method, url) = row.calls.split_once(' ').unwrap_or_default();
    Shown {
        id: row.id,
        session: row.session,
        agent: row.agent,
        sentence: row.sentence,
        method: method.to_owned(),
        url: url.to_owned(),
        rule: row.rule,
        state: row.state.as_str(),
        wanted: row.wanted,
        approvers: row.approvers,
        asked: row.asked,
        expires: row.expires,
        settled: row.settled,
        digest: row.head,
        body_hash: row.body,
        body: question.filter(|question| question.ask.body.is_some()).map(body),
    }
}

fn body(question: &Question) -> ShownBody {
    let octets = &question.ask.preview;
    let first = octets.get(..BODY_SHOWN_BYTES_MAX).unwrap_or(octets);
    let mut text = String::with_capacity(first.len());
    for chunk in first.utf8_chunks() {
        text.push_str(&approval::render::visible(chunk.valid()));
        chunk.invalid().iter().for_each(|octet| _ = write!(text, "\\x{octet:02x}"));
    }
    ShownBody {
        content_type: question.ask.content_type.clone(),
        bytes: question.ask.bytes,
        text,
        whole: first.len() == question.ask.bytes,
    }
}
