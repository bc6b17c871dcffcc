//! The room: who waits for an answer, and how a yes becomes a grant.
//!
//! The store decides (compare-and-set): two approvers, an answer and the time-out, two processes never both win, and a
//! yes given once is used once. This process's own answers wake who waits at once; those of other processes are seen
//! within `CHANGES_SEEN_MILLIS_MAX`. Identical questions are put once: all who wait share the answer, but a yes given
//! once lets exactly one of them pass; the others ask anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::bounds::{
    APPROVALS_OPEN_PER_AGENT_MAX, CHANGES_SEEN_MILLIS_MAX, PERMIT_SECONDS_MAX, SESSION_SECONDS_DEFAULT,
};
use model::time::{Clock, Random};
use model::{ApprovalId, Digest, SessionId, Tenant, Timestamp};
use parking_lot::Mutex;
use policy::Grant;
use store::{Answer, Answered, ApprovalRow, ApprovalState, Asked, Scope, Store, StoreError, Verdict};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::ask::{Ask, NotApproved, Question, Reply};
use crate::channel::Channel;
use crate::error::ApprovalError;

/// After a no the same question of the session is refused with the same words for this long, whatever its octets, without
/// asking again (fatigue): an agent that changes one octet would otherwise ask until somebody gives in.
const DENIED_SECONDS: u64 = 30;
/// Such answers kept, and once-per-session answers kept, of one process.
const REMEMBERED_MAX: usize = 4_096;

/// The same question: session, key and octets.
type Same = (SessionId, String, Digest, Option<Digest>);

/// What was said, as far as this process heard it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// Look at the row; a no carries who and why, which the row does not.
    Settled {
        denied: Option<(String, String)>,
    },
}

struct Waiting {
    ask: Arc<Ask>,
    expires: Timestamp,
    until: Instant,
    heard: watch::Sender<Heard>,
    /// How many exchanges wait for it.
    waiters: usize,
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
    channels: Vec<Arc<dyn Channel>>,
    state: Mutex<State>,
    /// Putting a question is rare; one at a time, so that identical ones meet.
    putting: tokio::sync::Mutex<()>,
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

/// One exchange that waits. Dropped unsettled, the question is withdrawn when it was the last.
struct Seat {
    inner: Arc<Inner>,
    tenant: Tenant,
    id: ApprovalId,
    heard: watch::Receiver<Heard>,
    until: Instant,
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
         that covers this call, run the agent on a terminal, or use `valetkey serve` with an approver"
    );
    NotApproved::NoChannel { hint }
}

