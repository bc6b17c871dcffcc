//! The road of an answer as the gateway has it: an origin with TLS, hyper and rustls on both sides of one thread, an agent
//! with TLS. Origin and agent run on threads of their own, so their work does not count.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Empty;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use inject::{Answer, Needles};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::bodies::now;

const NAME: &str = "localhost";

/// Certificates for both legs.
pub struct Lab {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Lab {
    /// Makes them.
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![made.cert.der().clone()],
                PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
            )
            .expect("a server");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { server: Arc::new(server), client: Arc::new(client) }
    }

    /// Sends `body` so many times as one answer; the processor time of the thread between.
    pub fn relay(&self, body: &[u8], times: usize, needles: Option<&Arc<Needles>>) -> Duration {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (origin, gateway) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (from, to) = (address(&origin), address(&gateway));
        std::thread::scope(|scope| {
            scope.spawn(|| self.origin(&origin, body, times));
            let agent = scope.spawn(move || self.agent(to));
            let took = self.gateway(gateway, from, needles);
            assert!(agent.join().expect("the agent") > body.len() * times);
            took
        })
    }

    fn origin(&self, listener: &TcpListener, body: &[u8], times: usize) {
        let tcp = listener.accept().expect("accept").0;
        tcp.set_nodelay(true).expect("nodelay");
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&self.server)).expect("a server"), tcp);
        let (mut head, mut octet) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            tls.read_exact(&mut octet).expect("a request");
            head.push(octet[0]);
        }
        write!(tls, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len() * times).expect("a head");
        (0..times).for_each(|_| tls.write_all(body).expect("a body"));
        tls.flush().expect("a body");
        let _ = tls.read(&mut octet);
    }

    /// How many octets come, the head among them.
    fn agent(&self, gateway: SocketAddr) -> usize {
        let tcp = TcpStream::connect(gateway).expect("connect");
        tcp.set_nodelay(true).expect("nodelay");
        let name = ServerName::try_from(NAME).expect("a name");
        let mut tls = StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name).expect("a client"), tcp);
        write!(tls, "GET / HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n").expect("a request");
        let (mut piece, mut all) = (vec![0; 256 * 1024], 0);
        while let Ok(count @ 1..) = tls.read(&mut piece) {
            all += count;
        }
        all
    }

    fn gateway(&self, listener: TcpListener, origin: SocketAddr, needles: Option<&Arc<Needles>>) -> Duration {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            listener.set_nonblocking(true).expect("nonblocking");
            let agent =
                tokio::net::TcpListener::from_std(listener).expect("a listener").accept().await.expect("accept").0;
            agent.set_nodelay(true).expect("nodelay");
            let agent = TlsAcceptor::from(Arc::clone(&self.server)).accept(agent).await.expect("a handshake");
            let tcp = tokio::net::TcpStream::connect(origin).await.expect("connect");
            tcp.set_nodelay(true).expect("nodelay");
            let name = ServerName::try_from(NAME).expect("a name");
            let upstream = TlsConnector::from(Arc::clone(&self.client)).connect(name, tcp).await.expect("a handshake");
            let (sender, connection) =
                hyper::client::conn::http1::Builder::new().handshake(TokioIo::new(upstream)).await.expect("a client");
            let upstream = tokio::spawn(connection);
            let sender = Arc::new(tokio::sync::Mutex::new(sender));
            let service = hyper::service::service_fn(move |_| answer(Arc::clone(&sender), needles.cloned()));
            let start = now();
            hyper::server::conn::http1::Builder::new()
                .max_buf_size(128 * 1024)
                .serve_connection(TokioIo::new(agent), service)
                .await
                .expect("served");
            let took = now().saturating_sub(start);
            upstream.abort();
            took
        })
    }
}

async fn answer(
    sender: Arc<tokio::sync::Mutex<SendRequest<Empty<Bytes>>>>,
    needles: Option<Arc<Needles>>,
) -> hyper::Result<Response<Through>> {
    let request = Request::get("/").header("host", NAME).body(Empty::new()).expect("a request");
    let response = sender.lock().await.send_request(request).await?;
    let answer = needles.map(|needles| Answer::new(&needles, &HeaderMap::new()).expect("identity"));
    Ok(response.map(|body| Through { body, answer, ready: VecDeque::new(), ended: false }))
}

/// What the gateway makes of an answer's body; without needles frames leave as they came.
struct Through {
    body: Incoming,
    answer: Option<Answer>,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl Body for Through {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match (ready!(Pin::new(&mut this.body).poll_frame(cx)), &mut this.answer) {
                (Some(frame), None) => return Poll::Ready(Some(frame)),
                (Some(frame), Some(answer)) => {
                    if let Ok(data) = frame?.into_data() {
                        this.ready.extend(answer.push(data).expect("identity"));
                    }
                }
                (None, answer) => {
                    this.ended = true;
                    if let Some(answer) = answer {
                        this.ready.extend(answer.finish().expect("identity"));
                        assert_eq!(answer.hits(), 0);
                    }
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.answer.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}
