//! Agents as the operator switched them, and when they were last seen. What they may do stands in the configuration.

use model::{AgentName, Tenant, Timestamp};

use crate::StoreError;
use crate::change::{Topic, bump};
use crate::engine::{Db, Durability};
use crate::value::{Row, vals};

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// Its name.
    pub name: AgentName,
    /// Whether it may do anything at all.
    pub enabled: bool,
    /// When that was last changed.
    pub changed: Timestamp,
    /// By whom; empty where nobody did.
    pub by: String,
    /// When a session of it last began or did something, to the minute.
    pub seen: Option<Timestamp>,
}

/// State of agents.
pub struct Agents<'a> {
    pub(crate) db: &'a Db,
}

impl Agents<'_> {
    /// Enables or disables one, known before or not. `row.seen` is not looked at.
    pub async fn switch(&self, tenant: &Tenant, row: &AgentRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO agents (tenant, name, enabled, changed, author) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (tenant, name) DO UPDATE SET
            enabled = excluded.enabled, changed = excluded.changed, author = excluded.author";
        let mut tx = self.db.tx(Durability::Power).await?;
        tx.exec(sql, vals![tenant, &row.name, row.enabled, row.changed, row.by.as_str()]).await?;
        bump(&mut tx, tenant, Topic::Agents).await?;
        tx.commit().await
    }

    /// Notes that it was seen.
    pub async fn seen(&self, tenant: &Tenant, name: &AgentName, at: Timestamp) -> Result<(), StoreError> {
        let sql = "INSERT INTO agents (tenant, name, enabled, changed, author, seen) VALUES ($1, $2, 1, $3, '', $3)
            ON CONFLICT (tenant, name) DO UPDATE SET seen = excluded.seen";
        self.db.exec(Durability::Process, sql, vals![tenant, name, at]).await.map(drop)
    }

    /// One agent; none where nobody ever touched it (then it is enabled).
    pub async fn get(&self, tenant: &Tenant, name: &AgentName) -> Result<Option<AgentRow>, StoreError> {
        let sql = "SELECT name, enabled, changed, author, seen FROM agents WHERE tenant = $1 AND name = $2";
        self.db.row(sql, vals![tenant, name]).await?.map(|row| read(&row)).transpose()
    }

    /// All of them, by name.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<AgentRow>, StoreError> {
        let sql = "SELECT name, enabled, changed, author, seen FROM agents WHERE tenant = $1 ORDER BY name";
        self.db.rows(sql, vals![tenant]).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<AgentRow, StoreError> {
    Ok(AgentRow {
        name: row.parsed(0)?,
        enabled: row.int(1)? != 0,
        changed: row.time(2)?,
        by: row.text(3)?.to_owned(),
        seen: row.opt_time(4)?,
    })
}
