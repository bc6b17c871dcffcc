//! One canonical request: ambiguity is refused, never normalised; the bytes judged are the bytes hashed, approved,
//! recorded and sent. After this module nobody parses a URL again.

mod base;
mod headers;
mod host;
mod path;
mod query;

pub use base::parse_base;
pub use headers::{Cleaned, DROPPED, DROPPED_FAMILIES, Dropped, KEPT, clean, is_hop_by_hop};
pub use host::{Host, parse_authority};
pub use path::CanonicalPath;
pub use query::{CanonicalQuery, METHOD_OVERRIDES, pairs};

use http::{HeaderMap, Method};

/// Why a request is not canonical. Attack rows A1-A15, B16-B33 and C34-C45 of the catalogue each end in one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The method is not one we know, or is never passed on (TRACE, TRACK, CONNECT).
    #[error("method is not allowed; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")]
    Method,
    /// The host is not a lower-case-able DNS name or a canonical address.
    #[error(
        "host is not a plain DNS name or address; give it without user part, trailing dot, escapes or brackets on names"
    )]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// No host, two hosts, or hosts that disagree.
    #[error("hosts of the request disagree or are missing; send exactly one")]
    HostDisagrees,
    /// The target is not in origin form.
    #[error("request target must be a path that begins with `/`")]
    Target,
    /// `.` or `..` as a segment, raw or encoded.
    #[error("path holds a dot segment; send the path it means")]
    DotSegment,
    /// A backslash, raw or encoded.
    #[error("path holds a backslash")]
    Backslash,
    /// A `;`.
    #[error("path or query holds a raw or encoded `;`; encode it as a value of a query, or leave it out")]
    Semicolon,
    /// An empty segment.
    #[error("path holds an empty segment (`//`)")]
    EmptySegment,
    /// `%2f` where the service does not declare the parameter opaque.
    #[error("path holds an encoded slash where this service takes none")]
    EncodedSlash,
    /// A percent sign that begins no valid escape.
    #[error("percent sign without two hex digits")]
    Percent,
    /// Escapes inside escapes.
    #[error("path is escaped twice")]
    DoubleEncoding,
    /// A control character, raw or encoded.
    #[error("control character in path or query")]
    Control,
    /// Octets that are not UTF-8 after decoding, or raw octets above 0x7f.
    #[error("path or query is not UTF-8, or holds raw octets above 0x7f; escape them")]
    Encoding,
    /// A segment that ends in a dot or a space.
    #[error("path segment ends in a dot or begins or ends in a space")]
    SegmentEdge,
    /// More of something than the bound.
    #[error("target, segments or parameters over the bound")]
    TooMany,
    /// A parameter that asks for another method.
    #[error("parameter overrides the method; send the method itself")]
    MethodOverride,
    /// A header name with an underscore, or a value with a control character.
    #[error("header `_` alias or control character; use the name with `-`")]
    Header,
    /// Both Content-Length and Transfer-Encoding, several lengths, or a coding other than chunked.
    #[error("message length is ambiguous")]
    Framing,
    /// An Upgrade other than to WebSocket, or one with a body.
    #[error("upgrade is not a plain WebSocket handshake")]
    Upgrade,
    /// An expectation other than `100-continue` (RFC 9110 10.1.1).
    #[error("expectation cannot be met; send `Expect: 100-continue` or none")]
    Expect,
    /// A trailer that would change authentication, framing or routing.
    #[error("trailer names a field that may not come late")]
    Trailer,
}

/// How the request reaches its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over verified TLS.
    Https,
    /// In clear text; no credential is ever put on.
    Http,
    /// No HTTP at all: a connection whose octets pass as they are. It has no default port.
    Tcp,
    /// PostgreSQL's own protocol, version 3. The path is the database.
    Postgres,
}

impl Scheme {
    /// `https`, `http`, `tcp` or `postgres`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Postgres => "postgres",
        }
    }

    /// 443, 80 or 5432; no port is the default of a bare connection.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
            Self::Tcp => 0,
            Self::Postgres => 5432,
        }
    }
}

/// What is known of the body before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    Empty,
    /// Exactly this many octets.
    Known(u64),
    /// It ends when it ends (chunked, or HTTP/2 without a length).
    Streamed,
}

/// Where a request goes: scheme, host, port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How.
    pub scheme: Scheme,
    /// Name or address.
    pub host: Host,
    /// Port.
    pub port: u16,
}

impl std::fmt::Display for Origin {
    /// The authority as `Host` carries it: without the scheme's default port.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.port == self.scheme.default_port() {
            write!(out, "{}", self.host)
        } else {
            write!(out, "{}:{}", self.host, self.port)
        }
    }
}

