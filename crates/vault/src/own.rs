//! Secrets of the gateway's own, which no agent holds: those by which messages to webhooks are signed. They lie where a reference
//! leads to, and are in no list of credentials.

use model::CredentialName;
use policy::Upkeep;
use secret::Secret;

use crate::backend::Wanted;
use crate::{Reference, Vault, VaultError};

impl Vault {
    /// Shows what a reference leads to, freshly read, to `look`; `name` stands for it in errors. Nothing is kept.
    ///
    /// # Errors
    /// The reference cannot be used, or leads to nothing.
    pub async fn with_own(
        &self,
        upkeep: &Upkeep,
        (name, reference): (&CredentialName, &Reference),
        look: &mut (dyn FnMut(&Secret) + Send),
    ) -> Result<(), VaultError> {
        let inner = &self.inner;
        let reference = &reference.of(None, None)?;
        let wanted = Wanted { tenant: upkeep.tenant(), name, reference, now: inner.clock.now() };
        let fetched = inner.ask(wanted).await?;
        look(&fetched.value);
        Ok(())
    }
}
