//! The back ends over the network that a configuration describes: taken in, looked after, left.

use std::sync::Arc;
use std::time::Duration;

use model::{CredentialName, Tenant};
use rustls::ClientConfig;

use crate::backend::{BackendError, far};
use crate::instance::{Health, Instance, Site};
use crate::{ReferenceError, Vault, VaultError};

/// How long back ends have to end what was given to us; what is not ended by then ends by itself.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes what checks certificates: by the authorities of this PEM and no others, or by the platform's.
pub type Roots<'a> = dyn Fn(Option<&[u8]>) -> Result<Arc<ClientConfig>, String> + 'a;

impl Vault {
    /// Takes in the back ends of a configuration, in place of those before. One that is described as before goes on, with its log-in and what is
    /// known of its health.
    ///
    /// # Errors
    /// A back end of a later version; authorities that cannot be read.
    pub fn take_sites(&self, sites: Vec<Site>, tls: &Roots<'_>) -> Result<(), VaultError> {
        let inner = &self.inner;
        let before = inner.instances.load_full();
        let mut all = Vec::with_capacity(sites.len());
        for site in sites {
            if let Some(known) = before.iter().find(|known| known.site == site) {
                all.push(Arc::clone(known));
                continue;
            }
            let tls = tls(site.ca.as_deref()).map_err(|why| VaultError::Site { word: site.word.clone(), why })?;
            let backend =
                far(&site, tls, &inner.local).ok_or_else(|| ReferenceError::Undescribed { word: site.word.clone() })?;
            all.push(Instance::new(site, backend));
        }
        inner.instances.store(Arc::new(all));
        Ok(())
    }

    /// How each of them fares, as this process knows it.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.inner.instances.load().iter().map(|instance| instance.health()).collect()
    }

    /// Asks each whether it answers and knows us.
    pub async fn check_sites(&self) -> Vec<(Health, Result<(), BackendError>)> {
        let now = self.inner.clock.now();
        let mut all = Vec::new();
        for instance in self.inner.instances.load_full().iter() {
            let outcome = instance.backend.check(now).await;
            all.push((instance.health(), outcome));
        }
        all
    }

    /// Ends the leases that this process holds, and what it logged in as. Call it last; it waits some seconds at most.
    pub async fn close(&self) {
        let leases = async {
            for instance in self.inner.instances.load_full().iter() {
                let leases = self.inner.leases.take_at(&instance.site.word);
                instance.backend.end(leases, true).await;
            }
        };
        let ending = async { tokio::join!(leases, self.inner.end_issued(self.inner.held.take())) };
        if tokio::time::timeout(PATIENCE, ending).await.is_err() {
            tracing::warn!("leases could not be ended in time; they end by themselves");
        }
    }

    /// Ends what was issued to this process for one version of a credential: it was revoked, here or elsewhere.
    pub async fn end_issued_of(&self, tenant: &Tenant, name: &CredentialName, version: u64) {
        let issued = self.inner.end_issued(self.inner.held.take_of(tenant, name, Some(version)));
        if tokio::time::timeout(PATIENCE, issued).await.is_err() {
            tracing::warn!(credential = %name, "what was issued for it could not be ended in time; it ends by itself");
        }
    }

    /// Ends the leases of one credential that this process holds: it was revoked, here or elsewhere.
    pub async fn end_leases_of(&self, tenant: &Tenant, name: &CredentialName) {
        let all = self.inner.leases.take_of(tenant, name);
        let issued = self.inner.end_issued(self.inner.held.take_of(tenant, name, None));
        let leases = async {
            for (word, lease) in all {
                let instances = self.inner.instances.load_full();
                if let Some(instance) = instances.iter().find(|instance| instance.site.word == word) {
                    instance.backend.end(vec![lease], false).await;
                }
            }
        };
        let ending = async { tokio::join!(leases, issued) };
        if tokio::time::timeout(PATIENCE, ending).await.is_err() {
            tracing::warn!(credential = %name, "its leases could not be ended in time; they end by themselves");
        }
    }
}
