//! Limits: what an allow needs of them, and the arithmetic. Counters themselves live in the store, which calls
//! [`admit`] inside its transaction, so that they are exact between processes and over a crash.

use model::Timestamp;
use model::id::ReservationId;

/// What happens when a limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The call is refused (429 `limit_reached`).
    Refuse,
    /// A person is asked (the guarded policy's thirty writes).
    Ask,
}

/// One limit that an allowing rule puts on this exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitNeed {
    /// Which counter: agent, permission and limit. Stable over restarts and over edits of other rules.
    pub key: String,
    /// How much this exchange takes: 1 for counts (times the calls), the fact's value for sums.
    pub amount: u64,
    /// How much may be taken within any interval of `period_micros`.
    pub max: u64,
    /// Length of the sliding interval, microseconds.
    pub period_micros: i64,
    /// As written: `5/hour`.
    pub label: String,
    /// The rule it belongs to.
    pub rule: String,
    /// What happens beyond it.
    pub over: Over,
}

/// One earlier admission within the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// When it was admitted.
    pub at: Timestamp,
    /// How much it took.
    pub amount: u64,
}

/// A limit that is used up for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The limit.
    pub need: LimitNeed,
    /// Seconds until enough of it is free again, rounded up; none where no waiting helps.
    pub retry_after_seconds: Option<u64>,
}

/// Whether `need` may be admitted at `now`, given what was taken and not returned.
///
/// Sliding: in no interval of the period's length is more than `max` admitted. `taken` may hold older rows (ignored) and
/// must be sorted by time, oldest first. A row in the future (another process's clock, a clock set back) counts.
///
/// # Errors
/// [`Reached`] with the time after which the same request would pass.
pub fn admit(need: &LimitNeed, taken: &[Taken], now: Timestamp) -> Result<(), Reached> {
    let reached = |retry_after_seconds| Err(Reached { need: need.clone(), retry_after_seconds });
    if need.amount > need.max {
        return reached(None);
    }
    let since = now.0.saturating_sub(need.period_micros);
    let live = || taken.iter().filter(|row| row.at.0 > since);
    let mut used = live().fold(0u64, |sum, row| sum.saturating_add(row.amount));
    if used.saturating_add(need.amount) <= need.max {
        return Ok(());
    }
    for row in live() {
        used = used.saturating_sub(row.amount);
        if used.saturating_add(need.amount) <= need.max {
            let micros = row.at.0.saturating_add(need.period_micros).saturating_sub(now.0).max(1);
            return reached(Some(micros.unsigned_abs().div_ceil(1_000_000)));
        }
    }
    reached(None)
}

/// Proof that limits were reserved. Made by the store inside the transaction that counted.
#[derive(Debug)]
pub struct Reservation {
    id: Option<ReservationId>,
    keys: Vec<String>,
}

impl Reservation {
    /// For needs that were all admitted.
    #[must_use]
    pub fn of(id: ReservationId, needs: &[LimitNeed]) -> Self {
        Self { id: Some(id), keys: needs.iter().map(|need| need.key.clone()).collect() }
    }

    /// Where nothing is limited.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { id: None, keys: Vec::new() }
    }

    /// Its id in the store, to settle or return it.
    #[must_use]
    pub const fn id(&self) -> Option<ReservationId> {
        self.id
    }

    /// Whether every need is covered.
    #[must_use]
    pub fn covers(&self, needs: &[LimitNeed]) -> bool {
        needs.iter().all(|need| self.keys.contains(&need.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(amount: u64, max: u64) -> LimitNeed {
        LimitNeed {
            key: "k".into(),
            amount,
            max,
            period_micros: 3_600_000_000,
            label: format!("{max}/hour"),
            rule: "a/1".into(),
            over: Over::Refuse,
        }
    }

    #[test]
    fn five_then_the_sixth_waits() {
        let taken: Vec<Taken> = (0..5).map(|i| Taken { at: Timestamp::from_secs(100 + i), amount: 1 }).collect();
        assert!(admit(&need(1, 5), taken.get(..4).unwrap_or_default(), Timestamp::from_secs(200)).is_ok());
        let reached = admit(&need(1, 5), &taken, Timestamp::from_secs(200)).expect_err("used up");
        assert_eq!(reached.retry_after_seconds, Some(3_500));
        assert!(admit(&need(1, 5), &taken, Timestamp::from_secs(3_700)).is_ok());
        assert_eq!(admit(&need(6, 5), &[], Timestamp::from_secs(0)).expect_err("never").retry_after_seconds, None);
    }
}
