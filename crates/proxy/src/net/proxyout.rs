//! The way out through a corporate proxy: CONNECT (RFC 9110 9.3.6), then TLS with the upstream inside it.
//!
//! The proxy resolves names, because behind one nobody else can; so that names cannot be checked here. What can be is:
//! a host that is an address passes the same table as ever, and names that mean this machine or a metadata service are
//! refused. Hosts of `bypass` are dialled directly, with every check. The proxy's own address may be private.

use http::HeaderValue;
use model::canonical::{Host, Origin};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::address::{Blocked, blocked};
use super::dial::DialError;

/// The head of the proxy's answer; Squid's longest is about 1 KiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Names that mean the machine which resolves them, or what answers with its credentials.
const NAMES_BLOCKED: [&str; 4] = ["localhost", "metadata.google.internal", "metadata.goog", "instance-data"];

/// A proxy, how to log in to it, and what does not go through it.
#[derive(Clone)]
pub struct WayOut {
    host: Host,
    port: u16,
    authorization: Option<HeaderValue>,
    bypass: Vec<String>,
}

impl WayOut {
    /// `authorization` is the whole value of `Proxy-Authorization` (`Basic ..`), made by the wiring. `bypass` are
    /// domains; each covers what is under it.
    #[must_use]
    pub fn new(host: Host, port: u16, authorization: Option<HeaderValue>, bypass: Vec<String>) -> Self {
        Self { host, port, authorization, bypass }
    }

    pub(super) const fn host(&self) -> &Host {
        &self.host
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn serves(&self, host: &Host) -> bool {
        !self.bypass.iter().any(|domain| host.is_under(domain))
    }

    /// What can be checked of a host whose name somebody else resolves.
    pub(super) fn check(host: &Host) -> Result<(), DialError> {
        let unspecified = std::net::Ipv4Addr::UNSPECIFIED.into();
        let (address, why) = match host.address() {
            Some(address) => (address, blocked(address)),
            None if host.is_under("localhost") => (unspecified, Some(Blocked::Loopback)),
            None => (unspecified, NAMES_BLOCKED.contains(&host.as_str()).then_some(Blocked::Metadata)),
        };
        why.map_or(Ok(()), |why| Err(DialError::Blocked { host: host.clone(), address, why }))
    }

    /// Opens a tunnel to `origin` on a connection to the proxy.
    pub(super) async fn open(&self, mut tcp: TcpStream, origin: &Origin) -> Result<TcpStream, DialError> {
        let fail = |reason: String| DialError::Unreachable { host: origin.host.clone(), reason };
        tcp.write_all(&self.request(origin)).await.map_err(|error| fail(format!("proxy: {error}")))?;
        let mut answer = Vec::with_capacity(512);
        loop {
            match tcp.read_buf(&mut answer).await {
                Ok(0) => return Err(fail("proxy closed the connection".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(fail(format!("proxy: {error}"))),
            }
            match status(&answer) {
                // The upstream speaks second in TLS and in HTTP: octets after the head are the proxy's invention.
                Ok(Some((200..300, length))) if length == answer.len() => return Ok(tcp),
                Ok(Some((407, _))) => {
                    return Err(fail("proxy asks for a log-in; set it in the configuration".to_owned()));
                }
                Ok(Some((status, _))) => return Err(fail(format!("proxy answers {status}"))),
                Ok(None) if answer.len() < ANSWER_BYTES_MAX => {}
                Ok(None) | Err(()) => return Err(fail("proxy does not speak HTTP".to_owned())),
            }
        }
    }

    fn request(&self, origin: &Origin) -> Vec<u8> {
        let authority = format!("{}:{}", origin.host, origin.port);
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
        if let Some(value) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }
}

/// Status and length of the head, once it is whole.
fn status(answer: &[u8]) -> Result<Option<(u16, usize)>, ()> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(length)) => Ok(Some((response.code.unwrap_or_default(), length))),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(()),
    }
}
