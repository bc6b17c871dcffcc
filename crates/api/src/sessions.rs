//! Sessions: begun, listed, ended.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::{AgentName, Session, SessionId};
use serde::Serialize;
use store::StopKind;

use crate::auth::Caller;
use crate::wiring::{StartSession, StartedSession};
use crate::{Api, Problem};

/// A session as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    session: Session,
    live: bool,
}

pub(crate) async fn start(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Json<StartSession>, JsonRejection>,
) -> Result<(StatusCode, Json<StartedSession>), Problem> {
    let Json(wanted) = wanted?;
    if is_stopped(&api, &wanted.agent).await? {
        api.may_undo(&caller)?;
    }
    let what = format!("session started for agent {}", wanted.agent);
    let started = api.plane.start(wanted).await.map_err(Problem::wrong)?;
    api.plane.record(&caller.name(), &what);
    Ok((StatusCode::CREATED, Json(started)))
}

/// Whether an operator has taken this agent, or everything, out of service.
async fn is_stopped(api: &Api, agent: &AgentName) -> Result<bool, Problem> {
    let row = api.store.agents().get(&api.tenant, agent).await?;
    let stops = api.store.stops().list(&api.tenant).await?;
    let stopped = stops.iter().any(|stop| match stop.kind {
        StopKind::All => true,
        StopKind::Agent => stop.name == agent.as_str(),
        StopKind::Session | StopKind::Credential => false,
    });
    Ok(stopped || row.is_some_and(|row| !row.enabled))
}

pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Shown>>, Problem> {
    let now = api.clock.now();
    let rows = api.store.sessions().list(&api.tenant, None).await?;
    Ok(Json(rows.into_iter().map(|session| Shown { live: session.is_live(now), session }).collect()))
}

pub(crate) async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Shown>, Problem> {
    let id: SessionId = id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))?;
    let session = api.store.sessions().get(&api.tenant, id).await?.ok_or_else(|| Problem::missing("session"))?;
    Ok(Json(Shown { live: session.is_live(api.clock.now()), session }))
}

pub(crate) async fn end(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: SessionId = id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))?;
    if !api.store.sessions().end(&api.tenant, id, api.clock.now()).await? {
        return Err(Problem::missing("live session"));
    }
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("session {id} ended"));
    Ok(StatusCode::NO_CONTENT)
}
