//! Agents, switched on and off. Off is open to all who may ask; on needs more where operators have tokens.

use axum::extract::{Path, State};
use axum::{Extension, Json};
use model::AgentName;
use serde::Serialize;
use store::AgentRow;

use crate::auth::Caller;
use crate::{Api, Problem};

/// An agent as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    name: AgentName,
    enabled: bool,
    seen: Option<model::Timestamp>,
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown>>, Problem> {
    let rows = api.store.agents().list(&api.tenant).await?;
    Ok(Json(rows.into_iter().map(|row| Shown { name: row.name, enabled: row.enabled, seen: row.seen }).collect()))
}

pub(crate) async fn enable(
    state: State<Api>,
    caller: Extension<Caller>,
    name: Path<String>,
) -> Result<Json<Shown>, Problem> {
    switch(state, caller, name, true).await
}

pub(crate) async fn disable(
    state: State<Api>,
    caller: Extension<Caller>,
    name: Path<String>,
) -> Result<Json<Shown>, Problem> {
    switch(state, caller, name, false).await
}

async fn switch(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    enabled: bool,
) -> Result<Json<Shown>, Problem> {
    if enabled {
        api.may_undo(&caller)?;
    }
    let name = AgentName::new(&name).map_err(|error| Problem::wrong(error.to_string()))?;
    let row = AgentRow { name: name.clone(), enabled, changed: api.clock.now(), by: caller.name(), seen: None };
    api.store.agents().switch(&api.tenant, &row).await?;
    if enabled {
        api.store.stops().lift(&api.tenant, store::StopKind::Agent, name.as_str(), None).await?;
    }
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("agent {name} {}", if enabled { "enabled" } else { "disabled" }));
    Ok(Json(Shown { name, enabled, seen: None }))
}
