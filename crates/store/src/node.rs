//! What one process at a time may hold: a lane of the audit log, the API socket. A hold not renewed is free again.

use model::{Tenant, Timestamp};

use crate::StoreError;
use crate::engine::{Db, Durability};
use crate::value::vals;

/// Lanes looked at before giving up; far more processes than one home or cluster has.
const LANES_MAX: u32 = 10_000;

/// Who takes or renews something, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Hold<'a> {
    /// Names the process: unique over machines and restarts.
    pub node: &'a str,
    /// Now.
    pub now: Timestamp,
    /// When the hold is free again unless it is renewed.
    pub until: Timestamp,
}

/// What one process at a time may hold.
pub struct Nodes<'a> {
    pub(crate) db: &'a Db,
}

impl Nodes<'_> {
    /// Takes or renews `what`; whether the node holds it now.
    pub async fn claim(&self, tenant: &Tenant, what: &str, hold: Hold<'_>) -> Result<bool, StoreError> {
        let sql = "INSERT INTO holds (tenant, what, node, until) VALUES ($1, $2, $3, $5)
            ON CONFLICT (tenant, what) DO UPDATE SET node = excluded.node, until = excluded.until
            WHERE holds.node = $3 OR holds.until <= $4";
        Ok(self.db.exec(Durability::Process, sql, vals![tenant, what, hold.node, hold.now, hold.until]).await? > 0)
    }

    /// Takes the lowest free lane, counted from 0, for a node that holds none.
    pub async fn claim_lane(&self, tenant: &Tenant, hold: Hold<'_>) -> Result<u32, StoreError> {
        for lane in 0..LANES_MAX {
            if self.claim(tenant, &lane_name(lane), hold).await? {
                return Ok(lane);
            }
        }
        Err(StoreError::Locked)
    }

    /// Renews a lane; false when another node took it, and then nothing may be written to it any more.
    pub async fn renew_lane(&self, tenant: &Tenant, lane: u32, hold: Hold<'_>) -> Result<bool, StoreError> {
        let sql = "UPDATE holds SET until = $4 WHERE tenant = $1 AND what = $2 AND node = $3";
        let name = lane_name(lane);
        Ok(self.db.exec(Durability::Process, sql, vals![tenant, name, hold.node, hold.until]).await? > 0)
    }

    /// Who holds it now.
    pub async fn holder(&self, tenant: &Tenant, what: &str, now: Timestamp) -> Result<Option<String>, StoreError> {
        let sql = "SELECT node FROM holds WHERE tenant = $1 AND what = $2 AND until > $3";
        self.db.row(sql, vals![tenant, what, now]).await?.map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    /// Notes that a node still carries something; several may at a time. Over when it is not noted anew.
    pub async fn carry(&self, tenant: &Tenant, what: &str, hold: Hold<'_>) -> Result<(), StoreError> {
        self.claim(tenant, &format!("{what}/{}", hold.node), hold).await.map(drop)
    }

    /// Whether another node than this one carries it.
    pub async fn is_carried(
        &self,
        tenant: &Tenant,
        what: &str,
        (node, now): (&str, Timestamp),
    ) -> Result<bool, StoreError> {
        let rows =
            self.db.rows("SELECT what, node FROM holds WHERE tenant = $1 AND until > $2", vals![tenant, now]).await?;
        for row in rows {
            let by = row.text(0)?.strip_prefix(what).and_then(|rest| rest.strip_prefix('/'));
            if by.is_some_and(|by| by != node) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets that anybody carries it.
    pub async fn put_down(&self, tenant: &Tenant, what: &str) -> Result<(), StoreError> {
        let rows = self.db.rows("SELECT what FROM holds WHERE tenant = $1", vals![tenant]).await?;
        for row in rows {
            let known = row.text(0)?;
            if known.strip_prefix(what).is_some_and(|rest| rest.starts_with('/')) {
                let sql = "DELETE FROM holds WHERE tenant = $1 AND what = $2";
                self.db.exec(Durability::Process, sql, vals![tenant, known]).await?;
            }
        }
        Ok(())
    }

    /// Gives back everything that a node holds.
    pub async fn release(&self, tenant: &Tenant, node: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM holds WHERE tenant = $1 AND node = $2";
        self.db.exec(Durability::Process, sql, vals![tenant, node]).await.map(drop)
    }
}

fn lane_name(lane: u32) -> String {
    format!("lane/{lane}")
}
