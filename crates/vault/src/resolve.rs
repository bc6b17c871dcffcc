//! From a permit to a credential.

use std::sync::Arc;

use model::{CredentialName, Tenant, Timestamp};
use policy::{Permit, Upkeep};
use secret::{Credential, Lease, Material};

use crate::backend::{BackendError, Fetched, Wanted};
use crate::cache::Live;
use crate::capture::is_under;
use crate::vault::Inner;
use crate::{Reference, Vault, VaultError, kind};

impl Vault {
    /// The credential that a permit opens. Waits for nothing when it was opened within the last minute.
    ///
    /// # Errors
    /// [`VaultError::code`] says what the agent is told.
    pub async fn resolve(&self, permit: &Permit) -> Result<Credential, VaultError> {
        let name = permit.credential().ok_or(VaultError::NoCredential)?;
        self.open_for(permit, name).await
    }

    /// The credential that was captured under the one that a permit opens; it is stored as [`Vault::under`] names it.
    ///
    /// # Errors
    /// As [`Self::resolve`]; [`VaultError::NoCredential`] for one that lies elsewhere.
    pub async fn resolve_minted(&self, permit: &Permit, minted: &CredentialName) -> Result<Credential, VaultError> {
        let name = permit.credential().filter(|name| is_under(minted, name)).ok_or(VaultError::NoCredential)?;
        let bearer = permit.bearer();
        // Revoking what minted it ends it too.
        self.inner.revoked.load().check(&bearer.tenant, name, None)?;
        self.open_for(permit, minted).await
    }

    async fn open_for(&self, permit: &Permit, name: &CredentialName) -> Result<Credential, VaultError> {
        let inner = &self.inner;
        let bearer = permit.bearer();
        let now = inner.clock.now();
        let revoked = inner.revoked.load();
        revoked.check_bearer(bearer)?;
        revoked.check(&bearer.tenant, name, None)?;
        drop(revoked);
        let place = (bearer.tenant.clone(), name.clone());
        let live = inner.materials.get(&place, now, async || inner.fetch(&place.0, name, now).await).await?;
        // Again: a stop may have come while the back end was asked.
        let revoked = inner.revoked.load();
        revoked.check_bearer(bearer)?;
        revoked.check(&bearer.tenant, name, Some(live.version))?;
        if live.is_expired(now) {
            return Err(VaultError::Expired { name: name.clone() });
        }
        if live.is_worth_noting(now) {
            self.note_use(place, live.version, now);
        }
        Ok(Credential::new(name.clone(), live.version, Arc::clone(&live.material), live.lease.clone()))
    }

    /// Whether a version may still be used, as this process last heard.
    ///
    /// # Errors
    /// It was revoked.
    pub fn usable(&self, tenant: &Tenant, name: &CredentialName, version: u64) -> Result<(), VaultError> {
        self.inner.revoked.load().check(tenant, name, Some(version))
    }

    /// Shows a credential's parts to a chore, freshly read: its name, version and material. Nothing is kept.
    pub async fn with_material(
        &self,
        upkeep: &Upkeep,
        name: &CredentialName,
        look: &mut (dyn FnMut(&CredentialName, u64, &Material) + Send),
    ) -> Result<(), VaultError> {
        let now = self.inner.clock.now();
        let live = self.inner.fetch(upkeep.tenant(), name, now).await?;
        self.inner.revoked.load().check(upkeep.tenant(), name, Some(live.version))?;
        if live.is_expired(now) {
            return Err(VaultError::Expired { name: name.clone() });
        }
        look(name, live.version, &live.material);
        Ok(())
    }

    /// Whether the back end gives a usable value now; nothing comes out.
    pub async fn check(&self, upkeep: &Upkeep, name: &CredentialName) -> Result<(), VaultError> {
        self.with_material(upkeep, name, &mut |_, _, _| {}).await
    }

    /// Off the request's road: the store may be busy. Losing a note loses a minute of precision.
    fn note_use(&self, place: (Tenant, CredentialName), version: u64, now: Timestamp) {
        let store = self.inner.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.credentials().used(&place.0, &place.1, version, now).await {
                tracing::debug!(credential = %place.1, %error, "last use was not noted");
            }
        });
    }
}

impl Inner {
    /// Reads a credential from its back end.
    pub async fn fetch(&self, tenant: &Tenant, name: &CredentialName, now: Timestamp) -> Result<Live, VaultError> {
        let staged = self.staged.read().get(&(tenant.clone(), name.clone())).cloned();
        if let Some((of, version)) = staged {
            return self.staged(tenant, &of, version, now).await;
        }
        let (reference, kind) = self.whereabouts(tenant, name).await?;
        reference.usable()?;
        let backend = self.backend(reference.scheme()).ok_or_else(|| VaultError::NotFound { name: name.clone() })?;
        let wanted = Wanted { tenant, name, reference: &reference, now };
        let Fetched { version, value, lease } =
            backend.fetch(wanted).await.map_err(|error| unavailable(name, error))?;
        let expires = lease.expires.or_else(|| kind::expires(&kind, &value));
        let (material, lease) = (kind::material(&kind, value)?, Lease { expires, ..lease });
        Ok(Live::new(version, material, lease, now))
    }

    /// A version that a rotation lends.
    async fn staged(
        &self,
        tenant: &Tenant,
        of: &CredentialName,
        version: u64,
        now: Timestamp,
    ) -> Result<Live, VaultError> {
        let (_, kind) = self.whereabouts(tenant, of).await?;
        let value = self.version(tenant, of, version).await?;
        let lease = Lease { id: None, expires: kind::expires(&kind, &value) };
        Ok(Live::new(version, kind::material(&kind, value)?, lease, now))
    }

    /// Where a credential lies and of what kind it is.
    pub async fn whereabouts(&self, tenant: &Tenant, name: &CredentialName) -> Result<(Reference, String), VaultError> {
        let declared = self.declared.read().get(&(tenant.clone(), name.clone())).cloned();
        if let Some(declared) = declared {
            return Ok((declared.reference.clone(), declared.kind.clone()));
        }
        let row = self.store.credentials().get(tenant, name).await?;
        let row = row.ok_or_else(|| VaultError::NotFound { name: name.clone() })?;
        let reference = match &row.source {
            Some(source) => Reference::parse(source)?,
            None => Reference::built_in(),
        };
        Ok((reference, row.kind))
    }
}

pub(crate) fn unavailable(name: &CredentialName, error: BackendError) -> VaultError {
    match error {
        BackendError::Revoked => VaultError::Revoked { name: name.clone() },
        error => VaultError::Unavailable { name: name.clone(), error },
    }
}
