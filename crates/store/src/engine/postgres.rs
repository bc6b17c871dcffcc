//! PostgreSQL: a small pool. Connections are plain, hence only a Unix socket or loopback is dialled; everything else is
//! refused until TLS to the database comes with the team's gateway.

use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Config, NoTls};

use crate::StoreError;
use crate::value::{Row, Value};

/// Connections of one process. Requests hold one for a round trip or two.
const POOL_MAX: usize = 8;
/// To get, make or check a connection, seconds.
const POOL_SECONDS_MAX: u64 = 5;
/// The server gives up a statement, a lock or an idle transaction by itself, milliseconds.
const SERVER_BOUNDS: &str =
    "-c statement_timeout=10000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=10000";

#[derive(Clone)]
pub(crate) struct Engine {
    pool: Pool,
}

impl Engine {
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let address = |why: String| StoreError::Address { why };
        // The driver's own message may repeat the address, which holds a password.
        let mut config: Config = url.parse().map_err(|_| {
            address("it is not of the form `postgres://user@host/database`; write it like that".to_owned())
        })?;
        if let Some(host) = config.get_hosts().iter().find(|host| !is_local(host)) {
            return Err(address(format!(
                "`{}` is not this machine, and TLS to the database is not in this version; use a local socket or tunnel",
                shown(host)
            )));
        }
        let bounds = match config.get_options() {
            Some(own) => format!("{SERVER_BOUNDS} {own}"),
            None => SERVER_BOUNDS.to_owned(),
        };
        config.options(bounds).application_name("valetkey").connect_timeout(Duration::from_secs(POOL_SECONDS_MAX));
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let patience = Some(Duration::from_secs(POOL_SECONDS_MAX));
        let pool = Pool::builder(manager)
            .max_size(POOL_MAX)
            .wait_timeout(patience)
            .create_timeout(patience)
            .recycle_timeout(patience)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| address(error.to_string()))?;
        let engine = Self { pool };
        engine.rows("SELECT CAST(1 AS BIGINT)", &[]).await?;
        Ok(engine)
    }

    pub async fn rows(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(&self.connection().await?, sql, params).await
    }

    pub async fn exec(&self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        run(&self.connection().await?, sql, params).await
    }

    pub async fn tx(&self) -> Result<PostgresTx, StoreError> {
        let conn = self.connection().await?;
        let mut tx = PostgresTx { conn: Some(conn) };
        tx.batch("BEGIN").await?;
        Ok(tx)
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => refine(&error),
            other => StoreError::Unreachable { why: other.to_string() },
        })
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

fn shown(host: &Host) -> String {
    match host {
        Host::Unix(path) => path.display().to_string(),
        Host::Tcp(name) => name.clone(),
    }
}

/// An open transaction. Dropped before its commit (an error, a task that was cancelled) it closes its connection, and
/// the server rolls back: a connection in an unknown state never returns to the pool.
pub(crate) struct PostgresTx {
    conn: Option<Object>,
}

impl PostgresTx {
    fn conn(&self) -> Result<&Object, StoreError> {
        self.conn.as_ref().ok_or_else(|| StoreError::Engine { what: "transaction is over".to_owned() })
    }

    pub async fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(self.conn()?, sql, params).await
    }

    pub async fn exec(&mut self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        run(self.conn()?, sql, params).await
    }

    pub async fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.conn()?.batch_execute(sql).await.map_err(|error| refine(&error))
    }

    pub async fn lock(&mut self, key: &str) -> Result<(), StoreError> {
        let key = [Value::from(key)];
        self.rows("SELECT CAST(1 AS BIGINT) FROM (SELECT pg_advisory_xact_lock(hashtextextended($1, 0))) AS held", &key)
            .await
            .map(drop)
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.batch("COMMIT").await?;
        // Only now may the connection go back to the pool.
        drop(self.conn.take());
        Ok(())
    }
}

impl Drop for PostgresTx {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(Object::take(conn));
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Int(number) => number.to_sql(ty, out),
            Self::Text(text) => text.to_sql(ty, out),
            Self::Blob(bytes) => bytes.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::INT8 | Type::TEXT | Type::BYTEA)
    }

    to_sql_checked!();
}

fn bound(params: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

async fn run(conn: &Object, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
    let statement = conn.prepare_cached(sql).await.map_err(|error| refine(&error))?;
    conn.execute(&statement, &bound(params)).await.map_err(|error| refine(&error))
}

async fn query(conn: &Object, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
    let statement = conn.prepare_cached(sql).await.map_err(|error| refine(&error))?;
    let found = conn.query(&statement, &bound(params)).await.map_err(|error| refine(&error))?;
    found.iter().map(own).collect()
}

fn own(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let wrong = |error: tokio_postgres::Error| StoreError::corrupt(error.to_string());
    let mut values = Vec::with_capacity(row.len());
    for (at, column) in row.columns().iter().enumerate() {
        let value = match *column.type_() {
            Type::INT8 => row.try_get::<_, Option<i64>>(at).map_err(wrong)?.map_or(Value::Null, Value::Int),
            Type::TEXT => row.try_get::<_, Option<String>>(at).map_err(wrong)?.map_or(Value::Null, Value::Text),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(at).map_err(wrong)?.map_or(Value::Null, Value::Blob),
            ref other => return Err(StoreError::corrupt(format!("a column of type {other}"))),
        };
        values.push(value);
    }
    Ok(Row(values))
}

/// SQLSTATE (PostgreSQL manual, appendix A) in our words.
fn refine(error: &tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        return StoreError::Unreachable { why: error.to_string() };
    };
    let said = db.message().to_owned();
    let code = db.code();
    if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::CHECK_VIOLATION {
        StoreError::Conflict { what: said }
    } else if *code == SqlState::DISK_FULL {
        StoreError::Full
    } else if [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::QUERY_CANCELED].contains(code) {
        StoreError::Locked
    } else if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
        StoreError::corrupt(said)
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION || *code == SqlState::INSUFFICIENT_PRIVILEGE {
        StoreError::ReadOnly
    } else if code.code().starts_with("08") || code.code().starts_with("57P") || code.code().starts_with("28") {
        StoreError::Unreachable { why: said }
    } else {
        StoreError::Engine { what: format!("{said} ({})", code.code()) }
    }
}
