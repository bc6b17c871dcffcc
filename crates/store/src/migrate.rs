//! Migrations: numbered, embedded, checksummed, applied once under one lock, the same text for both engines.

use model::Timestamp;

use crate::StoreError;
use crate::engine::{Db, Durability, Tx};
use crate::value::{Row, vals};

/// Number and text. A text never changes once it was released: add the next one.
const MIGRATIONS: &[(i64, &str)] = &[
    (1, include_str!("migrations/0001_first.sql")),
    (2, include_str!("migrations/0002_reasons.sql")),
    (3, include_str!("migrations/0003_rotations.sql")),
    (4, include_str!("migrations/0004_grants.sql")),
];

/// The `tenant` of rows that belong to no organisation.
const NOBODY: &str = "*";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations (
    tenant TEXT NOT NULL, number {int} NOT NULL, checksum TEXT NOT NULL, applied {int} NOT NULL,
    PRIMARY KEY (tenant, number)
){strict}";

const APPLIED: &str = "SELECT number, checksum FROM migrations WHERE tenant = '*' ORDER BY number";

/// Brings the store to the version that we know.
pub(crate) async fn migrate(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    // Nearly always there is nothing to do; then nobody takes a lock.
    if exists(db).await? && pending(&db.rows(APPLIED, &[]).await?)?.is_empty() {
        return Ok(());
    }
    let mut tx = db.tx(Durability::Power).await?;
    tx.lock("migrations").await?;
    tx.batch(&fitted(TABLE, db)).await?;
    for (number, text) in pending(&tx.rows(APPLIED, &[]).await?)? {
        tx.batch(&fitted(text, db)).await?;
        note(&mut tx, number, text, now).await?;
    }
    tx.commit().await
}

async fn note(tx: &mut Tx, number: i64, text: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO migrations (tenant, number, checksum, applied) VALUES ($1, $2, $3, $4)";
    tx.exec(sql, vals![NOBODY, number, checksum(text), now]).await.map(drop)
}

async fn exists(db: &Db) -> Result<bool, StoreError> {
    let sql = match db {
        Db::Sqlite(_) => "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
        Db::Postgres(_) => {
            "SELECT COUNT(*) FROM pg_catalog.pg_tables WHERE tablename = 'migrations' AND schemaname = current_schema()"
        }
    };
    Ok(db.row(sql, &[]).await?.map_or(Ok(0), |row| row.int(0))? == 1)
}

/// What is still to be applied; an error where the store knows more or other than we do.
fn pending(applied: &[Row]) -> Result<Vec<(i64, &'static str)>, StoreError> {
    let known = MIGRATIONS.last().map_or(0, |(number, _)| *number);
    let mut done = Vec::with_capacity(applied.len());
    for row in applied {
        let number = row.int(0)?;
        let (_, text) =
            MIGRATIONS.iter().find(|(own, _)| *own == number).ok_or(StoreError::Version { found: number, known })?;
        if row.text(1)? != checksum(text) {
            return Err(StoreError::Migration { number });
        }
        done.push(number);
    }
    Ok(MIGRATIONS.iter().filter(|(number, _)| !done.contains(number)).copied().collect())
}

fn fitted(text: &str, db: &Db) -> String {
    let (blob, int, strict) = match db {
        Db::Sqlite(_) => ("BLOB", "INTEGER", " STRICT"),
        Db::Postgres(_) => ("BYTEA", "BIGINT", ""),
    };
    text.replace("{blob}", blob).replace("{int}", int).replace("{strict}", strict)
}

/// FNV-1a, 64 bits: it finds an edit, not an attacker (who may write the table as well).
fn checksum(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sqlite::Engine;

    /// Row J140: a store of every version before this one opens, becomes like a new one, and keeps what it held.
    #[tokio::test]
    async fn every_older_version_is_brought_up() {
        let schema = async |db: &Db| {
            let sql = "SELECT COALESCE(sql, name) FROM sqlite_master ORDER BY name";
            db.rows(sql, &[]).await.unwrap().iter().map(|row| row.text(0).unwrap().to_owned()).collect::<Vec<_>>()
        };
        let folder = tempfile::tempdir().unwrap();
        let new = Db::Sqlite(Engine::open(&folder.path().join("new.db")).await.unwrap());
        migrate(&new, Timestamp(1)).await.unwrap();
        for older in 0..=MIGRATIONS.len() {
            let db = Db::Sqlite(Engine::open(&folder.path().join(format!("{older}.db"))).await.unwrap());
            let mut tx = db.tx(Durability::Power).await.unwrap();
            tx.batch(&fitted(TABLE, &db)).await.unwrap();
            for (number, text) in MIGRATIONS.iter().take(older) {
                tx.batch(&fitted(text, &db)).await.unwrap();
                note(&mut tx, *number, text, Timestamp(1)).await.unwrap();
            }
            if older > 0 {
                let sql = "INSERT INTO meta (tenant, key, value) VALUES ('local', 'kept', 'from before')";
                tx.exec(sql, &[]).await.unwrap();
            }
            tx.commit().await.unwrap();
            migrate(&db, Timestamp(2)).await.unwrap();
            assert_eq!(schema(&db).await, schema(&new).await, "from version {older}");
            let kept = db.row("SELECT value FROM meta WHERE key = 'kept'", &[]).await.unwrap();
            assert_eq!(kept.map(|row| row.text(0).unwrap().to_owned()).is_some(), older > 0);
        }
    }

    #[test]
    fn numbers_rise_and_every_table_begins_with_tenant() {
        assert!(MIGRATIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for text in MIGRATIONS.iter().map(|(_, text)| *text).chain([TABLE]) {
            for table in text.split("CREATE TABLE").skip(1) {
                let (_, columns) = table.split_once('(').expect("columns");
                assert!(columns.trim_start().starts_with("tenant TEXT NOT NULL"), "{table}");
            }
        }
    }
}
