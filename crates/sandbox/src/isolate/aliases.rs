//! Other names of a file: a file system may be mounted in more than one place, and what is hidden in one must be in all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One line of `/proc/self/mountinfo`: a part of a file system, and where it is.
struct Mounted {
    device: Vec<u8>,
    root: PathBuf,
    place: PathBuf,
}

impl Mounted {
    fn of(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let device = fields.next()?.to_vec();
        let mut path = || Some(PathBuf::from(OsString::from_vec(plain(fields.next()?))));
        Some(Self { device, root: path()?, place: path()? })
    }
}

/// Blanks and the like are written as a backslash and three octal digits.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out
}

/// What is mounted where.
pub(super) struct Mounts(Vec<Mounted>);

impl Mounts {
    /// As it is now.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::of(&fs::read("/proc/self/mountinfo")?))
    }

    fn of(table: &[u8]) -> Self {
        Self(table.split(|byte| *byte == b'\n').filter_map(Mounted::of).collect())
    }

    /// Where the same place of the same file system would be.
    fn names(&self, path: &Path) -> Vec<PathBuf> {
        // Of mounts on the same place the last lies on top.
        let holders = self.0.iter().filter(|one| path.starts_with(&one.place));
        let Some(holder) = holders.max_by_key(|one| one.place.components().count()) else { return Vec::new() };
        let inner = join(&holder.root, path.strip_prefix(&holder.place).unwrap_or(Path::new("")));
        let others = self.0.iter().filter(|one| one.device == holder.device);
        let name = |one: &Mounted| Some(join(&one.place, inner.strip_prefix(&one.root).ok()?));
        others.filter_map(name).filter(|other| other != path).collect()
    }

    /// A path that has no links in it, and every other by which the same file is reached.
    pub(super) fn everywhere(&self, path: &Path) -> Vec<PathBuf> {
        let identity = |path: &Path| fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let own = identity(path);
        let same = |other: &PathBuf| own.is_some() && identity(other) == own;
        std::iter::once(path.to_owned()).chain(self.names(path).into_iter().filter(same)).collect()
    }
}

/// Joins without a slash at the end, which a file must not have.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_every_mount() {
        let mounts = Mounts::of(
            b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            23 22 8:2 /home /home rw - ext4 /dev/sda2 rw\n\
            24 22 8:2 / /mnt/a\\040b rw - ext4 /dev/sda2 rw\n\
            25 22 8:2 /home/u/.env /srv/env rw - ext4 /dev/sda2 rw\n\
            26 22 8:3 / /data rw - ext4 /dev/sda3 rw\n",
        );
        let names = |path: &str| mounts.names(Path::new(path));
        assert_eq!(names("/home/u/.env"), [PathBuf::from("/mnt/a b/home/u/.env"), "/srv/env".into()]);
        assert_eq!(names("/mnt/a b/home/u"), [PathBuf::from("/home/u")]);
        assert!(names("/data/x").is_empty());
        assert!(names("/etc/x").is_empty());
    }
}
