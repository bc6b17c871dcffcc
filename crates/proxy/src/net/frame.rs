//! The strict reading of an HTTP/1.1 byte stream: where each message begins and ends, or why that is not certain.
//!
//! Pure: octets in, a [`Verdict`] out. hyper parses the same octets again afterwards, so that two parsers must agree
//! before anything happens; whatever one proxy in the field reads differently from another (RFC 9112 11.2, attack row
//! C34) is refused here, never repaired.

use std::mem::MaybeUninit;

use httparse::{EMPTY_HEADER, Header, Status};
use model::bounds::{HEAD_BYTES_MAX, HEADER_FIELDS_MAX, TARGET_BYTES_MAX};
use model::canonical::Malformed;

/// Trailer fields of one request; gRPC and checksums use one to three.
const TRAILER_FIELDS_MAX: usize = 16;
/// Digits of a chunk size: what a `u64` holds.
const CHUNK_DIGITS_MAX: u8 = 16;

/// Why a connection is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Ambiguous or broken.
    Malformed(Malformed),
    /// A head or trailers over the bound.
    TooLarge,
    /// A head not finished in time, a body under the least rate, or silence. Answered by closing.
    TooSlow,
}

/// How the body of a message is delimited (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many octets; 0 where there is none.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What a checked head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How its body is delimited.
    pub body: Body,
    /// It has an `Upgrade` field.
    pub upgrade: bool,
}

/// What became of the octets pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// So many octets from the front may be handed on. Without a fault the rest begins an unfinished head or
    /// trailer section: push it again, with what follows it.
    pub accepted: usize,
    /// Nothing after `accepted` may ever be handed on.
    pub fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Size { value: u64, digits: u8 },
    SizeEnd(u64),
    Chunk(u64),
    ChunkCr,
    ChunkLf,
    Trailers,
}

/// The state between two pushes: a few octets, no buffer.
#[derive(Clone, Debug)]
pub struct Framing {
    state: State,
    /// The last whole head asked for an upgrade.
    upgrade: bool,
    /// Octets of the unfinished block that were already searched for its end.
    scanned: usize,
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head, upgrade: false, scanned: 0 }
    }
}

/// Where the stream stands; time limits differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    #[default]
    /// A message has ended or none has begun.
    Between,
    /// In a head or in trailers.
    Head,
    /// In a body.
    Body,
}

