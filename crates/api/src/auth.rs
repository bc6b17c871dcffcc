//! Who may ask: the same user on the socket, an operator's token over TCP.

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, header};
use model::Digest;
use subtle::ConstantTimeEq;

/// One operator of the configuration.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The name, for records.
    pub name: String,
    /// SHA-256 of the token.
    pub token: Digest,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Operators(pub Vec<Operator>);

impl Operators {
    /// The operator whose token the request carries. Every digest is compared, so the time tells nothing.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<&str> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ")?;
        let hash = digest(&SHA256, token.as_bytes());
        let mut found = None;
        for operator in &self.0 {
            if bool::from(operator.token.0.ct_eq(hash.as_ref())) {
                found = Some(operator.name.as_str());
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
    Operator(String),
}

impl Caller {
    /// The name for records.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::SameUser(uid) => format!("uid {uid}"),
            Self::Operator(name) => name.clone(),
        }
    }

    /// Whether a person's own token came with the request.
    pub(crate) const fn is_operator(&self) -> bool {
        matches!(self, Self::Operator(_))
    }
}
