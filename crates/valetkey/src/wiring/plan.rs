//! From what was written to what will run: the configuration's text becomes rules, services, upstreams and a list of
//! which credentials each agent holds.

use anyhow::Context;
use audit::SyncPolicy;
use catalog::Catalog;
use model::canonical::{Host, parse_authority};
use model::{AgentName, CredentialName, Digest, Part, ServiceName};
use policy::Rules;
use policy::document::{CredentialEntry, Document, Inject, Note, Receiver, Rotate, Sync, With};
use proxy::gateway::Snapshot;
use proxy::net::address::Own;
use proxy::net::dial::{Dialer, Upstream};
use proxy::net::name::SystemResolver;
use proxy::net::proxyout::WayOut;
use proxy::net::tls::Trust;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use vault::Reference;
use vault::issue::{Issuing, Narrowings};

use super::channels::Hook;
use super::databases::{self, Database};
use super::issuing;
use crate::config::{Faults, Sources};

/// A credential as the configuration or the discovery names it.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name.
    pub name: CredentialName,
    /// The service it is bound to.
    pub service: Option<ServiceName>,
    /// Where its value is read; none for the built-in vault.
    pub from: Option<String>,
    /// What it is made of: `token`, `basic`.
    pub kind: String,
    /// Put on without a placeholder.
    pub always: bool,
    /// Variables of the agent's environment that hold its placeholder.
    pub variables: Vec<String>,
    /// Who issues what goes on requests for what is stored.
    pub issuing: Option<Arc<Issuing>>,
    /// How a new value takes over.
    pub rotation: Option<Rotation>,
    /// SHA-256 of what its file holds, where that is a log-in.
    pub digest: Option<Digest>,
    /// Its file holds placeholders: the agent logged in behind us and wrote them there itself.
    pub hollow: bool,
    /// Seconds for which its value is good: until it is asked for again, and while its back end is away.
    pub spans: (Option<u64>, Option<u64>),
}

/// How a new value of a credential takes over.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Who makes and retires values; an operator where nothing is written.
    pub with: Option<With>,
    /// Seconds that a value may become old.
    pub every: Option<u64>,
    /// Seconds that the old value stays good.
    pub grace: u64,
}

/// How long an old value stays good where nothing is written, seconds.
pub const GRACE_SECONDS_DEFAULT: u64 = 3_600;

impl Held {
    /// Which part of it a variable holds.
    pub fn part_in(&self, variable: &str) -> Part {
        match variable {
            "AWS_ACCESS_KEY_ID" if self.kind == KEYS => Part::KeyId,
            "AWS_SESSION_TOKEN" | "AWS_SECURITY_TOKEN" if self.kind == KEYS => Part::Session,
            // As the service file lists them: the key's id, the key, a passphrase.
            _ if self.kind == SIGNING && self.variables.len() > 1 => {
                match self.variables.iter().position(|own| own == variable) {
                    Some(0) => Part::KeyId,
                    Some(2) => Part::Session,
                    _ => Part::Value,
                }
            }
            _ => Part::Value,
        }
    }

    /// Whether it is the tokens of a log-in, which may not have happened yet.
    pub fn is_login(&self) -> bool {
        self.kind == LOGIN
    }
}

/// The kind of credentials that log-ins fill.
pub const LOGIN: &str = "oauth2";

/// The kind of credentials that are pairs of keys.
pub const KEYS: &str = "aws";

/// The kind of credentials that connections present: the agent holds nothing of them.
pub const CERTIFICATE: &str = "mtls";

/// The kind of credentials that sign requests with a shared key.
pub const SIGNING: &str = "hmac";

