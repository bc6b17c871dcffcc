//! From what is stored to what was issued for it.

use std::sync::Arc;
use std::time::Duration;

use model::{AgentName, CredentialName, Tenant, Timestamp, hex};
use secret::{Lease, Material};
use store::{Hold, VersionState};

use super::{Asked, Issued, Issuing, Narrowing, Narrowings, NewRoot};
use crate::backend::{BackendError, Fetched, Wanted};
use crate::cache::{Live, Spans};
use crate::resolve::unavailable;
use crate::road::Road;
use crate::vault::Inner;
use crate::{Reference, Scheme, Vault, VaultError};

/// While a process asks with what is used up by asking, no other does; longer than any may take, seconds.
const HELD_SECONDS: u64 = 30;
/// How often somebody looks whether it is his turn.
const TURN_PAUSE: Duration = Duration::from_millis(50);
/// And how long at most: an issuer that is slow is slow for all.
const TURN_TRIES_MAX: u32 = 400;

/// The agent that `credential test` asks as; the wiring's word.
const TESTER: &str = "credential-test";

/// What is to be issued for whom.
#[derive(Clone)]
pub(crate) struct Order {
    pub issuing: Arc<Issuing>,
    /// Less than the whole.
    pub narrowed: Option<Arc<str>>,
    /// Whose it is, where each agent has its own.
    pub agent: Option<AgentName>,
}

impl Vault {
    /// How issuers are reached from now on, and what each agent may be issued.
    pub fn take_way(&self, way: Arc<dyn Road>, narrowings: Narrowings) {
        self.inner.way.store(Some(Arc::new(way)));
        self.inner.narrowings.store(Arc::new(narrowings));
    }
}

impl Inner {
    /// What an agent may be issued; none for the whole.
    pub fn narrowed(
        &self,
        (tenant, name): (&Tenant, &CredentialName),
        issuing: &Issuing,
        agent: Option<&model::AgentName>,
    ) -> Result<Option<Arc<str>>, VaultError> {
        let Some(agent) = agent.filter(|_| issuing.by.narrows()) else { return Ok(None) };
        let known = self.narrowings.load();
        match known.get(&(tenant.clone(), agent.clone(), name.clone())) {
            // The whole is for where no agent is told apart, and for the agent that asks whether it works at all.
            None if agent.as_str() == TESTER || !known.keys().any(|(theirs, _, of)| theirs == tenant && of == name) => {
                Ok(None)
            }
            None => {
                let what = format!("what `{agent}` may do with it is not known; name the agent in the configuration");
                Err(unavailable(name, BackendError::Forbidden { what }))
            }
            Some(Narrowing::Ok(text)) => Ok(Some(Arc::clone(text))),
            Some(Narrowing::Err(why)) => Err(unavailable(name, BackendError::Forbidden { what: format!("{why}") })),
        }
    }

    /// Who issues what is used for a credential, if anybody does.
    pub fn issuing(&self, tenant: &Tenant, name: &CredentialName) -> Option<Arc<Issuing>> {
        self.declared.read().get(&(tenant.clone(), name.clone()))?.issuing.clone()
    }

