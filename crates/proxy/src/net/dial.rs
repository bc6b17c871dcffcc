//! Connecting to an upstream: its checked address or the one that is listed for it, TCP, verified TLS, within a time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use inject::Presented;
use model::bounds::CONNECT_SECONDS_MAX;
use model::canonical::{Host, Origin, Scheme};
use model::{AgentName, CredentialName};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::{Blocked, Own};
use super::breaker::Breakers;
use super::name::{Names, Resolve};
use super::proxyout::WayOut;
use super::tls::{Trust, TrustError};

/// How long one address may keep the next one waiting (RFC 8305 8 recommends 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Why an upstream could not be reached. Nothing was sent to it.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address is never dialled.
    #[error(
        "`{host}` is at {address}, which is never dialled ({}); list it under `upstreams:` if it is yours",
        why.as_str()
    )]
    Blocked {
        /// The host that was asked for.
        host: Host,
        /// Its address, or one of them.
        address: IpAddr,
        /// Why.
        why: Blocked,
    },
    /// The name has no address.
    #[error("`{host}` cannot be resolved: {reason}; check the name and the system's name servers")]
    Unknown {
        /// The host that was asked for.
        host: Host,
        /// What the resolver says.
        reason: String,
    },
    /// No connection.
    #[error("`{host}` cannot be reached: {reason}")]
    Unreachable {
        /// The host that was asked for.
        host: Host,
        /// What failed.
        reason: String,
    },
    /// It could not be reached several times, and is left alone for a moment.
    #[error("`{host}` is left alone for {seconds} s more: {reason}")]
    Resting {
        /// The host that was asked for.
        host: Host,
        /// How long.
        seconds: u64,
        /// What failed last.
        reason: String,
    },
    /// The certificate does not verify.
    #[error(
        "certificate of `{host}` does not verify: {reason}; name its authority under `upstreams: ca:` if it is yours"
    )]
    Untrusted {
        /// The host that was asked for.
        host: Host,
        /// What is wrong with it.
        reason: String,
    },
    /// Not within the time.
    #[error("`{host}` did not take the connection within {CONNECT_SECONDS_MAX} s")]
    Timeout {
        /// The host that was asked for.
        host: Host,
    },
}

/// Where a host really is, and who signs it: one line of `upstreams:`.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Dialled instead of asking for the name; may be private.
    pub address: SocketAddr,
    /// The only authority that may sign it; the platform's roots where none is named.
    pub trust: Option<Trust>,
}

/// For whom a connection is made; none is shared between two of these.
#[derive(Clone, Copy, Debug)]
pub struct For<'a> {
    /// The agent.
    pub agent: &'a AgentName,
    /// The credential and its version.
    pub credential: Option<&'a (CredentialName, u64)>,
    /// What is spoken on it.
    pub speaks: Speaks,
    /// The client certificate that is presented on it.
    pub presents: Option<&'a Presented>,
}

/// What is spoken on a connection, as clients and servers agree on it (ALPN, RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Speaks {
    /// HTTP of either version.
    Http,
    /// HTTP/1.1: it will become a WebSocket.
    Upgrade,
    /// PostgreSQL's protocol.
    Postgres,
}

/// How upstreams are reached.
pub struct Dialer {
    names: Names,
    upstreams: HashMap<(Host, u16), Upstream>,
    trust: Trust,
    way_out: Option<WayOut>,
    breakers: Breakers,
}

impl Dialer {
    /// Asks `resolver` for names, trusts `trust`, and never dials `own` addresses.
    #[must_use]
    pub fn new(resolver: Box<dyn Resolve>, trust: Trust, own: Own) -> Self {
        let (names, upstreams) = (Names::new(resolver, own), HashMap::new());
        Self { names, upstreams, trust, way_out: None, breakers: Breakers::default() }
    }

    /// Adds a line of `upstreams:`; `port` is the one that clients ask for, 443 unless the line says otherwise.
    #[must_use]
    pub fn upstream(mut self, host: Host, port: u16, upstream: Upstream) -> Self {
        self.upstreams.insert((host, port), upstream);
        self
    }

    /// Everything that is not listed goes through a corporate proxy.
    #[must_use]
    pub fn way_out(mut self, way_out: WayOut) -> Self {
        self.way_out = Some(way_out);
        self
    }

