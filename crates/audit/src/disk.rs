//! The few things that a segment file must do, as a seam: tests put a disk there that fills, fails and forgets.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// One open segment file. Offsets are octets from its beginning.
pub trait Segment: Send + Sync {
    /// Writes all of `bytes` at `offset`. After an error any part of them may stand there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills `out` from `offset`.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;
    /// Cuts the file to `length`.
    fn cut(&self, length: u64) -> io::Result<()>;
    /// Returns when everything written is durable (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// Its length.
    fn length(&self) -> io::Result<u64>;
}

/// Where segments come from.
pub trait Disk: Send + Sync {
    /// Opens a segment for reading and writing; makes it (0600) where it is missing.
    fn segment(&self, path: &Path) -> io::Result<Arc<dyn Segment>>;
    /// Returns when the entries of a folder are durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Segment for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Disk for RealDisk {
    fn segment(&self, path: &Path) -> io::Result<Arc<dyn Segment>> {
        Ok(Arc::new(private_file(path)?))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Opens a file for reading and writing, 0600 where it is made. Never through a symbolic link.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Makes a folder and its parents, 0700.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
