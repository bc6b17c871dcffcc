//! One back end over the network, as the configuration describes it, with the breaker that keeps us from hammering it.
//!
//! The breaker opens after some failures in a row; while it is open nobody asks. After a pause one question is let through: what
//! comes of it closes the breaker, or opens it for twice as long. Answers count as well, whatever they say: only silence is failure.

use std::sync::Arc;
use std::time::Duration;

use model::canonical::Origin;
use model::{Timestamp, bounds};
use parking_lot::Mutex;

use crate::Reference;
use crate::backend::{Backend, BackendError, Fetched, Wanted};

/// How a back end knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogIn {
    /// With a token.
    Token(Reference),
    /// Vault's AppRole.
    AppRole {
        /// Where it is mounted.
        mount: String,
        /// No secret.
        role: String,
        /// The secret.
        secret: Reference,
    },
    /// A key of AWS.
    AwsKey {
        /// Where what is asked for lies.
        region: String,
        /// Its id.
        key_id: Reference,
        /// Its secret half.
        secret: Reference,
        /// What goes with one that ends.
        session_token: Option<Reference>,
    },
    /// The keys of AWS that surround the gateway: variables, shared files, a container's endpoint, an instance's metadata.
    AwsAmbient {
        /// Where what is asked for lies.
        region: String,
    },
    /// The key of a service account of Google: the JSON that Google gave.
    GoogleKey(Reference),
    /// An application of Microsoft's directory.
    AzureClient {
        /// Whose directory it is in.
        tenant: String,
        /// Its id.
        client_id: String,
        /// Its secret.
        secret: Reference,
    },
    /// Vault's methods by a JSON web token: `kubernetes`, `jwt`.
    Jwt {
        /// Where it is mounted.
        mount: String,
        /// The role.
        role: String,
        /// The token; read anew for each log-in.
        jwt: Reference,
    },
}

/// One entry of `backends:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// What stands before the colon in references: `hashicorp`, `hashicorp@eu`.
    pub word: String,
    /// Its nodes, the first one tried first. [`model::canonical::parse_base`] reads one.
    pub origins: Vec<Origin>,
    /// PEM of the only authorities that may sign them; the platform's where there is none.
    pub ca: Option<Vec<u8>>,
    /// Vault's namespace.
    pub namespace: Option<String>,
    /// The version of Vault's KV engine; found by asking where nothing is said.
    pub kv: Option<u8>,
    /// How it knows us.
    pub login: LogIn,
}

/// How a back end fares, as this process knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What stands before the colon in references.
    pub word: String,
    /// Where it is.
    pub address: String,
    /// Failures in a row.
    pub failures: u32,
    /// Until when nobody asks.
    pub open_until: Option<Timestamp>,
    /// When it answered last.
    pub answered: Option<Timestamp>,
}

#[derive(Default)]
struct State {
    failures: u32,
    pause: u64,
    open_until: Option<Timestamp>,
    probing: bool,
    answered: Option<Timestamp>,
    last: String,
}

/// One that is asked.
pub(crate) struct Instance {
    pub site: Site,
    pub backend: Box<dyn Backend>,
    breaker: Breaker,
}

#[derive(Default)]
pub(crate) struct Breaker(Mutex<State>);

/// A question on its way. Dropped without an outcome, it gives the turn back.
struct Turn<'a>(Option<&'a Breaker>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(breaker) = self.0 {
            breaker.0.lock().probing = false;
        }
    }
}

impl Breaker {
    fn admit(&self, now: Timestamp) -> Result<Turn<'_>, BackendError> {
        let mut state = self.0.lock();
        let Some(until) = state.open_until else { return Ok(Turn(Some(self))) };
        if now >= until && !state.probing {
            state.probing = true;
            return Ok(Turn(Some(self)));
        }
        let seconds = until.micros_since(now).div_ceil(1_000_000).max(1);
        let what = format!("{}; after {} failures it is left alone for {seconds} s more", state.last, state.failures);
        Err(BackendError::Away { what })
    }

    fn note(&self, failure: Option<&BackendError>, now: Timestamp) {
        let mut state = self.0.lock();
        let Some(failure) = failure else {
            *state = State { answered: Some(now), ..State::default() };
            return;
        };
        state.failures = state.failures.saturating_add(1);
        state.last = failure.to_string();
        if state.probing || state.failures >= bounds::BACKEND_FAILURES_MAX {
            let (least, most) = bounds::BACKEND_OPEN_SECONDS;
            state.pause = if state.pause == 0 { least } else { (state.pause * 2).min(most) };
            state.open_until = Some(now.plus_secs(state.pause));
        }
        state.probing = false;
    }

    /// Runs one question, unless the breaker is open.
    pub async fn guard<T>(
        &self,
        now: Timestamp,
        question: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let mut turn = self.admit(now)?;
        // Whoever waits for a log-in waits behind all that wait already.
        let limit = Duration::from_secs(bounds::BACKEND_VALUE_SECONDS_MAX);
        let late = || BackendError::Away { what: format!("it gave nothing within {} s", limit.as_secs()) };
        let outcome = tokio::time::timeout(limit, question).await.unwrap_or_else(|_| Err(late()));
        turn.0 = None;
        self.note(outcome.as_ref().err().filter(|error| error.is_silence()), now);
        outcome
    }
}

