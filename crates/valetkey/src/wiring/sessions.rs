//! Sessions: a token, placeholders that follow from it, and what the gateway must know to serve them.
//!
//! Placeholders are derived from the token and the credential's name, so that any process of the home that is shown the
//! token makes the same ones, and nothing has to be stored that could be stolen.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use anyhow::Context;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inject::{Entry, KnownBuilder, NeedlesBuilder};
use model::{AgentName, CredentialName, Digest, Session, SessionId, Tenant, UserName, bounds};
use parking_lot::RwLock;
use policy::Upkeep;
use proxy::session::{Guarded, Later, SessionSource};
use proxy::{Gateway, LiveSession};

use super::open::Opened;
use super::plan::{Held, Rest};

/// What a session is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The principal.
    pub agent: AgentName,
    /// The task.
    pub task: Option<String>,
    /// The person on whose behalf.
    pub user: Option<UserName>,
    /// Seconds to live.
    pub ttl_seconds: Option<u64>,
}

/// A session that has begun.
pub struct Begun {
    /// Alive in this process.
    pub live: Arc<LiveSession>,
    /// Its token, shown once.
    pub token: String,
    /// Variable to placeholder.
    pub placeholders: BTreeMap<String, String>,
}

/// Begins sessions, and finds those that other processes began.
pub struct Maker {
    opened: Arc<Opened>,
    rest: RwLock<Rest>,
    gateway: RwLock<Weak<Gateway>>,
}

impl Maker {
    /// For one home and one configuration.
    pub fn new(opened: Arc<Opened>, rest: Rest) -> Arc<Self> {
        Arc::new(Self { opened, rest: RwLock::new(rest), gateway: RwLock::new(Weak::new()) })
    }

    /// The gateway whose index learns the placeholders.
    pub fn serve(&self, gateway: &Arc<Gateway>) {
        *self.gateway.write() = Arc::downgrade(gateway);
    }

    /// Another configuration holds from now on.
    pub fn replan(&self, rest: Rest) {
        *self.rest.write() = rest;
    }

    /// Whether another user of this machine may begin sessions of an agent.
    pub fn admits(&self, agent: &AgentName, user: &api::LocalUser) -> bool {
        self.rest.read().admits(agent, user)
    }

    /// Begins a session.
    ///
    /// # Errors
    /// An agent that the configuration does not name; the store or a credential cannot be used.
    pub async fn begin(&self, wanted: Wanted) -> anyhow::Result<Begun> {
        let rest = self.rest.read().clone();
        if !rest.guarded && !rest.agents.contains_key(&wanted.agent) {
            let known: Vec<&str> = rest.agents.keys().map(AgentName::as_str).collect();
            anyhow::bail!(
                "agent `{}` is not in the configuration; it names: {}; choose one with --agent",
                wanted.agent,
                known.join(", ")
            );
        }
        let now = self.opened.clock.now();
        let mut noise = [0u8; 32];
        self.opened.random.fill(&mut noise);
        let token = format!("vkt_{}", URL_SAFE_NO_PAD.encode(noise));
        let session = Session {
            id: SessionId::fresh(now, &*self.opened.random),
            tenant: Tenant::local(),
            agent: wanted.agent,
            user: wanted.user,
            roles: Vec::new(),
            task: wanted.task,
            started: now,
            expires: now.plus_secs(wanted.ttl_seconds.unwrap_or(bounds::SESSION_SECONDS_DEFAULT)),
            ended: None,
        };
        let digest = token_digest(&token);
        self.opened.store.sessions().insert(&session, &digest).await?;
        self.opened.store.agents().seen(&session.tenant, &session.agent, now).await?;
        let (tenant, id) = (session.tenant.clone(), session.id);
        let (live, placeholders) = match self.enliven(session, &token, &rest).await {
            Ok(alive) => alive,
            Err(error) => {
                // Nobody will use it; it would be listed as live until its time is over.
                let _ = self.opened.store.sessions().end(&tenant, id, now).await;
                return Err(error);
            }
        };
        if let Some(gateway) = self.gateway.read().upgrade() {
            gateway.sessions.insert(digest, Arc::clone(&live));
        }
        Ok(Begun { live, token, placeholders })
    }

