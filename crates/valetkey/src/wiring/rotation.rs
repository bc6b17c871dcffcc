//! Rotations: by hand for `credential rotate` and `rollback`, by schedule beside a gateway.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use catalog::Catalog;
use model::event::{CredentialUse, Kind};
use model::time::MICROS;
use model::{CredentialName, Event, ServiceName, Timestamp};
use policy::Upkeep;
use proxy::Gateway;
use secret::Secret;
use store::{RotationRow, RotationStep, StoreError};
use vault::rotate::{Check, Given, Looked, Means, RotateError, Rotated, Rotator};
use vault::{VaultError, VersionState};

use super::credential_test::{Subject, ask_service};
use super::open::{self, Opened};
use super::plan::{GRACE_SECONDS_DEFAULT, Held, Plan, Rotation};
use crate::config::{Ambient, Sources};

/// Between two looks at what is due.
const EVERY: Duration = Duration::from_secs(2);
/// A rotation that failed is tried again after this long, and after twice as long each time up to an hour.
const REST_SECONDS: u64 = 30;
const REST_SECONDS_MAX: u64 = 3_600;

/// How long a command waits for whoever rotates the same credential, and between two tries.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

/// Where a credential is rotated.
#[derive(Clone, Copy)]
struct Place<'a> {
    ambient: &'a Ambient,
    opened: &'a Arc<Opened>,
    sources: &'a Sources,
    catalog: &'a Catalog,
}

/// Who looks whether a new value works: its service, on the road that agents take.
struct ByService<'a> {
    place: Place<'a>,
    service: Option<ServiceName>,
    kind: String,
}

impl Check for ByService<'_> {
    fn check<'a>(
        &'a self,
        staged: &'a CredentialName,
    ) -> Pin<Box<dyn Future<Output = Result<Looked, RotateError>> + Send + 'a>> {
        Box::pin(async move {
            let Some(service) = &self.service else { return Ok(Looked::Unable) };
            let Place { ambient, opened, sources, catalog } = self.place;
            let subject = Subject { name: staged, service, kind: &self.kind, user: None, check: None };
            match ask_service(ambient, (opened, sources, catalog), subject).await {
                Ok(None) => Ok(Looked::Unable),
                Ok(Some(tested)) => match (tested.failure, tested.status) {
                    (None, _) => Ok(Looked::Works),
                    (Some(why), 401 | 403) => Err(RotateError::Refused(why)),
                    // Who is away, or has too much to do, has said nothing of the value.
                    (Some(why), _) => Err(RotateError::Away(why)),
                },
                Err(error) => Err(RotateError::Away(format!("{error:#}"))),
            }
        })
    }
}

/// What was done with a credential.
#[derive(Debug)]
pub enum Done {
    /// A version is current, the one before stays good until then.
    Rotated { old: u64, new: u64, retire: Timestamp },
    /// The new value does not work, and the old one stays.
    Kept { why: String },
}

/// A rotation by hand or of one's own accord.
pub struct Wanted<'a> {
    /// What is rotated.
    pub name: &'a CredentialName,
    /// How long the old value stays good, where it is not what the configuration says.
    pub grace: Option<u64>,
    /// Who asks.
    pub by: String,
}

/// A home and a configuration in which a credential is rotated.
pub struct Turning {
    ambient: Ambient,
    opened: Arc<Opened>,
    sources: Sources,
    plan: Plan,
}

impl Turning {
    /// Opens them.
    ///
    /// # Errors
    /// The home or the configuration cannot be read.
    pub async fn open(ambient: &Ambient, config: Option<&Path>) -> anyhow::Result<Self> {
        let opened = open::open(ambient).await?;
        let sources = Sources::find(ambient, config)?;
        let plan = Plan::make(&sources, &[])?;
        opened.declare(&plan).await?;
        Ok(Self { ambient: ambient.clone(), opened, sources, plan })
    }

    fn rotation(&self, name: &CredentialName) -> Option<&Rotation> {
        self.plan.credentials.iter().find(|held| held.name == *name)?.rotation.as_ref()
    }

    /// Whether an operator must bring the value.
    #[must_use]
    pub fn wants_value(&self, name: &CredentialName) -> bool {
        self.rotation(name).is_none_or(|rotation| rotation.with.is_none())
    }

