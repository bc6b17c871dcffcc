//! Rotations by hand, for `credential rotate` and `rollback`; `schedule.rs` does what nobody does by hand.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use catalog::Catalog;
use model::{CredentialName, ServiceName, Timestamp};
use policy::Upkeep;
use proxy::net::address::Own;
use proxy::net::tls::Trust;
use secret::Secret;
use store::{RotationStep, StoreError};
use vault::VaultError;
use vault::rotate::{Around, Check, Given, Looked, Means, RotateError, Rotated, Rotator};

use super::credential_test::{Subject, ask_service};
use super::open::{self, Opened};
use super::plan::{GRACE_SECONDS_DEFAULT, Held, Plan, Rotation};
use super::roads::{By, Dialled};
use crate::config::{Ambient, Sources};

/// How long a command waits for whoever rotates the same credential, and between two tries.
const PATIENCE: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

/// Where a credential is rotated.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub ambient: &'a Ambient,
    pub opened: &'a Arc<Opened>,
    pub sources: &'a Sources,
    pub catalog: &'a Catalog,
}

/// Who looks whether a new value works: its service, on the road that agents take.
pub(super) struct ByService<'a> {
    pub place: Place<'a>,
    pub service: Option<ServiceName>,
    pub kind: String,
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
        let mut plan = Plan::make(&sources, &[])?;
        plan.way_out = super::way_out::way_out(ambient)?;
        opened.declare(&plan).await?;
        Ok(Self { ambient: ambient.clone(), opened, sources, plan })
    }

    fn held(&self, name: &CredentialName) -> Option<&Held> {
        self.plan.credentials.iter().find(|held| held.name == *name)
    }

    /// Whether an operator must bring the value.
    #[must_use]
    pub fn wants_value(&self, name: &CredentialName) -> bool {
        self.held(name).and_then(|held| held.rotation.as_ref()).is_none_or(|rotation| rotation.with.is_none())
    }

    /// Rotates: with the value that was brought, or by the program of the configuration. A rotation that was interrupted goes on.
    ///
    /// # Errors
    /// As [`vault::Vault::rotate`].
    pub async fn rotate(&self, wanted: &Wanted<'_>, value: Option<Secret>) -> anyhow::Result<Done> {
        let name = wanted.name;
        let (held, brought) = (self.held(name), value.is_some());
        let Self { ambient, opened, sources, plan } = self;
        let place = Place { ambient, opened, sources, catalog: &plan.catalog };
        let by: Box<dyn Rotator> = if let Some(value) = value {
            Box::new(Given::new(value))
        } else {
            let dialer = plan.dialer(&Trust::platform(), &Own::default());
            rotator(held, place, By::Own(Arc::new(dialer)))?
        };
        let rotation = held.and_then(|held| held.rotation.as_ref());
        let summary = self.opened.vault.show(&self.opened.tenant, name).await?;
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
pub(super) fn node(opened: &Opened) -> String {
    let mut bytes = [0; 8];
    opened.random.fill(&mut bytes);
    format!("rotation/{:016x}", u64::from_be_bytes(bytes))
}

/// Who makes and retires values, where nobody brings one.
pub(super) fn rotator(held: Option<&Held>, place: Place<'_>, road: By) -> anyhow::Result<Box<dyn Rotator>> {
    let with = |held: &Held| held.rotation.as_ref()?.with.clone();
    let Some((held, with)) = held.and_then(|held| Some((held, with(held)?))) else {
        return Ok(Box::new(Given::nothing()));
    };
    let Place { ambient, opened, sources, catalog } = place;
    let service = held.service.as_ref().and_then(|service| catalog.service(service.as_str()));
    let upkeep = Upkeep::of(opened.tenant.clone(), "rotation");
    let road = Arc::new(Dialled::new(road)?);
    let around = Around::new(&opened.vault, upkeep, ambient.for_vault_at(sources.folder()), road, &held.kind);
    let around = around.at(service.and_then(super::databases::server));
    vault::rotate::rotator(&with, around)
        .map_err(|why| anyhow::anyhow!("`rotate.with` of {} cannot be used: {why}", held.name))
}

pub(super) fn grace(rotation: Option<&Rotation>) -> u64 {
    rotation.map_or(GRACE_SECONDS_DEFAULT, |rotation| rotation.grace)
}
