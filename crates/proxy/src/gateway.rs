//! What all exchanges share: one immutable snapshot, the state behind it, and a worker for each thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use audit::{Lane, Log, SyncPolicy};
use catalog::Catalog;
use inject::{Index, NeedleCache};
use model::{AgentName, Clock, CredentialName, Random, Tenant, bounds};
use parking_lot::{Mutex, RwLock};
use policy::Rules;
use secret::Credential;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use vault::{Vault, VaultError};

use crate::body::{Budget, OutBody, Spools};
use crate::desk::Desk;
use crate::doubts::Doubts;
use crate::guesses::Guesses;
use crate::net::dial::Dialer;
use crate::net::leaf::Authority;
use crate::net::pool::Pool;
use crate::postgres::Cancels;
use crate::record::counted::Counted;
use crate::retry::pace::Paces;
use crate::session::{SessionSource, Sessions};

/// What decides, as one value that is swapped whole (hot reload). Never edited.
pub struct Snapshot {
    /// The rules.
    pub rules: Rules,
    /// The services.
    pub catalog: Catalog,
    /// How to reach upstreams.
    pub dialer: Dialer,
}

/// What the operator stopped while it was in use. Reads are lock-free in practice (one uncontended read lock).
#[derive(Default)]
pub struct Stopped {
    /// Everything.
    pub all: bool,
    /// Agents that may do nothing.
    pub agents: Vec<AgentName>,
    /// Credentials that are put on nothing.
    pub credentials: Vec<CredentialName>,
    /// Versions of credentials that are.
    pub versions: Vec<(CredentialName, u64)>,
}

/// The gateway of one process.
pub struct Gateway {
    /// Rules, services, upstreams.
    pub snapshot: ArcSwap<Snapshot>,
    /// Sessions alive here.
    pub sessions: Sessions,
    /// Where others are found.
    pub source: Box<dyn SessionSource>,
    /// All placeholders that this process knows.
    pub index: Index,
    /// Needles by credential version.
    pub needles: NeedleCache,
    /// Where credentials live.
    pub vault: Vault,
    /// Durable rows: limits, stops.
    pub store: store::Store,
    /// Where people are asked.
    pub room: approval::WaitingRoom,
    /// The audit log.
    pub log: Log,
    /// What is synced before forwarding.
    pub sync: SyncPolicy,
    /// Who signs the leaves.
    pub authority: Authority,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// What was stopped.
    pub stopped: ArcSwap<Stopped>,
    /// Cut when the process has been told to stop and its time is over.
    pub cut: CancellationToken,
    /// Cancelled when the process has been told to stop: new exchanges are refused.
    pub drain: CancellationToken,
    /// `serve --dev-identify-by-header`: loopback only.
    pub identify_by_header: bool,
    /// Cancellation handles of live exchanges by credential.
    pub in_use: InUse,
    /// Statements under way in databases, and how to stop them.
    pub cancels: Cancels,
    /// Whose turn it is to renew which log-in.
    pub turns: Turns,
    /// Memory for bodies that are judged.
    pub bodies: Budget,
    /// Where large ones wait for people.
    pub spools: Spools,
    /// Open client connections.
    pub connections: AtomicUsize,
    /// Refusals that are counted and not on record yet.
    pub counted: Counted,
    /// Whether many tokens were wrong of late.
    pub guesses: Guesses,
    /// Who was put off by an upstream.
    pub paces: Paces,
    /// Credentials that were refused by their services.
    pub doubts: Doubts,
    /// Where agents ask for grants, once the control plane is there.
    pub desk: OnceLock<Box<dyn Desk>>,
}

impl Gateway {
    /// Takes a place among the open connections; `None` at the bound.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<ConnectionPlace> {
        if self.connections.fetch_add(1, Relaxed) >= bounds::CONNECTIONS_MAX {
            self.connections.fetch_sub(1, Relaxed);
            return None;
        }
        Some(ConnectionPlace(Arc::clone(self)))
    }
}

/// A place among the open connections; given back when dropped.
pub(crate) struct ConnectionPlace(Arc<Gateway>);

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

/// Versions of one credential whose handles are kept; what carries an older one is cut with the whole credential alone.
const VERSIONS_KEPT_MAX: usize = 16;

/// A cancellation handle for each credential and for each of its versions, so that revoking either cuts what carries it.
#[derive(Default)]
pub struct InUse {
    handles: RwLock<HashMap<CredentialName, Handles>>,
}

#[derive(Default)]
struct Handles {
    all: CancellationToken,
    /// Below `all`.
    versions: BTreeMap<u64, CancellationToken>,
    /// What open exchanges carry, as long as they are open: one share each, and ours.
    carried: BTreeMap<u64, Arc<()>>,
}

/// That an exchange carries a version of a credential; over when dropped.
pub(crate) struct Carried {
    _share: Arc<()>,
}

