//! Long inputs in stretches. Where a stretch ends follows from the octets alone, so the findings are the same whatever the
//! pieces in which they come.

use crate::finding::Finding;
use crate::format::Format;
use crate::scanner::{Known, Scanner};
use crate::window::Window;

/// Octets of a stretch: large enough that its context costs nothing, small enough to stay in the cache of the second level.
const STRETCH_BYTES: usize = 256 * 1024;
/// Context to the left: a name, the mark of a line, the other half of a pair.
const LEFT_BYTES: usize = 2 * 1024;
/// Context to the right: the longest secret is a private key of 16,384 bits in its armour.
const RIGHT_BYTES: usize = 16 * 1024;

/// Where a stretch lies; places are counted from the beginning of what the cutter is given.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// What is looked at.
    pub(crate) context: (usize, usize),
    /// Where what is found may begin.
    pub(crate) own: (usize, usize),
    /// Octets before all this.
    base: u64,
    /// The line at the beginning of `own`, from 1.
    line: u64,
    /// Where that line begins, from the beginning of the input.
    line_start: u64,
}

impl Cut {
    /// A finding of the window, with its place in the input.
    pub(crate) fn place(&self, window: Window<'_>, own: usize, mut finding: Finding) -> Finding {
        let before = window.slice(own, finding.start as usize);
        let lines = memchr::memchr_iter(b'\n', before).count() as u64;
        let shift = self.base + self.context.0 as u64;
        let line_start = memchr::memrchr(b'\n', before).map_or(self.line_start, |at| shift + (own + at) as u64 + 1);
        finding.start += shift;
        finding.end += shift;
        finding.line = self.line + lines;
        finding.column = finding.start - line_start + 1;
        finding
    }
}

/// Cuts an input into stretches.
#[derive(Clone, Debug)]
pub(crate) struct Cutter {
    /// Octets before what it is given.
    base: u64,
    /// Where the next stretch begins in what it is given.
    next: usize,
    line: u64,
    line_start: u64,
}

impl Default for Cutter {
    fn default() -> Self {
        Self { base: 0, next: 0, line: 1, line_start: 0 }
    }
}

impl Cutter {
    /// The next stretch; `octets` is all that there is from `base` on.
    pub(crate) fn next(&mut self, octets: &[u8]) -> Option<Cut> {
        let rest = octets.get(self.next..).filter(|rest| !rest.is_empty())?;
        let head = rest.get(..STRETCH_BYTES).unwrap_or(rest);
        // At the end of a line where there is one: a secret is seldom on two.
        let length = match memchr::memrchr(b'\n', head) {
            Some(at) if rest.len() > STRETCH_BYTES => at + 1,
            _ => head.len(),
        };
        let own = (self.next, self.next + length);
        let context = (own.0.saturating_sub(LEFT_BYTES), (own.1 + RIGHT_BYTES).min(octets.len()));
        let cut = Cut { context, own, base: self.base, line: self.line, line_start: self.line_start };
        let taken = rest.get(..length).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', taken).count() as u64;
        if let Some(at) = memchr::memrchr(b'\n', taken) {
            self.line_start = self.base + (own.0 + at) as u64 + 1;
        }
        self.next = own.1;
        Some(cut)
    }

    /// Whether the next stretch would be the same if more came.
    fn is_settled(&self, length: usize) -> bool {
        length >= self.next + STRETCH_BYTES + 1 + RIGHT_BYTES
    }

    /// Forgets what lies before the context of the next stretch; how many octets that are.
    fn forget(&mut self) -> usize {
        let old = self.next.saturating_sub(LEFT_BYTES);
        self.base += old as u64;
        self.next -= old;
        old
    }
}

/// An input that comes in pieces. It holds less than 300 KiB more than the largest piece.
pub struct Stream<'s> {
    scanner: &'s Scanner,
    format: Format,
    known: &'s Known<'s>,
    held: Vec<u8>,
    cutter: Cutter,
}

impl<'s> Stream<'s> {
    /// A new one.
    #[must_use]
    pub fn new(scanner: &'s Scanner, format: Format, known: &'s Known<'s>) -> Self {
        Self { scanner, format, known, held: Vec::new(), cutter: Cutter::default() }
    }

    /// Takes a piece; what was found in what is settled.
    pub fn push(&mut self, octets: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        self.held.extend_from_slice(octets);
        while self.cutter.is_settled(self.held.len()) {
            self.one(&mut found);
        }
        let old = self.cutter.forget();
        self.held.drain(..old);
        found
    }

    /// The end; what was found in the rest.
    #[must_use]
    pub fn finish(mut self) -> Vec<Finding> {
        let mut found = Vec::new();
        while self.one(&mut found) {}
        found
    }

    fn one(&mut self, found: &mut Vec<Finding>) -> bool {
        let Some(cut) = self.cutter.next(&self.held) else { return false };
        found.extend(self.scanner.stretch(&self.held, &cut, self.format, self.known));
        true
    }
}
