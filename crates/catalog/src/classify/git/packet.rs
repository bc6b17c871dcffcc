//! pkt-lines (git-scm.com/docs/protocol-common): four small hexadecimal digits that count themselves and what follows.

use super::command::Stop;

/// Octets before the content of a line.
const HEAD: usize = 4;
/// The longest line that git writes, its head included (LARGE_PACKET_MAX).
const LINE_BYTES_MAX: usize = 65_520;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// `0000`: a part ends.
    Flush,
    /// A line, without the one line feed that may end it; never empty.
    Line(&'a [u8]),
}

/// Packets from the front of a text.
pub(super) struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    pub const fn of(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// What no packet was read from yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next packet; delimiters of other versions of the protocol, and lines without content, are odd.
    pub fn next(&mut self) -> Result<Packet<'a>, Stop> {
        let (head, after) = self.rest.split_first_chunk::<HEAD>().ok_or(Stop::Ends)?;
        let mut length = 0usize;
        for digit in head {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(Stop::Odd("a line has no length")),
            };
            length = length * 16 + usize::from(value);
        }
        if length == 0 {
            self.rest = after;
            return Ok(Packet::Flush);
        }
        if length <= HEAD || length > LINE_BYTES_MAX {
            return Err(Stop::Odd("a line has a length that no line has"));
        }
        let (line, rest) = after.split_at_checked(length - HEAD).ok_or(Stop::Ends)?;
        self.rest = rest;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.is_empty() { Err(Stop::Odd("a line is empty")) } else { Ok(Packet::Line(line)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_themselves() {
        let mut packets = Packets::of(b"0006ab0007ab\n0000rest");
        for want in [Packet::Line(b"ab"), Packet::Line(b"ab"), Packet::Flush] {
            assert_eq!(packets.next(), Ok(want));
        }
        assert_eq!(packets.rest(), b"rest");
        let longest = format!("fff0{}", "x".repeat(65_516));
        assert!(matches!(Packets::of(longest.as_bytes()).next(), Ok(Packet::Line(line)) if line.len() == 65_516));
        for odd in ["0001", "0002", "0003", "0004", "0005\n", "000Ax12345", "fff1", "ffff", "+123", " 123", "00 6ab"] {
            assert!(matches!(Packets::of(odd.as_bytes()).next(), Err(Stop::Odd(_))), "{odd}");
        }
        for cut in ["", "0", "000", "0006a", "fff0x"] {
            assert_eq!(Packets::of(cut.as_bytes()).next(), Err(Stop::Ends), "{cut}");
        }
    }
}
