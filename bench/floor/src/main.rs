//! `floor PORT CA.pem CA.key AUDITFILE none|buffered|durable [DIAL]`: the least MITM proxy on hyper + rustls, to see what the stack allows.
//! With DIAL (an address) every upstream is reached there, whatever its name.
//! audit: one 300-byte line per request; `durable` releases the response head only after a group-commit fdatasync.
use bytes::Bytes;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::SendRequest,
    service::service_fn,
    Request, Response,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer, ServerName};
use std::{
    collections::HashMap,
    io::Write,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
type Snd = SendRequest<Incoming>;
type E = std::io::Error;
fn e<T: std::fmt::Display>(x: T) -> E {
    std::io::Error::other(x.to_string())
}
struct St {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    leaf: rcgen::KeyPair,
    cfgs: Mutex<HashMap<String, Arc<rustls::ServerConfig>>>,
    pool: Mutex<HashMap<String, Vec<Snd>>>,
    cli: tokio_rustls::TlsConnector,
    audit: Option<(std::sync::mpsc::SyncSender<(Vec<u8>, Option<oneshot::Sender<()>>)>, bool)>,
    dial: Option<String>,
}
impl St {
    fn cfg(&self, h: &str) -> Arc<rustls::ServerConfig> {
        if let Some(c) = self.cfgs.lock().unwrap().get(h) {
            return c.clone();
        }
        let mut p = rcgen::CertificateParams::new(vec![h.to_string()]).unwrap();
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let c = p.signed_by(&self.leaf, &self.issuer).unwrap();
        let mut s = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![c.der().clone()], PrivateKeyDer::Pkcs8(self.leaf.serialize_der().into()))
            .unwrap();
        s.alpn_protocols = vec![b"http/1.1".to_vec()];
        let s = Arc::new(s);
        self.cfgs.lock().unwrap().insert(h.into(), s.clone());
        s
    }
    async fn get(&self, a: &str) -> Result<Snd, E> {
        loop {
            let s = self.pool.lock().unwrap().get_mut(a).and_then(|v| v.pop());
            match s {
                Some(mut s) => {
                    if s.ready().await.is_ok() {
                        return Ok(s);
                    }
                }
                None => break,
            }
        }
        let t = TcpStream::connect(self.dial.as_deref().unwrap_or(a)).await?;
        t.set_nodelay(true)?;
        let h = a.rsplit_once(':').unwrap().0.to_string();
        let t = self.cli.connect(ServerName::try_from(h).map_err(e)?, t).await?;
        let (mut s, c) = hyper::client::conn::http1::handshake(TokioIo::new(t)).await.map_err(e)?;
        tokio::spawn(c);
        s.ready().await.map_err(e)?;
        Ok(s)
    }
}
struct PB {
    b: Incoming,
    s: Option<(Snd, Arc<St>, Arc<String>)>,
}
impl PB {
    fn fin(&mut self) {
        if let Some((s, st, a)) = self.s.take() {
            st.pool.lock().unwrap().entry(a.to_string()).or_default().push(s);
        }
    }
}
impl Body for PB {
    type Data = Bytes;
    type Error = hyper::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let r = Pin::new(&mut self.b).poll_frame(cx);
        if matches!(r, Poll::Ready(None)) || matches!(r, Poll::Ready(Some(Ok(_)))) && self.b.is_end_stream() {
            self.fin();
        }
        r
    }
    fn is_end_stream(&self) -> bool {
        self.b.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.b.size_hint()
    }
}
async fn one(st: Arc<St>, mut t: TcpStream) -> Result<(), E> {
    let mut b = Vec::with_capacity(512);
    while !b.ends_with(b"\r\n\r\n") {
        if t.read_buf(&mut b).await? == 0 {
            return Ok(());
        }
    }
    let l = std::str::from_utf8(&b).map_err(e)?;
    let a = l.split(' ').nth(1).ok_or_else(|| e("bad"))?.to_string();
    let h = a.rsplit_once(':').ok_or_else(|| e("bad"))?.0.to_string();
    drop(b);
    t.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let tls = tokio_rustls::TlsAcceptor::from(st.cfg(&h)).accept(t).await?;
    let a = Arc::new(a);
    hyper::server::conn::http1::Builder::new()
        .serve_connection(
            TokioIo::new(tls),
            service_fn(move |mut r: Request<Incoming>| {
                let (st, a) = (st.clone(), a.clone());
                async move {
                    r.headers_mut().insert(
                        hyper::header::AUTHORIZATION,
                        hyper::header::HeaderValue::from_static("Bearer REAL-SECRET-0123456789"),
                    );
                    let line = st.audit.as_ref().map(|_| {
                        format!(
                            "{{\"ts\":1,\"method\":\"{}\",\"host\":\"{}\",\"path\":\"{}\",\"pad\":\"{:0200}\"}}\n",
                            r.method(),
                            a,
                            r.uri().path(),
                            0
                        )
                        .into_bytes()
                    });
                    let mut s = st.get(&a).await?;
                    let resp = s.send_request(r).await.map_err(e)?;
                    if let (Some((tx, dur)), Some(l)) = (&st.audit, line) {
                        if *dur {
                            let (o, w) = oneshot::channel();
                            tx.send((l, Some(o))).map_err(e)?;
                            w.await.map_err(e)?;
                        } else {
                            tx.send((l, None)).map_err(e)?;
                        }
                    }
                    let (p, b) = resp.into_parts();
                    let mut pb = PB { b, s: Some((s, st, a)) };
                    if pb.b.is_end_stream() {
                        pb.fin();
                    }
                    Ok::<_, E>(Response::from_parts(p, pb))
                }
            }),
        )
        .await
        .map_err(e)?;
    Ok(())
}
#[tokio::main]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let pem = std::fs::read_to_string(&a[2]).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(
        &pem,
        rcgen::KeyPair::from_pem(&std::fs::read_to_string(&a[3]).unwrap()).unwrap(),
    )
    .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for c in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(c.unwrap()).unwrap();
    }
    let audit = if a[5] == "none" {
        None
    } else {
        let dur = a[5] == "durable";
        let (tx, rx) = std::sync::mpsc::sync_channel::<(Vec<u8>, Option<oneshot::Sender<()>>)>(10000);
        let mut f = std::fs::OpenOptions::new().create(true).append(true).open(&a[4]).unwrap();
        std::thread::spawn(move || {
            let mut buf = Vec::new();
            let mut w = Vec::new();
            while let Ok((l, o)) = rx.recv() {
                buf.extend(l);
                w.extend(o);
                while let Ok((l, o)) = rx.try_recv() {
                    buf.extend(l);
                    w.extend(o);
                    if buf.len() > 1 << 20 {
                        break;
                    }
                }
                f.write_all(&buf).unwrap();
                if dur {
                    f.sync_data().unwrap();
                }
                buf.clear();
                for o in w.drain(..) {
                    let _ = o.send(());
                }
            }
        });
        Some((tx, dur))
    };
    let cli = tokio_rustls::TlsConnector::from(Arc::new(
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
    ));
    let st = Arc::new(St {
        issuer,
        leaf: rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(),
        cfgs: Default::default(),
        pool: Default::default(),
        cli,
        audit,
        dial: a.get(6).cloned(),
    });
    let sk = tokio::net::TcpSocket::new_v4().unwrap();
    sk.set_reuseaddr(true).unwrap();
    sk.set_nodelay(true).unwrap();
    sk.bind(SocketAddr::from(([127, 0, 0, 1], a[1].parse().unwrap()))).unwrap();
    let l = sk.listen(4096).unwrap();
    loop {
        if let Ok((t, _)) = l.accept().await {
            let st = st.clone();
            tokio::spawn(async move {
                let _ = one(st, t).await;
            });
        }
    }
}
