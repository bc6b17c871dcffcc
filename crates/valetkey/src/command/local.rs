//! A home, opened for one command: rows, the vault where it is needed, the audit log.

use std::sync::Arc;

use anyhow::Context;
use audit::{Log, Signer};
use model::event::Kind;
use model::{Clock, Event, EventId, Random, Tenant, Timestamp};
use store::{Location, Store};
use vault::Vault;

use crate::clock::{SystemClock, SystemRandom};
use crate::config::{Ambient, Home};

/// A home without its vault: commands that need no secret ask for no key.
pub(super) struct Local {
    pub(super) home: Home,
    pub(super) store: Store,
    pub(super) tenant: Tenant,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    ambient: Ambient,
}

impl Local {
    pub(super) async fn open(ambient: &Ambient) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let home = Home::open(ambient)?;
        let store = Store::open(Location::Sqlite(home.database()), Arc::clone(&clock))
            .await
            .with_context(|| format!("`{}` cannot be used", home.database().display()))?;
        Ok(Self { home, store, tenant: Tenant::local(), clock, random, ambient: ambient.clone() })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) async fn vault(&self) -> anyhow::Result<Vault> {
        let keyring = self.home.keyrings(&self.ambient)?;
        let around = self.ambient.for_vault();
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        Ok(Vault::open(self.store.clone(), keyring, around, clock, random).await?)
    }

    /// Who does it, for the record: the user of the system.
    pub(super) fn operator() -> String {
        format!("uid:{}", rustix::process::getuid().as_raw())
    }

    pub(super) fn signer(&self) -> anyhow::Result<Signer> {
        Ok(Signer::from_seed(&self.home.signing_seed(&*self.random)?)?)
    }

    /// Records what an operator did. The record comes first: what cannot be recorded is not done.
    pub(super) fn record(&self, kind: Kind, fill: impl FnOnce(&mut Event)) -> anyhow::Result<()> {
        let (clock, random) = (Arc::clone(&self.clock), Arc::clone(&self.random));
        let log = Log::open(&self.home.audit(), &self.home.node(), self.signer()?, clock, random)?;
        let now = self.now();
        let mut event = Event::new(EventId::fresh(now, &*self.random), now, kind, self.tenant.clone());
        fill(&mut event);
        let lane = log.lane()?;
        lane.append(&event)?;
        drop(lane);
        log.close()?;
        Ok(())
    }
}
