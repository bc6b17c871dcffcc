//! The files of one session: a directory of its own (0700), files in it (0600), gone at the end.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::SandboxError;

/// A file that the agent is to find.
#[derive(Clone, Debug)]
pub struct SessionFile {
    /// Where, inside the session's directory: a plain relative path without `..`.
    pub path: PathBuf,
    /// What stands in it.
    pub bytes: Vec<u8>,
}

/// The directory of one session. Removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct SessionDir {
    path: PathBuf,
}

impl SessionDir {
    /// Makes the directory; it must not exist (somebody else's directory is not ours to fill or remove). Missing parents are
    /// made, 0700 as well.
    ///
    /// # Errors
    /// It exists, or the system refuses.
    pub fn create(path: &Path) -> Result<Self, SandboxError> {
        let fail = |cause| SandboxError::File { path: path.to_owned(), cause };
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
        }
        DirBuilder::new().mode(0o700).create(path).map_err(fail)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one file, 0600; the place where it stands.
    ///
    /// # Errors
    /// The path leaves the directory, the file exists, or the system refuses.
    pub fn write(&self, file: &SessionFile) -> Result<PathBuf, SandboxError> {
        let place = self.path.join(&file.path);
        let fail = |cause| SandboxError::File { path: place.clone(), cause };
        if !file.path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "the path leaves the session's directory")));
        }
        if let Some(parent) = place.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail)?;
        }
        let mut open = OpenOptions::new();
        let mut out = open.write(true).create_new(true).mode(0o600).open(&place).map_err(fail)?;
        out.write_all(&file.bytes).map_err(fail)?;
        Ok(place)
    }
}

impl Drop for SessionDir {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %cause, "cannot remove the session's directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn private_and_gone_at_the_end() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("sessions/one");
        let dir = SessionDir::create(&path).expect("made");
        let file = dir.write(&SessionFile { path: "ca/bundle.pem".into(), bytes: b"x".to_vec() }).expect("written");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
        for bad in ["../x", "/etc/x", "a/../../x", "ca/bundle.pem"] {
            assert!(dir.write(&SessionFile { path: bad.into(), bytes: Vec::new() }).is_err(), "{bad}");
        }
        assert!(SessionDir::create(&path).is_err(), "a directory that exists is not ours");
        drop(dir);
        assert!(!path.exists());
    }
}
