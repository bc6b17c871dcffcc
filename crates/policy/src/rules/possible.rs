//! What might be allowed, or asked, before it is: which tools an agent is shown, which facts matter.

use model::call::Prospect;
use model::{AgentName, Call, Facts, Resource, ServiceName};

use super::{Kind, Rule, Rules};
use crate::compile::pattern::{Pattern, glob};
use crate::document::Mode;

impl Rules {
    /// Whether some call of each of these kinds might be allowed to the agent. No promise: conditions, limits and people are not asked,
    /// and neither are resources that only arguments will tell. What is not possible is certain to be denied, but for what changes.
    #[must_use]
    pub fn might_allow(&self, agent: &AgentName, service: &ServiceName, all: &[Prospect]) -> bool {
        self.mode == Mode::Observe || all.iter().all(|prospect| self.one_possible(agent, service.as_str(), prospect))
    }

    /// Whether a rule that may hold for the agent at this service speaks of a fact.
    #[must_use]
    pub fn may_ask(&self, agent: &AgentName, service: &ServiceName, fact: &str) -> bool {
        let asks = |rule: &Rule| rule.looks.facts.iter().any(|known| known == fact);
        self.list.iter().any(|rule| rule.is_for(agent, service.as_str()) && asks(rule))
    }

    /// Whether some call of one of these kinds might be allowed on what is within this first segment: a database, a bucket. No promise
    /// either; what is not possible is certain to be denied.
    #[must_use]
    pub fn may_reach(&self, agent: &AgentName, service: &ServiceName, any: &[Prospect], within: &str) -> bool {
        let there = |pattern: &Pattern| {
            pattern.is_any() || pattern.segments().first().is_some_and(|segment| glob(segment, within))
        };
        self.mode == Mode::Observe
            || self.list.iter().filter(|rule| rule.kind == Kind::Permit && rule.is_for(agent, service.as_str())).any(
                |rule| {
                    rule.resources.iter().any(there)
                        && any.iter().any(|prospect| {
                            prospect.forms.iter().any(|(class, effects)| {
                                let call = Call {
                                    action: prospect.action.clone(),
                                    class: *class,
                                    effects: *effects,
                                    resource: Resource::new("resource:/"),
                                    facts: Facts::default(),
                                };
                                rule.names(service.as_str(), &call)
                            })
                        })
                },
            )
    }

    fn one_possible(&self, agent: &AgentName, service: &str, prospect: &Prospect) -> bool {
        let resource = prospect.resource.clone().unwrap_or_else(|| Resource::new("resource:/"));
        let parts = self.parts(service, &resource);
        let mine = |rule: &&Rule| rule.is_for(agent, service);
        prospect.forms.iter().any(|(class, effects)| {
            let call = Call {
                action: prospect.action.clone(),
                class: *class,
                effects: *effects,
                resource: resource.clone(),
                facts: Facts::default(),
            };
            let names = |rule: &Rule| rule.names(service, &call);
            let there = |pattern: &Pattern| pattern.is_any() || prospect.resource.is_some() && pattern.covers(&parts);
            let permits =
                |rule: &Rule| names(rule) && (prospect.resource.is_none() || rule.resources.iter().any(there));
            // By methods and endpoints, or under conditions, a denial is not certain.
            let denies = |rule: &Rule| {
                rule.conditions.is_empty() && rule.raw.is_none() && names(rule) && rule.resources.iter().any(there)
            };
            let mut permitted = false;
            for rule in self.list.iter().filter(mine) {
                match rule.kind {
                    Kind::Permit => permitted |= permits(rule),
                    Kind::Deny if denies(rule) => return false,
                    Kind::Deny => {}
                }
            }
            permitted
        })
    }
}