/// Everything that one configuration says, ready to run.
pub struct Plan {
    /// Rules.
    pub rules: Rules,
    /// Services.
    pub catalog: Catalog,
    /// Secret managers over the network.
    pub sites: Vec<vault::Site>,
    /// Where hosts really are.
    pub upstreams: Vec<(Host, u16, Upstream)>,
    /// All credentials.
    pub credentials: Vec<Held>,
    /// What each agent holds; an agent that is not named holds nothing.
    pub agents: BTreeMap<AgentName, Vec<CredentialName>>,
    /// Other users of this machine who may begin sessions of an agent.
    pub local_users: BTreeMap<AgentName, Vec<String>>,
    /// No configuration names agents: the guarded policy applies, and everybody holds what was found.
    pub guarded: bool,
    /// What is synced before forwarding.
    pub sync: SyncPolicy,
    /// Operators with a token of their own.
    pub operators: Vec<api::Operator>,
    /// Webhooks that are told of questions and answer them.
    pub hooks: Vec<Hook>,
    /// Ports for database servers.
    pub databases: Vec<Database>,
    /// What each agent may be issued.
    pub narrowings: Narrowings,
    /// The corporate proxy.
    pub way_out: Option<WayOut>,
    /// What the reader of the configuration should know.
    pub notes: Vec<String>,
}

impl Plan {
    /// Makes the plan of a configuration, or says everything that is wrong with it.
    ///
    /// # Errors
    /// Diagnostics with line and column, one a line; files that cannot be read.
    pub fn make(sources: &Sources, found: &[Held]) -> anyhow::Result<Self> {
        let read = sources.document()?;
        let catalog = Catalog::with(sources.services()?).context("the service files cannot be used together")?;
        Self::of(read, catalog, sources, found)
    }

    /// [`make`](Self::make) of what was read already.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn of(
        (mut document, notes): (Document, Vec<Note>),
        catalog: Catalog,
        sources: &Sources,
        found: &[Held],
    ) -> anyhow::Result<Self> {
        let words = catalog.vocabulary();
        let mut credentials = declared(&document, &catalog, sources)?;
        let guarded = document.agents.is_empty();
        for held in found {
            if !credentials.iter().any(|known| known.name == held.name) {
                credentials.push(held.clone());
            }
        }
        if guarded {
            logins(&catalog, &mut credentials);
        }
        for held in &credentials {
            document.add_credential(&held.name, held.service.as_ref(), &held.kind);
        }
        let rules = Rules::compile(&document, &words).map_err(Faults)?;
        let names = document.agents.iter().filter_map(|(name, _)| AgentName::new(&name.value).ok());
        let agents =
            names.map(|name| (name.clone(), rules.credentials_of(&name).into_iter().cloned().collect())).collect();
        Ok(Self {
            rules,
            sites: super::sites::of(&document, sources)?,
            upstreams: upstreams(&document, sources)?,
            agents,
            local_users: local_users(&document),
            credentials,
            guarded,
            sync: sync_of(&document),
            operators: operators(&document)?,
            hooks: hooks(&document, sources.folder())?,
            databases: databases::of(&document, &catalog)?,
            narrowings: issuing::narrowings(&document, &words),
            catalog,
            way_out: None,
            notes: notes.iter().map(ToString::to_string).chain(issuing::notes(&document, &words)).collect(),
        })
    }

    /// How hosts are reached.
    pub fn dialer(&self, trust: &Trust, own: &Own) -> Dialer {
        let mut dialer = Dialer::new(Box::new(SystemResolver::default()), trust.clone(), own.clone());
        for (host, port, upstream) in &self.upstreams {
            dialer = dialer.upstream(host.clone(), *port, upstream.clone());
        }
        match &self.way_out {
            Some(way_out) => dialer.way_out(way_out.clone()),
            None => dialer,
        }
    }

    /// The snapshot that decides, and what stays outside of it.
    pub fn into_snapshot(self, trust: &Trust, own: &Own) -> (Snapshot, Rest) {
        let dialer = self.dialer(trust, own);
        let rest = Rest {
            credentials: self.credentials,
            agents: self.agents,
            local_users: self.local_users,
            guarded: self.guarded,
        };
        (Snapshot { rules: self.rules, catalog: self.catalog, dialer }, rest)
    }
}

/// What sessions need of a plan.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// All credentials.
    pub credentials: Vec<Held>,
    /// What each agent holds.
    pub agents: BTreeMap<AgentName, Vec<CredentialName>>,
    /// Other users of this machine who may begin sessions of an agent: names, or `uid:1001`.
    pub local_users: BTreeMap<AgentName, Vec<String>>,
    /// The guarded policy applies.
    pub guarded: bool,
}

