//! Back ends: where values live. The built-in vault is one of them.
//!
//! To add one: a file here and a line in [`backends`].

mod built_in;
mod env;
mod exec;
mod file;
mod keychain;
pub(crate) mod login;

pub(crate) use exec::read as printed;

use std::sync::Arc;

use model::{CredentialName, Tenant, Timestamp};
use secret::{Lease, Secret};
use store::Store;

use crate::keys::Keys;
use crate::{Ambient, Pending, Reference, Scheme};

/// Why a back end gives no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// It does not have it.
    #[error("{what}")]
    Missing {
        /// What is missing and what to do.
        what: String,
    },
    /// It does not answer.
    #[error("{what}")]
    Away {
        /// What happened and what to do.
        what: String,
    },
    /// What it gives is not a value.
    #[error("{what}")]
    Malformed {
        /// What is wrong and what to do.
        what: String,
    },
    /// Every version is revoked.
    #[error("every version of it was revoked; store a new one")]
    Revoked,
    /// It cannot be written to.
    #[error("a value cannot be stored there; change it at its source")]
    ReadOnly,
}

impl BackendError {
    /// Whether trying later may help.
    pub(crate) const fn is_passing(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// Which value is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub tenant: &'a Tenant,
    pub name: &'a CredentialName,
    pub reference: &'a Reference,
    pub now: Timestamp,
}

/// A value as a back end gives it.
pub(crate) struct Fetched {
    pub version: u64,
    pub value: Secret,
    pub lease: Lease,
}

impl Fetched {
    /// From a back end that knows neither versions nor ends.
    fn plain(value: Secret) -> Self {
        Self { version: 1, value, lease: Lease::default() }
    }
}

/// One back end.
pub(crate) trait Backend: Send + Sync {
    /// Which references it reads.
    fn scheme(&self) -> Scheme;

    /// Reads a value.
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>>;

    /// Stores a new version and makes it the current one.
    fn store<'a>(&'a self, wanted: Wanted<'a>, value: Secret) -> Pending<'a, Result<u64, BackendError>> {
        drop((wanted, value));
        Box::pin(std::future::ready(Err(BackendError::ReadOnly)))
    }
}

/// Everything that back ends stand on.
pub(crate) struct Ground {
    pub store: Store,
    pub keys: Arc<Keys>,
    pub ambient: Ambient,
}

/// Every back end.
pub(crate) fn backends(ground: &Ground) -> Vec<Box<dyn Backend>> {
    vec![
        Box::new(built_in::BuiltIn::new(ground)),
        Box::new(env::Env::new(ground)),
        Box::new(file::File::new(ground)),
        Box::new(exec::Exec::new(ground)),
        Box::new(login::Login::new(ground)),
    ]
}

/// Editors and programs end a file with a newline that is not part of the value; one is taken off.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}
