//! Few lines for many kinds of calls: classes, effects and patterns where all of one differs alike.

use std::collections::{BTreeMap, BTreeSet};

use model::{Class, Effect};

use super::cells::{Found, Item, Places, Road, Survey, fits};
use super::outcome::{Outcome, change};
use super::regions;
use super::{Change, Comparison, Difference, Setting};

/// Words of one line; the others are counted.
const WORDS_MAX: usize = 12;
/// What a class or effect may lack and still be said as `read but x`.
const LACKING_MAX: usize = 6;

type Set = BTreeSet<usize>;

pub(super) fn differences(survey: &Survey<'_>, found: Found) -> Vec<Difference> {
    let mut all = Vec::new();
    for ((was, becomes), by_places) in found {
        for (places, items) in by_places {
            for (regions, roads) in blocks(&places) {
                all.push(difference(survey, (&was, &becomes), (&items, &regions, &roads)));
            }
        }
    }
    all
}

/// Regions that are reached by the same roads, together.
fn blocks(places: &Places) -> Vec<(Set, Set)> {
    let mut roads_of: BTreeMap<usize, Set> = BTreeMap::new();
    for (region, road) in places {
        roads_of.entry(*region).or_default().insert(*road);
    }
    let mut by: BTreeMap<Set, Set> = BTreeMap::new();
    for (region, roads) in roads_of {
        by.entry(roads).or_default().insert(region);
    }
    by.into_iter().map(|(roads, regions)| (regions, roads)).collect()
}

fn difference(
    survey: &Survey<'_>,
    (was, becomes): (&Outcome, &Outcome),
    (items, regions, roads): (&Set, &Set, &Set),
) -> Difference {
    let mut ids: Vec<String> =
        items.iter().filter_map(|at| survey.items.get(*at)).map(|item| item.id.clone()).collect();
    ids.dedup();
    let example = regions.iter().next().and_then(|at| survey.regions.get(*at));
    Difference {
        agents: Vec::new(),
        change: Change::of(was, becomes),
        service: Some(survey.service.to_owned()),
        actions: actions(items, &survey.items, &|item| reached(survey, item, roads)),
        ids,
        resources: regions::label(regions, &survey.regions, &survey.patterns),
        hosts: Vec::new(),
        by: by(survey, items, roads),
        example: example.map(|region| region.example.to_string()).unwrap_or_default(),
        was: was.clone(),
        becomes: becomes.clone(),
    }
}

impl Change {
    pub(super) fn of(was: &Outcome, becomes: &Outcome) -> Self {
        match (was.is_allowed(), becomes.is_allowed()) {
            (false, _) => Self::MayNow,
            (true, false) => Self::MayNoLonger,
            (true, true) => Self::Changed,
        }
    }
}

/// Whether a request for it can come by one of these roads.
fn reached(survey: &Survey<'_>, item: &Item, roads: &Set) -> bool {
    roads.iter().filter_map(|at| survey.roads.get(*at)).flatten().any(|road| fits(item, road))
}

/// The words by which a policy would name these items, of those that are `possible`.
fn actions(items: &Set, all: &[Item], possible: &dyn Fn(&Item) -> bool) -> Vec<String> {
    let of = |test: &dyn Fn(&Item) -> bool| -> Set {
        all.iter().enumerate().filter(|(_, item)| possible(item) && test(item)).map(|(at, _)| at).collect()
    };
    if of(&|_| true).is_subset(items) {
        return vec!["any action".to_owned()];
    }
    let mut words: Vec<(String, Set)> = vec![("*".to_owned(), of(&|item| !item.is_guarded()))];
    for class in Class::ALL {
        words.push((
            class.to_string(),
            of(&|item| item.class == class && (class == Class::Admin || !item.is_guarded())),
        ));
    }
    for effect in Effect::ALL {
        words.push((format!("effect:{effect}"), of(&|item| item.effects.contains(effect))));
    }
    let (mut left, mut said) = (items.clone(), Vec::new());
    for (word, covered) in words {
        let new = covered.intersection(&left).count();
        let lacking: Set = covered.difference(items).copied().collect();
        if new < 2 || lacking.len() > LACKING_MAX || (!lacking.is_empty() && new < 5 * lacking.len()) {
            continue;
        }
        left.retain(|item| !covered.contains(item));
        let but = ids(&lacking, all);
        said.push(if but.is_empty() { word } else { format!("{word} but {}", but.join(", ")) });
    }
    said.extend(ids(&left, all));
    said
}

