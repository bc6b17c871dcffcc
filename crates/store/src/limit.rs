//! Counters of limits, exact between tasks, processes and nodes, and over a crash: a reservation is a row, written
//! before anything leaves. A process that dies leaves its rows behind, so counts err on the safe side.

use std::collections::BTreeSet;

use model::id::ReservationId;
use model::{Random, Tenant, Timestamp};
use policy::limit::{LimitNeed, Over, Reached, Reservation, Taken, admit};

use crate::StoreError;
use crate::engine::{Db, Durability, Tx};
use crate::value::{vals, whole};

/// Rows are kept for this many periods: a clock that was set forward and back again loses none that still count.
const PERIODS_KEPT: i64 = 2;

/// Counters of limits.
pub struct Limits<'a> {
    pub(crate) db: &'a Db,
}

/// Sixteen octets that the engine made.
struct Noise([u8; 16]);

impl Random for Noise {
    fn fill(&self, out: &mut [u8]) {
        for (slot, byte) in out.iter_mut().zip(self.0.iter().cycle()) {
            *slot = *byte;
        }
    }
}

impl Limits<'_> {
    /// Takes all of `needs` or none.
    pub async fn reserve(
        &self,
        tenant: &Tenant,
        needs: &[LimitNeed],
        now: Timestamp,
    ) -> Result<Result<Reservation, Reached>, StoreError> {
        self.take(tenant, needs, now, false).await
    }

    /// As [`Self::reserve`], after a person has approved what is beyond limits of kind [`Over::Ask`]: those are counted
    /// without being checked. Limits that refuse still do.
    pub async fn reserve_approved(
        &self,
        tenant: &Tenant,
        needs: &[LimitNeed],
        now: Timestamp,
    ) -> Result<Result<Reservation, Reached>, StoreError> {
        self.take(tenant, needs, now, true).await
    }

    async fn take(
        &self,
        tenant: &Tenant,
        needs: &[LimitNeed],
        now: Timestamp,
        approved: bool,
    ) -> Result<Result<Reservation, Reached>, StoreError> {
        if needs.is_empty() {
            return Ok(Ok(Reservation::nothing()));
        }
        let mut tx = self.db.tx(Durability::Process).await?;
        // In one order everywhere, or two transactions could each hold what the other wants.
        for key in needs.iter().map(|need| &need.key).collect::<BTreeSet<_>>() {
            tx.lock(&format!("limit/{tenant}/{key}")).await?;
        }
        let id = ReservationId::fresh(now, &Noise(tx.noise().await?));
        for (part, need) in (0i64..).zip(needs) {
            if !(approved && need.over == Over::Ask)
                && let Err(reached) = check(&mut tx, tenant, need, now).await?
            {
                return Ok(Err(reached));
            }
            let sql = "INSERT INTO reservations (tenant, key, at, id, part, amount) VALUES ($1, $2, $3, $4, $5, $6)";
            let values = vals![tenant, need.key.as_str(), now, id, part, whole(need.amount, "amount")?];
            tx.exec(sql, values).await?;
            let horizon = now.0.saturating_sub(need.period_micros.saturating_mul(PERIODS_KEPT));
            let sql = "DELETE FROM reservations WHERE tenant = $1 AND key = $2 AND at < $3";
            tx.exec(sql, vals![tenant, need.key.as_str(), horizon]).await?;
        }
        tx.commit().await?;
        Ok(Ok(Reservation::of(id, needs)))
    }

    /// Returns a reservation. Only if nothing was sent.
    pub async fn give_back(&self, tenant: &Tenant, id: ReservationId) -> Result<(), StoreError> {
        let sql = "DELETE FROM reservations WHERE tenant = $1 AND id = $2";
        self.db.exec(Durability::Process, sql, vals![tenant, id]).await.map(drop)
    }

    /// Puts what was really spent in the place of what was reserved, by key.
    pub async fn settle(&self, tenant: &Tenant, id: ReservationId, spent: &[(String, u64)]) -> Result<(), StoreError> {
        let mut tx = self.db.tx(Durability::Process).await?;
        for (key, amount) in spent {
            let sql = "UPDATE reservations SET amount = $4 WHERE tenant = $1 AND id = $2 AND key = $3";
            tx.exec(sql, vals![tenant, id, key.as_str(), whole(*amount, "amount")?]).await?;
        }
        tx.commit().await
    }

    /// What was taken later than now, while the clock was ahead, counts as taken now: it counts for one period, no more and
    /// no less.
    pub async fn pull_back(&self, tenant: &Tenant, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "UPDATE reservations SET at = $2 WHERE tenant = $1 AND at > $2";
        self.db.exec(Durability::Power, sql, vals![tenant, now]).await
    }

    /// What is taken of a counter since `since`, for `review` and displays.
    pub async fn taken(&self, tenant: &Tenant, key: &str, since: Timestamp) -> Result<u64, StoreError> {
        let row = self.db.row(SUM, vals![tenant, key, since]).await?;
        row.map_or(Ok(0), |row| row.count(0))
    }
}

const SUM: &str = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM reservations
    WHERE tenant = $1 AND key = $2 AND at > $3";

/// A sum first, over the index alone; the single rows are read only to say when there will be room again.
async fn check(
    tx: &mut Tx,
    tenant: &Tenant,
    need: &LimitNeed,
    now: Timestamp,
) -> Result<Result<(), Reached>, StoreError> {
    let since = Timestamp(now.0.saturating_sub(need.period_micros));
    let sum = tx.row(SUM, vals![tenant, need.key.as_str(), since]).await?.map_or(Ok(0), |row| row.count(0))?;
    if admit(need, &[Taken { at: now, amount: sum }], now).is_ok() {
        return Ok(Ok(()));
    }
    let sql = "SELECT at, amount FROM reservations WHERE tenant = $1 AND key = $2 AND at > $3 ORDER BY at";
    let rows = tx.rows(sql, vals![tenant, need.key.as_str(), since]).await?;
    let taken = rows.iter().map(|row| Ok(Taken { at: row.time(0)?, amount: row.count(1)? }));
    Ok(admit(need, &taken.collect::<Result<Vec<_>, StoreError>>()?, now))
}
