//! The control socket for other users of this machine.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::accounts::Accounts;
use super::ownership::refuse_foreign;

/// A socket that a group may reach; it lies in a folder that every user may read. Removed when dropped.
#[derive(Debug)]
pub struct Door {
    path: PathBuf,
}

impl Door {
    /// Opens it, for our own group or another one that we are in.
    ///
    /// # Errors
    /// Its folder does not exist or others may write into it; somebody answers there; there is no such group, or we are not
    /// in it.
    pub fn open(path: &Path, group: Option<&str>) -> anyhow::Result<(Self, UnixListener)> {
        let path = std::path::absolute(path)?;
        let shown = path.display();
        let folder = path.parent().with_context(|| format!("`{shown}` is no place for a socket; name a file"))?;
        if !folder.is_dir() {
            bail!(
                "the folder of the socket `{shown}` does not exist; make it, or let the service manager (RuntimeDirectory=)"
            );
        }
        refuse_foreign(folder)?;
        let group = match group {
            Some(name) => Some(Accounts::of_machine().group(name).with_context(|| {
                format!(
                    "no group is called `{name}`; make it (`groupadd --system {name}`), or name one with --socket-group"
                )
            })?),
            None => None,
        };
        if UnixStream::connect(&path).is_ok() {
            bail!("somebody answers at `{shown}` already; stop that gateway, or choose another place with --socket");
        }
        let listener = bind(&path, 0o600)?;
        let door = Self { path: path.clone() };
        if let Some(gid) = group {
            std::os::unix::fs::chown(&path, None, Some(gid)).with_context(|| {
                format!("the socket `{shown}` cannot be given to group {gid}; its gateway's user must be a member")
            })?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
        Ok((door, listener))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds a socket in place of one where nobody answers.
pub(super) fn bind(path: &Path, mode: u32) -> anyhow::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("the socket `{}` cannot be replaced", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| {
        format!(
            "the socket `{}` cannot be made; its path may be at most 107 octets: set VALETKEY_HOME, or --socket, to a shorter one",
            path.display()
        )
    })?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_reach_it_and_nobody_else() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("door.sock");
        let (door, listener) = Door::open(&path, None).expect("opened");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o660);
        let said = Door::open(&path, None).expect_err("taken").to_string();
        assert!(said.contains("somebody answers at"), "{said}");
        drop((door, listener));
        assert!(!path.exists());
        let said = Door::open(&path, Some("no-such-group")).expect_err("no group").to_string();
        assert!(said.contains("no group is called `no-such-group`; make it"), "{said}");
        let said = Door::open(&folder.path().join("none/door.sock"), None).expect_err("no folder").to_string();
        assert!(said.contains("does not exist; make it"), "{said}");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let said = Door::open(&path, None).expect_err("foreign").to_string();
        assert!(said.contains("may be written by everybody"), "{said}");
    }
}
