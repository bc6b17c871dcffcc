//! Names of files and folders, and the lock that says whether a lane lives.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model::time::{Random, Timestamp};
use rustix::fs::{FlockOperation, flock};

use crate::disk::private_file;

/// Length of a lane's name.
pub(crate) const LANE_BYTES: usize = 20;

/// A fresh lane name: 12 hex digits of milliseconds, 8 of randomness, so that names sort by time.
pub(crate) fn fresh_lane(now: Timestamp, random: &dyn Random) -> String {
    let mut noise = [0u8; 4];
    random.fill(&mut noise);
    let millis = (now.0.max(0).unsigned_abs() / 1_000) & 0xffff_ffff_ffff;
    format!("{millis:012x}{:08x}", u32::from_be_bytes(noise))
}

/// Whether a text has the form of a lane's name.
pub(crate) fn is_lane(text: &[u8]) -> bool {
    text.len() == LANE_BYTES && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// When a lane was made, from its name.
pub(crate) fn lane_born(lane: &str) -> Timestamp {
    let millis = lane.get(..12).and_then(|hex| i64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    Timestamp(millis.saturating_mul(1_000))
}

pub(crate) fn open_folder(root: &Path) -> PathBuf {
    root.join("open")
}

pub(crate) fn checkpoints(root: &Path) -> PathBuf {
    root.join("checkpoints.log")
}

pub(crate) fn segment(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// Attempts that were open when segment `number` began.
pub(crate) fn carried(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.open"))
}

fn names(folder: &Path, keep: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if let Some(name) = entry?.file_name().to_str().filter(|name| keep(name)) {
            found.push(name.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// All lanes that have a folder, oldest first.
pub(crate) fn lanes(root: &Path) -> io::Result<Vec<String>> {
    names(root, |name| is_lane(name.as_bytes()))
}

/// All lanes that are not closed, oldest first.
pub(crate) fn open_lanes(root: &Path) -> io::Result<Vec<String>> {
    names(&open_folder(root), |name| is_lane(name.as_bytes()))
}

/// Numbers of a lane's segments, in order.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<u32>> {
    let number = |name: &str| name.strip_suffix(".log").filter(|digits| digits.len() == 8)?.parse().ok();
    let names = names(folder, |name| number(name).is_some())?;
    Ok(names.iter().filter_map(|name| number(name)).collect())
}

/// A held lock on a lane. Dropping it without [`LaneLock::release`] leaves the lane open, hence to be recovered.
#[derive(Debug)]
pub(crate) struct LaneLock {
    _file: File,
    path: PathBuf,
}

impl LaneLock {
    /// Takes the lock of a lane that does not exist yet. The name appears already locked, so that nobody can take it
    /// for the lock of a dead process.
    pub(crate) fn create(root: &Path, lane: &str) -> io::Result<Self> {
        let path = open_folder(root).join(lane);
        let early = path.with_extension("new");
        let file = private_file(&early)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(&early, &path)?;
        Ok(Self { _file: file, path })
    }

    /// Takes the lock of a lane whose process is gone; `None` while it lives, or where another recovered it first.
    pub(crate) fn take(root: &Path, lane: &str) -> io::Result<Option<Self>> {
        let path = open_folder(root).join(lane);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        // Removed between opening and locking: somebody else closed it.
        let linked = file.metadata()?.nlink() > 0;
        Ok(linked.then_some(Self { _file: file, path }))
    }

    /// The lane is closed: its name goes, then its lock.
    pub(crate) fn release(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}
