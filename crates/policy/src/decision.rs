//! What a decision is, and how its conditions turn into a permit.

use std::net::IpAddr;
use std::sync::Arc;

use model::canonical::Origin;
use model::id::{GrantId, SessionId};
use model::{
    AgentName, ApprovalId, Classification, CredentialName, Digest, Refusal, ServiceName, Session, Tenant, Timestamp,
    UserName, bounds,
};

use smallvec::SmallVec;

use crate::grant::Given;
use crate::limit::{LimitNeed, Reservation};
use crate::permit::{Bearer, Binding, Permit};

/// Grants that something stands on; nearly always one at most.
pub(crate) type GrantIds = SmallVec<[GrantId; 1]>;

/// Who asks, and in what context.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The organisation.
    pub tenant: Tenant,
    /// The principal.
    pub agent: AgentName,
    /// The person on whose behalf.
    pub user: Option<UserName>,
    /// Roles of that person.
    pub roles: Vec<String>,
    /// The task.
    pub task: Option<String>,
    /// The session.
    pub session: SessionId,
    /// When it began.
    pub session_started: Timestamp,
    /// Address of the client.
    pub source: IpAddr,
}

impl Subject {
    /// Who asks in a session, from where.
    #[must_use]
    pub fn of(session: &Session, source: IpAddr) -> Self {
        Self {
            tenant: session.tenant.clone(),
            agent: session.agent.clone(),
            user: session.user.clone(),
            roles: session.roles.clone(),
            task: session.task.clone(),
            session: session.id,
            session_started: session.started,
            source,
        }
    }
}

/// Everything a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub subject: &'a Subject,
    /// What is asked.
    pub classification: &'a Classification,
    /// The method, for raw rules.
    pub method: &'a http::Method,
    /// Where it goes, for hosts that no service knows.
    pub origin: &'a Origin,
    /// The credential whose placeholder stood in the slot; none where the slot was empty.
    pub presented: Option<&'a CredentialName>,
    /// Live grants of the session.
    pub grants: &'a [Arc<Given>],
    /// Now.
    pub now: Timestamp,
}

/// Allow under conditions, or deny.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives on the stack for microseconds; a box would be an allocation for each request"
)]
pub enum Decision {
    /// Every call is covered; these conditions remain.
    Allow(Conditions),
    /// Some call is not.
    Deny(Refusal),
}

/// A question that a person must answer before the exchange may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalNeed {
    /// An answer "for this session" is remembered under this key (session, rule, action and resource).
    pub key: String,
    /// One answer serves the whole session (`once-per-session`).
    pub once_per_session: bool,
    /// How long a person has, seconds.
    pub timeout_seconds: u64,
    /// How many must agree.
    pub count: u32,
    /// Who may answer; empty for any approver.
    pub of: Vec<String>,
    /// The rule that asks.
    pub rule: String,
    /// Why it asks, in words: `class admin always asks`.
    pub reason: String,
}

/// A person's yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The question.
    pub approval: ApprovalId,
    /// Who said yes.
    pub approver: String,
    /// The key it answers ([`ApprovalNeed::key`]).
    pub key: String,
    /// The octets it was given for; none where it was given for the session.
    pub bound: Option<(Digest, Option<Digest>)>,
    /// When it ends.
    pub expires: Timestamp,
}

/// What an allow still needs.
#[derive(Debug)]
pub struct Conditions {
    pub(crate) bearer: Bearer,
    pub(crate) service: Option<ServiceName>,
    pub(crate) credential: Option<CredentialName>,
    pub(crate) rules: Vec<Arc<str>>,
    pub(crate) limits: Vec<LimitNeed>,
    pub(crate) approval: Option<ApprovalNeed>,
    pub(crate) observed: Option<Refusal>,
    pub(crate) grants: GrantIds,
}

