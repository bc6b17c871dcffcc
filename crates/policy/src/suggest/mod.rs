//! The least permissions that cover what was done.
//!
//! Pure: what was done comes in, permissions come out; whether they cover it is for the engine to say (`Rules`). What is
//! suggested is never wider than one action by its id, on the resources that were seen ([`resources`]); what always asks is
//! suggested with its question.

mod resources;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::{ServiceWords, Vocabulary};
use model::{Call, Class, Resource, Timestamp};
use serde::Serialize;

pub(crate) use write::rule;

use crate::compile::actions::{is_guarded, read_endpoint};
use crate::compile::pattern::Pattern;

const HOUR_MICROS: i64 = 3_600_000_000;

/// One call that an agent made.
#[derive(Clone, Copy, Debug)]
pub struct Used<'a> {
    /// The service.
    pub service: &'a str,
    /// The credential that was put on.
    pub credential: Option<&'a str>,
    /// What was asked.
    pub call: &'a Call,
    /// When.
    pub at: Timestamp,
    /// A person said yes to it.
    pub asked: bool,
    /// It was denied.
    pub denied: bool,
}

/// One permission to add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Suggested {
    /// Its service.
    pub service: String,
    /// The credential that was used.
    pub credential: Option<String>,
    /// Actions by id; empty where methods and endpoints say it.
    pub actions: Vec<String>,
    /// Resources; empty where methods and endpoints say it.
    pub resources: Vec<String>,
    /// Methods, for paths that no action is known for.
    pub methods: Vec<String>,
    /// Their paths.
    pub endpoints: Vec<String>,
    /// Calls an hour to be let through; none where it only reads.
    pub limit: Option<u64>,
    /// Calls in the fullest hour on record.
    pub peak: u64,
    /// Whether a person is to be asked.
    pub approval: bool,
    /// It was denied, and is here because that was asked for.
    pub denied: bool,
    /// Calls on record.
    pub calls: u64,
    /// Patterns that cover more than what was seen.
    pub generalised: Vec<String>,
}

/// How a permission can name a call.
enum Scope {
    /// By its id, on this resource.
    Named(String),
    /// By its id, on any resource: what it acts on has no name that a pattern can have.
    Anywhere,
    /// By method and path.
    Raw(String, String),
}

/// What is suggested, and how many calls no permission can be suggested for, by why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// Permissions, of one agent.
    pub permissions: Vec<Suggested>,
    /// Why, and how many.
    pub left_out: BTreeMap<&'static str, u64>,
}

fn scope(words: &ServiceWords, call: &Call) -> Result<Scope, &'static str> {
    let id = call.action.as_str();
    if !id.starts_with("http/") && !words.actions.contains_key(id) {
        return Err("of an action that no policy can name");
    }
    if call.resource.as_str().contains('*') {
        return Err("on a resource with `*` in its name, which a pattern would take for any text");
    }
    let kinds: Vec<String> = words.kinds.iter().chain(words.parents.values()).cloned().collect();
    Ok(place(&kinds, id, &call.resource))
}

/// How a permission names this action on this resource; `kinds` are the service's, empty where any will do.
fn place(kinds: &[String], id: &str, resource: &Resource) -> Scope {
    if let (Some(method), "resource") = (id.strip_prefix("http/"), resource.kind())
        && let Ok(Some(endpoint)) = read_endpoint(resource.rest())
    {
        return Scope::Raw(method.to_uppercase(), endpoint);
    }
    let text = resource.as_str();
    if Pattern::parse(text, kinds).is_ok() { Scope::Named(text.to_owned()) } else { Scope::Anywhere }
}

/// What calls have in common that one permission may cover: service, credential, whether it changes anything, whether a
/// person is asked, whether it was denied.
type Kind<'a> = (&'a str, Option<&'a str>, bool, bool, bool);

/// Calls of one action, or of one method.
#[derive(Default)]
struct Seen {
    places: BTreeSet<String>,
    anywhere: bool,
    times: Vec<Timestamp>,
}

