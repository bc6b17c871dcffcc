//! `postgres`: a role of PostgreSQL for each value, made by an administrator's credential as a member of the role that owns everything, in whose name
//! its sessions act (`SET ROLE` at the log-in), so that nothing is ever owned by a role that goes away.
//!
//! A role has one password, so a password that is replaced is a moment in which one of two values does not work. Two roles that take turns would do, but
//! a step that comes late would then strike a role that is in use again; a role whose name is the ticket's is never in use again.
//!
//! The server is told a verifier (RFC 5802 3, `StoredKey` and `ServerKey`), not the password: its log may keep what it is told.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::canonical::{Host, Origin, Scheme, parse_authority};
use policy::document::ByPostgres;
use secret::{Field, Material, Secret};
use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use zeroize::Zeroizing;

use super::{Around, Looked, RotateError, Rotator, Turn};
use crate::Pending;
use crate::road::Spoken;

const PORT: u16 = 5432;
/// NAMEDATALEN is 64, and one octet is the end.
const NAME_BYTES_MAX: usize = 63;
/// Hex digits of a ticket.
const TICKET_CHARS: usize = 24;
/// What PostgreSQL itself takes (`SCRAM_SHA_256_DEFAULT_ITERATIONS`).
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);
/// For a step, connecting included, seconds.
const STEP_SECONDS_MAX: u64 = 30;

pub(super) struct Postgres {
    by: ByPostgres,
    around: Around,
    server: Origin,
}

/// A session at the server; it ends with this.
struct Session {
    client: Client,
    _drives: JoinSet<()>,
}

impl Postgres {
    pub fn new(by: &ByPostgres, around: Around) -> Result<Self, String> {
        let (host, port): (Host, u16) = match (&by.server, around.server()) {
            (Some(server), _) => {
                let (host, port) = parse_authority(&server.value).map_err(|error| error.to_string())?;
                (host, port.unwrap_or(PORT))
            }
            (None, Some((host, port))) => (host.clone(), *port),
            (None, None) => {
                return Err("nothing says where the server is: write `server: HOST`, or name a service with a host of `protocol: postgres`".to_owned());
            }
        };
        Ok(Self { by: by.clone(), around, server: Origin { scheme: Scheme::Tcp, host, port } })
    }

    async fn log_in(&self, known: &Material) -> Result<Session, Wrong> {
        let part = |field| known.field(field).map(Secret::expose).ok_or(Wrong::Kind);
        let user = std::str::from_utf8(part(Field::Username)?).map_err(|_| Wrong::Kind)?;
        let mut config = Config::new();
        config.user(user).password(part(Field::Value)?).dbname(&self.by.database.value);
        // The road has agreed on TLS already, where it must.
        config.ssl_mode(tokio_postgres::config::SslMode::Disable).application_name("valetkey");
        let wire = self.around.connect(&self.server, Spoken::Postgres).await.map_err(Wrong::Away)?;
        let (client, connection) = config.connect_raw(wire, NoTls).await.map_err(Wrong::Sql)?;
        let mut drives = JoinSet::new();
        drives.spawn(async move {
            // Whoever asks hears of it.
            let _ = connection.await;
        });
        Ok(Session { client, _drives: drives })
    }

    /// As the administrator.
    async fn admin(&self, old: &str) -> Result<Session, RotateError> {
        let admin = self.around.other(&self.by.admin.value).await?;
        let user = user(&admin)?;
        if user == old || user == self.by.role.value {
            let why =
                "the administrator's own role is neither rotated nor acted for; name another one as `admin` or `role`";
            return Err(RotateError::Refused(why.to_owned()));
        }
        self.log_in(&admin).await.map_err(|wrong| wrong.of("the administrator"))
    }

    /// The name of the role of a ticket. The same one for the same ticket, and no other.
    fn role(&self, ticket: &str) -> String {
        format!("{}{}", self.prefix(), ticket.trim_start_matches("rot_"))
    }

