//! What a permission implies: actions without which it would be worth nothing. Git lists the refs of a repository before it pushes to a
//! branch of it, so whoever may push to some branch may list them; the service file says so (`implied_by`).
//!
//! Nothing else is implied: the other action alone, on what contains the resources of the permission, under the same circumstances
//! (task, hours, source, user, role, expires, and `when` where it speaks of no facts: the other action has others). Limits, bounds and
//! questions are about the permission's own actions.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::vocabulary::{ActionWords, ServiceWords};

use super::Compiler;
use super::actions::{Named, Selector, guards};
use super::pattern::Pattern;
use super::rule::Draft;
use crate::condition::{Condition, Needs};
use crate::document::{At, Permission};
use crate::rules::Kind;

/// What stands behind the id of a permission in the id of what it implies.
const SUFFIX: &str = "implied";
/// The kind of a resource that is only the path of the request.
pub(crate) const PLACE: &str = "resource";

impl Compiler<'_> {
    /// The rules beside a permission, one for each kind of resource that an implied action acts on.
    pub(super) fn implied(&mut self, draft: &Draft, file: &str, permission: &At<Permission>) -> Vec<Draft> {
        let vocabulary = self.vocabulary;
        let known = draft.service.as_ref().and_then(|name| vocabulary.services.get_key_value(name));
        let Some((service, words)) = known.filter(|_| draft.kind == Kind::Permit) else { return Vec::new() };
        let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (id, action) in &words.actions {
            let by = |implying: &String| {
                let other = words.actions.get(implying);
                other.is_some_and(|other| draft.actions.iter().any(|named| covers(named, service, implying, other)))
            };
            if action.implied_by.iter().any(by) {
                by_kind.entry(&action.resource).or_default().push(id.clone());
            }
        }
        let mut all = Vec::new();
        for (kind, ids) in by_kind {
            let resources: Vec<Pattern> =
                draft.resources.iter().filter_map(|pattern| container(pattern, kind, words)).collect();
            if resources.is_empty() {
                continue;
            }
            let named = Named { word: ids.join(", "), selector: Selector::Ids(service.clone(), ids), alias: false };
            all.push(Draft {
                id: Arc::from(format!("{}/{SUFFIX}", draft.id)),
                kind: Kind::Permit,
                agent: draft.agent.clone(),
                service: draft.service.clone(),
                actions: vec![named],
                raw: None,
                resources,
                uses: draft.uses.clone(),
                conditions: self.circumstances((file, &draft.key), permission, (service, words)),
                terms: draft.terms,
                place: draft.place.clone(),
                key: Arc::clone(&draft.key),
            });
        }
        all
    }

    /// The conditions that say whether the permission applies. They are read again; what is wrong with them was said.
    fn circumstances(
        &mut self,
        (file, key): (&str, &str),
        permission: &At<Permission>,
        known: (&str, &ServiceWords),
    ) -> Vec<Box<dyn Condition>> {
        let before = self.problems.len();
        let mut all = self.conditions(file, permission, Some(known), key);
        self.problems.truncate(before);
        all.retain(|condition| {
            let Some(text) = condition.cedar() else { return false };
            !(condition.needs().has(Needs::FACTS) && text.contains("facts"))
        });
        all
    }
}

/// Whether a word of a permission covers an action of the service, whatever it acts on.
fn covers(named: &Named, service: &str, id: &str, action: &ActionWords) -> bool {
    let guarded = guards(action.class, action.effects);
    match &named.selector {
        Selector::Ids(of, ids) => of == service && ids.iter().any(|known| known == id),
        Selector::Class(class) => action.class == *class && !guarded,
        Selector::Effect(effect) => action.effects.contains(*effect),
        Selector::All => !guarded,
        Selector::Tier(_) => false,
    }
}

/// What of this kind contains the resources of a pattern: `repo:o/r` for `branch:o/r@agent/*`. The same pattern where it is of this
/// kind, or of one that contains it; nothing where the two are strangers. What acts on nothing but the place where it is asked for
/// is implied wherever the other may be done: a session of MCP is opened for every tool.
fn container(pattern: &Pattern, kind: &str, words: &ServiceWords) -> Option<Pattern> {
    if kind == PLACE {
        return Some(Pattern::any());
    }
    let Some(own) = pattern.kind() else { return Some(pattern.clone()) };
    let within = |inner: &str, outer: &str| {
        let mut at = inner;
        // No chain of kinds is longer than there are kinds.
        for _ in 0..=words.parents.len() {
            if at == outer {
                return true;
            }
            match words.parents.get(at) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    if within(kind, own) {
        return Some(pattern.clone());
    }
    // A part that is named behind `@` has the segments of what it is a part of; others have more, and what contains them is unknown.
    let part = words.parents.get(own).is_some_and(|parent| parent == kind);
    let text = format!("{kind}:{}", pattern.segments().join("/"));
    (part && pattern.tail().is_some())
        .then(|| Pattern::parse(&text, &[]).ok())
        .flatten()
        .map(|pattern| pattern.blind(&words.case_blind))
}
