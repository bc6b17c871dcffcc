//! Back ends over the network: how they are asked.
//!
//! One question on one connection, by HTTP/1.1 (RFC 9112): back ends are asked about once a minute, and an idle connection would be one
//! more thing to go stale. Bounded in time and size; TLS verified by roots that the wiring hands in, clear text to the loopback alone; no proxy
//! variable, no cookie, no automatic redirect. A redirect to another node of the same cluster is followed once, if that node is among the
//! addresses that the configuration names; the token goes nowhere else. What we hold of questions and answers is zeroized; the
//! buffers of hyper and of the TLS library are freed as they are.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::bounds;
use model::canonical::{Origin, Scheme, parse_base};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::backend::BackendError;

/// What stands beside this machine answers at once, or is not there, seconds.
const NEAR_SECONDS_MAX: u64 = 2;
/// Octets of the head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Certificates and names are checked by this; made by the wiring.
pub(crate) type Tls = Arc<ClientConfig>;

/// The nodes of one back end.
pub(crate) struct Client {
    origins: Vec<Origin>,
    tls: Tls,
    /// The one that answered last.
    active: AtomicUsize,
    /// For one question, connecting included.
    limit: Duration,
}

/// One question.
pub(crate) struct Ask {
    pub method: Method,
    /// Path and query, encoded.
    pub target: String,
    pub fields: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Bytes>,
}

/// One answer, whole.
pub(crate) struct Reply {
    pub status: u16,
    /// `Retry-After` in seconds.
    pub retry_after: Option<u64>,
    pub body: Zeroizing<Vec<u8>>,
}

/// What came of one try.
enum Tried {
    Answered(Reply),
    /// It answered that somebody else does.
    Elsewhere(String),
}

enum Failure {
    /// Another address may be better.
    Unreached(String),
    /// It was asked, and there is no answer.
    Broken(String),
    /// There is more than a back end says.
    Long,
}

impl Ask {
    pub fn get(target: impl Into<String>) -> Self {
        Self { method: Method::GET, target: target.into(), fields: Vec::new(), body: None }
    }

    /// A question with a body of JSON, which is wiped.
    pub fn post(target: impl Into<String>, body: Zeroizing<Vec<u8>>) -> Self {
        let fields = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Self { method: Method::POST, target: target.into(), fields, body: Some(Bytes::from_owner(body)) }
    }

    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }
}

