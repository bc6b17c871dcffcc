//! The server behind [`super::Upstream`].

use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::answer::{Answer, Content, End, Fed, feed};
use super::journal::{BODY_KEPT, Journal, Protocol, Seen};
use super::{Handler, routes};
use crate::ws;

pub(super) struct Shared {
    pub handlers: Vec<Handler>,
    pub journal: Arc<Journal>,
}

/// What is known of a connection.
#[derive(Clone)]
struct Connection {
    number: u64,
    sni: Option<String>,
    socket: Arc<std::net::TcpStream>,
    reset: Arc<tokio::sync::Notify>,
}

type Body = Either<Full<Bytes>, Fed>;

pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let number = shared.journal.accepted();
            connection(tcp, tls, shared, number).await;
        });
    }
}

async fn connection(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>, number: u64) {
    // A second handle on the socket, for resets below HTTP.
    let Ok(std) = tcp.into_std() else { return };
    let Ok(socket) = std.try_clone() else { return };
    let Ok(tcp) = TcpStream::from_std(std) else { return };
    let mut known = Connection { number, sni: None, socket: Arc::new(socket), reset: Arc::default() };
    // Dropping the connection with every handle on it, lingering for no time, is what makes TCP send a reset.
    let reset = Arc::clone(&known.reset);
    tokio::select! {
        () = speak(tcp, tls, shared, &mut known) => {}
        () = reset.notified() => {}
    }
}

async fn speak(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, shared: Arc<Shared>, known: &mut Connection) {
    match tls {
        None => http(tcp, shared, known.clone()).await,
        Some(config) => {
            let Ok(stream) = tokio_rustls::TlsAcceptor::from(config).accept(tcp).await else { return };
            shared.journal.shaken();
            known.sni = stream.get_ref().1.server_name().map(str::to_owned);
            http(stream, shared, known.clone()).await;
        }
    }
}

async fn http<S>(stream: S, shared: Arc<Shared>, known: Connection)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (shared, known) = (Arc::clone(&shared), known.clone());
        async move { exchange(request, &shared, known).await }
    });
    let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    server.http1().max_headers(512).half_close(true);
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

async fn exchange(
    mut request: Request<Incoming>,
    shared: &Shared,
    known: Connection,
) -> Result<Response<Body>, std::io::Error> {
    let upgrade = request.headers().contains_key("sec-websocket-key").then(|| hyper::upgrade::on(&mut request));
    let (socket, reset) = (Arc::clone(&known.socket), Arc::clone(&known.reset));
    let seen = read(request, known).await?;
    shared.journal.note(seen.clone());
    let answer = shared.handlers.iter().find_map(|handler| handler(&seen)).unwrap_or_else(|| routes::answer(&seen));
    tokio::time::sleep(answer.wait).await;
    match answer.end {
        End::Reset => {
            let _ = socket2::SockRef::from(&*socket).set_linger(Some(std::time::Duration::ZERO));
            drop(socket);
            reset.notify_one();
            return std::future::pending().await;
        }
        End::Hang => std::future::pending().await,
        End::Proper | End::Cut => {}
    }
    if let (Content::WebSocket(greeting), Some(upgrade)) = (&answer.content, upgrade) {
        return Ok(websocket((&seen, &answer.headers), greeting.clone(), upgrade, Arc::clone(&shared.journal)));
    }
    Ok(respond(answer))
}

async fn read(request: Request<Incoming>, known: Connection) -> Result<Seen, std::io::Error> {
    let (parts, mut body) = request.into_parts();
    let mut kept = Vec::new();
    let mut trailers = HeaderMap::new();
    let mut size = 0u64;
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(std::io::Error::other)?;
        match frame.into_data() {
            Ok(data) => {
                size += data.len() as u64;
                hash.update(&data);
                kept.extend_from_slice(&data[..data.len().min(BODY_KEPT - kept.len())]);
            }
            Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    let protocol = if parts.version == http::Version::HTTP_2 { Protocol::Http2 } else { Protocol::Http1 };
    let host = parts.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authority = parts.uri.authority().map_or_else(|| host.to_owned(), ToString::to_string);
    let target = match protocol {
        Protocol::Http1 => parts.uri.to_string(),
        Protocol::Http2 => parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
    };
    Ok(Seen {
        method: parts.method.to_string(),
        target,
        authority,
        headers: parts.headers,
        trailers,
        body: kept.into(),
        body_bytes: size,
        body_sha256: crate::leak::hex(hash.finish().as_ref()),
        connection: known.number,
        protocol,
        sni: known.sni,
    })
}

fn respond(answer: Answer) -> Response<Body> {
    let mut response = Response::builder().status(answer.status);
    if let Some(headers) = response.headers_mut() {
        headers.extend(answer.headers.clone());
        if answer.end == End::Cut
            && let Content::Whole(bytes) = &answer.content
        {
            headers.insert("content-length", bytes.len().into());
        }
        if let Content::Pattern(size) = &answer.content {
            headers.insert("content-length", (*size).into());
        }
    }
    let body = match &answer.content {
        Content::Whole(bytes) if answer.trailers.is_none() && answer.end == End::Proper => {
            Either::Left(Full::new(bytes.clone()))
        }
        _ => {
            let (to, from) = mpsc::channel(2);
            tokio::spawn(feed(answer, to));
            Either::Right(Fed(from))
        }
    };
    response.body(body).unwrap()
}

fn websocket(
    (seen, headers): (&Seen, &HeaderMap),
    greeting: Option<String>,
    upgrade: hyper::upgrade::OnUpgrade,
    journal: Arc<Journal>,
) -> Response<Body> {
    let key = seen.values("sec-websocket-key").join("");
    tokio::spawn(async move {
        if let Ok(stream) = upgrade.await {
            let _ = echo(TokioIo::new(stream), greeting, &journal).await;
        }
    });
    let mut response = Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", ws::accept(&key))
        .body(Either::Left(Full::default()))
        .unwrap();
    response.headers_mut().extend(headers.clone());
    response
}

async fn echo(
    mut stream: TokioIo<hyper::upgrade::Upgraded>,
    greeting: Option<String>,
    journal: &Journal,
) -> std::io::Result<()> {
    // What has come of a message in fragments.
    let mut open: Option<ws::Message> = None;
    if let Some(text) = greeting {
        stream.write_all(&ws::frame(1, text.as_bytes(), None)).await?;
    }
    let mut buffer = Vec::new();
    loop {
        while let Some((mut message, used)) = ws::parse(&buffer) {
            let last = buffer.first().is_some_and(|first| first & 0x80 != 0);
            buffer.drain(..used);
            if message.opcode < 8
                && let Some(mut front) = open.take()
            {
                front.payload.append(&mut message.payload);
                message = front;
            }
            if !last {
                open = Some(message);
                continue;
            }
            journal.heard(message.clone());
            let opcode = if message.opcode == 9 { 10 } else { message.opcode };
            stream.write_all(&ws::frame(opcode, &message.payload, None)).await?;
            stream.flush().await?;
            if opcode == 8 {
                return stream.shutdown().await;
            }
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}
