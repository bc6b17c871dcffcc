//! What the pack of a push proves: with deltas, in shallow clones, over the bounds, and of histories at random.

#![expect(clippy::indexing_slicing, reason = "what helps a test may stop it")]

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use crate::git::{BOTH, FORCED, NEW, OLD, actions};
use crate::packs::{ASKS, BLOB, Base, COMMIT, Pack, commit, line, name, push};

/// A branch moved from `old` to `new` with this pack behind it.
fn updated(old: &str, new: &str, pack: &[u8]) -> Vec<String> {
    actions(&push(&[format!("{old} {new} refs/heads/x")], "report-status", pack))
}

fn of(build: impl Fn(&mut Pack)) -> Vec<u8> {
    let mut pack = Pack::new(false);
    build(&mut pack);
    pack.finish()
}

/// A pack of this commit alone.
fn alone(content: &[u8]) -> Vec<u8> {
    of(|pack| {
        pack.add(COMMIT, content, &Base::None);
    })
}

#[test]
fn what_is_odd_in_a_commit_proves_nothing() {
    let root = commit(&[], "root", false);
    let tip = commit(&[OLD.to_owned()], "tip", false);
    assert_eq!(updated(OLD, &name(&tip, false), &alone(&tip)), ["git/push"]);
    assert_eq!(updated(OLD, &name(&root, false), &alone(&root)), FORCED);
    assert_eq!(updated(NEW, &name(&tip, false), &alone(&tip)), BOTH, "its parent is not here");
    let text = String::from_utf8(tip).expect("text");
    for content in [
        text.replace("tree ", "Tree "),
        text.replace("parent 1", "parent A"),
        text.replace("author", "Author"),
        text.replace("parent", "author a\nparent"),
        text.replacen("tree", "parent 1111111111111111111111111111111111111111\ntree", 1),
    ] {
        let found = updated(OLD, &name(content.as_bytes(), false), &alone(content.as_bytes()));
        assert_eq!(found, BOTH, "{content}");
    }
}

#[test]
fn what_is_odd_in_a_pack_proves_nothing() {
    let tip = commit(&[OLD.to_owned()], "tip", false);
    let (tip_name, good) = (name(&tip, false), alone(&tip));
    let header = |text: &[u8]| of(|pack| pack.raw(text, 1));
    let mut version = good.clone();
    version[7] = 4;
    for (what, pack) in [
        ("none", Vec::new()),
        ("its version", version),
        (
            "twice the same",
            of(|pack| {
                pack.add(COMMIT, &tip, &Base::None);
                pack.add(COMMIT, &tip, &Base::None);
            }),
        ),
        (
            "one too few",
            of(|pack| {
                pack.add(COMMIT, &tip, &Base::None);
                pack.raw(b"", 1);
            }),
        ),
        (
            "something between",
            of(|pack| {
                pack.add(COMMIT, &tip, &Base::None);
                pack.raw(b"x", 0);
            }),
        ),
        ("something behind", [good.as_slice(), b"x"].concat()),
        ("another kind", header(&[0x50, 0x78, 0x9c])),
        ("no kind", header(&[0x00, 0x78, 0x9c])),
        (
            "no base",
            of(|pack| {
                pack.add(COMMIT, &tip, &Base::None);
                pack.head(6, 4);
                pack.raw(&[1, 0x78], 1);
            }),
        ),
        (
            "a wrong size",
            of(|pack| {
                pack.head(1, tip.len() + 1);
                pack.raw(&good[14..good.len() - 20], 1);
            }),
        ),
    ] {
        assert_eq!(updated(OLD, &tip_name, &pack), BOTH, "{what}");
    }
}

#[test]
fn a_pack_over_the_bounds_proves_nothing() {
    let tip = commit(&[OLD.to_owned()], "tip", false);
    // A file of many mebibytes in few octets is over the bound; one of some is not.
    for (mebibytes, want) in [(8, &["git/push"][..]), (65, &BOTH)] {
        let mut bomb = Pack::new(false);
        bomb.add(BLOB, &vec![0; mebibytes << 20], &Base::None);
        bomb.add(COMMIT, &tip, &Base::None);
        let bomb = bomb.finish();
        assert!(bomb.len() < 1 << 20);
        assert_eq!(updated(OLD, &name(&tip, false), &bomb), want, "{mebibytes}");
    }
    let large = commit(&[OLD.to_owned()], &"x".repeat(1 << 20), false);
    let mut pack = Pack::new(false);
    pack.add(COMMIT, &large, &Base::None);
    assert_eq!(updated(OLD, &name(&large, false), &pack.finish()), BOTH, "a commit over the bound");
}