/// A field's value that is secret: wiped with the last copy, marked so that nothing prints it.
pub(crate) fn secret_field(value: Zeroizing<Vec<u8>>) -> Result<HeaderValue, BackendError> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).map_err(|_| BackendError::Malformed {
        what: "what logs in to it holds a line break or the like; store it again without".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

impl Client {
    pub fn new(origins: Vec<Origin>, tls: Tls) -> Self {
        Self { origins, tls, active: AtomicUsize::new(0), limit: Duration::from_secs(bounds::BACKEND_SECONDS_MAX) }
    }

    /// What `Host` holds, where there is one address.
    pub fn host(&self) -> String {
        self.origins.first().map_or_else(String::new, ToString::to_string)
    }

    /// Where it is, for people.
    pub fn shown(&self) -> String {
        self.origins.first().map_or_else(String::new, shown)
    }

    /// Asks, the node that answered last first. May be dropped at any time.
    ///
    /// # Errors
    /// No node answers in time, or not as HTTP has it. What they answer is for the caller to read.
    pub async fn ask(&self, ask: &Ask) -> Result<Reply, BackendError> {
        match tokio::time::timeout(self.limit, self.ask_untimed(ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(BackendError::Away {
                what: format!("{} did not answer within {} s", self.shown(), self.limit.as_secs_f32()),
            }),
        }
    }

    async fn ask_untimed(&self, ask: &Ask) -> Result<Reply, BackendError> {
        let first = self.active.load(Ordering::Relaxed);
        let mut last = "it has no address".to_owned();
        for step in 0..self.origins.len() {
            let at = (first + step) % self.origins.len();
            let Some(origin) = self.origins.get(at) else { break };
            match self.once(origin, ask).await {
                Ok(Tried::Answered(reply)) => {
                    self.active.store(at, Ordering::Relaxed);
                    return Ok(reply);
                }
                Ok(Tried::Elsewhere(location)) => return self.redirected(origin, &location, ask).await,
                Err(Failure::Unreached(why)) => last = format!("{} {why}", shown(origin)),
                Err(failure) => return Err(broken(origin, failure)),
            }
        }
        Err(BackendError::Away { what: last })
    }

    /// To the node that a standby names, once.
    async fn redirected(&self, from: &Origin, location: &str, ask: &Ask) -> Result<Reply, BackendError> {
        let target =
            origin_of(location).and_then(|to| self.origins.iter().position(|known| *known == to && to != *from));
        let Some((at, origin)) = target.and_then(|at| Some((at, self.origins.get(at)?))) else {
            let to: String = location.chars().filter(|letter| !letter.is_control()).take(200).collect();
            return Err(BackendError::Malformed {
                what: format!(
                    "{} sends on to `{to}`, which is not among its addresses; add that to `address`",
                    shown(from)
                ),
            });
        };
        match self.once(origin, ask).await {
            Ok(Tried::Answered(reply)) => {
                self.active.store(at, Ordering::Relaxed);
                Ok(reply)
            }
            Ok(Tried::Elsewhere(_)) => Err(BackendError::Away {
                what: format!("{} and {} send on to each other; is one of them active?", shown(from), shown(origin)),
            }),
            Err(Failure::Unreached(why)) => Err(BackendError::Away { what: format!("{} {why}", shown(origin)) }),
            Err(failure) => Err(broken(origin, failure)),
        }
    }

    async fn once(&self, origin: &Origin, ask: &Ask) -> Result<Tried, Failure> {
        let limit = Duration::from_secs(bounds::BACKEND_CONNECT_SECONDS_MAX);
        let late = || Failure::Unreached(format!("took no connection within {} s", limit.as_secs()));
        let tcp = tokio::time::timeout(limit, connect(origin)).await.map_err(|_| late())??;
        match origin.scheme {
            Scheme::Https => {
                let secured = tokio::time::timeout(limit, self.secure(origin, tcp)).await.map_err(|_| late())??;
                talk(origin, secured, ask).await
            }
            _ => talk(origin, tcp, ask).await,
        }
    }

    async fn secure(
        &self,
        origin: &Origin,
        tcp: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let name = match origin.host.address() {
            Some(address) => ServerName::IpAddress(address.into()),
            None => ServerName::try_from(origin.host.as_str().to_owned())
                .map_err(|error| Failure::Unreached(error.to_string()))?,
        };
        let connected = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
        connected.map_err(|error| {
            let untrusted = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let hint = match untrusted {
                Some(rustls::Error::InvalidCertificate(_)) => "; name the authority that signs it as `ca`",
                _ => "",
            };
            Failure::Unreached(format!("does not speak verified TLS: {error}{hint}"))
        })
    }
}

async fn connect(origin: &Origin) -> Result<TcpStream, Failure> {
    let unreached = |error: std::io::Error| Failure::Unreached(format!("cannot be reached: {error}"));
    let tcp = match origin.host.address() {
        Some(address) => TcpStream::connect((address, origin.port)).await,
        None => TcpStream::connect((origin.host.as_str(), origin.port)).await,
    };
    let tcp = tcp.map_err(unreached)?;
    tcp.set_nodelay(true).map_err(unreached)?;
    // `localhost` is what the system's hosts file says.
    let peer: IpAddr = tcp.peer_addr().map_err(unreached)?.ip();
    if origin.scheme == Scheme::Http && !peer.is_loopback() {
        return Err(Failure::Unreached("is not on the loopback, and clear text goes nowhere else".to_owned()));
    }
    Ok(tcp)
}

async fn talk<S>(origin: &Origin, stream: S, ask: &Ask) -> Result<Tried, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| Failure::Broken(error.to_string());
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) = builder.handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this future, whoever drops it.
    let mut drives = JoinSet::new();
    drives.spawn(connection);
    let mut request = Request::builder()
        .method(&ask.method)
        .uri(&ask.target)
        .header(header::HOST, origin.to_string())
        .header(header::USER_AGENT, "valetkey");
    if !ask.fields.iter().any(|(name, _)| *name == header::ACCEPT) {
        request = request.header(header::ACCEPT, "application/json");
    }
    for (name, value) in &ask.fields {
        request = request.header(name, value);
    }
    let body = Full::new(ask.body.clone().unwrap_or_default());
    let request = request.body(body).map_err(|error| Failure::Broken(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    let field = |name: HeaderName| answer.headers().get(name).and_then(|value| value.to_str().ok().map(str::to_owned));
    let status = answer.status().as_u16();
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(Tried::Elsewhere(field(header::LOCATION).unwrap_or_default()));
    }
    let retry_after = field(header::RETRY_AFTER).and_then(|text| text.parse().ok());
    Ok(Tried::Answered(Reply { status, retry_after, body: whole(answer.into_body()).await? }))
}

/// Asks on a connection that somebody else made. Nothing is followed.
///
/// # Errors
/// There is no answer, or one that sends on elsewhere.
pub(crate) async fn ask_over<S>(origin: &Origin, stream: S, ask: &Ask) -> Result<Reply, BackendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match talk(origin, stream, ask).await {
        Ok(Tried::Answered(reply)) => Ok(reply),
        Ok(Tried::Elsewhere(_)) => Err(BackendError::Malformed {
            what: format!("{} sends on elsewhere, and nothing is followed; write where it really is", shown(origin)),
        }),
        Err(failure) => Err(broken(origin, failure)),
    }
}

/// Asks in clear text what stands beside this machine: one of these addresses or the loopback, and nothing else.
pub(crate) async fn ask_near(origin: &Origin, allowed: &[IpAddr], ask: &Ask) -> Result<Reply, BackendError> {
    let fits = |address: IpAddr| address.is_loopback() || allowed.contains(&address);
    let is_near = origin.scheme == Scheme::Http
        && (origin.host.as_str() == "localhost" || origin.host.address().is_some_and(fits));
    if !is_near {
        let what = format!(
            "{origin} is neither on the loopback nor a known address of containers or instances; it is not asked"
        );
        return Err(BackendError::Malformed { what });
    }
    let asking = async {
        let tcp = match origin.host.address() {
            Some(address) => TcpStream::connect((address, origin.port)).await,
            None => TcpStream::connect((origin.host.as_str(), origin.port)).await,
        };
        let tcp = tcp.map_err(|error| BackendError::Away { what: format!("{origin} cannot be reached: {error}") })?;
        let peer = tcp.peer_addr().map_err(|error| BackendError::Away { what: error.to_string() })?.ip();
        if !fits(peer) {
            return Err(BackendError::Malformed {
                what: format!("{origin} is not where it should be; it is not asked"),
            });
        }
        ask_over(origin, tcp, ask).await
    };
    let limit = Duration::from_secs(NEAR_SECONDS_MAX);
    let late = || BackendError::Away { what: format!("{origin} did not answer within {NEAR_SECONDS_MAX} s") };
    tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(late()))
}

