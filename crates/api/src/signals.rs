//! Signals: somebody who watches (a person, a scanner, a directory of people) says what happened, with an operator's token, and what follows is fixed:
//!
//! | `kind` | of | what follows |
//! |---|---|---|
//! | `rotate` | `credential` | it is rotated now |
//! | `injection_detected` | `session`, or `agent` | the session, or every one of the agent's, ends |
//! | `agent_compromised` | `agent` | the agent is disabled, and every session of it ends |
//! | `person_left` | `user` | every session of the person ends |

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::{Extension, Json};
use model::{AgentName, CredentialName, Session, SessionId, UserName};
use serde::{Deserialize, Serialize};
use store::AgentRow;

use crate::auth::Caller;
use crate::{Api, Problem};

/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 300;

/// What happened, and to whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    kind: Kind,
    #[serde(default)]
    credential: Option<CredentialName>,
    #[serde(default)]
    agent: Option<AgentName>,
    #[serde(default)]
    user: Option<UserName>,
    #[serde(default)]
    session: Option<SessionId>,
    #[serde(default)]
    reason: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Rotate,
    InjectionDetected,
    AgentCompromised,
    PersonLeft,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::InjectionDetected => "injection_detected",
            Self::AgentCompromised => "agent_compromised",
            Self::PersonLeft => "person_left",
        }
    }

    /// What it names.
    const fn of(self) -> &'static str {
        match self {
            Self::Rotate => "`credential`",
            Self::InjectionDetected => "`session` or `agent`",
            Self::AgentCompromised => "`agent`",
            Self::PersonLeft => "`user`",
        }
    }
}

/// What followed.
#[derive(Serialize)]
pub(crate) struct Followed {
    kind: &'static str,
    /// Sessions that were ended.
    sessions: u64,
    /// Whether the agent was disabled.
    disabled: bool,
    /// Whether a rotation begins.
    rotates: bool,
}

pub(crate) async fn take(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    signal: Result<Json<Signal>, JsonRejection>,
) -> Result<(StatusCode, Json<Followed>), Problem> {
    if !caller.is_operator() {
        let detail = "a signal needs an operator's token over TCP (`valetkey serve --api ADDRESS`); on this socket the agent \
                      itself could be asking";
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    }
    let Json(signal) = signal?;
    let reason: String = signal.reason.chars().filter(|letter| !letter.is_control()).take(REASON_CHARS_MAX).collect();
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let kind = signal.kind;
    let mut followed = Followed { kind: kind.as_str(), sessions: 0, disabled: false, rotates: false };
    let (by, now) = (caller.name(), api.clock.now());
    let Signal { credential, agent, user, session, .. } = signal;
    let what = match (kind, credential, agent, user, session) {
        (Kind::Rotate, Some(name), None, None, None) => {
            let why = format!("signal by {by}{why}");
            api.plane.rotate(&name, &why).await.map_err(Problem::conflict)?;
            followed.rotates = true;
            format!("credential {name} is rotated")
        }
        (Kind::InjectionDetected, None, None, None, Some(id)) => {
            followed.sessions = end(&api, |known| known.id == id).await?
                + u64::from(api.store.sessions().end(&api.tenant, id, now).await?);
            format!("session {id} ended")
        }
        (Kind::InjectionDetected | Kind::AgentCompromised, None, Some(name), None, None) => {
            if matches!(kind, Kind::AgentCompromised) {
                let row = AgentRow { name: name.clone(), enabled: false, changed: now, by: by.clone(), seen: None };
                api.store.agents().switch(&api.tenant, &row).await?;
                followed.disabled = true;
            }
            // Those that a list leaves off, too.
            followed.sessions = end(&api, |known| known.agent == name).await?
                + api.store.sessions().end_all(&api.tenant, Some(&name), now).await?;
            let disabled = if followed.disabled { " disabled," } else { "" };
            format!("agent {name}{disabled} {} sessions ended", followed.sessions)
        }
        (Kind::PersonLeft, None, None, Some(user), None) => {
            followed.sessions = end(&api, |known| known.user.as_ref() == Some(&user)).await?
                + api.store.sessions().end_of(&api.tenant, &user, now).await?;
            format!("{} sessions of {user} ended", followed.sessions)
        }
        _ => {
            return Err(Problem::wrong(format!(
                "a signal `{}` names {}, and nothing besides",
                kind.as_str(),
                kind.of()
            )));
        }
    };
    api.plane.refresh().await;
    api.plane.record(&by, &format!("signal {}{why}: {what}", kind.as_str()));
    Ok((StatusCode::ACCEPTED, Json(followed)))
}

/// Ends live sessions, and takes back what they ask of people; how many there were.
async fn end(api: &Api, which: impl Fn(&Session) -> bool + Send) -> Result<u64, Problem> {
    let now = api.clock.now();
    let mut ended = 0;
    for session in api.store.sessions().list(&api.tenant, Some(now)).await? {
        if which(&session) && api.store.sessions().end(&api.tenant, session.id, now).await? {
            api.room.forget(&api.tenant, session.id).await?;
            ended += 1;
        }
    }
    Ok(ended)
}
