//! A home, opened: rows, vault, audit log.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use audit::{Log, Signer};
use model::{Clock, Random, Tenant};
use store::{Location, Store};
use vault::{Declaration, Vault};

use super::plan::{Held, Plan};
use crate::clock::{Steady, SystemClock, SystemRandom};
use crate::config::{Ambient, Home};

/// What every command that touches state begins with.
pub struct Opened {
    /// Where it lies.
    pub home: Home,
    /// Rows.
    pub store: Store,
    /// Credentials.
    pub vault: Vault,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The same, for who looks after it.
    pub time: Arc<Steady<SystemClock>>,
    /// How far the clock was set back since the home was used last, where it was.
    pub set_back: Option<Duration>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The organisation.
    pub tenant: Tenant,
}

/// Opens the home that the environment names, making it on first use.
///
/// # Errors
/// The home cannot be made or belongs to somebody else; the store or the vault cannot be opened.
pub async fn open(ambient: &Ambient) -> anyhow::Result<Arc<Opened>> {
    let time = Arc::new(Steady::over(SystemClock));
    let clock: Arc<dyn Clock> = Arc::clone(&time) as _;
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let home = Home::open(ambient)?;
    let store = Store::open(Location::Sqlite(home.database()), Arc::clone(&clock))
        .await
        .with_context(|| format!("`{}` cannot be used", home.database().display()))?;
    let tenant = Tenant::local();
    let set_back = super::clock::check(&store, &tenant, clock.now()).await?;
    let keys = home.keyrings(ambient)?;
    let around = ambient.for_vault();
    let vault = Vault::open(store.clone(), keys, around, Arc::clone(&clock), Arc::clone(&random)).await?;
    Ok(Arc::new(Opened { home, store, vault, clock, time, set_back, random, tenant }))
}

impl Opened {
    /// Opens the audit log of this home; its signing key is made on first use.
    ///
    /// # Errors
    /// The key or the folder cannot be read or made.
    pub fn log(&self) -> anyhow::Result<Log> {
        let seed = self.home.signing_seed(&*self.random)?;
        let signer = Signer::from_seed(&seed)?;
        Log::open(&self.home.audit(), &self.home.node(), signer, Arc::clone(&self.clock), Arc::clone(&self.random))
            .context("the audit log cannot be opened")
    }

    /// Marks log-ins whose file holds what some session was given instead of tokens.
    ///
    /// # Errors
    /// The store.
    pub async fn tell_hollow(&self, credentials: &mut [Held]) -> anyhow::Result<()> {
        for held in credentials {
            let Some(digest) = &held.digest else { continue };
            if self.store.placeholders().find(&self.tenant, digest).await?.is_some() {
                // What it stands for lies in the built-in vault, under this name or beneath it.
                held.from = None;
                let row = self.store.credentials().get(&self.tenant, &held.name).await?;
                held.hollow = row.is_some_and(|row| row.source.is_some());
            }
        }
        Ok(())
    }

    /// Tells the vault of credentials that a configuration or the environment names, and of the back ends where they lie; values stay where
    /// they are.
    ///
    /// # Errors
    /// A reference that cannot be read, a back end that cannot be asked, or the store.
    pub async fn declare(&self, plan: &Plan) -> anyhow::Result<()> {
        self.vault.take_sites(plan.sites.clone(), &super::sites::tls)?;
        self.vault.take_way(super::issuing::way(plan)?, plan.narrowings.clone());
        for held in &plan.credentials {
            let from = held.from.as_deref().map(vault::Reference::parse).transpose();
            let from = from.with_context(|| format!("credential `{}`", held.name))?;
            let built_in = || held.issuing.is_some().then(vault::Reference::built_in);
            if let Some(reference) = from.or_else(built_in) {
                let declaration = Declaration {
                    tenant: self.tenant.clone(),
                    name: held.name.clone(),
                    service: held.service.clone(),
                    kind: held
                        .issuing
                        .as_ref()
                        .map_or_else(|| held.kind.clone(), |issuing| issuing.stores().to_owned()),
                    reference,
                    issuing: held.issuing.clone(),
                    inject: if held.always { "always" } else { "placeholder" }.to_owned(),
                    fresh_seconds: held.spans.0,
                    held_seconds: held.spans.1,
                };
                self.vault.declare(declaration).await?;
            }
        }
        Ok(())
    }
}
