//! Rotations under way: the journal by which one that was interrupted goes on or is taken back. A credential has at most one.
//!
//! Each step changes the versions and the journal in one transaction, so that at every moment exactly one version is current and what
//! is left to do can be told from the row alone.

use model::{CredentialName, Tenant, Timestamp};

use crate::change::{Topic, bump};
use crate::credential::insert_version;
use crate::engine::{Db, Durability, Tx};
use crate::value::{Row, vals, whole, words};
use crate::{StoreError, VersionRow, VersionState};

words!(
    /// What of a rotation is done.
    RotationStep {
        /// It was decided; there may be a new value at the provider, none here.
        Begun = "begun",
        /// The new value is stored as `next`.
        Made = "made",
        /// The new value was seen to work.
        Verified = "verified",
        /// The new version is current, the old one in grace.
        Switched = "switched",
        /// The old value is being retired where it came from: it may be of no use already.
        Retiring = "retiring",
        /// The new value is being retired where it came from, because it does not work or is not wanted any more.
        Abandoning = "abandoning",
    }
);

/// One rotation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRow {
    /// The organisation.
    pub tenant: Tenant,
    /// What is rotated.
    pub credential: CredentialName,
    /// Names this rotation to whoever makes the value: the same however often a step is done again.
    pub ticket: String,
    /// The version that was current when it began.
    pub old: u64,
    /// The version that takes over.
    pub new: u64,
    /// What is done.
    pub step: RotationStep,
    /// Why, and by whom.
    pub reason: String,
    /// When it began.
    pub began: Timestamp,
    /// From when the old version may be retired; known once it has switched.
    pub retire: Option<Timestamp>,
}

/// Rotations under way.
pub struct Rotations<'a> {
    pub(crate) db: &'a Db,
}

