//! Leases that this process holds: each was made for it alone, so it ends them when it ends, or when their credential is revoked.

use std::sync::Arc;

use model::{CredentialName, Tenant, Timestamp, bounds};
use parking_lot::Mutex;

use crate::Reference;

struct Held {
    tenant: Tenant,
    name: CredentialName,
    /// Which back end knows it.
    word: String,
    id: Arc<str>,
    ends: Timestamp,
}

#[derive(Default)]
pub(crate) struct Leases(Mutex<Vec<Held>>);

impl Leases {
    /// Holds one, or holds it longer.
    pub fn hold(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        reference: &Reference,
        (id, ends): (Arc<str>, Timestamp),
        now: Timestamp,
    ) {
        let mut all = self.0.lock();
        let word = reference.word();
        if let Some(held) = all.iter_mut().find(|held| held.id == id && held.word == word) {
            held.ends = ends;
            return;
        }
        all.retain(|held| held.ends > now);
        if all.len() < bounds::LEASES_MAX {
            all.push(Held { tenant: tenant.clone(), name: name.clone(), word: word.to_owned(), id, ends });
        } else {
            tracing::warn!(credential = %name, "too many leases are held; this one ends by itself");
        }
    }

    /// Takes those out that a back end knows.
    pub fn take_at(&self, word: &str) -> Vec<Arc<str>> {
        self.0.lock().extract_if(.., |held| held.word == word).map(|held| held.id).collect()
    }

    /// Takes those of one credential out, with the back end that knows each.
    pub fn take_of(&self, tenant: &Tenant, name: &CredentialName) -> Vec<(String, Arc<str>)> {
        let mut all = self.0.lock();
        let theirs = all.extract_if(.., |held| held.tenant == *tenant && held.name == *name);
        theirs.map(|held| (held.word, held.id)).collect()
    }
}