async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Failure> {
    use hyper::body::Body;
    let stated = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let room = stated.unwrap_or(bounds::BACKEND_ANSWER_BYTES_MAX);
    if room > bounds::BACKEND_ANSWER_BYTES_MAX {
        return Err(Failure::Long);
    }
    // Reserved whole: growing would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if out.len() + data.len() > room {
            return Err(Failure::Long);
        }
        out.extend_from_slice(&data);
    }
    Ok(out)
}

fn broken(origin: &Origin, failure: Failure) -> BackendError {
    let shown = shown(origin);
    match failure {
        Failure::Unreached(why) => BackendError::Away { what: format!("{shown} {why}") },
        Failure::Broken(why) => BackendError::Away { what: format!("{shown} broke off: {why}") },
        Failure::Long => BackendError::Malformed {
            what: format!("{shown} answers more than {} bytes; is it the right one?", bounds::BACKEND_ANSWER_BYTES_MAX),
        },
    }
}

fn shown(origin: &Origin) -> String {
    format!("{}://{origin}", if origin.scheme == Scheme::Https { "https" } else { "http" })
}

/// The origin of an absolute URL.
fn origin_of(location: &str) -> Option<Origin> {
    let (scheme, rest) = location.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    parse_base(&format!("{scheme}://{authority}")).ok()
}

/// A segment of a path or a value of a query, encoded (RFC 3986 2.1): everything but unreserved characters.
pub(crate) fn encoded(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        assert_eq!(encoded("a b/ü@x-1"), "a%20b%2F%C3%BC%40x-1");
    }

    #[tokio::test]
    async fn who_is_silent_is_not_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let origin = parse_base(&format!("http://{}", listener.local_addr().expect("an address"))).expect("an origin");
        let roots = rustls::RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        let client = Client { limit: Duration::from_millis(100), ..Client::new(vec![origin], tls) };
        let error = client.ask(&Ask::get("/")).await.err().expect("silent");
        assert!(matches!(&error, BackendError::Away { what } if what.contains("within 0.1 s")), "{error}");
    }
}
