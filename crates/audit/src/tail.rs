//! What is new since the last look: for `audit tail --follow` and for sinks.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::AuditError;
use crate::layout;
use crate::lines::Lines;

/// Lines that one look gives at most; the rest comes with the next.
const LINES_MAX: usize = 10_000;

/// A place in every lane. Looking costs one folder listing and one `stat` per lane that is still open.
pub struct Tail {
    root: PathBuf,
    at: HashMap<String, At>,
}

#[derive(Debug, Clone, Copy)]
struct At {
    segment: u32,
    offset: u64,
    /// Closed and read to its end.
    done: bool,
}

impl Tail {
    /// From the beginning of the log.
    #[must_use]
    pub fn from_start(dir: &Path) -> Self {
        Self { root: dir.to_path_buf(), at: HashMap::new() }
    }

    /// From its end: only what comes from now on.
    pub fn from_end(dir: &Path) -> Result<Self, AuditError> {
        let mut tail = Self::from_start(dir);
        tail.seek_end().map_err(AuditError::io("read", dir))?;
        Ok(tail)
    }

    fn seek_end(&mut self) -> io::Result<()> {
        let open = layout::open_lanes(&self.root)?;
        for lane in layout::lanes(&self.root)? {
            let folder = self.root.join(&lane);
            let segment = layout::segments(&folder)?.last().copied().unwrap_or(1);
            let path = layout::segment(&folder, segment);
            let mut offset = 0;
            if open.contains(&lane) {
                // Up to the last whole line.
                let mut lines = Lines::open(&path, 0)?;
                while let Some(line) = lines.next()? {
                    if line.ended {
                        offset = line.offset + line.bytes.len() as u64 + 1;
                    }
                }
            }
            let done = !open.contains(&lane);
            self.at.insert(lane, At { segment, offset, done });
        }
        Ok(())
    }

    /// Raw lines (without line feeds) written since the last look, lane by lane. Empty: nothing new; look again later.
    pub fn look(&mut self) -> Result<Vec<Vec<u8>>, AuditError> {
        let mut new = Vec::new();
        self.look_into(&mut new).map_err(AuditError::io("read", &self.root.clone()))?;
        Ok(new)
    }

    fn look_into(&mut self, new: &mut Vec<Vec<u8>>) -> io::Result<()> {
        // First who is open, then what is there: a lane that closes in between is read once more.
        let open = layout::open_lanes(&self.root)?;
        for lane in layout::lanes(&self.root)? {
            let at = self.at.entry(lane.clone()).or_insert(At { segment: 1, offset: 0, done: false });
            if at.done {
                continue;
            }
            let ended = read_on(&self.root.join(&lane), at, new)?;
            at.done = ended && !open.contains(&lane);
            if new.len() >= LINES_MAX {
                break;
            }
        }
        Ok(())
    }
}

/// Reads whole lines on from a place; whether the end was reached.
fn read_on(folder: &Path, at: &mut At, new: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    loop {
        let more = layout::segment(folder, at.segment + 1).exists();
        let mut lines = match Lines::open(&layout::segment(folder, at.segment), at.offset) {
            Ok(lines) => lines,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        };
        while let Some(line) = lines.next()? {
            if !line.ended {
                break;
            }
            at.offset = line.offset + line.bytes.len() as u64 + 1;
            new.push(line.bytes.to_vec());
            if new.len() >= LINES_MAX {
                return Ok(false);
            }
        }
        if !more {
            return Ok(true);
        }
        *at = At { segment: at.segment + 1, offset: 0, done: false };
    }
}
