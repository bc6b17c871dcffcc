//! One agent at one service: every kind of call that some rule of either policy tells from another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::canonical::{Host, Origin, Scheme};
use model::vocabulary::{ActionWords, ServiceWords};
use model::{ActionId, Call, Class, Classification, Effects, Facts, Resource, ServiceName};

use super::outcome::Outcome;
use super::regions::{Ground, Region};
use super::{Difference, Policy, TooMany, hosts, say};
use crate::compile::actions::{METHODS, RequestLine, is_guarded};
use crate::compile::pattern::Pattern;
use crate::condition::{Covered, Required};
use crate::rules::{Kind, Rule};
use crate::{Question, Subject};

/// What stands in a path where no endpoint of a rule goes on.
const ELSEWHERE: &str = "any-other-path";

/// One action, as one of the forms that its calls can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) class: Class,
    pub(crate) effects: Effects,
    /// It has others.
    pub(crate) several: bool,
}

impl Item {
    pub(super) fn is_guarded(&self) -> bool {
        self.call().is_some_and(|call| is_guarded(&call))
    }

    /// One call of it, where class and effects alone matter.
    pub(crate) fn call(&self) -> Option<Call> {
        let action = ActionId::new(&self.id).ok()?;
        let (class, effects, resource) = (self.class, self.effects, Resource::new("resource:/"));
        Some(Call { action, class, effects, resource, facts: Facts::default() })
    }
}

/// A method and a path, for rules that know nothing of actions.
#[derive(Clone, Debug)]
pub(super) struct Road {
    pub(super) method: http::Method,
    /// The endpoint that a rule names; none for every other path.
    pub(super) under: Option<String>,
    path: Arc<str>,
}

/// Everything that is compared, and what it is made of.
pub(super) struct Survey<'a> {
    sides: &'a [Policy<'a>; 2],
    subject: &'a Subject,
    pub(super) service: &'a str,
    pub(super) items: Vec<Item>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) regions: Vec<Region>,
    /// Roads that no rule tells apart.
    pub(super) roads: Vec<Vec<Road>>,
}

/// Regions with the roads to them, by number.
pub(super) type Places = BTreeSet<(usize, usize)>;

/// What differs: two outcomes, with the numbers of items and the places at which they have them.
pub(super) type Found = BTreeMap<(Outcome, Outcome), BTreeMap<Places, BTreeSet<usize>>>;

pub(super) fn compare(
    sides: &[Policy<'_>; 2],
    subject: &Subject,
    service: &str,
    compared: &mut u64,
) -> Result<Vec<Difference>, TooMany> {
    let rules: Vec<&Rule> = sides.iter().flat_map(|side| relevant(side, subject, service)).collect();
    let known = sides.iter().all(|side| side.words.services.contains_key(service));
    let [old, new] = sides.each_ref().map(|side| side.rules.egress);
    if rules.is_empty() && known && old == new && old.is_some() {
        return Ok(Vec::new());
    }
    let patterns = patterns(sides, &rules);
    let ground = Ground { service, sides: sides.each_ref().map(|side| side.rules), patterns };
    let regions = ground.regions();
    let regions = regions.map_err(|_| TooMany { agent: subject.agent.to_string(), service: service.to_owned() })?;
    let mut survey = Survey {
        sides,
        subject,
        service,
        items: items(sides.iter().filter_map(|side| side.words.services.get(service))),
        patterns: ground.patterns,
        regions,
        roads: Vec::new(),
    };
    survey.roads = survey.roads(&rules, known);
    let found = survey.judge(&rules, compared);
    Ok(say::differences(&survey, found))
}

/// The rules that can matter to this agent at this service.
fn relevant<'a>(side: &Policy<'a>, subject: &Subject, service: &str) -> impl Iterator<Item = &'a Rule> {
    let (agent, service) = (subject.agent.clone(), service.to_owned());
    side.rules.list.iter().filter(move |rule| rule.is_for(&agent, &service))
}

