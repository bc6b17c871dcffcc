//! The room: who waits for an answer, and how a yes becomes a grant.
//!
//! The store decides (compare-and-set): two approvers, an answer and the time-out, two processes never both win, and a
//! yes given once is used once. This process's own answers wake who waits at once; those of other processes are seen
//! within `CHANGES_SEEN_MILLIS_MAX`. Identical questions are put once: all who wait share the answer, but a yes given
//! once lets exactly one of them pass; the others ask anew.
//!
//! A question outlives the exchange that put it: a client that gives up, or is told that the answer is pending, comes back
//! with the identical request and finds the answer. Until its time is over a question is kept by a task of its own.

mod seat;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use model::bounds::{
    APPROVAL_HELD_SECONDS_MAX, APPROVAL_KEPT_SECONDS, APPROVALS_OPEN_PER_AGENT_MAX, CHANGES_SEEN_MILLIS_MAX,
    PERMIT_SECONDS_MAX, SESSION_SECONDS_DEFAULT,
};
use model::time::{Clock, Random};
use model::{ApprovalId, Digest, SessionId, Tenant, Timestamp};
use parking_lot::{Mutex, RwLock};
use policy::Grant;
use store::{Answer, Answered, ApprovalRow, ApprovalState, Asked, Scope, Store, StoreError, Verdict};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ask::{Ask, NotApproved, Question, Reply, Settled};
use crate::channel::Channel;
use crate::error::ApprovalError;
use crate::inbox::Inbox;
use crate::render::short;
use seat::Seat;

/// After a no the same question of the session is refused with the same words for this long, whatever its octets, without
/// asking again (fatigue): an agent that changes one octet would otherwise ask until somebody gives in.
const DENIED_SECONDS: u64 = 30;
/// Octets of a question's sentence in a row, and of its method and URL.
const SENTENCE_BYTES_MAX: usize = 4 * 1024;
const URL_BYTES_MAX: usize = 2 * 1024;
/// Who watches looks again within this, seconds.
const WATCHED_SECONDS: u64 = 5;
/// Who said no, where the row does not tell.
const AN_APPROVER: &str = "an approver";
/// Such answers kept, and once-per-session answers kept, of one process.
const REMEMBERED_MAX: usize = 4_096;

/// The same question: session, key and octets.
type Same = (SessionId, String, Digest, Option<Digest>);

struct Waiting {
    ask: Arc<Ask>,
    expires: Timestamp,
    /// Whether it is settled, as far as this process heard; the row says how.
    settled: watch::Sender<bool>,
    /// Who may have shown it.
    channels: Vec<Arc<dyn Channel>>,
}

#[derive(Default)]
struct State {
    open: HashMap<ApprovalId, Waiting>,
    same: HashMap<Same, ApprovalId>,
    /// By session and key, which covers identical octets too.
    denied: HashMap<(SessionId, String), (Timestamp, String, String)>,
    /// Answers given once to a question that is put once per session.
    once: HashMap<(SessionId, String), Grant>,
}

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    channels: RwLock<Vec<Arc<dyn Channel>>>,
    state: Mutex<State>,
    /// Putting a question is rare; one at a time, so that identical ones meet.
    putting: tokio::sync::Mutex<()>,
    /// Until when an approver looks at the open questions, microseconds.
    watched: AtomicI64,
}

/// Where exchanges wait for people. Clones share one room.
#[derive(Clone)]
pub struct WaitingRoom {
    inner: Arc<Inner>,
}

/// Takes an answer from a channel of this process.
#[derive(Clone)]
pub struct Answerer {
    inner: Arc<Inner>,
    tenant: Tenant,
    id: ApprovalId,
}

impl Answerer {
    /// Answers the question in the name of `by`.
    pub async fn answer(&self, by: &str, reply: Reply) -> Result<Answered, ApprovalError> {
        self.inner.answer(&self.tenant, self.id, by, reply).await
    }
}

/// What becomes of an exchange that asks.
enum Sat {
    Waits(Seat),
    Settled(Result<Grant, NotApproved>),
}

fn same(ask: &Ask) -> Same {
    (ask.session, ask.need.key.clone(), ask.head, ask.body)
}

fn unavailable(error: &StoreError) -> NotApproved {
    NotApproved::Unavailable { reason: error.to_string() }
}

