//! A client's connection: what it is for, and TLS under our own certificate where it is a tunnel.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::canonical::{Malformed, Origin, Scheme, parse_authority};
use model::{Code, Refusal, bounds};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::accepted::malformed;
use crate::bare;
use crate::body::AnswerBody;
use crate::exchange::exchange;
use crate::gateway::Worker;
use crate::identify::{self, Claim};
use crate::net::guard::{self, FirstHead, Guard, Rewind, Violation, read_first_head};
use crate::postgres;
use crate::record::Recorder;
use crate::respond::{self, Side};
use crate::session::LiveSession;

/// What is known of a connection before any request on it.
pub(crate) struct Link {
    /// Who is at the other end, as recorded.
    pub(crate) source: Arc<str>,
    /// The same, for rules.
    pub(crate) address: IpAddr,
    /// What the tunnel was opened for; none on the proxy port itself.
    pub(crate) origin: Option<Origin>,
    /// The session that opened the tunnel, or the one whose namespace it comes from; its life is checked at each request.
    pub(crate) session: Option<Arc<LiveSession>>,
}

/// Serves one accepted connection to its end.
pub(crate) fn serve(worker: Arc<Worker>, tcp: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send {
    serve_for(worker, tcp, peer, None)
}

/// The same, of a session that is known by the place that the connection comes from; tokens say nothing then.
pub(crate) async fn serve_for(
    worker: Arc<Worker>,
    mut tcp: TcpStream,
    peer: SocketAddr,
    session: Option<Arc<LiveSession>>,
) {
    // Inside a namespace an agent binds whatever address it likes; it comes from this machine.
    let address = if session.is_some() { IpAddr::from(std::net::Ipv4Addr::LOCALHOST) } else { peer.ip() };
    let source: Arc<str> = address.to_string().into();
    let mut link = Link { source, address, origin: None, session };
    let first = match within(bounds::HEAD_SECONDS_MAX, read_first_head(&mut tcp)).await {
        Some(Ok(Some(first))) => first,
        Some(Err(violation)) => return refuse_raw(&worker, &link, tcp, &violation).await,
        Some(Ok(None)) | None => return,
    };
    if first.method != Method::CONNECT {
        let replayed = Rewind::new(first.raw, tcp);
        return speak_http1(worker, Arc::new(link), replayed).await;
    }
    // On the heap, here and below, whatever is over before the connection is: its own task stays as large as its largest step.
    match Box::pin(open(&worker, &link, &first)).await {
        Ok((origin, session)) => {
            link.origin = Some(origin);
            link.session = Some(session);
            if tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
                intercept(worker, link, tcp).await;
            }
        }
        Err((refusal, mut recorder)) => {
            recorder.asked("CONNECT", &first.target, "");
            let status = respond::status(&refusal, Side::Proxy);
            recorder.refused(&refusal, status.as_u16());
            answer_raw(&mut tcp, &refusal, Side::Proxy).await;
        }
    }
}

type Opened = (Origin, Arc<LiveSession>);

/// Checks a CONNECT: a canonical authority, and a session. Everything else is said inside, where clients can read it.
async fn open(worker: &Arc<Worker>, link: &Link, first: &FirstHead) -> Result<Opened, (Refusal, Recorder)> {
    let recorder = Recorder::begin(worker, &link.source);
    let mut headers: HeaderMap = first.headers.clone();
    let claim = Claim::take(crate::accepted::Leg::Plain, &mut headers);
    let target = match parse_authority(&first.target) {
        Ok((host, Some(port))) => Ok((host, port)),
        Ok((_, None)) => Err(malformed(Malformed::Port)),
        Err(why) => Err(malformed(why)),
    };
    let session = match target {
        Ok(target) => identify::find(worker, link, &claim).await.map(|session| (target, session)),
        Err(refusal) => Err(refusal),
    };
    match session {
        Ok((_, session)) if !session.is_live(worker.gateway.clock.now()) => Err((identify::ended(), recorder)),
        Ok(((host, port), session)) => {
            // An intercepted CONNECT is not an exchange of its own: it leaves no record.
            recorder.discard();
            let scheme = if port == 80 { Scheme::Http } else { Scheme::Https };
            Ok((Origin { scheme, host, port }, session))
        }
        Err(refusal) => Err((refusal, recorder)),
    }
}

