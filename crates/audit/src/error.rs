//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why the audit log could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The record could not be written or made durable: nothing may be done in its name.
    #[error("audit lane `{lane}` cannot be written: {why}; free space or repair the disk, recording goes on by itself")]
    Unavailable {
        /// The lane.
        lane: String,
        /// What the system said.
        why: String,
    },
    /// The lane is closed: this process is ending.
    #[error("audit lane `{lane}` is closed; the process is about to end")]
    Closed {
        /// The lane.
        lane: String,
    },
    /// A record stays over `RECORD_BYTES_MAX` however much is cut.
    #[error("audit record of {bytes} octets is over the bound even when cut; refuse the request")]
    TooLarge {
        /// Its length, octets.
        bytes: usize,
    },
    /// A file or folder of the log could not be used.
    #[error("could not {what} `{}`: {source}; check that the folder exists, is writable by this user and has space", path.display())]
    Io {
        /// What was tried: `open`, `read`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The signing key is not one.
    #[error("the audit signing key is not an Ed25519 seed of 32 octets; restore it from a backup or start a new home")]
    Key,
    /// The last line of the checkpoints is not one.
    #[error("`{}` is damaged; run `valetkey audit verify` and keep a copy of the folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Not a head.
    #[error(
        "`{text}` is not an audit head; copy it whole from a receipt or an export: a number, `-` and 64 hex digits"
    )]
    Head {
        /// What was given.
        text: String,
    },
    /// An event could not be written as JSON.
    #[error("an event could not be encoded: {0}; this is a mistake of ours, please report it")]
    Encode(#[from] serde_json::Error),
    /// No sink is called so.
    #[error("`{name}` is not an audit sink; known are: {known}")]
    Sink {
        /// What was given.
        name: String,
        /// All names.
        known: String,
    },
}

impl AuditError {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { what, path, source }
    }
}
