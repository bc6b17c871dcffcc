//! Credentials: what is known about them, and their sealed versions. Written with `synchronous=FULL`: an acknowledged
//! secret survives power loss.

use std::fmt;
use std::str::FromStr;

use model::{CredentialId, CredentialName, Sealed, ServiceName, Tenant, Timestamp};

use crate::StoreError;
use crate::change::{Topic, bump};
use crate::engine::{Db, Durability, Tx};
use crate::value::{Row, vals, whole};

/// State of one version of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Stored, not yet used (a rotation under way).
    Next,
    /// Put on requests.
    Current,
    /// The one before, still accepted upstream for a while.
    Grace,
    /// Never used again.
    Revoked,
}

impl VersionState {
    const ALL: [Self; 4] = [Self::Next, Self::Current, Self::Grace, Self::Revoked];

    /// The word of the glossary.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Grace => "grace",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for VersionState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for VersionState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("`{text}` is no state"))
    }
}

/// What is known about a credential; never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    /// The organisation.
    pub tenant: Tenant,
    /// Its name.
    pub name: CredentialName,
    /// Its id, part of what its versions are sealed to: a name that is used again gets another.
    pub id: CredentialId,
    /// The service it is bound to.
    pub service: Option<ServiceName>,
    /// `token`, `basic`.
    pub kind: String,
    /// The reference of another back end: `env:GITHUB_TOKEN`; none for the built-in vault.
    pub source: Option<String>,
    /// `placeholder` or `always`.
    pub inject: String,
    /// When it was made.
    pub created: Timestamp,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// Counted from 1.
    pub version: u64,
    /// Its state.
    pub state: VersionState,
    /// The sealed value; none where another back end holds it.
    pub sealed: Option<Sealed>,
    /// When it was stored.
    pub created: Timestamp,
    /// When it was last put on a request, to the minute.
    pub used: Option<Timestamp>,
}

/// Credentials: metadata and sealed versions.
pub struct Credentials<'a> {
    pub(crate) db: &'a Db,
}

