//! Changes that other processes make, seen by polling: on SQLite one read of shared memory while nothing happens.

use std::collections::BTreeMap;

use model::Tenant;

use crate::StoreError;
use crate::engine::{Db, Tx};
use crate::value::vals;

/// What a process may hold a copy of in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Stops,
    Sessions,
    Approvals,
    Agents,
    Credentials,
    Grants,
}

impl Topic {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Stops => "stops",
            Self::Sessions => "sessions",
            Self::Approvals => "approvals",
            Self::Agents => "agents",
            Self::Credentials => "credentials",
            Self::Grants => "grants",
        }
    }
}

/// Notes a change, in the transaction that makes it. Call it last: on PostgreSQL it holds a row until the commit.
pub(crate) async fn bump(tx: &mut Tx, tenant: &Tenant, topic: Topic) -> Result<(), StoreError> {
    let sql = "INSERT INTO changes (tenant, topic, seq) VALUES ($1, $2, 1)
        ON CONFLICT (tenant, topic) DO UPDATE SET seq = changes.seq + 1";
    tx.exec(sql, vals![tenant, topic.as_str()]).await.map(drop)
}

/// Which copies are stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of topics, read by name")]
pub struct Changed {
    /// Stops were made or lifted.
    pub stops: bool,
    /// Sessions began or ended.
    pub sessions: bool,
    /// Questions were asked or answered.
    pub approvals: bool,
    /// Agents were enabled or disabled.
    pub agents: bool,
    /// Credentials or their versions were added, changed or removed.
    pub credentials: bool,
    /// Grants were asked for, given or ended.
    pub grants: bool,
}

impl Changed {
    /// Whether anything did.
    #[must_use]
    pub const fn any(self) -> bool {
        self.stops || self.sessions || self.approvals || self.agents || self.credentials || self.grants
    }
}

/// One watcher. What was there before the first poll counts as seen only after it: the first poll says what exists.
pub struct Changes {
    db: Db,
    tenant: Tenant,
    version: Option<i64>,
    seen: BTreeMap<String, i64>,
}

impl Changes {
    pub(crate) const fn new(db: Db, tenant: Tenant) -> Self {
        Self { db, tenant, version: None, seen: BTreeMap::new() }
    }

    /// What changed since the last call, by this process or any other.
    pub async fn poll(&mut self) -> Result<Changed, StoreError> {
        if let Db::Sqlite(engine) = &self.db {
            // Read before the counters: a commit in between is then seen twice rather than never.
            let version = engine.data_version()?;
            if self.version == Some(version) {
                return Ok(Changed::default());
            }
            self.version = Some(version);
        }
        let mut changed = Changed::default();
        for row in self.db.rows("SELECT topic, seq FROM changes WHERE tenant = $1", vals![&self.tenant]).await? {
            let (topic, seq) = (row.text(0)?.to_owned(), row.int(1)?);
            if self.seen.get(&topic) == Some(&seq) {
                continue;
            }
            match topic.as_str() {
                "stops" => changed.stops = true,
                "sessions" => changed.sessions = true,
                "approvals" => changed.approvals = true,
                "agents" => changed.agents = true,
                "credentials" => changed.credentials = true,
                "grants" => changed.grants = true,
                _ => {}
            }
            self.seen.insert(topic, seq);
        }
        Ok(changed)
    }
}
