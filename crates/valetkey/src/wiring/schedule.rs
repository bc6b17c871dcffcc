//! Rotations that nobody does by hand: what is too old, what was interrupted, what is out of grace, and what an operator signals.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::event::{CredentialUse, Kind};
use model::time::MICROS;
use model::{CredentialName, Event, Rank, Timestamp};
use parking_lot::Mutex;
use policy::Upkeep;
use proxy::Gateway;
use serde_json::json;
use store::{Hold, RotationRow, RotationStep};
use tokio::sync::Notify;
use vault::rotate::{Means, Rotated};
use vault::{VaultError, VersionState};

use super::failing;
use super::open::Opened;
use super::plan::Held;
use super::roads::By;
use super::rotation::{ByService, Place, grace, node, rotator};
use crate::config::{Ambient, Sources};

/// Between two looks at what is due.
const EVERY: Duration = Duration::from_secs(2);
/// A rotation that failed is tried again after this long, and after twice as long each time up to an hour.
const REST_SECONDS: u64 = 30;
const REST_SECONDS_MAX: u64 = 3_600;
/// What a process says of an old version that it carries holds for so long: some looks, one of which may be late.
const CARRIED_SECONDS: u64 = 15;
/// A version whose grace is over waits no longer for what carries it, seconds: a connection that is never closed would keep it for ever.
pub const LINGER_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Rotations that were signalled: why, and whether it was tried already.
#[derive(Default)]
pub struct Signalled {
    wanted: Mutex<BTreeMap<CredentialName, (String, bool)>>,
    come: Notify,
    looked_after: AtomicBool,
}

impl Signalled {
    /// Whether a schedule looks after them.
    pub fn is_looked_after(&self) -> bool {
        self.looked_after.load(Ordering::Relaxed)
    }

    /// Has the schedule look at once; for this credential, too, although a rotation of it is under way.
    pub fn want(&self, besides: Option<(&CredentialName, &str)>) {
        if let Some((name, reason)) = besides {
            self.wanted.lock().insert(name.clone(), (reason.to_owned(), false));
        }
        self.come.notify_one();
    }

    /// Why it is wanted, if it is; not again before `rests` is over where it was tried already.
    fn reason(&self, name: &CredentialName, rests: bool) -> Option<String> {
        let wanted = self.wanted.lock();
        let (reason, tried) = wanted.get(name)?;
        (!tried || !rests).then(|| reason.clone())
    }

    fn tried(&self, name: &CredentialName, done: bool) {
        let mut wanted = self.wanted.lock();
        if done {
            wanted.remove(name);
        } else if let Some((_, tried)) = wanted.get_mut(name) {
            *tried = true;
        }
    }
}

/// Takes credential, version and words.
pub type Record = dyn Fn(&CredentialName, u64, &str) + Send + Sync;