/// Every pattern of these rules, each once, and those by which the guarded policy tells branches apart.
fn patterns(sides: &[Policy<'_>; 2], rules: &[&Rule]) -> Vec<Pattern> {
    let mut all: Vec<Pattern> = Vec::new();
    let guarded = sides.iter().any(|side| side.rules.is_guarded());
    let branches = guarded.then(crate::guarded::branches).into_iter().flatten();
    for pattern in rules.iter().flat_map(|rule| &rule.resources).cloned().chain(branches) {
        if !pattern.is_any() && !all.contains(&pattern) {
            all.push(pattern);
        }
    }
    all
}

/// Every action of a service in every form, unknown paths among them. Of several words, what any has.
pub(crate) fn items<'a>(words: impl Iterator<Item = &'a ServiceWords>) -> Vec<Item> {
    let mut forms: BTreeMap<String, Vec<(Class, Effects)>> = BTreeMap::new();
    let mut add = |id: &str, form: (Class, Effects)| {
        let mine = forms.entry(id.to_owned()).or_default();
        if !mine.contains(&form) {
            mine.push(form);
        }
    };
    for (id, ActionWords { class, effects, forms, .. }) in words.flat_map(|words| &words.actions) {
        add(id, (*class, *effects));
        for form in forms {
            add(id, *form);
        }
    }
    for method in METHODS {
        let Ok(known) = http::Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
        add(&format!("http/{method}"), (Class::of_method(&known), Effects::NONE));
    }
    // A WebSocket on an unknown path counts as a write.
    add("http/get", (Class::Write, Effects::NONE));
    let item = |(id, forms): (String, Vec<(Class, Effects)>)| {
        let several = forms.len() > 1;
        forms.into_iter().map(move |(class, effects)| Item { id: id.clone(), class, effects, several })
    };
    forms.into_iter().flat_map(item).collect()
}

