//! A client that sends exactly the octets it is given: plain, through TLS, or through a CONNECT tunnel. Blocking, with a
//! time-out on every read, so that a gateway that hangs fails the test instead of stopping the suite.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long one read may stay silent.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection, encrypted or not.
pub enum Wire {
    /// Clear text.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if matches!(self, Self::Plain(_)) { "Wire::Plain" } else { "Wire::Tls" })
    }
}

impl Read for Wire {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(to),
            Self::Tls(tls) => tls.read(to),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(from),
            Self::Tls(tls) => tls.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

impl Wire {
    /// Opens TCP to `to`.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect_timeout(&to, SILENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(SILENCE))?;
        tcp.set_write_timeout(Some(SILENCE))?;
        Ok(Self::Plain(tcp))
    }

    /// Changes how long one read may stay silent.
    pub fn silence(&self, at_most: Duration) -> io::Result<()> {
        self.tcp().set_read_timeout(Some(at_most))
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref(),
        }
    }

    /// Starts TLS with this name and these parameters; an error where the handshake fails.
    pub fn tls(self, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let Self::Plain(mut tcp) = self else { return Err(io::Error::other("TLS inside TLS")) };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut tcp)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, tcp))))
    }

    /// What ALPN agreed on.
    #[must_use]
    pub fn alpn(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        }
    }

    /// The certificate that the server showed, DER.
    #[must_use]
    pub fn certificate(&self) -> Option<Vec<u8>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.conn.peer_certificates()?.first().map(|cert| cert.to_vec()),
        }
    }

    /// Sends CONNECT for `authority` with these extra header lines and reads the answer's head.
    pub fn connect(&mut self, authority: &str, extra: &str) -> io::Result<Answer> {
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{extra}\r\n");
        self.write_all(head.as_bytes())?;
        self.flush()?;
        let mut got = Vec::new();
        while !ends_head(&got) {
            let mut one = [0u8; 1];
            if self.read(&mut one)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed during CONNECT"));
            }
            got.push(one[0]);
        }
        let mut answer = Answer::parse_head(&got).ok_or_else(|| io::Error::other("no HTTP answer to CONNECT"))?.0;
        if answer.status != 200 {
            answer.body = self.read_body(&answer, Vec::new(), &mut got)?;
        }
        answer.wire = got;
        Ok(answer)
    }

    /// Sends these octets.
    pub fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        self.write_all(octets)?;
        self.flush()
    }

    /// Says that nothing more comes from us; the other direction stays open.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Self::Tls(tls) = self {
            tls.conn.send_close_notify();
            tls.flush()?;
        }
        self.tcp().shutdown(Shutdown::Write)
    }

    /// Reads one whole answer to a request with this method: interim answers, head, body, trailers.
    pub fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut wire = Vec::new();
        let mut interim = Vec::new();
        loop {
            let mut got = Vec::new();
            let end = loop {
                if let Some(end) = find(&got, b"\r\n\r\n") {
                    break end + 4;
                }
                let mut piece = [0u8; 1];
                if self.read(&mut piece)? == 0 {
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer");
                    return if got.is_empty() { Err(error) } else { Err(io::Error::other(lossy(&got))) };
                }
                got.push(piece[0]);
            };
            let (mut answer, _) = Answer::parse_head(&got[..end]).ok_or_else(|| io::Error::other(lossy(&got)))?;
            wire.extend_from_slice(&got);
            if (100..200).contains(&answer.status) && answer.status != 101 {
                interim.push(answer);
                continue;
            }
            if method != "HEAD" && ![101, 204, 304].contains(&answer.status) {
                answer.body = self.read_body(&answer, Vec::new(), &mut wire)?;
                answer.trailers = trailers_of(&wire);
            }
            answer.interim = interim;
            answer.wire = wire;
            return Ok(answer);
        }
    }

    /// Reads until the other side closes or falls silent for `quiet`; never an error.
    pub fn drain(&mut self, quiet: Duration) -> Vec<u8> {
        let _ = self.silence(quiet);
        let mut all = Vec::new();
        let mut piece = [0u8; 16 * 1024];
        while let Ok(size) = self.read(&mut piece) {
            if size == 0 {
                break;
            }
            all.extend_from_slice(&piece[..size]);
        }
        let _ = self.silence(SILENCE);
        all
    }

    fn more(&mut self, wire: &mut Vec<u8>, raw: &mut Vec<u8>) -> io::Result<bool> {
        let mut piece = [0u8; 16 * 1024];
        match self.read(&mut piece) {
            Ok(size) => {
                raw.extend_from_slice(&piece[..size]);
                wire.extend_from_slice(&piece[..size]);
                Ok(size > 0)
            }
            // TLS cut without close_notify: an end for a body that runs to the end of the connection.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_body(&mut self, answer: &Answer, mut raw: Vec<u8>, wire: &mut Vec<u8>) -> io::Result<Vec<u8>> {
        let chunked = answer.header("transfer-encoding").is_some_and(|value| value.to_lowercase().contains("chunked"));
        if chunked {
            loop {
                if let Some((body, _)) = dechunk(&raw) {
                    return Ok(body);
                }
                if !self.more(wire, &mut raw)? {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed inside a chunked body"));
                }
            }
        }
        let length: Option<usize> = answer.header("content-length").and_then(|value| value.parse().ok());
        while length.is_none_or(|length| raw.len() < length) {
            if !self.more(wire, &mut raw)? {
                let short = length.is_some_and(|length| raw.len() < length);
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "closed before Content-Length was reached");
                return if short { Err(error) } else { Ok(raw) };
            }
        }
        Ok(raw)
    }
}

