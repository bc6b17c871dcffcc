//! Rotation: a new value takes over from the old one, with no moment in which neither works.
//!
//! The steps are those of [`store::RotationStep`]: the value is made, stored as `next`, seen to work, made current, and after a time of
//! grace the old one is retired where it came from. What is done stands in the store before the next step begins, so a rotation that was
//! interrupted goes on where it was: [`Vault::rotate`] does both. Until the new value was seen to work nothing uses it, and
//! one that does not work is taken back. The old value stays good until it is retired, so a rotator must leave it so.
//!
//! To add a rotator: a file here that implements [`Rotator`], and a line in [`rotator`].
#![expect(clippy::disallowed_methods, reason = "a rotator hands values to whoever makes and retires them")]

mod around;
pub(crate) mod aws_iam;
mod exec;
mod given;
mod hashicorp;
mod http;
mod lent;
mod postgres;

use model::{CredentialName, Tenant, hex};
use policy::Upkeep;
use policy::document::{By, With};
use secret::Secret;
use store::{Hold, RotationRow, RotationStep, StoreError, VersionRow, VersionState};

use crate::seal::Label;
use crate::vault::Inner;
use crate::{Pending, Scheme, Vault, VaultError, kind};

pub use around::Around;
pub use given::Given;
pub use lent::Lent;

/// While a process rotates a credential no other does; taken anew with each step, and longer than any may take.
const HELD_SECONDS: u64 = 90;

/// Characters of a credential's name in the name under which a version of it is lent; the ticket tells it from others.
const LENT_CHARS_MAX: usize = 80;

/// After this long no process puts the old value on a request any more: they hear of a new one within
/// [`model::bounds::CHANGES_SEEN_MILLIS_MAX`], and what was under way is answered. No grace is shorter.
pub const SETTLED_SECONDS: u64 = 1;

/// What a step is about.
pub struct Turn<'a> {
    /// What is rotated.
    name: &'a CredentialName,
    /// Names this rotation; the same however often a step is done again.
    ticket: &'a str,
    /// The version that was current when it began.
    old: (u64, &'a Secret),
    /// The version that takes over, once it is made.
    new: Option<(u64, &'a Secret)>,
}

impl<'a> Turn<'a> {
    /// What is rotated.
    #[must_use]
    pub const fn name(&self) -> &'a CredentialName {
        self.name
    }

    /// Names this rotation; the same however often a step is done again.
    #[must_use]
    pub const fn ticket(&self) -> &'a str {
        self.ticket
    }

    /// The version that was current when it began.
    #[must_use]
    pub const fn old(&self) -> (u64, &'a Secret) {
        self.old
    }

    /// The version that takes over, once it is made.
    #[must_use]
    pub const fn made(&self) -> Option<(u64, &'a Secret)> {
        self.new
    }
}

/// Why a step was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// It may be done later.
    #[error("{0}")]
    Away(String),
    /// It will not be done.
    #[error("{0}")]
    Refused(String),
}

/// Whoever makes a new value and retires an old one. Every step may come again with the same ticket.
pub trait Rotator: Send + Sync {
    /// A word for records: `exec`, `hand`.
    fn name(&self) -> &'static str;

    /// Makes a new value. The old one stays good.
    fn make<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Secret, RotateError>>;

    /// Whether the new value works; [`Looked::Unable`] leaves it to the service's own check.
    fn verify<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<Looked, RotateError>>;

    /// Makes the old value useless where it came from.
    fn retire<'a>(&'a self, turn: &'a Turn<'a>) -> Pending<'a, Result<(), RotateError>>;
}

/// What a rotator says of a new value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It works.
    Works,
    /// It cannot tell.
    Unable,
}

/// Asks the credential's own service whether a new value works: under `staged` the vault gives that version to whoever has a permit for
/// this name.
pub trait Check: Send + Sync {
    /// Whether it works; [`Looked::Unable`] where the service has no harmless request to ask with.
    fn check<'a>(&'a self, staged: &'a CredentialName) -> Pending<'a, Result<Looked, RotateError>>;
}

/// How a rotation goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The new version is current; the old one may be retired from this time on.
    Switched(RotationRow),
    /// The new value does not work, or there is none; the old version is current as before.
    GaveUp {
        /// Why.
        why: String,
    },
}

/// The rotator that a configuration names.
///
/// # Errors
/// What is wrong with it.
pub fn rotator(with: &With, around: Around) -> Result<Box<dyn Rotator>, String> {
    let by = match with {
        With::Program(text) => {
            let words = text.strip_prefix("exec:").ok_or("write `exec:PROGRAM ARGUMENTS`")?;
            return Ok(Box::new(exec::Exec::new(words, around.ambient())?));
        }
        With::By(by) => by,
    };
    Ok(match &**by {
        By { postgres: Some(by), .. } => Box::new(postgres::Postgres::new(&by.value, around)?),
        By { aws_iam: Some(by), .. } => Box::new(aws_iam::AwsIam::new(&by.value, around)),
        By { hashicorp: Some(by), .. } => Box::new(hashicorp::AppRole::new(&by.value, around)),
        By { http: Some(by), .. } => Box::new(http::Http::new(by.value.clone(), around)),
        _ => return Err("it names no rotator".to_owned()),
    })
}