    fn prefix(&self) -> String {
        let most = NAME_BYTES_MAX - TICKET_CHARS - 1;
        let mut own = self.by.role.value.as_str();
        while own.len() > most {
            own = own.char_indices().next_back().map_or("", |(at, _)| own.get(..at).unwrap_or_default());
        }
        format!("{own}_")
    }

    fn is_ours(&self, name: &str) -> bool {
        let digits = name.strip_prefix(self.prefix().as_str());
        digits
            .is_some_and(|digits| digits.len() == TICKET_CHARS && digits.bytes().all(|octet| octet.is_ascii_hexdigit()))
    }

    async fn make_one(&self, turn: &Turn<'_>) -> Result<Secret, RotateError> {
        let old = self.around.parts(turn.old().1)?;
        let session = self.admin(user(&old)?).await?;
        let name = self.role(turn.ticket());
        let mut noise = Zeroizing::new([0; 24 + 16]);
        self.around.fill(&mut *noise);
        let (password, salt) = noise.split_at(24);
        let password = Zeroizing::new(URL_SAFE_NO_PAD.encode(password));
        let verifier = verifier(password.as_bytes(), salt);
        let (role, owner, to) = (quoted(&name), quoted(&self.by.role.value), literal(&self.by.role.value));
        let sql = if exists(&session.client, &name).await? {
            // Its password was lost on the way.
            format!("ALTER ROLE {role} LOGIN PASSWORD '{verifier}'; ALTER ROLE {role} SET role TO {to}")
        } else {
            format!(
                "CREATE ROLE {role} LOGIN PASSWORD '{verifier}' IN ROLE {owner}; ALTER ROLE {role} SET role TO {to}"
            )
        };
        // One message, hence one transaction.
        session.client.batch_execute(&sql).await.map_err(|error| said(&error))?;
        Ok(Secret::new([name.as_bytes(), b":", password.as_bytes()].concat()))
    }

    async fn look(&self, made: &Secret) -> Result<Looked, RotateError> {
        let made = self.around.parts(made)?;
        let session = self.log_in(&made).await.map_err(|wrong| wrong.of("the new role"))?;
        let row = session.client.query_one("SELECT current_user::text", &[]).await.map_err(|error| said(&error))?;
        let acts_as: String = row.try_get(0).map_err(|error| said(&error))?;
        if acts_as == self.by.role.value {
            return Ok(Looked::Works);
        }
        Err(RotateError::Refused(
            "sessions of the new role do not act as the owner; does the server ignore settings of roles?".to_owned(),
        ))
    }

    async fn retire_one(&self, turn: &Turn<'_>) -> Result<(), RotateError> {
        let old = self.around.parts(turn.old().1)?;
        let name = user(&old)?;
        let session = self.admin(name).await?;
        let client = &session.client;
        if !exists(client, name).await? {
            return Ok(());
        }
        let role = quoted(name);
        let sql = format!("ALTER ROLE {role} NOLOGIN PASSWORD NULL");
        client.batch_execute(&sql).await.map_err(|error| said(&error))?;
        let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = $1 AND pid <> pg_catalog.pg_backend_pid()";
        client.query(sql, &[&name]).await.map_err(|error| match error.code() {
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => RotateError::Away(
                "sessions of the old role could not be ended; grant `pg_signal_backend` to the administrator"
                    .to_owned(),
            ),
            _ => said(&error),
        })?;
        // Roles that we did not make may own things, or be somebody's group: without log-in and password they are of no use as a value.
        if self.is_ours(name) { self.drop_role(client, &role).await } else { Ok(()) }
    }

    async fn drop_role(&self, client: &Client, role: &str) -> Result<(), RotateError> {
        let Err(error) = client.batch_execute(&format!("DROP ROLE IF EXISTS {role}")).await else { return Ok(()) };
        if error.code() != Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) {
            return Err(said(&error));
        }
        // Somebody acted as the role itself (`RESET ROLE`) and made something.
        let owner = quoted(&self.by.role.value);
        let sql = format!("REASSIGN OWNED BY {role} TO {owner}; DROP OWNED BY {role}; DROP ROLE IF EXISTS {role}");
        if let Err(error) = client.batch_execute(&sql).await {
            let why = said(&error);
            tracing::warn!(%why, "a role that was retired owns something and stays, without log-in and password");
        }
        Ok(())
    }
}

