//! Whether somebody else could change what is about to be believed: the configuration, the home, a key (row I111).
//!
//! Believed is what belongs to this user or to root, may be written by nobody else, and lies in folders of which the same is
//! true up to the root. A folder with the sticky bit (`/tmp`) may be written by all: nobody can exchange in it what is not
//! his. A group that has nobody else in it counts as the user himself.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use super::accounts::Accounts;

const STICKY: u32 = 0o1000;

/// Who we are, and how files of others are told.
struct Eye {
    uid: u32,
    accounts: Accounts,
    /// In a user namespace the kernel shows whoever has no number in it, root too, as this one.
    unmapped: Option<u32>,
}

impl Eye {
    fn open() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let map = read("/proc/self/uid_map");
        let whole = map.split_whitespace().eq(["0", "0", "4294967295"]) || map.is_empty();
        let unmapped = if whole { None } else { read("/proc/sys/kernel/overflowuid").trim().parse().ok() };
        Self { uid, accounts: Accounts::of_machine(), unmapped }
    }

    /// What somebody else could do with it, in words; none where nobody can.
    fn objection(&self, state: &Metadata) -> Option<String> {
        let owner = state.uid();
        if owner != self.uid && owner != 0 && self.unmapped != Some(owner) {
            return Some(format!("belongs to another user (uid {owner})"));
        }
        // The permissions of a link say nothing; its folder and its target are looked at themselves.
        if state.file_type().is_symlink() || state.is_dir() && state.mode() & STICKY != 0 {
            return None;
        }
        let mode = state.mode() & 0o7777;
        if mode & 0o002 != 0 {
            return Some(format!("may be written by everybody (mode {mode:o})"));
        }
        let shared = mode & 0o020 != 0 && state.gid() != 0 && !self.accounts.is_alone_in(state.gid(), self.uid);
        shared.then(|| format!("may be written by group {} (mode {mode:o})", state.gid()))
    }
}

/// Refuses a file or folder that somebody else could change or exchange.
///
/// # Errors
/// It can; the error says what to do. It does not exist or cannot be looked at.
pub fn refuse_foreign(path: &Path) -> anyhow::Result<()> {
    let eye = Eye::open();
    let real = fs::canonicalize(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!("`{}` does not exist; check the path", path.display()),
        _ => anyhow!(error).context(format!("`{}` cannot be looked at", path.display())),
    })?;
    let state = fs::metadata(&real).with_context(|| format!("`{}` cannot be looked at", path.display()))?;
    if let Some(objection) = eye.objection(&state) {
        let shown = path.display();
        bail!(
            "`{shown}` {objection}, who could change what it says; look at what is in it, then `chown {} {shown}` and `chmod go-w {shown}`",
            eye.uid
        );
    }
    // The way that was written, and the one that it leads to: links can be exchanged too.
    let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for place in folders(&written).chain(folders(&real)) {
        let Ok(state) = fs::symlink_metadata(&place) else { continue };
        if let Some(objection) = eye.objection(&state) {
            bail!(
                "`{}` lies in `{}`, which {objection}, who could exchange what is in it; `chmod go-w` that folder, or keep the file \
                 in one of your own",
                path.display(),
                place.display()
            );
        }
    }
    Ok(())
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.ancestors().skip(1).filter(|place| !place.as_os_str().is_empty()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn what_others_may_write_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let (inner, file) = (folder.path().join("inner"), folder.path().join("inner/valetkey.yaml"));
        fs::create_dir(&inner).expect("made");
        fs::write(&file, "version: 1\n").expect("written");
        mode(&inner, 0o755);
        mode(&file, 0o644);
        refuse_foreign(&file).expect("nobody else's");
        for (path, bits, part) in [
            (&file, 0o646, "valetkey.yaml` may be written by everybody (mode 646), who could change"),
            (&inner, 0o777, "inner`, which may be written by everybody (mode 777), who could exchange"),
        ] {
            mode(path, bits);
            let said = refuse_foreign(&file).expect_err("refused").to_string();
            assert!(said.contains(part) && said.contains("chmod go-w"), "{said}");
            mode(path, if path == &file { 0o644 } else { 0o755 });
        }
        mode(&inner, 0o1777);
        refuse_foreign(&file).expect("in a sticky folder nobody exchanges what is not his");
        let missing = refuse_foreign(&inner.join("none")).expect_err("missing").to_string();
        assert!(missing.contains("none` does not exist; check the path"), "{missing}");
    }

    #[test]
    fn another_user_and_a_shared_group_are_told() {
        let folder = tempfile::tempdir().expect("folder");
        let state = fs::metadata(folder.path()).expect("there");
        let eye = |uid, unmapped| Eye { uid, accounts: Accounts::default(), unmapped };
        if state.uid() != 0 {
            let said = eye(state.uid() + 1, None).objection(&state).expect("somebody else's");
            assert!(said.contains("belongs to another user (uid "), "{said}");
            assert!(eye(state.uid() + 1, Some(state.uid())).objection(&state).is_none(), "unmapped is not somebody");
        }
        mode(folder.path(), 0o770);
        let shared = eye(state.uid(), None).objection(&fs::metadata(folder.path()).expect("there"));
        assert_eq!(shared.is_some(), state.gid() != 0, "{shared:?}");
    }
}