impl Instance {
    pub fn new(site: Site, backend: Box<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { site, backend, breaker: Breaker::default() })
    }

    pub async fn fetch(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        self.breaker.guard(wanted.now, self.backend.fetch(wanted)).await
    }

    pub async fn renew(&self, lease: &str, now: Timestamp) -> Result<Option<Timestamp>, BackendError> {
        self.breaker.guard(now, self.backend.renew(lease, now)).await
    }

    pub fn health(&self) -> Health {
        let state = self.breaker.0.lock();
        let address = self.site.origins.first().map_or_else(String::new, ToString::to_string);
        Health {
            word: self.site.word.clone(),
            address,
            failures: state.failures,
            open_until: state.open_until,
            answered: state.answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    async fn ask(breaker: &Breaker, now: i64, good: bool) -> Option<bool> {
        let mut asked = false;
        let outcome = breaker
            .guard(at(now), async {
                asked = true;
                if good { Ok(()) } else { Err(BackendError::Away { what: "it is away".into() }) }
            })
            .await;
        asked.then_some(outcome.is_ok())
    }

    #[tokio::test]
    async fn it_opens_probes_and_closes() {
        let breaker = Breaker::default();
        // (time, whether it would answer, whether it is asked)
        let (five, pause) = (i64::from(bounds::BACKEND_FAILURES_MAX), bounds::BACKEND_OPEN_SECONDS.0 as i64);
        for now in 0..five {
            assert_eq!(ask(&breaker, now, false).await, Some(false));
        }
        let opened = five - 1;
        for now in [opened, opened + 1, opened + pause - 1] {
            assert_eq!(ask(&breaker, now, true).await, None, "{now}");
        }
        // One probe, which fails: twice as long.
        assert_eq!(ask(&breaker, opened + pause, false).await, Some(false));
        assert_eq!(ask(&breaker, opened + 3 * pause - 1, true).await, None);
        assert_eq!(ask(&breaker, opened + 3 * pause, true).await, Some(true));
        assert_eq!(ask(&breaker, opened + 3 * pause, false).await, Some(false));
        assert_eq!(ask(&breaker, opened + 3 * pause, true).await, Some(true));
    }

    #[tokio::test]
    async fn one_probe_at_a_time_and_a_dropped_one_gives_its_turn_back() {
        let breaker = Breaker::default();
        for now in 0..i64::from(bounds::BACKEND_FAILURES_MAX) {
            ask(&breaker, now, false).await;
        }
        let later = 1_000;
        let mut probe = Box::pin(breaker.guard(at(later), std::future::pending::<Result<(), BackendError>>()));
        assert!(matches!(futures_poll(&mut probe).await, std::task::Poll::Pending));
        assert_eq!(ask(&breaker, later, true).await, None);
        drop(probe);
        assert_eq!(ask(&breaker, later, true).await, Some(true));
    }

    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
        std::future::poll_fn(|context| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context))).await
    }

    #[tokio::test]
    async fn what_fails_at_one_place_shuts_no_other() {
        let breaker = Breaker::default();
        for now in 0..100 {
            let busy = BackendError::Busy { what: "status 500".into() };
            let outcome: Result<(), _> = breaker.guard(at(now), async { Err(busy) }).await;
            assert!(matches!(outcome, Err(BackendError::Busy { .. })));
            assert_eq!(ask(&breaker, now, true).await, Some(true));
        }
    }

    #[tokio::test]
    async fn answers_that_say_no_are_answers() {
        let breaker = Breaker::default();
        for now in 0..100 {
            let outcome: Result<(), _> =
                breaker.guard(at(now), async { Err(BackendError::Missing { what: "no".into() }) }).await;
            assert!(matches!(outcome, Err(BackendError::Missing { .. })));
        }
    }
}