    /// Makes a stored session serveable here: the same placeholders as in the process that began it.
    async fn enliven(
        &self,
        session: Session,
        token: &str,
        rest: &Rest,
    ) -> anyhow::Result<(Arc<LiveSession>, BTreeMap<String, String>)> {
        let upkeep = Upkeep::of(session.tenant.clone(), "session start");
        let mut entries = Vec::new();
        let mut variables = BTreeMap::new();
        let mut known = KnownBuilder::default();
        let mut needles = NeedlesBuilder::default();
        let held: Vec<&Held> = rest.held_by(&session.agent);
        for held in &held {
            let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
            let mut made = None;
            let (agent, name) = (session.agent.clone(), held.name.clone());
            self.opened
                .vault
                .with_material(&upkeep, &held.name, &mut |_, _, material| {
                    known.add(&name, material);
                    needles.add(material);
                    made = placeholder(&key, &agent, &name, material);
                })
                .await
                .map_err(|error| anyhow::anyhow!("credential `{}` cannot be used: {error}", held.name))?;
            let Some(text) = made else { anyhow::bail!("credential `{}` has no value", held.name) };
            for variable in &held.variables {
                variables.insert(variable.clone(), text.clone());
            }
            self.remember(&session, held, &text).await?;
            entries.push(Entry {
                text: text.as_str().into(),
                credential: held.name.clone(),
                service: held.service.clone(),
                session: session.id,
                agent: session.agent.clone(),
            });
        }
        let always = held.iter().filter(|held| held.always).map(|held| held.name.clone()).collect();
        let gateway = self.gateway.read().upgrade().context("the gateway has stopped")?;
        let placeholders = gateway.index.open(session.id, &session.agent, entries)?;
        let services = held.iter().filter_map(|held| held.service.clone()).collect();
        let guarded = Guarded { services, needles: needles.build() };
        let known = known.build().map(Arc::new);
        Ok((Arc::new(LiveSession::new(session, placeholders, always, (known, guarded))), variables))
    }

    /// For `whose`: only the digest of a placeholder is kept.
    async fn remember(&self, session: &Session, held: &Held, text: &str) -> anyhow::Result<()> {
        let row = store::PlaceholderRow {
            tenant: session.tenant.clone(),
            digest: token_digest(text),
            session: session.id,
            agent: session.agent.clone(),
            credential: held.name.clone(),
            service: held.service.clone(),
            issued: session.started,
        };
        self.opened.store.placeholders().insert(&[row]).await?;
        Ok(())
    }

    async fn find(&self, token: &str) -> Option<Arc<LiveSession>> {
        let session = self.opened.store.sessions().by_token(&token_digest(token)).await.ok()??;
        let rest = self.rest.read().clone();
        match self.enliven(session, token, &rest).await {
            Ok((live, _)) => Some(live),
            Err(error) => {
                tracing::warn!(%error, "a session of another process cannot be served here");
                None
            }
        }
    }
}

impl SessionSource for Maker {
    fn load<'a>(&'a self, token: &'a str) -> Later<'a, Option<Arc<LiveSession>>> {
        Box::pin(self.find(token))
    }
}

/// SHA-256 of a token or a placeholder.
pub fn token_digest(text: &str) -> Digest {
    let mut out = [0u8; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref());
    Digest(out)
}

/// Derives a placeholder: its body from the token, its last characters from agent and credential alone, because some
/// programs remember approved keys by their end.
fn placeholder(
    key: &hmac::Key,
    agent: &AgentName,
    name: &CredentialName,
    material: &secret::Material,
) -> Option<String> {
    let value = material.field(secret::Field::Value)?;
    let suffix = hmac::Key::new(hmac::HMAC_SHA256, b"valetkey placeholder suffix");
    let mut noise = stream(key, ["placeholder", name.as_str()]);
    let mut suffix = stream(&suffix, [agent.as_str(), name.as_str()]);
    Some(inject::mint(value, &mut noise, &mut suffix).text)
}

/// An endless stream of octets from a key and two words: HMAC-SHA-256 in counter mode (NIST SP 800-108r1 4.1).
fn stream(key: &hmac::Key, words: [&str; 2]) -> impl FnMut(&mut [u8]) {
    let mut counter = 0u64;
    let (key, words) = (key.clone(), words.map(str::to_owned));
    let mut block: Vec<u8> = Vec::new();
    move |out: &mut [u8]| {
        for slot in out {
            if block.is_empty() {
                let mut context = hmac::Context::with_key(&key);
                context.update(&counter.to_be_bytes());
                for word in &words {
                    context.update(&(word.len() as u64).to_be_bytes());
                    context.update(word.as_bytes());
                }
                block.extend_from_slice(context.sign().as_ref());
                counter += 1;
            }
            *slot = block.pop().unwrap_or_default();
        }
    }
}
