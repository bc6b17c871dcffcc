//! Sessions: begun, listed, ended.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::{AgentName, Session, SessionId, UserName};
use serde::Serialize;
use store::StopKind;

use crate::auth::{Caller, LocalUser};
use crate::wiring::{StartSession, StartedSession};
use crate::{Api, Problem};

/// Live sessions of one other user of this machine: more than anybody runs agents, few enough to hold.
const LOCAL_SESSIONS_MAX: usize = 256;

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
    let Json(mut wanted) = wanted?;
    if let Some(local) = caller.local() {
        wanted.user = Some(begins_for(&api, local, &wanted).await?);
    }
    if is_stopped(&api, &wanted.agent).await? {
        api.may_undo(&caller)?;
    }
    let what = format!("session started for agent {}", wanted.agent);
    let started = api.plane.start(wanted).await.map_err(Problem::wrong)?;
    api.plane.record(&caller.name(), &what);
    Ok((StatusCode::CREATED, Json(started)))
}

/// The person on whose behalf another user of this machine begins a session: himself and nobody else, because rules may
/// ask who it is.
async fn begins_for(api: &Api, local: &LocalUser, wanted: &StartSession) -> Result<UserName, Problem> {
    let denied = |detail: String| Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    let LocalUser { uid, name } = local;
    if wanted.user.as_ref().is_some_and(|user| user != name) {
        return denied(format!("you are `{name}` here and begin sessions for yourself; leave the user out"));
    }
    if !api.plane.admits(&wanted.agent, local) {
        let agent = &wanted.agent;
        return denied(format!(
            "user `{name}` (uid {uid}) may not begin a session for agent `{agent}`; an operator allows it with `local_users` of \
             that agent"
        ));
    }
    let live = api.store.sessions().list(&api.tenant, Some(api.clock.now())).await?;
    if live.iter().filter(|session| session.user.as_ref() == Some(name)).count() >= LOCAL_SESSIONS_MAX {
        let detail =
            format!("{LOCAL_SESSIONS_MAX} sessions of yours are live; end some with `valetkey session end ID`");
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "limit_reached", detail));
    }
    Ok(name.clone())
}

/// A session of somebody else is no session for another user of this machine.
async fn seen_by(api: &Api, caller: &Caller, id: SessionId) -> Result<Session, Problem> {
    let session = api.store.sessions().get(&api.tenant, id).await?;
    let visible = |session: &Session| caller.local().is_none_or(|local| session.user.as_ref() == Some(&local.name));
    session.filter(visible).ok_or_else(|| Problem::missing("session"))
}

/// Whether an operator has taken this agent, or everything, out of service.
pub(crate) async fn is_stopped(api: &Api, agent: &AgentName) -> Result<bool, Problem> {
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

pub(crate) async fn show(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Json<Shown>, Problem> {
    let id: SessionId = id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))?;
    let session = seen_by(&api, &caller, id).await?;
    Ok(Json(Shown { live: session.is_live(api.clock.now()), session }))
}

pub(crate) async fn end(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id: SessionId = id.parse().map_err(|error: model::id::IdError| Problem::wrong(error.to_string()))?;
    if caller.local().is_some() {
        seen_by(&api, &caller, id).await?;
    }
    if !api.store.sessions().end(&api.tenant, id, api.clock.now()).await? {
        return Err(Problem::missing("live session"));
    }
    api.room.forget(&api.tenant, id).await?;
    api.plane.refresh().await;
    api.plane.record(&caller.name(), &format!("session {id} ended"));
    Ok(StatusCode::NO_CONTENT)
}