    /// Loads the platform's roots now rather than at the first request.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn warm(&self) -> Result<(), TrustError> {
        self.trust.warm()
    }

    /// Connects, TLS included where the origin has it.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect(&self, origin: &Origin, party: For<'_>) -> Result<Stream, DialError> {
        self.breakers.guard(origin, within(origin, self.connect_untimed(origin, party))).await
    }

    /// Connects to a database server (PostgreSQL 55.2.10): TLS is asked for in clear text, and nothing else is said without. Clear text
    /// alone is spoken to a listed address of this machine for which no authority is named.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect_database(&self, origin: &Origin, party: For<'_>) -> Result<Stream, DialError> {
        self.breakers.guard(origin, within(origin, self.database_untimed(origin, party))).await
    }

    async fn database_untimed(&self, origin: &Origin, party: For<'_>) -> Result<Stream, DialError> {
        let listed = self.upstreams.get(&(origin.host.clone(), origin.port));
        let mut tcp = self.reach_origin(origin).await?;
        if listed.is_some_and(|upstream| upstream.address.ip().is_loopback() && upstream.trust.is_none()) {
            return Ok(Stream::Plain(tcp));
        }
        let broken = |error: io::Error| DialError::Unreachable { host: origin.host.clone(), reason: error.to_string() };
        // SSLRequest: its length, and 1234 5679.
        tcp.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.map_err(broken)?;
        // One octet and no more: what came behind it in clear text would be taken for what came inside.
        if tcp.read_u8().await.map_err(broken)? != b'S' {
            let reason = "the database server offers no TLS".to_owned();
            return Err(DialError::Untrusted { host: origin.host.clone(), reason });
        }
        let trust = listed.and_then(|upstream| upstream.trust.as_ref()).unwrap_or(&self.trust);
        secure(trust, tcp, &origin.host, party).await
    }

    async fn connect_untimed(&self, origin: &Origin, party: For<'_>) -> Result<Stream, DialError> {
        let tcp = self.reach_origin(origin).await?;
        if origin.scheme != Scheme::Https {
            return Ok(Stream::Plain(tcp));
        }
        let listed = self.upstreams.get(&(origin.host.clone(), origin.port));
        let trust = listed.and_then(|upstream| upstream.trust.as_ref()).unwrap_or(&self.trust);
        secure(trust, tcp, &origin.host, party).await
    }

    async fn reach_origin(&self, origin: &Origin) -> Result<TcpStream, DialError> {
        let listed = self.upstreams.get(&(origin.host.clone(), origin.port));
        match (listed, &self.way_out) {
            (Some(upstream), _) => reach(&origin.host, &[upstream.address.ip()], upstream.address.port()).await,
            (None, Some(way_out)) if way_out.serves(&origin.host) => {
                WayOut::check(&origin.host)?;
                let addresses = self.names.listed(way_out.host()).await?;
                let tcp = reach(way_out.host(), &addresses, way_out.port()).await?;
                way_out.open(tcp, origin).await
            }
            (None, _) => {
                let addresses = self.names.checked(&origin.host).await?;
                reach(&origin.host, &addresses, origin.port).await
            }
        }
    }
}

/// In the time that connecting may take.
async fn within(
    origin: &Origin,
    connecting: impl Future<Output = Result<Stream, DialError>>,
) -> Result<Stream, DialError> {
    let connecting = tokio::time::timeout(Duration::from_secs(CONNECT_SECONDS_MAX), connecting);
    connecting.await.unwrap_or_else(|_| Err(DialError::Timeout { host: origin.host.clone() }))
}

async fn secure(trust: &Trust, tcp: TcpStream, host: &Host, party: For<'_>) -> Result<Stream, DialError> {
    let untrusted = |reason: String| DialError::Untrusted { host: host.clone(), reason };
    let config = match party.presents {
        Some(presents) => trust.config_of(presents, party.speaks),
        None => trust.config(party.agent, party.credential, party.speaks),
    };
    let config = config.map_err(|error| untrusted(error.to_string()))?;
    let name = match host.address() {
        Some(address) => ServerName::IpAddress(address.into()),
        None => ServerName::try_from(host.as_str().to_owned()).map_err(|error| untrusted(error.to_string()))?,
    };
    match TlsConnector::from(config).connect(name, tcp).await {
        Ok(tls) => Ok(Stream::Tls(Box::new(tls))),
        Err(error) if is_certificate(&error) || (party.presents.is_some() && is_alert(&error)) => {
            Err(untrusted(error.to_string()))
        }
        Err(error) => Err(DialError::Unreachable { host: host.clone(), reason: format!("TLS: {error}") }),
    }
}

/// Whether the other side said no in the handshake: to the certificate that was presented, mostly, which is one agent's affair and no sign that
/// the host is away.
fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}

fn is_certificate(error: &io::Error) -> bool {
    matches!(
        error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()),
        Some(
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::UnsupportedNameType
                | rustls::Error::InvalidCertRevocationList(_)
        )
    )
}

/// Connects to the first address that answers; the next one is tried beside it after a while, or at once after a
/// failure.
async fn reach(host: &Host, addresses: &[IpAddr], port: u16) -> Result<TcpStream, DialError> {
    let unreachable = |error: io::Error| DialError::Unreachable { host: host.clone(), reason: error.to_string() };
    if let [one] = addresses {
        return tcp((*one, port).into()).await.map_err(unreachable);
    }
    let mut left = addresses.iter();
    let mut tries = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next();
        if let Some(address) = next {
            tries.spawn(tcp((*address, port).into()));
        }
        let finished = tokio::select! {
            finished = tries.join_next() => finished,
            () = tokio::time::sleep(NEXT_ADDRESS), if left.len() > 0 => continue,
        };
        match finished {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(error))) => last = error,
            None if next.is_none() => return Err(unreachable(last)),
            // A try that panicked is a try that failed.
            Some(Err(_)) | None => {}
        }
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Without this each small write waits for the peer's delayed acknowledgement.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection to an upstream.
pub enum Stream {
    /// Over verified TLS; boxed because the state is about 1 KiB.
    Tls(Box<TlsStream<TcpStream>>),
    /// In clear text.
    Plain(TcpStream),
}

impl Stream {
    /// Whether HTTP/2 was agreed upon.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
            Self::Plain(_) => false,
        }
    }

    /// The TLS state, for tests and for the record.
    #[must_use]
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        match self {
            Self::Tls(tls) => Some(tls.get_ref().1),
            Self::Plain(_) => None,
        }
    }
}

macro_rules! either {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tls(tls) => {
                let $io = Pin::new(&mut **tls);
                $call
            }
            Stream::Plain(tcp) => {
                let $io = Pin::new(tcp);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_read(cx, out))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, io => io.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, io => io.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tls(tls) => tls.is_write_vectored(),
            Self::Plain(tcp) => tcp.is_write_vectored(),
        }
    }
}

#[cfg(test)]
#[path = "dial_tests.rs"]
mod tests;
