//! WebSocket frames (RFC 6455 5.2) towards the agent, scrubbed message by message. Masks keep their length, so frame
//! heads pass untouched; a needle that is split over fragments of one message is found all the same.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use inject::{Needles, Scrubber};

/// Why a stream of frames was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A masked frame from a server, reserved bits without an extension, or a length with its top bit set.
    #[error("the upstream sent a frame that breaks RFC 6455")]
    Broken,
}

/// Scrubs what a server sends.
pub(crate) struct FrameScrubber {
    needles: Arc<Needles>,
    scrubber: Scrubber,
    head: BytesMut,
    left: u64,
    last: bool,
    control: bool,
    /// What is owed in order: frame heads and control frames as they are, payload by length.
    owed: VecDeque<Owed>,
    ready: VecDeque<Bytes>,
    hits: u64,
}

enum Owed {
    AsIs(Bytes),
    Payload(u64),
}

impl FrameScrubber {
    /// For one connection.
    pub(crate) fn new(needles: Arc<Needles>) -> Self {
        let scrubber = Scrubber::new(&needles);
        Self {
            needles,
            scrubber,
            head: BytesMut::new(),
            left: 0,
            last: false,
            control: false,
            owed: VecDeque::new(),
            ready: VecDeque::new(),
            hits: 0,
        }
    }

    /// How many needles it masked.
    pub(crate) fn hits(&self) -> u64 {
        self.hits + self.scrubber.hits()
    }

    /// Takes octets as they come, gives those that may pass.
    ///
    /// # Errors
    /// The stream is not one of frames; nothing more may pass.
    pub(crate) fn push(&mut self, mut data: Bytes, out: &mut Vec<Bytes>) -> Result<(), FrameError> {
        while data.has_remaining() {
            if self.left == 0 {
                if !self.read_head(&mut data)? {
                    break;
                }
            } else {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                let piece = data.split_to(take);
                self.left -= take as u64;
                self.payload(piece);
            }
            if self.left == 0 && self.last && !self.control {
                self.end_message();
            }
        }
        self.settle(out);
        Ok(())
    }

    /// Reads the rest of a frame's head; whether it is complete.
    fn read_head(&mut self, data: &mut Bytes) -> Result<bool, FrameError> {
        while data.has_remaining() {
            self.head.extend_from_slice(&[data.get_u8()]);
            let Some(length) = head_length(&self.head)? else { continue };
            let first = self.head.first().copied().unwrap_or_default();
            self.left = length;
            self.control = first & 0x08 != 0;
            if !self.control {
                self.last = first & 0x80 != 0;
            }
            self.owed.push_back(Owed::AsIs(self.head.split().freeze()));
            return Ok(true);
        }
        Ok(false)
    }

    fn payload(&mut self, piece: Bytes) {
        if self.control {
            // Close reasons are at most 123 octets and come in one frame; scrubbed by themselves.
            let mut alone = Scrubber::new(&self.needles);
            let mut whole = Vec::with_capacity(piece.len());
            for part in alone.push(piece).chain(alone.finish()) {
                whole.extend_from_slice(&part);
            }
            self.hits += alone.hits();
            self.owed.push_back(Owed::AsIs(whole.into()));
            return;
        }
        self.owed.push_back(Owed::Payload(piece.len() as u64));
        self.ready.extend(self.scrubber.push(piece));
    }

    fn end_message(&mut self) {
        self.ready.extend(self.scrubber.finish());
        self.hits += self.scrubber.hits();
        self.scrubber = Scrubber::new(&self.needles);
        self.last = false;
    }

    /// Gives what is owed as far as it is ready, in order.
    fn settle(&mut self, out: &mut Vec<Bytes>) {
        while let Some(owed) = self.owed.pop_front() {
            match owed {
                Owed::AsIs(bytes) => out.push(bytes),
                Owed::Payload(mut left) => {
                    while left > 0 {
                        let Some(mut part) = self.ready.pop_front() else {
                            self.owed.push_front(Owed::Payload(left));
                            return;
                        };
                        let take = usize::try_from(left).unwrap_or(usize::MAX).min(part.len());
                        out.push(part.split_to(take));
                        left -= take as u64;
                        if !part.is_empty() {
                            self.ready.push_front(part);
                        }
                    }
                }
            }
        }
    }
}

/// The payload length of a frame whose head may still be incomplete.
fn head_length(head: &[u8]) -> Result<Option<u64>, FrameError> {
    let (Some(first), Some(second)) = (head.first(), head.get(1)) else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 != 0 {
        return Err(FrameError::Broken);
    }
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        short => return Ok(Some(u64::from(short))),
    };
    let Some(digits) = head.get(2..2 + extended) else { return Ok(None) };
    let length = digits.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    if first & 0x08 != 0 || length >> 63 != 0 { Err(FrameError::Broken) } else { Ok(Some(length)) }
}
