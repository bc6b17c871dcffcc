//! Opened credentials in memory: bounded, one fetch at a time for each, failures remembered for a moment. What is somebody's own is kept by
//! what its reference was filled to, so that nobody is given another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use model::time::MICROS;
use model::{CredentialName, Tenant, Timestamp, bounds};
use quick_cache::sync::Cache;
use secret::{Lease, Material};

use crate::VaultError;

/// Whose credential.
pub(crate) type Place = (Tenant, CredentialName);

/// The same, and the filled reference where it is somebody's own.
pub(crate) type Key = (Tenant, CredentialName, Option<Arc<str>>);

/// For how long a value is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    /// Until it is asked for again, seconds.
    pub fresh: u64,
    /// While its back end is away, seconds.
    pub held: u64,
}

/// One version, opened.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about where the value is from")]
pub(crate) struct Live {
    pub version: u64,
    pub material: Arc<Material>,
    pub lease: Lease,
    /// Whether the lease may be made longer.
    pub renewable: bool,
    /// From a back end over the network: what happens in the store is no reason to ask again.
    pub far: bool,
    /// Had for what is stored, with an end of its own: as above.
    pub issued: bool,
    /// Whether asking for it anew may give another value.
    pub anew: bool,
    /// When it was read.
    pub read: Timestamp,
    pub spans: Spans,
    noted: AtomicI64,
    /// It failed: the next one who wants it asks for it anew.
    failed: AtomicBool,
    /// When it, or one before it, was asked for anew because it had failed.
    renewed: AtomicI64,
}

impl Live {
    pub fn new(version: u64, material: Material, (lease, renewable): (Lease, bool), read: (Timestamp, Spans)) -> Self {
        let (read, spans) = read;
        let material = Arc::new(material);
        let (noted, failed, renewed) = (AtomicI64::new(i64::MIN), AtomicBool::new(false), AtomicI64::new(i64::MIN));
        let (far, issued, anew) = (false, false, false);
        Self { version, material, lease, renewable, far, issued, anew, read, spans, noted, failed, renewed }
    }

    /// The same, from over the network or not.
    pub fn being_far(self, far: bool) -> Self {
        Self { far, ..self }
    }

    /// The same, had for what is stored: asking anew has another.
    pub fn being_issued(self) -> Self {
        Self { issued: true, anew: true, ..self }
    }

    /// The same, of which asking anew may give another value or not.
    pub fn asked_anew(self, anew: bool) -> Self {
        Self { anew, ..self }
    }

    /// The same with a longer lease.
    pub fn lengthened(&self, expires: Timestamp, now: Timestamp) -> Self {
        Self {
            version: self.version,
            material: Arc::clone(&self.material),
            lease: Lease { expires: Some(expires), ..self.lease.clone() },
            read: now,
            noted: AtomicI64::new(self.noted.load(Ordering::Relaxed)),
            failed: AtomicBool::new(false),
            renewed: AtomicI64::new(self.renewed.load(Ordering::Relaxed)),
            ..*self
        }
    }

    /// This one, sharing with the one before what is equal: connections and needles are kept by it.
    fn after(mut self, before: Option<&Arc<Self>>) -> Self {
        if let Some(before) = before {
            self.renewed = AtomicI64::new(before.renewed.load(Ordering::Relaxed));
        }
        if let Some(before) = before.filter(|it| it.material.mark() == self.material.mark()) {
            self.material = Arc::clone(&before.material);
            self.noted = AtomicI64::new(before.noted.load(Ordering::Relaxed));
        }
        self
    }

    /// Until when nobody asks again: what has a lease, for two thirds of it, because asking may make another user on a server.
    fn until(&self, now: Timestamp) -> Timestamp {
        match (self.lease.expires, &self.lease.id) {
            (Some(end), Some(_)) => Timestamp(now.0.saturating_add_unsigned(end.micros_since(now) / 3 * 2)),
            (Some(end), None) if self.issued => crate::issue::until(end, now),
            (Some(end), None) => end.min(now.plus_secs(self.spans.fresh)),
            (None, _) => now.plus_secs(self.spans.fresh),
        }
    }

    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.lease.expires.is_some_and(|end| now >= end)
    }

    /// Whether its back end may be away for a while longer.
    fn may_be_held(&self, now: Timestamp) -> bool {
        // A lease says by itself how long it is good.
        let is_lease = (self.lease.id.is_some() || self.issued) && self.lease.expires.is_some();
        (is_lease || now < self.read.plus_secs(self.spans.held)) && !self.is_expired(now)
    }

    /// Whether it failed, and nobody has asked for it anew since.
    pub fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Notes that it failed, unless it was asked for anew for that a moment ago: whoever provokes failures must not make us ask and
    /// ask. Whether it is to be asked for anew.
    pub fn fails(&self, now: Timestamp) -> bool {
        let last = self.renewed.load(Ordering::Relaxed);
        let rested = now.0.saturating_sub(last) >= bounds::RENEWAL_REST_SECONDS as i64 * MICROS;
        if rested && self.renewed.compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.failed.store(true, Ordering::Relaxed);
        }
        self.is_failed()
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

