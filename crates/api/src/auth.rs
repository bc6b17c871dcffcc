//! Who may ask: the same user on the socket, an operator by his token, and another user of this machine at the door that
//! was opened for him, who may begin and end sessions of his own and nothing else.

use approval::Reply;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::{Digest, Session, UserName};
use subtle::ConstantTimeEq;

use crate::sessions::is_stopped;
use crate::{Api, Problem, hooks};

/// One operator of the configuration.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The name, for records.
    pub name: String,
    /// SHA-256 of the token.
    pub token: Digest,
    /// What the person may do, as the configuration says.
    pub roles: Vec<String>,
}

/// How every session token begins.
const SESSION_TOKEN: &str = "vkt_";

/// Roles whose holders may say yes to a question.
const APPROVING: [&str; 3] = ["approver", "operator", "owner"];

impl Operator {
    /// Whether the person may say yes. Somebody without roles may look, stop and deny.
    #[must_use]
    pub fn may_approve(&self) -> bool {
        self.roles.iter().any(|role| APPROVING.contains(&role.as_str()))
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Operators(pub Vec<Operator>);

impl Operators {
    /// The operator whose token the request carries. Every digest is compared, so the time tells nothing.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<&Operator> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ")?;
        let hash = digest(&SHA256, token.as_bytes());
        let mut found = None;
        for operator in &self.0 {
            if bool::from(operator.token.0.ct_eq(hash.as_ref())) {
                found = Some(operator);
            }
        }
        found
    }
}

/// Another user of this machine, as the kernel names the peer of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalUser {
    /// The number that the kernel says.
    pub uid: u32,
    /// The name of that number, or `uid-1001` where it has none.
    pub name: UserName,
}

/// Who asks; put on each request by the listener, so that handlers cannot be reached without.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A process of the same user, or root's, over the socket: the number of its user. The agent itself could be one.
    SameUser(u32),
    /// A process of another user, over the socket that was opened for others.
    Local(LocalUser),
    /// Somebody who sends what looks like a session's token: its digest. The gate finds out whose it is.
    Claims(Digest),
    /// An agent, by its session's token: may ask for grants, and look at its own.
    Agent(Box<Session>),
    /// Somebody over TCP without a token: may bring an answer that is signed.
    Anybody,
    /// An operator, by a token of his own.
    Operator {
        /// Who.
        name: String,
        /// Whether one of the roles lets a yes count.
        approves: bool,
    },
}

impl Api {
    /// Refuses to undo a stop for somebody without a token where operators have tokens: over the socket the agent that
    /// was stopped could be asking, for it is the same user. Without operators the socket is all there is, for the same user.
    pub(crate) fn may_undo(&self, caller: &Caller) -> Result<(), Problem> {
        if caller.is_operator() || self.operators.0.is_empty() && caller.local().is_none() {
            return Ok(());
        }
        let detail = "undoing a stop needs an operator's token over TCP (`valetkey serve --api ADDRESS`); on this socket \
                      the agent itself could be asking";
        Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail))
    }
}

/// Who may say yes, by name. Made by [`Caller::approver`] alone.
pub(crate) struct Approver(String);

impl Approver {
    /// His yes, and who says it.
    pub(crate) fn yes(self, reach: Reach) -> (String, Reply) {
        let reply = match reach {
            Reach::Once => Reply::Once,
            Reach::Session => Reply::Session,
            Reach::Seconds(seconds) => Reply::For(seconds),
        };
        (self.0, reply)
    }
}

/// How far a yes reaches.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    Once,
    Session,
    Seconds(u64),
}

/// What users other than ours may ask. What is not here is an operator's.
fn is_for_all(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "v1", "health"] => method == Method::GET,
        ["", "v1", "sessions"] => method == Method::POST,
        ["", "v1", "sessions", id] => !id.is_empty() && (method == Method::GET || method == Method::DELETE),
        _ => false,
    }
}

/// What an agent may ask with its session's token.
fn is_for_agents(method: &Method, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "v1", "health"] => method == Method::GET,
        ["", "v1", "grants"] => method == Method::GET || method == Method::POST,
        ["", "v1", "grants", id] => !id.is_empty() && (method == Method::GET || method == Method::DELETE),
        _ => false,
    }
}