/// Serves a tunnel that was opened.
async fn intercept(worker: Arc<Worker>, link: Link, tcp: TcpStream) {
    if let Some(snapshot) = bare::meant(&worker, &link) {
        return Box::pin(bare::serve(worker, &link, snapshot, tcp)).await;
    }
    if let Some(snapshot) = postgres::meant(&worker, &link) {
        return Box::pin(postgres::serve(worker, &link, snapshot, tcp)).await;
    }
    speak(worker, link, tcp).await;
}

/// Speaks TLS under a leaf for exactly the CONNECT host, or HTTP in clear text; a ClientHello for another name ends the
/// connection (row A1).
async fn speak(worker: Arc<Worker>, mut link: Link, tcp: TcpStream) {
    let (Some(origin), Some(session)) = (link.origin.clone(), link.session.clone()) else { return };
    let mut first = [0u8; 1];
    match within(bounds::IDLE_SECONDS_MAX, tcp.peek(&mut first)).await {
        Some(Ok(1)) => {}
        _ => return,
    }
    // 0x16 begins a TLS handshake (RFC 8446 5.1). Anything else is HTTP in clear text, as `ws://` through a proxy.
    if first != [0x16] && origin.port == Scheme::Https.default_port() {
        return Box::pin(refuse_clear_text(worker, link, tcp)).await;
    }
    if first != [0x16] {
        link.origin = Some(Origin { scheme: Scheme::Http, ..origin });
        return speak_http1(worker, Arc::new(link), tcp).await;
    }
    link.origin = Some(Origin { scheme: Scheme::Https, ..origin });
    if let Some(speaking) = Box::pin(secure(worker, link, session, tcp)).await {
        speaking.await;
    }
}

