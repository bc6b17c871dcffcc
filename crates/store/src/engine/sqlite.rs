//! SQLite: one writing and one reading connection for each process, in WAL mode.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags};
use tokio::sync::OwnedMutexGuard;

use super::Durability;
use crate::StoreError;
use crate::value::{Row, Value};

/// `VLTK`, so that `file` and we know our own databases.
const APPLICATION_ID: i64 = 0x564c_544b;
/// Short waits inside SQLite before the task gives way: 20 times 100 microseconds. A writer needs less than one.
const BUSY_SPINS_MAX: i32 = 20;
/// Then the task sleeps this long between attempts, milliseconds.
const BUSY_SLEEP_MILLIS: u64 = 3;
/// And gives up after so many: about 5 seconds.
const BUSY_SLEEPS_MAX: u32 = 1_000;
/// Names of parameters; more than any statement of ours has.
const NAMES: [&str; 20] = [
    "$1", "$2", "$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$16", "$17",
    "$18", "$19", "$20",
];

/// The connections of one process.
#[derive(Clone)]
pub(crate) struct Engine {
    writer: Arc<tokio::sync::Mutex<Writer>>,
    reader: Arc<Mutex<Connection>>,
}

pub(crate) struct Writer {
    conn: Connection,
    keep: Durability,
}

impl Engine {
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        prepare_file(path)?;
        let mut conn = connect(path)?;
        patient(&mut conn, |conn| adopt(conn, path)).await?;
        let mut reader = connect(path)?;
        let only = "PRAGMA query_only=1; PRAGMA mmap_size=67108864";
        patient(&mut reader, |reader| reader.execute_batch(only).map_err(refine)).await?;
        Ok(Self {
            writer: Arc::new(tokio::sync::Mutex::new(Writer { conn, keep: Durability::Process })),
            reader: Arc::new(Mutex::new(reader)),
        })
    }

    pub fn rows(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(&self.reader.lock(), sql, params)
    }

    pub async fn exec(&self, keep: Durability, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        let mut writer = self.writer.lock().await;
        writer.keep(keep)?;
        patient(&mut writer.conn, |conn| run(conn, sql, params)).await
    }

    pub async fn tx(&self, keep: Durability) -> Result<SqliteTx, StoreError> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        writer.keep(keep)?;
        patient(&mut writer.conn, |conn| conn.execute_batch("BEGIN IMMEDIATE").map_err(refine)).await?;
        Ok(SqliteTx { writer, open: true })
    }

    /// A number that differs after another connection has committed; read from shared memory, no query.
    pub fn data_version(&self) -> Result<i64, StoreError> {
        self.reader.lock().pragma_query_value(None, "data_version", |row| row.get(0)).map_err(refine)
    }

    /// Reads every page; empty when all is well.
    pub fn check(&self) -> Result<(), StoreError> {
        let said = query(&self.reader.lock(), "PRAGMA quick_check(1)", &[])?;
        let text = said.first().map_or(Ok(""), |row| row.text(0))?;
        if text == "ok" { Ok(()) } else { Err(StoreError::corrupt(text)) }
    }
}

impl Writer {
    fn keep(&mut self, keep: Durability) -> Result<(), StoreError> {
        if self.keep != keep {
            let word = if keep == Durability::Power { "FULL" } else { "NORMAL" };
            self.conn.pragma_update(None, "synchronous", word).map_err(refine)?;
            self.keep = keep;
        }
        Ok(())
    }
}

/// An open transaction. It owns the writer, so tasks of this process queue fairly.
pub(crate) struct SqliteTx {
    writer: OwnedMutexGuard<Writer>,
    open: bool,
}

impl SqliteTx {
    pub fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
        query(&self.writer.conn, sql, params)
    }

    pub fn exec(&mut self, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
        run(&self.writer.conn, sql, params)
    }

    pub fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.writer.conn.execute_batch(sql).map_err(refine)
    }

    pub fn commit(mut self) -> Result<(), StoreError> {
        self.writer.conn.execute_batch("COMMIT").map_err(refine)?;
        self.open = false;
        Ok(())
    }
}

