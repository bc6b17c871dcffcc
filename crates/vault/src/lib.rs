//! Where credentials live: sealed at rest in the built-in vault, or read from the back end that the user already has.
//!
//! Owns plaintext, and opens it for a [`policy::Permit`] alone ([`Vault::resolve`]); chores such as `credential test`
//! hold a [`policy::Upkeep`] instead and never get a credential out. This crate must never print, log or return a
//! value in any other way, never read the environment (an [`Ambient`] is handed in) and never decide anything. Start
//! reading at [`Vault`], then `seal.rs`.
//!
//! No decision, no secret:
//! ```
//! async fn with(vault: &vault::Vault, permit: &policy::Permit) {
//!     let _ = vault.resolve(permit).await;
//! }
//! ```
//! ```compile_fail
//! async fn without(vault: &vault::Vault, upkeep: &policy::Upkeep) {
//!     let _ = vault.resolve(upkeep).await; // an upkeep is not a permit
//! }
//! ```

mod ambient;
mod aws;
mod backend;
mod cache;
mod capture;
mod error;
mod far;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod instance;
pub mod issue;
mod keyring;
mod keys;
mod kind;
mod leases;
mod manage;
mod own;
mod program;
mod put_back;
mod reference;
mod renew;
mod resolve;
mod revoked;
pub mod road;
pub mod rotate;
mod seal;
mod sites;
mod vault;

/// A future of a seam that is used as `dyn`.
pub type Pending<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub use ambient::Ambient;
pub use backend::BackendError;
pub use capture::is_under;
pub use error::VaultError;
pub use instance::{Health, LogIn, Site};
pub use keyring::{KeyringChoice, KeyringError};
pub use kind::oauth2::Tokens;
pub use kind::{KindError, has_lines};
pub use manage::{Added, Declaration, NewCredential, Summary, VersionSummary};
pub use reference::{Reference, ReferenceError, Scheme};
pub use seal::SealError;
pub use sites::Roots;
pub use store::VersionState;
pub use vault::Vault;