    /// Rotates: with the value that was brought, or by the program of the configuration. A rotation that was interrupted goes on.
    ///
    /// # Errors
    /// As [`vault::Vault::rotate`].
    pub async fn rotate(&self, wanted: &Wanted<'_>, value: Option<Secret>) -> anyhow::Result<Done> {
        let name = wanted.name;
        let rotation = self.rotation(name);
        let brought = value.is_some();
        let by: Box<dyn Rotator> = match value {
            Some(value) => Box::new(Given::new(value)),
            None => rotator(rotation, &self.ambient, &self.sources)?,
        };
        let summary = self.opened.vault.show(&self.opened.tenant, name).await?;
        let Self { ambient, opened, sources, plan } = self;
        let place = Place { ambient, opened, sources, catalog: &plan.catalog };
        let check = ByService { place, service: summary.service, kind: summary.kind };
        let grace_seconds = wanted.grace.unwrap_or_else(|| grace(rotation));
        let means = Means { by: &*by, check: &check, grace_seconds, node: &node(opened) };
        let upkeep = Upkeep::of(self.opened.tenant.clone(), "rotation");
        let asked = Instant::now();
        let rotated = loop {
            self.end_before(&upkeep, (name, brought), (means.by, means.node)).await?;
            match self.opened.vault.rotate(&upkeep, name, &wanted.by, means).await {
                // A gateway retires what is out of grace; that takes moments.
                Err(VaultError::Rotates { .. }) if asked.elapsed() < PATIENCE => tokio::time::sleep(AGAIN).await,
                rotated => break rotated,
            }
        };
        let done = match rotated? {
            Rotated::GaveUp { why } => Done::Kept { why },
            Rotated::Switched(row) => {
                let retire = row.retire.context("a rotation that has switched has an end")?;
                Done::Rotated { old: row.old, new: row.new, retire }
            }
        };
        Ok(done)
    }

