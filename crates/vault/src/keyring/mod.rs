//! Keyrings: where the key lies that opens the vault. Each holds a key of its own, under which the root key is sealed in
//! a slot; so one vault may have several, and changing a passphrase touches one row.
//!
//! To add one: a file here and a line in [`KeyringChoice::keyrings`].

mod key_file;
mod keychain;
mod passphrase;

use std::path::PathBuf;

use model::Random;
use secret::Secret;

use crate::seal::Key;
use crate::{Ambient, Pending};

/// Which keyring opens the vault.
pub enum KeyringChoice {
    /// The system's keychain where there is one, else the key file; a vault that exists is opened by whichever slot it
    /// has.
    Auto {
        /// The key file.
        key_file: PathBuf,
    },
    /// A file of mode 0600.
    KeyFile(PathBuf),
    /// A passphrase, taken through Argon2id.
    Passphrase(Secret),
    /// The system's keychain alone.
    Keychain,
}

impl KeyringChoice {
    /// The keyrings to try, in order.
    pub(crate) fn keyrings(self) -> Vec<Box<dyn Keyring>> {
        match self {
            Self::Auto { key_file } => {
                vec![Box::new(keychain::Keychain), Box::new(key_file::KeyFile::new(key_file))]
            }
            Self::KeyFile(path) => vec![Box::new(key_file::KeyFile::new(path))],
            Self::Passphrase(passphrase) => vec![Box::new(passphrase::Passphrase::new(passphrase))],
            Self::Keychain => vec![Box::new(keychain::Keychain)],
        }
    }
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The key file is gone.
    #[error("the key file `{path}` is missing; without it the vault stays closed: restore it from a backup")]
    FileMissing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key file.
    #[error(
        "the key file `{path}` can be read by others (mode {mode:o}); run `chmod 600 {path}` and replace the key if it leaked"
    )]
    FileExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody else owns the key file.
    #[error("the key file `{path}` belongs to another user; run as that user or choose another file")]
    FileForeign {
        /// The file.
        path: PathBuf,
    },
    /// The key file cannot be read or written.
    #[error("the key file `{path}` cannot be used: {why}; check its folder and the space on the disk")]
    FileUnusable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The key file holds something else.
    #[error("`{path}` is not a key file of this program; name the right one or restore it")]
    FileMalformed {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is too short to protect anything.
    #[error("the passphrase is shorter than 8 characters; choose a longer one")]
    PassphraseShort,
    /// It does not open the vault.
    #[error("the key from the {slot} does not open this vault; give the one that it was made with")]
    Wrong {
        /// The keyring.
        slot: String,
    },
    /// The slot's parameters are not ones that we would have written.
    #[error("the vault's {slot} slot is damaged; restore a backup")]
    Parameters {
        /// The keyring.
        slot: String,
    },
    /// The system's keychain does not give or take the key.
    #[error("the system's keychain does not answer ({why}); unlock it, or use a key file or passphrase")]
    Keychain {
        /// What happened.
        why: String,
    },
    /// The vault is opened by other keyrings than the one that was chosen.
    #[error("this vault is opened by {slots}; choose that keyring")]
    OtherSlots {
        /// What it has.
        slots: String,
    },
}

/// What keyrings stand on.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub ambient: &'a Ambient,
    pub random: &'a dyn Random,
}

/// A key made for a new slot.
pub(crate) struct Made {
    pub key: Key,
    /// What [`Keyring::find`] needs, as JSON; nothing secret.
    pub params: String,
}

/// One place where a key may lie.
pub(crate) trait Keyring: Send + Sync {
    /// The name of its slot.
    fn slot(&self) -> &'static str;

    /// Whether it is worth trying here. Takes microseconds.
    fn present(&self, ambient: &Ambient) -> bool;

    /// Makes a key and keeps it; one left over from an attempt that was cut short is used again.
    fn make<'a>(&'a self, around: Around<'a>) -> Pending<'a, Result<Made, KeyringError>>;

    /// The key made earlier.
    fn find<'a>(&'a self, params: &'a str, around: Around<'a>) -> Pending<'a, Result<Key, KeyringError>>;
}
