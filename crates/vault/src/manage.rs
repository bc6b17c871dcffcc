//! What operators do with credentials: declare, add, renew, list, revoke. Values go in and never come out.

use std::sync::Arc;

use model::{CredentialId, CredentialName, ServiceName, Tenant, Timestamp};
use secret::Secret;
use store::{CredentialRow, StopKind, StopRow, StoreError, VersionRow, VersionState};

use crate::backend::Wanted;
use crate::issue::Issuing;
use crate::resolve::unavailable;
use crate::seal::Label;
use crate::vault::Inner;
use crate::{Reference, Scheme, Vault, VaultError, kind};

/// A credential that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The organisation.
    pub tenant: Tenant,
    /// Its name.
    pub name: CredentialName,
    /// The service it is bound to.
    pub service: Option<ServiceName>,
    /// What is stored: `token`, `basic`.
    pub kind: String,
    /// Where its value lies.
    pub reference: Reference,
    /// Who issues what is used for what is stored; none where that is used itself.
    pub issuing: Option<Arc<Issuing>>,
    /// `placeholder` or `always`.
    pub inject: String,
    /// Seconds after which its value is asked for again; a minute where nothing is said, one second for a file.
    pub fresh_seconds: Option<u64>,
    /// Seconds for which the last good value is used while its back end is away; five minutes where nothing is said.
    pub held_seconds: Option<u64>,
}

/// A credential for the built-in vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// The organisation.
    pub tenant: Tenant,
    /// Its name.
    pub name: CredentialName,
    /// The service it is bound to.
    pub service: Option<ServiceName>,
    /// `token` or `basic`.
    pub kind: String,
    /// `placeholder` or `always`.
    pub inject: String,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its version, counted from 1.
    pub version: u64,
    /// What the user should hear about it.
    pub warning: Option<String>,
}

/// What is known about a credential; never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: CredentialName,
    /// Its id.
    pub id: CredentialId,
    /// The service it is bound to.
    pub service: Option<ServiceName>,
    /// `token` or `basic`.
    pub kind: String,
    /// Where its value lies: `built-in`, `env:GITHUB_TOKEN`.
    pub source: String,
    /// `placeholder` or `always`.
    pub inject: String,
    /// When it was made or first declared.
    pub created: Timestamp,
    /// Whether nothing of it may be used: a stop, or every version revoked.
    pub revoked: bool,
    /// Its versions, newest first.
    pub versions: Vec<VersionSummary>,
}

/// What is known about a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionSummary {
    /// Counted from 1.
    pub version: u64,
    /// Its state.
    pub state: VersionState,
    /// When it was stored.
    pub created: Timestamp,
    /// When it was last put on a request, to the minute.
    pub used: Option<Timestamp>,
}

impl Vault {
    /// Takes a credential from the configuration. One that lies elsewhere is listed from now on; its value is read when
    /// it is needed and not stored.
    pub async fn declare(&self, declaration: Declaration) -> Result<(), VaultError> {
        if declaration.issuing.is_none() {
            kind::named(&declaration.kind)?;
        }
        self.inner.described(&declaration.reference)?;
        let inner = &self.inner;
        let place = (declaration.tenant.clone(), declaration.name.clone());
        if declaration.reference.scheme() != Scheme::BuiltIn {
            let now = inner.clock.now();
            let row = CredentialRow {
                tenant: declaration.tenant.clone(),
                name: declaration.name.clone(),
                id: CredentialId::fresh(now, &*inner.random),
                service: declaration.service.clone(),
                kind: declaration.kind.clone(),
                source: Some(declaration.reference.as_str().to_owned()),
                inject: declaration.inject.clone(),
                created: now,
            };
            inner.store.credentials().declare(&row).await?;
        }
        let before = inner.declared.write().insert(place.clone(), Arc::new(declaration.clone()));
        // What is declared as before is held as before: a lease would be lost with it.
        if before.is_none_or(|before| *before != declaration) {
            inner.materials.forget(&place);
        }
        Ok(())
    }

    /// Forgets what the configuration declared, before a changed one is taken in.
    pub fn undeclare_all(&self, tenant: &Tenant) {
        self.inner.declared.write().retain(|(owner, _), _| owner != tenant);
        self.inner.materials.clear_all();
    }

    /// Stores a new credential in the built-in vault.
    pub async fn add(&self, new: &NewCredential, value: Secret) -> Result<Added, VaultError> {
        kind::verify(&new.kind, &value)?;
        let inner = &self.inner;
        let now = inner.clock.now();
        let id = CredentialId::fresh(now, &*inner.random);
        let label = Label::Value { tenant: &new.tenant, name: &new.name, id, version: 1 };
        let sealed = inner.keys.seal_value(&value, &label, &new.tenant, now).await?;
        let row = CredentialRow {
            tenant: new.tenant.clone(),
            name: new.name.clone(),
            id,
            service: new.service.clone(),
            kind: new.kind.clone(),
            source: None,
            inject: new.inject.clone(),
            created: now,
        };
        let first =
            VersionRow { version: 1, state: VersionState::Current, sealed: Some(sealed), created: now, used: None };
        inner.store.credentials().add(&row, Some(&first)).await.map_err(|error| match error {
            StoreError::Conflict { .. } => VaultError::Exists { name: new.name.clone() },
            other => other.into(),
        })?;
        inner.materials.forget(&(new.tenant.clone(), new.name.clone()));
        Ok(Added { version: 1, warning: kind::warning(&value) })
    }