    /// Retires what a rotation before left in grace: of three values the oldest goes, once no process has it in memory. One that was
    /// interrupted is taken back where another value is brought, and goes on otherwise.
    async fn end_before(
        &self,
        upkeep: &Upkeep,
        (name, brought): (&CredentialName, bool),
        by: (&dyn Rotator, &str),
    ) -> anyhow::Result<()> {
        let held = &self.opened.vault;
        let known = held.rotations(&self.opened.tenant).await?;
        let Some(before) = known.iter().find(|row| row.credential == *name) else { return Ok(()) };
        let ended = if matches!(before.step, RotationStep::Switched | RotationStep::Retiring) {
            tokio::time::sleep(Duration::from_secs(vault::rotate::SETTLED_SECONDS)).await;
            held.retire(upkeep, before, by).await
        } else if brought {
            held.abandon(upkeep, before, by).await.map(drop)
        } else {
            Ok(())
        };
        match ended {
            // A gateway does it, or has just done it.
            Ok(()) | Err(VaultError::Rotates { .. } | VaultError::Store(StoreError::Conflict { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A name that nobody else has.
fn node(opened: &Opened) -> String {
    let mut bytes = [0; 8];
    opened.random.fill(&mut bytes);
    format!("rotation/{:016x}", u64::from_be_bytes(bytes))
}

/// Who makes and retires values, where nobody brings one.
fn rotator(rotation: Option<&Rotation>, ambient: &Ambient, sources: &Sources) -> anyhow::Result<Box<dyn Rotator>> {
    let Some(with) = rotation.and_then(|rotation| rotation.with.as_deref()) else {
        return Ok(Box::new(Given::nothing()));
    };
    vault::rotate::rotator(with, &ambient.for_vault_at(sources.folder()))
        .map_err(|why| anyhow::anyhow!("`rotate.with: {with}` cannot be used: {why}"))
}

fn grace(rotation: Option<&Rotation>) -> u64 {
    rotation.map_or(GRACE_SECONDS_DEFAULT, |rotation| rotation.grace)
}

/// Takes credential, version and words.
pub type Record = dyn Fn(&CredentialName, u64, &str) + Send + Sync;

/// What is due, beside a gateway.
pub struct Schedule {
    /// The environment.
    pub ambient: Ambient,
    /// The home.
    pub opened: Arc<Opened>,
    /// The configuration's files.
    pub sources: Sources,
    /// Its services look whether a new value works; when it drains, the schedule ends.
    pub gateway: Arc<Gateway>,
    /// Records what was done.
    pub record: Box<Record>,
}

/// When something may be tried again, and how often it failed.
type Rests = HashMap<CredentialName, (Timestamp, u32)>;

/// Puts off the next try.
fn rest(rests: &mut Rests, name: &CredentialName, now: Timestamp) {
    let failed = rests.get(name).map_or(0, |(_, failed)| *failed);
    let rest = (REST_SECONDS << failed.min(16)).min(REST_SECONDS_MAX);
    rests.insert(name.clone(), (now.plus_secs(rest), failed + 1));
}

impl Schedule {
    /// Looks until it is told to stop. `credentials` are those of the configuration that is in force.
    pub async fn run(self, credentials: impl Fn() -> Vec<Held> + Send + Sync) {
        let mut rests = Rests::new();
        loop {
            tokio::select! {
                () = self.gateway.drain.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let all = credentials();
            if let Err(error) = self.look(&all, &mut rests).await {
                tracing::warn!(%error, "rotations could not be looked at");
            }
        }
    }

    async fn look(&self, all: &[Held], rests: &mut Rests) -> anyhow::Result<()> {
        let now = self.opened.clock.now();
        let under_way = self.opened.vault.rotations(&self.opened.tenant).await?;
        for held in all {
            let row = under_way.iter().find(|row| row.credential == held.name);
            if rests.get(&held.name).is_some_and(|(until, _)| now < *until) || !self.is_due(held, row, now).await? {
                continue;
            }
            match self.turn(held, row).await {
                Ok((Some(version), words)) => {
                    rests.remove(&held.name);
                    (self.record)(&held.name, version, &words);
                }
                Ok((None, words)) => {
                    rest(rests, &held.name, now);
                    (self.record)(&held.name, 0, &words);
                }
                Err(error) => {
                    rest(rests, &held.name, now);
                    tracing::warn!(credential = %held.name, %error, "a rotation is not done; it is tried again");
                    (self.record)(&held.name, 0, &format!("rotation not done: {error:#}"));
                }
            }
        }
        Ok(())
    }

    /// A rotation that was interrupted, an old value whose time is over, a current one that is too old.
    async fn is_due(&self, held: &Held, row: Option<&RotationRow>, now: Timestamp) -> anyhow::Result<bool> {
        if let Some(row) = row {
            return Ok(row.retire.is_none_or(|retire| retire <= now));
        }
        let Some(every) = held.rotation.as_ref().and_then(|rotation| rotation.every) else { return Ok(false) };
        let summary = match self.opened.vault.show(&self.opened.tenant, &held.name).await {
            Ok(summary) => summary,
            Err(VaultError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !summary.versions.iter().any(|version| version.state == VersionState::Current) {
            return Ok(false);
        }
        // The newest, whatever became of it: whoever went back to an older one did not ask for another.
        let newest = summary.versions.iter().map(|version| version.created).max();
        let age = i64::try_from(every).unwrap_or(i64::MAX).saturating_mul(MICROS);
        Ok(newest.is_some_and(|newest| now.0.saturating_sub(newest.0) >= age))
    }

    /// Does what is due; the version that it is about, none where a new value was taken back, and what was done.
    async fn turn(&self, held: &Held, row: Option<&RotationRow>) -> anyhow::Result<(Option<u64>, String)> {
        let (opened, rotation) = (&self.opened, held.rotation.as_ref());
        let by = rotator(rotation, &self.ambient, &self.sources)?;
        let (node, upkeep) = (node(opened), Upkeep::of(opened.tenant.clone(), "rotation"));
        if let Some(row) = row.filter(|row| matches!(row.step, RotationStep::Switched | RotationStep::Retiring)) {
            opened.vault.retire(&upkeep, row, (&*by, &node)).await?;
            return Ok((Some(row.old), format!("version {} was retired ({})", row.old, by.name())));
        }
        let snapshot = self.gateway.snapshot.load_full();
        let place = Place { ambient: &self.ambient, opened, sources: &self.sources, catalog: &snapshot.catalog };
        let check = ByService { place, service: held.service.clone(), kind: held.kind.clone() };
        let means = Means { by: &*by, check: &check, grace_seconds: grace(rotation), node: &node };
        let reason = row.map_or("schedule", |row| row.reason.as_str());
        Ok(match opened.vault.rotate(&upkeep, &held.name, reason, means).await? {
            Rotated::Switched(row) => {
                let words = format!("version {} took over from {} ({}, {reason})", row.new, row.old, by.name());
                (Some(row.new), words)
            }
            Rotated::GaveUp { why } => (None, format!("rotation taken back: {why}")),
        })
    }
}

/// Fills an event about a rotation.
pub fn fill(event: &mut Event, name: &CredentialName, version: u64, words: &str) {
    event.kind = Kind::Credential;
    event.credential = Some(CredentialUse { name: name.clone(), version });
    event.reason = Some(words.to_owned());
}
