//! Sets of actions that agents ask for by name.

use std::collections::BTreeMap;

use model::vocabulary::ServiceWords;

use super::pattern::Pattern;
use super::{Compiler, actions, unknown};
use crate::document::{At, Capability, Document};
use crate::grant::Asked;

impl Compiler<'_> {
    /// All of them, checked against what the services know.
    pub(super) fn capabilities(&mut self, document: &Document) -> BTreeMap<String, Vec<Asked>> {
        let file = document.some_file();
        let mut all = BTreeMap::new();
        for (name, parts) in &document.capabilities {
            if parts.is_empty() {
                self.say(&file, name, "a capability set names at least one service with actions", None);
            }
            let parts = parts.iter().filter_map(|part| self.part(&file, name, &part.value));
            all.insert(name.value.clone(), parts.collect());
        }
        all
    }

    fn part(&mut self, file: &str, name: &At<String>, written: &Capability) -> Option<Asked> {
        let vocabulary = self.vocabulary;
        let Some(at) = &written.service else {
            self.say(file, name, "a part of this capability set names no service; add `service`", None);
            return None;
        };
        let Some(words) = vocabulary.services.get(&at.value) else {
            self.problems.push(unknown(file, at, "service", vocabulary.services.keys()));
            return None;
        };
        if written.actions.is_empty() {
            self.say(file, at, "a part of a capability set names no action; add `actions`", None);
        }
        for word in &written.actions {
            if let Err((message, nearest)) = actions::read(&word.value, Some((at.value.as_str(), words))) {
                self.say(file, word, message, nearest);
            }
        }
        let kinds = kinds(words);
        for word in &written.resources {
            if let Err((message, nearest)) = Pattern::parse(&word.value, &kinds) {
                self.say(file, word, message, nearest);
            }
        }
        let texts = |words: &crate::document::Words| words.iter().map(|word| word.value.clone()).collect();
        Some(Asked {
            service: at.value.clone(),
            actions: texts(&written.actions),
            resources: texts(&written.resources),
        })
    }
}

/// The kinds of resource that a service has.
pub(crate) fn kinds(words: &ServiceWords) -> Vec<String> {
    let mut kinds: Vec<String> = words.kinds.iter().chain(words.parents.values()).cloned().collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