/// The one request. Its parts can be read, never edited: injection consumes it.
#[derive(Debug)]
pub struct CanonicalRequest {
    method: Method,
    origin: Origin,
    path: CanonicalPath,
    query: CanonicalQuery,
    headers: HeaderMap,
    length: Length,
    websocket: bool,
}

impl CanonicalRequest {
    /// The same request once more, for the case that it must be sent again: the octets that were judged, not a new one.
    #[must_use]
    pub fn repeated(&self) -> Self {
        Self {
            method: self.method.clone(),
            origin: self.origin.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            length: self.length,
            websocket: self.websocket,
        }
    }

    /// Makes the canonical request of an origin-form target, or says why there is none.
    ///
    /// `origin` is what the connection was made for, already equal to every host that the request names; `headers`
    /// have been [`clean`]ed.
    ///
    /// # Errors
    /// The first [`Malformed`] found.
    pub fn new(
        method: Method,
        origin: Origin,
        target: &str,
        cleaned: Cleaned,
        length: Length,
    ) -> Result<Self, Malformed> {
        match method.as_str() {
            "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => {}
            _ => return Err(Malformed::Method),
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let websocket = cleaned.websocket;
        if websocket && (method != Method::GET || length != Length::Empty) {
            return Err(Malformed::Upgrade);
        }
        Ok(Self {
            method,
            origin,
            path: CanonicalPath::parse(path)?,
            query: CanonicalQuery::parse(query)?,
            headers: cleaned.headers,
            length,
            websocket,
        })
    }

    /// A bare connection to a host, as it is judged: CONNECT, without path and fields.
    ///
    /// # Errors
    /// None; the root is a path.
    pub fn connection(host: Host, port: u16) -> Result<Self, Malformed> {
        Self::opening(Origin { scheme: Scheme::Tcp, host, port }, "/")
    }

    /// A connection to a database of a server, as it is judged: CONNECT, and the database as path.
    ///
    /// # Errors
    /// The name of the database cannot stand in a path.
    pub fn database(host: Host, port: u16, database: &str) -> Result<Self, Malformed> {
        Self::opening(Origin { scheme: Scheme::Postgres, host, port }, &format!("/{database}"))
    }

    fn opening(origin: Origin, path: &str) -> Result<Self, Malformed> {
        Ok(Self {
            method: Method::CONNECT,
            origin,
            path: CanonicalPath::parse(path)?,
            query: CanonicalQuery::parse(None)?,
            headers: HeaderMap::new(),
            length: Length::Empty,
            websocket: false,
        })
    }

    /// The method; one of seven, or CONNECT for a [bare connection](Self::connection) and one to a [database](Self::database).
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path.
    #[must_use]
    pub const fn path(&self) -> &CanonicalPath {
        &self.path
    }

    /// The query.
    #[must_use]
    pub const fn query(&self) -> &CanonicalQuery {
        &self.query
    }

    /// The header fields that will be sent, before injection. No `Host`, nothing hop-by-hop.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What is known of the body.
    #[must_use]
    pub const fn length(&self) -> Length {
        self.length
    }

    /// Whether this is a WebSocket handshake (RFC 6455 4.1).
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// Path and query as they are sent.
    #[must_use]
    pub fn target(&self) -> String {
        match self.query.raw() {
            Some(query) => format!("{}?{query}", self.path.raw()),
            None => self.path.raw().to_owned(),
        }
    }

    /// Feeds everything that was judged to `sink`, each part with its length before it, so that no two requests feed
    /// the same octets. The digest of this is what approvals and permits are bound to.
    pub fn digest_input(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut part = |bytes: &[u8]| {
            sink(&(bytes.len() as u64).to_be_bytes());
            sink(bytes);
        };
        part(self.method.as_str().as_bytes());
        part(self.origin.scheme.as_str().as_bytes());
        part(self.origin.host.as_str().as_bytes());
        part(&self.origin.port.to_be_bytes());
        part(self.path.raw().as_bytes());
        part(self.query.raw().unwrap_or_default().as_bytes());
        part(&[u8::from(self.query.raw().is_some()), u8::from(self.websocket)]);
        for (name, value) in &self.headers {
            part(name.as_str().as_bytes());
            part(value.as_bytes());
        }
    }

    /// Takes the request apart for injection.
    #[must_use]
    pub fn into_parts(self) -> (Method, Origin, CanonicalPath, CanonicalQuery, HeaderMap) {
        (self.method, self.origin, self.path, self.query, self.headers)
    }
}