/// The least permissions that cover these calls of one agent.
#[must_use]
pub fn suggest(words: &Vocabulary, used: &[Used<'_>]) -> Suggestion {
    let mut suggestion = Suggestion::default();
    // A resource on which a person was asked once is asked about from now on.
    let asked: BTreeSet<(&str, &str, &str)> = used.iter().filter(|one| one.asked).map(identity).collect();
    let allowed: BTreeSet<(&str, &str, &str)> = used.iter().filter(|one| !one.denied).map(identity).collect();
    let mut nameable: Vec<(Used<'_>, Scope)> = Vec::new();
    for one in used.iter().filter(|one| !one.denied || !allowed.contains(&identity(one))) {
        let known = words.services.get(one.service).ok_or("of a service that is not known any more");
        match known.and_then(|words| scope(words, one.call)) {
            Ok(scope) => nameable.push((*one, scope)),
            Err(why) => *suggestion.left_out.entry(why).or_default() += 1,
        }
    }
    let chosen = credentials(nameable.iter().map(|(one, _)| one));
    let mut named: BTreeMap<(Kind<'_>, String), Seen> = BTreeMap::new();
    let mut raw: BTreeMap<(Kind<'_>, String), Seen> = BTreeMap::new();
    for (one, scope) in nameable {
        let credential = chosen.get(&(one.service, one.call.action.as_str())).copied().flatten();
        if one.credential.is_some() && one.credential != credential {
            *suggestion
                .left_out
                .entry("with a second credential for the same action, of which a rule picks one")
                .or_default() += 1;
            continue;
        }
        let asks = asked.contains(&identity(&one)) || is_guarded(one.call);
        let kind = (one.service, credential, one.call.class > Class::Read, asks, one.denied);
        let seen = match scope {
            Scope::Raw(method, endpoint) => {
                let seen = raw.entry((kind, method)).or_default();
                seen.places.insert(endpoint);
                seen
            }
            Scope::Named(place) => {
                let seen = named.entry((kind, one.call.action.to_string())).or_default();
                seen.places.insert(place);
                seen
            }
            Scope::Anywhere => {
                let seen = named.entry((kind, one.call.action.to_string())).or_default();
                seen.anywhere = true;
                seen
            }
        };
        seen.times.push(one.at);
    }
    suggestion.permissions = permissions(named, true).into_iter().chain(permissions(raw, false)).collect();
    suggestion.permissions.sort_by(|a, b| (a.denied, &a.service, &a.actions).cmp(&(b.denied, &b.service, &b.actions)));
    suggestion
}

/// The credential of each action: the one it was first used with, else the only one that its service was used with.
fn credentials<'a, 'b>(used: impl Iterator<Item = &'b Used<'a>>) -> BTreeMap<(&'a str, &'a str), Option<&'a str>>
where
    'a: 'b,
{
    let mut chosen: BTreeMap<(&str, &str), Option<&str>> = BTreeMap::new();
    let mut of_service: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for one in used {
        let mine = chosen.entry((one.service, one.call.action.as_str())).or_default();
        *mine = mine.or(one.credential);
        of_service.entry(one.service).or_default().extend(one.credential);
    }
    for ((service, _), mine) in &mut chosen {
        let all = of_service.get(service);
        let only = all.filter(|all| all.len() == 1).and_then(|all| all.first().copied());
        *mine = mine.or(only);
    }
    chosen
}

fn identity<'a>(one: &Used<'a>) -> (&'a str, &'a str, &'a str) {
    (one.service, one.call.action.as_str(), one.call.resource.as_str())
}

/// What goes into one permission: words, when they were used, and which of the places are wider than what was seen.
#[derive(Default)]
struct Together {
    words: Vec<String>,
    times: Vec<Timestamp>,
    wider: Vec<String>,
}

/// One permission for all that may do the same to the same.
fn permissions(seen: BTreeMap<(Kind<'_>, String), Seen>, by_id: bool) -> Vec<Suggested> {
    let mut all: BTreeMap<(Kind<'_>, Vec<String>), Together> = BTreeMap::new();
    for ((kind, word), seen) in seen {
        let (places, wider) = match (by_id, seen.anywhere) {
            (true, true) => (vec!["*".to_owned()], vec!["*".to_owned()]),
            (true, false) => resources::generalise(&seen.places),
            (false, _) => resources::endpoints(&seen.places),
        };
        let together = all.entry((kind, places)).or_default();
        together.words.push(word);
        together.times.extend(seen.times);
        together.wider = wider;
    }
    all.into_iter().map(|((kind, places), together)| permission(kind, places, together, by_id)).collect()
}

fn permission(kind: Kind<'_>, places: Vec<String>, together: Together, by_id: bool) -> Suggested {
    let (service, credential, changes, approval, denied) = kind;
    let calls = together.times.len() as u64;
    let peak = peak(together.times);
    let words = together.words;
    let (actions, resources, methods, endpoints) =
        if by_id { (words, places, Vec::new(), Vec::new()) } else { (Vec::new(), Vec::new(), words, places) };
    Suggested {
        service: service.to_owned(),
        credential: credential.map(str::to_owned),
        actions,
        resources,
        methods,
        endpoints,
        limit: changes.then(|| rounded(peak)),
        peak,
        approval,
        denied,
        calls,
        generalised: together.wider,
    }
}

/// The most calls in any interval of an hour, as limits count them.
#[must_use]
pub fn peak(mut times: Vec<Timestamp>) -> u64 {
    times.sort_unstable();
    let mut most = 0;
    let mut from = 0;
    for (at, time) in times.iter().enumerate() {
        while times.get(from).is_some_and(|first| first.0 <= time.0.saturating_sub(HOUR_MICROS)) {
            from += 1;
        }
        most = most.max(at + 1 - from);
    }
    most as u64
}

/// Half as many more, for no day is like the other, and then the next of 1, 2, 5, 10, 20, 50 ..: people say limits so.
fn rounded(peak: u64) -> u64 {
    let peak = peak.saturating_add(peak.div_ceil(2));
    let mut step = 1u64;
    loop {
        for times in [1, 2, 5] {
            let round = step.saturating_mul(times);
            if round >= peak {
                return round;
            }
        }
        step = step.saturating_mul(10);
    }
}

impl Suggested {
    /// Raises the limit to what its counter held in the fullest hour, where other permissions let more in than its own calls.
    pub fn raise(&mut self, peak: u64) {
        if let Some(limit) = self.limit.as_mut().filter(|limit| **limit < peak) {
            *limit = rounded(peak);
            self.peak = self.peak.max(peak);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_and_rounds() {
        let at = |seconds: &[i64]| seconds.iter().map(|second| Timestamp::from_secs(*second)).collect::<Vec<_>>();
        for (seconds, expected) in
            [(&[][..], 0), (&[5], 1), (&[0, 10, 3_599], 3), (&[3_600, 0], 1), (&[0, 3_000, 3_601, 6_599, 6_601], 3)]
        {
            assert_eq!(peak(at(seconds)), expected, "{seconds:?}");
        }
        for (peak, expected) in [(0, 1), (1, 2), (3, 5), (5, 10), (11, 20), (33, 50), (50, 100), (u64::MAX, u64::MAX)] {
            assert_eq!(rounded(peak), expected, "{peak}");
        }
    }
}