fn no_channel(ask: &Ask) -> NotApproved {
    let (rule, reason) = (&ask.need.rule, &ask.need.reason);
    let hint = format!(
        "rule `{rule}` asks a person ({reason}) and nobody can be asked here: add a permission with `approval: none` \
         that covers this call, run the agent on a terminal, let an approver look (`valetkey approvals watch`), or use \
         `valetkey serve` with one"
    );
    NotApproved::NoChannel { hint }
}

impl WaitingRoom {
    /// A room with these channels; none at all refuses every question.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, random: Arc<dyn Random>, channels: Vec<Arc<dyn Channel>>) -> Self {
        let (state, putting, watched) = (Mutex::default(), tokio::sync::Mutex::new(()), AtomicI64::new(i64::MIN));
        let channels = RwLock::new(channels);
        Self { inner: Arc::new(Inner { store, clock, random, channels, state, putting, watched }) }
    }

    /// The rows behind it.
    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Other channels from now on; those that showed an open question hear of its end.
    pub fn set_channels(&self, channels: Vec<Arc<dyn Channel>>) {
        *self.inner.channels.write() = channels;
    }

    /// Where signed answers of the channel of this name come in.
    #[must_use]
    pub fn inbox(&self, channel: &str) -> Option<Arc<Inbox>> {
        self.inner.channels.read().iter().find(|known| known.name() == channel)?.inbox()
    }

    /// Puts a question and waits, as long as the client may be held. Dropping the future leaves the question open for the
    /// identical request to come.
    pub async fn ask(&self, ask: Ask) -> Result<Grant, NotApproved> {
        let patience = ask.patience_seconds.unwrap_or(APPROVAL_HELD_SECONDS_MAX).min(APPROVAL_HELD_SECONDS_MAX);
        let held = Instant::now() + Duration::from_secs(patience);
        let ask = Arc::new(ask);
        loop {
            if let Some(settled) = self.inner.known(&ask).await? {
                return settled;
            }
            let seat = match self.inner.sit(&ask).await? {
                Sat::Waits(seat) => seat,
                Sat::Settled(settled) => return settled,
            };
            if let Some(settled) = seat.wait(&ask, held).await? {
                return settled;
            }
            // Another exchange with the same octets used the yes.
        }
    }

    /// Answers a question in the name of `by`; also one that another process put.
    ///
    /// # Errors
    /// Unknown, settled before, or a yes of `by` who is not one whom the rule names.
    pub async fn answer(
        &self,
        tenant: &Tenant,
        id: ApprovalId,
        by: &str,
        reply: Reply,
    ) -> Result<Answered, ApprovalError> {
        self.inner.answer(tenant, id, by, reply).await
    }

    /// Somebody who may say yes looks at the open questions, and will look again soon: until then questions can be put even
    /// where no channel leads to a person.
    pub fn watched(&self) {
        let until = self.inner.clock.now().plus_secs(WATCHED_SECONDS);
        self.inner.watched.store(until.0, Ordering::Relaxed);
    }

    /// Questions that can still be answered, of every process, oldest first.
    pub async fn open(&self, tenant: &Tenant) -> Result<Vec<ApprovalRow>, ApprovalError> {
        Ok(self.inner.store.approvals().open(tenant, self.inner.clock.now()).await?)
    }

    /// The whole question, where it was put by this process; others have only its row.
    #[must_use]
    pub fn question(&self, id: ApprovalId) -> Option<Question> {
        let state = self.inner.state.lock();
        state.open.get(&id).map(|waiting| Question { id, ask: Arc::clone(&waiting.ask), expires: waiting.expires })
    }

    /// A session has ended: its questions are withdrawn, every yes that was given for it is gone.
    pub async fn forget(&self, tenant: &Tenant, session: SessionId) -> Result<(), ApprovalError> {
        self.inner.state.lock().once.retain(|(of, _), _| *of != session);
        self.inner.store.approvals().forget(tenant, session, self.inner.clock.now()).await?;
        let state = self.inner.state.lock();
        for waiting in state.open.values().filter(|waiting| waiting.ask.session == session) {
            waiting.settled.send_replace(true);
        }
        Ok(())
    }
}

impl Inner {
    /// Those of now: a question is shown by, and taken from, the same ones.
    fn channels(&self) -> Vec<Arc<dyn Channel>> {
        self.channels.read().clone()
    }

