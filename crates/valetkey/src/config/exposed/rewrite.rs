//! Changes a file of the user: whole or not at all, with its mode, and only if it is still what was read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, bail};

/// Replaces a file's octets.
///
/// # Errors
/// It is not what it was, belongs to somebody else, or its folder cannot be written.
pub fn rewrite(path: &Path, before: &[u8], after: &[u8]) -> anyhow::Result<()> {
    let shown = path.display();
    // A link's target is changed, not the link.
    let path = &fs::canonicalize(path).with_context(|| format!("`{shown}` cannot be found any more"))?;
    let state = fs::metadata(path)?;
    if state.uid() != rustix::process::geteuid().as_raw() {
        bail!("`{shown}` belongs to another user (uid {}); run this as that user", state.uid());
    }
    let mut name = path.file_name().context("no file name")?.to_owned();
    name.push(format!(".{}.valetkey", std::process::id()));
    let fresh = path.with_file_name(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(after).and_then(|()| file.sync_all()))
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(state.mode() & 0o7777)));
    // The last look is as late as it can be.
    let same = written.is_ok() && fs::read(path).is_ok_and(|now| now == before);
    if !same {
        let _ = fs::remove_file(&fresh);
        written.with_context(|| format!("nothing can be written beside `{shown}`; check space and permissions"))?;
        bail!("`{shown}` was changed meanwhile; start again");
    }
    fs::rename(&fresh, path).with_context(|| format!("`{shown}` cannot be replaced"))
}