impl Credentials<'_> {
    /// Adds one, with its first version where the built-in vault holds it.
    pub async fn add(&self, row: &CredentialRow, first: Option<&VersionRow>) -> Result<(), StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        insert(&mut tx, row).await?;
        if let Some(version) = first {
            insert_version(&mut tx, &row.tenant, &row.name, version).await?;
        }
        bump(&mut tx, &row.tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// Adds one that another back end holds, or changes what is known of it; its id and age stay. One that the
    /// built-in vault holds is left alone.
    pub async fn declare(&self, row: &CredentialRow) -> Result<(), StoreError> {
        let known = self.get(&row.tenant, &row.name).await?;
        let settled = known.is_some_and(|known| {
            known.source.is_none() || CredentialRow { id: row.id, created: row.created, ..known } == *row
        });
        if settled {
            return Ok(());
        }
        let mut tx = self.db.tx(Durability::Process).await?;
        let sql = "INSERT INTO credentials (tenant, name, id, service, kind, source, inject, created)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, name) DO UPDATE SET
            service = excluded.service, kind = excluded.kind, source = excluded.source, inject = excluded.inject
            WHERE credentials.source IS NOT NULL";
        tx.exec(sql, &columns(row)).await?;
        let sql = "INSERT INTO versions (tenant, name, version, state, created) VALUES ($1, $2, 1, 'current', $3)
            ON CONFLICT (tenant, name, version) DO NOTHING";
        tx.exec(sql, vals![&row.tenant, &row.name, row.created]).await?;
        bump(&mut tx, &row.tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// One credential.
    pub async fn get(&self, tenant: &Tenant, name: &CredentialName) -> Result<Option<CredentialRow>, StoreError> {
        let sql = "SELECT tenant, name, id, service, kind, source, inject, created
            FROM credentials WHERE tenant = $1 AND name = $2";
        self.db.row(sql, vals![tenant, name]).await?.map(|row| read(&row)).transpose()
    }

    /// All of them, by name.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<CredentialRow>, StoreError> {
        let sql = "SELECT tenant, name, id, service, kind, source, inject, created
            FROM credentials WHERE tenant = $1 ORDER BY name";
        self.db.rows(sql, vals![tenant]).await?.iter().map(read).collect()
    }

    /// The versions of one, newest first.
    pub async fn versions(&self, tenant: &Tenant, name: &CredentialName) -> Result<Vec<VersionRow>, StoreError> {
        let sql = "SELECT version, state, sealed, created, used FROM versions
            WHERE tenant = $1 AND name = $2 ORDER BY version DESC";
        self.db.rows(sql, vals![tenant, name]).await?.iter().map(read_version).collect()
    }

    /// Adds a version under a number of the caller's choice (it is sealed to that number); a number that exists is a
    /// [`StoreError::Conflict`]. A new `Current` one puts the one before into `previous`.
    pub async fn add_version(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        version: &VersionRow,
        previous: VersionState,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        if version.state == VersionState::Current {
            let sql = "UPDATE versions SET state = $3 WHERE tenant = $1 AND name = $2 AND state = 'current'";
            tx.exec(sql, vals![tenant, name, previous.as_str()]).await?;
        }
        insert_version(&mut tx, tenant, name, version).await?;
        bump(&mut tx, tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// Changes the state of one version, or of all; how many changed.
    pub async fn set_state(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        version: Option<u64>,
        state: VersionState,
    ) -> Result<u64, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let count = if let Some(version) = version {
            let sql = "UPDATE versions SET state = $4
                WHERE tenant = $1 AND name = $2 AND version = $3 AND state <> $4";
            tx.exec(sql, vals![tenant, name, whole(version, "version")?, state.as_str()]).await?
        } else {
            let sql = "UPDATE versions SET state = $3 WHERE tenant = $1 AND name = $2 AND state <> $3";
            tx.exec(sql, vals![tenant, name, state.as_str()]).await?
        };
        bump(&mut tx, tenant, Topic::Credentials).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// Notes when a version was last used. No other process needs to hear of it.
    pub async fn used(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        version: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE versions SET used = $4 WHERE tenant = $1 AND name = $2 AND version = $3
            AND (used IS NULL OR used < $4)";
        let values = vals![tenant, name, whole(version, "version")?, at];
        self.db.exec(Durability::Process, sql, values).await.map(drop)
    }

    /// Removes one and every version of it; whether there was one.
    pub async fn delete(&self, tenant: &Tenant, name: &CredentialName) -> Result<bool, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        tx.exec("DELETE FROM versions WHERE tenant = $1 AND name = $2", vals![tenant, name]).await?;
        tx.exec("DELETE FROM rotations WHERE tenant = $1 AND credential = $2", vals![tenant, name]).await?;
        let count = tx.exec("DELETE FROM credentials WHERE tenant = $1 AND name = $2", vals![tenant, name]).await?;
        bump(&mut tx, tenant, Topic::Credentials).await?;
        tx.commit().await?;
        Ok(count > 0)
    }
}

fn columns(row: &CredentialRow) -> [crate::value::Value; 8] {
    [
        (&row.tenant).into(),
        (&row.name).into(),
        row.id.into(),
        row.service.as_ref().into(),
        row.kind.as_str().into(),
        row.source.as_deref().into(),
        row.inject.as_str().into(),
        row.created.into(),
    ]
}

async fn insert(tx: &mut Tx, row: &CredentialRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO credentials (tenant, name, id, service, kind, source, inject, created)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    tx.exec(sql, &columns(row)).await.map(drop)
}

pub(crate) async fn insert_version(
    tx: &mut Tx,
    tenant: &Tenant,
    name: &CredentialName,
    version: &VersionRow,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO versions (tenant, name, version, state, sealed, created, used)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = vals![
        tenant,
        name,
        whole(version.version, "version")?,
        version.state.as_str(),
        version.sealed.as_ref(),
        version.created,
        version.used,
    ];
    tx.exec(sql, values).await.map(drop)
}

fn read(row: &Row) -> Result<CredentialRow, StoreError> {
    Ok(CredentialRow {
        tenant: row.parsed(0)?,
        name: row.parsed(1)?,
        id: row.parsed(2)?,
        service: row.opt_parsed(3)?,
        kind: row.text(4)?.to_owned(),
        source: row.opt_text(5)?.map(str::to_owned),
        inject: row.text(6)?.to_owned(),
        created: row.time(7)?,
    })
}

fn read_version(row: &Row) -> Result<VersionRow, StoreError> {
    Ok(VersionRow {
        version: row.count(0)?,
        state: row.parsed(1)?,
        sealed: row.opt_sealed(2)?,
        created: row.time(3)?,
        used: row.opt_time(4)?,
    })
}
