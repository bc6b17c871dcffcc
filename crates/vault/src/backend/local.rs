//! What logs us in to back ends over the network: secrets that lie on this machine, named by references.

use std::sync::Arc;

use model::{CredentialName, Tenant, Timestamp};
use secret::Secret;

use super::{Backend, BackendError, Ground, Wanted, env, exec, file, keyring};
use crate::Reference;

/// Reads them. Cheap to copy.
#[derive(Clone)]
pub(crate) struct Local {
    backends: Arc<[Box<dyn Backend>]>,
}

impl Local {
    pub fn new(ground: &Ground) -> Self {
        let backends: Vec<Box<dyn Backend>> = vec![
            Box::new(env::Env::new(ground)),
            Box::new(file::File::new(ground)),
            Box::new(exec::Exec::new(ground)),
            Box::new(keyring::Keyring::new(ground)),
        ];
        Self { backends: backends.into() }
    }

    /// The secret, freshly read.
    pub async fn secret(&self, reference: &Reference, now: Timestamp) -> Result<Secret, BackendError> {
        let found = self.backends.iter().find(|backend| backend.scheme() == reference.scheme());
        let backend = found.ok_or_else(|| BackendError::Malformed {
            what: format!("`{reference}` cannot log in to a back end; use `env:`, `file:`, `exec:` or `keyring:`"),
        })?;
        let (tenant, name) = (Tenant::local(), CredentialName::new("log-in"));
        let name = name.map_err(|error| BackendError::Malformed { what: error.to_string() })?;
        let fetched = backend.fetch(Wanted { tenant: &tenant, name: &name, reference, now }).await?;
        if fetched.value.is_empty() {
            return Err(BackendError::Missing { what: format!("`{reference}` is empty; fill it") });
        }
        Ok(fetched.value)
    }
}