    /// What needs no new question: a yes that still holds, or a no that was just given.
    async fn known(&self, ask: &Ask) -> Result<Option<Result<Grant, NotApproved>>, NotApproved> {
        let now = self.clock.now();
        {
            let mut state = self.state.lock();
            state.denied.retain(|_, (until, _, _)| now < *until);
            if let Some((_, by, reason)) = state.denied.get(&(ask.session, ask.need.key.clone())) {
                return Ok(Some(Err(NotApproved::Denied { by: by.clone(), reason: reason.clone() })));
            }
            let once = state.once.get(&(ask.session, ask.need.key.clone())).filter(|grant| now < grant.expires);
            if let Some(grant) = once {
                return Ok(Some(Ok(grant.clone())));
            }
        }
        let rows = self.store.approvals();
        let remembered = rows.remembered(&ask.tenant, ask.session, &ask.need.key, now).await;
        if let Some(yes) = remembered.map_err(|error| unavailable(&error))? {
            let (approval, approver, expires) = (yes.approval, yes.approver, yes.expires);
            return Ok(Some(Ok(Grant { approval, approver, key: ask.need.key.clone(), bound: None, expires })));
        }
        Ok(None)
    }

    /// Joins the same question, takes the answer that nobody waited for, or puts the question.
    async fn sit(self: &Arc<Self>, ask: &Arc<Ask>) -> Result<Sat, NotApproved> {
        let _turn = self.putting.lock().await;
        if let Some(seat) = self.join(ask) {
            return Ok(Sat::Waits(seat));
        }
        let now = self.clock.now();
        let rows = self.store.approvals();
        let about = rows.about(&ask.tenant, ask.session, &ask.need.key, (&ask.head, ask.body.as_ref())).await;
        if let Some(row) = about.map_err(|error| unavailable(&error))? {
            let lasts = row.settled.is_some_and(|settled| now < settled.plus_secs(APPROVAL_KEPT_SECONDS));
            match row.state {
                // Another process put it, or this one before it was started anew.
                ApprovalState::Open if now < row.expires => {
                    return Ok(Sat::Waits(self.keep(ask, row.id, row.expires, self.channels())));
                }
                ApprovalState::Approved if lasts => {
                    if let Some(grant) = self.grant(ask, &row).await? {
                        return Ok(Sat::Settled(Ok(grant)));
                    }
                }
                // Not remembered for other octets once more: whoever goes on asking must not block them for longer.
                ApprovalState::Denied if lasts => return Ok(Sat::Settled(Err(self.denial(ask, row.id).await?))),
                _ => {}
            }
        }
        let is_watched = now.0 < self.watched.load(Ordering::Relaxed);
        if !is_watched && !self.channels().iter().any(|channel| channel.can_answer(ask)) {
            return Err(no_channel(ask));
        }
        let row = self.row(ask, now, now.plus_secs(ask.need.timeout_seconds));
        let asked = rows.insert(&row, APPROVALS_OPEN_PER_AGENT_MAX).await;
        if asked.map_err(|error| unavailable(&error))? == Asked::TooMany {
            return Err(NotApproved::TooMany);
        }
        let channels = self.channels();
        let seat = self.keep(ask, row.id, row.expires, channels.clone());
        for channel in &channels {
            let question = Question { id: row.id, ask: Arc::clone(ask), expires: row.expires };
            channel.notify(question, Answerer { inner: Arc::clone(self), tenant: ask.tenant.clone(), id: row.id });
        }
        Ok(Sat::Waits(seat))
    }

    fn join(self: &Arc<Self>, ask: &Ask) -> Option<Seat> {
        let state = self.state.lock();
        let id = *state.same.get(&same(ask))?;
        // One that is settled is about to be cleared; its row says what came of it.
        let waiting = state.open.get(&id).filter(|waiting| !*waiting.settled.borrow())?;
        Some(Seat { inner: Arc::clone(self), id, settled: waiting.settled.subscribe() })
    }