impl InUse {
    /// Watches a credential that the vault is about to be asked for.
    pub(crate) fn watch(&self, name: CredentialName) -> Watch<'_> {
        let known = self.handles.read().get(&name).map(|handles| handles.all.clone());
        let whole = known.unwrap_or_else(|| self.handles.write().entry(name.clone()).or_default().all.clone());
        Watch { in_use: self, name, whole }
    }

    /// The handle of a version, below the credential's.
    fn handle_of(&self, name: &CredentialName, version: u64) -> CancellationToken {
        if let Some(handle) = self.handles.read().get(name).and_then(|handles| handles.versions.get(&version)) {
            return handle.clone();
        }
        let mut all = self.handles.write();
        let Handles { all, versions, .. } = all.entry(name.clone()).or_default();
        let handle = versions.entry(version).or_insert_with(|| all.child_token()).clone();
        if versions.len() > VERSIONS_KEPT_MAX {
            versions.pop_first();
        }
        handle
    }

    /// Notes that an exchange carries a version.
    pub(crate) fn enter(&self, name: &CredentialName, version: u64) -> Carried {
        let known = self.handles.read().get(name).and_then(|handles| handles.carried.get(&version).cloned());
        let share = known.unwrap_or_else(|| {
            let mut all = self.handles.write();
            let carried = &mut all.entry(name.clone()).or_default().carried;
            // Those that nobody carries any more make room.
            carried.retain(|known, share| *known == version || Arc::strong_count(share) > 1);
            Arc::clone(carried.entry(version).or_default())
        });
        Carried { _share: share }
    }

    /// Whether an open exchange of this process carries a version.
    #[must_use]
    pub fn carries(&self, name: &CredentialName, version: u64) -> bool {
        let handles = self.handles.read();
        let share = handles.get(name).and_then(|handles| handles.carried.get(&version));
        share.is_some_and(|share| Arc::strong_count(share) > 1)
    }

    /// Cuts everything that carries it or what was minted under it; later exchanges get a fresh handle.
    pub fn cut(&self, name: &CredentialName) {
        self.handles.write().retain(|known, handles| {
            let cut = known == name || vault::is_under(known, name);
            if cut {
                handles.all.cancel();
            }
            !cut
        });
    }

    /// Cuts everything that carries this version of it; of one so old that its handle is gone, everything that carries any.
    pub fn cut_version(&self, name: &CredentialName, version: u64) {
        let mut all = self.handles.write();
        let Some(handles) = all.get_mut(name) else { return };
        let forgotten = handles.versions.keys().next().is_some_and(|oldest| version < *oldest);
        match handles.versions.remove(&version) {
            Some(handle) => handle.cancel(),
            None if forgotten && handles.versions.len() >= VERSIONS_KEPT_MAX => handles.all.cancel(),
            None => return,
        }
        if handles.all.is_cancelled() {
            all.remove(name);
        }
    }
}

/// Begun before the vault is asked for a credential, and the only way to what cuts whoever carries it: so no revocation falls between.
pub(crate) struct Watch<'a> {
    in_use: &'a InUse,
    name: CredentialName,
    /// The handle of all its versions.
    whole: CancellationToken,
}

impl Watch<'_> {
    /// What is watched.
    pub(crate) fn name(&self) -> &CredentialName {
        &self.name
    }

    /// What cuts an exchange that carries this credential: the handle of its version. One that was minted under the watched one has a handle of
    /// its own; cutting that under which it lies cuts it too.
    ///
    /// # Errors
    /// It was revoked since the vault gave it out.
    pub(crate) fn carried(
        self,
        vault: &Vault,
        tenant: &Tenant,
        credential: &Credential,
    ) -> Result<CancellationToken, VaultError> {
        let handle = self.in_use.handle_of(credential.name(), credential.version());
        if self.whole.is_cancelled() {
            return Ok(self.whole);
        }
        // Once more: the version had no handle when it was revoked.
        vault.usable(tenant, credential.name(), credential.version())?;
        Ok(handle)
    }
}

/// One at a time for each log-in: a refresh token is good once.
#[derive(Default)]
pub struct Turns {
    places: Mutex<HashMap<CredentialName, Arc<tokio::sync::Mutex<()>>>>,
}

/// The right to use a refresh token; given back when dropped.
pub(crate) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

/// Log-ins being renewed at once beyond which those that are not are forgotten.
const TURNS_KEPT_MAX: usize = 64;

impl Turns {
    pub(crate) async fn take(&self, name: &CredentialName) -> Turn {
        let place = {
            let mut places = self.places.lock();
            if places.len() > TURNS_KEPT_MAX {
                places.retain(|_, place| Arc::strong_count(place) > 1);
            }
            Arc::clone(places.entry(name.clone()).or_default())
        };
        Turn { _guard: place.lock_owned().await }
    }
}

/// One thread's share: its lane of the audit log and its upstream connections.
pub struct Worker {
    /// What all share.
    pub gateway: Arc<Gateway>,
    /// This thread's chain.
    pub lane: Lane,
    /// This thread's upstream connections.
    pub pool: Pool<OutBody>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_carried_as_long_as_an_exchange_is_open() {
        let in_use = InUse::default();
        let name = CredentialName::new("k").expect("a name");
        assert!(!in_use.carries(&name, 1));
        let (one, two, other) = (in_use.enter(&name, 1), in_use.enter(&name, 1), in_use.enter(&name, 2));
        drop(one);
        assert!(in_use.carries(&name, 1) && in_use.carries(&name, 2) && !in_use.carries(&name, 3));
        drop(two);
        assert!(!in_use.carries(&name, 1) && in_use.carries(&name, 2));
        // Any number of versions, as many places as are carried.
        for version in 3..100 {
            drop(in_use.enter(&name, version));
        }
        assert_eq!(in_use.handles.read().get(&name).map(|handles| handles.carried.len()), Some(2));
        drop(other);
        assert!(!in_use.carries(&name, 2));
    }
}
