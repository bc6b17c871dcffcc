//! Finds the rules that can matter for one call without looking at the others.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::Rule;
use crate::compile::actions::Selector;
use crate::compile::pattern::{Parts, Pattern};

/// Numbers of rules that can matter.
pub(crate) type Candidates = SmallVec<[u32; 8]>;

/// Rules of one action, by resource.
#[derive(Debug, Default)]
struct Slot {
    /// Patterns without `*`.
    literal: HashMap<Box<str>, Vec<u32>>,
    /// Patterns whose first segment is without `*`.
    first: HashMap<Box<str>, Vec<u32>>,
    /// The rest.
    rest: Vec<u32>,
}

/// Rules of one agent and service.
#[derive(Debug, Default)]
struct Bucket {
    by_action: HashMap<Box<str>, Slot>,
    /// Rules by class, effect, method, or `*`.
    wide: Slot,
}

/// All rules: by agent (empty for every agent), then by service (empty for every service).
#[derive(Debug, Default)]
pub(crate) struct Index {
    buckets: HashMap<Box<str>, HashMap<Box<str>, Bucket>>,
}

impl Slot {
    fn add(&mut self, number: u32, patterns: &[Pattern]) {
        let push = |list: &mut Vec<u32>| {
            if list.last() != Some(&number) {
                list.push(number);
            }
        };
        for pattern in patterns {
            if pattern.is_any() {
                push(&mut self.rest);
            } else if pattern.is_literal() {
                push(self.literal.entry(pattern.text().into()).or_default());
            } else if let Some(first) = pattern.first() {
                push(self.first.entry(first.into()).or_default());
            } else {
                push(&mut self.rest);
            }
        }
    }

    fn find(&self, parts: &Parts<'_>, out: &mut Candidates) {
        out.extend_from_slice(&self.rest);
        if !self.literal.is_empty() {
            parts.covering(|text| out.extend_from_slice(self.literal.get(text).map_or(&[], Vec::as_slice)));
        }
        if let Some(list) = parts.segments.first().and_then(|first| self.first.get(first.as_ref())) {
            out.extend_from_slice(list);
        }
    }
}

impl Index {
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let agent = rule.agent.as_ref().map_or("", |name| name.as_str());
            let service = rule.service.as_deref().unwrap_or_default();
            let services = index.buckets.entry(agent.into()).or_default();
            if rule.actions.is_empty() {
                services.entry(service.into()).or_default().wide.add(number, &rule.resources);
            }
            for named in &rule.actions {
                match &named.selector {
                    Selector::Ids(of, ids) => {
                        let bucket = services.entry(of.as_str().into()).or_default();
                        for id in ids {
                            bucket.by_action.entry(id.as_str().into()).or_default().add(number, &rule.resources);
                        }
                    }
                    _ => services.entry(service.into()).or_default().wide.add(number, &rule.resources),
                }
            }
        }
        index
    }

    /// Rules that can matter, in order, each once. No rule that would apply is missing.
    pub(crate) fn candidates(&self, agent: &str, service: &str, action: &str, parts: &Parts<'_>) -> Candidates {
        let mut out = Candidates::new();
        for agent in [agent, ""] {
            let Some(services) = self.buckets.get(agent) else { continue };
            for service in [service, ""] {
                let Some(bucket) = services.get(service) else { continue };
                if let Some(slot) = bucket.by_action.get(action) {
                    slot.find(parts, &mut out);
                }
                bucket.wide.find(parts, &mut out);
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }
}
