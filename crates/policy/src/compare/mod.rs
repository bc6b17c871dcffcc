//! What is newly allowed or denied between two policies, in words.
//!
//! Requests are sorted into kinds that neither policy tells apart (`regions`, `cells`), each is judged once by each policy
//! with the engine that judges real requests (`outcome`), and what differs is put together again into few lines (`say`).
//! Nothing here matches anything itself. Conditions are compared as they are written: a kind of request whose outcomes are
//! equal is decided alike at any time, for any user, task and facts.

pub(crate) mod cells;
mod glob;
mod hosts;
mod outcome;
mod regions;
pub(crate) mod say;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use model::vocabulary::Vocabulary;
use model::{AgentName, SessionId, Tenant, Timestamp};
use serde::Serialize;

pub use outcome::{Outcome, Term, Way};

use crate::Subject;
use crate::document::{Egress, Mode};
use crate::rules::Rules;

/// The name under which every agent that neither policy names is judged, longer where one has it.
pub(crate) const OTHERS: &str = "any-other-agent";

/// A policy with the words that it was compiled with.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// What runs.
    pub rules: &'a Rules,
    /// The words of its services.
    pub words: &'a Vocabulary,
}

/// In which direction something differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Denied before, allowed now.
    MayNow,
    /// Allowed before, denied now.
    MayNoLonger,
    /// Allowed before and now, under other conditions.
    Changed,
}

/// Requests of one kind that are decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Difference {
    /// Whose; empty for every agent.
    pub agents: Vec<String>,
    /// In which direction.
    pub change: Change,
    /// Of which service; none for hosts that no service knows.
    pub service: Option<String>,
    /// What is asked, in the words of `actions`: ids, classes, effects, `*`. Empty for hosts.
    pub actions: Vec<String>,
    /// The same as ids, each once.
    pub ids: Vec<String>,
    /// On what, in the words of `resources`.
    pub resources: Vec<String>,
    /// Hosts that no service knows.
    pub hosts: Vec<String>,
    /// By which methods under which paths, where that matters.
    pub by: Vec<String>,
    /// One resource or host of the kind.
    pub example: String,
    /// What the old policy says.
    pub was: Outcome,
    /// What the new one says.
    pub becomes: Outcome,
}

/// A setting of the whole policy that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub setting: &'static str,
    /// The old value.
    pub was: String,
    /// The new value.
    pub becomes: String,
}

/// All that differs between two policies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Settings.
    pub settings: Vec<Setting>,
    /// Requests.
    pub differences: Vec<Difference>,
    /// Kinds of requests that were judged twice.
    pub compared: u64,
}

/// Patterns or paths that can meet in more ways than are looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the patterns of {agent} for {service} can meet in too many ways to compare them all; write fewer patterns with several `*`, or compare one agent with --agent"
)]
pub struct TooMany {
    agent: String,
    service: String,
}

impl Comparison {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.settings.is_empty() && self.differences.is_empty()
    }
}

/// Compares two policies for every agent, or for one.
///
/// # Errors
/// [`TooMany`].
pub fn compare(old: Policy<'_>, new: Policy<'_>, agent: Option<&AgentName>) -> Result<Comparison, TooMany> {
    let sides = [old, new];
    let names: Vec<AgentName> = match agent {
        Some(agent) => vec![agent.clone()],
        None => agents(&sides),
    };
    let mut comparison = Comparison { settings: settings(old.rules, new.rules), ..Comparison::default() };
    let mut found: BTreeMap<Difference, BTreeSet<String>> = BTreeMap::new();
    for name in &names {
        let subject = subject(name);
        let mut differences = hosts::compare(&sides, &subject, &mut comparison.compared);
        let services: BTreeSet<&String> = sides.iter().flat_map(|side| side.words.services.keys()).collect();
        for service in services {
            differences.extend(cells::compare(&sides, &subject, service, &mut comparison.compared)?);
        }
        for difference in differences {
            found.entry(difference).or_default().insert(name.to_string());
        }
    }
    let everyone = |mine: &BTreeSet<String>| agent.is_none() && mine.len() == names.len();
    let other = others(&sides);
    comparison.differences = found
        .into_iter()
        .map(|(difference, mine)| {
            let named =
                |name: String| if agent.is_none() && name == other { "any other agent".to_owned() } else { name };
            let agents = if everyone(&mine) { Vec::new() } else { mine.into_iter().map(named).collect() };
            Difference { agents, ..difference }
        })
        .collect();
    comparison.differences.sort();
    Ok(comparison)
}

/// Everyone whom a policy names, and one whom none names.
fn agents(sides: &[Policy<'_>; 2]) -> Vec<AgentName> {
    let named = sides.iter().flat_map(|side| side.rules.agents.keys()).map(String::as_str);
    let other = others(sides);
    let all: BTreeSet<&str> = named.filter(|name| *name != "*").chain([other.as_str()]).collect();
    all.into_iter().filter_map(|name| AgentName::new(name).ok()).collect()
}

/// A name that neither policy names.
fn others(sides: &[Policy<'_>; 2]) -> String {
    let mut name = OTHERS.to_owned();
    while sides.iter().any(|side| side.rules.agents.contains_key(&name)) {
        name.push('-');
    }
    name
}

/// Somebody whom no rule names, about whom policy is asked before anybody is known.
pub(crate) fn nobody(rules: &Rules) -> Option<AgentName> {
    let mut name = OTHERS.to_owned();
    while rules.agents.contains_key(&name) {
        name.push('-');
    }
    AgentName::new(&name).ok()
}

pub(crate) fn subject(agent: &AgentName) -> Subject {
    Subject {
        tenant: Tenant::local(),
        agent: agent.clone(),
        user: None,
        roles: Vec::new(),
        task: None,
        session: SessionId::from_bits(0),
        session_started: Timestamp(0),
        source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

fn settings(old: &Rules, new: &Rules) -> Vec<Setting> {
    let mode = |rules: &Rules| match rules.mode() {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    };
    let egress = |rules: &Rules| match rules.egress {
        Some(Egress::Open) => "open",
        Some(Egress::Known) => "known",
        Some(Egress::Closed) => "closed",
        None => "asks",
    };
    let kind = |rules: &Rules| if rules.is_guarded() { "guarded" } else { "of agents" };
    let pairs =
        [("policy", kind(old), kind(new)), ("mode", mode(old), mode(new)), ("egress", egress(old), egress(new))];
    let differs = |(setting, was, becomes): (&'static str, &str, &str)| {
        (was != becomes).then(|| Setting { setting, was: was.to_owned(), becomes: becomes.to_owned() })
    };
    pairs.into_iter().filter_map(differs).collect()
}
