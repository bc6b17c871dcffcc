//! The actions of SQL. They belong to the protocol: every service with a host of `protocol: postgres` has them.

use model::vocabulary::FactType;
use model::{Class, Classification, Effect, Effects};

/// Opening a connection; transactions, cursors and settings that lift nothing; what describes the database.
pub const CONNECT: &str = "sql/connect";
pub const SESSION: &str = "sql/session";
pub const CATALOG: &str = "sql/catalog";
/// Rows.
pub const SELECT: &str = "sql/select";
pub const LOCK: &str = "sql/lock";
pub const INSERT: &str = "sql/insert";
pub const UPDATE: &str = "sql/update";
pub const DELETE: &str = "sql/delete";
pub const TRUNCATE: &str = "sql/truncate";
/// Tables, views, indexes, sequences, types, schemas.
pub const DDL: &str = "sql/ddl";
pub const DROP: &str = "sql/drop";
/// Sequences move; statistics, space and indexes are renewed.
pub const SEQUENCE: &str = "sql/sequence";
pub const MAINTAIN: &str = "sql/maintain";
/// A session that was held to reading is not any more.
pub const READ_WRITE: &str = "sql/read-write";
/// Messages between sessions.
pub const LISTEN: &str = "sql/listen";
pub const NOTIFY: &str = "sql/notify";
/// A function that nobody knows; one that reaches files, servers or sessions; files and programs of COPY.
pub const FUNCTION: &str = "sql/function";
pub const REACH: &str = "sql/reach";
pub const FILE: &str = "sql/file";
/// Roles, grants, code that runs for others, settings of the server.
pub const ADMIN: &str = "sql/admin";
/// What is not understood.
pub const UNLISTED: &str = "sql/unlisted-statement";

const OUT: Effects = Effects::NONE.with(Effect::Exfil).with(Effect::Escalates);
const UP: Effects = Effects::NONE.with(Effect::Escalates);
const DATABASE: &str = "database:{name}";
const TABLE: &str = "table:{name}@{table}";
const PLAIN: &str = "function:{name}@{function}";

/// Every action: its class, its effects, what it acts on.
pub const ACTIONS: [(&str, Class, Effects, &str); 21] = [
    (CONNECT, Class::Read, Effects::NONE, DATABASE),
    (SESSION, Class::Read, Effects::NONE, DATABASE),
    (CATALOG, Class::Read, Effects::NONE, DATABASE),
    (SELECT, Class::Read, Effects::NONE, TABLE),
    (LOCK, Class::Write, Effects::NONE, TABLE),
    (INSERT, Class::Write, Effects::NONE, TABLE),
    (UPDATE, Class::Write, Effects::NONE, TABLE),
    (DELETE, Class::Delete, Effects::NONE, TABLE),
    (TRUNCATE, Class::Delete, Effects::NONE, TABLE),
    (DDL, Class::Write, Effects::NONE, TABLE),
    (DROP, Class::Delete, Effects::NONE, TABLE),
    (SEQUENCE, Class::Write, Effects::NONE, DATABASE),
    (MAINTAIN, Class::Write, Effects::NONE, DATABASE),
    (READ_WRITE, Class::Write, Effects::NONE, DATABASE),
    (LISTEN, Class::Read, Effects::NONE, "channel:{name}@{channel}"),
    (NOTIFY, Class::Write, Effects::NONE, "channel:{name}@{channel}"),
    (FUNCTION, Class::Admin, Effects::NONE, PLAIN),
    (REACH, Class::Admin, OUT, PLAIN),
    (FILE, Class::Admin, OUT, DATABASE),
    (ADMIN, Class::Admin, UP, DATABASE),
    (UNLISTED, Class::Admin, Effects::EVERY, DATABASE),
];

/// Without these no other is worth anything: whoever has one of the others has them, on the database.
pub const IMPLIED: [&str; 3] = [CONNECT, SESSION, CATALOG];
/// Whoever may change something may say that he will.
pub const CHANGES: [&str; 9] = [LOCK, INSERT, UPDATE, DELETE, TRUNCATE, DDL, DROP, SEQUENCE, MAINTAIN];

/// What is done to rows inside of a transaction, and to nothing else: it is undone with the transaction, and nobody sees it before.
///
/// Sequences do not go back, so they are not here; nor is what keeps others waiting by itself (LOCK, FOR UPDATE); nor is what locks or changes more than rows (schemas, roles, settings), what reaches out of
/// the server or to other sessions, what nobody knows, and above all what could end a transaction: all of that is of another action.
const INSIDE: [&str; 5] = [SELECT, INSERT, UPDATE, DELETE, TRUNCATE];

/// Whether no statement of these can end or leave the transaction block that it runs in.
#[must_use]
pub fn stays_inside(statement: &Classification) -> bool {
    statement.calls.iter().all(|call| INSIDE.contains(&call.action.as_str()))
}

/// Kinds of resource inside of a database.
pub const KINDS: [&str; 4] = ["table", "function", "schema", "channel"];

/// The word that a statement begins with; SHA-256 of the message that it came in; whether the rows that change are chosen by a
/// condition; why a statement was not understood.
pub const VERB_FACT: &str = "sql.verb";
pub const DIGEST_FACT: &str = "sql.digest";
pub const WHERE_FACT: &str = "sql.where";
pub const DOUBT_FACT: &str = "sql.doubt";

/// Facts with their types.
pub const FACTS: [(&str, FactType); 4] = [
    (VERB_FACT, FactType::Text),
    (DIGEST_FACT, FactType::Text),
    (WHERE_FACT, FactType::Bool),
    (DOUBT_FACT, FactType::Text),
];
