//! Netlink (netlink(7)): messages made of attributes, and a socket that waits for each to be acknowledged.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `NLMSG_ERROR`: also an acknowledgement, with error 0.
const ERROR: u16 = 2;
const HEADER_BYTES: usize = 16;

/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 1;
/// `NLM_F_ACK`.
pub(super) const ACK: u16 = 4;
/// `NLM_F_EXCL | NLM_F_CREATE`.
pub(super) const CREATE: u16 = 0x600;

/// One message in the making.
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// With its header and the family's own, which is `fixed`.
    pub(super) fn new(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&0u32.to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Self { bytes }
    }

    /// One attribute: length and kind, the value, and octets up to a multiple of four.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// A number in network order, as netfilter has them.
    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// A text with its final zero.
    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// An attribute made of attributes (`NLA_F_NESTED`).
    pub(super) fn nest(&mut self, kind: u16, within: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | 0x8000).to_ne_bytes());
        within(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// The octets, with their length in front.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(..4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.bytes
    }
}

/// A netlink socket of the network namespace in which it was opened. Routes are protocol 0, which is none to name.
pub(super) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        Ok(Self { fd, sequence: 1 })
    }

    /// The number of the next message.
    pub(super) const fn next(&mut self) -> u32 {
        self.sequence += 1;
        self.sequence
    }

    /// Sends messages at once and waits for as many acknowledgements.
    pub(super) fn send(&self, octets: &[u8], acknowledged: usize) -> io::Result<()> {
        send(&self.fd, octets, SendFlags::empty())?;
        let mut left = acknowledged;
        let mut buffer = [0u8; 8192];
        while left > 0 {
            let (count, _) = recv(&self.fd, &mut buffer[..], RecvFlags::empty())?;
            left = left.saturating_sub(acknowledgements(buffer.get(..count).unwrap_or_default())?);
        }
        Ok(())
    }
}

/// Counts the acknowledgements in what was received; the first refusal is the error.
fn acknowledgements(mut octets: &[u8]) -> io::Result<usize> {
    let mut seen = 0;
    while octets.len() >= HEADER_BYTES {
        let number = |at: usize| octets.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_ne_bytes);
        let length = usize::try_from(number(0).unwrap_or(0)).unwrap_or(0).clamp(HEADER_BYTES, octets.len());
        let kind = octets.get(4..6).and_then(|two| two.try_into().ok()).map_or(0, u16::from_ne_bytes);
        if kind == ERROR {
            let code = number(HEADER_BYTES).map_or(0, u32::cast_signed);
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            seen += 1;
        }
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_nested() {
        let mut message = Message::new(7, REQUEST, 3, &[9, 9, 9, 9]);
        message.text(1, "ab").nest(4, |inner| {
            inner.number(2, 1);
        });
        let octets = message.finish();
        assert_eq!(octets.len() % 4, 0);
        assert_eq!(octets[..4], u32::try_from(octets.len()).expect("short").to_ne_bytes());
        assert_eq!(octets[20..28], [7, 0, 1, 0, b'a', b'b', 0, 0]);
        assert_eq!(octets[28..], [12, 0, 4, 0x80, 8, 0, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn refusals_are_errors() {
        let answer = |code: i32| {
            let mut message = Message::new(ERROR, 0, 1, &code.to_ne_bytes()).finish();
            message.resize(36, 0);
            message
        };
        assert_eq!(acknowledgements(&[answer(0), answer(0)].concat()).expect("fine"), 2);
        assert_eq!(acknowledgements(&answer(-1)).expect_err("refused").raw_os_error(), Some(1));
        assert_eq!(acknowledgements(&[1, 2, 3]).expect("nothing"), 0);
    }
}
