//! Back ends: where values live. The built-in vault is one of them.
//!
//! To add one on this machine: a file here and a line in [`backends`]. One over the network: a file here and a line in [`far`]; it is made for
//! each entry of `backends:`, asks by [`crate::far`], and stands behind a breaker ([`crate::instance`]).

mod ambient;
mod aws;
mod azure;
mod bearer;
mod built_in;
mod env;
mod exec;
mod file;
mod gcp;
mod hashicorp;
mod k8s;
mod keychain;
pub(crate) mod keyring;
mod local;
pub(crate) mod login;
mod onepassword;
mod pick;

pub(crate) use exec::read as printed;
pub(crate) use hashicorp::Hashicorp;
pub(crate) use pick::{Tree, body};

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use model::{CredentialName, Tenant, Timestamp};
use rustix::fs::OFlags;
use secret::{Lease, Secret};
use store::Store;

use crate::aws::chain::Chain;
use crate::far::{Client, Tls};
use crate::instance::Site;
use crate::keys::Keys;
use crate::{Ambient, Pending, Reference, Scheme};

pub(crate) use local::Local;
pub(crate) use pick::said;

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
    /// It answers, and cannot do this now: asked too often, or broken at this place.
    #[error("{what}")]
    Busy {
        /// What it says.
        what: String,
    },
    /// What it gives is not a value.
    #[error("{what}")]
    Malformed {
        /// What is wrong and what to do.
        what: String,
    },
    /// It says no.
    #[error("{what}")]
    Forbidden {
        /// What it says and what to do.
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
        matches!(self, Self::Away { .. } | Self::Busy { .. })
    }

    /// Whether nothing can be asked there now, whatever it is. What fails at one place says nothing of the others.
    pub(crate) const fn is_silence(&self) -> bool {
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
    /// Whether the lease may be made longer.
    pub renewable: bool,
}

impl Fetched {
    /// From a back end that knows neither versions nor ends.
    fn plain(value: Secret) -> Self {
        Self::of_version(1, value)
    }

    /// From a back end that knows no ends.
    pub(crate) fn of_version(version: u64, value: Secret) -> Self {
        Self { version, value, lease: Lease::default(), renewable: false }
    }
}

/// One back end.
pub(crate) trait Backend: std::any::Any + Send + Sync {
    /// Which references it reads.
    fn scheme(&self) -> Scheme;

    /// Reads a value.
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>>;

    /// Stores a new version and makes it the current one.
    fn store<'a>(&'a self, wanted: Wanted<'a>, value: Secret) -> Pending<'a, Result<u64, BackendError>> {
        drop((wanted, value));
        Box::pin(std::future::ready(Err(BackendError::ReadOnly)))
    }

    /// Makes a lease longer; its new end, or none where a new one must be fetched.
    fn renew<'a>(&'a self, lease: &'a str, now: Timestamp) -> Pending<'a, Result<Option<Timestamp>, BackendError>> {
        let _ = (lease, now);
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether it answers and knows us.
    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        let _ = now;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Ends these leases, and if it is the end what we logged in as. Nobody waits for what does not come.
    fn end(&self, leases: Vec<Arc<str>>, whole: bool) -> Pending<'_, ()> {
        let _ = (leases, whole);
        Box::pin(std::future::ready(()))
    }
}

/// Everything that back ends stand on.
pub(crate) struct Ground {
    pub store: Store,
    pub keys: Arc<Keys>,
    pub ambient: Ambient,
    /// The keys of AWS that surround us.
    pub chain: Arc<Chain>,
}

/// Every back end.
pub(crate) fn backends(ground: &Ground) -> Vec<Box<dyn Backend>> {
    vec![
        Box::new(built_in::BuiltIn::new(ground)),
        Box::new(env::Env::new(ground)),
        Box::new(file::File::new(ground)),
        Box::new(exec::Exec::new(ground)),
        Box::new(login::Login::new(ground)),
        Box::new(keyring::Keyring::new(ground)),
        Box::new(ambient::OfAws::new(ground)),
        // Where nobody says where its server is.
        Box::new(onepassword::Program::new(ground)),
    ]
}

/// The back end of an entry of `backends:`; none where there is none of that kind.
pub(crate) fn far(site: &Site, tls: Tls, local: &Local) -> Option<Box<dyn Backend>> {
    let client = Client::new(site.origins.clone(), tls);
    let scheme = Reference::scheme_of(&site.word)?;
    Some(match scheme {
        Scheme::Hashicorp => Box::new(hashicorp::Hashicorp::new(site, client, local.clone())),
        Scheme::AwsSm | Scheme::AwsPs => Box::new(aws::Aws::new(scheme, site, client, local.clone())),
        Scheme::GcpSm => Box::new(gcp::Gcp::new(site, client, local.clone())),
        Scheme::AzureKv => Box::new(azure::Azure::new(site, client, local.clone())),
        Scheme::K8s => Box::new(k8s::K8s::new(site, client, local.clone())),
        Scheme::OnePassword => Box::new(onepassword::Connect::new(site, client, local.clone())),
        _ => return None,
    })
}

/// Opens a file without waiting for the other end of a pipe.
pub(crate) fn open_plain(path: &Path) -> std::io::Result<std::fs::File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Editors and programs end a file with a newline that is not part of the value; one is taken off.
pub(crate) fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Reads octets as each back end would read an answer.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_all(body: &[u8]) {
    hashicorp::read_all(body);
    let _ = aws::read(body, None);
    let _ = aws::read(body, Some("key"));
    let _ = crate::aws::chain::read_given(body);
    for field in [None, Some("key")] {
        let _ = gcp::read(body, field);
        let _ = azure::read(body, field);
    }
    let _ = k8s::read(body, "key", "a secret");
    let _ = onepassword::read(body, None, "password", "an item");
    let _ = onepassword::read(body, Some("section"), "password", "an item");
}
