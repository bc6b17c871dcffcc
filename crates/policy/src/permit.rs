//! The permit: proof that every condition is met for one exchange. It opens the vault, and nothing else does.
//!
//! "No decision, no secret" is a compile error: [`Permit`] has no public constructor and is not `Clone`;
//! [`Conditions::satisfy`](crate::Conditions::satisfy) makes it, forwarding consumes it.
//!
//! ```compile_fail
//! fn twice(permit: policy::Permit) -> (policy::Permit, policy::Permit) { (permit.clone(), permit) }
//! ```
//! ```compile_fail
//! fn forged(binding: policy::Binding, bearer: policy::Bearer, expires: model::Timestamp) -> policy::Permit {
//!     policy::Permit { binding, bearer, service: None, credential: None, rules: Vec::new(), grants: Default::default(), expires }
//! }
//! ```
//! ```compile_fail
//! fn spent_twice(permit: policy::Permit, head: &model::Digest, now: model::Timestamp) {
//!     let _ = permit.redeem(head, None, now);
//!     let _ = permit.redeem(head, None, now);
//! }
//! ```
//! ```compile_fail
//! fn unasked(question: policy::Conditions) -> policy::Permit { policy::Permit::from(question) }
//! ```

use std::sync::Arc;

use model::id::GrantId;
use model::{
    AgentName, CredentialName, Digest, ExchangeId, ServiceName, Session, SessionId, Tenant, Timestamp, UserName, bounds,
};

use crate::decision::GrantIds;

/// What a permit is good for: one exchange, one head, and one body where the body was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Digest of `CanonicalRequest::digest_input`.
    pub head: Digest,
    /// Digest of the whole body, where it was buffered (always for approvals and facts of the body).
    pub body: Option<Digest>,
}

/// Whose exchange it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The organisation.
    pub tenant: Tenant,
    /// The principal.
    pub agent: AgentName,
    /// The session.
    pub session: SessionId,
    /// The person on whose behalf, as the session was begun.
    pub user: Option<UserName>,
}

/// Proof that every condition is met for this exchange.
#[derive(Debug)]
pub struct Permit {
    pub(crate) binding: Binding,
    pub(crate) bearer: Bearer,
    pub(crate) service: Option<ServiceName>,
    pub(crate) credential: Option<CredentialName>,
    pub(crate) rules: Vec<Arc<str>>,
    pub(crate) grants: GrantIds,
    pub(crate) expires: Timestamp,
}

/// Why a permit cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StalePermit {
    /// It was made for other octets.
    #[error("permit is bound to another request")]
    OtherRequest,
    /// It is too old.
    #[error("permit is past its end; decide again")]
    Expired,
}

impl Permit {
    /// What it is bound to.
    #[must_use]
    pub fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Whose it is.
    #[must_use]
    pub fn bearer(&self) -> &Bearer {
        &self.bearer
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        self.service.as_ref()
    }

    /// The credential it opens; none for a request that goes out bare.
    #[must_use]
    pub fn credential(&self) -> Option<&CredentialName> {
        self.credential.as_ref()
    }

    /// The rules that decided.
    #[must_use]
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }

    /// The grants that it stands on: what it opens is cut when one of them ends.
    #[must_use]
    pub fn grants(&self) -> &[GrantId] {
        &self.grants
    }

    /// Spends the permit for the octets about to be sent.
    ///
    /// # Errors
    /// The octets are not the ones that were judged, or too much time has passed.
    pub fn redeem(self, head: &Digest, body: Option<&Digest>, now: Timestamp) -> Result<Redeemed, StalePermit> {
        if self.binding.head != *head || self.binding.body.as_ref().is_some_and(|bound| Some(bound) != body) {
            return Err(StalePermit::OtherRequest);
        }
        if now >= self.expires {
            return Err(StalePermit::Expired);
        }
        Ok(Redeemed { permit: self })
    }
}

/// A spent permit: the request may leave, once.
#[derive(Debug)]
pub struct Redeemed {
    permit: Permit,
}

impl Redeemed {
    /// The permit that was spent: it still opens the vault for its exchange, to see whether a credential that was refused has a newer
    /// value, and lets nothing leave.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }

    /// One more permit for the same octets, for a repeatable request whose attempt had no effect. The repetition needs an attempt
    /// record of its own, hence its own exchange-bound permit. It is as good as the first one from `now` on, which is when whoever
    /// asks for it has decided once more.
    #[must_use]
    pub fn again(self, now: Timestamp) -> Permit {
        Permit { expires: now.plus_secs(bounds::PERMIT_SECONDS_MAX), ..self.permit }
    }
}

/// What refresh, rotation and `credential test` hold instead of a permit. Made in the wiring alone; it never yields a
/// credential to the data plane.
#[derive(Debug)]
pub struct Upkeep {
    tenant: Tenant,
    reason: &'static str,
    whose: Option<(AgentName, Option<UserName>)>,
}

impl Upkeep {
    /// For one chore, named for the record: `credential test`.
    #[must_use]
    pub const fn of(tenant: Tenant, reason: &'static str) -> Self {
        Self { tenant, reason, whose: None }
    }

    /// The same for what a session holds: its agent's, and its user's where there is one.
    #[must_use]
    pub fn of_session(session: &Session, reason: &'static str) -> Self {
        Self { tenant: session.tenant.clone(), reason, whose: Some((session.agent.clone(), session.user.clone())) }
    }

    /// The agent and the user for whom it is done, where it is done for somebody.
    #[must_use]
    pub const fn whose(&self) -> Option<&(AgentName, Option<UserName>)> {
        self.whose.as_ref()
    }

    /// The organisation whose credentials may be looked after.
    #[must_use]
    pub const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}
