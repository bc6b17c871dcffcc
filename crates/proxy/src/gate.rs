//! Calls that appear later: a message of a WebSocket, a statement of a database session. They go through the same
//! `decide` as the exchange that carries them. A gate holds what ends them all: a policy that changed, a session that is
//! over, a credential that was revoked.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use model::canonical::Origin;
use model::event::{Kind, Verdict};
use model::{Class, Classification, Code, CredentialName, Event, EventId, ExchangeId, Refusal};
use policy::limit::Reservation;
use policy::{Admitted, Conditions, Decision, Question, Subject};

use crate::decide::{counters_away, limit_reached};
use crate::gateway::Worker;
use crate::net::message::Message;
use crate::record::audit_refusal;
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
    /// What a client says on it is judged message by message.
    pub(crate) judges: bool,
    pub(crate) judged: Instant,
}

/// The frames of a message that was judged and may go on. Nothing else of the agent's but control frames reaches the upstream.
pub(crate) struct Passed(Bytes);

impl Passed {
    fn by(_: &Admitted, message: Message) -> Self {
        Self(message.frames)
    }

    /// A message that nobody judged.
    #[cfg(test)]
    pub(crate) fn unjudged(message: Message) -> Self {
        Self(message.frames)
    }

    /// As they came.
    pub(crate) fn into_frames(self) -> Bytes {
        self.0
    }
}

/// What is on record and must be durable before it may have an effect.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owed(Option<audit::Position>);

impl Owed {
    /// Both of them.
    pub(crate) fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

/// Which calls that are allowed are on record by themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// Each.
    All,
    /// Those that change something: audio comes fifty times a second.
    Changes,
}