#[test]
fn deltas_lead_to_commits() {
    let first = commit(&[OLD.to_owned()], "a message that is long enough", false);
    let second = commit(&[name(&first, false)], "a message that is long enough", false);
    let third = commit(&[name(&second, false)], "another", false);
    let names = [&first, &second, &third].map(|content| name(content, false));
    let (mut back, mut early, mut thin) = (Pack::new(false), Pack::new(false), Pack::new(false));
    let place = back.add(COMMIT, &first, &Base::None);
    let place = back.add(COMMIT, &second, &Base::At(place, &first));
    back.add(COMMIT, &third, &Base::At(place, &second));
    // Before what they stand on.
    let place = early.add(COMMIT, &third, &Base::Named(&names[1], &second));
    early.add(COMMIT, &second, &Base::Named(&names[0], &first));
    early.add(BLOB, b"a file", &Base::None);
    early.add(COMMIT, &first, &Base::None);
    let fourth = commit(&[names[2].clone()], "on one that waits", false);
    let mut on_waiting = early.clone();
    on_waiting.add(COMMIT, &fourth, &Base::At(place, &third));
    thin.add(COMMIT, &third, &Base::None);
    thin.add(COMMIT, &second, &Base::Named(NEW, &first));
    thin.add(COMMIT, &first, &Base::None);
    assert_eq!(updated(OLD, &names[2], &back.finish()), ["git/push"]);
    assert_eq!(updated(OLD, &names[2], &early.finish()), ["git/push"]);
    assert_eq!(updated(OLD, &name(&fourth, false), &on_waiting.finish()), ["git/push"]);
    assert_eq!(updated(OLD, &names[2], &thin.finish()), BOTH, "a base that only the server has");
    // A long chain, far deeper than any stack.
    let (mut chain, mut parent) = (Pack::new(false), OLD.to_owned());
    let (mut place, mut before) = (0, Vec::new());
    for number in 0..4_000 {
        let content = commit(&[parent], &format!("{number}"), false);
        parent = name(&content, false);
        let base = if number == 0 { Base::None } else { Base::At(place, &before) };
        place = chain.add(COMMIT, &content, &base);
        before = content;
    }
    assert_eq!(updated(OLD, &parent, &chain.finish()), ["git/push"]);
}

#[test]
fn shallow_clones_and_long_names() {
    let tip = commit(&[OLD.to_owned()], "tip", false);
    let mut pack = Pack::new(false);
    pack.add(COMMIT, &tip, &Base::None);
    let (tip_name, pack) = (name(&tip, false), pack.finish());
    for (cut, want) in [(OLD, &["git/push"][..]), (&*tip_name, &BOTH)] {
        let body = [line(format!("shallow {cut}")), push(&[format!("{OLD} {tip_name} refs/heads/x")], ASKS, &pack)];
        assert_eq!(actions(&body.concat()), want, "cut at {cut}");
    }
    let old = "3".repeat(64);
    let tip = commit(std::slice::from_ref(&old), "tip", true);
    let mut pack = Pack::new(true);
    pack.add(COMMIT, &tip, &Base::None);
    let body = push(
        &[format!("{old} {} refs/heads/x", name(&tip, true))],
        "report-status object-format=sha256",
        &pack.finish(),
    );
    assert_eq!(actions(&body), ["git/push"]);
}

/// Commits with numbers of their parents: smaller ones, or one that is not in the pack.
type Graph = Vec<Vec<Option<usize>>>;

fn graph() -> impl Strategy<Value = Graph> {
    let parent = (0..24usize, 0..10u8).prop_map(|(number, outside)| (outside > 0).then_some(number));
    proptest::collection::vec(proptest::collection::vec(parent, 0..3), 1..24)
}

/// Which commits each has behind itself, itself too, and whether some way leaves the pack. Slow and plain.
fn behind(graph: &Graph) -> Vec<(HashSet<usize>, bool)> {
    let mut all: Vec<(HashSet<usize>, bool)> = Vec::new();
    for (number, parents) in graph.iter().enumerate() {
        let mut mine = (HashSet::from([number]), false);
        for parent in parents {
            match parent.filter(|_| number > 0).map(|parent| parent % number) {
                Some(parent) => {
                    mine.0.extend(all[parent].0.iter().copied());
                    mine.1 |= all[parent].1;
                }
                None => mine.1 = true,
            }
        }
        all.push(mine);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The same as the plain way, however the commits are written and in whatever order.
    #[test]
    fn a_pack_proves_what_its_commits_say(
        graph in graph(),
        how in proptest::collection::vec((0..3u8, any::<prop::sample::Index>()), 24),
        order in proptest::collection::vec(any::<u16>(), 24),
        (old, new, present) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()),
    ) {
        let outside = OLD.to_owned();
        let mut contents: Vec<Vec<u8>> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (number, parents) in graph.iter().enumerate() {
            let of = |parent: &Option<usize>| parent.filter(|_| number > 0).map_or(&outside, |parent| &names[parent % number]);
            let parents: Vec<String> = parents.iter().map(|parent| of(parent).clone()).collect();
            let content = commit(&parents, &format!("commit {number}"), false);
            names.push(name(&content, false));
            contents.push(content);
        }
        let mut sorted: Vec<usize> = (0..graph.len()).collect();
        sorted.sort_by_key(|number| order[*number]);
        let (mut pack, mut places) = (Pack::new(false), HashMap::new());
        for (written, number) in sorted.iter().enumerate() {
            let (kind, base) = &how[*number];
            // On one that stands before, by its place or its name; by name on a later one too, but never in a circle.
            let before = sorted[..written].get(if written == 0 { 0 } else { base.index(written) });
            let later = sorted.get(written + 1).filter(|_| written % 3 == 0);
            let base = match (kind, before, later) {
                (1, Some(base), _) => Base::At(places[base], &contents[*base]),
                (2, _, Some(base)) | (2, Some(base), None) if how[*base].0 == 0 => {
                    Base::Named(&names[*base], &contents[*base])
                }
                _ => Base::None,
            };
            places.insert(*number, pack.add(COMMIT, &contents[*number], &base));
        }
        let (old, new) = (old.index(graph.len()), new.index(graph.len()));
        let (reached, leaves) = &behind(&graph)[new];
        // The old tip is one of the pack, or the one that only the server has.
        let (old, forward) = if present { (names[old].clone(), reached.contains(&old)) } else { (outside, *leaves) };
        let want: &[&str] = if forward { &["git/push"] } else if *leaves { &BOTH } else { &FORCED };
        prop_assert_eq!(updated(&old, &names[new], &pack.finish()), want);
    }
}
