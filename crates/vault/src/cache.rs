//! Opened credentials in memory: bounded, one fetch at a time for each, failures remembered for a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use model::time::MICROS;
use model::{CredentialName, Tenant, Timestamp, bounds};
use quick_cache::sync::Cache;
use secret::{Lease, Material};

use crate::VaultError;

/// Whose credential.
pub(crate) type Place = (Tenant, CredentialName);

/// One version, opened.
pub(crate) struct Live {
    pub version: u64,
    pub material: Arc<Material>,
    pub lease: Lease,
    /// When it was read.
    pub read: Timestamp,
    noted: AtomicI64,
}

impl Live {
    pub fn new(version: u64, material: Material, lease: Lease, read: Timestamp) -> Self {
        Self { version, material: Arc::new(material), lease, read, noted: AtomicI64::new(i64::MIN) }
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.lease.expires.is_some_and(|end| now >= end)
    }

    /// Whether its back end may be away for a while longer.
    fn may_be_held(&self, now: Timestamp) -> bool {
        now < self.read.plus_secs(bounds::MATERIAL_HELD_SECONDS) && !self.is_expired(now)
    }

    /// Whether this use should be written down: the first in a minute.
    pub fn is_worth_noting(&self, now: Timestamp) -> bool {
        let last = self.noted.load(Ordering::Relaxed);
        now.0.saturating_sub(last) >= 60 * MICROS
            && self.noted.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What a fetch gave, and until when it is used without asking again.
#[derive(Clone)]
struct Entry {
    outcome: Result<Arc<Live>, VaultError>,
    until: Timestamp,
}

pub(crate) struct Materials {
    entries: Cache<Place, Entry>,
}

impl Materials {
    pub fn new() -> Self {
        Self { entries: Cache::new(bounds::MATERIALS_CACHED_MAX) }
    }

    /// The credential at `place`, fetched once whoever asks meanwhile. The last good one stands in where `fetch` fails
    /// because its back end is away.
    pub async fn get<F>(&self, place: &Place, now: Timestamp, fetch: F) -> Result<Arc<Live>, VaultError>
    where
        F: AsyncFnOnce() -> Result<Live, VaultError>,
    {
        let mut last = None;
        if let Some(entry) = self.entries.get(place) {
            if now < entry.until {
                return entry.outcome;
            }
            // Only the stale one: another task may have put a new one there.
            self.entries.remove_if(place, |there| there.until == entry.until);
            last = entry.outcome.ok();
        }
        let guard = match self.entries.get_value_or_guard_async(place).await {
            Ok(entry) => return entry.outcome,
            Err(guard) => guard,
        };
        let entry = match fetch().await {
            Ok(live) => {
                let fresh = now.plus_secs(bounds::MATERIAL_FRESH_SECONDS);
                Entry { until: live.lease.expires.map_or(fresh, |end| end.min(fresh)), outcome: Ok(Arc::new(live)) }
            }
            Err(error) => {
                let held = last.filter(|live| error.is_passing() && live.may_be_held(now));
                let until = now.plus_secs(bounds::BACKEND_REST_SECONDS);
                Entry { until, outcome: held.ok_or(error) }
            }
        };
        let outcome = entry.outcome.clone();
        // Fails only where it was forgotten while it was being fetched: then it is used once and not kept.
        let _ = guard.insert(entry);
        outcome
    }

    /// Forgets one.
    pub fn forget(&self, place: &Place) {
        self.entries.remove(place);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.entries.clear();
    }
}
