//! Messages out of what a client sends on a WebSocket (RFC 6455 5): frames are read strictly and held until their message is whole,
//! so that it can be judged before any octet of it goes on. No extension is agreed on where this is used.

use bytes::{Buf, Bytes, BytesMut};

/// Octets of one message, over all of its frames. What agents say in JSON is smaller by far, audio in it too.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Frames of one message: the heads of more would take more memory than what they carry.
const FRAMES_MAX: usize = 4_096;

const CONTINUED: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Why nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A frame that breaks RFC 6455: bare, with reserved bits or an unknown opcode, longer written than need be, a control frame that
    /// is long or in fragments, a fragment without its beginning, a message within another, anything behind a close.
    Broken,
    /// A message over [`MESSAGE_BYTES_MAX`], or in too many frames.
    TooLarge,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A ping, a pong or a close, as it came. It may stand between the frames of a message and then comes before it.
    Control(Bytes),
    /// A whole message.
    Message(Message),
    /// The end: whatever else comes is not looked at.
    Fault(Fault),
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// A text; otherwise binary.
    pub text: bool,
    /// All of its payload, unmasked.
    pub payload: Vec<u8>,
    /// Its frames as they came, control frames between them left out.
    pub frames: Bytes,
}

/// Reads what a client sends.
#[derive(Debug, Default)]
pub struct Reader {
    head: BytesMut,
    /// The frame under way, once its head is whole.
    frame: Option<Frame>,
    /// The message under way.
    open: Option<Open>,
    /// A control frame, as it comes.
    control: BytesMut,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    last: bool,
    /// The masking key, turned to the next octet of payload.
    key: [u8; 4],
    left: usize,
}

#[derive(Debug, Default)]
struct Open {
    text: bool,
    payload: Vec<u8>,
    frames: BytesMut,
    count: usize,
}

impl Reader {
    /// Takes octets as they come; adds what they complete. Octets that are cut in other places complete the same.
    pub fn push(&mut self, mut data: Bytes, steps: &mut Vec<Step>) {
        while !self.ended && (data.has_remaining() || self.is_whole()) {
            if let Err(fault) = self.turn(&mut data, steps) {
                *self = Self { ended: true, ..Self::default() };
                steps.push(Step::Fault(fault));
            }
        }
    }

    /// A frame whose payload is all there, perhaps because it has none.
    fn is_whole(&self) -> bool {
        self.frame.is_some_and(|frame| frame.left == 0)
    }

    fn turn(&mut self, data: &mut Bytes, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let Some(frame) = &mut self.frame else {
            return self.read_head(data);
        };
        let piece = data.split_to(frame.left.min(data.len()));
        frame.left -= piece.len();
        let (opcode, whole) = (frame.opcode, frame.left == 0);
        if opcode >= CLOSE {
            self.control.extend_from_slice(&piece);
        } else if let Some(open) = &mut self.open {
            open.frames.extend_from_slice(&piece);
            open.payload.extend(piece.iter().zip(frame.key.iter().cycle()).map(|(octet, key)| octet ^ key));
            frame.key.rotate_left(piece.len() % 4);
        }
        if whole { self.end_frame(steps) } else { Ok(()) }
    }

    fn read_head(&mut self, data: &mut Bytes) -> Result<(), Fault> {
        while self.frame.is_none() && data.has_remaining() {
            self.head.extend_from_slice(&[data.get_u8()]);
            self.frame = head(&self.head)?;
        }
        let Some(frame) = self.frame else { return Ok(()) };
        let head = self.head.split();
        if frame.opcode >= CLOSE {
            self.control = head;
            return Ok(());
        }
        match (&self.open, frame.opcode) {
            (None, TEXT | BINARY) => self.open = Some(Open { text: frame.opcode == TEXT, ..Open::default() }),
            (Some(_), CONTINUED) => {}
            _ => return Err(Fault::Broken),
        }
        let Some(open) = &mut self.open else { return Err(Fault::Broken) };
        open.count += 1;
        let room = MESSAGE_BYTES_MAX.saturating_sub(open.payload.len());
        if frame.left > room || open.count > FRAMES_MAX {
            return Err(Fault::TooLarge);
        }
        open.frames.extend_from_slice(&head);
        Ok(())
    }

