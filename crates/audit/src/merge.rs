//! All lanes as one stream in order of time, with one line of each lane that overlaps in memory.
//!
//! Lanes are opened when their birth (which their name tells) comes near, and closed at their end, so ten thousand
//! finished runs cost no more open files than run at once. Within a lane the order is that of its chain.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use model::Timestamp;
use serde::Deserialize;

use crate::error::AuditError;
use crate::layout;
use crate::lines::Lines;

/// A record's time may lie before its lane's birth by at most the length of an accept; a minute is far beyond.
const EARLY_SECONDS: u64 = 60;

#[derive(Deserialize)]
struct When {
    time: Timestamp,
}

/// One lane, read from its beginning.
struct Reader {
    folder: PathBuf,
    segments: VecDeque<u32>,
    lines: Option<Lines>,
}

impl Reader {
    /// The next whole line; `None` at the end, or where a last line is not finished yet.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if self.lines.is_none() {
                let Some(number) = self.segments.pop_front() else { return Ok(None) };
                self.lines = Some(Lines::open(&layout::segment(&self.folder, number), 0)?);
            }
            match self.lines.as_mut().map_or(Ok(None), Lines::next)? {
                Some(line) if line.ended => return Ok(Some(line.bytes.to_vec())),
                _ => self.lines = None,
            }
        }
    }
}

struct Waiting {
    time: Timestamp,
    lane: usize,
    line: Vec<u8>,
    reader: Reader,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest; we want the earliest, and of two the older lane.
        (other.time, other.lane).cmp(&(self.time, self.lane))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// Raw lines (without line feeds) of all lanes in order of time.
pub struct Merge {
    root: PathBuf,
    coming: VecDeque<String>,
    heap: BinaryHeap<Waiting>,
    opened: usize,
}

impl Merge {
    /// All lanes of the log in `dir`.
    pub fn open(dir: &Path) -> Result<Self, AuditError> {
        let coming = layout::lanes(dir).map_err(AuditError::io("read", dir))?.into();
        Ok(Self { root: dir.to_path_buf(), coming, heap: BinaryHeap::new(), opened: 0 })
    }

    fn push(&mut self, mut reader: Reader, lane: usize, last: Timestamp) -> io::Result<()> {
        if let Some(line) = reader.next()? {
            // A line that cannot be read keeps its place; who prints it says what is wrong with it.
            let time = serde_json::from_slice::<When>(&line).map_or(last, |when| when.time);
            self.heap.push(Waiting { time, lane, line, reader });
        }
        Ok(())
    }

    fn open_near(&mut self) -> io::Result<()> {
        while let Some(lane) = self.coming.front() {
            let near = |first: &Waiting| layout::lane_born(lane) <= first.time.plus_secs(EARLY_SECONDS);
            if !self.heap.peek().is_none_or(near) {
                break;
            }
            let Some(lane) = self.coming.pop_front() else { break };
            let folder = self.root.join(&lane);
            let segments = layout::segments(&folder)?.into();
            self.opened += 1;
            self.push(Reader { folder, segments, lines: None }, self.opened, layout::lane_born(&lane))?;
        }
        Ok(())
    }

    fn step(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.open_near()?;
        let Some(Waiting { time, lane, line, reader }) = self.heap.pop() else { return Ok(None) };
        self.push(reader, lane, time)?;
        Ok(Some(line))
    }
}

impl Iterator for Merge {
    type Item = Result<Vec<u8>, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().map_err(AuditError::io("read", &self.root)).transpose()
    }
}
