//! What can go wrong with credentials. No message ever holds a value.

use model::{Code, CredentialName};
use store::StoreError;

use crate::backend::BackendError;
use crate::keyring::KeyringError;
use crate::kind::KindError;
use crate::reference::ReferenceError;
use crate::seal::SealError;

/// Why the vault could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The rows could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that opens the vault could not be had.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Something sealed does not open.
    #[error("{what} does not open: {error}")]
    Sealed {
        /// What.
        what: String,
        /// Why.
        error: SealError,
    },
    /// No such credential.
    #[error("there is no credential `{name}`; add it with `valetkey credential add {name}`")]
    NotFound {
        /// The name.
        name: CredentialName,
    },
    /// There is one already.
    #[error("there is a credential `{name}` already; give it a new version with `valetkey credential rotate {name}`")]
    Exists {
        /// The name.
        name: CredentialName,
    },
    /// The value lives elsewhere.
    #[error("the value of `{name}` comes from `{reference}`; change it there")]
    Elsewhere {
        /// The name.
        name: CredentialName,
        /// The reference.
        reference: String,
    },
    /// Tokens cannot be kept in it.
    #[error("credential `{name}` is of kind `{kind}` and cannot hold a log-in; declare one with `kind: oauth2`")]
    NoLogin {
        /// The name.
        name: CredentialName,
        /// What it is.
        kind: String,
    },
    /// Too much was captured under it.
    #[error(
        "no name is left for what was handed out under `{name}`; remove what is not used with `valetkey credential`"
    )]
    NoName {
        /// The name.
        name: CredentialName,
    },
    /// Another process rotates it.
    #[error(
        "another process rotates `{name}`; it is done within minutes, and a rotation that was interrupted goes on then"
    )]
    Rotates {
        /// The name.
        name: CredentialName,
    },
    /// A step of a rotation was not done.
    #[error("the rotation of `{name}` is not done: {error}; what is done stays done, and the same command goes on")]
    Undone {
        /// The name.
        name: CredentialName,
        /// Why.
        error: crate::rotate::RotateError,
    },
    /// Its versions follow from each other.
    #[error("`{name}` is a log-in that renews itself; `valetkey credential login {name}` begins another")]
    IsLogIn {
        /// The name.
        name: CredentialName,
    },
    /// There is nothing to go back to.
    #[error(
        "no version of `{name}` is in grace, so there is none to go back to; `valetkey credential show {name}` lists them"
    )]
    NothingBefore {
        /// The name.
        name: CredentialName,
    },
    /// The permit was given for a request that goes out bare.
    #[error("the permit names no credential")]
    NoCredential,
    /// It was revoked, or every version of it.
    #[error("credential `{name}` was revoked; store a new version, or lift the stop if it was a mistake")]
    Revoked {
        /// The name.
        name: CredentialName,
    },
    /// An operator has stopped who asks.
    #[error("{what} was stopped by an operator; the same `valetkey stop` with `--lift` lets it go on")]
    Stopped {
        /// Agent, session or everything.
        what: String,
    },
    /// It is past its end, and its back end has no newer one.
    #[error("credential `{name}` has expired and its back end gives no newer one; renew it there")]
    Expired {
        /// The name.
        name: CredentialName,
    },
    /// Its back end does not give it.
    #[error("credential `{name}` cannot be had: {error}")]
    Unavailable {
        /// The name.
        name: CredentialName,
        /// Why.
        error: BackendError,
    },
    /// A back end over the network cannot be asked as it is described.
    #[error("back end `{word}` cannot be used: {why}")]
    Site {
        /// What stands before the colon in references.
        word: String,
        /// Why.
        why: String,
    },
    /// The value cannot be a credential of this kind.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// The reference cannot be used.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

impl VaultError {
    /// What the agent is told.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Revoked { .. } => Code::CredentialRevoked,
            Self::Expired { .. } => Code::CredentialExpired,
            // Trying again gives nobody a user.
            Self::Stopped { .. } | Self::Reference(ReferenceError::Nobody { .. }) => Code::Denied,
            _ => Code::CredentialUnavailable,
        }
    }

    /// Whether there is nothing (yet), rather than something that cannot be had.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Unavailable { error: BackendError::Missing { .. }, .. })
    }

    /// Whether the last good value may stand in for a while: the back end is away, rather than saying no.
    pub(crate) const fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable { error, .. } => error.is_passing(),
            Self::Store(error) => error.is_passing(),
            _ => false,
        }
    }
}
