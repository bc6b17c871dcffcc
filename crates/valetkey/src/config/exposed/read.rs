//! Reads a file in pieces, unless it is binary or larger than the bound.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Octets read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// A NUL this far in makes a file binary, as for git.
const BINARY_BYTES: usize = 8_000;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every octet was given.
    Whole(u64),
    /// It holds a NUL near its beginning.
    Binary,
    /// It is larger than the bound.
    Large,
}

/// Gives the file's octets to `take`, piece by piece; `buffer` is reused between files.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path, max: u64, buffer: &mut Vec<u8>, take: &mut dyn FnMut(&[u8])) -> std::io::Result<Outcome> {
    let mut file = File::open(path)?;
    let state = file.metadata()?;
    // Between the walk and now it may have become a pipe.
    if !state.is_file() || state.len() > max {
        return Ok(Outcome::Large);
    }
    buffer.resize(PIECE_BYTES, 0);
    let mut total = 0u64;
    loop {
        let read = fill(&mut file, buffer)?;
        let piece = buffer.get(..read).unwrap_or_default();
        if total == 0 && piece.get(..BINARY_BYTES).unwrap_or(piece).contains(&0) {
            return Ok(Outcome::Binary);
        }
        total += read as u64;
        if read == 0 {
            return Ok(Outcome::Whole(total));
        }
        // A file that grows while it is read ends where it was to end.
        if total > max {
            return Ok(Outcome::Large);
        }
        take(piece);
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
