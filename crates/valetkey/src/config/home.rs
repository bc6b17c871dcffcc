//! The folder of our state.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, bail};
use model::{Random, bounds};
use secret::Secret;

use super::Ambient;
use super::private::{read_bounded, write_new};

/// Rows of one home.
const DATABASE: &str = "valetkey.db";

/// The folder of our state: rows, audit log, control socket, session files. Any number of `run` and one `serve` may share it.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
    node: CString,
    /// Held by the one `serve` of a home for as long as it lives.
    serving: Arc<OnceLock<File>>,
}

impl Home {
    /// Opens it, making it (0700) on first use.
    ///
    /// # Errors
    /// It cannot be made, belongs to somebody else, or others may write into it.
    pub fn open(ambient: &Ambient) -> anyhow::Result<Self> {
        let path = ambient.state_folder()?;
        let make = || DirBuilder::new().recursive(true).mode(0o700).create(&path);
        make().with_context(|| {
            format!("the home `{}` cannot be made; set VALETKEY_HOME to a folder that you may write", path.display())
        })?;
        let state = fs::metadata(&path).with_context(|| format!("the home `{}` cannot be read", path.display()))?;
        let me = rustix::process::geteuid().as_raw();
        if state.uid() != me {
            bail!(
                "the home `{}` belongs to another user (uid {}); set VALETKEY_HOME to a folder of your own",
                path.display(),
                state.uid()
            );
        }
        super::ownership::refuse_foreign(&path)?;
        if state.mode() & 0o077 != 0 {
            // A folder that others use is not ours to close: /tmp, or a home, named by mistake.
            let is_ours = path.join(DATABASE).exists() || fs::read_dir(&path).is_ok_and(|mut all| all.next().is_none());
            if !is_ours {
                bail!(
                    "others may enter the home `{}`, and it holds other things than ours; set VALETKEY_HOME to an empty folder",
                    path.display()
                );
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).with_context(|| {
                format!("others may enter the home `{}` and it cannot be closed; chmod 700 it", path.display())
            })?;
        }
        let node = rustix::system::uname().nodename().to_owned();
        Ok(Self { path, node, serving: Arc::default() })
    }

    /// The database of one home.
    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// The folder of the audit log.
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("api.sock")
    }

    /// Binds the control socket for `serve`. There is one `serve` for a home; from a `run` it takes the socket over.
    ///
    /// # Errors
    /// Another `serve` has this home; the socket cannot be made.
    pub fn bind_socket(&self) -> anyhow::Result<UnixListener> {
        let path = self.path.join("serve.lock");
        let lock = super::private::create_private(&path)?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another `valetkey serve` has the home `{}`; stop it, or set VALETKEY_HOME to another folder",
                self.path.display()
            );
        }
        let _ = self.serving.set(lock);
        self.bind()
    }

    /// Binds the control socket for `run`, unless somebody answers there already.
    pub fn try_bind_socket(&self) -> Option<UnixListener> {
        if UnixStream::connect(self.socket()).is_ok() {
            return None;
        }
        self.bind().ok()
    }

    fn bind(&self) -> anyhow::Result<UnixListener> {
        super::door::bind(&self.socket(), 0o600)
    }

    /// Removes the control socket.
    pub fn forget_socket(&self) {
        let _ = fs::remove_file(self.socket());
    }

    /// A file without a name for the user alone, to be read and written: gone when it is closed, or with this process.
    ///
    /// # Errors
    /// The home cannot be written.
    pub fn nameless(&self, random: &dyn Random) -> std::io::Result<File> {
        let mut noise = [0u8; 8];
        random.fill(&mut noise);
        let path = self.path.join(format!("spool-{:016x}", u64::from_be_bytes(noise)));
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(&path)?;
        // Before anything is in it.
        fs::remove_file(&path)?;
        Ok(file)
    }

    /// The folder of files that live as long as a session.
    pub fn sessions(&self) -> PathBuf {
        self.path.join("sessions")
    }

    /// The file that says what imports have changed; no value is in it.
    pub fn imports(&self) -> PathBuf {
        self.path.join("imports.json")
    }

    /// The file that keeps the vault's key where there is nothing better.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("vault.key")
    }

    /// The name of this machine, as audit records carry it.
    pub fn node(&self) -> String {
        let name = self.node.to_string_lossy();
        let plain: String =
            name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-._".contains(*letter)).take(64).collect();
        if plain.is_empty() { "localhost".to_owned() } else { plain }
    }

    /// Where the vault's key is kept: a passphrase in the file that `VALETKEY_PASSPHRASE_FILE` names, else the keychain, else a
    /// file beside the database.
    ///
    /// # Errors
    /// The passphrase file does not exist, is empty, or others may read it.
    pub fn keyrings(&self, ambient: &Ambient) -> anyhow::Result<vault::KeyringChoice> {
        let Some(path) = ambient.var_os("VALETKEY_PASSPHRASE_FILE").map(|path| ambient.folder().join(path)) else {
            return Ok(vault::KeyringChoice::Auto { key_file: self.key_file() });
        };
        let bytes = read_bounded(&path, bounds::SECRET_BYTES_MAX)?.with_context(|| {
            format!("the passphrase file `{}` does not exist; check VALETKEY_PASSPHRASE_FILE", path.display())
        })?;
        if fs::metadata(&path)?.mode() & 0o077 != 0 {
            bail!(
                "others may read the passphrase file `{}`; chmod 600 it and choose another passphrase",
                path.display()
            );
        }
        super::ownership::refuse_foreign(&path)?;
        let passphrase = without_line_end(bytes);
        if passphrase.is_empty() {
            bail!("the passphrase file `{}` is empty; write a passphrase into it", path.display());
        }
        Ok(vault::KeyringChoice::Passphrase(Secret::new(passphrase)))
    }

    /// The seed of the key that signs checkpoints of the audit log; made on first use. Losing it loses the proof, not the log.
    ///
    /// # Errors
    /// It cannot be read or made, or has another length.
    pub fn signing_seed(&self, random: &dyn Random) -> anyhow::Result<[u8; 32]> {
        let path = self.path.join("audit.key");
        let mut fresh = [0u8; 32];
        random.fill(&mut fresh);
        // Two processes may begin at once; whoever creates the file wins, the other reads it.
        if write_new(&path, &fresh)? {
            return Ok(fresh);
        }
        let mut seed = read_bounded(&path, 64)?.unwrap_or_default();
        // The other process may not have finished writing.
        for _ in 0..50 {
            if seed.len() == 32 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            seed = read_bounded(&path, 64)?.unwrap_or_default();
        }
        seed.try_into().ok().with_context(|| {
            format!(
                "`{}` is damaged; restore it from a backup, or move the home away and begin a new one",
                path.display()
            )
        })
    }
}

/// Editors end a file with a line feed that is no part of what was meant.
pub fn without_line_end(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.ends_with(b"\n") {
        bytes.pop();
        if bytes.ends_with(b"\r") {
            bytes.pop();
        }
    }
    bytes
}