/// One way to rotate, and to look.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Who makes and retires.
    pub by: &'a dyn Rotator,
    /// Who looks whether it works, where the rotator cannot.
    pub check: &'a dyn Check,
    /// How long the old version stays good, seconds.
    pub grace_seconds: u64,
    /// Names whoever does it, unlike anybody else: it holds the rotation, and nothing besides.
    pub node: &'a str,
}

impl Vault {
    /// Begins a rotation, or goes on with the one that is under way, up to the switch.
    ///
    /// # Errors
    /// The credential lies elsewhere or was revoked; another process rotates it; a step may be done later. What is done stays done.
    pub async fn rotate(
        &self,
        upkeep: &Upkeep,
        name: &CredentialName,
        reason: &str,
        means: Means<'_>,
    ) -> Result<Rotated, VaultError> {
        let tenant = upkeep.tenant();
        let chore = self.rotate_held(tenant, name, reason, means);
        self.inner.in_turn((tenant, name), means.node, chore).await
    }

    /// Begins a rotation that somebody goes on with; whether there is one now for this reason. One that is under way stays as it is.
    ///
    /// # Errors
    /// The credential lies elsewhere, or was revoked.
    pub async fn ask_rotation(&self, upkeep: &Upkeep, name: &CredentialName, reason: &str) -> Result<bool, VaultError> {
        let tenant = upkeep.tenant();
        if self.inner.store.rotations().get(tenant, name).await?.is_some() {
            return Ok(false);
        }
        self.inner.begin(tenant, name, reason).await.map(|_| true)
    }

    async fn rotate_held(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        reason: &str,
        means: Means<'_>,
    ) -> Result<Rotated, VaultError> {
        let inner = &self.inner;
        let mut row = match inner.store.rotations().get(tenant, name).await? {
            Some(row) => row,
            None => inner.begin(tenant, name, reason).await?,
        };
        loop {
            let waits = matches!(row.step, RotationStep::Begun | RotationStep::Made | RotationStep::Verified);
            if waits && !inner.is_wanted(&row).await? {
                return self.give_up(&row, means.by, "it was revoked or replaced meanwhile".to_owned()).await;
            }
            row = match row.step {
                RotationStep::Begun => match inner.make(&row, means.by).await? {
                    Ok(()) => RotationRow { step: RotationStep::Made, ..row },
                    Err(why) => return self.give_up(&row, means.by, why).await,
                },
                RotationStep::Made => match inner.verify(&row, means).await? {
                    Ok(()) => RotationRow { step: RotationStep::Verified, ..row },
                    Err(why) => return self.give_up(&row, means.by, why).await,
                },
                RotationStep::Verified => {
                    let retire = inner.clock.now().plus_secs(means.grace_seconds.max(SETTLED_SECONDS));
                    inner.store.rotations().switch(&row, retire).await?;
                    inner.materials.forget(&(tenant.clone(), name.clone()));
                    RotationRow { step: RotationStep::Switched, retire: Some(retire), ..row }
                }
                RotationStep::Abandoning => return self.give_up(&row, means.by, "it was taken back".to_owned()).await,
                RotationStep::Switched | RotationStep::Retiring => return Ok(Rotated::Switched(row)),
            };
            inner.hold(tenant, name, means.node).await?;
        }
    }

    /// Retires the old version of a rotation that has switched; the rotation is done then.
    ///
    /// # Errors
    /// It could not be retired where it came from; it stays in grace, and the next call tries again.
    pub async fn retire(
        &self,
        upkeep: &Upkeep,
        row: &RotationRow,
        (by, node): (&dyn Rotator, &str),
    ) -> Result<(), VaultError> {
        self.inner.in_turn((upkeep.tenant(), &row.credential), node, self.retire_held(row, by)).await
    }

    async fn retire_held(&self, row: &RotationRow, by: &dyn Rotator) -> Result<(), VaultError> {
        let (inner, name) = (&self.inner, &row.credential);
        let rows = inner.store.rotations();
        // On record before the provider is told: a row that was read before somebody went back must not kill what is current now.
        if row.step != RotationStep::Retiring {
            rows.retiring(row).await?;
        }
        let row = RotationRow { step: RotationStep::Retiring, ..row.clone() };
        let (old, new) = (inner.stored(&row, row.old).await?, inner.stored(&row, row.new).await?);
        let turn = Turn { name, ticket: &row.ticket, old: (row.old, &old), new: Some((row.new, &new)) };
        by.retire(&turn).await.map_err(|error| undone(name, error))?;
        rows.finish(&row).await?;
        inner.materials.forget(&(row.tenant.clone(), name.clone()));
        Ok(())
    }

