//! Which Unix sockets of the host have a path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Unix sockets that have a path in the file system, as they are bound now (`/proc/net/unix`).
pub(super) fn bound_sockets() -> Vec<PathBuf> {
    std::fs::read("/proc/net/unix").map(|table| paths_of(&table)).unwrap_or_default()
}

/// The eighth field of each line, where it begins with a slash; abstract names begin with `@`.
fn paths_of(table: &[u8]) -> Vec<PathBuf> {
    let path = |line: &[u8]| {
        let rest = line.splitn(8, |byte| *byte == b' ').nth(7)?;
        let start = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b' ')?;
        let path = rest.get(start..).filter(|path| path.starts_with(b"/"))?;
        Some(PathBuf::from(OsStr::from_bytes(path)))
    };
    table.split(|byte| *byte == b'\n').filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_sockets() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 18219 /run/docker.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01   219 /home/u/a b.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 18219\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 15 @/tmp/abstract\n";
        assert_eq!(paths_of(table), [PathBuf::from("/run/docker.sock"), "/home/u/a b.sock".into()]);
    }
}