impl Drop for SqliteTx {
    fn drop(&mut self) {
        if self.open && !self.writer.conn.is_autocommit() {
            // Failure changes nothing: the next `BEGIN` on this connection reports it.
            let _ = self.writer.conn.execute_batch("ROLLBACK");
        }
    }
}

/// Makes the folder (0700) and the file (0600), and closes a file that others may read. The WAL and the shared memory
/// take over the mode of the file.
fn prepare_file(path: &Path) -> Result<(), StoreError> {
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => StoreError::Full,
        _ => StoreError::Unopenable { path: path.to_owned(), why: error.to_string() },
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
            if mode & 0o077 != 0 {
                std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(fail)?;
            }
            Ok(())
        }
        Err(error) => Err(fail(error)),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags).map_err(refine)?;
    conn.busy_handler(Some(spin)).map_err(refine)?;
    conn.set_prepared_statement_cache_capacity(128);
    Ok(conn)
}

fn spin(times: i32) -> bool {
    std::thread::sleep(Duration::from_micros(100));
    times < BUSY_SPINS_MAX
}

/// Checks that the file is ours (or new) and sets the mode of the connection.
fn adopt(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(refine);
    if pragma("application_id")? != APPLICATION_ID {
        if pragma("schema_version")? != 0 {
            return Err(StoreError::Foreign { place: path.display().to_string() });
        }
        conn.pragma_update(None, "application_id", APPLICATION_ID).map_err(refine)?;
    }
    conn.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=1; PRAGMA trusted_schema=0;
         PRAGMA secure_delete=1; PRAGMA temp_store=MEMORY",
    )
    .map_err(refine)
}

/// Repeats what another process's lock prevents, giving way to other tasks in between.
async fn patient<T>(
    conn: &mut Connection,
    mut act: impl FnMut(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    for _ in 0..BUSY_SLEEPS_MAX {
        match act(conn) {
            Err(StoreError::Locked) => tokio::time::sleep(Duration::from_millis(BUSY_SLEEP_MILLIS)).await,
            done => return done,
        }
    }
    Err(StoreError::Locked)
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// SQLite numbers `$1` by first appearance, not by its digits, so values are bound by name.
fn prepare<'a>(conn: &'a Connection, sql: &str, params: &[Value]) -> Result<CachedStatement<'a>, StoreError> {
    let mut statement = conn.prepare_cached(sql).map_err(refine)?;
    for (name, value) in NAMES.iter().zip(params) {
        let index = statement.parameter_index(name).map_err(refine)?.unwrap_or(0);
        statement.raw_bind_parameter(index, value).map_err(refine)?;
    }
    Ok(statement)
}

fn run(conn: &Connection, sql: &str, params: &[Value]) -> Result<u64, StoreError> {
    prepare(conn, sql, params)?.raw_execute().map(|count| count as u64).map_err(refine)
}

fn query(conn: &Connection, sql: &str, params: &[Value]) -> Result<Vec<Row>, StoreError> {
    let mut statement = prepare(conn, sql, params)?;
    let columns = statement.column_count();
    let mut found = statement.raw_query();
    let mut out = Vec::new();
    while let Some(row) = found.next().map_err(refine)? {
        let values = (0..columns).map(|column| row.get_ref(column).map_err(refine).and_then(own));
        out.push(Row(values.collect::<Result<_, _>>()?));
    }
    Ok(out)
}

fn own(value: ValueRef<'_>) -> Result<Value, StoreError> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(_) => return Err(StoreError::corrupt("a fraction where none is written")),
        ValueRef::Text(bytes) => {
            Value::Text(String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::corrupt("a text that is not UTF-8"))?)
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>) in our words.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn refine(error: rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(code, message) = &error else {
        return StoreError::Engine { what: error.to_string() };
    };
    let said = || message.clone().unwrap_or_else(|| code.to_string());
    match code.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::corrupt(said()),
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::SystemIoFailure => StoreError::Disk { what: said() },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => StoreError::ReadOnly,
        ErrorCode::ConstraintViolation => StoreError::Conflict { what: said() },
        _ => StoreError::Engine { what: said() },
    }
}
