//! Who may ask: the same user on the socket, an operator's token over TCP.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, StatusCode, header};
use model::Digest;
use subtle::ConstantTimeEq;

use crate::{Api, Problem};

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

/// Who asks; put on each request by the listener, so that handlers cannot be reached without.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// A process of the same user, over the socket. The agent itself could be one.
    SameUser(u32),
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
    /// was stopped could be asking, for it is the same user. Without operators the socket is all there is.
    pub(crate) fn may_undo(&self, caller: &Caller) -> Result<(), Problem> {
        if caller.is_operator() || self.operators.0.is_empty() {
            return Ok(());
        }
        let detail = "undoing a stop needs an operator's token over TCP (`valetkey serve --api ADDRESS`); on this socket \
                      the agent itself could be asking";
        Err(Problem::new(StatusCode::FORBIDDEN, "denied", detail))
    }
}

impl Caller {
    /// One who came with this operator's token.
    pub(crate) fn of(operator: &Operator) -> Self {
        Self::Operator { name: operator.name.clone(), approves: operator.may_approve() }
    }

    /// The name for records.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::SameUser(uid) => format!("uid {uid}"),
            Self::Operator { name, .. } => name.clone(),
        }
    }

    /// Whether a yes of this caller may count.
    pub(crate) const fn may_approve(&self) -> bool {
        matches!(self, Self::Operator { approves: true, .. })
    }

    /// Whether a person's own token came with the request.
    pub(crate) const fn is_operator(&self) -> bool {
        matches!(self, Self::Operator { .. })
    }
}
