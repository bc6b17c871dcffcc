//! Refuses rules of one agent that could pick two credentials for the same call.

use std::collections::BTreeSet;

use model::vocabulary::ServiceWords;

use super::Compiler;
use super::actions::{Selector, guards};
use super::pattern::Pattern;
use crate::document::{Agent, At};
use crate::fallback;
use crate::rules::{Kind, Rule, Uses};

/// Compares the permissions of one agent with one another.
pub(super) fn check(rules: &[Rule], agent: &Agent, compiler: &mut Compiler<'_>) {
    let named: Vec<(&Rule, &model::CredentialName)> = rules
        .iter()
        .filter(|rule| rule.kind == Kind::Permit)
        .filter_map(|rule| match &rule.uses {
            Uses::Named(name) => Some((rule, name)),
            Uses::OfService => None,
        })
        .collect();
    // Quadratic only among rules that name different credentials of one service, which few do.
    for (at, (second, theirs)) in named.iter().enumerate() {
        let earlier = named
            .iter()
            .take(at)
            .filter(|(first, ours)| ours != theirs && first.service == second.service)
            // What stands in for the other is chosen when that one fails, and not before.
            .filter(|(_, ours)| !fallback::is_behind(compiler.credentials, ours, theirs))
            .filter(|(_, ours)| !fallback::is_behind(compiler.credentials, theirs, ours))
            .find(|(first, _)| meet(first, second, compiler));
        let Some((first, ours)) = earlier else { continue };
        let place = place(&second.id, agent);
        let text = format!(
            "rule could pick two credentials: `{theirs}` here and `{ours}` by {}; let the rules differ in action or resource",
            first.id
        );
        compiler.say(&agent.file, &place.with(theirs.to_string()), text, None);
    }
}

/// Where the permission's credential was written; its number is the last part of its id.
fn place(id: &str, agent: &Agent) -> At<String> {
    let number = id.rsplit('/').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(1);
    let permission = agent.permissions.get(number.saturating_sub(1));
    let credential = permission.and_then(|permission| permission.value.credential.clone());
    credential.unwrap_or_else(|| At::nowhere(String::new()))
}

fn meet(first: &Rule, second: &Rule, compiler: &Compiler<'_>) -> bool {
    let resources = first.resources.iter().any(|ours| second.resources.iter().any(|theirs| ours.may_meet(theirs)));
    resources && actions_meet(first, second, compiler)
}

fn actions_meet(first: &Rule, second: &Rule, compiler: &Compiler<'_>) -> bool {
    if let (Some(ours), Some(theirs)) = (&first.raw, &second.raw) {
        let apart = |ours: &[String], theirs: &[String]| {
            !ours.is_empty() && !theirs.is_empty() && !ours.iter().any(|one| theirs.contains(one))
        };
        if apart(&ours.methods, &theirs.methods) || endpoints_apart(&ours.endpoints, &theirs.endpoints) {
            return false;
        }
    }
    let words = first.service.as_ref().and_then(|service| compiler.vocabulary.services.get(service));
    let Some(words) = words else { return true };
    let (ours, theirs) = (covered(first, words), covered(second, words));
    let unknown_paths = |rule: &Rule| rule.actions.iter().all(|named| !matches!(named.selector, Selector::Ids(..)));
    ours.intersection(&theirs).next().is_some()
        || (words.actions.is_empty() && unknown_paths(first) && unknown_paths(second))
}

fn endpoints_apart(ours: &[String], theirs: &[String]) -> bool {
    let under =
        |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !ours.is_empty()
        && !theirs.is_empty()
        && !ours.iter().any(|one| theirs.iter().any(|other| under(one, other) || under(other, one)))
}

/// The actions of the service that a rule covers.
fn covered<'a>(rule: &'a Rule, words: &'a ServiceWords) -> BTreeSet<&'a str> {
    let mut all = BTreeSet::new();
    for (id, action) in &words.actions {
        let guarded = guards(action.class, action.effects);
        let by = |selector: &Selector| match selector {
            Selector::Ids(..) => false,
            Selector::Class(class) => action.class == *class && !guarded,
            Selector::Effect(effect) => action.effects.contains(*effect),
            Selector::All | Selector::Tier(_) => !guarded,
        };
        let raw = rule.actions.is_empty() && rule.raw.is_some() && !guarded;
        if raw || rule.actions.iter().any(|named| by(&named.selector)) {
            all.insert(id.as_str());
        }
    }
    for named in &rule.actions {
        if let Selector::Ids(_, ids) = &named.selector {
            all.extend(ids.iter().map(String::as_str));
        }
    }
    all
}

impl Pattern {
    /// Whether some resource may be covered by both. Errs on the side of yes.
    fn may_meet(&self, other: &Self) -> bool {
        let differ = |one: &str, two: &str| !one.contains('*') && !two.contains('*') && one != two;
        let (ours, theirs) = (self.segments(), other.segments());
        let tails = matches!((self.tail(), other.tail()), (Some(one), Some(two)) if tails_apart(one, two));
        !ours.iter().zip(theirs).any(|(one, two)| differ(one, two)) && !tails
    }
}

/// Two tails that no text can match both: what stands before their first `*` disagrees.
fn tails_apart(one: &str, two: &str) -> bool {
    let head = |text: &str| text.split('*').next().unwrap_or_default().to_owned();
    let (ours, theirs) = (head(one), head(two));
    if one.contains('*') && two.contains('*') {
        return !ours.starts_with(&theirs) && !theirs.starts_with(&ours);
    }
    !super::pattern::glob(one, two) && !super::pattern::glob(two, one)
}
