//! Lending a version under a name of its own, for as long as somebody looks whether it works.

use std::sync::Arc;

use model::{CredentialName, Tenant, hex};

use super::LENT_CHARS_MAX;
use crate::vault::Inner;
use crate::{Vault, VaultError};

/// A version that is lent. Whoever has a permit for this name is given it.
pub struct Lent {
    inner: Arc<Inner>,
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
        self.inner.staged.write().remove(&self.place);
        self.inner.materials.forget(&self.place);
    }
}

impl Vault {
    /// Lends one version of what the built-in vault holds.
    ///
    /// # Errors
    /// Its versions follow from each other; no name can be made of the credential's.
    pub fn lend(&self, tenant: &Tenant, name: &CredentialName, version: u64) -> Result<Lent, VaultError> {
        self.inner.is_replaced(tenant, name)?;
        let mut noise = [0; 12];
        self.inner.random.fill(&mut noise);
        self.inner.lend((tenant, name), version, &format!("look_{}", hex(&noise)))
    }
}

impl Inner {
    /// Lends a version under the credential's name and a mark that nobody else has.
    pub fn lend(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        version: u64,
        mark: &str,
    ) -> Result<Lent, VaultError> {
        let missing = || VaultError::NotFound { name: name.clone() };
        let own: String = name.as_str().chars().take(LENT_CHARS_MAX).collect();
        let lent = CredentialName::new(&format!("{own}.{mark}")).map_err(|_| missing())?;
        let inner = self.me.upgrade().ok_or_else(missing)?;
        let place = (tenant.clone(), lent);
        self.staged.write().insert(place.clone(), (name.clone(), version));
        Ok(Lent { inner, place })
    }
}
