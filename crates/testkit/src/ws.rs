//! As much of WebSocket (RFC 6455) as a test needs: the handshake's answer and whole frames, masked or not.

use base64::Engine as _;

/// `Sec-WebSocket-Accept` for a key (RFC 6455 4.2.2).
#[must_use]
pub fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(hash)
}

/// One frame, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// Unmasked.
    pub payload: Vec<u8>,
}

/// Writes one final frame; clients mask, servers do not.
#[must_use]
pub fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    let bit = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => out.push(bit | len as u8),
        len @ 126..=65_535 => {
            out.push(bit | 0x7e);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(bit | 0x7f);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    out
}

/// Reads one frame from the front and says how long it was; `None` until it is whole.
#[must_use]
pub fn parse(octets: &[u8]) -> Option<(Message, usize)> {
    let (first, second) = (*octets.first()?, *octets.get(1)?);
    let (len, mut at) = match second & 0x7f {
        126 => (u16::from_be_bytes(octets.get(2..4)?.try_into().ok()?) as usize, 4),
        127 => (u64::from_be_bytes(octets.get(2..10)?.try_into().ok()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    let mut mask = [0u8; 4];
    if second & 0x80 != 0 {
        mask.copy_from_slice(octets.get(at..at + 4)?);
        at += 4;
    }
    let payload = octets.get(at..at.checked_add(len)?)?;
    let payload = payload.iter().enumerate().map(|(place, byte)| byte ^ mask[place % 4]).collect();
    Some((Message { opcode: first & 0x0f, payload }, at + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn frames_there_and_back() {
        for size in [0usize, 1, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; size];
            for mask in [None, Some([1, 2, 3, 4])] {
                let wire = frame(2, &payload, mask);
                let (message, used) = parse(&wire).unwrap();
                assert_eq!((message.payload.len(), used, message.opcode), (size, wire.len(), 2));
                assert!(parse(&wire[..wire.len() - 1]).is_none());
            }
        }
    }
}
