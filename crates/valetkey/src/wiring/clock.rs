//! The clock was set back (row J132): sessions, questions, answers and limits end by wall time, because they outlive
//! the process, so that what was over would live again, and what was given while the clock was ahead would live for as long
//! as it was. Nobody can tell those apart any more, so all of it ends, once, and the new time holds.
//!
//! A process sees it by itself; across a restart, by the latest time that the home remembers. Ahead is always believed: a
//! machine that slept for a night is no different, and it only ends things.

use std::time::Duration;

use model::event::Kind;
use model::time::MICROS;
use model::{Tenant, Timestamp};
use proxy::Gateway;
use store::{Store, StoreError};

use super::open::Opened;
use super::{warn, watch};
use crate::clock::BACK_MAX;

/// Under which the home remembers the latest time that it has seen, microseconds since 1970.
const MARK: &str = "clock";
/// How often it does.
const MARK_EVERY_SECONDS: u64 = 60;

/// How far the clock is behind what the home remembers, where it was set back; everything has ended then.
///
/// # Errors
/// The store.
pub async fn check(store: &Store, tenant: &Tenant, now: Timestamp) -> Result<Option<Duration>, StoreError> {
    let mark = store.meta().get(tenant, MARK).await?.and_then(|text| text.parse().ok()).map(Timestamp);
    let back = Duration::from_micros(mark.map_or(0, |mark| mark.micros_since(now)));
    if back <= BACK_MAX {
        return Ok(None);
    }
    lapse(store, tenant, now).await?;
    warn(&told(back));
    Ok(Some(back))
}

fn told(back: Duration) -> String {
    let (days, hours, minutes) = (back.as_secs() / 86_400, back.as_secs() / 3_600 % 24, back.as_secs() / 60 % 60);
    format!(
        "the clock was set back by {days} d {hours} h {minutes} min, so all sessions and approvals have ended, lest \
         some live again; start them anew, and `valetkey serve` too where it was started while the clock was ahead"
    )
}

/// Ends whatever ends by time, and remembers the new time.
async fn lapse(store: &Store, tenant: &Tenant, now: Timestamp) -> Result<(), StoreError> {
    store.sessions().end_all(tenant, None, now).await?;
    store.approvals().lapse(tenant, now).await?;
    store.limits().pull_back(tenant, now).await?;
    mark(store, tenant, now).await
}

async fn mark(store: &Store, tenant: &Tenant, now: Timestamp) -> Result<(), StoreError> {
    store.meta().set(tenant, MARK, &now.0.to_string()).await
}

/// Looks at the clock of a gateway that serves.
pub struct Watching {
    marked: Timestamp,
}

impl Watching {
    /// Begins; tells of what was found when the home was opened.
    pub fn begin(opened: &Opened, gateway: &Gateway) -> Self {
        if let Some(back) = opened.set_back {
            record(gateway, back);
        }
        Self { marked: Timestamp(0) }
    }

    /// One look. While the store cannot be written nothing is accepted: the time stands still, and what was over stays so.
    pub async fn look(&mut self, opened: &Opened, gateway: &Gateway) {
        let (store, tenant) = (&opened.store, &opened.tenant);
        let Some(back) = opened.time.look() else {
            let now = opened.time.below();
            if now.micros_since(self.marked) >= MARK_EVERY_SECONDS * MICROS as u64 {
                self.marked = now;
                if let Err(error) = mark(store, tenant, now).await {
                    tracing::warn!(%error, "the time could not be remembered");
                }
            }
            return;
        };
        let now = opened.time.below();
        if let Err(error) = lapse(store, tenant, now).await {
            tracing::error!(%error, "the clock was set back, and what ends by time could not be ended; it is tried again");
            return;
        }
        watch::end_sessions(gateway, |_| true);
        gateway.vault.clock_changed();
        opened.time.accept();
        self.marked = now;
        record(gateway, back);
        warn(&told(back));
    }
}

fn record(gateway: &Gateway, back: Duration) {
    match gateway.log.lane() {
        Ok(lane) => watch::record(gateway, &lane, Kind::Alert, |event| event.reason = Some(told(back))),
        Err(error) => tracing::error!(%error, "that the clock was set back could not be recorded"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{AgentName, Clock, Digest, Random, Session, SessionId};
    use store::Location;
    use testkit::{FakeClock, SeededRandom};

    use super::*;

    const YEAR_SECONDS: u64 = 365 * 86_400;

    async fn begin(store: &Store, number: u8, now: Timestamp, random: &SeededRandom) {
        let session = Session {
            id: SessionId::fresh(now, random as &dyn Random),
            tenant: Tenant::local(),
            agent: AgentName::new("tester").unwrap(),
            user: None,
            roles: Vec::new(),
            task: None,
            started: now,
            expires: now.plus_secs(3_600),
            ended: None,
        };
        store.sessions().insert(&session, &Digest([number; 32])).await.unwrap();
    }

    async fn is_live(store: &Store, number: u8, now: Timestamp) -> bool {
        store.sessions().by_token(&Digest([number; 32])).await.unwrap().is_some_and(|session| session.is_live(now))
    }

    #[tokio::test]
    async fn what_was_over_does_not_live_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, random) = (Arc::new(FakeClock::default()), SeededRandom::new(7));
        let store = Store::open(Location::Sqlite(folder.path().join("store.db")), clock.clone()).await.unwrap();
        let tenant = Tenant::local();
        let start = clock.now();
        assert_eq!(check(&store, &tenant, start).await.unwrap(), None, "a new home");
        begin(&store, 1, start, &random).await;
        // A year ahead the first is over, and another begins there.
        let ahead = start.plus_secs(YEAR_SECONDS);
        begin(&store, 2, ahead, &random).await;
        mark(&store, &tenant, ahead).await.unwrap();
        assert!(!is_live(&store, 1, ahead).await && is_live(&store, 2, ahead).await);
        // Back by little is nothing.
        let little = Timestamp(ahead.0 - 9 * 60 * MICROS);
        assert_eq!(check(&store, &tenant, little).await.unwrap(), None);
        assert!(is_live(&store, 2, little).await);
        // Back by a year: without the check the first lives again, and the second for a year.
        assert!(is_live(&store, 1, start).await && is_live(&store, 2, start).await, "what the row is about");
        assert_eq!(check(&store, &tenant, start).await.unwrap(), Some(Duration::from_secs(YEAR_SECONDS)));
        assert!(!is_live(&store, 1, start).await && !is_live(&store, 2, start).await);
        // Once: what begins now lives.
        begin(&store, 3, start, &random).await;
        assert_eq!(check(&store, &tenant, start).await.unwrap(), None);
        assert!(is_live(&store, 3, start).await);
    }
}
