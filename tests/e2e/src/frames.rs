//! HTTP/2 by hand (RFC 9113, RFC 7541), so that fields may hold what no library would send.

use std::io::{self, Read};

use testkit::client::Wire;

/// What came back on stream 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// A head with this status, and the body.
    Answer(u16, Vec<u8>),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    Away(u32),
    /// The connection ended.
    Closed,
}

/// What a client begins with (RFC 9113 3.4), with empty settings behind it.
#[must_use]
pub fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat()
}

/// One frame (RFC 9113 4.1).
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header block of literals without indexing and without Huffman (RFC 7541 6.2.2).
#[must_use]
pub fn block(fields: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            integer(&mut out, text.len());
            out.extend(text.bytes());
        }
    }
    out
}

/// An integer with a prefix of seven bits (RFC 7541 5.1).
fn integer(out: &mut Vec<u8>, value: usize) {
    if value < 127 {
        out.push(value as u8);
        return;
    }
    out.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        out.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    out.push(rest as u8);
}

/// Sends one request with exactly these fields and says what came back.
pub fn exchange(
    wire: &mut Wire,
    fields: &[(String, String)],
    body: &[u8],
    trailers: &[(String, String)],
) -> io::Result<Came> {
    let mut out = preface();
    let last = body.is_empty() && trailers.is_empty();
    out.extend(frame(1, 4 | u8::from(last), 1, &block(fields)));
    if !body.is_empty() {
        out.extend(frame(0, u8::from(trailers.is_empty()), 1, body));
    }
    if !trailers.is_empty() {
        out.extend(frame(1, 5, 1, &block(trailers)));
    }
    wire.send(&out)?;
    Ok(read(wire).unwrap_or(Came::Closed))
}

fn read(wire: &mut Wire) -> io::Result<Came> {
    let mut status = None;
    let mut body = Vec::new();
    loop {
        let mut head = [0u8; 9];
        wire.read_exact(&mut head)?;
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let mut payload = vec![0u8; size];
        wire.read_exact(&mut payload)?;
        let code = |at: usize| payload.get(at..at + 4).map_or(0, |it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]));
        match kind {
            0 => body.extend(&payload),
            1 if status.is_none() => status = status_of(&payload),
            3 => return Ok(Came::Reset(code(0))),
            4 if flags & 1 == 0 => wire.send(&frame(4, 1, 0, &[]))?,
            7 => return Ok(Came::Away(code(4))),
            _ => {}
        }
        if matches!(kind, 0 | 1) && flags & 1 == 1 {
            return Ok(Came::Answer(status.unwrap_or(0), body));
        }
    }
}

/// The status at the front of a header block: indexed (RFC 7541 appendix A, 8 to 14) or a literal with the name indexed.
fn status_of(block: &[u8]) -> Option<u16> {
    let mut at = 0;
    // Table size updates may come first.
    while block.get(at)? & 0xe0 == 0x20 {
        at += 1;
    }
    let first = *block.get(at)?;
    if first & 0x80 != 0 {
        return [200, 204, 206, 304, 400, 404, 500].get(usize::from(first & 0x7f).checked_sub(8)?).copied();
    }
    let length = *block.get(at + 1)?;
    let octets = block.get(at + 2..at + 2 + usize::from(length & 0x7f))?;
    let digits = if length & 0x80 == 0 { octets.to_vec() } else { huffman(octets) };
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Digits alone: `0`-`2` have five bits, `3`-`9` six (RFC 7541 appendix B).
fn huffman(octets: &[u8]) -> Vec<u8> {
    let bits: String = octets
        .iter()
        .flat_map(|octet| (0..8).rev().map(move |at| if octet >> at & 1 == 1 { '1' } else { '0' }))
        .collect();
    let mut rest = bits.as_str();
    let mut digits = Vec::new();
    while digits.len() < 3 {
        let value = |size: usize| rest.get(..size).and_then(|bits| u8::from_str_radix(bits, 2).ok());
        let (digit, used) = match (value(5), value(6)) {
            (Some(short @ 0..=2), _) => (b'0' + short, 5),
            (_, Some(long @ 25..=31)) => (b'3' + (long - 25), 6),
            _ => break,
        };
        digits.push(digit);
        rest = &rest[used..];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_every_form() {
        assert_eq!(status_of(&[0x88]), Some(200));
        assert_eq!(status_of(&[0x3f, 0x8c]).or(status_of(&[0x20, 0x8c])), Some(400));
        assert_eq!(status_of(&[0x48, 3, b'4', b'2', b'1']), Some(421));
        // 403 and 421 as hpack writes them: six, five and six bits.
        assert_eq!(status_of(&[0x48, 0x83, 0x68, 0x0c, 0xff]), Some(403));
        assert_eq!(huffman(&[0b0110_1000, 0b0100_0001]), b"421"[..].to_vec());
    }

    #[test]
    fn it_speaks_to_a_proper_server() {
        let upstream = testkit::Upstream::start();
        let mut wire = Wire::open(upstream.addr()).unwrap().tls("good.test", &upstream.ca().client(&["h2"])).unwrap();
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", "good.test"), (":path", "/status/418")];
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let came = exchange(&mut wire, &fields, b"hello", &[]).unwrap();
        assert!(matches!(came, Came::Answer(418, _)), "{came:?}");
        assert_eq!(upstream.journal().last().body, "hello");
    }
}
