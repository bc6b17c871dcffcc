//! Records: made when an exchange is accepted, travels with it, and writes "abandoned" if it is dropped unfinished, so
//! that no exchange ends unrecorded, whatever happens to its future.

mod alarm;
pub(crate) mod counted;
mod repeat;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use audit::Said;
use model::event::{ApprovalRecord, CredentialUse, Kind, RequestRecord, ResponseRecord, Verdict};
use model::id::ReservationId;
use model::{CanonicalRequest, Class, Classification, Code, Digest, Event, EventId, ExchangeId, Refusal, Tenant};

use crate::gateway::{Carried, Worker};
use crate::session::LiveSession;

/// How long an outcome may wait for the next record to be written with. What asks for the log's head, a checkpoint and the
/// end of the process write it at once.
const OUTCOME_WAIT_MAX: Duration = Duration::from_millis(2);

/// How far an exchange got; decides what is written when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing written yet.
    Open,
    /// The attempt is written; something may have left.
    Attempted,
    /// The last record is written.
    Closed,
}

/// What is said of one exchange, as it becomes known.
pub(crate) struct Recorder {
    worker: Arc<Worker>,
    /// Boxed: a recorder is handed from stage to stage, and an event is most of a kilobyte.
    event: Box<Event>,
    accepted: Instant,
    progress: Progress,
    class: Class,
    session: Option<Arc<LiveSession>>,
    reservation: Option<ReservationId>,
    /// Until the end of the exchange, however it ends.
    carried: Option<Carried>,
    /// What the attempt said, for an outcome that says the same; none once anything else of the event has changed.
    said: Option<Said>,
    /// What came of an attempt that is followed by another; written with that.
    before: Option<Box<Before>>,
}

/// The end of an attempt that is followed by another.
struct Before {
    response: ResponseRecord,
    reason: String,
    code: Option<Code>,
    credential: Option<CredentialUse>,
}

impl Recorder {
    /// Begins with nothing known but when and from where.
    pub(crate) fn begin(worker: &Arc<Worker>, source: &Arc<str>) -> Self {
        let now = worker.gateway.clock.now();
        let random = &*worker.gateway.random;
        let mut event = Box::new(Event::new(EventId::fresh(now, random), now, Kind::Refusal, Tenant::local()));
        event.exchange = Some(ExchangeId::fresh(now, random));
        event.request = Some(RequestRecord { source: Arc::clone(source), ..RequestRecord::default() });
        Self {
            worker: Arc::clone(worker),
            event,
            accepted: Instant::now(),
            progress: Progress::Open,
            class: Class::Read,
            session: None,
            reservation: None,
            carried: None,
            said: None,
            before: None,
        }
    }

    /// When it was accepted.
    pub(crate) const fn accepted(&self) -> Instant {
        self.accepted
    }

    /// The exchange's id.
    pub(crate) fn exchange(&self) -> ExchangeId {
        self.event.exchange.unwrap_or_else(|| ExchangeId::from_bits(0))
    }

    /// Notes what was asked before anything is known of it: for requests that turn out malformed.
    pub(crate) fn asked(&mut self, method: &str, host: &str, path: &str) {
        if let Some(request) = &mut self.event.request {
            request.method = method.into();
            request.host = host.into();
            // A refused path may hold anything; the encoder escapes and bounds it.
            request.path = path.chars().take(512).collect::<String>().into();
        }
    }

    /// Notes the canonical request and its digest.
    pub(crate) fn request(&mut self, canonical: &CanonicalRequest, digest: Digest) {
        if let Some(request) = &mut self.event.request {
            request.method = canonical.method().as_str().into();
            request.host = canonical.origin().to_string().into();
            request.path = canonical.target().into();
            request.digest = Some(digest);
        }
    }

    /// Masks real secrets in everything the agent chose: for requests that are refused because of one, or before they
    /// could be searched.
    pub(crate) fn mask(&mut self) {
        self.said = None;
        let Some(known) = self.session.as_ref().and_then(|live| live.known()) else { return };
        let masked = |text: &str| known.mask(text);
        if let Some(request) = &mut self.event.request {
            request.path = masked(&request.path).map_or_else(|| Arc::clone(&request.path), Arc::from);
        }
        for call in &mut self.event.calls {
            call.facts = call.facts.map_text(&masked);
            if let Some(text) = masked(call.resource.as_str()) {
                call.resource = model::Resource::new(&text);
            }
        }
    }

    /// Replaces the path by its form with secrets redacted (query slots).
    pub(crate) fn redacted_path(&mut self, path: &str) {
        self.said = None;
        if let Some(request) = &mut self.event.request {
            request.path = path.into();
        }
    }

