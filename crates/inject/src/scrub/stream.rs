//! The scrubber of one stream: frames in, frames out, the same length, needles masked across every border.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use zeroize::Zeroize;

use super::Needles;
use super::finder::{Finder, Hits};

/// Frames up to this size are joined with what was held back (one copy, one frame); larger ones pass as they came
/// behind a small frame of their own.
const JOIN_BYTES_MAX: usize = 4 * 1024;

/// What comes out of one push, in order. Mostly one frame, the very one that came.
#[derive(Debug, Default)]
pub struct Frames(SmallVec<[Bytes; 2]>, usize);

impl Frames {
    pub(crate) fn add(&mut self, frame: Bytes) {
        if !frame.is_empty() {
            self.0.push(frame);
        }
    }

    /// All frames as one. Copies where there are several.
    #[must_use]
    pub fn join(self) -> Bytes {
        match self.0.get(self.1..).unwrap_or_default() {
            [one] => one.clone(),
            several => several.concat().into(),
        }
    }
}

impl Iterator for Frames {
    type Item = Bytes;
    fn next(&mut self) -> Option<Bytes> {
        let frame = self.0.get_mut(self.1)?;
        self.1 += 1;
        Some(std::mem::take(frame))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.0.len() - self.1;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Frames {}

/// What a stream has found so far, and what it holds back: at most [`Finder::reach`] octets.
#[derive(Default)]
pub(crate) struct Carry {
    /// As it came; may begin an occurrence.
    raw: Vec<u8>,
    /// As it will leave; differs where an occurrence that was found reaches into it.
    shown: Vec<u8>,
}

impl Carry {
    /// Octets that are kept, or may be without asking for more memory.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.raw.capacity() + self.shown.capacity()
    }
}

impl Drop for Carry {
    fn drop(&mut self) {
        self.raw.zeroize();
        self.shown.zeroize();
    }
}

/// A step of a stream: what was found goes to `found`, and comes out masked.
pub(crate) fn step(finder: &Finder, carry: &mut Carry, chunk: Bytes, found: &mut Hits) -> Frames {
    let mut out = Frames::default();
    if finder.is_empty() {
        out.add(chunk);
        return out;
    }
    if carry.raw.is_empty() {
        direct(finder, carry, chunk, found, &mut out);
    } else if chunk.len() < finder.reach() || !finder.passes(&carry.raw, &chunk) {
        carry.raw.extend_from_slice(&chunk);
        carry.shown.extend_from_slice(&chunk);
        joined(finder, carry, found, &mut out);
    } else {
        // What was held back begins nothing: it leaves, and the chunk is looked at by itself.
        let mut front = std::mem::take(&mut carry.shown);
        carry.raw.clear();
        if chunk.len() > JOIN_BYTES_MAX {
            out.add(front.into());
            direct(finder, carry, chunk, found, &mut out);
        } else {
            let mut rest = Frames::default();
            direct(finder, carry, chunk, found, &mut rest);
            front.reserve_exact(rest.0.iter().map(Bytes::len).sum());
            rest.for_each(|frame| front.extend_from_slice(&frame));
            out.add(front.into());
        }
    }
    out
}

fn direct(finder: &Finder, carry: &mut Carry, mut chunk: Bytes, found: &mut Hits, out: &mut Frames) {
    let before = found.len();
    finder.scan(&chunk, found);
    let held = finder.held(&chunk);
    let hits = found.get(before..).unwrap_or_default();
    if hits.is_empty() {
        let tail = chunk.split_off(chunk.len() - held);
        carry.raw.extend_from_slice(&tail);
        carry.shown.extend_from_slice(&tail);
        return out.add(chunk);
    }
    let mut masked = chunk.to_vec();
    for hit in hits {
        finder.mask(&mut masked, hit);
    }
    carry.shown = masked.split_off(masked.len() - held);
    carry.raw.extend_from_slice(chunk.get(chunk.len() - held..).unwrap_or_default());
    out.add(masked.into());
}

fn joined(finder: &Finder, carry: &mut Carry, found: &mut Hits, out: &mut Frames) {
    let before = found.len();
    finder.scan(&carry.raw, found);
    let held = finder.held(&carry.raw);
    for hit in found.get(before..).unwrap_or_default() {
        finder.mask(&mut carry.shown, hit);
    }
    let sent = carry.raw.len() - held;
    let shown = carry.shown.split_off(sent);
    out.add(std::mem::replace(&mut carry.shown, shown).into());
    carry.raw.drain(..sent);
}

/// The end of a stream: what was held back begins nothing any more.
pub(crate) fn rest(carry: &mut Carry) -> Option<Bytes> {
    carry.raw.zeroize();
    let shown = std::mem::take(&mut carry.shown);
    (!shown.is_empty()).then(|| shown.into())
}

/// The scrubber of one body. Every octet that is no needle leaves as it came, and as many leave as came.
pub struct Scrubber {
    needles: Arc<Needles>,
    carry: Carry,
    hits: u64,
}

impl Scrubber {
    /// A scrubber at the beginning of a stream.
    #[must_use]
    pub fn new(needles: &Arc<Needles>) -> Self {
        Self { needles: Arc::clone(needles), carry: Carry::default(), hits: 0 }
    }

    /// Takes one frame and gives what may leave. Only a tail that truly begins a needle stays behind.
    pub fn push(&mut self, chunk: Bytes) -> Frames {
        let mut found = Hits::new();
        let out = step(self.needles.finder(), &mut self.carry, chunk, &mut found);
        self.hits += found.len() as u64;
        out
    }

    /// The end: what stayed behind.
    pub fn finish(&mut self) -> Option<Bytes> {
        rest(&mut self.carry)
    }

    /// How many needles were masked.
    #[must_use]
    pub const fn hits(&self) -> u64 {
        self.hits
    }
}
