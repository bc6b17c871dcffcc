//! What can go wrong with durable rows, each with what to do about it.

use std::path::PathBuf;

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be opened or made.
    #[error("cannot open the store `{path}`: {why}; check that its folder exists and belongs to you")]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Some page or row is not what we wrote.
    #[error("the store is damaged ({what}); stop every process that uses it and restore a backup")]
    Corrupt {
        /// What was found.
        what: String,
    },
    /// A database of something else.
    #[error("`{place}` is not a store of this program; choose another file or database")]
    Foreign {
        /// Where.
        place: String,
    },
    /// A newer program wrote it.
    #[error("the store has version {found}, this program knows {known}; use a newer program or an older backup")]
    Version {
        /// The highest migration in the store.
        found: i64,
        /// The highest that we know.
        known: i64,
    },
    /// A migration that was applied is not the one that we know under its number.
    #[error(
        "migration {number} in the store differs from this program's; it was made by a build that was never released"
    )]
    Migration {
        /// Its number.
        number: i64,
    },
    /// No space is left.
    #[error("the disk of the store is full; nothing was written; free some space and try again")]
    Full,
    /// Another process held the write lock for too long.
    #[error("the store is locked by another process; try again, and look for a process that hangs")]
    Locked,
    /// The file may be read but not written.
    #[error("the store may not be written; check the owner and mode of its file and folder")]
    ReadOnly,
    /// There is one already.
    #[error("a row with this name exists already ({what}); choose another name or remove the old one")]
    Conflict {
        /// The constraint.
        what: String,
    },
    /// The database server does not answer.
    #[error("the database server cannot be reached: {why}; nothing was written")]
    Unreachable {
        /// What the driver says, without the address.
        why: String,
    },
    /// The address of the database server cannot be used.
    #[error("the database address cannot be used: {why}")]
    Address {
        /// Why.
        why: String,
    },
    /// A number beyond what a row holds.
    #[error("`{what}` is too large for the store; use a smaller number")]
    TooLarge {
        /// Which.
        what: &'static str,
    },
    /// The system could not read or write the file: a quota, a limit of this process, a disk that dies.
    #[error("the disk of the store failed ({what}); nothing was written; check its space, quota and health")]
    Disk {
        /// What the engine says.
        what: String,
    },
    /// Anything else that the engine says.
    #[error("the store failed: {what}")]
    Engine {
        /// What it says.
        what: String,
    },
}

impl StoreError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Locked | Self::Unreachable { .. })
    }
}