    /// Notes who asks.
    pub(crate) fn identified(&mut self, live: &Arc<LiveSession>) {
        let session = &live.session;
        self.event.tenant = session.tenant.clone();
        self.event.agent = Some(session.agent.clone());
        self.event.user.clone_from(&session.user);
        self.event.session = Some(session.id);
        self.event.task.clone_from(&session.task);
        live.tally.requests.fetch_add(1, Relaxed);
        self.session = Some(Arc::clone(live));
    }

    /// Notes what it is.
    pub(crate) fn classified(&mut self, classification: &Classification) {
        self.event.service.clone_from(&classification.service);
        self.event.calls = classification.calls.to_vec();
        self.class = classification.class();
    }

    /// Notes whose real values were replaced in the body before it was judged. The refusal where the session was stopped
    /// for it.
    pub(crate) fn rewritten(&mut self, names: Vec<model::CredentialName>) -> Option<Refusal> {
        let stop = self.secret_sent(&names);
        self.event.rewritten = names;
        stop
    }

    /// Notes the rules that allowed it.
    pub(crate) fn allowed(&mut self, rules: &[Arc<str>], observed: Option<&Refusal>) {
        self.event.decision = Some(Verdict::Allow);
        self.event.rules = rules.to_vec();
        if let Some(refusal) = observed {
            self.event.reason = Some(format!("observed only: {}", refusal.public));
            self.event.code = Some(refusal.code);
        }
    }

    /// Notes the grant under which it passes.
    pub(crate) fn under(&mut self, grant: Option<model::GrantId>) {
        self.event.grant = grant;
    }

    /// Notes the question that was put, and whose yes it got.
    pub(crate) fn question(&mut self, approval: ApprovalRecord) {
        self.event.approval = Some(approval);
    }

    /// Counts that a person is asked, whatever comes of it.
    pub(crate) fn asks(&self) {
        if let Some(live) = &self.session {
            live.tally.asked.fetch_add(1, Relaxed);
        }
    }

    /// Takes that back where the question reached nobody.
    pub(crate) fn asked_nobody(&self) {
        if let Some(live) = &self.session {
            live.tally.asked.fetch_sub(1, Relaxed);
        }
    }

    /// Notes which limits were taken, so that they can be given back if nothing is sent.
    pub(crate) fn reserved(&mut self, reservation: Option<ReservationId>) {
        self.reservation = reservation;
    }

    /// Notes the credential that is put on.
    pub(crate) fn credential(&mut self, name: &model::CredentialName, version: u64) {
        self.carried = Some(self.worker.gateway.in_use.enter(name, version));
        self.event.credential = Some(CredentialUse { name: name.clone(), version });
    }

    /// Notes the body that is sent, where it is known beforehand.
    pub(crate) fn body(&mut self, hash: Option<Digest>, bytes: u64) {
        self.said = None;
        if let Some(request) = &mut self.event.request {
            request.body_hash = hash;
            request.bytes = bytes;
        }
    }

    /// Writes the attempt; nothing may leave before this is done, and nothing does: [`Attempt`] is what forwarding takes.
    ///
    /// # Errors
    /// The record could not be written or, where the policy of syncing asks for it, made durable.
    pub(crate) async fn attempt(&mut self) -> Result<Attempt, Refusal> {
        if let Some(before) = self.before.take() {
            self.end_before(*before)?;
        }
        self.stamp(Kind::Attempt);
        let written = self.worker.lane.append_attempt(&self.event);
        let (position, said) = written.map_err(|error| audit_refusal(&error))?;
        self.said = said;
        self.progress = Progress::Attempted;
        if self.worker.gateway.sync.needs_sync(self.class) {
            self.worker.lane.synced(position).await.map_err(|error| audit_refusal(&error))?;
        }
        Ok(Attempt { _written: () })
    }

    /// Notes how much of an answer had passed when it was dropped.
    pub(crate) fn partly(&mut self, status: u16, bytes: u64) {
        self.event.response = Some(ResponseRecord { status, bytes, ..ResponseRecord::default() });
    }

    /// Writes the outcome of an answer that has ended.
    pub(crate) fn outcome(mut self, response: ResponseRecord, cut: Option<Code>) {
        self.stamp(Kind::Outcome);
        self.event.response = Some(response);
        if cut.is_some() {
            self.event.code = cut;
            self.said = None;
        }
        if cut == Some(Code::SecretInRequest) {
            let _ = self.secret_sent(&[]);
        }
        if let Some(live) = &self.session {
            live.tally.allowed.fetch_add(1, Relaxed);
        }
        self.close_soon();
    }

    /// Ends the record of a request that the control plane answered: it has its own.
    pub(crate) fn elsewhere(mut self) {
        self.progress = Progress::Closed;
        if let Some(live) = &self.session {
            live.tally.requests.fetch_sub(1, Relaxed);
        }
    }