    /// Keeps a question until it is settled or its time is over, whether anybody waits or not.
    fn keep(
        self: &Arc<Self>,
        ask: &Arc<Ask>,
        id: ApprovalId,
        expires: Timestamp,
        channels: Vec<Arc<dyn Channel>>,
    ) -> Seat {
        let waiting = Waiting { ask: Arc::clone(ask), expires, settled: watch::Sender::new(false), channels };
        let seat = Seat { inner: Arc::clone(self), id, settled: waiting.settled.subscribe() };
        let mut heard = waiting.settled.subscribe();
        let mut state = self.state.lock();
        state.open.insert(id, waiting);
        state.same.insert(same(ask), id);
        drop(state);
        let left = expires.0.saturating_sub(self.clock.now().0).max(0).cast_unsigned();
        let until = Instant::now() + Duration::from_micros(left);
        let (inner, ask, tenant) = (Arc::clone(self), Arc::clone(ask), ask.tenant.clone());
        tokio::spawn(async move {
            loop {
                let is_over = tokio::select! {
                    _ = heard.changed() => false,
                    // Another process may have answered.
                    () = sleep(Duration::from_millis(CHANGES_SEEN_MILLIS_MAX)) => false,
                    () = sleep_until(until) => true,
                };
                if is_over {
                    inner.close(&tenant, id).await;
                }
                if is_over || inner.is_settled(&tenant, id).await {
                    break;
                }
            }
            let settled = inner.settled(&tenant, id).await;
            inner.heed(&ask, &settled);
            inner.clear(id, &settled);
        });
        seat
    }

    /// A store that cannot be asked has settled nothing; who waits asks it too.
    async fn is_settled(&self, tenant: &Tenant, id: ApprovalId) -> bool {
        let row = self.store.approvals().get(tenant, id).await;
        row.is_ok_and(|row| row.is_none_or(|row| row.state != ApprovalState::Open))
    }

    /// What became of a question, for channels.
    async fn settled(&self, tenant: &Tenant, id: ApprovalId) -> Settled {
        let rows = self.store.approvals();
        let row = rows.get(tenant, id).await.ok().flatten();
        let state = row.map_or(ApprovalState::Open, |row| row.state);
        if state == ApprovalState::Denied {
            let no = rows.denial(tenant, id).await.ok().flatten();
            let (by, reason) = no.map_or_else(Default::default, |no| (vec![no.by], no.reason));
            return Settled { state, by, reason };
        }
        let by = rows.approvers(tenant, id).await.unwrap_or_default();
        Settled { state, by, reason: String::new() }
    }

    fn row(&self, ask: &Ask, now: Timestamp, expires: Timestamp) -> ApprovalRow {
        ApprovalRow {
            id: ApprovalId::fresh(now, &*self.random),
            tenant: ask.tenant.clone(),
            session: ask.session,
            agent: ask.agent.clone(),
            sentence: short(ask.sentence(), SENTENCE_BYTES_MAX),
            calls: short(format!("{} {}", ask.method, ask.url), URL_BYTES_MAX),
            key: ask.need.key.clone(),
            head: ask.head,
            body: ask.body,
            rule: ask.need.rule.clone(),
            wanted: ask.need.count.max(1),
            approvers: ask.need.of.clone(),
            asked: now,
            expires,
            state: ApprovalState::Open,
            scope: None,
            settled: None,
        }
    }

    async fn answer(&self, tenant: &Tenant, id: ApprovalId, by: &str, reply: Reply) -> Result<Answered, ApprovalError> {
        let now = self.clock.now();
        let rows = self.store.approvals();
        let whole = now.plus_secs(SESSION_SECONDS_DEFAULT);
        let (verdict, scope, until, reason) = match reply {
            Reply::Once => (Verdict::Approve, Scope::Once, whole, String::new()),
            Reply::Session => (Verdict::Approve, Scope::Session, whole, String::new()),
            Reply::For(seconds) => (Verdict::Approve, Scope::Time, now.plus_secs(seconds), String::new()),
            Reply::Deny(reason) => (Verdict::Deny, Scope::Once, now, reason),
        };
        let answer = Answer { approver: by.to_owned(), verdict, scope, until, reason };
        let answered = rows.answer(tenant, id, &answer, now).await?;
        match answered {
            Answered::Settled(state) => self.tell(id, (state == ApprovalState::Denied).then_some(&answer)),
            Answered::Late(state) => return Err(ApprovalError::Late { id, state: state.to_string() }),
            Answered::Unknown => return Err(ApprovalError::Unknown(id)),
            Answered::NotAllowed => {
                let of = rows.get(tenant, id).await?.map(|row| row.approvers.join(", ")).unwrap_or_default();
                return Err(ApprovalError::NotAnApprover { id, by: by.to_owned(), of });
            }
            Answered::Counted { .. } => {}
        }
        Ok(answered)
    }

