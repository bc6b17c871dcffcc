//! The agent's side of the log-in: TLS where it asks for it, what it wants to do, and the session's token as password.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::canonical::Host;
use model::{AgentName, Code, Refusal, bounds};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::wire::{self, CANCEL, GSSENC, SSL, Severity, VERSION, WireError, read_message, read_startup, take_text};
use crate::gateway::Worker;

/// Requests for encryption before the first message: one for each kind, once more.
const ASKED_MAX: usize = 3;
/// Parameters of a first message.
const PARAMETERS_MAX: usize = 32;
/// Octets of the value of one.
const VALUE_BYTES_MAX: usize = 256;

/// A client, in clear text or over TLS under our own certificate.
pub(super) enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Both ways of a stream.
pub(super) trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

impl Client {
    pub(super) fn io(&mut self) -> &mut dyn Both {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls,
        }
    }

    /// Tells why the connection ends. The client may be gone; there is nobody left to tell.
    pub(super) async fn refuse(mut self, refusal: &Refusal) {
        let octets = wire::error(Severity::Fatal, refusal);
        let tell = async {
            self.io().write_all(&octets).await?;
            self.io().shutdown().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(bounds::HEAD_SECONDS_MAX), tell).await;
    }
}

/// What a client begins with.
pub(super) enum Begins {
    /// A session on a database.
    Starts(Starts),
    /// It wants to stop what another connection does, by the key that this was given.
    Cancels((u32, u32)),
}

/// A session on a database, as the client wants it.
#[derive(Debug)]
pub(super) struct Starts {
    pub(super) user: String,
    pub(super) database: String,
    /// Settings for the server, as they may pass.
    pub(super) settings: Vec<(String, String)>,
}

/// Reads what a client begins with. `names` are those that our certificate may bear, the first where the client asks for none.
pub(super) async fn begins(
    worker: &Arc<Worker>,
    tcp: TcpStream,
    names: &[Host],
    agent: &AgentName,
) -> Result<(Client, Result<Begins, Refusal>), WireError> {
    let mut first = [0u8; 1];
    if tcp.peek(&mut first).await? == 0 {
        return Err(WireError::Gone);
    }
    let mut client = Client::Plain(tcp);
    if first == [0x16] {
        // TLS at once, as clients of version 17 may ask for; those speak of the protocol by its name (ALPN).
        client = secure(worker, client, names, agent).await?;
    }
    for _ in 0..ASKED_MAX {
        let (code, rest) = read_startup(client.io()).await?;
        match code {
            SSL => match client {
                Client::Plain(_) => {
                    client.io().write_all(b"S").await?;
                    client = secure(worker, client, names, agent).await?;
                }
                Client::Tls(_) => return Err(WireError::Broken("TLS was asked for inside of TLS")),
            },
            GSSENC => client.io().write_all(b"N").await?,
            CANCEL => {
                let key: [u8; 8] = rest[..].try_into().map_err(|_| WireError::Broken("a key has another length"))?;
                let (process, secret) = key.split_at(4);
                return Ok((client, Ok(Begins::Cancels((wire::number(process), wire::number(secret))))));
            }
            _ if code >> 16 == VERSION >> 16 => {
                let wanted = starts(code, rest);
                if let (Ok(_), Some(unknown)) = (&wanted, negotiated(code)) {
                    client.io().write_all(&unknown).await?;
                }
                return Ok((client, wanted.map(Begins::Starts)));
            }
            _ => {
                let refusal = Refusal::new(Code::Malformed, "Only version 3 of PostgreSQL's protocol is spoken here");
                return Ok((client, Err(refusal)));
            }
        }
    }
    Err(WireError::Broken("encryption was asked for again and again"))
}

async fn secure(worker: &Arc<Worker>, client: Client, names: &[Host], agent: &AgentName) -> Result<Client, WireError> {
    let Client::Plain(tcp) = client else { return Err(WireError::Broken("TLS inside of TLS")) };
    let tls = worker.gateway.authority.accept_database(tcp, names, agent).await;
    tls.map(|tls| Client::Tls(Box::new(tls))).map_err(|_| WireError::Broken("the TLS handshake failed"))
}

/// Clients of a later minor version are told that this is 3.0, and that no option of theirs is known.
fn negotiated(code: u32) -> Option<Bytes> {
    (code > VERSION).then(|| wire::message(b'v', &[0, 3, 0, 0, 0, 0, 0, 0]))
}

/// Reads parameters of a first message, to no end: for tests.
pub fn begins_with(octets: &[u8]) {
    let _ = starts(VERSION, Bytes::copy_from_slice(octets));
}

fn malformed(text: impl Into<String>) -> Refusal {
    Refusal::new(Code::Malformed, text)
}