impl WaitingRoom {
    /// A room with these channels; none at all refuses every question.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, random: Arc<dyn Random>, channels: Vec<Arc<dyn Channel>>) -> Self {
        let (state, putting) = (Mutex::default(), tokio::sync::Mutex::new(()));
        Self { inner: Arc::new(Inner { store, clock, random, channels, state, putting }) }
    }

    /// Puts a question and waits. Dropping the future withdraws it.
    pub async fn ask(&self, ask: Ask) -> Result<Grant, NotApproved> {
        let ask = Arc::new(ask);
        loop {
            if let Some(settled) = self.inner.known(&ask).await? {
                return settled;
            }
            let seat = self.inner.sit(&ask).await?;
            if let Some(settled) = seat.wait(&ask).await? {
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

    /// A session has ended: every yes that was given for it is gone.
    pub async fn forget(&self, tenant: &Tenant, session: SessionId) -> Result<(), ApprovalError> {
        self.inner.state.lock().once.retain(|(of, _), _| *of != session);
        Ok(self.inner.store.approvals().forget(tenant, session).await?)
    }
}

impl Inner {
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

    /// Joins the same question, or puts it.
    async fn sit(self: &Arc<Self>, ask: &Arc<Ask>) -> Result<Seat, NotApproved> {
        let _turn = self.putting.lock().await;
        if let Some(seat) = self.join(ask) {
            return Ok(seat);
        }
        if !self.channels.iter().any(|channel| channel.can_answer(ask)) {
            return Err(no_channel(ask));
        }
        let now = self.clock.now();
        let expires = now.plus_secs(ask.need.timeout_seconds);
        let row = self.row(ask, now, expires);
        let id = row.id;
        let asked = self.store.approvals().insert(&row, APPROVALS_OPEN_PER_AGENT_MAX).await;
        if asked.map_err(|error| unavailable(&error))? == Asked::TooMany {
            return Err(NotApproved::TooMany);
        }
        let until = Instant::now() + Duration::from_secs(ask.need.timeout_seconds);
        let waiting =
            Waiting { ask: Arc::clone(ask), expires, until, heard: watch::Sender::new(Heard::Nothing), waiters: 1 };
        let seat = self.seat(ask, id, &waiting);
        let mut state = self.state.lock();
        state.open.insert(id, waiting);
        state.same.insert(same(ask), id);
        drop(state);
        for channel in &self.channels {
            let question = Question { id, ask: Arc::clone(ask), expires };
            channel.notify(question, Answerer { inner: Arc::clone(self), tenant: ask.tenant.clone(), id });
        }
        Ok(seat)
    }

    fn join(self: &Arc<Self>, ask: &Ask) -> Option<Seat> {
        let mut state = self.state.lock();
        let id = *state.same.get(&same(ask))?;
        let waiting = state.open.get_mut(&id)?;
        waiting.waiters += 1;
        Some(self.seat(ask, id, waiting))
    }

    fn seat(self: &Arc<Self>, ask: &Ask, id: ApprovalId, waiting: &Waiting) -> Seat {
        let (inner, tenant) = (Arc::clone(self), ask.tenant.clone());
        Seat { inner, tenant, id, heard: waiting.heard.subscribe(), until: waiting.until }
    }

    fn row(&self, ask: &Ask, now: Timestamp, expires: Timestamp) -> ApprovalRow {
        ApprovalRow {
            id: ApprovalId::fresh(now, &*self.random),
            tenant: ask.tenant.clone(),
            session: ask.session,
            agent: ask.agent.clone(),
            sentence: ask.sentence(),
            calls: format!("{} {}", ask.method, ask.url),
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
        let answered = rows.answer(tenant, id, &Answer { approver: by.to_owned(), verdict, scope, until }, now).await?;
        match answered {
            Answered::Settled(state) => {
                let denied = (state == ApprovalState::Denied).then(|| (by.to_owned(), reason));
                self.tell(id, denied);
            }
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

    /// Wakes who waits in this process.
    fn tell(&self, id: ApprovalId, denied: Option<(String, String)>) {
        if let Some(waiting) = self.state.lock().open.get(&id) {
            waiting.heard.send_replace(Heard::Settled { denied });
        }
    }

    /// A question is over: nobody joins it any more, channels take it away.
    fn clear(&self, id: ApprovalId) {
        let mut state = self.state.lock();
        let Some(waiting) = state.open.remove(&id) else { return };
        let same = same(&waiting.ask);
        if state.same.get(&same) == Some(&id) {
            state.same.remove(&same);
        }
        drop(state);
        for channel in &self.channels {
            channel.withdraw(id);
        }
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

impl Seat {
    /// Waits until the question is settled. `None`: the yes was used by another exchange.
    async fn wait(mut self, ask: &Ask) -> Result<Option<Result<Grant, NotApproved>>, NotApproved> {
        loop {
            let timed_out = tokio::select! {
                _ = self.heard.changed() => false,
                // Another process may have answered.
                () = sleep(Duration::from_millis(CHANGES_SEEN_MILLIS_MAX)) => false,
                () = sleep_until(self.until) => true,
            };
            let row = self.inner.store.approvals().get(&self.tenant, self.id).await;
            let row = row.map_err(|error| unavailable(&error))?;
            let row_is_open = row.as_ref().is_some_and(|row| row.state == ApprovalState::Open);
            let settled = match row.as_ref().map(|row| row.state) {
                Some(ApprovalState::Open) if !timed_out => continue,
                Some(ApprovalState::Approved) => match row {
                    Some(row) => self.inner.grant(ask, &row).await?.map(Ok),
                    None => None,
                },
                Some(ApprovalState::Used) => None,
                Some(ApprovalState::Denied) => Some(Err(self.denied(ask))),
                Some(ApprovalState::Open | ApprovalState::Expired) | None => Some(Err(NotApproved::Expired)),
            };
            if row_is_open {
                // The row says so too, for the lists of operators.
                let rows = self.inner.store.approvals();
                rows.withdraw(&self.tenant, self.id, self.inner.clock.now())
                    .await
                    .map_err(|error| unavailable(&error))?;
            }
            self.inner.clear(self.id);
            return Ok(settled);
        }
    }

    fn denied(&self, ask: &Ask) -> NotApproved {
        let heard = self.heard.borrow().clone();
        let (by, reason) = match heard {
            Heard::Settled { denied: Some(denied) } => denied,
            _ => ("an approver".to_owned(), String::new()),
        };
        self.inner.remember_no(ask, &by, &reason);
        NotApproved::Denied { by, reason }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        // Gone already where another seat has cleared it.
        let Some(waiting) = state.open.get_mut(&self.id) else { return };
        waiting.waiters = waiting.waiters.saturating_sub(1);
        let settled = *waiting.heard.borrow() != Heard::Nothing;
        if waiting.waiters > 0 && !settled {
            return;
        }
        drop(state);
        self.inner.clear(self.id);
        if let (false, Ok(runtime)) = (settled, tokio::runtime::Handle::try_current()) {
            let (inner, tenant, id) = (Arc::clone(&self.inner), self.tenant.clone(), self.id);
            runtime.spawn(async move {
                let now = inner.clock.now();
                if let Err(error) = inner.store.approvals().withdraw(&tenant, id, now).await {
                    tracing::warn!(%error, %id, "a question could not be withdrawn; it ends by its time-out");
                }
            });
        }
    }
}