impl Rotations<'_> {
    /// Begins one; [`StoreError::Conflict`] where one is under way.
    pub async fn begin(&self, row: &RotationRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO rotations (tenant, credential, ticket, old_version, new_version, step, reason, began)
            VALUES ($1, $2, $3, $4, $5, 'begun', $6, $7)";
        let (ticket, reason) = (row.ticket.as_str(), row.reason.as_str());
        let (old, new) = (whole(row.old, "version")?, whole(row.new, "version")?);
        let values = vals![&row.tenant, &row.credential, ticket, old, new, reason, row.began];
        self.db.exec(Durability::Power, sql, values).await.map(drop)
    }

    /// The one of a credential.
    pub async fn get(&self, tenant: &Tenant, name: &CredentialName) -> Result<Option<RotationRow>, StoreError> {
        let sql =
            "SELECT tenant, credential, ticket, old_version, new_version, step, reason, began, retire FROM rotations
            WHERE tenant = $1 AND credential = $2";
        self.db.row(sql, vals![tenant, name]).await?.map(|row| read(&row)).transpose()
    }

    /// All that are under way, by name.
    pub async fn list(&self, tenant: &Tenant) -> Result<Vec<RotationRow>, StoreError> {
        let sql =
            "SELECT tenant, credential, ticket, old_version, new_version, step, reason, began, retire FROM rotations
            WHERE tenant = $1 ORDER BY credential";
        self.db.rows(sql, vals![tenant]).await?.iter().map(read).collect()
    }

    /// Stores the new value as `next`. `version.state` is not looked at.
    pub async fn made(&self, row: &RotationRow, version: &VersionRow) -> Result<(), StoreError> {
        let mut tx = self.step(row, RotationStep::Begun, RotationStep::Made).await?;
        let next = VersionRow { state: VersionState::Next, ..version.clone() };
        insert_version(&mut tx, &row.tenant, &row.credential, &next).await?;
        tx.commit().await
    }

    /// Notes that the new value was seen to work.
    pub async fn verified(&self, row: &RotationRow) -> Result<(), StoreError> {
        self.step(row, RotationStep::Made, RotationStep::Verified).await?.commit().await
    }

    /// Makes the new version the current one and puts the old one into grace until `retire`.
    pub async fn switch(&self, row: &RotationRow, retire: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.step(row, RotationStep::Verified, RotationStep::Switched).await?;
        let sql = "UPDATE rotations SET retire = $3 WHERE tenant = $1 AND credential = $2";
        tx.exec(sql, vals![&row.tenant, &row.credential, retire]).await?;
        swap(&mut tx, row, (row.old, VersionState::Grace), row.new).await?;
        bump(&mut tx, &row.tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// Notes that the old value is about to be retired where it came from: from now on there is no way back to it.
    pub async fn retiring(&self, row: &RotationRow) -> Result<(), StoreError> {
        self.step(row, RotationStep::Switched, RotationStep::Retiring).await?.commit().await
    }

    /// Notes that the new value is about to be retired where it came from: it will never be used.
    pub async fn abandoning(&self, row: &RotationRow) -> Result<(), StoreError> {
        self.step(row, row.step, RotationStep::Abandoning).await?.commit().await
    }

    /// The old version is out of use, and the rotation done.
    pub async fn finish(&self, row: &RotationRow) -> Result<(), StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        end(&mut tx, row, RotationStep::Retiring).await?;
        revoke(&mut tx, row, row.old, VersionState::Grace).await?;
        bump(&mut tx, &row.tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// Ends one that has made nothing, or whose new value was retired: its version, where there is one, is never used.
    pub async fn give_up(&self, row: &RotationRow) -> Result<(), StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        end(&mut tx, row, row.step).await?;
        revoke(&mut tx, row, row.new, VersionState::Next).await?;
        bump(&mut tx, &row.tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// Makes `old`, which is in grace, the current version again; the one that was current is never used again. A rotation that
    /// led there is over. [`StoreError::Conflict`] where `old` is not in grace any more, or is being retired.
    pub async fn roll_back(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        old: u64,
        new: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let sql = "SELECT COUNT(*) FROM rotations WHERE tenant = $1 AND credential = $2 AND step <> 'switched'";
        if tx.row(sql, vals![tenant, name]).await?.map_or(Ok(0), |row| row.count(0))? > 0 {
            return Err(moved(name));
        }
        let sql = "DELETE FROM rotations WHERE tenant = $1 AND credential = $2";
        tx.exec(sql, vals![tenant, name]).await?;
        let row = (tenant, name);
        change(&mut tx, row, new, (VersionState::Current, VersionState::Revoked)).await?;
        change(&mut tx, row, old, (VersionState::Grace, VersionState::Current)).await?;
        bump(&mut tx, tenant, Topic::Credentials).await?;
        tx.commit().await
    }

    /// Opens a transaction in which the row goes from one step to the next.
    async fn step(&self, row: &RotationRow, from: RotationStep, to: RotationStep) -> Result<Tx, StoreError> {
        let mut tx = self.db.tx(Durability::Power).await?;
        let sql = "UPDATE rotations SET step = $5 WHERE tenant = $1 AND credential = $2 AND ticket = $3 AND step = $4";
        let (from, to) = (from.as_str(), to.as_str());
        let count = tx.exec(sql, vals![&row.tenant, &row.credential, row.ticket.as_str(), from, to]).await?;
        if count == 1 { Ok(tx) } else { Err(moved(&row.credential)) }
    }
}

/// Another process did the step, or took the rotation back.
fn moved(name: &CredentialName) -> StoreError {
    StoreError::Conflict { what: format!("the rotation of {name}") }
}

async fn end(tx: &mut Tx, row: &RotationRow, step: RotationStep) -> Result<(), StoreError> {
    let sql = "DELETE FROM rotations WHERE tenant = $1 AND credential = $2 AND ticket = $3 AND step = $4";
    let values = vals![&row.tenant, &row.credential, row.ticket.as_str(), step.as_str()];
    if tx.exec(sql, values).await? == 1 { Ok(()) } else { Err(moved(&row.credential)) }
}

async fn swap(tx: &mut Tx, row: &RotationRow, (old, state): (u64, VersionState), new: u64) -> Result<(), StoreError> {
    let place = (&row.tenant, &row.credential);
    change(tx, place, old, (VersionState::Current, state)).await?;
    change(tx, place, new, (VersionState::Next, VersionState::Current)).await
}

/// From one state to another; a conflict where the version is in neither.
async fn change(
    tx: &mut Tx,
    (tenant, name): (&Tenant, &CredentialName),
    version: u64,
    (from, to): (VersionState, VersionState),
) -> Result<(), StoreError> {
    let sql = "UPDATE versions SET state = $5 WHERE tenant = $1 AND name = $2 AND version = $3 AND state = $4";
    let values = vals![tenant, name, whole(version, "version")?, from.as_str(), to.as_str()];
    if tx.exec(sql, values).await? == 1 { Ok(()) } else { Err(moved(name)) }
}

/// Puts a version out of use, if it is still in the state in which the rotation left it: its number may be somebody else's by now.
async fn revoke(tx: &mut Tx, row: &RotationRow, version: u64, from: VersionState) -> Result<(), StoreError> {
    let sql = "UPDATE versions SET state = 'revoked' WHERE tenant = $1 AND name = $2 AND version = $3 AND state = $4";
    tx.exec(sql, vals![&row.tenant, &row.credential, whole(version, "version")?, from.as_str()]).await.map(drop)
}

fn read(row: &Row) -> Result<RotationRow, StoreError> {
    Ok(RotationRow {
        tenant: row.parsed(0)?,
        credential: row.parsed(1)?,
        ticket: row.text(2)?.to_owned(),
        old: row.count(3)?,
        new: row.count(4)?,
        step: row.parsed(5)?,
        reason: row.text(6)?.to_owned(),
        began: row.time(7)?,
        retire: row.opt_time(8)?,
    })
}