fn starts(code: u32, mut rest: Bytes) -> Result<Starts, Refusal> {
    let broken = || malformed("The first message of the connection is broken");
    let (mut user, mut database, mut settings) = (None, None, Vec::new());
    for _ in 0..PARAMETERS_MAX {
        let text = |octets: Option<Bytes>| {
            let octets = octets.filter(|octets| octets.len() <= VALUE_BYTES_MAX).ok_or_else(broken)?;
            String::from_utf8(octets.to_vec()).map_err(|_| broken())
        };
        let name = text(take_text(&mut rest))?;
        if name.is_empty() {
            let user: String = user.ok_or_else(|| malformed("The connection names no user"))?;
            let database = database.unwrap_or_else(|| user.clone());
            return Ok(Starts { user, database, settings });
        }
        let value = text(take_text(&mut rest))?;
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "options" => settings.extend(options(&value)?),
            "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
            "replication" => return Err(malformed("Replication is not passed on")),
            // Options of the protocol itself are told to be unknown.
            name if name.starts_with("_pq_.") && code > VERSION => {}
            _ => settings.extend(setting(&name, &value)?),
        }
    }
    Err(malformed("The connection has too many parameters"))
}

/// `-c name=value`, `--name=value`, as in `PGOPTIONS`.
fn options(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let wrong =
        || malformed("`options` may hold `-c name=value` alone").hint("leave PGOPTIONS out, or set these by SQL");
    let mut words = text.split_ascii_whitespace();
    let mut all = Vec::new();
    while let Some(word) = words.next() {
        let pair = match word.strip_prefix("--") {
            Some(rest) => rest,
            None if word == "-c" => words.next().ok_or_else(wrong)?,
            None => word.strip_prefix("-c").ok_or_else(wrong)?,
        };
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        all.extend(setting(&name.replace('-', "_"), value)?);
    }
    Ok(all)
}

/// A setting as it may pass; none for one that the gateway makes itself.
fn setting(name: &str, value: &str) -> Result<Option<(String, String)>, Refusal> {
    let lower = name.to_ascii_lowercase();
    let quoted = value.trim_matches('\'');
    match lower.as_str() {
        // Statements are read as UTF-8; the server tells the client so.
        "client_encoding" => Ok(None),
        known if catalog::SESSION_SETTINGS.iter().any(|(name, own)| *name == known && *own == quoted) => Ok(None),
        known if catalog::is_harmless_setting(known) => Ok(Some((lower, value.to_owned()))),
        _ => Err(malformed(format!("The setting `{}` is not passed on", name.chars().take(64).collect::<String>()))
            .hint("leave it out of the connection")),
    }
}

/// Asks for the password, which is a session's token.
pub(super) async fn password(client: &mut Client) -> Result<String, WireError> {
    client.io().write_all(&wire::message(b'R', &[0, 0, 0, 3])).await?;
    let (kind, mut body) = read_message(client.io()).await?;
    let text = take_text(&mut body).filter(|_| kind == b'p').ok_or(WireError::Broken("no password came"))?;
    String::from_utf8(text.to_vec()).map_err(|_| WireError::Broken("the password is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Starts, Refusal> {
        let mut body: Vec<&str> = pairs.iter().flat_map(|(name, value)| [*name, *value]).collect();
        body.push("");
        starts(VERSION, wire::texts(&body).into())
    }

    #[test]
    fn what_may_pass_of_a_first_message() {
        let good = read(&[
            ("user", "agent"),
            ("database", "crm"),
            ("client_encoding", "LATIN1"),
            ("DateStyle", "ISO, MDY"),
            ("options", "-c statement_timeout=5s --lock-timeout=1s"),
            ("replication", "false"),
            ("search_path", "public"),
        ]);
        let good = good.expect("passes");
        assert_eq!((good.user.as_str(), good.database.as_str()), ("agent", "crm"));
        let names: Vec<&str> = good.settings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["datestyle", "statement_timeout", "lock_timeout"]);
        assert_eq!(read(&[("user", "agent")]).map(|starts| starts.database).ok().as_deref(), Some("agent"));
        for bad in [
            &[("database", "crm")][..],
            &[("user", "a"), ("replication", "database")],
            &[("user", "a"), ("search_path", "evil")],
            &[("user", "a"), ("options", "-c search_path=evil")],
            &[("user", "a"), ("options", "-csession_replication_role=replica")],
            &[("user", "a"), ("options", "-f s")],
            &[("user", "a"), ("options", "-c")],
            &[("user", "a"), ("default_transaction_read_only", "off")],
            &[("user", "a"), ("role", "postgres")],
            &[("user", "a"), ("session_authorization", "postgres")],
            &[("user", "a"), ("_pq_.x", "1")],
            &[("user", "a"), ("application_name", &"x".repeat(300))],
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        let many: Vec<(&str, &str)> = std::iter::repeat_n(("user", "a"), 40).collect();
        assert!(read(&many).is_err());
        for broken in [&b"user"[..], b"user\0agent", b"user\0agent\0", b"", b"\xff\0x\0\0"] {
            assert!(starts(VERSION, Bytes::copy_from_slice(broken)).is_err(), "{broken:?}");
        }
    }
}
