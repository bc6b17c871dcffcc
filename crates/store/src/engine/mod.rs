//! The two engines behind one small face: `exec`, `rows`, `tx`, and `$1` for parameters on both.
//!
//! SQLite calls run inline: each takes microseconds, less than handing it to another thread would. Only a lock that
//! another process holds is waited for asynchronously.

pub(crate) mod postgres;
pub(crate) mod sqlite;

use crate::StoreError;
use crate::value::{Row, Value};

/// How much a write must survive. The death of a process it always survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Power loss may take the last moments (`synchronous=NORMAL`); the store stays consistent.
    Process,
    /// Power loss takes nothing that was acknowledged (`synchronous=FULL`).
    Power,
}

#[derive(Clone)]
pub(crate) enum Db {
    Sqlite(sqlite::Engine),
    Postgres(postgres::Engine),
}

impl Db {
    /// Reads, outside any transaction.
    pub async fn rows(&self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.rows(sql, params),
            Self::Postgres(engine) => engine.rows(sql, params).await,
        }
    }

    /// The first row, if any.
    pub async fn row(&self, sql: &'static str, params: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    /// One write of its own; how many rows it touched.
    pub async fn exec(&self, keep: Durability, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.exec(keep, sql, params).await,
            Self::Postgres(engine) => engine.exec(sql, params).await,
        }
    }

    /// Several statements that happen together or not at all. SQLite: `BEGIN IMMEDIATE`, so nobody else writes.
    /// PostgreSQL: read committed; take [`Tx::lock`] for what must be exact.
    pub async fn tx(&self, keep: Durability) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(engine) => engine.tx(keep).await.map(Tx::Sqlite),
            Self::Postgres(engine) => engine.tx().await.map(Tx::Postgres),
        }
    }
}

/// An open transaction; rolled back when dropped before [`Tx::commit`].
#[expect(clippy::large_enum_variant, reason = "lives on the stack of one call; a box would be an allocation each")]
pub(crate) enum Tx {
    Sqlite(sqlite::SqliteTx),
    Postgres(postgres::PostgresTx),
}

impl Tx {
    pub async fn rows(&mut self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Sqlite(tx) => tx.rows(sql, params),
            Self::Postgres(tx) => tx.rows(sql, params).await,
        }
    }

    pub async fn row(&mut self, sql: &'static str, params: &[Value]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, params).await?.into_iter().next())
    }

    pub async fn exec(&mut self, sql: &'static str, params: &[Value]) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(tx) => tx.exec(sql, params),
            Self::Postgres(tx) => tx.exec(sql, params).await,
        }
    }

    /// Statements without parameters, separated by semicolons.
    pub async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.batch(sql),
            Self::Postgres(tx) => tx.batch(sql).await,
        }
    }

    /// Makes transactions that name the same key follow one another. SQLite's write lock does that already.
    pub async fn lock(&mut self, key: &str) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(tx) => tx.lock(key).await,
        }
    }

    /// Sixteen random octets from the engine, for ids that only have to be unique.
    pub async fn noise(&mut self) -> Result<[u8; 16], StoreError> {
        let sql = match self {
            Self::Sqlite(_) => "SELECT randomblob(16)",
            Self::Postgres(_) => "SELECT uuid_send(gen_random_uuid())",
        };
        let row = self.row(sql, &[]).await?.ok_or_else(|| StoreError::corrupt("no randomness"))?;
        row.blob(0)?.try_into().map_err(|_| StoreError::corrupt("no randomness"))
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit(),
            Self::Postgres(tx) => tx.commit().await,
        }
    }
}
