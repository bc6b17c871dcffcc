//! One breaker for each origin that cannot be connected: after some failures in a row nobody waits for it, and one request at a time
//! looks whether it is back.
//!
//! Only connecting counts. An answer, whatever its status, came by a connection; and a certificate that does not verify is no silence.

use std::collections::HashMap;
use std::time::Duration;

use model::bounds::{UPSTREAM_FAILURES_MAX, UPSTREAM_OPEN_SECONDS, UPSTREAMS_BROKEN_MAX};
use model::canonical::Origin;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::dial::DialError;

struct Broken {
    failures: u32,
    pause: u64,
    open_until: Option<Instant>,
    probing: bool,
    last: Instant,
    reason: String,
}

/// Those that fail now; what can be connected is not among them.
#[derive(Default)]
pub(super) struct Breakers(Mutex<HashMap<Origin, Broken>>);

/// A try on its way. Dropped without an outcome, it gives its turn back.
struct Turn<'a> {
    breakers: &'a Breakers,
    origin: &'a Origin,
    settled: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.settled
            && let Some(broken) = self.breakers.0.lock().get_mut(self.origin)
        {
            broken.probing = false;
        }
    }
}

impl Breakers {
    /// Connects, unless the origin is left alone.
    pub(super) async fn guard<T>(
        &self,
        origin: &Origin,
        connecting: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let mut turn = self.admit(origin, Instant::now())?;
        let outcome = connecting.await;
        turn.settled = true;
        self.note(origin, outcome.as_ref().err(), Instant::now());
        outcome
    }

    fn admit<'a>(&'a self, origin: &'a Origin, now: Instant) -> Result<Turn<'a>, DialError> {
        let mut all = self.0.lock();
        let turn = || Turn { breakers: self, origin, settled: false };
        let Some(broken) = all.get_mut(origin) else { return Ok(turn()) };
        let Some(until) = broken.open_until else { return Ok(turn()) };
        if now >= until && !broken.probing {
            broken.probing = true;
            return Ok(turn());
        }
        let seconds = until.saturating_duration_since(now).as_secs().saturating_add(1);
        Err(DialError::Resting { host: origin.host.clone(), seconds, reason: broken.reason.clone() })
    }

    fn note(&self, origin: &Origin, failure: Option<&DialError>, now: Instant) {
        let mut all = self.0.lock();
        let failure = match failure {
            None | Some(DialError::Untrusted { .. }) => {
                all.remove(origin);
                return;
            }
            Some(DialError::Blocked { .. } | DialError::Resting { .. }) => {
                if let Some(broken) = all.get_mut(origin) {
                    broken.probing = false;
                }
                return;
            }
            Some(failure) => failure.to_string(),
        };
        if all.len() >= UPSTREAMS_BROKEN_MAX && !all.contains_key(origin) {
            // The one that failed longest ago is least on anybody's mind.
            let oldest = all.iter().min_by_key(|(_, broken)| broken.last).map(|(origin, _)| origin.clone());
            if let Some(oldest) = oldest {
                all.remove(&oldest);
            }
        }
        let fresh =
            || Broken { failures: 0, pause: 0, open_until: None, probing: false, last: now, reason: String::new() };
        let broken = all.entry(origin.clone()).or_insert_with(fresh);
        let (least, most) = UPSTREAM_OPEN_SECONDS;
        // One request that fails every now and then is not a row.
        if now.duration_since(broken.last) > Duration::from_secs(most * 2) {
            *broken = fresh();
        }
        broken.failures = broken.failures.saturating_add(1);
        (broken.last, broken.reason) = (now, failure);
        // Those that were on their way when it opened say nothing new.
        let waits = broken.open_until.is_some_and(|until| now < until);
        if !waits && (broken.probing || broken.failures >= UPSTREAM_FAILURES_MAX) {
            broken.pause = if broken.pause == 0 { least } else { (broken.pause * 2).min(most) };
            broken.open_until = Some(now + Duration::from_secs(broken.pause));
        }
        broken.probing = false;
    }
}

