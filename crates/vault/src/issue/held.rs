//! What was issued and can be ended before its time: by its issuer, when this process ends or its credential is revoked.

use std::sync::Arc;

use model::{CredentialName, Tenant, Timestamp, bounds};
use parking_lot::Mutex;
use secret::Material;

use super::Issuing;
use crate::Pending;
use crate::backend::BackendError;
use crate::cache::Live;
use crate::road::Road;
use crate::vault::Inner;

/// Issuers that are told at the same time.
const AT_ONCE: usize = 16;

/// Whoever can end what was issued.
pub trait Ender: Send + Sync {
    /// Ends it. What is not known any more is over.
    fn end<'a>(&'a self, material: &'a Material, way: &'a dyn Road) -> Pending<'a, Result<(), BackendError>>;
}

/// One thing that was issued.
pub(crate) struct Held {
    tenant: Tenant,
    name: CredentialName,
    /// The version of what is stored.
    version: u64,
    by: Arc<Issuing>,
    material: Arc<Material>,
    ends: Timestamp,
}

#[derive(Default)]
pub(crate) struct AllHeld(Mutex<Vec<Held>>);

impl AllHeld {
    /// Holds what was issued, if its issuer can end it. What took over from another leaves that in force: it may be under way.
    pub fn hold(&self, (tenant, name): (&Tenant, &CredentialName), by: &Arc<Issuing>, live: &Live, now: Timestamp) {
        let Some(ends) = live.lease.expires.filter(|_| by.ender.is_some()) else { return };
        let mut all = self.0.lock();
        all.retain(|held| held.ends > now);
        if all.len() < bounds::LEASES_MAX {
            let (tenant, name) = (tenant.clone(), name.clone());
            let material = Arc::clone(&live.material);
            all.push(Held { tenant, name, version: live.version, by: Arc::clone(by), material, ends });
        } else {
            tracing::warn!(credential = %name, "too much was issued; this ends by itself");
        }
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<Held> {
        std::mem::take(&mut self.0.lock())
    }

    /// Takes out what was issued for one credential, or for one version of it.
    pub fn take_of(&self, tenant: &Tenant, name: &CredentialName, version: Option<u64>) -> Vec<Held> {
        let is_meant = |held: &mut Held| {
            held.tenant == *tenant && held.name == *name && version.is_none_or(|version| version == held.version)
        };
        self.0.lock().extract_if(.., is_meant).collect()
    }
}

impl Inner {
    /// Has these ended, some at a time. The time is the caller's business.
    pub async fn end_issued(&self, all: Vec<Held>) {
        let Some(way) = self.way.load_full().filter(|_| !all.is_empty()) else { return };
        let left = Arc::new(Mutex::new(all));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (left, way) = (Arc::clone(&left), Arc::clone(&way));
            workers.spawn(async move {
                loop {
                    let next = left.lock().pop();
                    let Some(Held { name, by, material, .. }) = next else { break };
                    let Some(ender) = &by.ender else { continue };
                    if let Err(error) = ender.end(&material, &**way).await {
                        tracing::warn!(credential = %name, %error, "what was issued could not be ended; it ends by itself");
                    }
                }
            });
        }
        while workers.join_next().await.is_some() {}
    }
}
