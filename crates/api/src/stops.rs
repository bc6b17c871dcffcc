//! Stops: nothing is injected any more, streams are cut.

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::{Extension, Json};
use model::{AgentName, CredentialName, SessionId};
use serde::{Deserialize, Serialize};
use store::{StopKind, StopRow};

use crate::auth::Caller;
use crate::{Api, Problem};

/// What is to be stopped; exactly one.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Stop {
    Agent(AgentName),
    Session(SessionId),
    Credential(CredentialName),
    All(bool),
}

impl Stop {
    fn row(self) -> Result<(StopKind, String), Problem> {
        Ok(match self {
            Self::Agent(name) => (StopKind::Agent, name.to_string()),
            Self::Session(id) => (StopKind::Session, id.to_string()),
            Self::Credential(name) => (StopKind::Credential, name.to_string()),
            Self::All(true) => (StopKind::All, String::new()),
            Self::All(false) => return Err(Problem::wrong("`all` takes true; POST /v1/stop/lift lifts a stop")),
        })
    }
}

/// Which stop is to be lifted, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lift {
    stop: Stop,
    #[serde(default)]
    reason: Option<String>,
}

/// What came of lifting a stop.
#[derive(Serialize)]
pub(crate) struct Lifted {
    kind: &'static str,
    name: String,
    /// Whether there was one.
    changed: bool,
}

/// A stop as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    kind: &'static str,
    name: String,
    at: model::Timestamp,
    by: String,
}

pub(crate) async fn stop(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<Stop>, JsonRejection>,
) -> Result<Json<Shown>, Problem> {
    let Json(wanted) = wanted?;
    let (kind, name) = wanted.row()?;
    let row = StopRow { kind, name, version: None, at: api.clock.now(), by: caller.name() };
    api.store.stops().insert(&api.tenant, &row).await?;
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("stopped {} {}", row.kind, row.name));
    Ok(Json(shown(row)))
}

/// Lifts a stop, for those who may undo one. A session that has ended stays ended.
pub(crate) async fn lift(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<Lift>, JsonRejection>,
) -> Result<Json<Lifted>, Problem> {
    api.may_undo(&caller)?;
    let Json(Lift { stop, reason }) = wanted?;
    let (kind, name) = stop.row()?;
    let changed = api.store.stops().lift(&api.tenant, kind, &name, None).await?;
    api.plane.refresh().await;
    let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    api.plane.record(&caller.name(), &format!("lifted the stop of {}{why}", format!("{kind} {name}").trim_end()));
    Ok(Json(Lifted { kind: kind.as_str(), name, changed }))
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown>>, Problem> {
    let rows = api.store.stops().list(&api.tenant).await?;
    Ok(Json(rows.into_iter().map(shown).collect()))
}

fn shown(row: StopRow) -> Shown {
    Shown { kind: row.kind.as_str(), name: row.name, at: row.at, by: row.by }
}
