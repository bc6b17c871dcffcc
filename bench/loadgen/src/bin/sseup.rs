//! TLS upstream for SSE: `sseup PORT CERT KEY`. GET /sse answers text/event-stream, one event each 20 ms with
//! the sender's CLOCK_REALTIME in ns. Any other path answers a 200 with `{}`.
use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let certs: Vec<_> = CertificateDer::pem_file_iter(&a[2]).unwrap().map(|c| c.unwrap()).collect();
    let key = PrivateKeyDer::from_pem_file(&a[3]).unwrap();
    let mut cfg = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .unwrap();
    cfg.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acc = tokio_rustls::TlsAcceptor::from(Arc::new(cfg));
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async move {
        let l = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", a[1])).await.unwrap();
        loop {
            let (t, _) = l.accept().await.unwrap(); let acc = acc.clone(); let _ = t.set_nodelay(true);
            tokio::spawn(async move {
                let mut s = match acc.accept(t).await { Ok(s) => s, Err(_) => return };
                let mut b = Vec::new();
                loop {
                    while !b.windows(4).any(|w| w == b"\r\n\r\n") { match s.read_buf(&mut b).await { Ok(0) | Err(_) => return, _ => {} } }
                    let sse = b.starts_with(b"GET /sse"); b.clear();
                    if !sse { if s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}").await.is_err() { return; } let _ = s.flush().await; continue; }
                    if s.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n").await.is_err() { return; }
                    loop {
                        let ts = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
                        let e = format!("data: {ts} token\n\n"); let c = format!("{:x}\r\n{e}\r\n", e.len());
                        if s.write_all(c.as_bytes()).await.is_err() || s.flush().await.is_err() { return; }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            });
        }
    });
}
