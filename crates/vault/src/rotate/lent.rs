//! Lending a version under a name of its own, for as long as somebody looks whether it works.

use model::{CredentialName, Tenant, hex};

use super::LENT_CHARS_MAX;
use crate::{Vault, VaultError};

/// A version that is lent. Whoever has a permit for this name is given it.
pub struct Lent {
    vault: Vault,
    place: (Tenant, CredentialName),
}

impl Lent {
    /// The name.
    #[must_use]
    pub const fn name(&self) -> &CredentialName {
        &self.place.1
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.vault.inner.staged.write().remove(&self.place);
        self.vault.inner.materials.forget(&self.place);
    }
}

impl Vault {
    /// Lends one version of what the built-in vault holds.
    ///
    /// # Errors
    /// No name can be made of the credential's.
    pub fn lend(&self, tenant: &Tenant, name: &CredentialName, version: u64) -> Result<Lent, VaultError> {
        self.inner.is_replaced(tenant, name)?;
        let mut ticket = [0; 12];
        self.inner.random.fill(&mut ticket);
        let own: String = name.as_str().chars().take(LENT_CHARS_MAX).collect();
        let lent = CredentialName::new(&format!("{own}.look_{}", hex(&ticket)))
            .map_err(|_| VaultError::NotFound { name: name.clone() })?;
        let place = (tenant.clone(), lent);
        self.inner.staged.write().insert(place.clone(), (name.clone(), version));
        Ok(Lent { vault: self.clone(), place })
    }
}
