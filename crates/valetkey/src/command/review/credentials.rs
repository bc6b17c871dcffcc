//! Credentials: who may use them, who did, how old they are, and what their services say of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use catalog::Catalog;
use model::{AgentName, CredentialName, Timestamp};
use policy::{Document, Rules};
use serde::Serialize;

use super::used::{Permission, Times, Use, some};
use crate::command::Usage;
use crate::command::local::Local;
use crate::config::Ambient;
use crate::wiring::{Tested, credential_test};

/// One credential.
#[derive(Debug, Serialize)]
pub(super) struct Held {
    pub(super) name: CredentialName,
    pub(super) service: Option<String>,
    /// This configuration names it; what the vault holds besides, another one may use.
    pub(super) is_declared: bool,
    /// Where its value lies; none where the vault does not know it yet.
    source: Option<String>,
    /// Agents whose permissions let them use it.
    pub(super) agents: BTreeSet<String>,
    /// Agents that did.
    used_by: BTreeSet<String>,
    #[serde(flatten)]
    pub(super) times: Times,
    /// When its present value was stored; of one that lies elsewhere nothing is known.
    pub(super) stored: Option<Timestamp>,
    /// Answers of its service that it may not do that.
    forbidden: u64,
    /// What its service says that it may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<String>>,
    /// Scopes that no permission needs.
    pub(super) beyond: Vec<String>,
    /// Why its service was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_asked: Option<String>,
}

/// Every credential of the configuration and of the vault.
pub(super) async fn all(
    local: &Local,
    (document, rules): (&Document, &Rules),
    using: &Use,
) -> anyhow::Result<Vec<Held>> {
    let mut all: BTreeMap<CredentialName, Held> = BTreeMap::new();
    let declared = document.credentials.iter().filter_map(|(name, entry)| {
        let service = entry.service.as_ref().map(|service| service.value.clone());
        let source = entry.from.as_ref().map(|from| from.value.clone());
        Some((CredentialName::new(&name.value).ok()?, service, source, None))
    });
    let vault = local.vault().await?;
    let mut known = Vec::new();
    for summary in vault.list(&local.tenant).await?.into_iter().filter(|summary| !summary.revoked) {
        let stored = (summary.source == "built-in").then(|| summary.versions.first().map(|version| version.created));
        let service = summary.service.map(|service| service.to_string());
        known.push((summary.name, service, Some(summary.source), stored.flatten()));
    }
    let agents: Vec<AgentName> = rules.agent_names().filter_map(|name| AgentName::new(name).ok()).collect();
    for (name, service, source, stored) in declared.chain(known) {
        let key = name.clone();
        let may = |agent: &&AgentName| rules.credentials_of(agent).contains(&&key);
        let held = all.entry(key.clone()).or_insert_with(|| Held {
            agents: agents.iter().filter(may).map(ToString::to_string).collect(),
            used_by: using.users.get(name.as_str()).cloned().unwrap_or_default(),
            times: using.credentials.get(name.as_str()).cloned().unwrap_or_default(),
            forbidden: using.forbidden.get(name.as_str()).copied().unwrap_or(0),
            name,
            is_declared: document.credentials.get(key.as_str()).is_some(),
            service: None,
            source: None,
            stored: None,
            scopes: None,
            beyond: Vec::new(),
            not_asked: None,
        });
        held.service = held.service.take().or(service);
        held.source = source.or(held.source.take());
        held.stored = stored.or(held.stored);
    }
    Ok(all.into_values().collect())
}

impl Held {
    /// Asks its service what it may do, and compares that with what permissions need.
    pub(super) async fn ask(
        &mut self,
        ambient: &Ambient,
        config: Option<&Path>,
        (catalog, permissions): (&Catalog, &[Permission]),
    ) {
        match credential_test(ambient, (&self.name, None), config).await {
            Ok(Tested { failure: Some(why), .. }) => self.not_asked = Some(why),
            Ok(Tested { failure: None, scopes, .. }) => {
                let service = self.service.as_deref().and_then(|name| catalog.service(name));
                let mine = |permission: &&Permission| permission.granted.credentials.contains(&self.name);
                let needed: BTreeSet<&str> = permissions
                    .iter()
                    .filter(mine)
                    .flat_map(|permission| permission.granted.actions.iter().map(String::as_str))
                    .collect();
                let beyond = |scope: &&String| {
                    let lets = service.and_then(|service| service.token_scope(scope));
                    lets.is_some_and(|actions| !actions.iter().any(|action| needed.contains(action.as_str())))
                };
                self.beyond = scopes.iter().flatten().filter(beyond).cloned().collect();
                self.scopes = scopes;
            }
            Err(error) if error.downcast_ref::<Usage>().is_some() => self.not_asked = Some(error.to_string()),
            Err(error) => self.not_asked = Some(format!("{error:#}")),
        }
    }

    /// Whether its service told what it may do, or it belongs to another configuration.
    pub(super) fn told(&self) -> bool {
        self.scopes.is_some() || !self.is_declared
    }

    pub(super) fn words(&self) -> String {
        let mut text = format!("  {}", self.name);
        let mut add = |part: String| text = format!("{text}{part}");
        self.service.iter().for_each(|service| add(format!(" of {service}")));
        self.source.iter().for_each(|source| add(format!(" from {source}")));
        add(if self.agents.is_empty() {
            if self.is_declared { ": no permission names it" } else { ": not of this configuration" }.to_owned()
        } else {
            format!(": for {}", some(self.agents.iter().map(String::as_str)))
        });
        add(match self.times.last {
            None => ", not used".to_owned(),
            Some(last) => {
                let by = some(self.used_by.iter().map(String::as_str));
                format!(", used {} by {by}, last {last}", self.times.words())
            }
        });
        self.stored.iter().for_each(|stored| add(format!(", stored {stored}")));
        if self.forbidden > 0 {
            add(format!(", refused by its service {} times (403)", self.forbidden));
        }
        match &self.scopes {
            Some(scopes) if !scopes.is_empty() => add(format!(", may: {}", some(scopes.iter().map(String::as_str)))),
            _ => {}
        }
        self.not_asked.iter().for_each(|why| add(format!(", not asked: {why}")));
        text
    }
}
