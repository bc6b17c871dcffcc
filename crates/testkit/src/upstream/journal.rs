//! What arrived at an upstream: the oracle SENT.

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

use crate::ws::Message;

/// The protocol of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its target: path and query, or the absolute form, as sent.
    pub target: String,
    /// `:authority` or `Host`.
    pub authority: String,
    /// Its header fields; names in lower case, values as sent.
    pub headers: HeaderMap,
    /// Its trailer fields.
    pub trailers: HeaderMap,
    /// Its body, up to [`BODY_KEPT`] octets.
    pub body: Bytes,
    /// Octets of the whole body.
    pub body_bytes: u64,
    /// SHA-256 of the whole body, in hex.
    pub body_sha256: String,
    /// Counts up from 0 with every accepted connection.
    pub connection: u64,
    /// HTTP/1 or HTTP/2.
    pub protocol: Protocol,
    /// The name of the TLS handshake, where there was one.
    pub sni: Option<String>,
}

/// Of a longer body the journal keeps this much, and the digest of all of it.
pub const BODY_KEPT: usize = 32 * 1024 * 1024;

impl Seen {
    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        let target = self.target.split('?').next().unwrap_or_default();
        match target.find("://") {
            Some(at) => target[at + 3..].find('/').map_or("/", |slash| &target[at + 3 + slash..]),
            None => target,
        }
    }

    /// The first value of a query parameter, percent-encoding left on.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Every value of a header field.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }

    /// The one value of a header field; fails the test where there is none or more than one.
    #[must_use]
    pub fn value(&self, name: &str) -> String {
        let mut values = self.values(name);
        assert_eq!(values.len(), 1, "`{name}` should be there once: {:?}", self.headers);
        values.remove(0)
    }

    /// How often this text stands anywhere in the request: target, header fields, trailers, body.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        let fields = self.headers.iter().chain(&self.trailers);
        let heads: usize = fields.map(|(_, value)| occurrences(value.as_bytes(), text.as_bytes())).sum();
        heads + occurrences(self.target.as_bytes(), text.as_bytes()) + occurrences(&self.body, text.as_bytes())
    }
}

fn occurrences(hay: &[u8], needle: &[u8]) -> usize {
    if needle.is_empty() || hay.len() < needle.len() {
        return 0;
    }
    hay.windows(needle.len()).filter(|window| *window == needle).count()
}

/// Every request in order of arrival, and the connections.
#[derive(Debug, Default)]
pub struct Journal {
    seen: Mutex<Vec<Seen>>,
    messages: Mutex<Vec<Message>>,
    connections: std::sync::atomic::AtomicU64,
    handshakes: std::sync::atomic::AtomicU64,
}

impl Journal {
    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// How many requests arrived.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.lock().len()
    }

    /// Whether none arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latest; fails the test where there is none.
    #[must_use]
    pub fn last(&self) -> Seen {
        self.seen.lock().last().cloned().expect("no request arrived")
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }

    /// Every message and control frame that came by a WebSocket, in order of arrival.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().clone()
    }

    pub(super) fn heard(&self, message: Message) {
        self.messages.lock().push(message);
    }

    /// TCP connections accepted.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// TLS handshakes finished.
    #[must_use]
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn accepted(&self) -> u64 {
        self.connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn shaken(&self) {
        self.handshakes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }

    pub(super) fn note(&self, seen: Seen) {
        self.seen.lock().push(seen);
    }
}