    /// Writes that we answered instead of the upstream. A refusal before the attempt gives reserved limits back.
    pub(crate) fn refused(mut self, refusal: &Refusal, status: u16) {
        let sent = self.progress == Progress::Attempted;
        if refusal.code == Code::SecretInRequest {
            let _ = self.secret_sent(&[]);
        }
        self.stamp(if sent { Kind::Outcome } else { Kind::Refusal });
        self.event.code = Some(refusal.code);
        self.event.decision = Some(if sent { Verdict::Allow } else { Verdict::Deny });
        if let Some(rule) = &refusal.rule {
            self.event.rules = vec![rule.as_str().into()];
        }
        let reason = if refusal.internal.is_empty() { &refusal.public } else { &refusal.internal };
        self.event.reason = Some(reason.clone());
        self.event.response = Some(ResponseRecord { status, ..ResponseRecord::default() });
        if let Some(live) = &self.session {
            live.tally.denied.fetch_add(1, Relaxed);
            // A denial by name is no oversight; only what no rule of the operator's own covers is worth suggesting.
            let built_in = |rule: &str| rule.starts_with("guarded/");
            let uncovered = refusal.code == Code::Denied && refusal.rule.as_deref().is_none_or(built_in);
            if let (true, Some(service)) = (uncovered, &self.event.service) {
                // What is guarded is for the operator to think of, not for a receipt to propose.
                let guarded = |call: &&model::Call| {
                    matches!(call.class, Class::Admin | Class::Delete) || call.effects.meets(model::Effects::GUARDED)
                };
                for call in self.event.calls.iter().filter(|call| !guarded(call)) {
                    live.tally.deny((service.clone(), call.action.clone(), call.resource.clone()));
                }
            }
        }
        self.close();
    }

    /// Says that nothing was sent although the attempt stands: what was reserved is given back.
    pub(crate) fn nothing_sent(&mut self) {
        if let Some(id) = self.reservation.take() {
            let (store, tenant) = (self.worker.gateway.store.clone(), self.event.tenant.clone());
            // The exchange is over for the agent; the return is bookkeeping that may follow it.
            tokio::spawn(async move {
                if let Err(error) = store.limits().give_back(&tenant, id).await {
                    tracing::warn!(%error, "a reservation could not be returned; it lapses with its period");
                }
            });
        }
    }

    /// Leaves no record: for a CONNECT that was answered, whose exchanges follow inside.
    pub(crate) fn discard(mut self) {
        self.progress = Progress::Closed;
    }

    fn stamp(&mut self, kind: Kind) {
        let now = self.worker.gateway.clock.now();
        self.event.kind = kind;
        if kind != Kind::Attempt {
            self.event.id = EventId::fresh(now, &*self.worker.gateway.random);
            self.event.duration_us = u64::try_from(self.accepted.elapsed().as_micros()).ok();
        }
        self.event.time = now;
    }

    fn close(&mut self) {
        let sent = self.progress == Progress::Attempted;
        self.progress = Progress::Closed;
        if !sent {
            self.nothing_sent();
            if self.is_counted() {
                return;
            }
        }
        if let Err(error) = self.worker.lane.append(&self.event) {
            // Nothing can be refused any more. Where the disk is in trouble the lane keeps the record and writes it later; else
            // recovery finds the attempt without an end.
            tracing::error!(%error, "the last record of an exchange could not be written");
        }
    }
}

impl Recorder {
    /// Whether it is one refusal of many; one that a person had a part in is none of them.
    fn is_counted(&self) -> bool {
        let class = (!self.event.calls.is_empty()).then_some(self.class);
        let alone = self.event.approval.is_some() || self.event.decision == Some(Verdict::Allow);
        !alone && self.worker.gateway.counted.takes(&self.event, class, Instant::now())
    }

    /// [`close`](Self::close) with a write that is shared with the next record of this thread.
    fn close_soon(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return self.close() };
        self.progress = Progress::Closed;
        match self.worker.lane.append_outcome(&self.event, self.said.as_ref()) {
            Ok(false) => {}
            Ok(true) => {
                let lane = self.worker.lane.clone();
                runtime.spawn(async move {
                    tokio::time::sleep(OUTCOME_WAIT_MAX).await;
                    lane.flush();
                });
            }
            Err(error) => tracing::error!(%error, "the last record of an exchange could not be written"),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.progress != Progress::Closed {
            self.stamp(Kind::Abandoned);
            self.close();
        }
    }
}

/// Proof that the attempt is on record. Forwarding takes it by value: no attempt, no request.
pub(crate) struct Attempt {
    _written: (),
}

impl Attempt {
    /// The request leaves: this attempt stands for nothing more.
    pub(crate) fn spend(self) {
        let Self { _written: () } = self;
    }
}

pub(crate) fn audit_refusal(error: &audit::AuditError) -> Refusal {
    Refusal::new(Code::AuditUnavailable, "The audit log cannot be written, so nothing is sent")
        .internal(error.to_string())
        .hint("free space on the disk that holds the audit log; it recovers by itself")
        .retry_after(2)
}
