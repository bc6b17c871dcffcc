//! What the transport's tests share: a clock that stands, an authority of their own, and upstreams on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::canonical::{Host, Origin, Scheme};
use model::{AgentName, Clock, Random, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::address::Own;
use super::dial::{Dialer, Upstream};
use super::name::{Answer, Resolve, Resolving};
use super::tls::{Trust, provider};

/// 2026-11-20T18:38:47Z.
pub const NOW: i64 = 1_795_199_927;

pub struct Still(pub AtomicU64);

impl Still {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOW as u64)))
    }
}

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.0.load(Ordering::Relaxed) as i64)
    }
}

/// Not random, but never the same twice.
#[derive(Default)]
pub struct Counting(AtomicU64);

impl Random for Counting {
    fn fill(&self, out: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for (slot, byte) in out.iter_mut().zip(next.to_be_bytes().into_iter().cycle()) {
            *slot = byte;
        }
    }
}

/// An authority for upstreams: valid from 1975 to 4096, so that no clock matters.
pub struct Ca {
    pub issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Ca {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn trust(&self) -> Trust {
        Trust::pem(self.pem.as_bytes()).expect("roots")
    }

    pub fn server(&self, names: &[&str], alpn: &[&str]) -> Arc<ServerConfig> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        self.server_with(&CertificateParams::new(names).expect("names"), alpn)
    }

    pub fn server_with(&self, params: &CertificateParams, alpn: &[&str]) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        server_config(leaf.der().clone(), &key, alpn)
    }
}

pub fn server_config(leaf: CertificateDer<'static>, key: &KeyPair, alpn: &[&str]) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .expect("a certificate");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// An upstream that counts connections and requests, and says what it got.
pub struct Origins {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
}

impl Origins {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    pub async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&connections), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let number = counts.0.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::spawn(serve(tcp, tls.clone(), number, Arc::clone(&counts.1)));
            }
        });
        Self { address, connections, requests }
    }
}

async fn serve(tcp: TcpStream, tls: Option<Arc<ServerConfig>>, number: usize, requests: Arc<AtomicUsize>) {
    let service = service_fn(move |request: Request<Incoming>| {
        requests.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, std::convert::Infallible>(answer(request, number).await) }
    });
    let Some(tls) = tls else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), service).await;
        return;
    };
    let Ok(stream) = TlsAcceptor::from(tls).accept(tcp).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }
}

/// `/close` ends the connection after the answer, `/ws` switches and echoes, `/trailers` sends some; everything else
/// gives the request back: connection number, version, host, target, and the body and trailers it had.
async fn answer(mut request: Request<Incoming>, number: usize) -> Response<BoxBody<Bytes, hyper::Error>> {
    let path = request.uri().path().to_owned();
    if path == "/ws" {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
        response.headers_mut().insert("upgrade", "websocket".parse().expect("a value"));
        return response;
    }
    let host = request.headers().get("host").and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let authority = request.uri().authority().map_or_else(|| "-".to_owned(), ToString::to_string);
    let version = format!("{:?}", request.version());
    let body = request.into_body().collect().await.expect("a body");
    let trailers = body.trailers().map_or(0, HeaderMap::len);
    let length = body.to_bytes().len();
    let text = format!("{number} {version} {host} {authority} {path} {length} {trailers}");
    let body = if path == "/trailers" { trailing(text, "x-late").boxed() } else { whole(Bytes::from(text)) };
    let mut response = Response::new(body);
    if path == "/close" {
        response.headers_mut().insert("connection", "close".parse().expect("a value"));
    }
    if path == "/trailers" {
        response.headers_mut().insert("trailer", "x-late".parse().expect("a value"));
    }
    response
}

fn whole(bytes: Bytes) -> BoxBody<Bytes, hyper::Error> {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// A body of frames that are there already.
pub struct Frames(pub std::collections::VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

pub fn trailing(data: impl Into<Bytes>, name: &'static str) -> Frames {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, "1".parse().expect("a value"));
    Frames([Frame::data(data.into()), Frame::trailers(trailers)].into())
}

/// A resolver that is a table.
#[derive(Default)]
pub struct Table(pub HashMap<String, Vec<std::net::IpAddr>>);

impl Resolve for Table {
    fn resolve<'a>(&'a self, name: &'a Host) -> Resolving<'a> {
        let found = self.0.get(name.as_str()).cloned();
        Box::pin(async move {
            found.map(|addresses| Answer { addresses, ttl_seconds: 0 }).ok_or_else(|| "no such name".to_owned())
        })
    }
}

pub fn host(text: &str) -> Host {
    Host::parse(text).expect("a host")
}

pub fn https(text: &str) -> Origin {
    Origin { scheme: Scheme::Https, host: host(text), port: 443 }
}

pub fn agent(text: &str) -> AgentName {
    AgentName::new(text).expect("a name")
}

/// A dialer that finds `name` at `address` under `trust`, and knows no other name.
pub fn dialer(name: &str, address: SocketAddr, trust: Trust) -> Dialer {
    Dialer::new(Box::new(Table::default()), Trust::platform(), Own::default()).upstream(
        host(name),
        443,
        Upstream { address, trust: Some(trust) },
    )
}
