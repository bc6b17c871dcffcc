//! What will run: compiled rules, and the decision.

mod credential;
mod decide;
mod explain;
mod granted;
mod host;
pub(crate) mod index;
pub(crate) mod judge;
pub(crate) mod offer;
mod possible;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use cedar_policy::PolicySet;
use cedar_policy_core::ast::Expr;
use model::{AgentName, CredentialName, Rank, ServiceName};

pub(crate) use decide::strictest;
pub use explain::Explained;
pub use granted::Granted;

use crate::alert::Alerts;
use crate::compile::actions::{Named, Raw};
use crate::compile::expression::Looks;
use crate::compile::pattern::Pattern;
use crate::compile::rule::Terms;
use crate::condition::{Condition, Needs};
use crate::document::{Egress, Inject, Mode};
use crate::fallback::Fallback;
use crate::grant::Asked;
use crate::profile::{Profile, State};
use index::Index;
use judge::Judge;

/// Which credentials a permission lets the agent use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Uses {
    /// This one.
    Named(CredentialName),
    /// Every one of the call's service.
    OfService,
}

/// Permission or denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Permit,
    Deny,
}

/// One compiled rule.
pub(crate) struct Rule {
    pub(crate) id: Arc<str>,
    pub(crate) kind: Kind,
    /// None for every agent.
    pub(crate) agent: Option<AgentName>,
    /// None for every service.
    pub(crate) service: Option<String>,
    /// Empty for rules that only know methods and endpoints.
    pub(crate) actions: Vec<Named>,
    pub(crate) raw: Option<Raw>,
    pub(crate) resources: Vec<Pattern>,
    pub(crate) uses: Uses,
    /// What its counters are named after; empty where it has none of its own.
    pub(crate) key: Arc<str>,
    pub(crate) conditions: Vec<Box<dyn Condition>>,
    pub(crate) terms: Terms,
    pub(crate) needs: Needs,
    /// What its `when` looks at.
    pub(crate) looks: Looks,
    /// Cedar text of exactly the policy below.
    pub(crate) cedar: String,
    pub(crate) policy: PolicySet,
    /// Scope and conditions of that policy as one expression.
    pub(crate) condition: Expr,
}

impl fmt::Debug for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.cedar)
    }
}

impl Rule {
    /// Whether it is about this agent at this service.
    pub(crate) fn is_for(&self, agent: &AgentName, service: &str) -> bool {
        self.agent.as_ref().is_none_or(|name| name == agent) && self.is_at(service)
    }

    /// Whether it is about this service.
    pub(crate) fn is_at(&self, service: &str) -> bool {
        self.service.as_deref().is_none_or(|of| of == service)
    }
}

/// What is known of one service.
#[derive(Debug, Default)]
pub(crate) struct Service {
    /// A kind of resource and all that contain it, nearest first.
    pub(crate) within: HashMap<String, Vec<String>>,
    /// Action id to its best-known alias.
    pub(crate) alias_of: HashMap<String, String>,
    /// Its credentials.
    pub(crate) credentials: Vec<CredentialName>,
    /// Its hosts, so that a profile that names one names the service.
    pub(crate) hosts: Vec<String>,
    /// Kinds of resource whose segments it compares without regard to case.
    pub(crate) case_blind: Vec<String>,
}

/// What is known of one agent.
#[derive(Debug, Default)]
pub(crate) struct AgentFacts {
    /// The services that some permission of it names.
    pub(crate) services: Vec<String>,
    /// It is written in aliases, so refusals speak them.
    pub(crate) speaks_aliases: bool,
}

/// A credential's metadata.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialFacts {
    pub(crate) service: Option<ServiceName>,
    pub(crate) inject: Inject,
    /// Hosts that it is bound to where no service knows them.
    pub(crate) hosts: Vec<String>,
    /// What stands in for it.
    pub(crate) fallback: Option<Fallback>,
}