/// The refusal of a message that a rule asks about.
fn asks(rule: &str) -> Refusal {
    let sentence =
        "This needs a person's approval, and nobody is asked about one message or statement of an open connection";
    Refusal::new(Code::Denied, sentence).rule(rule)
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
        match self.decide(classification) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.refused(classification, refusal)),
        }
    }

    /// Whether something may be done later, without counting it: nobody is asked, so what a rule asks about may not.
    ///
    /// # Errors
    /// The refusal, which is on record.
    pub(crate) fn may(&self, classification: &Classification) -> Result<(), Refusal> {
        self.unasked(classification).map(drop).map_err(|refusal| self.refused(classification, refusal))
    }

    /// Judges a message of the client by what its service says of messages and by the policy that is in force now, and takes what
    /// limits it needs. Nobody is asked: an answer would come long after what stood around the message. What changes something is on
    /// record before it passes.
    ///
    /// # Errors
    /// The refusal, which is on record.
    pub(crate) async fn message(&self, message: Message) -> Result<Passed, Refusal> {
        let read = {
            let snapshot = self.worker.gateway.snapshot.load();
            let service = self.opening.service.as_ref().and_then(|name| snapshot.catalog.service(name.as_str()));
            match service {
                Some(service) => service.message(&self.opening, &message.payload, message.text),
                None => Err(Refusal::new(Code::Denied, "The configuration has no such service any more")),
            }
        };
        let (classification, judged) = match read {
            Ok(classification) => {
                let judged = match self.admit(&classification, Recorded::Changes).await {
                    Ok((admitted, owed)) => self.synced(owed).await.map(|()| admitted),
                    Err(refusal) => Err(refusal),
                };
                (classification, judged)
            }
            Err(refusal) => (self.opening.clone(), Err(refusal)),
        };
        judged.map(|admitted| Passed::by(&admitted, message)).map_err(|refusal| {
            self.live.tally.denied.fetch_add(1, Relaxed);
            self.refused(&classification, refusal)
        })
    }

    /// Judges statements of a database session and takes what limits they need. Each is on record before it runs, reads too; what is
    /// owed must be durable before it has an effect.
    ///
    /// # Errors
    /// The refusal, which is on record.
    pub(crate) async fn statement(&self, classification: &Classification) -> Result<Owed, Refusal> {
        let judged = self.admit(classification, Recorded::All).await;
        judged.map(|(_, owed)| owed).map_err(|refusal| self.refused(classification, refusal))
    }

    /// Waits until what is owed is durable, before a statement has an effect.
    ///
    /// # Errors
    /// The log cannot be written, and nothing may be done in its name; the refusal is on record once it can.
    pub(crate) async fn durable(&self, owed: Owed, statement: &Classification) -> Result<(), Refusal> {
        self.synced(owed).await.map_err(|refusal| self.refused(statement, refusal))
    }

    async fn synced(&self, owed: Owed) -> Result<(), Refusal> {
        match owed {
            Owed(Some(position)) => self.worker.lane.synced(position).await.map_err(|error| audit_refusal(&error)),
            Owed(None) => Ok(()),
        }
    }

    /// Whether nothing may wait for a later sync: the house wants reads to be durable too, before they are answered.
    pub(crate) fn syncs_reads(&self) -> bool {
        self.worker.gateway.sync.needs_sync(Class::Read)
    }

    /// Takes what limits a call needs, and puts it on record.
    async fn admit(&self, classification: &Classification, recorded: Recorded) -> Result<(Admitted, Owed), Refusal> {
        // Before anything is counted for it.
        let conditions = self.unasked(classification)?;
        let mut reservation = Reservation::nothing();
        if !conditions.limits().is_empty() {
            let gateway = &self.worker.gateway;
            let limits = gateway.store.limits();
            let reserved = limits.reserve(&self.subject.tenant, conditions.limits(), gateway.clock.now()).await;
            // Of a limit that asks when it is used up, nobody is asked either.
            reservation =
                reserved.map_err(|error| counters_away(&error))?.map_err(|reached| limit_reached(&reached))?;
        }
        let admitted = conditions.admit(&reservation).map_err(|unmet| {
            Refusal::new(Code::Denied, "The conditions of the rule are not met").internal(unmet.to_string())
        })?;
        let class = classification.class();
        if recorded == Recorded::Changes && class == Class::Read {
            return Ok((admitted, Owed::default()));
        }
        let position = self.record(classification, &admitted)?;
        let owed = Owed(self.worker.gateway.sync.needs_sync(class).then_some(position));
        Ok((admitted, owed))
    }

    /// What may be done without asking anybody, and on which conditions.
    fn unasked(&self, classification: &Classification) -> Result<Conditions, Refusal> {
        let conditions = self.decide(classification)?;
        match conditions.approval() {
            Some(need) => Err(asks(&need.rule)),
            None => Ok(conditions),
        }
    }

    fn decide(&self, classification: &Classification) -> Result<Conditions, Refusal> {
        let gateway = &self.worker.gateway;
        let now = gateway.clock.now();
        if !self.live.is_live(now) {
            return Err(Refusal::new(Code::SessionEnded, "The session has ended"));
        }
        let grants = self.live.grants();
        let question = Question {
            subject: &self.subject,
            classification,
            method: &self.method,
            origin: &self.origin,
            presented: self.presented.as_ref(),
            grants: &grants,
            now,
        };
        match gateway.snapshot.load().rules.decide(&question) {
            Decision::Allow(conditions) => Ok(conditions),
            Decision::Deny(refusal) => Err(refusal),
        }
    }

    fn record(&self, classification: &Classification, admitted: &Admitted) -> Result<audit::Position, Refusal> {
        let mut event = self.event(classification);
        event.decision = Some(Verdict::Allow);
        event.rules = admitted.rules().to_vec();
        event.grant = admitted.grant();
        if let Some(refusal) = admitted.observed() {
            event.reason = Some(format!("observed only: {}", refusal.public));
            event.code = Some(refusal.code);
        }
        self.worker.lane.append(&event).map_err(|error| audit_refusal(&error))
    }

    fn event(&self, classification: &Classification) -> Event {
        let gateway = &self.worker.gateway;
        let now = gateway.clock.now();
        let mut event = Event::new(EventId::fresh(now, &*gateway.random), now, Kind::Call, self.subject.tenant.clone());
        event.agent = Some(self.subject.agent.clone());
        event.session = Some(self.subject.session);
        event.exchange = Some(self.exchange);
        event.service.clone_from(&classification.service);
        event.calls = classification.calls.to_vec();
        event
    }

    fn refused(&self, classification: &Classification, refusal: Refusal) -> Refusal {
        let mut event = self.event(classification);
        event.decision = Some(Verdict::Deny);
        event.code = Some(refusal.code);
        event.rules.extend(refusal.rule.as_deref().map(Arc::from));
        event.reason = Some(refusal.public.clone());
        if let Err(error) = self.worker.lane.append(&event) {
            tracing::error!(%error, "a refused call could not be recorded; its exchange is cut all the same");
        }
        refusal
    }
}