/// Proof that a call inside an open exchange may go on. Only [`Conditions::admit`] gives it.
///
/// ```compile_fail
/// let forged = policy::Admitted { rules: Vec::new(), observed: None, grant: None };
/// ```
#[derive(Debug)]
pub struct Admitted {
    rules: Vec<Arc<str>>,
    observed: Option<Refusal>,
    grant: Option<GrantId>,
}

impl Admitted {
    /// The grant under which it passes, where it needs one.
    #[must_use]
    pub const fn grant(&self) -> Option<GrantId> {
        self.grant
    }

    /// The rules that decided.
    #[must_use]
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }

    /// What would have been refused, were the mode `enforce`.
    #[must_use]
    pub fn observed(&self) -> Option<&Refusal> {
        self.observed.as_ref()
    }
}

/// Why conditions did not become a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsatisfied {
    /// A limit is not covered by the reservation.
    #[error("a limit was not reserved")]
    Limit,
    /// No grant, or one for another question, other octets, or past its end.
    #[error("the approval is missing, for another request, or past its end")]
    Approval,
}

impl Conditions {
    /// Limits to reserve.
    #[must_use]
    pub fn limits(&self) -> &[LimitNeed] {
        &self.limits
    }

    /// The question to ask, if any.
    #[must_use]
    pub fn approval(&self) -> Option<&ApprovalNeed> {
        self.approval.as_ref()
    }

    /// Adds a question that a used-up limit of kind [`Over::Ask`](crate::limit::Over::Ask) raises. An existing one stays.
    pub fn ask(&mut self, need: ApprovalNeed) {
        self.approval.get_or_insert(need);
    }

    /// The rules that decided.
    #[must_use]
    pub fn rules(&self) -> &[Arc<str>] {
        &self.rules
    }

    /// The credential that will be put on.
    #[must_use]
    pub fn credential(&self) -> Option<&CredentialName> {
        self.credential.as_ref()
    }

    /// What would have been refused, were the mode `enforce`.
    #[must_use]
    pub fn observed(&self) -> Option<&Refusal> {
        self.observed.as_ref()
    }

    /// The grants without which it would not be allowed, or not without asking.
    #[must_use]
    pub fn grants(&self) -> &[GrantId] {
        &self.grants
    }

    /// Lets a call inside an open exchange go on, whose permit was given before: a message of a WebSocket. No credential is opened for
    /// it, and no answer of a person counts for it, so what asks does not pass.
    ///
    /// # Errors
    /// A limit without reservation; a question.
    pub fn admit(self, reservation: &Reservation) -> Result<Admitted, Unsatisfied> {
        if !reservation.covers(&self.limits) {
            return Err(Unsatisfied::Limit);
        }
        if self.approval.is_some() {
            return Err(Unsatisfied::Approval);
        }
        Ok(Admitted { rules: self.rules, observed: self.observed, grant: self.grants.first().copied() })
    }

    /// Turns conditions that hold into a permit for one exchange. The only way to one.
    ///
    /// # Errors
    /// A limit without reservation; an approval without a grant for exactly this key and, unless it was given for the
    /// session, exactly these octets.
    pub fn satisfy(
        self,
        binding: Binding,
        reservation: &Reservation,
        grant: Option<&Grant>,
        now: Timestamp,
    ) -> Result<Permit, Unsatisfied> {
        if !reservation.covers(&self.limits) {
            return Err(Unsatisfied::Limit);
        }
        if let Some(need) = &self.approval {
            let grant = grant.ok_or(Unsatisfied::Approval)?;
            let octets = grant.bound.as_ref().is_none_or(|(head, body)| *head == binding.head && *body == binding.body);
            if grant.key != need.key || now >= grant.expires || !octets {
                return Err(Unsatisfied::Approval);
            }
        }
        Ok(Permit {
            binding,
            bearer: self.bearer,
            service: self.service,
            credential: self.credential,
            rules: self.rules,
            grants: self.grants,
            expires: now.plus_secs(bounds::PERMIT_SECONDS_MAX),
        })
    }
}