/// The live session behind a token; one answer for unknown and ended ones.
async fn agent_of(api: &Api, token: &Digest) -> Result<Caller, Problem> {
    let session = api.store.sessions().by_token(token).await?;
    let session = session.filter(|session| session.tenant == api.tenant && session.is_live(api.clock.now()));
    let unknown = || Problem::new(StatusCode::UNAUTHORIZED, "unidentified", "this is no live session's token");
    let session = session.ok_or_else(unknown)?;
    if is_stopped(api, &session.agent).await? {
        let detail = "an operator has stopped this agent";
        return Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail));
    }
    Ok(Caller::Agent(Box::new(session)))
}

/// Stands before every route: what a caller may not ask reaches no handler, and a new route is an operator's unless
/// [`is_for_all`] names it.
pub(crate) async fn gate(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    if let Some(Caller::Claims(token)) = request.extensions().get::<Caller>() {
        match agent_of(&api, &token.clone()).await {
            Ok(caller) => _ = request.extensions_mut().insert(caller),
            Err(problem) => return problem.into_response(),
        }
    }
    let allowed = match request.extensions().get::<Caller>() {
        Some(Caller::Local(_)) => is_for_all(request.method(), request.uri().path()),
        Some(Caller::Anybody) => hooks::is_signed(request.method(), request.uri().path()),
        Some(Caller::SameUser(_) | Caller::Operator { .. }) => true,
        Some(Caller::Agent(_)) => is_for_agents(request.method(), request.uri().path()),
        Some(Caller::Claims(_)) | None => false,
    };
    if allowed {
        return next.run(request).await;
    }
    if request.extensions().get::<Caller>().is_some_and(|caller| caller.agent().is_some()) {
        let detail = "a session's token is for asking for grants here; all else is an operator's";
        return Problem::new(StatusCode::FORBIDDEN, "denied", detail).into_response();
    }
    let detail = "users other than the gateway's own may begin, show and end sessions of theirs here; for all else send an \
                  operator's token as Bearer";
    Problem::new(StatusCode::FORBIDDEN, "denied", detail).into_response()
}

impl Caller {
    /// The other user whose sessions alone this caller may see and end; none for those who may see all.
    pub(crate) const fn local(&self) -> Option<&LocalUser> {
        match self {
            Self::Local(user) => Some(user),
            _ => None,
        }
    }

    /// The session of an agent that asks.
    pub(crate) fn agent(&self) -> Option<&Session> {
        match self {
            Self::Agent(session) => Some(session),
            _ => None,
        }
    }

    /// One whose token looks like a session's.
    pub(crate) fn claims(headers: &HeaderMap) -> Option<Self> {
        let token = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        let mut out = Digest::ZERO;
        out.0.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        token.starts_with(SESSION_TOKEN).then_some(Self::Claims(out))
    }

    /// One who came with this operator's token.
    pub(crate) fn of(operator: &Operator) -> Self {
        Self::Operator { name: operator.name.clone(), approves: operator.may_approve() }
    }

    /// The name for records.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::SameUser(uid) => format!("uid {uid}"),
            Self::Local(LocalUser { uid, name }) => format!("uid {uid} ({name})"),
            Self::Anybody | Self::Claims(_) => "nobody".to_owned(),
            Self::Agent(session) => format!("agent {}", session.agent),
            Self::Operator { name, .. } => name.clone(),
        }
    }

    /// Who may say yes: the only road to one.
    pub(crate) fn approver(&self) -> Result<Approver, Problem> {
        let name = self.name();
        let detail = match self {
            Self::Operator { approves: true, .. } => return Ok(Approver(name)),
            Self::Operator { .. } => {
                format!("`{name}` may not approve; give the operator the role `approver` to allow it")
            }
            _ => "a yes needs an operator's token; without one the agent itself could be asking on this socket"
                .to_owned(),
        };
        Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail))
    }

    /// Whether a person's own token came with the request.
    pub(crate) const fn is_operator(&self) -> bool {
        matches!(self, Self::Operator { .. })
    }
}
