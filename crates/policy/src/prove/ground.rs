//! A statement's scope in the words of one service.

use std::collections::BTreeSet;

use model::vocabulary::ServiceWords;

use super::statement::Scope;
use crate::compile::actions::{self, Named};
use crate::compile::pattern::Pattern;
use crate::document::{At, Words};

/// Takes a word that is wrong: what, why, and the nearest valid one.
pub(super) type Say<'a> = &'a mut dyn FnMut(&At<String>, String, Option<String>);

/// A statement's scope in the words of one service.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) actions: Vec<Named>,
    pub(super) except: Vec<Named>,
    pub(super) resources: Vec<Pattern>,
    pub(super) spared: Vec<Pattern>,
}

impl Ground {
    /// Reads the words of a scope; none of a service where every service is meant.
    pub(super) fn read(scope: &Scope, known: Option<(&str, &ServiceWords)>, say: Say<'_>) -> Self {
        let mut actions = |words: &Words| {
            let read = |at: &At<String>| match actions::read(&at.value, known) {
                Ok(named) => Some(named),
                Err((message, near)) => {
                    say(at, message, near);
                    None
                }
            };
            words.iter().filter_map(read).collect::<Vec<Named>>()
        };
        let (covered, except) = (actions(&scope.actions), actions(&scope.except_actions));
        let kinds =
            known.map(|(_, words)| words.kinds.iter().chain(words.parents.values()).cloned().collect::<BTreeSet<_>>());
        let kinds: Vec<String> = kinds.into_iter().flatten().collect();
        let blind = known.map_or(&[][..], |(_, words)| words.case_blind.as_slice());
        let mut patterns = |words: &Words| {
            let read = |at: &At<String>| match Pattern::parse(&at.value, &kinds) {
                Ok(pattern) => Some(pattern.blind(blind)),
                Err((message, near)) => {
                    say(at, message, near);
                    None
                }
            };
            words.iter().filter_map(read).collect::<Vec<Pattern>>()
        };
        let (resources, spared) = (patterns(&scope.resources), patterns(&scope.except_resources));
        Self { actions: covered, except, resources, spared }
    }
}