impl Framing {
    /// Where the stream stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Head if self.scanned == 0 => Standing::Between,
            State::Head | State::Trailers => Standing::Head,
            _ => Standing::Body,
        }
    }

    /// Whether a message's head has passed and its end has not come: a fault now is a fault of its body.
    #[must_use]
    pub fn in_message(&self) -> bool {
        self.state != State::Head
    }

    /// Whether the last whole head asked for an upgrade.
    #[must_use]
    pub fn awaits_upgrade(&self) -> bool {
        self.upgrade && self.state == State::Head
    }

    /// Reads on. `bytes` begins with what an earlier push did not accept.
    ///
    /// Cost: one pass of `memchr` and one of httparse over a head; constant over a body or a chunk.
    pub fn push(&mut self, bytes: &[u8]) -> Verdict {
        let mut accepted = 0;
        loop {
            let rest = bytes.get(accepted..).unwrap_or_default();
            if rest.is_empty() {
                return Verdict { accepted, fault: None };
            }
            match self.step(rest) {
                Ok(0) => return Verdict { accepted, fault: None },
                Ok(taken) => accepted += taken,
                Err(fault) => return Verdict { accepted, fault: Some(fault) },
            }
        }
    }

    /// Takes at least one octet of `rest` (not empty), or none where a block is unfinished.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        let first = rest.first().copied().unwrap_or_default();
        match self.state {
            State::Head => self.head(rest),
            State::Length(left) => {
                let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                self.state = if left == 0 { State::Head } else { State::Length(left) };
                Ok(taken)
            }
            State::Size { value, digits } => self.size(first, value, digits),
            State::SizeEnd(size) => {
                self.state = if size == 0 { State::Trailers } else { State::Chunk(size) };
                expect(first, b'\n')
            }
            State::Chunk(left) => {
                let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - taken as u64;
                self.state = if left == 0 { State::ChunkCr } else { State::Chunk(left) };
                Ok(taken)
            }
            State::ChunkCr => {
                self.state = State::ChunkLf;
                expect(first, b'\r')
            }
            State::ChunkLf => {
                self.state = State::Size { value: 0, digits: 0 };
                expect(first, b'\n')
            }
            State::Trailers => {
                let Some(end) = self.block_end(rest)? else { return Ok(0) };
                check_trailers(rest.get(..end).unwrap_or_default())?;
                self.state = State::Head;
                Ok(end)
            }
        }
    }

    fn head(&mut self, rest: &[u8]) -> Result<usize, Fault> {
        // A method begins with a letter; an empty line, a TLS record or a fold does not. Said at once, not at the end
        // of a head that may never come.
        if !rest.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(Fault::Malformed(Malformed::Framing));
        }
        let Some(end) = self.block_end(rest)? else { return Ok(0) };
        let head = check_head(rest.get(..end).unwrap_or_default(), Place::Inner)?;
        self.upgrade = head.upgrade;
        self.state = match head.body {
            Body::Length(0) => State::Head,
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Size { value: 0, digits: 0 },
        };
        Ok(end)
    }

    /// `chunk-size CRLF`: hex digits alone; extensions (RFC 9112 7.1.1) have no use and a history, so they are refused.
    /// An octet at a time, as the rest of a chunk's border: where the stream was cut must not change what passes.
    fn size(&mut self, first: u8, value: u64, digits: u8) -> Result<usize, Fault> {
        let digit = match first {
            b'0'..=b'9' => first - b'0',
            b'a'..=b'f' => first - b'a' + 10,
            b'A'..=b'F' => first - b'A' + 10,
            b'\r' if digits > 0 => {
                self.state = State::SizeEnd(value);
                return Ok(1);
            }
            _ => return Err(Fault::Malformed(Malformed::Framing)),
        };
        if digits == CHUNK_DIGITS_MAX {
            return Err(Fault::Malformed(Malformed::Framing));
        }
        self.state = State::Size { value: (value << 4) | u64::from(digit), digits: digits + 1 };
        Ok(1)
    }

    fn block_end(&mut self, block: &[u8]) -> Result<Option<usize>, Fault> {
        Self::block_end_from(block, &mut self.scanned)
    }

    /// The length of the block of lines (a head, or trailers) that `block` begins with, its empty line included; `None`
    /// when it has not ended. `scanned` remembers how far an earlier call got, and is 0 at first.
    ///
    /// # Errors
    /// A line that ends in a bare LF, or more than [`HEAD_BYTES_MAX`] octets.
    pub fn block_end_from(block: &[u8], scanned: &mut usize) -> Result<Option<usize>, Fault> {
        let from = (*scanned).min(block.len());
        let before = |at: usize, back: usize| at.checked_sub(back).and_then(|at| block.get(at)).copied();
        for found in memchr::memchr_iter(b'\n', block.get(from..).unwrap_or_default()) {
            let at = from + found;
            if before(at, 1) != Some(b'\r') {
                return Err(Fault::Malformed(Malformed::Framing));
            }
            if at == 1 || before(at, 2) == Some(b'\n') {
                *scanned = 0;
                return if at < HEAD_BYTES_MAX { Ok(Some(at + 1)) } else { Err(Fault::TooLarge) };
            }
        }
        *scanned = block.len();
        if block.len() < HEAD_BYTES_MAX { Ok(None) } else { Err(Fault::TooLarge) }
    }
}

fn expect(found: u8, wanted: u8) -> Result<usize, Fault> {
    if found == wanted { Ok(1) } else { Err(Fault::Malformed(Malformed::Framing)) }
}

/// Where a head stands, which decides what it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// First on a raw connection: CONNECT is allowed, and needs no `Host`.
    First,
    /// Anywhere else: no CONNECT.
    Inner,
}

/// What one pass over the fields finds.
#[derive(Default)]
struct Seen {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    keeps_alive: bool,
    upgrade: bool,
}

