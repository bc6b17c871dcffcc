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
    let (kind, name) = match wanted {
        Stop::Agent(name) => (StopKind::Agent, name.to_string()),
        Stop::Session(id) => (StopKind::Session, id.to_string()),
        Stop::Credential(name) => (StopKind::Credential, name.to_string()),
        Stop::All(true) => (StopKind::All, String::new()),
        Stop::All(false) => return Err(Problem::wrong("`all` takes true; to lift a stop, enable the agent")),
    };
    let row = StopRow { kind, name, version: None, at: api.clock.now(), by: caller.name() };
    api.store.stops().insert(&api.tenant, &row).await?;
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("stopped {} {}", row.kind, row.name));
    Ok(Json(shown(row)))
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown>>, Problem> {
    let rows = api.store.stops().list(&api.tenant).await?;
    Ok(Json(rows.into_iter().map(shown).collect()))
}

fn shown(row: StopRow) -> Shown {
    Shown { kind: row.kind.as_str(), name: row.name, at: row.at, by: row.by }
}