    /// Wakes who waits in this process. A no holds for all of its kind whether anybody waits for it or not: an agent that does not wait
    /// would otherwise ask again with one octet changed.
    fn tell(&self, id: ApprovalId, no: Option<&Answer>) {
        let waiting =
            self.state.lock().open.get(&id).map(|waiting| (Arc::clone(&waiting.ask), waiting.settled.clone()));
        let Some((ask, settled)) = waiting else { return };
        if let Some(no) = no {
            self.remember_no(&ask, &no.approver, &no.reason);
        }
        settled.send_replace(true);
    }

    /// The same for a no that another process took.
    fn heed(&self, ask: &Ask, settled: &Settled) {
        if settled.state == ApprovalState::Denied {
            let by = settled.by.first().map_or(AN_APPROVER, String::as_str);
            self.remember_no(ask, by, &settled.reason);
        }
    }

    /// Nobody answered in time: the row says so, for the lists of operators.
    async fn close(&self, tenant: &Tenant, id: ApprovalId) {
        if let Err(error) = self.store.approvals().withdraw(tenant, id, self.clock.now()).await {
            tracing::warn!(%error, %id, "a question could not be closed; it ends by its time");
        }
    }

    /// A question is over: nobody joins it any more, channels take it away, who waits is woken.
    fn clear(&self, id: ApprovalId, settled: &Settled) {
        let mut state = self.state.lock();
        let Some(waiting) = state.open.remove(&id) else { return };
        let same = same(&waiting.ask);
        if state.same.get(&same) == Some(&id) {
            state.same.remove(&same);
        }
        drop(state);
        waiting.settled.send_replace(true);
        for channel in &waiting.channels {
            channel.withdraw(id, settled);
        }
    }

    async fn denial(&self, ask: &Ask, id: ApprovalId) -> Result<NotApproved, NotApproved> {
        let denial = self.store.approvals().denial(&ask.tenant, id).await.map_err(|error| unavailable(&error))?;
        let (by, reason) = denial.map_or_else(|| (AN_APPROVER.to_owned(), String::new()), |no| (no.by, no.reason));
        Ok(NotApproved::Denied { by, reason })
    }

    fn remember_no(&self, ask: &Ask, by: &str, reason: &str) {
        let until = self.clock.now().plus_secs(DENIED_SECONDS);
        let mut state = self.state.lock();
        if state.denied.len() < REMEMBERED_MAX {
            state.denied.insert((ask.session, ask.need.key.clone()), (until, by.to_owned(), reason.to_owned()));
        }
    }

    /// Turns a yes into a grant; `None` where another exchange has used it.
    async fn grant(&self, ask: &Ask, row: &ApprovalRow) -> Result<Option<Grant>, NotApproved> {
        let rows = self.store.approvals();
        let now = self.clock.now();
        let away = |error: StoreError| unavailable(&error);
        if row.scope.is_some_and(|scope| scope != Scope::Once) {
            let kept = rows.remembered(&ask.tenant, ask.session, &ask.need.key, now).await.map_err(away)?;
            return Ok(kept.map(|yes| Grant {
                approval: yes.approval,
                approver: yes.approver,
                key: ask.need.key.clone(),
                bound: None,
                expires: yes.expires,
            }));
        }
        if !rows.consume(&ask.tenant, row.id, now).await.map_err(away)? {
            return Ok(None);
        }
        let approver = rows.approvers(&ask.tenant, row.id).await.map_err(away)?.join(", ");
        let mut grant = Grant {
            approval: row.id,
            approver,
            key: ask.need.key.clone(),
            bound: Some((ask.head, ask.body)),
            expires: now.plus_secs(PERMIT_SECONDS_MAX),
        };
        if ask.need.once_per_session {
            grant.bound = None;
            grant.expires = now.plus_secs(SESSION_SECONDS_DEFAULT);
            let mut state = self.state.lock();
            if state.once.len() < REMEMBERED_MAX {
                state.once.insert((ask.session, ask.need.key.clone()), grant.clone());
            }
        }
        Ok(Some(grant))
    }
}
