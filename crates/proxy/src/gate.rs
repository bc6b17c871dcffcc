//! Calls that appear later: a message of a WebSocket, a statement of a database session. They go through the same
//! `decide` as the exchange that carries them. A gate holds what ends them all: a policy that changed, a session that is
//! over, a credential that was revoked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use model::canonical::Origin;
use model::event::{Kind, Verdict};
use model::{Classification, Code, CredentialName, Event, EventId, ExchangeId, Refusal};
use policy::{Decision, Question, Subject};

use crate::gateway::Worker;
use crate::session::LiveSession;

/// What the exchange itself asked for is judged again this often while it stays open, whether anything passes or not.
pub(crate) const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Where later calls of one open exchange are judged.
pub(crate) struct Gate {
    pub(crate) worker: Arc<Worker>,
    pub(crate) live: Arc<LiveSession>,
    pub(crate) exchange: ExchangeId,
    pub(crate) subject: Subject,
    pub(crate) method: Method,
    pub(crate) origin: Origin,
    pub(crate) presented: Option<CredentialName>,
    pub(crate) opening: Classification,
    pub(crate) judged: Instant,
}

impl Gate {
    /// Whether what opened the exchange would be allowed still. To be asked every [`AGAIN_AFTER`].
    ///
    /// # Errors
    /// The refusal, which is on record.
    pub(crate) fn still(&self) -> Result<(), Refusal> {
        self.pass(&self.opening)
    }

    /// Judges calls that appeared inside the exchange, by the policy that is in force now.
    ///
    /// Limits and questions of the rule were answered when the exchange was opened; what is judged here is whether it
    /// may be done at all.
    ///
    /// # Errors
    /// The refusal, which is on record.
    pub(crate) fn pass(&self, classification: &Classification) -> Result<(), Refusal> {
        let gateway = &self.worker.gateway;
        let now = gateway.clock.now();
        if !self.live.is_live(now) {
            return Err(self.refused(classification, Refusal::new(Code::SessionEnded, "The session has ended")));
        }
        let question = Question {
            subject: &self.subject,
            classification,
            method: &self.method,
            origin: &self.origin,
            presented: self.presented.as_ref(),
            now,
        };
        match gateway.snapshot.load().rules.decide(&question) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(refusal) => Err(self.refused(classification, refusal)),
        }
    }

    fn refused(&self, classification: &Classification, refusal: Refusal) -> Refusal {
        let gateway = &self.worker.gateway;
        let now = gateway.clock.now();
        let mut event = Event::new(EventId::fresh(now, &*gateway.random), now, Kind::Call, self.subject.tenant.clone());
        event.agent = Some(self.subject.agent.clone());
        event.session = Some(self.subject.session);
        event.exchange = Some(self.exchange);
        event.service.clone_from(&classification.service);
        event.calls = classification.calls.to_vec();
        event.decision = Some(Verdict::Deny);
        event.code = Some(refusal.code);
        event.reason = Some(refusal.public.clone());
        if let Err(error) = self.worker.lane.append(&event) {
            tracing::error!(%error, "a refused call could not be recorded; its exchange is cut all the same");
        }
        refusal
    }
}