fn local_users(document: &Document) -> BTreeMap<AgentName, Vec<String>> {
    let all = document.agents.iter().filter_map(|(name, agent)| {
        let users: Vec<String> = agent.local_users.iter().map(|user| user.value.clone()).collect();
        Some((AgentName::new(&name.value).ok()?, users))
    });
    all.filter(|(_, users)| !users.is_empty()).collect()
}

fn declared(document: &Document, catalog: &Catalog, sources: &Sources) -> anyhow::Result<Vec<Held>> {
    let folder = sources.folder();
    let mut all = Vec::new();
    for (name, entry) in &document.credentials {
        let service = entry.service.as_ref().map(|service| ServiceName::new(&service.value)).transpose()?;
        let words = service.as_ref().and_then(|service| catalog.service(service.as_str()));
        let from = entry.from.as_ref().map(|from| {
            let environment = document.environment.as_ref().map(|environment| environment.value.as_str());
            let reference = Reference::parse(&from.value).and_then(|reference| reference.in_environment(environment));
            let reference = reference.and_then(|reference| reference.beside(folder));
            reference.with_context(|| format!("credential `{}`", name.value))
        });
        let from = from.transpose()?.map(|reference| reference.as_str().to_owned());
        // A service that takes keys, or opens a database, takes nothing else.
        let first = words.and_then(|service| service.credential_kinds().next());
        let default =
            first.filter(|kind| [KEYS, databases::KIND, CERTIFICATE, SIGNING].contains(kind)).unwrap_or("token");
        let issued = entry.issue.as_ref().map(|issue| issuing::of(&issue.value, sources)).transpose();
        let issued = issued.with_context(|| format!("credential `{}`", name.value))?.flatten();
        let kind = match (&issued, &entry.kind) {
            (Some(issued), _) => issued.kind.to_owned(),
            (None, Some(kind)) => kind.value.clone(),
            (None, None) => default.to_owned(),
        };
        let own = words.iter().flat_map(|service| service.environment());
        let variables = match from.as_deref().and_then(|from| from.strip_prefix("env:")) {
            _ if kind == CERTIFICATE => Vec::new(),
            _ if kind == SIGNING => own.take(3).map(str::to_owned).collect(),
            _ if kind == KEYS => own.map(str::to_owned).collect(),
            // What is stored is hidden where it was, and its service's own programs find what is issued.
            Some(variable) if issued.is_some() => own.take(1).map(str::to_owned).chain([variable.to_owned()]).collect(),
            Some(variable) => vec![variable.to_owned()],
            // Programs read their log-in from their own file; in a variable it would pass for an API key.
            None if kind == LOGIN => Vec::new(),
            None => own.take(1).map(str::to_owned).collect(),
        };
        let always = kind == CERTIFICATE || entry.inject.as_ref().is_some_and(|inject| inject.value == Inject::Always);
        all.push(Held {
            name: CredentialName::new(&name.value)?,
            service,
            from,
            kind,
            always,
            variables,
            issuing: issued.map(|issued| issued.by),
            rotation: entry.rotate.as_ref().map(|rotate| Rotation {
                with: rotate.value.with.as_ref().map(|with| with.value.clone()),
                every: every(entry, &rotate.value),
                grace: rotate.value.grace.as_ref().map_or(GRACE_SECONDS_DEFAULT, |grace| grace.value.0),
            }),
            digest: None,
            hollow: false,
            spans: (entry.ttl.as_ref().map(|ttl| ttl.value.0), entry.stale.as_ref().map(|stale| stale.value.0)),
        });
    }
    Ok(all)
}

/// How old a value may become: as it is written, or as sensitive as it is where something can make another.
fn every(entry: &CredentialEntry, rotate: &Rotate) -> Option<u64> {
    let usual = || entry.sensitivity.as_ref().filter(|_| rotate.with.is_some()).map(|it| it.value.every());
    rotate.every.as_ref().map(|every| every.value.0).or_else(usual)
}

