//! Sessions: a token, placeholders that follow from it, and what the gateway must know to serve them.
//!
//! Placeholders are derived from the token and the credential's name, so that any process of the home that is shown the
//! token makes the same ones, and nothing has to be stored that could be stolen.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};

use anyhow::Context;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use inject::{Entry, KnownBuilder, NeedlesBuilder};
use model::{
    AgentName, CredentialName, Digest, Part, Refusal, ServiceName, Session, SessionId, Tenant, UserName, bounds,
};
use parking_lot::RwLock;
use policy::Upkeep;
use proxy::session::{Guarded, Handed, Holdings, Kept, Later, SessionSource};
use proxy::{Gateway, LiveSession};
use secret::Field;

use super::open::Opened;
use super::plan::{CERTIFICATE, Held, Rest};

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
    pub(super) opened: Arc<Opened>,
    pub(super) rest: RwLock<Rest>,
    pub(super) gateway: RwLock<Weak<Gateway>>,
    /// Held while something is captured: holdings are read, added to and swapped.
    pub(super) keeping: tokio::sync::Mutex<()>,
}

impl Maker {
    /// For one home and one configuration.
    pub fn new(opened: Arc<Opened>, rest: Rest) -> Arc<Self> {
        Arc::new(Self {
            opened,
            rest: RwLock::new(rest),
            gateway: RwLock::new(Weak::new()),
            keeping: tokio::sync::Mutex::default(),
        })
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
        if let Some(gateway) = self.gateway.read().upgrade() {
            let stopped = gateway.stopped.load();
            if stopped.all || stopped.agents.contains(&wanted.agent) {
                let what = if stopped.all { "--all".to_owned() } else { format!("--agent {}", wanted.agent) };
                anyhow::bail!(
                    "an operator has stopped agent `{}`; `valetkey stop {what} --lift` lets it work again",
                    wanted.agent
                );
            }
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
        let (live, placeholders) = match self.enliven(session, (&token, false), &rest).await {
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

    /// Makes a stored session serveable here: the same placeholders as in the process that began it. One that was `found`
    /// may have been given more there.
    async fn enliven(
        &self,
        session: Session,
        (token, found): (&str, bool),
        rest: &Rest,
    ) -> anyhow::Result<(Arc<LiveSession>, BTreeMap<String, String>)> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        let mut variables = BTreeMap::new();
        let mut gathering = Gathering::default();
        let held: Vec<&Held> = rest.held_by(&session.agent);
        let mut logins = found;
        for held in &held {
            if held.hollow {
                logins = true;
                continue;
            }
            let whose = Whose { session: &session, key: &key, credential: &held.name, minted: None };
            let made = match self.gather(&whose, held.service.as_ref(), &mut gathering).await {
                Ok(made) => made,
                // Nobody has logged in yet; the first log-in fills it.
                Err(error) if held.is_login() && error.is_absent() => continue,
                Err(error) => anyhow::bail!("credential `{}` cannot be used: {error}", held.name),
            };
            logins |= held.is_login();
            if held.kind != CERTIFICATE && !made.iter().any(|(part, _)| *part == Part::Value) {
                anyhow::bail!("credential `{}` has no value", held.name);
            }
            for variable in &held.variables {
                let part = held.part_in(variable);
                let text = made.iter().find(|(known, _)| *known == part).map(|(_, text)| text.to_string());
                variables.extend(text.map(|text| (variable.clone(), text)));
            }
        }
        let always = held.iter().filter(|held| held.always).map(|held| held.name.clone()).collect();
        let gateway = self.gateway.read().upgrade().context("the gateway has stopped")?;
        let Gathering { entries, known, needles } = gathering;
        self.remember(&session, &entries).await?;
        let services = services_of(&entries, Vec::new());
        let placeholders = gateway.index.open(session.id, &session.agent, entries)?;
        let guarded = Guarded { services, needles: needles.build() };
        let holdings = Holdings { placeholders, known: known.build().map(Arc::new), guarded, logins };
        Ok((Arc::new(LiveSession::new(session, key, always, holdings)), variables))
    }

    /// Reads one credential and makes the placeholders of all its parts.
    pub(super) async fn gather(
        &self,
        whose: &Whose<'_>,
        service: Option<&ServiceName>,
        into: &mut Gathering,
    ) -> Result<Vec<(Part, Arc<str>)>, vault::VaultError> {
        let Whose { session, key, credential, minted } = *whose;
        let name = minted.unwrap_or(credential);
        let upkeep = Upkeep::of_session(session, "placeholders of a session");
        let mut made: Vec<(Part, Arc<str>)> = Vec::new();
        let Gathering { entries, known, needles } = into;
        let mut look = |_: &CredentialName, _, material: &secret::Material| {
            known.add(name, material);
            needles.add(material);
            for (part, field, words) in PARTS {
                let text = material.field(field).map(|value| placeholder(key, (words, &session.agent, name), value));
                made.extend(text.map(|text| (part, Arc::from(text))));
            }
        };
        self.opened.vault.with_material(&upkeep, name, &mut look).await?;
        entries.extend(made.iter().map(|(part, text)| Entry {
            text: Arc::clone(text),
            credential: credential.clone(),
            service: service.cloned(),
            session: session.id,
            agent: session.agent.clone(),
            part: *part,
            minted: minted.cloned(),
        }));
        Ok(made)
    }

    /// For `whose`: only the digest of a placeholder is kept.
    pub(super) async fn remember(&self, session: &Session, entries: &[Entry]) -> Result<(), store::StoreError> {
        let row = |entry: &Entry| store::PlaceholderRow {
            tenant: session.tenant.clone(),
            digest: token_digest(&entry.text),
            session: session.id,
            agent: session.agent.clone(),
            credential: entry.minted.as_ref().unwrap_or(&entry.credential).clone(),
            service: entry.service.clone(),
            issued: session.started,
        };
        let rows: Vec<_> = entries.iter().map(row).collect();
        self.opened.store.placeholders().insert(&rows).await
    }

    async fn find(&self, token: &str) -> Option<Arc<LiveSession>> {
        let session = self.opened.store.sessions().by_token(&token_digest(token)).await.ok()??;
        let rest = self.rest.read().clone();
        match self.enliven(session, (token, true), &rest).await {
            Ok((live, _)) => {
                let gateway = self.gateway.read().upgrade();
                if let Some(gateway) = gateway {
                    // What cannot be read is taken in with the next change.
                    let _ = super::grants::load(&self.opened, &gateway, &live).await;
                }
                Some(live)
            }
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

    fn tokens(&self) -> Later<'_, Option<HashSet<Digest>>> {
        Box::pin(async {
            let opened = &self.opened;
            let tokens = opened.store.sessions().tokens(&opened.tenant, opened.clock.now()).await;
            tokens.inspect_err(|error| tracing::warn!(%error, "live sessions cannot be told")).ok().flatten()
        })
    }

    fn adopt<'a>(&'a self, live: &'a Arc<LiveSession>, part: Part, text: &'a str) -> Later<'a, ()> {
        Box::pin(super::captured::adopt(self, live, part, text))
    }

    fn keep<'a>(&'a self, live: &'a Arc<LiveSession>, handed: Handed) -> Later<'a, Result<Kept, Refusal>> {
        Box::pin(super::captured::keep(self, live, handed))
    }
}

/// Parts of a credential, and the word that tells their placeholders apart.
const PARTS: [(Part, Field, &str); 5] = [
    (Part::Value, Field::Value, "placeholder"),
    (Part::Refresh, Field::Refresh, "placeholder of a refresh token"),
    (Part::Identity, Field::Identity, "placeholder of an ID token"),
    (Part::KeyId, Field::KeyId, "placeholder of a key's id"),
    (Part::Session, Field::SessionToken, "placeholder of a session token"),
];

/// For whom placeholders are made, and of what.
pub struct Whose<'a> {
    /// The session.
    pub session: &'a Session,
    /// From which they follow.
    pub key: &'a hmac::Key,
    /// The credential that policy knows.
    pub credential: &'a CredentialName,
    /// What was captured under it.
    pub minted: Option<&'a CredentialName>,
}

/// What becomes a session's holdings.
#[derive(Default)]
pub struct Gathering {
    /// Placeholders.
    pub entries: Vec<Entry>,
    /// Real secrets.
    pub known: KnownBuilder,
    /// The same, for answers.
    pub needles: NeedlesBuilder,
}

/// Services whose answers may show what the session holds.
pub(super) fn services_of(entries: &[Entry], mut known: Vec<ServiceName>) -> Vec<ServiceName> {
    for service in entries.iter().filter_map(|entry| entry.service.as_ref()) {
        if !known.contains(service) {
            known.push(service.clone());
        }
    }
    known
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
    (words, agent, name): (&'static str, &AgentName, &CredentialName),
    value: &secret::Secret,
) -> String {
    let suffix = hmac::Key::new(hmac::HMAC_SHA256, b"valetkey placeholder suffix");
    let mut noise = stream(key, [words, name.as_str()]);
    // What ends alike would be told apart by its beginning alone.
    let whose = if words == PARTS[0].2 { name.as_str().to_owned() } else { format!("{name} {words}") };
    let mut suffix = stream(&suffix, [agent.as_str(), &whose]);
    inject::mint(value, &mut noise, &mut suffix).text
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
