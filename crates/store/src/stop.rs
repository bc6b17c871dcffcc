//! Stops: what an operator has stopped, disabled or revoked. No configuration overrides one.

use std::fmt;
use std::str::FromStr;

use model::{Tenant, Timestamp};

use crate::StoreError;
use crate::change::{Topic, bump};
use crate::engine::{Db, Durability};
use crate::value::{Row, vals, whole};

/// What is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StopKind {
    /// An agent, by name.
    Agent,
    /// A session, by id.
    Session,
    /// A credential, by name, or one version of it.
    Credential,
    /// Everything.
    All,
}

impl StopKind {
    const ALL: [Self; 4] = [Self::Agent, Self::Session, Self::Credential, Self::All];

    /// The word of the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Session => "session",
            Self::Credential => "credential",
            Self::All => "all",
        }
    }
}

impl fmt::Display for StopKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for StopKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("`{text}` cannot be stopped"))
    }
}

/// One stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRow {
    /// What kind of thing.
    pub kind: StopKind,
    /// Its name or id; empty for [`StopKind::All`].
    pub name: String,
    /// One version of a credential; none for all of them.
    pub version: Option<u64>,
    /// Since when.
    pub at: Timestamp,
    /// Who did it.
    pub by: String,
}

/// What was stopped, disabled or revoked.
pub struct Stops<'a> {
    pub(crate) db: &'a Db,
}

impl Stops<'_> {
    /// Stops something; doing so twice changes nothing.
    pub async fn insert(&self, tenant: &Tenant, stop: &StopRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO stops (tenant, kind, name, version, at, author) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (tenant, kind, name, version) DO NOTHING";
        let mut tx = self.db.tx(Durability::Power).await?;
        let version = whole(stop.version.unwrap_or(0), "version")?;
        let values = vals![tenant, stop.kind.as_str(), stop.name.as_str(), version, stop.at, stop.by.as_str()];
        tx.exec(sql, values).await?;
        bump(&mut tx, tenant, Topic::Stops).await?;
        tx.commit().await
    }

    /// Lifts a stop; whether there was one.
    pub async fn lift(
        &self,
        tenant: &Tenant,
        kind: StopKind,
        name: &str,
        version: Option<u64>,
    ) -> Result<bool, StoreError> {
        let sql = "DELETE FROM stops WHERE tenant = $1 AND kind = $2 AND name = $3 AND version = $4";
        let mut tx = self.db.tx(Durability::Power).await?;
        let version = whole(version.unwrap_or(0), "version")?;
        let count = tx.exec(sql, vals![tenant, kind.as_str(), name, version]).await?;
        bump(&mut tx, tenant, Topic::Stops).await?;
        tx.commit().await?;
        Ok(count > 0)
    }

    /// All of them.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<StopRow>, StoreError> {
        let sql = "SELECT kind, name, version, at, author FROM stops WHERE tenant = $1 ORDER BY at, kind, name";
        self.db.rows(sql, vals![tenant]).await?.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<StopRow, StoreError> {
    Ok(StopRow {
        kind: row.parsed(0)?,
        name: row.text(1)?.to_owned(),
        version: Some(row.count(2)?).filter(|version| *version > 0),
        at: row.time(3)?,
        by: row.text(4)?.to_owned(),
    })
}