impl Entry {
    fn is(&self, other: &Self) -> bool {
        let same = match (&self.outcome, &other.outcome) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        same && self.until == other.until
    }
}

pub(crate) struct Materials {
    entries: Cache<Key, Entry>,
    /// How often everything was forgotten.
    cleared: AtomicU64,
}

/// An entry whose time is over, while a new one is fetched.
struct Kept<'a> {
    materials: &'a Materials,
    key: &'a Key,
    entry: Option<Entry>,
    cleared: u64,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let entry = self.entry.take();
        if let Some(entry) = entry.filter(|_| self.cleared == self.materials.cleared.load(Ordering::SeqCst)) {
            self.materials.entries.insert(self.key.clone(), entry);
        }
    }
}

impl Materials {
    pub fn new() -> Self {
        Self { entries: Cache::new(bounds::MATERIALS_CACHED_MAX), cleared: AtomicU64::new(0) }
    }

    /// The credential at `key`, fetched once whoever asks meanwhile; `fetch` is given the one before. The last good one stands in where
    /// it fails because its back end is away.
    pub async fn get<F>(&self, key: &Key, now: Timestamp, fetch: F) -> Result<Arc<Live>, VaultError>
    where
        F: AsyncFnOnce(Option<&Live>) -> Result<Live, VaultError>,
    {
        let mut last = None;
        // Put back last of all if whoever asks goes away meanwhile: the next one must find it.
        let mut kept = Kept { materials: self, key, entry: None, cleared: self.cleared.load(Ordering::SeqCst) };
        if let Some(entry) = self.entries.get(key) {
            let failed = entry.outcome.as_ref().is_ok_and(|live| live.is_failed());
            if now < entry.until && !failed {
                return entry.outcome;
            }
            // Only the stale one: another task may have put a new one there.
            self.entries.remove_if(key, |there| there.is(&entry));
            kept.entry = Some(entry.clone());
            last = entry.outcome.ok();
        }
        let guard = match self.entries.get_value_or_guard_async(key).await {
            Ok(entry) => {
                kept.entry = None;
                return entry.outcome;
            }
            Err(guard) => guard,
        };
        let cleared = self.cleared.load(Ordering::SeqCst);
        let entry = match fetch(last.as_deref()).await {
            Ok(live) => {
                let live = live.after(last.as_ref());
                Entry { until: live.until(now), outcome: Ok(Arc::new(live)) }
            }
            Err(error) => {
                let held = last.filter(|live| error.is_passing() && live.may_be_held(now));
                if let Some(live) = &held {
                    live.failed.store(false, Ordering::Relaxed);
                }
                let until = now.plus_secs(bounds::BACKEND_REST_SECONDS);
                Entry { until, outcome: held.ok_or(error) }
            }
        };
        let outcome = entry.outcome.clone();
        kept.entry = None;
        // Forgotten while it was being fetched: then it is used once and not kept.
        if cleared == self.cleared.load(Ordering::SeqCst) || is_far(&entry) {
            let _ = guard.insert(entry);
        }
        outcome
    }

    /// What is kept at `key`, past its time or not.
    pub fn peek(&self, key: &Key) -> Option<Arc<Live>> {
        self.entries.get(key).and_then(|entry| entry.outcome.ok())
    }

    /// Forgets one, whosever it is.
    pub fn forget(&self, (tenant, name): &Place) {
        self.entries.remove(&(tenant.clone(), name.clone(), None));
        self.entries.retain(|(theirs, known, _), _| theirs != tenant || known != name);
    }

    /// Forgets what the store may have changed.
    pub fn clear(&self) {
        self.cleared.fetch_add(1, Ordering::SeqCst);
        self.entries.retain(|_, entry| is_far(entry));
    }

    /// Forgets everything.
    pub fn clear_all(&self) {
        self.cleared.fetch_add(1, Ordering::SeqCst);
        self.entries.clear();
    }
}

fn is_far(entry: &Entry) -> bool {
    entry.outcome.as_ref().is_ok_and(|live| live.far || live.issued)
}
