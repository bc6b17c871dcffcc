//! WebSocket frames (RFC 6455 5.2), message by message: towards the agent they are scrubbed, from the agent they are
//! searched. Masks keep their length, so frame heads pass untouched; a needle that is split over fragments of one
//! message is found all the same.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use inject::{KnownScan, KnownSecrets, Needles, Scrubber};

use crate::net::message::{length_digits, payload_length};

/// Frame heads and control frames that wait behind payload that is held back. Payload is held back for a few KiB at
/// most, so only a sender of tiny fragments, or of control frames without end inside one message, comes near.
const OWED_MAX: usize = 1_024;
/// A frame of the agent's up to this size leaves only as a whole, after all of it was searched; a larger one leaves
/// piece by piece.
const WHOLE_FRAME_BYTES_MAX: u64 = 1 << 20;

/// Why a stream of frames was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A masked frame from a server or a bare one from a client, reserved bits without an extension, a control frame
    /// that is long or in fragments, a length with its top bit set, or far more frames than can be held.
    #[error("a frame breaks RFC 6455")]
    Broken,
    /// A known secret was completed in what the agent sent.
    #[error("the agent sent a known secret")]
    Secret,
}

/// Scrubs what a server sends.
pub(crate) struct FrameScrubber {
    needles: Arc<Needles>,
    scrubber: Scrubber,
    head: BytesMut,
    left: u64,
    last: bool,
    control: bool,
    /// The payload of a control frame (RFC 6455 5.5: at most 125 octets) until it is complete.
    gathered: BytesMut,
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
            gathered: BytesMut::new(),
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
                self.payload(piece)?;
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
            let Some(length) = head_length(&self.head, Sender::Server)? else { continue };
            let first = self.head.first().copied().unwrap_or_default();
            self.left = length;
            self.control = first & 0x08 != 0;
            if !self.control {
                self.last = first & 0x80 != 0;
            }
            let head = self.head.split().freeze();
            self.owe(Owed::AsIs(head))?;
            return Ok(true);
        }
        Ok(false)
    }

    fn payload(&mut self, piece: Bytes) -> Result<(), FrameError> {
        if !self.control {
            self.owe(Owed::Payload(piece.len() as u64))?;
            self.ready.extend(self.scrubber.push(piece));
            return Ok(());
        }
        // By itself, and never in parts: a sender may cut it anywhere.
        self.gathered.extend_from_slice(&piece);
        if self.left > 0 {
            return Ok(());
        }
        let whole = self.gathered.split().freeze();
        let whole = match self.needles.scrub(&whole) {
            None => whole,
            Some((masked, hits)) => {
                self.hits += hits;
                masked.into()
            }
        };
        self.owe(Owed::AsIs(whole))
    }

    fn owe(&mut self, owed: Owed) -> Result<(), FrameError> {
        if let (Some(Owed::Payload(waiting)), Owed::Payload(more)) = (self.owed.back_mut(), &owed) {
            // However small the pieces in which a frame comes, it counts once.
            *waiting += more;
            return Ok(());
        }
        if self.owed.len() >= OWED_MAX {
            return Err(FrameError::Broken);
        }
        self.owed.push_back(owed);
        Ok(())
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

/// Searches what a client sends.
#[expect(clippy::struct_excessive_bools, reason = "each is one bit of RFC 6455 5.2 or of the state between two frames")]
pub(crate) struct FrameSearch {
    known: Arc<KnownSecrets>,
    /// Extensions were agreed on, so reserved bits have a meaning.
    extended: bool,
    head: BytesMut,
    /// The masking key, turned to the next octet of payload.
    key: [u8; 4],
    left: u64,
    last: bool,
    control: bool,
    whole: bool,
    /// The search of the message under way; control frames inside it have their own.
    message: Option<KnownScan>,
    alone: Option<KnownScan>,
    /// The frame under way, as it came. A copy: pieces would each keep a whole read alive.
    held: BytesMut,
}

impl FrameSearch {
    /// For one connection; `extended` where an extension was agreed on.
    pub(crate) fn new(known: Arc<KnownSecrets>, extended: bool) -> Self {
        Self {
            known,
            extended,
            head: BytesMut::new(),
            key: [0; 4],
            left: 0,
            last: false,
            control: false,
            whole: true,
            message: None,
            alone: None,
            held: BytesMut::new(),
        }
    }

    /// Takes octets as they come, gives those that were searched.
    ///
    /// # Errors
    /// The stream is not one of frames, or a secret was completed; what was given before may have left, nothing more
    /// may.
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
                self.search(&piece)?;
                self.held.extend_from_slice(&piece);
            }
            if self.left == 0 {
                self.end_frame()?;
            }
            if self.left == 0 || !self.whole {
                out.push(self.held.split().freeze());
            }
        }
        Ok(())
    }

    fn read_head(&mut self, data: &mut Bytes) -> Result<bool, FrameError> {
        while data.has_remaining() {
            self.head.extend_from_slice(&[data.get_u8()]);
            let Some(length) = head_length(&self.head, Sender::Client { extended: self.extended })? else { continue };
            let first = self.head.first().copied().unwrap_or_default();
            self.key = self.head.last_chunk().copied().unwrap_or_default();
            self.left = length;
            self.whole = length <= WHOLE_FRAME_BYTES_MAX;
            self.control = first & 0x08 != 0;
            self.last = first & 0x80 != 0;
            let head = self.head.split();
            self.held.extend_from_slice(&head);
            return Ok(true);
        }
        Ok(false)
    }

    /// Searches a copy of a piece of payload as it reads unmasked (RFC 6455 5.3).
    fn search(&mut self, piece: &[u8]) -> Result<(), FrameError> {
        let plain: Vec<u8> = piece.iter().zip(self.key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        self.key.rotate_left(piece.len() % 4);
        let scan = if self.control { &mut self.alone } else { &mut self.message };
        let scan = scan.get_or_insert_with(|| self.known.scan());
        scan.push(plain.into()).map(drop).map_err(|_| FrameError::Secret)
    }

    fn end_frame(&mut self) -> Result<(), FrameError> {
        let scan = if self.control { &mut self.alone } else { &mut self.message };
        match scan.take_if(|_| self.last) {
            Some(scan) => scan.finish().map(drop).map_err(|_| FrameError::Secret),
            None => Ok(()),
        }
    }
}

/// Who sent a frame.
#[derive(Clone, Copy)]
enum Sender {
    Server,
    Client { extended: bool },
}

/// The payload length of a frame; `None` while its head is incomplete.
fn head_length(head: &[u8], sender: Sender) -> Result<Option<u64>, FrameError> {
    let (Some(first), Some(second)) = (head.first(), head.get(1)) else { return Ok(None) };
    let (masked, extended) = match sender {
        Sender::Server => (false, false),
        Sender::Client { extended } => (true, extended),
    };
    let control = first & 0x08 != 0;
    if first & 0x70 != 0 && !extended || (second & 0x80 != 0) != masked || control && first & 0x80 == 0 {
        return Err(FrameError::Broken);
    }
    let digits = length_digits(*second);
    let Some(length) = payload_length(head) else { return Ok(None) };
    if control && digits > 0 || length >> 63 != 0 {
        return Err(FrameError::Broken);
    }
    let whole = 2 + digits + if masked { 4 } else { 0 };
    Ok((head.len() >= whole).then_some(length))
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
