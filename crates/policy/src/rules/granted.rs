//! What permissions grant, for people who review them.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::vocabulary::Vocabulary;
use model::{AgentName, Class, CredentialName};
use serde::Serialize;

use super::{Kind, Rule, Rules, Uses};
use crate::compare::cells::items;
use crate::compile::actions::{Selector, guards};
use crate::compile::pattern::Pattern;

/// One permission as it was written, with what it comes to.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Granted {
    /// Its id: `refactoring-bot/1`.
    pub rule: Arc<str>,
    /// Whose; none for every agent.
    pub agent: Option<AgentName>,
    /// Of which service; none for every one.
    pub service: Option<String>,
    /// Its words for actions; methods and endpoints where it has none.
    pub words: Vec<String>,
    /// The known actions that it covers, by id.
    pub actions: BTreeSet<String>,
    /// Its resources.
    pub resources: Vec<String>,
    /// The credentials that it lets the agent use.
    pub credentials: Vec<CredentialName>,
    /// It changes something.
    pub changes: bool,
    /// It covers by a class, an effect, `*` or by methods and paths, on every resource, more than reads.
    pub is_wide: bool,
    /// It has a limit, a bound or asks a person: something stops it from going on for ever.
    pub is_held: bool,
    /// It covers what always asks, and says that nobody is asked.
    pub is_unasked: bool,
}

impl Rules {
    /// Every permission that somebody wrote; not what permissions imply and profiles bring.
    #[must_use]
    pub fn granted(&self, words: &Vocabulary) -> Vec<Granted> {
        let written = |rule: &&Rule| {
            let id = &rule.id;
            rule.kind == Kind::Permit && !id.starts_with("profile/") && !id.ends_with("/implied")
        };
        self.list.iter().filter(written).map(|rule| self.of_rule(rule, words)).collect()
    }

    fn of_rule(&self, rule: &Rule, words: &Vocabulary) -> Granted {
        let services = words.services.iter().filter(|(name, _)| rule.service.as_ref().is_none_or(|of| of == *name));
        let (mut actions, mut changes, mut asks) = (BTreeSet::new(), rule.raw.is_some(), false);
        for (name, words) in services {
            for item in items([words].into_iter()) {
                let Some(call) = item.call() else { continue };
                if rule.raw.is_some() && rule.actions.is_empty() || !rule.names(name, &call) {
                    continue;
                }
                changes |= item.class > Class::Read;
                asks |= guards(item.class, item.effects);
                if words.actions.contains_key(&item.id) {
                    actions.insert(item.id);
                }
            }
        }
        let said: Vec<serde_json::Value> = rule.conditions.iter().filter_map(|condition| condition.explain()).collect();
        let says = |kind: &str, of: &[&str]| {
            said.iter().filter(|value| value.get("kind").is_some_and(|known| known == kind)).any(|value| {
                let word = value.get(kind).and_then(serde_json::Value::as_str).unwrap_or_default();
                of.is_empty() || of.contains(&word)
            })
        };
        let raw = rule.raw.iter().flat_map(|raw| raw.methods.iter().chain(&raw.endpoints)).cloned();
        let by_id = |named: &crate::compile::actions::Named| matches!(named.selector, Selector::Ids(..));
        let everywhere = rule.resources.iter().any(Pattern::is_any);
        Granted {
            rule: Arc::clone(&rule.id),
            agent: rule.agent.clone(),
            service: rule.service.clone(),
            words: rule.actions.iter().map(|named| named.word.clone()).chain(raw).collect(),
            resources: rule.resources.iter().map(|pattern| pattern.text().to_owned()).collect(),
            credentials: match &rule.uses {
                Uses::Named(name) => vec![name.clone()],
                Uses::OfService => rule.service.as_deref().map_or_else(Vec::new, |of| self.choices(rule, of).to_vec()),
            },
            is_wide: everywhere && changes && (rule.actions.is_empty() || !rule.actions.iter().all(by_id)),
            is_held: says("limit", &[]) || says("max", &[]) || says("approval", &["required", "once-per-session"]),
            is_unasked: asks && says("approval", &["none"]),
            actions,
            changes,
        }
    }
}
