//! Messages of PostgreSQL's protocol, version 3 (its documentation, chapter "Frontend/Backend Protocol"): one octet of kind, four of
//! length that count themselves, and what the kind says. Nothing is read that is longer than its bound.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use model::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Codes in place of a version, in the first message of a connection.
pub(super) const CANCEL: u32 = 80_877_102;
pub(super) const SSL: u32 = 80_877_103;
pub(super) const GSSENC: u32 = 80_877_104;
/// Version 3.0.
pub(super) const VERSION: u32 = 196_608;

/// Octets of a first message (the server's own bound, MAX_STARTUP_PACKET_LENGTH).
const STARTUP_BYTES_MAX: usize = 10_000;
/// Octets of one message while logging in.
const LOGIN_BYTES_MAX: usize = 16 * 1024;

/// The other side broke off, or broke the protocol.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the connection broke off")]
    Gone,
    #[error("the protocol is broken: {0}")]
    Broken(&'static str),
}

impl From<std::io::Error> for WireError {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

/// A number of four octets.
pub(super) fn number(octets: &[u8]) -> u32 {
    octets.iter().fold(0u32, |sum, octet| sum << 8 | u32::from(*octet))
}

/// One message.
pub(super) fn message(kind: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 5);
    put(&mut out, kind, body);
    out.freeze()
}

/// Adds one message.
pub(super) fn put(out: &mut BytesMut, kind: u8, body: &[u8]) {
    out.put_u8(kind);
    out.put_u32(body.len() as u32 + 4);
    out.put_slice(body);
}

/// Texts, each with the NUL that ends it.
pub(super) fn texts(parts: &[&str]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.bytes().chain([0])).collect()
}

/// A first message: its code, and what follows.
pub(super) async fn read_startup<IO: AsyncRead + Unpin + ?Sized>(io: &mut IO) -> Result<(u32, Bytes), WireError> {
    let length = io.read_u32().await? as usize;
    if !(8..=STARTUP_BYTES_MAX).contains(&length) {
        return Err(WireError::Broken("the first message is too short or too long"));
    }
    let code = io.read_u32().await?;
    let mut rest = vec![0; length - 8];
    io.read_exact(&mut rest).await?;
    Ok((code, rest.into()))
}

/// One message while logging in.
pub(super) async fn read_message<IO: AsyncRead + Unpin + ?Sized>(io: &mut IO) -> Result<(u8, Bytes), WireError> {
    let kind = io.read_u8().await?;
    let length = io.read_u32().await? as usize;
    if !(4..=LOGIN_BYTES_MAX).contains(&length) {
        return Err(WireError::Broken("a message of the log-in is too long"));
    }
    let mut body = vec![0; length - 4];
    io.read_exact(&mut body).await?;
    Ok((kind, body.into()))
}

/// A text that a NUL ends, at the front of `from`.
pub(super) fn take_text(from: &mut Bytes) -> Option<Bytes> {
    let end = memchr::memchr(0, from)?;
    let text = from.split_to(end);
    from.advance(1);
    Some(text)
}

/// One field of an ErrorResponse: `M` the message, `C` the SQLSTATE.
pub(super) fn field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut rest = body;
    while let Some((kind, after)) = rest.split_first() {
        let end = memchr::memchr(0, after)?;
        if *kind == wanted {
            return after.get(..end);
        }
        rest = after.get(end + 1..)?;
    }
    None
}

/// How bad it is for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// The statement fails.
    Error,
    /// The connection ends.
    Fatal,
}

/// A refusal as an ErrorResponse: the policy's words as message, the code and the rule as detail.
pub(super) fn error(severity: Severity, refusal: &Refusal) -> Bytes {
    let word = if severity == Severity::Error { "ERROR" } else { "FATAL" };
    let mut detail = format!("valetkey: {}", refusal.code);
    if let Some(rule) = &refusal.rule {
        detail.push_str(" by ");
        detail.push_str(rule);
    }
    let mut body = Vec::new();
    let mut add = |kind: u8, text: &str| {
        body.push(kind);
        body.extend(text.bytes().filter(|octet| *octet != 0));
        body.push(0);
    };
    add(b'S', word);
    add(b'V', word);
    add(b'C', sqlstate(refusal.code));
    add(b'M', &refusal.public);
    add(b'D', &detail);
    if let Some(hint) = &refusal.hint {
        add(b'H', hint);
    }
    body.push(0);
    message(b'E', &body)
}

/// The SQLSTATE by which drivers tell errors apart (Appendix A of PostgreSQL's documentation).
fn sqlstate(code: Code) -> &'static str {
    match code {
        Code::Unidentified | Code::SessionEnded => "28P01",
        Code::Malformed | Code::PlaceholderMisplaced | Code::Misdirected => "08P01",
        Code::TooLarge => "54000",
        Code::LimitReached | Code::BudgetSpent => "53400",
        Code::UpstreamUnreachable | Code::UpstreamTimeout | Code::UpstreamInvalid | Code::UpstreamUntrusted => "08006",
        Code::Unavailable | Code::AuditUnavailable => "57P03",
        Code::CredentialExpired | Code::CredentialRevoked | Code::CredentialUnavailable => "28000",
        _ => "42501",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_as_they_are_written() {
        let refusal = Refusal::new(Code::Denied, "Action sql/delete is denied").rule("reader/1").hint("ask\0 first");
        let message = error(Severity::Error, &refusal);
        assert_eq!(message.first(), Some(&b'E'));
        assert_eq!(message.get(1..5), Some(&(message.len() as u32 - 1).to_be_bytes()[..]));
        let body = &message[5..];
        assert_eq!(field(body, b'C'), Some(&b"42501"[..]));
        assert_eq!(field(body, b'M'), Some(&b"Action sql/delete is denied"[..]));
        assert_eq!(field(body, b'D'), Some(&b"valetkey: denied by reader/1"[..]));
        assert_eq!(field(body, b'H'), Some(&b"ask first"[..]));
        assert_eq!(field(body, b'X'), None);
        for broken in [&b"M"[..], b"Mno end", b""] {
            assert_eq!(field(broken, b'M'), None);
        }
    }
}