#[cfg(test)]
mod tests {
    use model::canonical::{Host, Scheme};

    use super::*;

    fn origin(host: &str) -> Origin {
        Origin { scheme: Scheme::Https, host: Host::parse(host).expect("a host"), port: 443 }
    }

    fn away(origin: &Origin) -> DialError {
        DialError::Unreachable { host: origin.host.clone(), reason: "refused".to_owned() }
    }

    /// What came of a try: whether the origin was asked, and how long it is left alone.
    async fn ask(breakers: &Breakers, origin: &Origin, answer: Result<(), DialError>) -> (bool, u64) {
        let mut asked = false;
        let outcome = breakers
            .guard(origin, async {
                asked = true;
                answer
            })
            .await;
        match outcome {
            Err(DialError::Resting { seconds, .. }) => (asked, seconds),
            _ => (asked, 0),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_probes_and_closes() {
        let (breakers, here) = (Breakers::default(), origin("a.test"));
        let (least, most) = UPSTREAM_OPEN_SECONDS;
        for _ in 0..UPSTREAM_FAILURES_MAX {
            assert_eq!(ask(&breakers, &here, Err(away(&here))).await, (true, 0));
        }
        assert_eq!(ask(&breakers, &here, Ok(())).await, (false, least + 1));
        assert_eq!(ask(&breakers, &origin("b.test"), Ok(())).await, (true, 0), "others are not left alone");
        let mut pause = least;
        // Each probe that fails doubles the pause.
        for _ in 0..6 {
            tokio::time::advance(Duration::from_secs(pause)).await;
            assert_eq!(ask(&breakers, &here, Err(away(&here))).await, (true, 0));
            pause = (pause * 2).min(most);
            assert_eq!(ask(&breakers, &here, Ok(())).await, (false, pause + 1));
        }
        tokio::time::advance(Duration::from_secs(most)).await;
        assert_eq!(ask(&breakers, &here, Ok(())).await, (true, 0));
        for _ in 1..UPSTREAM_FAILURES_MAX {
            assert_eq!(ask(&breakers, &here, Err(away(&here))).await, (true, 0), "a success counts from the start");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_and_a_dropped_one_gives_its_turn_back() {
        let (breakers, here) = (Breakers::default(), origin("a.test"));
        for _ in 0..UPSTREAM_FAILURES_MAX {
            ask(&breakers, &here, Err(away(&here))).await;
        }
        tokio::time::advance(Duration::from_secs(UPSTREAM_OPEN_SECONDS.0)).await;
        let mut probe = Box::pin(breakers.guard(&here, std::future::pending::<Result<(), DialError>>()));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(probe.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
        assert_eq!(ask(&breakers, &here, Ok(())).await, (false, 1));
        drop(probe);
        assert_eq!(ask(&breakers, &here, Ok(())).await, (true, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn only_silence_counts() {
        let (breakers, here) = (Breakers::default(), origin("a.test"));
        for _ in 0..3 * UPSTREAM_FAILURES_MAX {
            let untrusted = DialError::Untrusted { host: here.host.clone(), reason: "unknown issuer".to_owned() };
            assert_eq!(ask(&breakers, &here, Err(untrusted)).await, (true, 0));
        }
        for _ in 0..3 * UPSTREAM_FAILURES_MAX {
            assert_eq!(ask(&breakers, &here, Err(away(&here))).await, (true, 0), "not in a row");
            tokio::time::advance(Duration::from_secs(UPSTREAM_OPEN_SECONDS.1 * 2 + 1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_bound() {
        let breakers = Breakers::default();
        for number in 0..2 * UPSTREAMS_BROKEN_MAX {
            let there = origin(&format!("h{number}.test"));
            ask(&breakers, &there, Err(away(&there))).await;
        }
        assert_eq!(breakers.0.lock().len(), UPSTREAMS_BROKEN_MAX);
    }
}
