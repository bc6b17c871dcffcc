//! Capture: what an upstream handed out goes in, injection's mirror. Nothing comes out here.

use model::{CredentialName, Tenant};
use policy::Upkeep;

use crate::backend::Wanted;
use crate::kind::oauth2::{self, Tokens};
use crate::manage::{Added, NewCredential};
use crate::resolve::unavailable;
use crate::{Vault, VaultError, kind};

/// Between a credential's name and the number of what was captured under it.
const UNDER: char = '.';

/// Captured under one credential before the numbers run out; found by asking, so that none is given twice.
const UNDER_MAX: u32 = 100_000;

impl Vault {
    /// Takes captured tokens as a new version of a log-in, or as its first. What the answer did not speak of (a refresh
    /// token that stays in force) is kept. A log-in that lies in its program's file is renewed there.
    ///
    /// # Errors
    /// The store or the file cannot be written; the credential is of another kind.
    pub async fn capture(&self, upkeep: &Upkeep, new: &NewCredential, tokens: Tokens) -> Result<Added, VaultError> {
        let inner = &self.inner;
        let (tenant, name) = (upkeep.tenant(), &new.name);
        let (reference, kind) = match inner.whereabouts(tenant, name).await {
            Ok(found) => found,
            Err(VaultError::NotFound { .. }) => return self.add(new, oauth2::join(tokens, None)?).await,
            Err(error) => return Err(error),
        };
        if kind != oauth2::NAME {
            return Err(VaultError::NoLogin { name: name.clone(), kind });
        }
        let now = inner.clock.now();
        let wanted = Wanted { tenant, name, reference: &reference, now };
        // What is stored, even where something else is issued for it.
        let before = inner.ask(wanted).await.ok().and_then(|before| kind::material(&kind, before.value).ok());
        let value = oauth2::join(tokens, before.as_ref())?;
        kind::verify(&kind, &value)?;
        let backend = inner.backend(reference.scheme()).ok_or_else(|| VaultError::NotFound { name: name.clone() })?;
        let version = backend.store(wanted, value).await.map_err(|error| unavailable(name, error))?;
        inner.materials.forget(&(tenant.clone(), name.clone()));
        Ok(Added { version, warning: None })
    }

    /// Stores the tokens of a log-in as a credential of their own.
    ///
    /// # Errors
    /// There is one of this name; the store cannot be written.
    pub async fn add_log_in(&self, new: &NewCredential, tokens: Tokens) -> Result<Added, VaultError> {
        self.add(new, oauth2::join(tokens, None)?).await
    }

    /// A free name for what is captured under a credential.
    ///
    /// # Errors
    /// The store cannot be read; no name is left.
    pub async fn under(&self, upkeep: &Upkeep, parent: &CredentialName) -> Result<CredentialName, VaultError> {
        let known = self.inner.store.credentials().list(upkeep.tenant()).await?;
        let last = known.iter().filter_map(|row| number_under(&row.name, parent)).max().unwrap_or(0);
        let free = last.checked_add(1).filter(|number| *number < UNDER_MAX);
        let name = free.and_then(|number| CredentialName::new(&format!("{parent}{UNDER}{number}")).ok());
        name.ok_or_else(|| VaultError::NoName { name: parent.clone() })
    }

    /// Everything that was captured under a credential and is still held.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn minted(&self, upkeep: &Upkeep, parent: &CredentialName) -> Result<Vec<CredentialName>, VaultError> {
        let known = self.inner.store.credentials().list(upkeep.tenant()).await?;
        Ok(known.into_iter().map(|row| row.name).filter(|name| is_under(name, parent)).collect())
    }

    /// Reads a credential anew when it is next wanted: another process may have renewed it a moment ago.
    pub fn reread(&self, tenant: &Tenant, name: &CredentialName) {
        self.inner.materials.forget(&(tenant.clone(), name.clone()));
    }
}

fn number_under(name: &CredentialName, parent: &CredentialName) -> Option<u32> {
    let number = name.as_str().strip_prefix(parent.as_str())?.strip_prefix(UNDER)?;
    (!number.starts_with('+')).then(|| number.parse().ok())?
}

/// Whether a name is one that [`Vault::under`] made.
#[must_use]
pub fn is_under(name: &CredentialName, parent: &CredentialName) -> bool {
    number_under(name, parent).is_some()
}
