//! A file with 64 hex digits, mode 0600, beside the vault or wherever the operator keeps it (better: on another disk).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use model::Random;
use zeroize::Zeroizing;

use super::{Around, Keyring, KeyringError, Made};
use crate::seal::Key;
use crate::{Ambient, Pending};

/// First word of the file, so that another file is told from a damaged one.
const MARK: &str = "valetkey-key-1 ";
/// The mark, the digits and a newline; a byte more to see that it is too long.
const FILE_BYTES_MAX: u64 = 15 + 64 + 2;

pub(super) struct KeyFile {
    path: PathBuf,
}

impl KeyFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn unusable(&self, error: &std::io::Error) -> KeyringError {
        KeyringError::FileUnusable { path: self.path.clone(), why: error.to_string() }
    }

    fn read(&self) -> Result<Key, KeyringError> {
        let path = || self.path.clone();
        let file = File::open(&self.path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => KeyringError::FileMissing { path: path() },
            _ => self.unusable(&error),
        })?;
        // Of the open file, not of the path: it cannot be exchanged in between.
        let about = file.metadata().map_err(|error| self.unusable(&error))?;
        if !about.is_file() {
            return Err(KeyringError::FileMalformed { path: path() });
        }
        if about.mode() & 0o077 != 0 {
            return Err(KeyringError::FileExposed { path: path(), mode: about.mode() & 0o777 });
        }
        if about.uid() != rustix::process::geteuid().as_raw() && about.uid() != 0 {
            return Err(KeyringError::FileForeign { path: path() });
        }
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize));
        file.take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|_| KeyringError::FileMalformed { path: path() })?;
        text.strip_prefix(MARK)
            .and_then(|digits| Key::from_hex(digits.trim_end_matches('\n')))
            .ok_or_else(|| KeyringError::FileMalformed { path: path() })
    }

    /// Writes a key beside its final name and links it there: no reader sees half of it, and whoever links first wins.
    fn write(&self, random: &dyn Random) -> Result<(), std::io::Error> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut noise = [0u8; 8];
        random.fill(&mut noise);
        let beside = folder.join(format!(".key-{:016x}", u64::from_be_bytes(noise)));
        let linked = fill(&beside, &Key::fresh(random)).and_then(|()| std::fs::hard_link(&beside, &self.path));
        let removed = std::fs::remove_file(&beside);
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => other?,
        }
        removed?;
        File::open(folder)?.sync_all()
    }
}

fn fill(path: &Path, key: &Key) -> Result<(), std::io::Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(MARK.as_bytes())?;
    file.write_all(key.hex().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

impl Keyring for KeyFile {
    fn slot(&self) -> &'static str {
        "key-file"
    }

    fn present(&self, _: &Ambient) -> bool {
        true
    }

    fn make<'a>(&'a self, around: Around<'a>) -> Pending<'a, Result<Made, KeyringError>> {
        let made = match self.read() {
            Err(KeyringError::FileMissing { .. }) => {
                self.write(around.random).map_err(|error| self.unusable(&error)).and_then(|()| self.read())
            }
            found => found,
        };
        Box::pin(std::future::ready(made.map(|key| Made { key, params: "{}".to_owned() })))
    }

    fn find<'a>(&'a self, _: &'a str, _: Around<'a>) -> Pending<'a, Result<Key, KeyringError>> {
        Box::pin(std::future::ready(self.read()))
    }
}