    fn end_frame(&mut self, steps: &mut Vec<Step>) -> Result<(), Fault> {
        let Some(frame) = self.frame.take() else { return Ok(()) };
        if frame.opcode >= CLOSE {
            let octets = self.control.split().freeze();
            // A head and a mask take six octets. A close says nothing, or a code of two octets and why.
            if frame.opcode == CLOSE && octets.len() == 7 {
                return Err(Fault::Broken);
            }
            steps.push(Step::Control(octets));
            if frame.opcode == CLOSE {
                // RFC 6455 5.5.1: nothing may follow. A message that was under way is given up.
                *self = Self { ended: true, ..Self::default() };
            }
        } else if frame.last
            && let Some(open) = self.open.take()
        {
            let Open { text, payload, frames, .. } = open;
            steps.push(Step::Message(Message { text, payload, frames: frames.freeze() }));
        }
        Ok(())
    }
}

/// A frame's head, once it is whole.
fn head(octets: &[u8]) -> Result<Option<Frame>, Fault> {
    let Some(first) = octets.first() else { return Ok(None) };
    let (last, opcode) = (first & 0x80 != 0, first & 0x0f);
    let known = matches!(opcode, CONTINUED | TEXT | BINARY | CLOSE | PING | PONG);
    if first & 0x70 != 0 || !known || opcode >= CLOSE && !last {
        return Err(Fault::Broken);
    }
    let Some(second) = octets.get(1) else { return Ok(None) };
    let digits = length_digits(*second);
    if second & 0x80 == 0 || opcode >= CLOSE && digits > 0 {
        return Err(Fault::Broken);
    }
    let Some(length) = payload_length(octets) else { return Ok(None) };
    // RFC 6455 5.2: in the fewest octets, the top bit not set.
    let least = match digits {
        2 => 126,
        8 => 1 << 16,
        _ => 0,
    };
    if length < least || length >> 63 != 0 {
        return Err(Fault::Broken);
    }
    if length > MESSAGE_BYTES_MAX as u64 {
        return Err(Fault::TooLarge);
    }
    let Some(key) = octets.get(2 + digits..6 + digits).and_then(|key| key.first_chunk()) else { return Ok(None) };
    let left = usize::try_from(length).map_err(|_| Fault::TooLarge)?;
    Ok(Some(Frame { opcode, last, key: *key, left }))
}

/// A close frame (RFC 6455 5.5.1): a status and why, cut to what a control frame holds. With a mask where a client says it.
#[must_use]
pub fn close(status: u16, why: &str, mask: Option<[u8; 4]>) -> Bytes {
    const WHY_BYTES_MAX: usize = 123;
    let why = why.get(..why.floor_char_boundary(WHY_BYTES_MAX)).unwrap_or_default();
    let mut out = BytesMut::with_capacity(8 + why.len());
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.extend_from_slice(&[0x80 | CLOSE, masked | (2 + why.len()) as u8]);
    out.extend(mask.into_iter().flatten());
    let key = mask.unwrap_or_default();
    let payload = status.to_be_bytes().into_iter().chain(why.bytes());
    out.extend(payload.zip(key.into_iter().cycle()).map(|(octet, key)| octet ^ key));
    out.freeze()
}

/// Where in a stream of frames it stands: what a server sends passes as it is, and a close of ours may come only between two frames.
#[derive(Debug, Default)]
pub struct Boundary {
    head: Vec<u8>,
    left: u64,
}

impl Boundary {
    /// Whether no frame is under way.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.left == 0 && self.head.is_empty()
    }

    /// Takes octets of the stream; with `stop`, no more than up to where a frame ends. How many were taken.
    pub fn take(&mut self, octets: &[u8], stop: bool) -> usize {
        let mut taken = 0;
        while let Some(rest) = octets.get(taken..).filter(|rest| !rest.is_empty()) {
            if stop && taken > 0 && self.is_here() {
                break;
            }
            if self.left > 0 {
                let step = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= step as u64;
                taken += step;
                continue;
            }
            self.head.extend(rest.first());
            taken += 1;
            if let Some(length) = length_bare(&self.head) {
                self.left = length;
                self.head.clear();
            }
        }
        taken
    }
}

/// The length of a server's frame, once its head is whole.
fn length_bare(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    // A server that masks breaks RFC 6455; its client finds that out.
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    head.get(..2 + length_digits(second) + mask)?;
    payload_length(head)
}

/// Octets behind the second one of a frame's head that say how long its payload is (RFC 6455 5.2).
pub(crate) const fn length_digits(second: u8) -> usize {
    match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// The payload length that a frame's head says, once it is there.
pub(crate) fn payload_length(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let digits = length_digits(second);
    let given = head.get(2..2 + digits)?;
    let short = if digits == 0 { u64::from(second & 0x7f) } else { 0 };
    Some(given.iter().fold(short, |sum, octet| sum << 8 | u64::from(*octet)))
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
