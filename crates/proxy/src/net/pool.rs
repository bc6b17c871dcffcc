//! Upstream connections, kept for those they were made for: one (agent, credential version, origin), and no other.
//!
//! hyper's ready-made pool knows nothing of agents, so that an upstream which authenticates connections (NTLM, mTLS)
//! would mix them (row C45), and HTTP/2 coalescing would mix hosts (row F76). One pool per worker thread; its lock is
//! uncontended. A connection is kept by what it carries: the answer's body gives it back when it ends.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use inject::Presented;
use model::bounds::{HEAD_BYTES_MAX, POOL_IDLE_MAX, POOL_IDLE_PER_KEY_MAX, POOL_IDLE_SECONDS_MAX, POOL_STREAMS_MAX};
use model::canonical::{Origin, Scheme};
use model::{AgentName, CredentialName};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::dial::{DialError, Dialer, For, Speaks, Stream};

/// Idle connections are looked through this often, when there is traffic at all.
const SWEEP: Duration = Duration::from_secs(10);
/// Kept connections that turn out to be closed before a fresh one is made.
const STALE_MAX: usize = 3;
/// A silent HTTP/2 connection with streams on it is asked whether it lives.
const PING: Duration = Duration::from_secs(30);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// The agent.
    pub agent: AgentName,
    /// The credential that is put on, and its version.
    pub credential: Option<(CredentialName, u64)>,
    /// Where to.
    pub origin: Origin,
}

/// How new connections are made.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// By whom.
    pub dialer: &'a Dialer,
    /// The client certificate that is presented on them; it belongs to the key's credential.
    pub presents: Option<&'a Presented>,
}

impl<'a> From<&'a Dialer> for Way<'a> {
    fn from(dialer: &'a Dialer) -> Self {
        Self { dialer, presents: None }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection; nothing was sent.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection ended or the upstream broke the protocol.
    #[error("exchange with `{host}` broke off: {reason}")]
    Broken {
        /// The upstream.
        host: Origin,
        /// What hyper says.
        reason: String,
        /// Certainly not an octet of the request was sent.
        before_sent: bool,
        /// The connection had served before, and was closed before anything of an answer came.
        stale: bool,
    },
}

impl SendError {
    /// Whether certainly nothing was sent, so that a reservation may be returned.
    #[must_use]
    pub const fn before_sent(&self) -> bool {
        match self {
            Self::Dial(_) => true,
            Self::Broken { before_sent, .. } => *before_sent,
        }
    }

    /// Whether a server was closing a kept connection while the request was on its way: it may have read it, and what may be done twice
    /// can be sent on another.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Broken { stale: true, .. })
    }
}

/// The connections of one worker that carry bodies of type `B` to upstreams.
pub struct Pool<B>(Arc<Mutex<Shelf<B>>>);

impl<B> Default for Pool<B> {
    fn default() -> Self {
        let shelf = Shelf { places: HashMap::new(), idle: 0, evictions: 0, swept: Instant::now() };
        Self(Arc::new(Mutex::new(shelf)))
    }
}

struct Shelf<B> {
    places: HashMap<PoolKey, Place<B>>,
    idle: usize,
    /// A connection lent before an eviction does not come back after it.
    evictions: u64,
    swept: Instant,
}

struct Place<B> {
    idle: Vec<(http1::SendRequest<B>, Instant)>,
    shared: Vec<Shared<B>>,
}

impl<B> Default for Place<B> {
    fn default() -> Self {
        Self { idle: Vec::new(), shared: Vec::new() }
    }
}

struct Shared<B> {
    sender: http2::SendRequest<B>,
    streams: Arc<AtomicUsize>,
    used: Instant,
}

enum Connection<B> {
    One(http1::SendRequest<B>),
    Many(http2::SendRequest<B>, Streams),
}

/// One stream of an HTTP/2 connection, counted while it lives.
struct Streams(Arc<AtomicUsize>);

impl Streams {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<B> Shelf<B> {
    fn take(&mut self, key: &PoolKey, now: Instant) -> Option<Connection<B>> {
        self.sweep(now);
        let place = self.places.get_mut(key)?;
        place.shared.retain(|shared| !shared.sender.is_closed());
        if let Some(shared) =
            place.shared.iter_mut().find(|shared| shared.streams.load(Ordering::Relaxed) < POOL_STREAMS_MAX)
        {
            shared.used = now;
            return Some(Connection::Many(shared.sender.clone(), Streams::enter(&shared.streams)));
        }
        // The last one used is the one least likely to have been closed. One that still sends a request whose answer
        // came early is alive but not ready, and is left to finish.
        let before = place.idle.len();
        place.idle.retain(|(sender, _)| !sender.is_closed());
        self.idle -= before - place.idle.len();
        let at = place.idle.iter().rposition(|(sender, since)| sender.is_ready() && fresh(*since, now))?;
        self.idle -= 1;
        Some(Connection::One(place.idle.remove(at).0))
    }

