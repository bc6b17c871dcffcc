//! Bodies in signed chunks (S3 API Reference, "Signature calculations: transferring payload in multiple chunks", and the same with trailing
//! headers): `SIZE;chunk-signature=HEX`, the octets, and so on; the last chunk is empty, and a trailer may follow.
//!
//! Each signature covers the one before, so all are made anew. They are as long as those that came: the body's length stays, and nothing
//! of what is between them changes. A chunk's signature comes before its octets, so a chunk is held until it is whole, within a bound.

use std::mem::take;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use model::hex;

use super::key::SigningKey;

/// Octets of one chunk. SDKs send 64 KiB to 1 MiB (S3 asks for 8 KiB at least, and sets no upper bound but the part's).
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Octets of a chunk's first line: a size in hex, and a signature.
const LINE_BYTES_MAX: usize = 128;
/// Octets of a trailer: a few checksums.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
const SIGNATURE: &[u8] = b";chunk-signature=";
const TRAILER_SIGNATURE: &[u8] = b"x-amz-trailer-signature:";
const HEX_CHARS: usize = 64;

/// Why a body in chunks is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its signed chunks cannot be read: {0}")]
pub struct ChunkError(pub &'static str);

enum Expect {
    /// A chunk's first line.
    Line,
    /// So many octets of a chunk, behind its signature's place.
    Data(usize),
    /// The end of a body without a trailer: two octets.
    End,
    /// What follows the last chunk.
    Trailer,
    /// Nothing more.
    Over,
}

/// Signs the chunks of one body anew.
pub struct ChunkSigner {
    key: SigningKey,
    date: String,
    scope: String,
    previous: String,
    trailer: bool,
    expect: Expect,
    held: Vec<u8>,
    line: Vec<u8>,
}

impl ChunkSigner {
    pub(super) fn new(key: SigningKey, (date, scope): (&str, &str), seed: String, trailer: bool) -> Self {
        Self {
            key,
            date: date.to_owned(),
            scope: scope.to_owned(),
            previous: seed,
            trailer,
            expect: Expect::Line,
            held: Vec::new(),
            line: Vec::new(),
        }
    }

    /// Takes the next octets; gives what can be sent.
    ///
    /// # Errors
    /// A chunk over the bound, or what is no chunk.
    pub fn push(&mut self, octets: &[u8]) -> Result<Bytes, ChunkError> {
        self.held.extend_from_slice(octets);
        let mut out = Vec::with_capacity(octets.len());
        let mut at = 0;
        while let Some(taken) = self.step(at, &mut out)? {
            at += taken;
        }
        self.held.drain(..at);
        Ok(out.into())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// It ended early.
    pub fn finish(&mut self) -> Result<Bytes, ChunkError> {
        if matches!(self.expect, Expect::Trailer) {
            let held = take(&mut self.held);
            self.expect = Expect::Over;
            return self.sign_trailer(&held).map(Bytes::from);
        }
        match self.expect {
            Expect::Over if self.held.is_empty() => Ok(Bytes::new()),
            _ => Err(ChunkError("the body ended within one")),
        }
    }

    /// One step from `at`: how many octets it took, or that more must come.
    fn step(&mut self, at: usize, out: &mut Vec<u8>) -> Result<Option<usize>, ChunkError> {
        let rest = self.held.get(at..).unwrap_or_default();
        match self.expect {
            Expect::Line => {
                let Some(end) = memchr::memchr(b'\n', rest) else {
                    let long = rest.len() > LINE_BYTES_MAX;
                    return if long { Err(ChunkError("a first line is too long")) } else { Ok(None) };
                };
                let line = rest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
                let line =
                    line.filter(|line| line.len() <= LINE_BYTES_MAX).ok_or(ChunkError("a first line is none"))?;
                let (size, prefix) = size_of(line)?;
                self.line = prefix.to_vec();
                self.expect = Expect::Data(size);
                Ok(Some(end + 1))
            }
            Expect::Data(size) => {
                // The last chunk has no octets, and what follows it depends on the trailer.
                let whole = if size == 0 { 0 } else { size + 2 };
                let Some(chunk) = rest.get(..whole) else { return Ok(None) };
                let (data, end) = chunk.split_at_checked(size).unwrap_or_default();
                if size > 0 && end != b"\r\n" {
                    return Err(ChunkError("one is longer than it says"));
                }
                let signature = self.signature("AWS4-HMAC-SHA256-PAYLOAD", Some(b""), data);
                out.extend([&take(&mut self.line), SIGNATURE, signature.as_bytes(), b"\r\n", chunk].concat());
                self.previous = signature;
                self.expect = match (size, self.trailer) {
                    (0, false) => Expect::End,
                    (0, true) => Expect::Trailer,
                    _ => Expect::Line,
                };
                Ok(Some(whole))
            }
            Expect::End => {
                let Some(end) = rest.get(..2) else { return Ok(None) };
                if end != b"\r\n" {
                    return Err(ChunkError("the last one is not empty"));
                }
                out.extend_from_slice(end);
                self.expect = Expect::Over;
                Ok(Some(2))
            }
            Expect::Trailer if rest.len() > TRAILER_BYTES_MAX => Err(ChunkError("the trailer is too long")),
            Expect::Over if !rest.is_empty() => Err(ChunkError("something follows the last one")),
            Expect::Trailer | Expect::Over => Ok(None),
        }
    }

    /// A signature over the one before, the hash of nothing where the algorithm has it, and the hash of `data`.
    fn signature(&self, algorithm: &str, nothing: Option<&[u8]>, data: &[u8]) -> String {
        let Self { date, scope, previous, .. } = self;
        let hash = |octets: &[u8]| hex(digest(&SHA256, octets).as_ref());
        let nothing = nothing.map_or_else(String::new, |octets| hash(octets) + "\n");
        let text = format!("{algorithm}\n{date}\n{scope}\n{previous}\n{nothing}{}", hash(data));
        hex(&self.key.sign(text.as_bytes()))
    }

    /// The trailer with its signature made anew. Lines end in LF or CRLF; what is signed are `name:value` lines with LF.
    fn sign_trailer(&self, trailer: &[u8]) -> Result<Vec<u8>, ChunkError> {
        let mut signed = Vec::new();
        let mut out = Vec::with_capacity(trailer.len());
        let mut found = false;
        for line in trailer.split_inclusive(|byte| *byte == b'\n') {
            let plain = line.trim_ascii();
            if found && !plain.is_empty() {
                return Err(ChunkError("something follows the trailer's signature"));
            }
            let Some(theirs) = plain.strip_prefix(TRAILER_SIGNATURE) else {
                if !plain.is_empty() {
                    signed.extend([plain, b"\n"].concat());
                }
                out.extend_from_slice(line);
                continue;
            };
            if !is_signature(theirs) {
                return Err(ChunkError("the trailer's signature is none"));
            }
            found = true;
            let signature = self.signature("AWS4-HMAC-SHA256-TRAILER", None, &signed);
            let end = line.get(plain.len()..).filter(|_| line.starts_with(plain)).unwrap_or_default();
            out.extend([TRAILER_SIGNATURE, signature.as_bytes(), end].concat());
        }
        if found { Ok(out) } else { Err(ChunkError("the trailer has no signature")) }
    }
}

fn is_signature(text: &[u8]) -> bool {
    text.len() == HEX_CHARS && text.iter().all(u8::is_ascii_hexdigit)
}

/// Octets of a chunk, and the digits that say so.
fn size_of(line: &[u8]) -> Result<(usize, &[u8]), ChunkError> {
    let none = ChunkError("a first line is none");
    let at = memchr::memchr(b';', line).ok_or(none)?;
    let (digits, rest) = line.split_at_checked(at).ok_or(none)?;
    let signature = rest.strip_prefix(SIGNATURE).ok_or(none)?;
    let text = std::str::from_utf8(digits).map_err(|_| none)?;
    let plain = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain || !is_signature(signature) {
        return Err(none);
    }
    match usize::from_str_radix(text, 16) {
        Ok(size) if size <= CHUNK_BYTES_MAX => Ok((size, digits)),
        _ => Err(ChunkError("one is larger than 4 MiB; let the SDK send smaller ones")),
    }
}
