//! The keys of an open vault: a keyring's key opens the root key, the root key opens the data keys, a data key seals
//! the values of one organisation.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Random, Sealed, Tenant, Timestamp};
use parking_lot::RwLock;
use secret::Secret;
use store::{DataKeyRow, KeyslotRow, Store};

use crate::keyring::{Around, Keyring, KeyringError, Made};
use crate::seal::{Key, KeyId, Label, SealError};
use crate::{Ambient, KeyringChoice, VaultError};

/// Keys in memory. One organisation has one data key, or a few after restores.
pub(crate) struct Keys {
    store: Store,
    random: Arc<dyn Random>,
    root: RwLock<Arc<Key>>,
    data: RwLock<HashMap<KeyId, Arc<Key>>>,
}

/// The organisation that the vault itself belongs to.
fn house() -> Tenant {
    Tenant::local()
}

fn sealed(what: impl Into<String>) -> impl FnOnce(SealError) -> VaultError {
    let what = what.into();
    move |error| VaultError::Sealed { what, error }
}

impl Keys {
    /// Opens the vault's root key, making the vault on first use.
    pub async fn open(
        store: Store,
        choice: KeyringChoice,
        ambient: &Ambient,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Result<Self, VaultError> {
        let rings = choice.keyrings();
        let around = Around { ambient, random: &*random };
        let mut slots = store.keyslots().list(&house()).await?;
        let mut root = None;
        if slots.is_empty() {
            root = create(&store, &rings, around, now).await?;
            if root.is_none() {
                // Another process has just made it.
                slots = store.keyslots().list(&house()).await?;
            }
        }
        let root = match root {
            Some(root) => root,
            None => unlock(&rings, &slots, around).await?,
        };
        Ok(Self { store, random, root: RwLock::new(Arc::new(root)), data: RwLock::default() })
    }

    fn root(&self) -> Arc<Key> {
        Arc::clone(&self.root.read())
    }

    /// Adds a slot for another keyring, or replaces that keyring's own (a new passphrase).
    pub async fn add_slot(&self, choice: KeyringChoice, ambient: &Ambient, now: Timestamp) -> Result<(), VaultError> {
        let slot = new_slot(&choice.keyrings(), Around { ambient, random: &*self.random }, &self.root(), now).await?;
        Ok(self.store.keyslots().put(&house(), &slot).await?)
    }

    /// Makes a new root key with one slot; data keys are sealed anew, values stay as they are. Other processes go on
    /// with what they hold and must be restarted before they can add a data key.
    pub async fn rekey(&self, choice: KeyringChoice, ambient: &Ambient, now: Timestamp) -> Result<(), VaultError> {
        let (old, new) = (self.root(), Arc::new(Key::fresh(&*self.random)));
        let mut rows = self.store.keyslots().data_keys().await?;
        for row in &mut rows {
            let key = open_data_key(&old, row)?;
            let label = Label::Data { tenant: &row.tenant };
            row.sealed = new.wrap(&key, &label, &*self.random).map_err(sealed("a data key"))?;
            row.root = new.id().to_string();
        }
        let slot = new_slot(&choice.keyrings(), Around { ambient, random: &*self.random }, &new, now).await?;
        self.store.keyslots().rekey(&house(), &slot, &rows).await?;
        *self.root.write() = new;
        Ok(())
    }

    /// Opens a value.
    pub async fn open_value(&self, value: &Sealed, label: &Label<'_>, tenant: &Tenant) -> Result<Secret, VaultError> {
        let damaged = SealError::Format { found: value.0.first().copied().unwrap_or(0) };
        let id = KeyId::of(value).ok_or(damaged).map_err(sealed("the stored value"))?;
        let known = self.data.read().get(&id).cloned();
        let key = match known {
            Some(key) => key,
            None => self.load(tenant).await?.into_iter().find(|key| key.id() == id).ok_or_else(|| {
                let have = "none of this vault".to_owned();
                sealed("the stored value")(SealError::WrongKey { wanted: id.to_string(), have })
            })?,
        };
        key.open(value, label).map_err(sealed("the stored value"))
    }

    /// Seals a value under the organisation's newest data key, making its first one where there is none.
    pub async fn seal_value(
        &self,
        value: &Secret,
        label: &Label<'_>,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<Sealed, VaultError> {
        let key = match self.load(tenant).await?.pop() {
            Some(key) => key,
            None => self.add_data_key(tenant, now).await?,
        };
        key.seal(value, label, &*self.random).map_err(sealed("the new value"))
    }

    /// Every data key of an organisation, oldest first.
    async fn load(&self, tenant: &Tenant) -> Result<Vec<Arc<Key>>, VaultError> {
        let root = self.root();
        let mut out = Vec::new();
        for row in self.store.keyslots().data_keys_of(tenant).await? {
            let key = Arc::new(open_data_key(&root, &row)?);
            self.data.write().insert(key.id(), Arc::clone(&key));
            out.push(key);
        }
        Ok(out)
    }

    async fn add_data_key(&self, tenant: &Tenant, now: Timestamp) -> Result<Arc<Key>, VaultError> {
        let (root, key) = (self.root(), Arc::new(Key::fresh(&*self.random)));
        let row = DataKeyRow {
            tenant: tenant.clone(),
            id: key.id().to_string(),
            root: root.id().to_string(),
            sealed: root.wrap(&key, &Label::Data { tenant }, &*self.random).map_err(sealed("a data key"))?,
            created: now,
        };
        self.store.keyslots().add_data_key(&house(), &row).await?;
        self.data.write().insert(key.id(), Arc::clone(&key));
        Ok(key)
    }
}

fn open_data_key(root: &Key, row: &DataKeyRow) -> Result<Key, VaultError> {
    root.unwrap(&row.sealed, &Label::Data { tenant: &row.tenant })
        .map_err(sealed(format!("the data key of `{}`", row.tenant)))
}

/// Makes the vault; none where another process was quicker.
async fn create(
    store: &Store,
    rings: &[Box<dyn Keyring>],
    around: Around<'_>,
    now: Timestamp,
) -> Result<Option<Key>, VaultError> {
    let root = Key::fresh(around.random);
    let slot = new_slot(rings, around, &root, now).await?;
    Ok(store.keyslots().create(&house(), &slot).await?.then_some(root))
}

/// Seals the root key under the first keyring that is there and works.
async fn new_slot(
    rings: &[Box<dyn Keyring>],
    around: Around<'_>,
    root: &Key,
    now: Timestamp,
) -> Result<KeyslotRow, VaultError> {
    let mut failure = KeyringError::Keychain { why: "there is none here".to_owned() };
    for ring in rings.iter().filter(|ring| ring.present(around.ambient)) {
        match ring.make(around).await {
            Ok(Made { key, params }) => {
                let slot = ring.slot().to_owned();
                let wrapped = key.wrap(root, &Label::Root { slot: &slot }, around.random);
                return Ok(KeyslotRow {
                    sealed: wrapped.map_err(sealed("the root key"))?,
                    root: root.id().to_string(),
                    slot,
                    params,
                    created: now,
                });
            }
            Err(error) => {
                tracing::warn!(keyring = ring.slot(), %error, "keyring cannot be used");
                failure = error;
            }
        }
    }
    Err(failure.into())
}

/// Opens the root key with the first keyring that has a slot and works; otherwise says why the last one did not.
async fn unlock(rings: &[Box<dyn Keyring>], slots: &[KeyslotRow], around: Around<'_>) -> Result<Key, VaultError> {
    let names = slots.iter().map(|slot| slot.slot.as_str()).collect::<Vec<_>>().join(" or ");
    let mut failure = VaultError::Keyring(KeyringError::OtherSlots { slots: names });
    for ring in rings {
        let Some(slot) = slots.iter().find(|slot| slot.slot == ring.slot()) else { continue };
        match ring.find(&slot.params, around).await {
            Ok(key) => match key.unwrap(&slot.sealed, &Label::Root { slot: &slot.slot }) {
                Ok(root) => return Ok(root),
                Err(SealError::WrongKey { .. }) => failure = KeyringError::Wrong { slot: slot.slot.clone() }.into(),
                Err(error) => failure = sealed("the vault")(error),
            },
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}
