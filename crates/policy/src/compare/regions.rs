//! Regions of resources: two resources of one region are covered by the same patterns of both policies, so that no rule
//! tells them apart. One example stands for each.

use std::collections::{BTreeMap, BTreeSet};

use model::Resource;

use super::glob::{Entangled, Place, witnesses};
use crate::compile::pattern::Pattern;
use crate::rules::Rules;

/// Regions that are looked at for one agent and service.
const REGIONS_MAX: usize = 20_000;

/// Resources that no rule of either policy tells apart.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// Numbers of the patterns that cover it.
    pub(super) patterns: BTreeSet<usize>,
    /// One resource in it.
    pub(super) example: Resource,
}

/// What regions are made of.
pub(super) struct Ground<'a> {
    pub(super) service: &'a str,
    /// The old policy and the new one.
    pub(super) sides: [&'a Rules; 2],
    /// Every pattern of both but `*`, each once.
    pub(super) patterns: Vec<Pattern>,
}

/// A kind of resource with so many segments, and whether something follows an `@`.
struct Shape<'a> {
    kind: &'a str,
    segments: usize,
    tail: bool,
    small: bool,
}

impl Ground<'_> {
    /// Every region that some resource is in.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn regions(&self) -> Result<Vec<Region>, Entangled> {
        let mut found: BTreeMap<Vec<(bool, bool)>, Region> = BTreeMap::new();
        let most = self.patterns.iter().map(Pattern::depth).max().unwrap_or(0) + 1;
        for (kind, smalls) in self.kinds() {
            for segments in 1..=most {
                for (tail, small) in [false, true].into_iter().flat_map(|tail| smalls.iter().map(move |s| (tail, *s))) {
                    let shape = Shape { kind: &kind, segments, tail, small };
                    let alive = self.alive(&shape);
                    self.descend(&shape, &alive, &mut Vec::new(), &mut found)?;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// Every kind, and whether its segments are to be in small letters; both where only one side compares them so.
    fn kinds(&self) -> BTreeMap<String, Vec<bool>> {
        let services = || self.sides.iter().filter_map(|side| side.services.get(self.service));
        let named = self.patterns.iter().filter_map(Pattern::kind).map(str::to_owned);
        let known = services().flat_map(|service| service.within.keys().cloned());
        let kinds: BTreeSet<String> = named.chain(known).chain(["resource".to_owned()]).collect();
        let blind = |kind: &String| {
            let mut all: Vec<bool> = services().map(|service| service.case_blind.contains(kind)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        kinds.into_iter().map(|kind| (kind.clone(), blind(&kind))).collect()
    }

    /// Patterns that could cover a resource of this shape, whatever its names.
    fn alive(&self, shape: &Shape<'_>) -> Vec<usize> {
        let contains = |kind: &str| {
            let services = self.sides.iter().filter_map(|side| side.services.get(self.service));
            let mut within = services.filter_map(|service| service.within.get(shape.kind));
            within.any(|all| all.iter().any(|known| known == kind))
        };
        let could = |pattern: &Pattern| {
            pattern.depth() <= shape.segments
                && (shape.tail || pattern.tail().is_none())
                && pattern.kind().is_some_and(|kind| kind == shape.kind || contains(kind))
        };
        self.patterns.iter().enumerate().filter(|(_, pattern)| could(pattern)).map(|(at, _)| at).collect()
    }

    fn descend(
        &self,
        shape: &Shape<'_>,
        alive: &[usize],
        names: &mut Vec<String>,
        found: &mut BTreeMap<Vec<(bool, bool)>, Region>,
    ) -> Result<(), Entangled> {
        let at = names.len();
        let tail = at == shape.segments;
        if at > shape.segments || (tail && !shape.tail) {
            return self.keep(shape, names, found);
        }
        let glob = |number: &usize| {
            let pattern = self.patterns.get(*number)?;
            Some(if tail { pattern.tail() } else { pattern.segments().get(at).map(String::as_str) }.unwrap_or("*"))
        };
        let globs: Vec<&str> = alive.iter().filter_map(glob).collect();
        let place = if tail { Place::Tail } else { Place::Segment { small: shape.small } };
        for (matched, text) in witnesses(&globs, place)? {
            let left: Vec<usize> = matched.iter().filter_map(|at| alive.get(*at).copied()).collect();
            names.push(text);
            self.descend(shape, &left, names, found)?;
            names.pop();
        }
        Ok(())
    }

    /// The engine itself says which patterns cover it.
    fn keep(
        &self,
        shape: &Shape<'_>,
        names: &[String],
        found: &mut BTreeMap<Vec<(bool, bool)>, Region>,
    ) -> Result<(), Entangled> {
        let (path, tail) = names.split_at(shape.segments.min(names.len()));
        let tail = tail.first().map(|tail| format!("@{tail}")).unwrap_or_default();
        let example = Resource::new(&format!("{}:{}{tail}", shape.kind, path.join("/")));
        let covered = |side: &Rules| -> Vec<bool> {
            let parts = side.parts(self.service, &example);
            self.patterns.iter().map(|pattern| pattern.covers(&parts)).collect()
        };
        let [old, new] = self.sides.map(covered);
        let patterns = (0..self.patterns.len()).filter(|at| old.get(*at) == Some(&true) || new.get(*at) == Some(&true));
        let patterns = patterns.collect();
        let key = old.into_iter().zip(new).collect();
        if let Some(known) = found.get_mut(&key) {
            if rank(&example) < rank(&known.example) {
                known.example = example;
            }
        } else if found.len() < REGIONS_MAX {
            found.insert(key, Region { patterns, example });
        } else {
            return Err(Entangled);
        }
        Ok(())
    }
}

/// What reads best: two names, which most resources have, and nothing after them.
fn rank(resource: &Resource) -> (usize, bool, usize) {
    (resource.segments().count().abs_diff(2), resource.tail().is_some(), resource.as_str().len())
}

/// A pattern as it is written, with the regions that it covers.
type Named<'a> = (&'a str, BTreeSet<usize>);

/// Patterns that cover nothing else than regions of a set, widest first, and what of the set they leave over.
fn whole(set: &BTreeSet<usize>, all: &[Named<'_>]) -> (Vec<String>, BTreeSet<usize>) {
    let (mut left, mut names) = (set.clone(), Vec::new());
    for (text, regions) in all {
        if regions.is_subset(set) && !regions.is_disjoint(&left) {
            left.retain(|region| !regions.contains(region));
            names.push((*text).to_owned());
        }
    }
    (names, left)
}

/// The same patterns, as far as they lie in some regions.
fn within<'a>(set: &BTreeSet<usize>, all: &[Named<'a>]) -> Vec<Named<'a>> {
    let cut = all.iter().map(|(text, regions)| (*text, regions.intersection(set).copied().collect::<BTreeSet<_>>()));
    let mut cut: Vec<Named<'a>> = cut.filter(|(_, regions)| !regions.is_empty()).collect();
    cut.sort_by_key(|(_, regions)| usize::MAX - regions.len());
    cut
}

/// What a set of regions is called: by patterns as they are written, whole where all of a pattern is in the set.
pub(super) fn label(set: &BTreeSet<usize>, regions: &[Region], patterns: &[Pattern]) -> Vec<String> {
    if set.len() == regions.len() {
        return vec!["any resource".to_owned()];
    }
    let inside = |pattern: usize| -> BTreeSet<usize> {
        let covered = regions.iter().enumerate().filter(|(_, region)| region.patterns.contains(&pattern));
        covered.map(|(at, _)| at).collect()
    };
    let mut all: Vec<Named<'_>> =
        patterns.iter().enumerate().map(|(at, pattern)| (pattern.text(), inside(at))).collect();
    all.retain(|(_, regions)| !regions.is_empty());
    all.sort_by_key(|(_, regions)| usize::MAX - regions.len());
    let (mut names, mut left) = whole(set, &all);
    let uncovered = |at: &usize| regions.get(*at).is_some_and(|region| region.patterns.is_empty());
    if left.iter().any(uncovered) {
        let others: BTreeSet<usize> = (0..regions.len()).filter(|at| !set.contains(at)).collect();
        let (but, rest) = whole(&others, &all);
        if rest.is_empty() {
            return vec![format!("any resource but {}", but.join(", "))];
        }
    }
    for (text, covered) in &all {
        let missing: BTreeSet<usize> = covered.difference(set).copied().collect();
        let (but, rest) = whole(&missing, &within(covered, &all));
        if rest.is_empty() && missing.len() < covered.len() && !covered.is_disjoint(&left) {
            left.retain(|region| !covered.contains(region));
            names.push(format!("{text} but {}", but.join(", ")));
        }
    }
    for region in &left {
        let name = one(*region, set, &all);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A region that no pattern names alone: by its narrowest pattern, the others that cover it, and what it is not.
fn one(region: usize, set: &BTreeSet<usize>, all: &[Named<'_>]) -> String {
    let around: Vec<&Named<'_>> = all.iter().filter(|(_, regions)| regions.contains(&region)).collect();
    let Some((text, narrowest)) = around.last() else { return "any other resource".to_owned() };
    let also = around.iter().filter(|(_, regions)| !narrowest.is_subset(regions)).map(|(text, _)| *text);
    let also: Vec<&str> = also.collect();
    let missing: BTreeSet<usize> = narrowest.difference(set).copied().collect();
    let (but, _) = whole(&missing, &within(narrowest, all));
    let also = if also.is_empty() { String::new() } else { format!(" that is also {}", also.join(" and ")) };
    let but = if but.is_empty() { String::new() } else { format!(" but {}", but.join(", ")) };
    format!("{text}{also}{but}")
}

#[cfg(test)]
mod tests {
    use model::vocabulary::{ServiceWords, Vocabulary};
    use proptest::prelude::*;

    use super::*;
    use crate::Document;

    fn words(blind: bool) -> Vocabulary {
        let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let parents = [("branch", "repo"), ("repo", "org")].map(|(kind, of)| (kind.to_owned(), of.to_owned()));
        let case_blind = if blind { text(&["org", "repo", "branch"]) } else { Vec::new() };
        let kinds = text(&["org", "repo", "branch", "user"]);
        let words = ServiceWords { kinds, parents: parents.into(), case_blind, ..ServiceWords::default() };
        Vocabulary { services: [("s".to_owned(), words)].into() }
    }

    fn name(letters: &'static str) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(letters.chars().collect::<Vec<_>>()), 1..4)
            .prop_map(|letters| letters.into_iter().collect())
    }

    fn resource(letters: &'static str) -> impl Strategy<Value = String> {
        let kind = proptest::sample::select(&["org", "repo", "branch", "user", "resource"][..]);
        let path = proptest::collection::vec(name(letters), 1..4);
        (kind, path, proptest::option::of(name(letters))).prop_map(|(kind, path, tail)| {
            let tail = tail.map(|tail| format!("@{tail}")).unwrap_or_default();
            format!("{kind}:{}{tail}", path.join("/"))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is asked lies in a region whose example the same patterns cover: nothing is left unjudged.
        #[test]
        fn every_resource_lies_in_a_region(
            written in proptest::collection::vec(resource("abA**"), 1..6),
            asked in proptest::collection::vec(resource("abAc"), 24),
            blind in any::<bool>(),
        ) {
            let (document, _) = Document::parse("agents: {a: {}}", "f.yaml").expect("parses");
            let rules = [blind, blind].map(|blind| Rules::compile(&document, &words(blind)).expect("compiles"));
            let small = words(blind).services.remove("s").map(|words| words.case_blind).unwrap_or_default();
            let patterns: Vec<Pattern> =
                written.iter().filter_map(|text| Pattern::parse(text, &[]).ok()).map(|one| one.blind(&small)).collect();
            let [old, new] = &rules;
            let ground = Ground { service: "s", sides: [old, new], patterns };
            let regions = ground.regions().expect("few");
            let covered = |side: &Rules, resource: &Resource| -> Vec<bool> {
                let parts = side.parts("s", resource);
                ground.patterns.iter().map(|pattern| pattern.covers(&parts)).collect()
            };
            for text in asked {
                let resource = Resource::new(&text);
                let same = |region: &Region| rules.iter().all(|side| covered(side, &resource) == covered(side, &region.example));
                prop_assert!(regions.iter().any(same), "{text} with {written:?}");
            }
        }
    }
}
