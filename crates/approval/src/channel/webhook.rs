//! A receiver of the operator's own: told of questions by signed messages (Standard Webhooks), and of their end; its people answer
//! by signed messages, which [`crate::inbox`] reads.
//!
//! What is sent holds no secret and of a body no more than the sentences say of it, and every text that an agent chose is written as
//! [`crate::render`] writes it. A question
//! has a task of its own that sends, so that nobody waits for a receiver; a message that is not taken is sent again until the
//! question's time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::time::{Clock, Random};
use model::{ApprovalId, EventId, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use store::ApprovalState;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::{Channel, Wait};
use crate::ask::{Ask, Question, Settled};
use crate::inbox::Inbox;
use crate::render::{short, strict, visible};
use crate::room::Answerer;
use crate::signing::Keys;

pub(super) const NAME: &str = "webhook";

/// Questions of which one receiver is told at once; one more is not told to it.
const TOLD_MAX: usize = 1_024;
/// Messages on their way to one receiver at once.
const ATTEMPTS_MAX: usize = 8;
/// How long a receiver has to take a message, connecting included.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two tries of a message: at first, and at most. Half of it is chance, so that receivers that come back are not asked by
/// all at once.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// Tries of the message that a question is settled: nobody waits for it.
const SETTLED_TRIES_MAX: u32 = 8;
/// So many failures one after the other are known to fail, for so long after the last: then the next question tries again.
const FAILURES_MAX: u32 = 3;
const FAILING_SECONDS: u64 = 60;
/// Calls that are told one by one, and octets of the texts.
const SENTENCES_MAX: usize = 16;
const SENTENCE_BYTES_MAX: usize = 1_024;
const URL_BYTES_MAX: usize = 2 * 1024;
const TEXT_BYTES_MAX: usize = 512;
/// A receiver that wants no more (410).
const GONE: u16 = 410;

/// One signed message: the fields and the body, the same for every try but for time and signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// `webhook-id`.
    pub id: String,
    /// `webhook-timestamp`, seconds since 1970.
    pub seconds: u64,
    /// `webhook-signature`.
    pub signature: String,
    /// JSON.
    pub body: Bytes,
}

/// Carries letters to one receiver. Follows no redirect, verifies the receiver's certificate, reads no more than the head of the
/// answer, and that bounded.
pub trait Courier: Send + Sync {
    /// The status that the receiver answers with, or why there is none. May be dropped at any time.
    fn carry(&self, letter: Letter) -> Wait<'_, Result<u16, String>>;
}

/// What is known of the receiver.
#[derive(Default)]
struct Health {
    failures: u32,
    last: Timestamp,
    gone: bool,
}

struct Inner {
    name: String,
    keys: Arc<Keys>,
    courier: Arc<dyn Courier>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    health: Mutex<Health>,
    attempts: Semaphore,
    told: Mutex<HashMap<ApprovalId, oneshot::Sender<Settled>>>,
}

/// The channel of one receiver.
pub struct Webhook {
    inner: Arc<Inner>,
    inbox: Arc<Inbox>,
}

impl Webhook {
    /// Messages are signed with `keys` and go out by `courier`; answers come in by `inbox`.
    #[must_use]
    pub fn new(
        (name, keys): (&str, Arc<Keys>),
        courier: Arc<dyn Courier>,
        inbox: Inbox,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let inner = Inner {
            name: name.to_owned(),
            keys,
            courier,
            clock,
            random,
            health: Mutex::default(),
            attempts: Semaphore::new(ATTEMPTS_MAX),
            told: Mutex::default(),
        };
        Self { inner: Arc::new(inner), inbox: Arc::new(inbox) }
    }
}

impl Channel for Webhook {
    fn name(&self) -> &str {
        &self.inner.name
    }

    /// As long as deliveries are not known to fail. Whether somebody reads them is the receiver's to know.
    fn can_answer(&self, ask: &Ask) -> bool {
        self.inner.may_answer(ask) && self.inner.reaches()
    }

    fn notify(&self, question: Question, _: Answerer) {
        let inner = &self.inner;
        if !inner.may_answer(&question.ask) || inner.health.lock().gone {
            return;
        }
        let (settled, hears) = oneshot::channel();
        let mut told = inner.told.lock();
        if told.len() >= TOLD_MAX {
            drop(told);
            tracing::warn!(channel = inner.name, id = %question.id, "too many questions are open: the receiver is not told of this one");
            return;
        }
        told.insert(question.id, settled);
        drop(told);
        tokio::spawn(Arc::clone(inner).tell(question, hears));
    }

    fn withdraw(&self, id: ApprovalId, settled: &Settled) {
        if let Some(hears) = self.inner.told.lock().remove(&id) {
            // The task may have given up.
            let _ = hears.send(settled.clone());
        }
    }

    fn inbox(&self) -> Option<Arc<Inbox>> {
        Some(Arc::clone(&self.inbox))
    }
}

/// What comes of sending one message until it is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Taken,
    GivenUp,
}

impl Inner {
    /// Whether a yes from here can count: the rule names nobody, this channel, or people at it.
    fn may_answer(&self, ask: &Ask) -> bool {
        let whose = |name: &String| name.split_once(':').map_or(name.as_str(), |(channel, _)| channel) == self.name;
        ask.need.of.is_empty() || ask.need.of.iter().any(whose)
    }

    fn reaches(&self) -> bool {
        let health = self.health.lock();
        let fails = health.failures >= FAILURES_MAX && self.clock.now() < health.last.plus_secs(FAILING_SECONDS);
        !health.gone && !fails
    }