/// Ids, with class and effects where not every form of the action is meant.
fn ids(items: &Set, all: &[Item]) -> Vec<String> {
    let mine = || items.iter().filter_map(|at| all.get(*at));
    let mut words: Vec<String> = Vec::new();
    for item in mine() {
        let whole =
            all.iter().filter(|one| one.id == item.id).count() == mine().filter(|one| one.id == item.id).count();
        let word = if whole || !item.several {
            item.id.clone()
        } else {
            let effects: Vec<&str> = item.effects.iter().map(Effect::as_str).collect();
            let effects = if effects.is_empty() { "no effect".to_owned() } else { effects.join(", ") };
            format!("{} ({}, {effects})", item.id, item.class)
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// Methods and paths; nothing where these roads are all that there are.
fn by(survey: &Survey<'_>, items: &Set, roads: &Set) -> Vec<String> {
    let mine: Vec<&Item> = items.iter().filter_map(|at| survey.items.get(*at)).collect();
    let comes = |road: &Road| mine.iter().any(|item| fits(item, road));
    let open = |at: &usize| survey.roads.get(*at).is_some_and(|roads| roads.iter().any(comes));
    if (0..survey.roads.len()).filter(open).count() == roads.len() {
        return Vec::new();
    }
    let mut methods: BTreeMap<Option<&str>, BTreeSet<&str>> = BTreeMap::new();
    for road in roads.iter().filter_map(|at| survey.roads.get(*at)).flatten() {
        if comes(road) {
            methods.entry(road.under.as_deref()).or_default().insert(road.method.as_str());
        }
    }
    let paths: BTreeSet<Option<&str>> = survey.roads.iter().flatten().map(|road| road.under.as_deref()).collect();
    let mut by_methods: BTreeMap<BTreeSet<&str>, Vec<Option<&str>>> = BTreeMap::new();
    for (under, methods) in methods {
        by_methods.entry(methods).or_default().push(under);
    }
    let phrase = |(methods, under): (BTreeSet<&str>, Vec<Option<&str>>)| {
        let method = if methods.len() == crate::compile::actions::METHODS.len() {
            String::new()
        } else {
            format!("by {}", methods.into_iter().collect::<Vec<_>>().join(", "))
        };
        let named: Vec<&str> = under.iter().flatten().copied().collect();
        let mut place = if named.is_empty() { String::new() } else { format!("under {}", named.join(", ")) };
        if under.contains(&None) {
            place = if named.is_empty() { "elsewhere".to_owned() } else { format!("{place} and elsewhere") };
        }
        if under.len() == paths.len() {
            place.clear();
        }
        [method, place].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    by_methods.into_iter().map(phrase).filter(|phrase| !phrase.is_empty()).collect()
}

/// So many of these; the others are counted.
pub(crate) fn some<T: AsRef<str>>(words: &[T]) -> String {
    let shown: Vec<&str> = words.iter().take(WORDS_MAX).map(AsRef::as_ref).collect();
    match words.len().saturating_sub(WORDS_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

impl Difference {
    /// One line.
    #[must_use]
    pub fn words(&self) -> String {
        let who = if self.agents.is_empty() { "any agent".to_owned() } else { some(&self.agents) };
        let what = match &self.service {
            Some(service) => format!("{} of {service} on {}", some(&self.actions), some(&self.resources)),
            None => format!("requests to {}", some(&self.hosts)),
        };
        let by = if self.by.is_empty() { String::new() } else { format!(" {}", self.by.join(" or ")) };
        let by = if self.service.is_none() && !by.is_empty() { format!(" by{by}") } else { by };
        let noted = |outcome: &Outcome, before: &str| {
            let words = outcome.words();
            if words.is_empty() { String::new() } else { format!(" ({before}{words})") }
        };
        match self.change {
            Change::MayNow => format!("{who} may now: {what}{by}{}", noted(&self.becomes, "")),
            Change::MayNoLonger => format!("{who} may no longer: {what}{by}{}", noted(&self.was, "was: ")),
            Change::Changed => format!("{who} changed: {what}{by}: {}", change(&self.was, &self.becomes)),
        }
    }
}

impl Setting {
    /// One line.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{}: {} -> {}", self.setting, self.was, self.becomes)
    }
}

impl Comparison {
    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.settings.iter().map(Setting::words).chain(self.differences.iter().map(Difference::words))
    }
}
