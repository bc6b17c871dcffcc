//! The store itself: where it lies, and the door to each aggregate.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Clock, Tenant};

use crate::engine::{Db, postgres, sqlite};
use crate::{
    Agents, Approvals, Changes, Credentials, Grants, Keyslots, Limits, Meta, Nodes, Placeholders, Rotations, Sessions,
    Stops, StoreError, migrate,
};

/// Where the rows lie.
#[derive(Clone)]
pub enum Location {
    /// A file of one home, made on first use.
    Sqlite(PathBuf),
    /// `postgres://user:password@host/database`, on this machine. Never printed.
    Postgres(String),
}

impl fmt::Debug for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "Sqlite({})", path.display()),
            Self::Postgres(_) => out.write_str("Postgres(..)"),
        }
    }
}

/// The durable rows. Cheap to copy; all copies share their connections.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

impl Store {
    /// Opens the rows, making or migrating them where needed.
    pub async fn open(location: Location, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let db = match location {
            Location::Sqlite(path) => Db::Sqlite(sqlite::Engine::open(&path).await?),
            Location::Postgres(url) => Db::Postgres(postgres::Engine::open(&url).await?),
        };
        migrate::migrate(&db, clock.now()).await?;
        Ok(Self { db })
    }

    /// Reads every page of an SQLite file (`doctor`); slow for large ones. PostgreSQL keeps watch over its own.
    pub fn check(&self) -> Result<(), StoreError> {
        match &self.db {
            Db::Sqlite(engine) => engine.check(),
            Db::Postgres(_) => Ok(()),
        }
    }

    /// Runs of agents.
    #[must_use]
    pub const fn sessions(&self) -> Sessions<'_> {
        Sessions { db: &self.db }
    }

    /// Which placeholder was given to whom.
    #[must_use]
    pub const fn placeholders(&self) -> Placeholders<'_> {
        Placeholders { db: &self.db }
    }

    /// Credentials: metadata and sealed versions.
    #[must_use]
    pub const fn credentials(&self) -> Credentials<'_> {
        Credentials { db: &self.db }
    }

    /// The vault's sealed keys.
    #[must_use]
    pub const fn keyslots(&self) -> Keyslots<'_> {
        Keyslots { db: &self.db }
    }

    /// Counters of limits.
    #[must_use]
    pub const fn limits(&self) -> Limits<'_> {
        Limits { db: &self.db }
    }

    /// What was stopped, disabled or revoked; always wins.
    #[must_use]
    pub const fn stops(&self) -> Stops<'_> {
        Stops { db: &self.db }
    }

    /// Questions to people and their answers.
    #[must_use]
    pub const fn approvals(&self) -> Approvals<'_> {
        Approvals { db: &self.db }
    }

    /// Access that was asked for at run time.
    #[must_use]
    pub const fn grants(&self) -> Grants<'_> {
        Grants { db: &self.db }
    }

    /// State of agents.
    #[must_use]
    pub const fn agents(&self) -> Agents<'_> {
        Agents { db: &self.db }
    }

    /// Lanes, the API socket: what one process at a time may hold.
    #[must_use]
    pub const fn nodes(&self) -> Nodes<'_> {
        Nodes { db: &self.db }
    }

    /// Rotations of credentials that are under way.
    #[must_use]
    pub const fn rotations(&self) -> Rotations<'_> {
        Rotations { db: &self.db }
    }

    /// Small texts by key.
    #[must_use]
    pub const fn meta(&self) -> Meta<'_> {
        Meta { db: &self.db }
    }

    /// Watches for changes that any process makes to what this process holds in memory. Poll it four times a second.
    #[must_use]
    pub fn changes(&self, tenant: &Tenant) -> Changes {
        Changes::new(self.db.clone(), tenant.clone())
    }
}