    /// Tells of one question and of its end. Of the end only where the receiver may have heard of the question.
    async fn tell(self: Arc<Self>, question: Question, mut hears: oneshot::Receiver<Settled>) {
        let left = question.expires.micros_since(self.clock.now());
        let until = Instant::now() + Duration::from_micros(left);
        let mut tried = 0;
        let requested = self.message("approval.requested", &requested(&question));
        let settled = tokio::select! {
            settled = &mut hears => settled,
            sent = self.send(&requested, (until, u32::MAX), &mut tried) => {
                if sent == Sent::GivenUp {
                    tracing::warn!(channel = self.name, id = %question.id, "the receiver did not take the question in its time");
                }
                hears.await
            }
        };
        // The channel is no more.
        let Ok(settled) = settled else { return };
        if tried == 0 || self.health.lock().gone {
            return;
        }
        let message = self.message("approval.settled", &ended(question.id, &settled));
        let until = Instant::now() + AGAIN_MAX * SETTLED_TRIES_MAX;
        if self.send(&message, (until, SETTLED_TRIES_MAX), &mut tried).await == Sent::GivenUp {
            tracing::warn!(channel = self.name, id = %question.id, "the receiver did not hear that the question is settled");
        }
    }

    fn message(&self, kind: &str, data: &Value) -> (String, Bytes) {
        let now = self.clock.now();
        let id = EventId::fresh(now, &*self.random).to_string();
        let body = json!({ "type": kind, "timestamp": now, "data": data }).to_string();
        (id, Bytes::from(body))
    }

    /// Tries until the message is taken, the time is over, so many tries were made, or the receiver wants no more.
    async fn send(&self, message: &(String, Bytes), bounds: (Instant, u32), tried: &mut u32) -> Sent {
        let (until, tries_max) = bounds;
        let (mut pause, mut tries) = (AGAIN, 0);
        loop {
            *tried = tried.saturating_add(1);
            tries += 1;
            if self.attempt(message).await {
                return Sent::Taken;
            }
            let pausing = self.jittered(pause);
            if self.health.lock().gone || tries >= tries_max || Instant::now() + pausing >= until {
                return Sent::GivenUp;
            }
            sleep(pausing).await;
            pause = (pause * 2).min(AGAIN_MAX);
        }
    }

    /// One try; whether the receiver took the message.
    async fn attempt(&self, (id, body): &(String, Bytes)) -> bool {
        let Ok(_place) = self.attempts.acquire().await else { return false };
        let seconds = self.clock.now().0.max(0).unsigned_abs() / 1_000_000;
        let Some(signature) = self.keys.sign(id, seconds, body) else { return false };
        let letter = Letter { id: id.clone(), seconds, signature, body: body.clone() };
        let answer = match timeout(ATTEMPT_TIME_MAX, self.courier.carry(letter)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", ATTEMPT_TIME_MAX.as_secs())),
        };
        let mut health = self.health.lock();
        match answer {
            Ok(200..=299) => {
                *health = Health::default();
                return true;
            }
            Ok(GONE) => {
                health.gone = true;
                tracing::warn!(
                    channel = self.name,
                    "the receiver wants no more messages (410); change its configuration to begin again"
                );
            }
            Ok(status) => tracing::warn!(channel = self.name, status, "the receiver did not take a message"),
            Err(why) => tracing::warn!(channel = self.name, why, "the receiver cannot be reached"),
        }
        health.failures = health.failures.saturating_add(1);
        health.last = self.clock.now();
        false
    }

    /// From half of a pause to all of it.
    fn jittered(&self, pause: Duration) -> Duration {
        let mut noise = [0; 2];
        self.random.fill(&mut noise);
        let part = u32::from(u16::from_le_bytes(noise));
        pause / 2 + pause / 2 * part / u32::from(u16::MAX)
    }
}

fn text(chosen: &str) -> String {
    short(visible(chosen), TEXT_BYTES_MAX)
}

/// What is said of a question: `data` of `approval.requested`.
fn requested(question: &Question) -> Value {
    let ask = &question.ask;
    let sentences: Vec<String> =
        ask.sentences.iter().take(SENTENCES_MAX).map(|one| short(visible(one), SENTENCE_BYTES_MAX)).collect();
    let body = ask.body.map(|digest| {
        json!({
            "sha256": digest.to_string(),
            "bytes": ask.bytes,
            "content_type": ask.content_type.as_deref().map(|kind| short(strict(kind), TEXT_BYTES_MAX)),
        })
    });
    json!({
        "id": question.id,
        "sentences": sentences,
        "calls": ask.sentences.len(),
        "method": short(strict(&ask.method), TEXT_BYTES_MAX),
        "url": short(strict(&ask.url), URL_BYTES_MAX),
        "agent": ask.agent,
        "session": ask.session,
        "task": ask.task.as_deref().map(text),
        "rule": text(&ask.need.rule),
        "reason": text(&ask.need.reason),
        "approvers": { "count": ask.need.count.max(1), "of": ask.need.of },
        "expires": question.expires,
        "head_sha256": ask.head.to_string(),
        "body": body,
    })
}

/// What is said of its end: `data` of `approval.settled`.
fn ended(id: ApprovalId, settled: &Settled) -> Value {
    let state = match settled.state {
        ApprovalState::Used => ApprovalState::Approved,
        // Rows that cannot be read: the question cannot be answered any more.
        ApprovalState::Open => ApprovalState::Expired,
        other => other,
    };
    let by: Vec<String> = settled.by.iter().map(|by| text(by)).collect();
    json!({ "id": id, "state": state.as_str(), "by": by, "reason": short(visible(&settled.reason), SENTENCE_BYTES_MAX) })
}