impl Survey<'_> {
    /// Methods and paths, sorted by the rules that tell them apart; one road where none does.
    fn roads(&self, rules: &[&Rule], known: bool) -> Vec<Vec<Road>> {
        let raw = || rules.iter().filter_map(|rule| rule.raw.as_ref());
        let prefixes: BTreeSet<&String> = raw().flat_map(|raw| &raw.endpoints).collect();
        let under = |prefix: Option<&String>| {
            let before = prefix.map_or("", String::as_str);
            let mut path = format!("{before}/{ELSEWHERE}");
            // What goes on with exactly these words is another endpoint.
            while prefixes.iter().any(|known| known.len() > before.len() && begins(&path, known)) {
                path.push('-');
            }
            (prefix.cloned(), Arc::<str>::from(path))
        };
        let paths: Vec<(Option<String>, Arc<str>)> =
            prefixes.iter().map(|prefix| under(Some(*prefix))).chain([under(None)]).collect();
        let mut sorted: BTreeMap<Vec<u8>, Vec<Road>> = BTreeMap::new();
        for method in METHODS {
            let Ok(method) = http::Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
            for (under, path) in &paths {
                let road = Road { method: method.clone(), under: under.clone(), path: Arc::clone(path) };
                let Some(classification) = self.classification(None, &road) else { continue };
                let mut key: Vec<u8> = raw()
                    .map(|raw| {
                        u8::from(raw.covers(RequestLine {
                            method: &road.method,
                            endpoint: &classification.endpoint,
                            path: &classification.path,
                        }))
                    })
                    .collect();
                if !known {
                    // One side judges by the method alone.
                    key.push(Class::of_method(&method) as u8);
                }
                sorted.entry(key).or_default().push(road);
            }
        }
        sorted.into_values().collect()
    }

    fn classification(&self, call: Option<Call>, road: &Road) -> Option<Classification> {
        Some(Classification::new(
            Some(ServiceName::new(self.service).ok()?),
            call.into_iter().collect(),
            Arc::clone(&road.path),
        ))
    }

    /// What no rule looks at: two items of one mark have the same outcomes everywhere.
    fn mark(&self, item: &Item, rules: &[&Rule]) -> Option<Vec<u8>> {
        let call = item.call()?;
        let mut mark = vec![u8::from(is_guarded(&call)), item.class as u8];
        if self.sides.iter().any(|side| side.rules.is_guarded()) {
            mark.extend(item.effects.iter().map(|effect| effect as u8 + 1));
            mark.push(u8::from(item.id == crate::guarded::FORCE));
        }
        for rule in rules {
            let denial = rule.kind == Kind::Deny;
            let covers = rule.actions.iter().any(|named| named.selector.covers(self.service, &call, denial));
            mark.push(u8::from(covers));
            if !covers && !rule.actions.is_empty() {
                continue;
            }
            let calls = [&call];
            let covered = Covered { rule: &rule.id, subject: self.subject, service: self.service, calls: &calls };
            for condition in rule.conditions.iter().filter(|condition| condition.cedar().is_none()) {
                let mut required = Required::default();
                let unknown = condition.require(&covered, &mut required).is_err();
                mark.push(
                    u8::from(unknown)
                        | u8::from(!required.limits.is_empty()) << 1
                        | u8::from(!required.asks.is_empty()) << 2,
                );
            }
        }
        if self.roads.len() > 1 && item.id.starts_with("http/") {
            mark.extend(item.id.bytes());
        }
        Some(mark)
    }

    fn judge(&self, rules: &[&Rule], compared: &mut u64) -> Found {
        let mut alike: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (at, item) in self.items.iter().enumerate() {
            if let Some(mark) = self.mark(item, rules) {
                alike.entry(mark).or_default().push(at);
            }
        }
        let mut found: BTreeMap<(Outcome, Outcome), BTreeMap<usize, Places>> = BTreeMap::new();
        let groups: Vec<Vec<usize>> = alike.into_values().collect();
        for (group, item) in
            groups.iter().enumerate().filter_map(|(at, all)| Some((at, self.items.get(*all.first()?)?)))
        {
            for (road, of) in self.roads.iter().enumerate() {
                let Some(way) = of.iter().find(|road| fits(item, road)) else { continue };
                for (region, ground) in self.regions.iter().enumerate() {
                    *compared += 1;
                    let [was, becomes] = self.sides.each_ref().map(|side| self.outcome(side, (item, way, ground)));
                    if was != becomes {
                        found.entry((was, becomes)).or_default().entry(group).or_default().insert((region, road));
                    }
                }
            }
        }
        let merge = |groups_at: BTreeMap<usize, Places>| {
            let mut by: BTreeMap<Places, BTreeSet<usize>> = BTreeMap::new();
            for (group, places) in groups_at {
                by.entry(places).or_default().extend(groups.get(group).into_iter().flatten());
            }
            by
        };
        found.into_iter().map(|(outcomes, groups)| (outcomes, merge(groups))).collect()
    }

    fn outcome(&self, side: &Policy<'_>, (item, road, region): (&Item, &Road, &Region)) -> Outcome {
        let Some(words) = side.words.services.get(self.service) else {
            let other = self.sides.iter().find_map(|side| side.words.services.get(self.service)?.hosts.first());
            let host = other.map(|host| host.replace('*', "x")).unwrap_or_default();
            return hosts::outcome(side, self.subject, &host, &road.method);
        };
        let call = item.call().map(|call| Call { resource: region.example.clone(), ..call });
        let Some(classification) = self.classification(call, road) else { return Outcome::DENIED };
        let host = words.hosts.first().map_or(ELSEWHERE, String::as_str).replace('*', "x");
        let Ok(host) = Host::parse(&host) else { return Outcome::DENIED };
        let origin = Origin { scheme: Scheme::Https, host, port: 443 };
        side.rules.outcome(&Question {
            subject: self.subject,
            classification: &classification,
            method: &road.method,
            origin: &origin,
            presented: None,
            grants: &[],
            now: self.subject.session_started,
        })
    }
}

/// Whether a path is this one or lies under it.
fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An unknown path is named after its method.
pub(super) fn fits(item: &Item, road: &Road) -> bool {
    item.id.strip_prefix("http/").is_none_or(|method| method.eq_ignore_ascii_case(road.method.as_str()))
}
