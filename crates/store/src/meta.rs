//! Small texts by key: what has no table of its own. Never secret.

use model::Tenant;

use crate::StoreError;
use crate::engine::{Db, Durability};
use crate::value::vals;

/// Small texts by key.
pub struct Meta<'a> {
    pub(crate) db: &'a Db,
}

impl Meta<'_> {
    /// The text under a key.
    pub async fn get(&self, tenant: &Tenant, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE tenant = $1 AND key = $2";
        self.db.row(sql, vals![tenant, key]).await?.map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    /// Puts a text under a key.
    pub async fn set(&self, tenant: &Tenant, key: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (tenant, key, value) VALUES ($1, $2, $3)
            ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value";
        self.db.exec(Durability::Power, sql, vals![tenant, key, value]).await.map(drop)
    }

    /// Puts a text under a key that has none; what stands there afterwards.
    pub async fn set_once(&self, tenant: &Tenant, key: &str, value: &str) -> Result<String, StoreError> {
        let sql = "INSERT INTO meta (tenant, key, value) VALUES ($1, $2, $3) ON CONFLICT (tenant, key) DO NOTHING";
        self.db.exec(Durability::Power, sql, vals![tenant, key, value]).await?;
        Ok(self.get(tenant, key).await?.unwrap_or_default())
    }
}
