//! The vault: what it is made of, and how it is opened.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use model::{Clock, CredentialName, Random, Tenant};
use parking_lot::RwLock;
use store::{StopRow, Store};

use crate::aws::chain::{Chain, SharedWay};
use crate::backend::{Backend, Ground, Local, backends};
use crate::cache::{Materials, Place};
use crate::instance::Instance;
use crate::issue::{AllHeld, Narrowings};
use crate::keys::Keys;
use crate::leases::Leases;
use crate::manage::Declaration;
use crate::revoked::Revoked;
use crate::{Ambient, KeyringChoice, Reference, ReferenceError, Scheme, VaultError};

/// Where credentials live. Cheap to copy; all copies share their keys and what they have opened.
#[derive(Clone)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Itself, for what must be done to its end whoever waits for it.
    pub me: Weak<Inner>,
    pub store: Store,
    pub keys: Arc<Keys>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub ambient: Ambient,
    pub backends: Vec<Box<dyn Backend>>,
    /// What logs us in to those over the network.
    pub local: Local,
    /// Those over the network, as the configuration describes them.
    pub instances: ArcSwap<Vec<Arc<Instance>>>,
    pub leases: Leases,
    /// What was issued and can be ended.
    pub held: AllHeld,
    /// How issuers are reached; none until the wiring says.
    pub way: SharedWay,
    pub narrowings: ArcSwap<Narrowings>,
    /// What this process's configuration declares; wins over what the store knows.
    pub declared: RwLock<HashMap<Place, Arc<Declaration>>>,
    /// Versions that are lent under a name of their own while somebody looks whether they work.
    pub staged: RwLock<HashMap<Place, (CredentialName, u64)>>,
    pub materials: Materials,
    pub revoked: ArcSwap<Revoked>,
}

impl Vault {
    /// Opens the vault of a store, making it (and its key) on first use.
    pub async fn open(
        store: Store,
        keyring: KeyringChoice,
        ambient: Ambient,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, VaultError> {
        let keys = Keys::open(store.clone(), keyring, &ambient, Arc::clone(&random), clock.now()).await?;
        let way = SharedWay::default();
        let chain = Arc::new(Chain::new(ambient.clone(), Arc::clone(&way)));
        let ground = Ground { store: store.clone(), keys: Arc::new(keys), ambient: ambient.clone(), chain };
        let (backends, local) = (backends(&ground), Local::new(&ground));
        let inner = Arc::new_cyclic(|me| Inner {
            me: Weak::clone(me),
            backends,
            local,
            instances: ArcSwap::default(),
            leases: Leases::default(),
            held: AllHeld::default(),
            store,
            keys: ground.keys,
            clock,
            random,
            ambient,
            way,
            narrowings: ArcSwap::default(),
            declared: RwLock::default(),
            staged: RwLock::default(),
            materials: Materials::new(),
            revoked: ArcSwap::default(),
        });
        let vault = Self { inner };
        vault.reload_stops(&Tenant::local()).await?;
        Ok(vault)
    }

    /// Takes note of every stop of an organisation, as the store now lists them; in force with the next request. Call
    /// it at start and whenever `store::Changes` reports stops.
    pub fn revoke_seen(&self, tenant: &Tenant, stops: &[StopRow]) {
        self.inner.revoked.rcu(|known| known.with(tenant, stops));
    }

    /// Reads the stops of an organisation from the store and takes note of them.
    pub async fn reload_stops(&self, tenant: &Tenant) -> Result<(), VaultError> {
        let stops = self.inner.store.stops().list(tenant).await?;
        self.revoke_seen(tenant, &stops);
        Ok(())
    }

    /// Forgets what was opened. Call it whenever `store::Changes` reports credentials: another process may have stored
    /// a new version.
    pub fn credentials_changed(&self) {
        self.inner.materials.clear();
    }

    /// Forgets everything that was opened. Call it when the clock was set: what is held was counted by another.
    pub fn clock_changed(&self) {
        self.inner.materials.clear_all();
    }

    /// Opens this vault by another keyring as well, or replaces that keyring's key (a new passphrase).
    pub async fn add_keyring(&self, keyring: KeyringChoice) -> Result<(), VaultError> {
        let now = self.inner.clock.now();
        self.inner.keys.add_slot(keyring, &self.inner.ambient, now).await
    }

    /// Makes a new root key, opened by this keyring alone. Other processes must be restarted.
    pub async fn rekey(&self, keyring: KeyringChoice) -> Result<(), VaultError> {
        let now = self.inner.clock.now();
        self.inner.keys.rekey(keyring, &self.inner.ambient, now).await
    }
}

impl Inner {
    /// The back end of a scheme; none for one of a later version.
    pub fn backend(&self, scheme: Scheme) -> Option<&dyn Backend> {
        self.backends.iter().find(|backend| backend.scheme() == scheme).map(|backend| &**backend)
    }

    /// The back end over the network that a reference leads to; none for one that lies here.
    pub fn instance(&self, reference: &Reference) -> Option<Arc<Instance>> {
        if !reference.scheme().is_far() {
            return None;
        }
        self.instances.load().iter().find(|instance| instance.site.word == reference.word()).cloned()
    }

    /// Whether somebody said where the back end of a reference is, if somebody must.
    pub fn described(&self, reference: &Reference) -> Result<(), ReferenceError> {
        let is_here = self.backend(reference.scheme()).is_some() && !reference.word().contains('@');
        if is_here || self.instance(reference).is_some() {
            return Ok(());
        }
        Err(ReferenceError::Undescribed { word: reference.word().to_owned() })
    }
}
