//! Reads a file line by line with a bound on the length of a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use model::bounds::RECORD_BYTES_MAX;

/// Lines of one file. A line that is too long ends where the bound is, and then is no record.
pub(crate) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    offset: u64,
    max: usize,
}

/// One line as it was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Where it begins, octets.
    pub offset: u64,
    /// Without its line feed.
    pub bytes: &'a [u8],
    /// Whether its line feed was there.
    pub ended: bool,
}

impl Lines {
    pub(crate) fn open(path: &Path, from: u64) -> io::Result<Self> {
        Self::bounded(path, from, RECORD_BYTES_MAX)
    }

    pub(crate) fn bounded(path: &Path, from: u64, max: usize) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if from > 0 {
            file.seek(SeekFrom::Start(from))?;
        }
        Ok(Self { reader: BufReader::with_capacity(256 * 1024, file), line: Vec::new(), offset: from, max })
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let offset = self.offset;
        let read = (&mut self.reader).take(self.max as u64 + 1).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.offset += read as u64;
        let (bytes, ended) = match self.line.split_last() {
            Some((b'\n', rest)) => (rest, true),
            _ => (self.line.as_slice(), false),
        };
        Ok(Some(Line { offset, bytes, ended }))
    }
}
