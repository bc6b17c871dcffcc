//! A plain HTTPS client through a proxy, as any agent has one: for the demo's agent and for `credential test`.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Opens a tunnel to `host` through `proxy` (`http://user:token@address`), trusting the certificates in `bundle` (PEM).
///
/// # Errors
/// The proxy refuses or cannot be reached; the certificate does not verify.
pub async fn connect(proxy: &str, bundle: &str, host: &str) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
    let rest = proxy.strip_prefix("http://").ok_or_else(|| anyhow!("HTTPS_PROXY is not an http:// address"))?;
    let (user, address) = rest.trim_end_matches('/').rsplit_once('@').context("HTTPS_PROXY carries no token")?;
    let mut tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let authorization = STANDARD.encode(user);
    let connect = format!(
        "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\nProxy-Authorization: Basic {authorization}\r\n\r\n"
    );
    tcp.write_all(connect.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await?);
    }
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(anyhow!("the gateway refused the tunnel: {}", String::from_utf8_lossy(&head)));
    }
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle)? {
        // A bundle may hold certificates that rustls does not take; what matters is that ours is among them.
        let _ = roots.add(certificate?);
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(ServerName::try_from(host.to_owned())?, tcp).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