/// Checks one whole head, its empty line included, and says how its body is delimited.
///
/// # Errors
/// The first [`Fault`] found.
pub fn check_head(head: &[u8], place: Place) -> Result<Head, Fault> {
    let mut fields: [MaybeUninit<Header<'_>>; HEADER_FIELDS_MAX] = [const { MaybeUninit::uninit() }; HEADER_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut fields) {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Fault::Malformed(Malformed::Framing)),
        Err(error) => return Err(not_http(error)),
    }
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let connect = method == "CONNECT";
    if connect && place == Place::Inner {
        return Err(Fault::Malformed(Malformed::Method));
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    // A fragment never belongs into a request (RFC 9112 3.2); the URI library would drop it silently.
    if let Some(bad) = target.bytes().find(|byte| !byte.is_ascii_graphic() || *byte == b'#') {
        let why = match bad {
            b'#' => Malformed::Target,
            _ if bad.is_ascii() => Malformed::Control,
            _ => Malformed::Encoding,
        };
        return Err(Fault::Malformed(why));
    }
    let seen = check_fields(head, request.headers)?;
    let old = request.version == Some(0);
    let hosts_fine = if old || connect { seen.hosts <= 1 } else { seen.hosts == 1 };
    if !hosts_fine {
        return Err(Fault::Malformed(Malformed::HostDisagrees));
    }
    // HTTP/1.0 knows no chunks, and its keep-alive was never specified (row C42); CONNECT has neither body nor end.
    let framing_fine = match (seen.length, seen.chunked) {
        (Some(_), true) => false,
        (_, true) => !old && !connect,
        (length, false) => !connect || length.unwrap_or_default() == 0,
    };
    if !framing_fine || old && seen.keeps_alive && !connect {
        return Err(Fault::Malformed(Malformed::Framing));
    }
    let body = if seen.chunked { Body::Chunked } else { Body::Length(seen.length.unwrap_or_default()) };
    Ok(Head { body, upgrade: seen.upgrade })
}

fn check_fields(head: &[u8], fields: &[Header<'_>]) -> Result<Seen, Fault> {
    let framing = Fault::Malformed(Malformed::Framing);
    let mut seen = Seen::default();
    for field in fields {
        // By length first: of 15 usual fields none is compared.
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("host") => {
                seen.hosts += 1;
                if field.value.is_empty() || !stands_plainly(head, field.value) {
                    return Err(Fault::Malformed(Malformed::HostDisagrees));
                }
            }
            7 if field.name.eq_ignore_ascii_case("upgrade") => seen.upgrade = true,
            10 if field.name.eq_ignore_ascii_case("connection") => {
                seen.keeps_alive |= field.value.eq_ignore_ascii_case(b"keep-alive");
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                if seen.length.is_some() || !stands_plainly(head, field.value) {
                    return Err(framing);
                }
                seen.length = Some(parse_length(field.value).ok_or(framing)?);
            }
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                let plain = matches!(field.value, b"chunked" | b"CHUNKED") && stands_plainly(head, field.value);
                if seen.chunked || !plain {
                    return Err(framing);
                }
                seen.chunked = true;
            }
            _ => {}
        }
    }
    Ok(seen)
}

/// Whether nothing but at most one space stands between the colon, the value and the end of its line. httparse trims
/// tabs and runs of spaces, as RFC 9110 5.6.3 allows; other parsers trim more or less than that.
fn stands_plainly(head: &[u8], value: &[u8]) -> bool {
    let Some(at) = (value.as_ptr() as usize).checked_sub(head.as_ptr() as usize) else { return false };
    let before = |back: usize| at.checked_sub(back).and_then(|at| head.get(at)).copied();
    let colon = before(1) == Some(b':') || (before(1) == Some(b' ') && before(2) == Some(b':'));
    colon && head.get(at + value.len()..).is_some_and(|after| after.starts_with(b"\r\n"))
}

/// Digits alone, without leading zeros, at most 18 of them (an exabyte).
fn parse_length(value: &[u8]) -> Option<u64> {
    let plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if !plain || (value.len() > 1 && value.first() == Some(&b'0')) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

fn not_http(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::TooManyHeaders => Fault::TooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Fault::Malformed(Malformed::Header),
        _ => Fault::Malformed(Malformed::Framing),
    }
}

fn check_trailers(block: &[u8]) -> Result<(), Fault> {
    let mut fields = [EMPTY_HEADER; TRAILER_FIELDS_MAX];
    match httparse::parse_headers(block, &mut fields) {
        Ok(Status::Complete((length, fields))) if length == block.len() => {
            let fine = fields.iter().all(|field| trailer_allowed(field.name));
            if fine { Ok(()) } else { Err(Fault::Malformed(Malformed::Trailer)) }
        }
        Ok(_) => Err(Fault::Malformed(Malformed::Framing)),
        Err(error) => Err(not_http(error)),
    }
}

/// Names that no request trailer may have, beside those with one of [`LATE_PARTS`] in them (RFC 9110 6.5.1: framing,
/// routing, request modifiers, authentication, response control, content).
const LATE_NAMES: [&str; 21] = [
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "max-forwards",
    "range",
    "content-length",
    "content-encoding",
    "content-type",
    "content-range",
    "cache-control",
    "pragma",
    "date",
    "via",
    "age",
    "vary",
    "location",
    "prefer",
];
const LATE_PARTS: [&str; 12] = [
    "auth",
    "token",
    "key",
    "secret",
    "cookie",
    "session",
    "password",
    "signature",
    "host",
    "forward",
    "method",
    "url",
];

/// Whether a request trailer may have this name. A trailer comes after the decision, so that nothing that changes
/// authentication, framing or routing may come in one (row C41). For HTTP/2 the caller asks for each name itself.
#[must_use]
pub fn trailer_allowed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !LATE_NAMES.contains(&name.as_str())
        && !name.starts_with("proxy-")
        && !name.starts_with("if-")
        && !name.contains('_')
        && !LATE_PARTS.iter().any(|part| name.contains(part))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
pub(super) mod tests;