    fn put(&mut self, key: PoolKey, sender: http1::SendRequest<B>, now: Instant) {
        self.sweep(now);
        if sender.is_closed() || self.idle >= POOL_IDLE_MAX {
            return;
        }
        let place = self.places.entry(key).or_default();
        if place.idle.len() < POOL_IDLE_PER_KEY_MAX {
            place.idle.push((sender, now));
            self.idle += 1;
        }
    }

    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        self.places.retain(|_, place| {
            place.idle.retain(|(sender, since)| !sender.is_closed() && fresh(*since, now));
            place.shared.retain(|shared| {
                let busy = shared.streams.load(Ordering::Relaxed) > 0;
                !shared.sender.is_closed() && (busy || fresh(shared.used, now))
            });
            !place.idle.is_empty() || !place.shared.is_empty()
        });
        self.count();
    }

    fn evict(&mut self, hit: impl Fn(&PoolKey) -> bool) {
        self.places.retain(|key, _| !hit(key));
        self.evictions += 1;
        self.count();
    }

    fn count(&mut self) {
        self.idle = self.places.values().map(|place| place.idle.len()).sum();
    }
}

fn fresh(since: Instant, now: Instant) -> bool {
    now.duration_since(since) < Duration::from_secs(POOL_IDLE_SECONDS_MAX)
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// An empty pool; one for each worker.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every connection of an agent. What is under way is cut by its own handle, and does not come back.
    pub fn evict_agent(&self, agent: &AgentName) {
        self.0.lock().evict(|key| key.agent == *agent);
    }

    /// Forgets every connection that carried a credential, in any version.
    pub fn evict_credential(&self, name: &CredentialName) {
        self.0.lock().evict(|key| key.credential.as_ref().is_some_and(|(known, _)| known == name));
    }

    /// Idle HTTP/1.1 connections, for the metrics.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.0.lock().idle
    }

    /// Sends a request to the key's origin on a kept connection, or a new one. Whatever authority the request names is
    /// replaced by the origin. With `upgrade` a WebSocket handshake goes out on a connection of its own.
    ///
    /// A kept connection that was closed meanwhile is replaced while nothing was sent; nothing else is ever repeated.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(
        &self,
        way: impl Into<Way<'_>>,
        key: PoolKey,
        mut request: Request<B>,
        upgrade: bool,
    ) -> Result<Response<Pooled<Incoming>>, SendError> {
        let way = way.into();
        let upgrade = upgrade && request.headers().contains_key(header::SEC_WEBSOCKET_KEY);
        let kept = if upgrade { 0 } else { STALE_MAX };
        for _ in 0..kept {
            let Some(connection) = self.take(&key) else { break };
            match self.send_on(connection, &key, request, upgrade).await {
                Ok(response) => return asked_for(response, &key, upgrade),
                Err((_, Some(back))) => request = back,
                Err((error, None)) => return Err(stale(&key, &error)),
            }
        }
        // On the heap: most exchanges never dial, and would carry the room for it from stage to stage.
        let connection = Box::pin(self.dial(way, &key, upgrade)).await?;
        match self.send_on(connection, &key, request, upgrade).await {
            Ok(response) => asked_for(response, &key, upgrade),
            Err((error, back)) => Err(broken(&key, &error, back.is_some())),
        }
    }

    fn take(&self, key: &PoolKey) -> Option<Connection<B>> {
        self.0.lock().take(key, Instant::now())
    }

    async fn dial(&self, way: Way<'_>, key: &PoolKey, upgrade: bool) -> Result<Connection<B>, SendError> {
        let speaks = if upgrade { Speaks::Upgrade } else { Speaks::Http };
        let party = For { agent: &key.agent, credential: key.credential.as_ref(), speaks, presents: way.presents };
        let stream = way.dialer.connect(&key.origin, party).await?;
        let connection = if stream.is_http2() { self.start_many(stream, key).await } else { start_one(stream).await };
        connection.map_err(|error| broken(key, &error, true))
    }

    async fn start_many(&self, stream: Stream, key: &PoolKey) -> hyper::Result<Connection<B>> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).max_header_list_size(HEAD_BYTES_MAX as u32);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        let streams = Arc::new(AtomicUsize::new(0));
        let entered = Streams::enter(&streams);
        let mut shelf = self.0.lock();
        let place = shelf.places.entry(key.clone()).or_default();
        // When several were dialled at once the surplus serve one request each and close.
        if place.shared.iter().all(|shared| shared.streams.load(Ordering::Relaxed) >= POOL_STREAMS_MAX) {
            place.shared.push(Shared { sender: sender.clone(), streams, used: Instant::now() });
        }
        Ok(Connection::Many(sender, entered))
    }

    async fn send_on(
        &self,
        connection: Connection<B>,
        key: &PoolKey,
        request: Request<B>,
        upgrade: bool,
    ) -> Result<Response<Pooled<Incoming>>, (hyper::Error, Option<Request<B>>)> {
        let apart = |error: TrySendError<Request<B>>| {
            let mut error = error;
            let back = error.take_message();
            (error.into_error(), back)
        };
        match connection {
            Connection::One(mut sender) => {
                let evictions = self.0.lock().evictions;
                let response = sender.try_send_request(form_one(request, key, upgrade)).await.map_err(apart)?;
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    return Ok(response.map(|body| Pooled { body, lease: None }));
                }
                let lease = Lent { shelf: Arc::clone(&self.0), key: key.clone(), sender, evictions };
                Ok(response.map(|body| Pooled::new(body, Box::new(lease))))
            }
            Connection::Many(mut sender, streams) => {
                let response = sender.try_send_request(form_many(request, key)).await.map_err(apart)?;
                Ok(response.map(|body| Pooled::new(body, Box::new(streams))))
            }
        }
    }
}

