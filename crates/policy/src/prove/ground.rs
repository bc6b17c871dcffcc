//! A statement's scope in the words of one service.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::ServiceWords;

use super::statement::Coverage;
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

/// The kinds of resource of a service.
fn kinds(words: &ServiceWords) -> impl Iterator<Item = String> + '_ {
    words.kinds.iter().chain(words.parents.values()).cloned()
}

impl Ground {
    /// Reads the words of a scope that is about one service.
    pub(super) fn read(scope: &Coverage, known: (&str, &ServiceWords), say: Say<'_>) -> Self {
        let all: BTreeSet<String> = kinds(known.1).collect();
        let all: Vec<String> = all.into_iter().collect();
        Self::of(scope, Some(known), (&all, &known.1.case_blind), say)
    }

    /// Says what is wrong with the words of a scope that is about every service.
    pub(super) fn check(scope: &Coverage, services: &BTreeMap<String, ServiceWords>, say: Say<'_>) {
        let all: BTreeSet<String> = services.values().flat_map(kinds).collect();
        let all: Vec<String> = all.into_iter().collect();
        Self::of(scope, None, (&all, &[]), say);
    }

    /// The same words for one service among all: it compares names as it does.
    pub(super) fn of_any(scope: &Coverage, words: &ServiceWords) -> Self {
        Self::of(scope, None, (&[], &words.case_blind), &mut |_, _, _| {})
    }

    fn of(
        scope: &Coverage,
        known: Option<(&str, &ServiceWords)>,
        (kinds, blind): (&[String], &[String]),
        say: Say<'_>,
    ) -> Self {
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
        let mut patterns = |words: &Words| {
            let read = |at: &At<String>| match Pattern::parse(&at.value, kinds) {
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