/// The same with a rank.
pub type Alert = dyn Fn(&CredentialName, u64, Rank, &str) + Send + Sync;

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
    /// Records what an operator should know of.
    pub alert: Box<Alert>,
    /// What is rotated because of a signal.
    pub signalled: Arc<Signalled>,
    /// Names this process to others.
    pub node: String,
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
        let (mut rests, mut doubted) = (Rests::new(), failing::Rests::default());
        self.signalled.looked_after.store(true, Ordering::Relaxed);
        loop {
            tokio::select! {
                () = self.gateway.drain.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                () = self.signalled.come.notified() => {}
            }
            let all = credentials();
            if let Err(error) = self.look(&all, &mut rests).await {
                tracing::warn!(%error, "rotations could not be looked at");
            }
            self.look_into(&all, &mut doubted).await;
        }
    }

    async fn look(&self, all: &[Held], rests: &mut Rests) -> anyhow::Result<()> {
        let now = self.opened.clock.now();
        let under_way = self.opened.vault.rotations(&self.opened.tenant).await?;
        for held in all {
            let row = under_way.iter().find(|row| row.credential == held.name);
            let carried = self.is_carried(row, now).await?;
            let rests_still = rests.get(&held.name).is_some_and(|(until, _)| now < *until);
            let signal = self.signalled.reason(&held.name, rests_still);
            if signal.is_none() && (rests_still || !self.is_due(held, row, (carried, now)).await?) {
                continue;
            }
            let done = self.turn(held, row, signal.as_deref()).await;
            self.signalled.tried(&held.name, done.is_ok());
            match done {
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
    async fn is_due(
        &self,
        held: &Held,
        row: Option<&RotationRow>,
        (carried, now): (bool, Timestamp),
    ) -> anyhow::Result<bool> {
        if let Some(row) = row {
            let over = |retire: Timestamp| retire <= now && (!carried || retire.plus_secs(LINGER_SECONDS_MAX) <= now);
            return Ok(row.step != RotationStep::Switched || row.retire.is_none_or(over));
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

    /// Whether an open exchange still carries the old version of a rotation that has switched: here, or where another process said so at its
    /// last look.
    async fn is_carried(&self, row: Option<&RotationRow>, now: Timestamp) -> anyhow::Result<bool> {
        let Some(row) = row.filter(|row| row.step == RotationStep::Switched) else { return Ok(false) };
        let (tenant, nodes, what) = (&self.opened.tenant, self.opened.store.nodes(), carried_name(row));
        if self.gateway.in_use.carries(&row.credential, row.old) {
            let hold = Hold { node: &self.node, now, until: now.plus_secs(CARRIED_SECONDS) };
            nodes.carry(tenant, &what, hold).await?;
            return Ok(true);
        }
        Ok(nodes.is_carried(tenant, &what, (&self.node, now)).await?)
    }

    /// Does what is due; the version that it is about, none where a new value was taken back, and what was done.
    pub(super) async fn turn(
        &self,
        held: &Held,
        row: Option<&RotationRow>,
        signal: Option<&str>,
    ) -> anyhow::Result<(Option<u64>, String)> {
        let (opened, rotation) = (&self.opened, held.rotation.as_ref());
        let snapshot = self.gateway.snapshot.load_full();
        let place = Place { ambient: &self.ambient, opened, sources: &self.sources, catalog: &snapshot.catalog };
        let by = rotator(Some(held), place, By::Gateway(Arc::clone(&snapshot)))?;
        let (node, upkeep) = (node(opened), Upkeep::of(opened.tenant.clone(), "rotation"));
        let switched = row.filter(|row| matches!(row.step, RotationStep::Switched | RotationStep::Retiring));
        if let Some(row) = switched {
            opened.vault.retire(&upkeep, row, (&*by, &node)).await?;
            opened.store.nodes().put_down(&opened.tenant, &carried_name(row)).await?;
            let words = format!("version {} was retired ({})", row.old, by.name());
            if signal.is_none() {
                return Ok((Some(row.old), words));
            }
            // Of three values the oldest goes.
            (self.record)(&held.name, row.old, &words);
        }
        let check = ByService { place, service: held.service.clone(), kind: held.kind.clone() };
        let means = Means { by: &*by, check: &check, grace_seconds: grace(rotation), node: &node };
        let begun = row.filter(|_| switched.is_none()).map(|row| row.reason.as_str());
        let reason = begun.or(signal).unwrap_or("schedule");
        Ok(match opened.vault.rotate(&upkeep, &held.name, reason, means).await? {
            Rotated::Switched(row) => {
                let words = format!("version {} took over from {} ({}, {reason})", row.new, row.old, by.name());
                (Some(row.new), words)
            }
            Rotated::GaveUp { why } => (None, format!("rotation taken back: {why}")),
        })
    }
}

/// What processes say of an old version that they carry.
fn carried_name(row: &RotationRow) -> String {
    format!("carried/{}/{}", row.credential, row.old)
}

/// Fills an alert about a credential.
pub fn fill_alert(event: &mut Event, (name, version): (&CredentialName, u64), rank: Rank, words: &str) {
    fill(event, name, version, words);
    event.kind = Kind::Alert;
    event.context = json!({ "alert": "credential", "rank": rank, "action": "none" }).as_object().cloned();
}

/// Fills an event about a rotation.
pub fn fill(event: &mut Event, name: &CredentialName, version: u64, words: &str) {
    event.kind = Kind::Credential;
    event.credential = Some(CredentialUse { name: name.clone(), version });
    event.reason = Some(words.to_owned());
}
