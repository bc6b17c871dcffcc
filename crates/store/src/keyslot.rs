//! The vault's keys, sealed: slots that each hold the root key, and data keys under the root key.
//!
//! Every row names the root key that it belongs to, and no row of another one is ever added: a process that still holds
//! the root key from before a re-key cannot seal anything that nobody could open.

use model::{Sealed, Tenant, Timestamp};

use crate::StoreError;
use crate::engine::{Db, Durability, Tx};
use crate::value::{Row, vals};

/// The root key, sealed under the key of one keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyslotRow {
    /// The keyring: `key-file`, `passphrase`, `keychain`.
    pub slot: String,
    /// Names the root key.
    pub root: String,
    /// What that keyring needs to find its key again (parameters of the derivation), as JSON; nothing secret.
    pub params: String,
    /// The root key.
    pub sealed: Sealed,
    /// When it was made.
    pub created: Timestamp,
}

/// A data key, sealed under the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKeyRow {
    /// Whose values it seals.
    pub tenant: Tenant,
    /// Names it in what it sealed.
    pub id: String,
    /// Names the root key.
    pub root: String,
    /// The key.
    pub sealed: Sealed,
    /// When it was made.
    pub created: Timestamp,
}

/// The vault's sealed keys. `house` is the organisation that the vault itself belongs to.
pub struct Keyslots<'a> {
    pub(crate) db: &'a Db,
}

impl Keyslots<'_> {
    /// Every slot of the vault.
    pub async fn list(&self, house: &Tenant) -> Result<Vec<KeyslotRow>, StoreError> {
        let sql = "SELECT slot, root, params, sealed, created FROM keyslots WHERE tenant = $1 ORDER BY slot";
        self.db.rows(sql, vals![house]).await?.iter().map(read).collect()
    }

    /// Makes the vault's first slot; whether it was the first (another process may have been quicker).
    pub async fn create(&self, house: &Tenant, row: &KeyslotRow) -> Result<bool, StoreError> {
        let mut tx = self.locked().await?;
        if root(&mut tx, house).await?.is_some() {
            return Ok(false);
        }
        put(&mut tx, house, row).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Adds a slot for the same root key, or replaces the one of the same name.
    pub async fn put(&self, house: &Tenant, row: &KeyslotRow) -> Result<(), StoreError> {
        let mut tx = self.locked().await?;
        same_root(&mut tx, house, &row.root).await?;
        put(&mut tx, house, row).await?;
        tx.commit().await
    }

    /// Replaces the root key: every slot by `slot`, every data key by `keys`. A [`StoreError::Conflict`] where a data
    /// key was added since `keys` were read.
    pub async fn rekey(&self, house: &Tenant, slot: &KeyslotRow, keys: &[DataKeyRow]) -> Result<(), StoreError> {
        let mut tx = self.locked().await?;
        let count = tx.row("SELECT COUNT(*) FROM data_keys", &[]).await?.map_or(Ok(0), |row| row.count(0))?;
        if count != keys.len() as u64 {
            return Err(StoreError::Conflict { what: "a data key was added meanwhile".to_owned() });
        }
        tx.exec("DELETE FROM keyslots WHERE tenant = $1", vals![house]).await?;
        put(&mut tx, house, slot).await?;
        for key in keys {
            let sql = "UPDATE data_keys SET sealed = $3, root = $4 WHERE tenant = $1 AND id = $2";
            tx.exec(sql, vals![&key.tenant, key.id.as_str(), &key.sealed, key.root.as_str()]).await?;
        }
        tx.commit().await
    }

    /// Every data key of every organisation.
    pub async fn data_keys(&self) -> Result<Vec<DataKeyRow>, StoreError> {
        let sql = "SELECT tenant, id, root, sealed, created FROM data_keys ORDER BY tenant, created, id";
        self.db.rows(sql, &[]).await?.iter().map(read_key).collect()
    }

    /// The data keys of one organisation, oldest first.
    pub async fn data_keys_of(&self, tenant: &Tenant) -> Result<Vec<DataKeyRow>, StoreError> {
        let sql = "SELECT tenant, id, root, sealed, created FROM data_keys WHERE tenant = $1 ORDER BY created, id";
        self.db.rows(sql, vals![tenant]).await?.iter().map(read_key).collect()
    }

    /// Adds a data key.
    pub async fn add_data_key(&self, house: &Tenant, row: &DataKeyRow) -> Result<(), StoreError> {
        let mut tx = self.locked().await?;
        same_root(&mut tx, house, &row.root).await?;
        let sql = "INSERT INTO data_keys (tenant, id, root, sealed, created) VALUES ($1, $2, $3, $4, $5)";
        tx.exec(sql, vals![&row.tenant, row.id.as_str(), row.root.as_str(), &row.sealed, row.created]).await?;
        tx.commit().await
    }

    async fn locked(&self) -> Result<Tx, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        tx.lock("keyslots").await?;
        Ok(tx)
    }
}

async fn root(tx: &mut Tx, house: &Tenant) -> Result<Option<String>, StoreError> {
    let row = tx.row("SELECT root FROM keyslots WHERE tenant = $1 LIMIT 1", vals![house]).await?;
    row.map(|row| row.text(0).map(str::to_owned)).transpose()
}

async fn same_root(tx: &mut Tx, house: &Tenant, own: &str) -> Result<(), StoreError> {
    if root(tx, house).await?.as_deref() == Some(own) {
        return Ok(());
    }
    Err(StoreError::Conflict { what: "the vault has another root key now; restart this process".to_owned() })
}

async fn put(tx: &mut Tx, house: &Tenant, row: &KeyslotRow) -> Result<(), StoreError> {
    let sql = "INSERT INTO keyslots (tenant, slot, root, params, sealed, created) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (tenant, slot) DO UPDATE SET root = excluded.root,
        params = excluded.params, sealed = excluded.sealed, created = excluded.created";
    let values = vals![house, row.slot.as_str(), row.root.as_str(), row.params.as_str(), &row.sealed, row.created];
    tx.exec(sql, values).await.map(drop)
}

fn read(row: &Row) -> Result<KeyslotRow, StoreError> {
    Ok(KeyslotRow {
        slot: row.text(0)?.to_owned(),
        root: row.text(1)?.to_owned(),
        params: row.text(2)?.to_owned(),
        sealed: row.sealed(3)?,
        created: row.time(4)?,
    })
}

fn read_key(row: &Row) -> Result<DataKeyRow, StoreError> {
    Ok(DataKeyRow {
        tenant: row.parsed(0)?,
        id: row.text(1)?.to_owned(),
        root: row.text(2)?.to_owned(),
        sealed: row.sealed(3)?,
        created: row.time(4)?,
    })
}