type Speaking = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The handshake, and what is spoken after it.
async fn secure(worker: Arc<Worker>, link: Link, session: Arc<LiveSession>, tcp: TcpStream) -> Option<Speaking> {
    let origin = link.origin.as_ref()?;
    let handshake = worker.gateway.authority.accept(tcp, &origin.host, &session.session.agent);
    match within(bounds::HEAD_SECONDS_MAX, handshake).await? {
        Ok(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => {
            Some(Box::pin(speak_http2(worker, Arc::new(link), tls)))
        }
        Ok(tls) => Some(Box::pin(speak_http1(worker, Arc::new(link), tls))),
        Err(error) => {
            record_handshake(&worker, &link, &error.to_string());
            None
        }
    }
}

async fn refuse_clear_text(worker: Arc<Worker>, link: Link, mut tcp: TcpStream) {
    let clear = Refusal::new(Code::Malformed, "Clear text came where TLS was expected");
    refuse_octets(&worker, &link, &mut tcp, ("", ""), &clear).await;
}

/// Serves a diverted connection like a tunnel that was opened for where it wanted to go. What is neither TLS nor HTTP goes
/// nowhere, and is recorded.
pub(crate) async fn serve_diverted(worker: Arc<Worker>, tcp: TcpStream, (origin, session): (Origin, Arc<LiveSession>)) {
    // Both addresses of such a connection are what the agent chose; it comes from this machine.
    let address = IpAddr::from(std::net::Ipv4Addr::LOCALHOST);
    let source: Arc<str> = address.to_string().into();
    let web = [Scheme::Http, Scheme::Https].iter().any(|scheme| scheme.default_port() == origin.port);
    let link = Link { source, address, origin: Some(origin), session: Some(session) };
    if let Some(snapshot) = bare::meant(&worker, &link) {
        return Box::pin(bare::serve(worker, &link, snapshot, tcp)).await;
    }
    if let Some(snapshot) = postgres::meant(&worker, &link) {
        return Box::pin(postgres::serve(worker, &link, snapshot, tcp)).await;
    }
    // Browsers open connections that they may need; whoever waits to be spoken to speaks another protocol.
    let patience = if web { bounds::IDLE_SECONDS_MAX } else { bounds::HEAD_SECONDS_MAX };
    let mut first = [0u8; 1];
    match within(patience, tcp.peek(&mut first)).await {
        Some(Ok(1)) if is_spoken(first) => speak(worker, link, tcp).await,
        Some(Ok(1)) => record_protocol(&worker, &link),
        None if !web => record_protocol(&worker, &link),
        _ => {}
    }
}

/// A TLS handshake (RFC 8446 5.1), or the method of a request.
const fn is_spoken([first]: [u8; 1]) -> bool {
    first == 0x16 || first.is_ascii_uppercase()
}

/// Another protocol than HTTP leaves a record, and nothing else.
fn record_protocol(worker: &Arc<Worker>, link: &Link) {
    let mut recorder = Recorder::begin(worker, &link.source);
    let host = link.origin.as_ref().map(ToString::to_string).unwrap_or_default();
    recorder.asked("CONNECT", &host, "");
    if let Some(live) = &link.session {
        recorder.identified(live);
    }
    let refusal = Refusal::new(Code::Denied, "Only HTTP, with or without TLS, leaves an isolated agent's network")
        .hint("a service file with `protocol: tcp` lets other protocols pass to its hosts");
    recorder.refused(&refusal, 403);
}

/// A client that does not trust us, or asks for another name than it connected for, leaves a record.
fn record_handshake(worker: &Arc<Worker>, link: &Link, why: &str) {
    let mut recorder = Recorder::begin(worker, &link.source);
    let host = link.origin.as_ref().map(ToString::to_string).unwrap_or_default();
    recorder.asked("CONNECT", &host, "");
    if let Some(live) = &link.session {
        recorder.identified(live);
    }
    let refusal = Refusal::new(Code::Misdirected, "The TLS handshake failed").internal(why.to_owned());
    recorder.refused(&refusal, 421);
}

/// What hyper calls for each request of a connection.
struct Exchanges {
    worker: Arc<Worker>,
    link: Arc<Link>,
}

impl Service<Request<Incoming>> for Exchanges {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    /// On the heap, for as long as it takes: a connection that is idle holds nothing of it.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (worker, link) = (Arc::clone(&self.worker), Arc::clone(&self.link));
        let switching = request.version() <= Version::HTTP_11 && request.headers().contains_key(header::UPGRADE);
        Box::pin(async move {
            let mut response = exchange(worker, link, request).await;
            if switching && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // Whoever asks for another protocol waits for the answer (RFC 9110 7.8). What came behind the head
                // was meant for that protocol or is smuggled: it is never read as a request (row C36).
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

/// hyper's connections, made where they stay: as locals of an async function they would be held several times over.
type One<IO> = Pin<Box<http1::UpgradeableConnection<TokioIo<Guard<IO>>, Exchanges>>>;
type Many<IO> = Pin<Box<http2::Connection<TokioIo<IO>, Exchanges, TokioExecutor>>>;

fn connection_one<IO>(io: IO, exchanges: Exchanges) -> (One<IO>, guard::Refused<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (guard, violation) = Guard::new(io);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).auto_date_header(false).max_headers(bounds::HEADER_FIELDS_MAX);
    builder.header_read_timeout(Duration::from_secs(bounds::IDLE_SECONDS_MAX)).max_buf_size(bounds::HEAD_BYTES_MAX * 2);
    (Box::pin(builder.serve_connection(TokioIo::new(guard), exchanges).with_upgrades()), violation)
}

fn connection_many<IO>(io: IO, exchanges: Exchanges) -> Many<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).auto_date_header(false);
    // Bounds against rapid reset, CONTINUATION and HPACK floods (row J129); windows wide enough for a fast upload.
    builder.max_concurrent_streams(256).max_pending_accept_reset_streams(64).max_local_error_reset_streams(64);
    builder.max_header_list_size(bounds::HEAD_BYTES_MAX as u32).initial_stream_window_size(1 << 20);
    builder.initial_connection_window_size(4 << 20).max_send_buf_size(512 * 1024);
    builder.keep_alive_interval(Duration::from_secs(bounds::IDLE_SECONDS_MAX));
    Box::pin(builder.serve_connection(TokioIo::new(io), exchanges))
}

/// Serves HTTP/1.1 on `io` to its end. Not an async function: its future would hold room for `io` as long as it lives.
fn speak_http1<IO>(worker: Arc<Worker>, link: Arc<Link>, io: IO) -> impl Future<Output = ()> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (drain, cut) = (worker.gateway.drain.clone(), worker.gateway.cut.clone());
    let (mut connection, violation) =
        connection_one(io, Exchanges { worker: Arc::clone(&worker), link: Arc::clone(&link) });
    async move {
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => break,
                () = cut.cancelled() => return,
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        drop(connection);
        if let Some(refusing) = refuse_taken(worker, link, &violation) {
            refusing.await;
        }
    }
}