    /// Has something issued for what is stored.
    pub async fn issued(
        &self,
        (wanted, fetched): (Wanted<'_>, Fetched),
        order: &Order,
        spans: Spans,
    ) -> Result<Live, VaultError> {
        let issuing = &*order.issuing;
        let outcome = if issuing.by.renews_root() {
            self.in_turn_to_ask(wanted, order).await
        } else {
            self.ask_issuer(wanted, fetched, order).await
        };
        let (version, issued) = outcome.map_err(|error| unavailable(wanted.name, error))?;
        let lease = Lease { id: None, expires: issued.expires };
        let live = Live::new(version, issued.material, (lease, false), (wanted.now, spans)).being_issued();
        self.held.hold((wanted.tenant, wanted.name), &order.issuing, &live, wanted.now);
        Ok(live)
    }

    /// Has something issued for a version that a rotation lends: what issuers are asked with goes on no request.
    pub async fn lent_to_issuer(
        &self,
        tenant: &Tenant,
        (of, version): (&CredentialName, u64),
        order: &Order,
        now: Timestamp,
    ) -> Result<Live, VaultError> {
        self.is_replaced(tenant, of)?;
        let value = self.version(tenant, of, version).await?;
        let wanted = Wanted { tenant, name: of, reference: &Reference::built_in(), now };
        let outcome = self.ask_issuer(wanted, Fetched::of_version(version, value), order).await;
        let (version, issued) = outcome.map_err(|error| unavailable(of, error))?;
        let (lease, spans) = (Lease { id: None, expires: issued.expires }, Spans { fresh: 1, held: 0 });
        Ok(Live::new(version, issued.material, (lease, false), (now, spans)).being_issued())
    }

    /// Whether other versions may take over from the current one: not where each is used up by asking, and the one before is worth nothing.
    pub fn is_replaced(&self, tenant: &Tenant, name: &CredentialName) -> Result<(), VaultError> {
        match self.issuing(tenant, name) {
            Some(issuing) if issuing.by.renews_root() => Err(VaultError::IsLogIn { name: name.clone() }),
            _ => Ok(()),
        }
    }

    /// One process at a time, with what is stored by then: a refresh token that is used twice looks stolen (RFC 9700 4.14.2). Done to its end
    /// although nobody waits any more: what the server gave for it must be stored.
    async fn in_turn_to_ask(&self, wanted: Wanted<'_>, order: &Order) -> Result<(u64, Issued), BackendError> {
        let gone = || BackendError::Away { what: "the gateway is ending".to_owned() };
        let me = self.me.upgrade().ok_or_else(gone)?;
        let (tenant, name, reference) = (wanted.tenant.clone(), wanted.name.clone(), wanted.reference.clone());
        let (now, order) = (wanted.now, order.clone());
        let done = tokio::spawn(async move {
            let wanted = Wanted { tenant: &tenant, name: &name, reference: &reference, now };
            me.ask_in_turn(wanted, &order).await
        });
        done.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn ask_in_turn(&self, wanted: Wanted<'_>, order: &Order) -> Result<(u64, Issued), BackendError> {
        let mut noise = [0; 12];
        self.random.fill(&mut noise);
        let node = format!("issue_{}", hex(&noise));
        self.take_turn(wanted, &node).await?;
        let asking = async {
            let fetched = self.ask(wanted).await.map_err(|error| match error {
                VaultError::Unavailable { error, .. } => error,
                other => BackendError::Malformed { what: other.to_string() },
            })?;
            self.ask_issuer(wanted, fetched, order).await
        };
        let outcome = asking.await;
        if let Err(error) = self.store.nodes().release(wanted.tenant, &node).await {
            tracing::warn!(credential = %wanted.name, %error, "whose turn it is to renew could not be given back");
        }
        outcome
    }

    async fn take_turn(&self, wanted: Wanted<'_>, node: &str) -> Result<(), BackendError> {
        let what = format!("issue/{}", wanted.name);
        for _ in 0..TURN_TRIES_MAX {
            let now = self.clock.now();
            let hold = Hold { node, now, until: now.plus_secs(HELD_SECONDS) };
            match self.store.nodes().claim(wanted.tenant, &what, hold).await {
                Ok(true) => return Ok(()),
                Ok(false) => tokio::time::sleep(TURN_PAUSE).await,
                Err(error) => return Err(BackendError::Away { what: error.to_string() }),
            }
        }
        Err(BackendError::Away { what: "another process has been renewing it for long".to_owned() })
    }

    async fn ask_issuer(
        &self,
        wanted: Wanted<'_>,
        Fetched { version, value, .. }: Fetched,
        order: &Order,
    ) -> Result<(u64, Issued), BackendError> {
        let issuing = &*order.issuing;
        let way = self.way.load_full();
        let way =
            way.as_deref().ok_or_else(|| BackendError::Away { what: "nothing leads to its issuer yet".to_owned() })?;
        let asked = Asked {
            root: value,
            narrowed: order.narrowed.as_deref(),
            agent: order.agent.as_ref(),
            refused: &issuing.refused,
            way: &**way,
            local: &self.local,
            random: &*self.random,
            now: wanted.now,
        };
        let mut issued = issuing.breaker.guard(wanted.now, issuing.by.issue(asked)).await?;
        let version = match issued.root.take() {
            Some(root) => self.keep_root(wanted, root, version).await?,
            None => version,
        };
        Ok((version, issued))
    }

    /// Stores what is asked with next time.
    async fn keep_root(&self, wanted: Wanted<'_>, root: NewRoot, before: u64) -> Result<u64, BackendError> {
        let kept = match self.backend(wanted.reference.scheme()) {
            Some(backend) => backend.store(wanted, root.value).await,
            None => Err(BackendError::ReadOnly),
        };
        match kept {
            Ok(version) => {
                self.use_up(wanted, before).await;
                Ok(version)
            }
            Err(BackendError::ReadOnly) if !root.must_be_kept => Ok(before),
            Err(BackendError::ReadOnly) => Err(BackendError::Malformed {
                what: format!(
                    "its server gave a new refresh token, which cannot be written to `{}`; keep it in the built-in vault: log in with `valetkey \
                     credential login {}`",
                    wanted.reference, wanted.name
                ),
            }),
            Err(error) => Err(error),
        }
    }

    /// A link of a chain that was used never comes back: used twice it would end the whole log-in.
    async fn use_up(&self, wanted: Wanted<'_>, version: u64) {
        if wanted.reference.scheme() != Scheme::BuiltIn {
            return;
        }
        let rows = self.store.credentials();
        if let Err(error) = rows.set_state(wanted.tenant, wanted.name, Some(version), VersionState::Revoked).await {
            tracing::warn!(credential = %wanted.name, version, %error, "a refresh token that is used up stays in grace");
        }
    }

    /// Parts of the form of what will be issued; asks nobody.
    pub fn sample(&self, order: &Order) -> Material {
        order.issuing.by.sample(&*self.random)
    }
}

/// Until when something that was issued is used: it is asked for anew a third of its life before its end, and five minutes at most.
pub(crate) fn until(end: Timestamp, now: Timestamp) -> Timestamp {
    const EARLY_MICROS_MAX: u64 = 300 * 1_000_000;
    let early = (end.micros_since(now) / 3).min(EARLY_MICROS_MAX);
    Timestamp(end.0.saturating_sub_unsigned(early))
}