    /// Makes the version in grace the current one again; the numbers of it and of the one that is out of use now.
    ///
    /// # Errors
    /// No version is in grace.
    pub async fn roll_back(&self, tenant: &Tenant, name: &CredentialName) -> Result<(u64, u64), VaultError> {
        let inner = &self.inner;
        let versions = inner.store.credentials().versions(tenant, name).await?;
        let in_state = |state| versions.iter().find(|version| version.state == state).map(|version| version.version);
        let (Some(old), Some(new)) = (in_state(VersionState::Grace), in_state(VersionState::Current)) else {
            return Err(VaultError::NothingBefore { name: name.clone() });
        };
        inner.store.rotations().roll_back(tenant, name, old, new).await?;
        inner.materials.forget(&(tenant.clone(), name.clone()));
        Ok((old, new))
    }

    /// Rotations that are under way, by name.
    pub async fn rotations(&self, tenant: &Tenant) -> Result<Vec<RotationRow>, VaultError> {
        Ok(self.inner.store.rotations().list(tenant).await?)
    }

    /// Takes back a rotation that has not switched.
    ///
    /// # Errors
    /// The new value could not be retired where it came from; or it has switched, which [`Self::roll_back`] undoes.
    pub async fn abandon(
        &self,
        upkeep: &Upkeep,
        row: &RotationRow,
        (by, node): (&dyn Rotator, &str),
    ) -> Result<Rotated, VaultError> {
        let chore = self.give_up(row, by, "it was taken back".to_owned());
        self.inner.in_turn((upkeep.tenant(), &row.credential), node, chore).await
    }

    async fn give_up(&self, row: &RotationRow, by: &dyn Rotator, why: String) -> Result<Rotated, VaultError> {
        let (inner, name) = (&self.inner, &row.credential);
        let rows = inner.store.rotations();
        if row.step == RotationStep::Begun {
            rows.give_up(row).await?;
            return Ok(Rotated::GaveUp { why });
        }
        if row.step != RotationStep::Abandoning {
            rows.abandoning(row).await?;
        }
        let row = RotationRow { step: RotationStep::Abandoning, ..row.clone() };
        // The new value is what is of no use now.
        let (old, new) = (inner.stored(&row, row.old).await?, inner.stored(&row, row.new).await?);
        let turn = Turn { name, ticket: &row.ticket, old: (row.new, &new), new: Some((row.old, &old)) };
        by.retire(&turn).await.map_err(|error| {
            undone(name, RotateError::Away(format!("{why}, and the new value could not be retired: {error}")))
        })?;
        rows.give_up(&row).await?;
        Ok(Rotated::GaveUp { why })
    }
}

impl Inner {
    /// Does a chore in one's turn for a credential, and gives the turn back.
    async fn in_turn<T>(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        node: &str,
        chore: impl Future<Output = Result<T, VaultError>>,
    ) -> Result<T, VaultError> {
        self.hold(tenant, name, node).await?;
        let done = chore.await;
        if let Err(error) = self.store.nodes().release(tenant, node).await {
            // What was done is done; the turn ends by itself after a while.
            tracing::warn!(credential = %name, %error, "whose turn it is to rotate could not be given back");
        }
        done
    }

    /// Takes the turn for a credential, or renews it.
    async fn hold(&self, tenant: &Tenant, name: &CredentialName, node: &str) -> Result<(), VaultError> {
        let now = self.clock.now();
        let hold = Hold { node, now, until: now.plus_secs(HELD_SECONDS) };
        let held = self.store.nodes().claim(tenant, &format!("rotation/{name}"), hold).await?;
        if held { Ok(()) } else { Err(VaultError::Rotates { name: name.clone() }) }
    }

    /// Whether what is to be replaced is still what is in use.
    async fn is_wanted(&self, row: &RotationRow) -> Result<bool, VaultError> {
        if self.revoked.load().check(&row.tenant, &row.credential, Some(row.old)).is_err() {
            return Ok(false);
        }
        let versions = self.store.credentials().versions(&row.tenant, &row.credential).await?;
        Ok(versions.iter().any(|version| version.version == row.old && version.state == VersionState::Current))
    }