/// Not inside the future above: it would hold room for the stream as long as it lives.
fn refuse_taken<IO>(worker: Arc<Worker>, link: Arc<Link>, refused: &guard::Refused<IO>) -> Option<Speaking>
where
    IO: AsyncWrite + Unpin + Send + 'static,
{
    let (violation, io) = refused.take()?;
    Some(Box::pin(async move { refuse_raw(&worker, &link, io, &violation).await }))
}

fn speak_http2<IO>(worker: Arc<Worker>, link: Arc<Link>, io: IO) -> impl Future<Output = ()> + Send
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (drain, cut) = (worker.gateway.drain.clone(), worker.gateway.cut.clone());
    let mut connection = connection_many(io, Exchanges { worker, link });
    async move {
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                _ = connection.as_mut() => return,
                () = cut.cancelled() => return,
                () = drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Octets that hyper never saw: one answer, one record, and the connection closes.
fn refuse_raw<'a, IO>(
    worker: &'a Arc<Worker>,
    link: &'a Link,
    mut io: IO,
    violation: &'a Violation,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>
where
    IO: AsyncWrite + Unpin + Send + 'a,
{
    Box::pin(async move {
        let asked = (violation.method(), violation.target());
        refuse_octets(worker, link, &mut io, asked, &violation.refusal()).await;
    })
}

async fn refuse_octets<IO: AsyncWrite + Unpin>(
    worker: &Arc<Worker>,
    link: &Link,
    io: &mut IO,
    (method, target): (&str, &str),
    refusal: &Refusal,
) {
    let mut recorder = Recorder::begin(worker, &link.source);
    let host = link.origin.as_ref().map(ToString::to_string).unwrap_or_default();
    recorder.asked(method, &host, target);
    if let Some(live) = &link.session {
        recorder.identified(live);
        recorder.mask();
    }
    recorder.refused(refusal, respond::status(refusal, Side::Origin).as_u16());
    answer_raw(io, refusal, Side::Origin).await;
}

async fn answer_raw<IO: AsyncWrite + Unpin>(io: &mut IO, refusal: &Refusal, side: Side) {
    let octets = respond::raw(refusal, side);
    // The client may be gone; there is nobody left to tell.
    let _ = within(bounds::HEAD_SECONDS_MAX, async {
        io.write_all(&octets).await?;
        io.shutdown().await
    })
    .await;
}

async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(seconds), work).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl Fn(Arc<Worker>, TcpStream, SocketAddr) -> F) -> usize {
        size_of::<F>()
    }

    fn size_diverted<F: Future>(_: impl Fn(Arc<Worker>, TcpStream, (Origin, Arc<LiveSession>)) -> F) -> usize {
        size_of::<F>()
    }

    /// Ten thousand connections are mostly idle, and each holds its task.
    #[test]
    fn an_idle_connection_is_small() {
        let sizes = (size(serve), size_diverted(serve_diverted));
        assert!(sizes.0 <= 2_048 && sizes.1 <= 1_536, "{sizes:?}");
    }
}