/// Everything that is decided by, compiled; immutable.
#[derive(Debug)]
pub struct Rules {
    pub(crate) list: Vec<Rule>,
    pub(crate) index: Index,
    pub(crate) judge: Judge,
    pub(crate) services: HashMap<String, Service>,
    pub(crate) agents: HashMap<String, AgentFacts>,
    pub(crate) credentials: BTreeMap<CredentialName, CredentialFacts>,
    pub(crate) profiles: Vec<&'static Profile>,
    /// None under the guarded policy, unless written.
    pub(crate) egress: Option<Egress>,
    pub(crate) mode: Mode,
    pub(crate) guarded: bool,
    pub(crate) alerts: Alerts,
    pub(crate) capabilities: BTreeMap<String, Vec<Asked>>,
}

impl Rules {
    /// All rules as Cedar text, for operators to read.
    #[must_use]
    pub fn cedar(&self) -> String {
        self.list.iter().map(|rule| rule.cedar.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Folders and files below the home in which programs keep their state: those of the profiles, of all of them under the guarded
    /// policy, which names none.
    #[must_use]
    pub fn state(&self) -> Vec<&'static State> {
        let of = |profile: &'static Profile| profile.state.iter();
        if self.guarded {
            return crate::profile::names().filter_map(crate::profile::get).flat_map(of).collect();
        }
        self.profiles.iter().copied().flat_map(of).collect()
    }

    /// Whether this is the guarded policy.
    #[must_use]
    pub const fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// Whether decisions are enforced or only recorded.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What is an alert, and what is done about it.
    #[must_use]
    pub const fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// The lowest rank of a sighting for which a session or its agent is stopped; none where that is only recorded.
    #[must_use]
    pub fn stops_from(&self) -> Option<Rank> {
        self.alerts.stops_from().filter(|_| self.mode != Mode::Observe)
    }

    /// Whether a credential stands in for its placeholder or is put on every request.
    #[must_use]
    pub fn inject(&self, credential: &CredentialName) -> Inject {
        self.credentials.get(credential).map(|facts| facts.inject).unwrap_or_default()
    }

    /// The service that a credential is for.
    #[must_use]
    pub fn service_of(&self, credential: &CredentialName) -> Option<&ServiceName> {
        self.credentials.get(credential).and_then(|facts| facts.service.as_ref())
    }

    /// What stands in for a credential that fails.
    #[must_use]
    pub fn fallback(&self, credential: &CredentialName) -> Option<&Fallback> {
        self.credentials.get(credential).and_then(|facts| facts.fallback.as_ref())
    }

    /// The credentials that some permission of an agent lets it use: those that its sessions need placeholders for.
    #[must_use]
    pub fn credentials_of(&self, agent: &AgentName) -> Vec<&CredentialName> {
        let mine = |rule: &&Rule| rule.kind == Kind::Permit && rule.agent.as_ref().is_none_or(|name| name == agent);
        let uses = |credential: &CredentialName, facts: &CredentialFacts| {
            self.list.iter().filter(mine).any(|rule| match &rule.uses {
                Uses::Named(name) => name == credential,
                Uses::OfService => {
                    let service = facts.service.as_ref().map(ServiceName::as_str);
                    rule.service.is_none() || rule.service.as_deref() == service
                }
            })
        };
        self.credentials.iter().filter(|(name, facts)| uses(name, facts)).map(|(name, _)| name).collect()
    }

    /// The agents that the configuration names.
    pub fn agent_names(&self) -> impl Iterator<Item = &str> {
        self.agents.keys().map(String::as_str)
    }

    /// Whether it says something of every agent, named or not.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.agents.contains_key("*")
    }

    /// Whether the configuration names this agent.
    #[must_use]
    pub fn knows_agent(&self, agent: &AgentName) -> bool {
        self.guarded || self.agents.contains_key(agent.as_str())
    }
}