/// Where nobody declares credentials, every service that one can log in to has one that a log-in fills.
fn logins(catalog: &Catalog, credentials: &mut Vec<Held>) {
    for service in catalog.services().filter(|service| service.takes_logins()) {
        let own = |held: &Held| held.is_login() && held.service.as_ref() == Some(service.name());
        let name = CredentialName::new(&format!("{}-login", service.name()));
        let Some(name) = name.ok().filter(|name| !credentials.iter().any(|held| own(held) || held.name == *name))
        else {
            continue;
        };
        credentials.push(Held {
            name,
            service: Some(service.name().clone()),
            from: None,
            kind: LOGIN.to_owned(),
            always: false,
            variables: Vec::new(),
            issuing: None,
            rotation: None,
            digest: None,
            hollow: false,
            spans: (None, None),
        });
    }
}

fn upstreams(document: &Document, sources: &Sources) -> anyhow::Result<Vec<(Host, u16, Upstream)>> {
    let mut all = Vec::new();
    // A thousand hosts may share one authority; it is read once.
    let mut authorities: BTreeMap<&str, Trust> = BTreeMap::new();
    for (name, entry) in &document.upstreams {
        let address: SocketAddr = entry.address.value.parse().with_context(|| {
            let (host, address) = (&name.value, &entry.address.value);
            format!("upstream `{host}`: `{address}` is not an address with a port, such as 127.0.0.1:8443")
        })?;
        let trust = match &entry.ca {
            Some(path) => {
                if !authorities.contains_key(path.value.as_str()) {
                    let within = || format!("upstream `{}`: `{}`", name.value, path.value);
                    let pem = sources.read_beside(&path.value).with_context(within)?;
                    authorities.insert(&path.value, Trust::pem(&pem).with_context(within)?);
                }
                authorities.get(path.value.as_str()).cloned()
            }
            None => None,
        };
        let (host, port) = parse_authority(&name.value).with_context(|| format!("upstream `{}`", name.value))?;
        all.push((host, port.unwrap_or(443), Upstream { address, trust }));
    }
    Ok(all)
}

fn sync_of(document: &Document) -> SyncPolicy {
    match document.audit.as_ref().and_then(|audit| audit.sync.as_ref()).map(|sync| sync.value) {
        None | Some(Sync::Changes) => SyncPolicy::Changes,
        Some(Sync::Always) => SyncPolicy::Always,
        Some(Sync::Never) => SyncPolicy::Never,
    }
}

fn hooks(document: &Document, folder: &Path) -> anyhow::Result<Vec<Hook>> {
    let mut all = Vec::new();
    for (name, channel) in &document.channels {
        let Some(webhook) = &channel.webhook else { continue };
        let within = || format!("webhook `{}`", name.value);
        let secrets = webhook.value.secret.iter().map(|from| Reference::parse(&from.value)?.beside(folder));
        all.push(Hook {
            name: name.value.clone(),
            receiver: Receiver::parse(&webhook.value.url.value).map_err(anyhow::Error::msg).with_context(within)?,
            secrets: secrets.collect::<Result<_, _>>().with_context(within)?,
        });
    }
    Ok(all)
}

fn operators(document: &Document) -> anyhow::Result<Vec<api::Operator>> {
    let mut all = Vec::new();
    for operator in &document.operators {
        let Some(hash) = &operator.value.token_hash else { continue };
        let token = Digest::parse(&hash.value).with_context(|| {
            format!(
                "operator `{}`: token_hash must be the SHA-256 of the token as 64 hex digits",
                operator.value.name.value
            )
        })?;
        let roles = operator.value.roles.iter().map(|role| role.value.clone()).collect();
        all.push(api::Operator { name: operator.value.name.value.clone(), token, roles });
    }
    Ok(all)
}

impl Rest {
    /// Whether another user of this machine may begin sessions of an agent.
    pub fn admits(&self, agent: &AgentName, user: &api::LocalUser) -> bool {
        let number = format!("uid:{}", user.uid);
        let users = self.local_users.get(agent).map_or(&[][..], Vec::as_slice);
        users.iter().any(|known| *known == number || known == user.name.as_str())
    }

    /// What an agent holds.
    pub fn held_by(&self, agent: &AgentName) -> Vec<&Held> {
        if self.guarded {
            return self.credentials.iter().collect();
        }
        let names = self.agents.get(agent).map_or(&[][..], Vec::as_slice);
        names.iter().filter_map(|name| self.credentials.iter().find(|held| held.name == *name)).collect()
    }
}