    async fn begin(&self, tenant: &Tenant, name: &CredentialName, reason: &str) -> Result<RotationRow, VaultError> {
        let (reference, _) = self.whereabouts(tenant, name).await?;
        if reference.scheme() != Scheme::BuiltIn {
            return Err(VaultError::Elsewhere { name: name.clone(), reference: reference.as_str().to_owned() });
        }
        self.is_replaced(tenant, name)?;
        self.revoked.load().check(tenant, name, None)?;
        let versions = self.store.credentials().versions(tenant, name).await?;
        let current = versions.iter().find(|version| version.state == VersionState::Current);
        let current = current.ok_or_else(|| VaultError::Revoked { name: name.clone() })?;
        if versions.iter().any(|version| version.state == VersionState::Grace) {
            // Two values in grace could not be told apart by a rollback.
            self.retire_by_hand(tenant, name, &versions).await?;
        }
        let mut ticket = [0; 12];
        self.random.fill(&mut ticket);
        let ticket = format!("rot_{}", hex(&ticket));
        let row = RotationRow {
            tenant: tenant.clone(),
            credential: name.clone(),
            ticket,
            old: current.version,
            new: versions.iter().map(|version| version.version).max().unwrap_or(0) + 1,
            step: RotationStep::Begun,
            reason: reason.to_owned(),
            began: self.clock.now(),
            retire: None,
        };
        self.store.rotations().begin(&row).await?;
        Ok(row)
    }

    /// Versions that `credential add --replace` left in grace: nobody retires them for us.
    async fn retire_by_hand(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        versions: &[VersionRow],
    ) -> Result<(), StoreError> {
        for version in versions.iter().filter(|version| version.state == VersionState::Grace) {
            let rows = self.store.credentials();
            rows.set_state(tenant, name, Some(version.version), VersionState::Revoked).await?;
        }
        Ok(())
    }

    /// `Ok(Err(why))`: there will be none.
    async fn make(&self, row: &RotationRow, by: &dyn Rotator) -> Result<Result<(), String>, VaultError> {
        let (name, old) = (&row.credential, self.stored(row, row.old).await?);
        let turn = Turn { name, ticket: &row.ticket, old: (row.old, &old), new: None };
        let value = match by.make(&turn).await {
            Ok(value) => value,
            Err(RotateError::Refused(why)) => return Ok(Err(why)),
            Err(away) => return Err(undone(name, away)),
        };
        let (_, kind) = self.whereabouts(&row.tenant, name).await?;
        if let Err(error) = kind::verify(&kind, &value) {
            return Ok(Err(error.to_string()));
        }
        let now = self.clock.now();
        let known = self.store.credentials().get(&row.tenant, name).await?;
        let id = known.ok_or_else(|| VaultError::NotFound { name: name.clone() })?.id;
        let label = Label::Value { tenant: &row.tenant, name, id, version: row.new };
        let sealed = self.keys.seal_value(&value, &label, &row.tenant, now).await?;
        let state = VersionState::Next;
        let version = VersionRow { version: row.new, state, sealed: Some(sealed), created: now, used: None };
        self.store.rotations().made(row, &version).await?;
        Ok(Ok(()))
    }

    /// `Ok(Err(why))`: it does not work.
    async fn verify(&self, row: &RotationRow, means: Means<'_>) -> Result<Result<(), String>, VaultError> {
        let name = &row.credential;
        let (old, new) = (self.stored(row, row.old).await?, self.stored(row, row.new).await?);
        let turn = Turn { name, ticket: &row.ticket, old: (row.old, &old), new: Some((row.new, &new)) };
        let looked = match means.by.verify(&turn).await {
            Ok(Looked::Unable) => {
                let lent = self.lend((&row.tenant, &row.credential), row.new, &row.ticket)?;
                means.check.check(lent.name()).await
            }
            looked => looked,
        };
        match looked {
            // Nobody can tell: whoever rotates it by hand says that it works.
            Ok(Looked::Works | Looked::Unable) => {}
            Err(RotateError::Refused(why)) => return Ok(Err(why)),
            Err(away) => return Err(undone(name, away)),
        }
        self.store.rotations().verified(row).await?;
        Ok(Ok(()))
    }

    /// The value of a version, whatever its state.
    async fn stored(&self, row: &RotationRow, version: u64) -> Result<Secret, VaultError> {
        self.version(&row.tenant, &row.credential, version).await
    }

    pub(crate) async fn version(
        &self,
        tenant: &Tenant,
        name: &CredentialName,
        version: u64,
    ) -> Result<Secret, VaultError> {
        let rows = self.store.credentials();
        let missing = || VaultError::NotFound { name: name.clone() };
        let id = rows.get(tenant, name).await?.ok_or_else(missing)?.id;
        let versions = rows.versions(tenant, name).await?;
        let sealed = versions.into_iter().find(|known| known.version == version).and_then(|known| known.sealed);
        let label = Label::Value { tenant, name, id, version };
        self.keys.open_value(&sealed.ok_or_else(missing)?, &label, tenant).await
    }
}

fn undone(name: &CredentialName, error: RotateError) -> VaultError {
    VaultError::Undone { name: name.clone(), error }
}