/// Why there is no session.
enum Wrong {
    /// The credential is no user's of a database.
    Kind,
    Away(String),
    Sql(tokio_postgres::Error),
}

impl Wrong {
    fn of(self, who: &str) -> RotateError {
        match self {
            Self::Kind => RotateError::Refused(format!("the credential of {who} is not of kind `database`")),
            Self::Away(why) => RotateError::Away(why),
            Self::Sql(error) => match error.code().map(SqlState::code) {
                // 28: no such password, or no line of pg_hba.conf.
                Some(code) if code.starts_with("28") => {
                    RotateError::Refused(format!("the server does not take the log-in of {who} ({code})"))
                }
                _ => said(&error),
            },
        }
    }
}

async fn exists(client: &Client, role: &str) -> Result<bool, RotateError> {
    let sql = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1";
    client.query_opt(sql, &[&role]).await.map(|row| row.is_some()).map_err(|error| said(&error))
}

fn user(known: &Material) -> Result<&str, RotateError> {
    let octets = known.field(Field::Username).map(Secret::expose);
    let text = octets.and_then(|octets| std::str::from_utf8(octets).ok());
    text.ok_or_else(|| RotateError::Refused("the credential is not of kind `database`".to_owned()))
}

/// What the server says, without its detail, which may repeat values.
fn said(error: &tokio_postgres::Error) -> RotateError {
    let Some(db) = error.as_db_error() else { return RotateError::Away(format!("the server broke off: {error}")) };
    let message: String = db.message().chars().filter(|letter| !letter.is_control()).take(200).collect();
    let (code, why) = (db.code().code(), format!("the server says: {message} ({})", db.code().code()));
    // 08 connections, 40 conflicts, 53 resources, 55 locks, 57 operators, 58 the system.
    let passes = ["08", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class));
    if passes { RotateError::Away(why) } else { RotateError::Refused(why) }
}

/// An identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text. `E` tells the server how a backslash is meant, whatever its settings are.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// What the server keeps of a password (`pg_authid.rolpassword`).
fn verifier(password: &[u8], salt: &[u8]) -> String {
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let stored = digest::digest(&digest::SHA256, hmac::sign(&key, b"Client Key").as_ref());
    let server = hmac::sign(&key, b"Server Key");
    let (salt, stored, server) = (STANDARD.encode(salt), STANDARD.encode(stored), STANDARD.encode(server));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
}

async fn in_time<T>(step: impl Future<Output = Result<T, RotateError>>) -> Result<T, RotateError> {
    let late = || RotateError::Away(format!("the database server did not do it within {STEP_SECONDS_MAX} s"));
    tokio::time::timeout(Duration::from_secs(STEP_SECONDS_MAX), step).await.unwrap_or_else(|_| Err(late()))
}

impl Rotator for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>> {
        Box::pin(in_time(self.make_one(turn)))
    }

    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>> {
        Box::pin(in_time(async move {
            match turn.made() {
                Some((_, made)) => self.look(made).await,
                None => Ok(Looked::Unable),
            }
        }))
    }

    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>> {
        Box::pin(in_time(self.retire_one(turn)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_are_postgresqls() {
        // RFC 7677 3: the password `pencil`; the proof of its example follows from these keys.
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("Base64");
        let made = verifier(b"pencil", &salt);
        let want = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        assert_eq!(made, want);
    }

    #[test]
    fn names_and_texts_are_quoted() {
        for (name, identifier, text) in [
            ("crm", "\"crm\"", "E'crm'"),
            ("a\"b", "\"a\"\"b\"", "E'a\"b'"),
            ("a'; drop role x; --", "\"a'; drop role x; --\"", "E'a''; drop role x; --'"),
            ("a\\'b", "\"a\\'b\"", "E'a\\\\''b'"),
        ] {
            assert_eq!((quoted(name).as_str(), literal(name).as_str()), (identifier, text));
        }
    }
}
