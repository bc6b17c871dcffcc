//! A value that its service refused is asked for anew, once for all who hold it.

use model::CredentialName;
use policy::Permit;

use crate::capture::is_under;
use crate::resolve::Whose;
use crate::{Vault, VaultError};

impl Vault {
    /// Notes that the value with this mark (`secret::Material::mark`) failed at its service. The next [`Self::resolve`] asks its source anew, once
    /// whoever waits for it; while the source is away the last good value stays as good as it was. Gives whether resolving again
    /// may give another value: not where the source knows no other, nor where it was asked for the same reason a moment ago
    /// ([`model::bounds::RENEWAL_REST_SECONDS`]), because failures can be provoked.
    ///
    /// # Errors
    /// The permit is for another credential; the reference cannot be filled for whose it is.
    pub fn renew(&self, permit: &Permit, (name, mark): (&CredentialName, u64)) -> Result<bool, VaultError> {
        let permitted = permit.credential().ok_or(VaultError::NoCredential)?;
        if name != permitted && !is_under(name, permitted) {
            return Err(VaultError::NoCredential);
        }
        let (inner, bearer) = (&self.inner, permit.bearer());
        let whose = Whose { agent: Some(&bearer.agent), user: bearer.user.as_ref() };
        let key = (bearer.tenant.clone(), name.clone(), inner.own(&bearer.tenant, name, whose)?);
        // Nothing is kept while it is being asked for, or after it was forgotten.
        let Some(live) = inner.materials.peek(&key) else { return Ok(true) };
        if live.material.mark() != mark {
            return Ok(true);
        }
        let wanted = live.anew && live.fails(inner.clock.now());
        if wanted && let Some(issuing) = inner.issuing(&bearer.tenant, name) {
            // What is stored may hold the same value, good to its end as far as it says itself.
            issuing.refused.note(mark);
        }
        Ok(wanted)
    }
}
