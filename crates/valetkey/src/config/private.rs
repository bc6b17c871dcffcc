//! Private files and folders, and reading within a bound.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use model::Random;

/// Reads a file of at most `max` octets; `None` if it does not exist.
///
/// # Errors
/// It is larger, no plain file, or cannot be read.
pub fn read_bounded(path: &Path, max: usize) -> anyhow::Result<Option<Vec<u8>>> {
    // A pipe that somebody put there must not hold us up.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            return Err(error).with_context(|| format!("`{}` cannot be read; check its permissions", path.display()));
        }
    };
    if !file.metadata()?.is_file() {
        anyhow::bail!("`{}` is not a plain file", path.display());
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("`{}` cannot be read", path.display()))?;
    if bytes.len() > max {
        anyhow::bail!("`{}` is larger than {max} octets", path.display());
    }
    Ok(Some(bytes))
}

/// Writes a file for the user alone (0600), whole or not at all.
///
/// # Errors
/// The folder cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().context("no file name")?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    // One of ours that was left, or a pipe that somebody put there: either is not to be written into.
    let _ = fs::remove_file(&fresh);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&fresh)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&fresh, path));
    written.with_context(|| format!("`{}` cannot be written; check space and permissions", path.display()))
}

/// A file for the user alone (0600) to write into; what was in it is gone.
///
/// # Errors
/// The folder cannot be written.
pub fn create_private(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.with_context(|| format!("`{}` cannot be written; check space and permissions", path.display()))
}

/// Writes a file that must not exist yet; `false` if it does.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<bool> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match opened {
        Ok(mut file) => file.write_all(bytes).and_then(|()| file.sync_all())?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("`{}` cannot be written", path.display())),
    }
    Ok(true)
}

/// A folder for the user alone that is removed with all that is in it.
#[derive(Debug)]
pub struct TemporaryFolder {
    path: PathBuf,
}

impl TemporaryFolder {
    pub(super) fn make(parent: &Path, prefix: &str, random: &dyn Random) -> anyhow::Result<Self> {
        let mut noise = [0u8; 8];
        random.fill(&mut noise);
        let path = parent.join(format!("{prefix}-{:016x}", u64::from_be_bytes(noise)));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| {
            format!("`{}` cannot be made; set TMPDIR to a folder that you may write", path.display())
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