/// One answer, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// The text behind the status.
    pub reason: String,
    /// Header fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body after undoing chunks; content codings still on.
    pub body: Vec<u8>,
    /// Trailer fields in order.
    pub trailers: Vec<(String, String)>,
    /// Interim answers (1xx) that came before.
    pub interim: Vec<Answer>,
    /// The octets as they came.
    pub wire: Vec<u8>,
}

impl Answer {
    /// The first value of a header field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body with its content codings undone; `None` where they cannot be.
    #[must_use]
    pub fn decoded(&self) -> Option<Vec<u8>> {
        let codings = self.header("content-encoding").unwrap_or_default();
        codings.rsplit(',').map(str::trim).try_fold(self.body.clone(), |body, one| crate::coding::decode(one, &body))
    }

    /// The body as text, codings undone where they can be.
    #[must_use]
    pub fn text(&self) -> String {
        lossy(&self.decoded().unwrap_or_else(|| self.body.clone()))
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap_or(serde_json::Value::Null)
    }

    /// `code` of a problem document (RFC 9457 with the house's members).
    #[must_use]
    pub fn code(&self) -> Option<String> {
        self.json().get("code")?.as_str().map(str::to_owned)
    }

    /// Reads a whole answer from octets at rest.
    #[must_use]
    pub fn parse(wire: &[u8]) -> Option<Self> {
        let (mut answer, used) = Self::parse_head(wire)?;
        if (100..200).contains(&answer.status) && answer.status != 101 {
            return Self::parse(&wire[used..]);
        }
        let rest = &wire[used..];
        let chunked = answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        answer.body = if chunked { dechunk_leniently(rest) } else { rest.to_vec() };
        answer.wire = wire.to_vec();
        Some(answer)
    }

    fn parse_head(wire: &[u8]) -> Option<(Self, usize)> {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut parsed = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(used) = parsed.parse(wire).ok()? else { return None };
        let headers = parsed.headers.iter().map(|field| (field.name.to_lowercase(), lossy(field.value))).collect();
        let reason = parsed.reason.unwrap_or_default().to_owned();
        Some((Self { status: parsed.code?, reason, headers, ..Self::default() }, used))
    }
}

fn ends_head(octets: &[u8]) -> bool {
    octets.ends_with(b"\r\n\r\n")
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// Undoes chunks (RFC 9112 7.1); `None` until the last chunk and its trailers are there.
fn dechunk(mut rest: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut body = Vec::new();
    loop {
        let line = find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            if rest.starts_with(b"\r\n") {
                return Some((body, Vec::new()));
            }
            let end = find(rest, b"\r\n\r\n")?;
            return Some((body, rest[..end + 2].to_vec()));
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// As [`dechunk`], but takes what there is of a body that was cut.
fn dechunk_leniently(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).ok().and_then(|text| text.split(';').next());
        let Some(size) = size.and_then(|text| usize::from_str_radix(text.trim(), 16).ok()) else { break };
        rest = &rest[line + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 || rest.len() < size + 2 {
            break;
        }
        rest = &rest[size + 2..];
    }
    body
}

fn trailers_of(wire: &[u8]) -> Vec<(String, String)> {
    let Some(head) = find(wire, b"\r\n\r\n") else { return Vec::new() };
    let Some((_, trailers)) = dechunk(&wire[head + 4..]) else { return Vec::new() };
    lossy(&trailers)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect()
}

/// The header line by which an agent names its session at the proxy (`Proxy-Authorization: Basic agent:token`).
#[must_use]
pub fn proxy_authorization(agent: &str, token: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{agent}:{token}"));
    format!("Proxy-Authorization: Basic {pair}\r\n")
}
