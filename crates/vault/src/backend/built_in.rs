//! The built-in vault: sealed rows of the store.

use std::sync::Arc;

use model::{CredentialName, Tenant};
use secret::Secret;
use store::{Store, StoreError, VersionRow, VersionState};

use super::{Backend, BackendError, Fetched, Ground, Wanted};
use crate::keys::Keys;
use crate::seal::Label;
use crate::{Pending, Scheme, VaultError};

/// Two processes that add a version at once take different numbers; this often is more than enough.
const NUMBER_TRIES_MAX: u32 = 16;

pub(super) struct BuiltIn {
    store: Store,
    keys: Arc<Keys>,
}

impl BuiltIn {
    pub fn new(ground: &Ground) -> Self {
        Self { store: ground.store.clone(), keys: Arc::clone(&ground.keys) }
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let (tenant, name) = (wanted.tenant, wanted.name);
        let row = self.store.credentials().get(tenant, name).await.map_err(|error| away(&error))?;
        let row = row.ok_or_else(|| missing(name))?;
        let versions = self.store.credentials().versions(tenant, name).await.map_err(|error| away(&error))?;
        let current = versions.iter().find(|version| version.state == VersionState::Current);
        let Some(current) = current else {
            return Err(if versions.is_empty() { missing(name) } else { BackendError::Revoked });
        };
        let sealed = current.sealed.as_ref().ok_or_else(|| missing(name))?;
        let label = Label::Value { tenant, name, id: row.id, version: current.version };
        let value = self.keys.open_value(sealed, &label, tenant).await.map_err(|error| broken(&error))?;
        Ok(Fetched::of_version(current.version, value))
    }

    async fn write(&self, wanted: Wanted<'_>, value: Secret) -> Result<u64, BackendError> {
        let (tenant, name) = (wanted.tenant, wanted.name);
        let row = self.store.credentials().get(tenant, name).await.map_err(|error| away(&error))?;
        let row = row.ok_or_else(|| missing(name))?;
        for _ in 0..NUMBER_TRIES_MAX {
            let version = self.next_number(tenant, name).await?;
            let label = Label::Value { tenant, name, id: row.id, version };
            let sealed =
                self.keys.seal_value(&value, &label, tenant, wanted.now).await.map_err(|error| broken(&error))?;
            let new = VersionRow {
                version,
                state: VersionState::Current,
                sealed: Some(sealed),
                created: wanted.now,
                used: None,
            };
            match self.store.credentials().add_version(tenant, name, &new, VersionState::Grace).await {
                Ok(()) => return Ok(version),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(away(&error)),
            }
        }
        Err(BackendError::Away { what: "other processes keep adding versions; try again".to_owned() })
    }

    async fn next_number(&self, tenant: &Tenant, name: &CredentialName) -> Result<u64, BackendError> {
        let versions = self.store.credentials().versions(tenant, name).await.map_err(|error| away(&error))?;
        Ok(versions.first().map_or(1, |latest| latest.version + 1))
    }
}

impl Backend for BuiltIn {
    fn scheme(&self) -> Scheme {
        Scheme::BuiltIn
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn store<'a>(&'a self, wanted: Wanted<'a>, value: Secret) -> Pending<'a, Result<u64, BackendError>> {
        Box::pin(self.write(wanted, value))
    }
}

fn missing(name: &CredentialName) -> BackendError {
    BackendError::Missing {
        what: format!("the built-in vault does not hold it; add it with `valetkey credential add {name}`"),
    }
}

fn away(error: &StoreError) -> BackendError {
    if error.is_passing() {
        BackendError::Away { what: error.to_string() }
    } else {
        BackendError::Malformed { what: error.to_string() }
    }
}

fn broken(error: &VaultError) -> BackendError {
    match error {
        VaultError::Store(error) => away(error),
        other => BackendError::Malformed { what: other.to_string() },
    }
}