async fn start_one<B>(stream: Stream) -> hyper::Result<Connection<B>>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let (sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(Connection::One(sender))
}

/// A 101 that nobody asked for would turn the connection into something nobody reads.
fn asked_for<I>(response: Response<I>, key: &PoolKey, upgrade: bool) -> Result<Response<I>, SendError> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade {
        return Err(broken(key, &"upstream switches protocols unasked", false));
    }
    Ok(response)
}

fn broken(key: &PoolKey, error: &dyn std::fmt::Display, before_sent: bool) -> SendError {
    SendError::Broken { host: key.origin.clone(), reason: error.to_string(), before_sent, stale: false }
}

/// On a kept connection.
fn stale(key: &PoolKey, error: &hyper::Error) -> SendError {
    let io =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    let closed =
        matches!(io, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof));
    let stale = error.is_incomplete_message() || error.is_closed() || closed;
    SendError::Broken { host: key.origin.clone(), reason: error.to_string(), before_sent: false, stale }
}

/// RFC 9112 3.2.1: origin form, and `Host` first-hand.
fn form_one<B>(mut request: Request<B>, key: &PoolKey, upgrade: bool) -> Request<B> {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        let target = path_and_query(request.uri());
        *request.uri_mut() = Uri::from(target);
    }
    if let Ok(host) = HeaderValue::try_from(key.origin.to_string()) {
        request.headers_mut().insert(header::HOST, host);
    }
    if upgrade {
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    request
}

/// RFC 9113 8.3.1: `:scheme` and `:authority` instead of `Host`; nothing of one hop.
fn form_many<B>(mut request: Request<B>, key: &PoolKey) -> Request<B> {
    *request.version_mut() = Version::HTTP_2;
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match key.origin.scheme {
        Scheme::Https => http::uri::Scheme::HTTPS,
        // No bare connection is ever pooled.
        Scheme::Http | Scheme::Tcp | Scheme::Postgres => http::uri::Scheme::HTTP,
    });
    parts.authority = Authority::try_from(key.origin.to_string()).ok();
    parts.path_and_query = Some(path_and_query(request.uri()));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    for name in [header::HOST, header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING] {
        request.headers_mut().remove(name);
    }
    request
}

fn path_and_query(uri: &Uri) -> PathAndQuery {
    uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

/// What an answer's body holds until it ends.
trait Lease: Send + Sync {
    /// The body has ended as it should.
    fn give_back(self: Box<Self>);
}

struct Lent<B> {
    shelf: Arc<Mutex<Shelf<B>>>,
    key: PoolKey,
    sender: http1::SendRequest<B>,
    evictions: u64,
}

impl<B: Send + 'static> Lease for Lent<B> {
    fn give_back(self: Box<Self>) {
        let Self { shelf, key, sender, evictions } = *self;
        let mut shelf = shelf.lock();
        if shelf.evictions == evictions {
            shelf.put(key, sender, Instant::now());
        }
    }
}

impl Lease for Streams {
    fn give_back(self: Box<Self>) {}
}

/// An answer's body that gives its connection back to the pool when it has ended. Dropped before that, the connection
/// is closed (HTTP/1.1) or the stream reset (HTTP/2).
pub struct Pooled<I> {
    body: I,
    lease: Option<Box<dyn Lease>>,
}

impl<I: Body> Pooled<I> {
    fn new(body: I, lease: Box<dyn Lease>) -> Self {
        let mut pooled = Self { body, lease: Some(lease) };
        pooled.settle();
        pooled
    }

    fn settle(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl<I: Body + Unpin> Body for Pooled<I> {
    type Data = I::Data;
    type Error = I::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<I::Data>, I::Error>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => this.settle(),
            Some(Err(_)) => this.lease = None,
            None => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[path = "presented_tests.rs"]
mod presented_tests;
#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
