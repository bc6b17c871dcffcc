//! What a line of the log is: the event's members, then its place in the chain.
//!
//! ```text
//! {<event>,"node":"n","lane":"<20 hex>","seq":7,"prev":"<64 hex>","hash":"<64 hex>"}
//! ```
//!
//! `hash` is SHA-256 over the raw octets of the line before `,"hash":`, which hold `prev`; so a check needs neither a
//! parser nor a second encoder, and a line means what its octets say. The trailer has a fixed form and is read from
//! the back; anything else is a bad line. No input makes these functions panic.

use aws_lc_rs::digest;
use model::{Digest, Event};
use serde::{Deserialize, Serialize};

use crate::layout::is_lane;

/// Why a line is not a record, or not the one that belongs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// No trailer, or not of the one form.
    #[error("the line does not end as a record does")]
    Form,
    /// `hash` is not the hash of the octets.
    #[error("the record's octets do not have the hash it names")]
    Hash,
    /// `prev` is not the hash of the record before.
    #[error("the record does not follow the one before")]
    Prev,
    /// `seq` is not one more than that of the record before.
    #[error("a record is missing, doubled or out of order")]
    Seq,
    /// `lane` is another lane.
    #[error("the record belongs to another lane")]
    Lane,
    /// The octets are sealed, but they are no event that we know.
    #[error("the record is sealed but is not an event of this version")]
    Event,
    /// No line feed at its end.
    #[error("the record is cut off")]
    Cut,
}

/// Hex digits of a hash, lower case.
pub(crate) type Hex = [u8; 64];

/// `prev` of a lane's first record.
pub(crate) const FIRST: Hex = [b'0'; 64];

/// A line taken apart, nothing checked but its form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// What `hash` is over.
    pub sealed: &'a [u8],
    pub lane: &'a [u8],
    pub seq: u64,
    pub prev: &'a Hex,
    pub hash: &'a Hex,
}

fn last_hex<'a>(bytes: &'a [u8], name: &[u8]) -> Option<(&'a [u8], &'a Hex)> {
    let (rest, hex) = bytes.split_last_chunk::<64>()?;
    Some((rest.strip_suffix(name)?, hex))
}

impl<'a> Frame<'a> {
    /// Takes a line (without its line feed) apart.
    pub(crate) fn of(line: &'a [u8]) -> Option<Self> {
        let (sealed, hash) = last_hex(line.strip_suffix(b"\"}")?, b",\"hash\":\"")?;
        let (rest, prev) = last_hex(sealed.strip_suffix(b"\"")?, b",\"prev\":\"")?;
        let digits = rest.iter().rev().take(20).take_while(|byte| byte.is_ascii_digit()).count();
        let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(digits)?)?;
        let seq = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let rest = rest.strip_suffix(b"\",\"seq\":")?;
        let (rest, lane) = rest.split_at_checked(rest.len().checked_sub(crate::layout::LANE_BYTES)?)?;
        (rest.ends_with(b"\",\"lane\":\"") && is_lane(lane)).then_some(Self { sealed, lane, seq, prev, hash })
    }

    /// Whether the octets have the hash that the line names.
    pub(crate) fn is_sealed(&self) -> bool {
        seal(self.sealed) == *self.hash
    }
}

/// The hash of a line's octets before `,"hash":`.
pub(crate) fn seal(octets: &[u8]) -> Hex {
    sha256(octets).hex()
}

pub(crate) fn sha256(octets: &[u8]) -> Digest {
    let mut out = [0u8; 32];
    for (slot, byte) in out.iter_mut().zip(digest::digest(&digest::SHA256, octets).as_ref()) {
        *slot = *byte;
    }
    Digest(out)
}

/// Where a chain stands: what the next record must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Records so far; `seq` of the last one.
    pub seq: u64,
    /// Hash of the last one.
    pub hash: Hex,
}

impl Link {
    pub(crate) const START: Self = Self { seq: 0, hash: FIRST };

    /// Checks that `line` is the next record of `lane` and moves on to it.
    pub(crate) fn follow(&mut self, lane: &[u8], line: &[u8]) -> Result<(), BadLine> {
        let frame = Frame::of(line).ok_or(BadLine::Form)?;
        if !frame.is_sealed() {
            return Err(BadLine::Hash);
        }
        if frame.lane != lane {
            return Err(BadLine::Lane);
        }
        if self.seq.checked_add(1) != Some(frame.seq) {
            return Err(BadLine::Seq);
        }
        if *frame.prev != self.hash {
            return Err(BadLine::Prev);
        }
        *self = Self { seq: frame.seq, hash: *frame.hash };
        Ok(())
    }
}

/// One record as read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What was recorded.
    #[serde(flatten)]
    pub event: Event,
    /// The node that wrote it.
    pub node: String,
    /// The lane.
    pub lane: String,
    /// Its number in the lane, counted from 1.
    pub seq: u64,
    /// Hash of the record before; zeros for the first.
    pub prev: Digest,
    /// Its own hash.
    pub hash: Digest,
}

#[derive(Deserialize)]
struct Node {
    node: String,
}

/// Reads one line (without its line feed): its form, its own hash, its event. Whether it follows the line before is
/// for [`crate::verify`].
pub fn read_line(line: &[u8]) -> Result<Record, BadLine> {
    let frame = Frame::of(line).ok_or(BadLine::Form)?;
    if !frame.is_sealed() {
        return Err(BadLine::Hash);
    }
    let parse = |hex: &Hex| std::str::from_utf8(hex).ok().and_then(Digest::parse).ok_or(BadLine::Form);
    let event = serde_json::from_slice(line).map_err(|_| BadLine::Event)?;
    let Node { node } = serde_json::from_slice(line).map_err(|_| BadLine::Event)?;
    Ok(Record {
        event,
        node,
        lane: String::from_utf8_lossy(frame.lane).into_owned(),
        seq: frame.seq,
        prev: parse(frame.prev)?,
        hash: parse(frame.hash)?,
    })
}
