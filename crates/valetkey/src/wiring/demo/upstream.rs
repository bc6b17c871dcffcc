//! A small stand-in for APIs on loopback, with a certificate of its own. It keeps what it got; that of the demo echoes the
//! credential, as careless APIs do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::TcpListener;

/// One request as it came in.
#[derive(Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub authorization: String,
}

impl Seen {
    /// What is kept of a request.
    pub fn of(request: &Request<Incoming>) -> Self {
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        Self {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            authorization: authorization.unwrap_or_default().to_owned(),
        }
    }
}

/// What a stand-in answers, and keeps in its journal.
pub type Answer = fn(&Request<Incoming>, &Mutex<Vec<Seen>>) -> Response<Full<Bytes>>;

/// The running stand-in.
pub struct Upstream {
    pub address: SocketAddr,
    pub ca_pem: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Upstream {
    /// Begins to listen on loopback, for these names.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start(names: &[&str], answer: Answer) -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate =
            rcgen::CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?
                .self_signed(&key)?;
        let ca_pem = certificate.pem();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .context("the stand-in's certificate")?;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let journal = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, journal) = (acceptor.clone(), Arc::clone(&journal));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request| {
                        let response = answer(&request, &journal);
                        async move { Ok::<_, std::convert::Infallible>(response) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        Ok(Self { address, ca_pem, seen })
    }

    /// What it got, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().map(|seen| seen.clone()).unwrap_or_default()
    }
}

/// The demo's answers.
pub fn answer(request: &Request<Incoming>, journal: &Mutex<Vec<Seen>>) -> Response<Full<Bytes>> {
    let now = Seen::of(request);
    let (path, authorization) = (now.path.clone(), now.authorization.clone());
    let pulls = journal.lock().map_or(0, |mut seen| {
        let before = seen.iter().filter(|seen| seen.path.ends_with("/pulls")).count();
        seen.push(now);
        before
    });
    let (status, body) = match (request.method(), path.as_str()) {
        (&Method::GET, "/user") => {
            (StatusCode::OK, json!({ "login": "octocat", "debug": { "authorization": authorization } }))
        }
        (&Method::POST, path) if path.ends_with("/pulls") => (StatusCode::CREATED, json!({ "number": 42 + pulls })),
        (&Method::POST, _) => (StatusCode::CREATED, json!({ "id": 1001 })),
        _ => (StatusCode::NO_CONTENT, json!({})),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