    /// Stores a new version and makes it the current one; the one before is in grace.
    pub async fn add_version(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        value: Secret,
    ) -> Result<Added, VaultError> {
        let inner = &self.inner;
        let (reference, kind) = inner.whereabouts(tenant, name).await?;
        kind::verify(&kind, &value)?;
        if reference.scheme() != Scheme::BuiltIn {
            return Err(VaultError::Elsewhere { name: name.clone(), reference: reference.as_str().to_owned() });
        }
        let warning = kind::warning(&value);
        let wanted = Wanted { tenant, name, reference: &reference, now: inner.clock.now() };
        let backend = inner.backend(reference.scheme()).ok_or_else(|| VaultError::NotFound { name: name.clone() })?;
        let version = backend.store(wanted, value).await.map_err(|error| unavailable(name, error))?;
        inner.materials.forget(&(tenant.clone(), name.clone()));
        Ok(Added { version, warning })
    }

    /// What is known about every credential, by name.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<Summary>, VaultError> {
        let mut out = Vec::new();
        for row in self.inner.store.credentials().list(tenant).await? {
            out.push(self.inner.summary(row).await?);
        }
        Ok(out)
    }

    /// What is known about one.
    pub async fn show(&self, tenant: &Tenant, name: &CredentialName) -> Result<Summary, VaultError> {
        let row = self.inner.store.credentials().get(tenant, name).await?;
        self.inner.summary(row.ok_or_else(|| VaultError::NotFound { name: name.clone() })?).await
    }

    /// Revokes one version, or all of them. In force here at once, in every other process within 250 ms. What lies
    /// elsewhere is stopped by name; a new version of what the built-in vault holds may be used again.
    pub async fn revoke(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        version: Option<u64>,
        by: &str,
    ) -> Result<(), VaultError> {
        self.revoke_one(tenant, name, version, by).await?;
        if version.is_none() {
            // What was minted under it goes with it.
            let all = self.inner.store.credentials().list(tenant).await?;
            for minted in all.iter().filter(|row| crate::is_under(&row.name, name)) {
                self.revoke_one(tenant, &minted.name, None, by).await?;
            }
        }
        Ok(())
    }

    async fn revoke_one(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        version: Option<u64>,
        by: &str,
    ) -> Result<(), VaultError> {
        let inner = &self.inner;
        let (reference, _) = inner.whereabouts(tenant, name).await?;
        let built_in = reference.scheme() == Scheme::BuiltIn;
        let versions = match version {
            Some(version) => vec![Some(version)],
            None if built_in => {
                let rows = inner.store.credentials().versions(tenant, name).await?;
                rows.into_iter().map(|row| Some(row.version)).collect()
            }
            None => vec![None],
        };
        // The stops first: they alone are enough, and they cut what is under way in other processes.
        for version in versions {
            let at = inner.clock.now();
            let stop = StopRow { kind: StopKind::Credential, name: name.to_string(), version, at, by: by.to_owned() };
            inner.store.stops().insert(tenant, &stop).await?;
        }
        if built_in {
            inner.store.credentials().set_state(tenant, name, version, VersionState::Revoked).await?;
        }
        inner.materials.forget(&(tenant.clone(), name.clone()));
        self.reload_stops(tenant).await?;
        match version {
            Some(version) => self.end_issued_of(tenant, name, version).await,
            None => self.end_leases_of(tenant, name).await,
        }
        Ok(())
    }

    /// Removes a credential and every version of it; whether there was one.
    pub async fn remove(&self, tenant: &Tenant, name: &CredentialName) -> Result<bool, VaultError> {
        let removed = self.inner.store.credentials().delete(tenant, name).await?;
        self.inner.materials.forget(&(tenant.clone(), name.clone()));
        Ok(removed)
    }
}

impl Inner {
    async fn summary(&self, row: CredentialRow) -> Result<Summary, VaultError> {
        let versions = self.store.credentials().versions(&row.tenant, &row.name).await?;
        let revoked = self.revoked.load();
        let current = versions.iter().find(|version| version.state == VersionState::Current);
        let stopped = revoked.check(&row.tenant, &row.name, current.map(|version| version.version)).is_err();
        Ok(Summary {
            name: row.name,
            id: row.id,
            service: row.service,
            kind: row.kind,
            source: row.source.unwrap_or_else(|| Scheme::BuiltIn.as_str().to_owned()),
            inject: row.inject,
            created: row.created,
            revoked: stopped || current.is_none(),
            versions: versions.iter().map(summary).collect(),
        })
    }
}

const fn summary(row: &VersionRow) -> VersionSummary {
    VersionSummary { version: row.version, state: row.state, created: row.created, used: row.used }
}
