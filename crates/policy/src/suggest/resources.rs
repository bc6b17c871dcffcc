//! From the resources that were seen to the fewest patterns that stay close to them.

use std::collections::{BTreeMap, BTreeSet};

use model::Resource;

/// Names below one prefix from which on the prefix stands for them.
const ALIKE_MIN: usize = 3;
/// Resources of one kind and owner that are listed one by one.
const LISTED_MAX: usize = 20;
/// Letters and digits from which on what follows `cus_` is an identifier that a machine made. Those are things (a customer, a charge, a
/// pull request by its node), and tomorrow's have others; a name or a channel (`C024BE91L`) is a place, and stays what it is.
const MADE_CHARS_MIN: usize = 10;

/// Patterns that cover all of these, and those among them that cover more.
pub(super) fn generalise(seen: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut patterns: BTreeSet<String> = BTreeSet::new();
    let mut wider: BTreeSet<String> = BTreeSet::new();
    // Branches and tags by where they are and how their names begin.
    let mut named: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut plain: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut made: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for text in seen {
        made.entry(made_after(text).unwrap_or_default()).or_default().insert(text);
    }
    made.retain(|begins, all| !begins.is_empty() && all.len() >= ALIKE_MIN);
    for begins in made.keys() {
        wider.insert(format!("{begins}*"));
        patterns.insert(format!("{begins}*"));
    }
    for text in seen.iter().filter(|text| made_after(text).is_none_or(|begins| !made.contains_key(begins))) {
        let resource = Resource::new(text);
        let head = resource.tail().and_then(|tail| tail.split_once('/')).map(|(head, _)| head.to_owned());
        match (resource.tail(), head) {
            (Some(tail), Some(head)) => {
                let place = text.strip_suffix(&format!("@{tail}")).unwrap_or(text).to_owned();
                named.entry((place, head)).or_default().insert(tail.to_owned());
            }
            _ => {
                plain.entry(owner(&resource)).or_default().insert(text.clone());
            }
        }
    }
    for ((place, _), tails) in named {
        if tails.len() < ALIKE_MIN {
            for tail in tails {
                let text = format!("{place}@{tail}");
                plain.entry(owner(&Resource::new(&text))).or_default().insert(text);
            }
        } else {
            let pattern = format!("{place}@{}*", common(&tails));
            wider.insert(pattern.clone());
            patterns.insert(pattern);
        }
    }
    for (pattern, all) in plain {
        if all.len() > LISTED_MAX {
            wider.insert(pattern.clone());
            patterns.insert(pattern);
        } else {
            patterns.extend(all);
        }
    }
    (patterns.into_iter().collect(), wider.into_iter().collect())
}

/// What stands before an identifier that a machine made, up to and with the `_`: `customer:cus_` of `customer:cus_NffrFeUfNV2Hib`.
fn made_after(text: &str) -> Option<&str> {
    let (begins, made) = text.split_at_checked(text.find('_')? + 1)?;
    let is_made = made.len() >= MADE_CHARS_MIN
        && made.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && made.bytes().any(|byte| byte.is_ascii_digit());
    (is_made && begins.contains(':') && !begins.contains('/')).then_some(begins)
}

/// Prefixes of paths that cover all of these, and those among them that cover more. Paths that no action is known for have identifiers in
/// them, too: three or more that are alike up to one are covered by what stands before it.
pub(super) fn endpoints(seen: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    let mut before: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (begins, id) in seen.iter().filter_map(|path| before_id(path)) {
        before.entry(begins).or_default().insert(id);
    }
    before.retain(|_, ids| ids.len() >= ALIKE_MIN);
    let is_covered = |path: &String| before_id(path).is_some_and(|(begins, _)| before.contains_key(begins));
    let wider: BTreeSet<String> = before.keys().map(|begins| (*begins).to_owned()).collect();
    let all: BTreeSet<String> = seen.iter().filter(|path| !is_covered(path)).chain(&wider).cloned().collect();
    (all.into_iter().collect(), wider.into_iter().collect())
}

/// What stands before the first segment that is an identifier, and that segment; never the root alone.
fn before_id(path: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    for segment in path.split('/') {
        if at > 1 && is_id(segment) {
            return Some((path.get(..at - 1)?, segment));
        }
        at += segment.len() + 1;
    }
    None
}

/// A number, or something long that has one in it. Not `v1`, and no name of a file.
fn is_id(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    digits > 0 && plain && (digits == segment.len() || segment.len() >= MADE_CHARS_MIN)
}

/// The pattern that covers everything of this kind and owner: `repo:o/*`, `branch:o/r@*`, `user:*`.
fn owner(resource: &Resource) -> String {
    let segments: Vec<&str> = resource.segments().collect();
    let kind = resource.kind();
    match (segments.as_slice(), resource.tail()) {
        (all, Some(_)) => format!("{kind}:{}@*", all.join("/")),
        ([_] | [], None) => format!("{kind}:*"),
        ([front @ .., _], None) => format!("{kind}:{}/*", front.join("/")),
    }
}

/// What all begin with, up to and with a slash; each has one.
fn common(tails: &BTreeSet<String>) -> String {
    let (Some(first), Some(last)) = (tails.first(), tails.last()) else { return String::new() };
    // Of sorted texts the first and the last have the least in common.
    let length = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    let end = first.as_bytes().get(..length).and_then(|same| same.iter().rposition(|byte| *byte == b'/'));
    end.and_then(|end| first.get(..=end)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_alike_up_to_an_identifier() {
        for (seen, expected, wider) in [
            (&["/items/1", "/items/2", "/items/34"][..], &["/items"][..], 1),
            (&["/items/1", "/items/2"], &["/items/1", "/items/2"], 0),
            (&["/items/1", "/items/1/a", "/items/1/b"], &["/items/1", "/items/1/a", "/items/1/b"], 0),
            (&["/v1/items/1/notes", "/v1/items/2/notes", "/v1/items/3"], &["/v1/items"], 1),
            (&["/v1/a", "/v2/a", "/v3/a"], &["/v1/a", "/v2/a", "/v3/a"], 0),
            (&["/1", "/2", "/3"], &["/1", "/2", "/3"], 0),
            (&["/a", "/b", "/c"], &["/a", "/b", "/c"], 0),
            (
                &["/f/2024-01.pdf", "/f/2024-02.pdf", "/f/2024-03.pdf"],
                &["/f/2024-01.pdf", "/f/2024-02.pdf", "/f/2024-03.pdf"],
                0,
            ),
            (&["/p/0b9e31d4-ae01", "/p/1b9e31d4-ae01", "/p/2b9e31d4-ae01", "/q/1"], &["/p", "/q/1"], 1),
        ] {
            let seen: BTreeSet<String> = seen.iter().map(|path| (*path).to_owned()).collect();
            let (all, generalised) = endpoints(&seen);
            assert_eq!(
                (all.iter().map(String::as_str).collect::<Vec<_>>(), generalised.len()),
                (expected.to_vec(), wider)
            );
        }
    }

    #[test]
    fn few_are_listed_many_of_a_kind_are_a_pattern() {
        let many = |count: usize, form: &dyn Fn(usize) -> String| (0..count).map(form).collect::<Vec<_>>();
        let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        for (seen, expected, wider) in [
            (text(&["repo:o/r"]), text(&["repo:o/r"]), 0),
            (
                text(&["branch:o/r@agent/a", "branch:o/r@agent/b"]),
                text(&["branch:o/r@agent/a", "branch:o/r@agent/b"]),
                0,
            ),
            (many(3, &|at| format!("branch:o/r@agent/{at}")), text(&["branch:o/r@agent/*"]), 1),
            (many(3, &|at| format!("branch:o/r@agent/x/{at}")), text(&["branch:o/r@agent/x/*"]), 1),
            (many(3, &|at| format!("branch:o/r@a{at}/x")), many(3, &|at| format!("branch:o/r@a{at}/x")), 0),
            (many(3, &|at| format!("branch:o/{at}@agent/x")), many(3, &|at| format!("branch:o/{at}@agent/x")), 0),
            (many(3, &|at| format!("branch:o/r@agent{at}")), many(3, &|at| format!("branch:o/r@agent{at}")), 0),
            (many(20, &|at| format!("repo:o/{at:02}")), many(20, &|at| format!("repo:o/{at:02}")), 0),
            (many(21, &|at| format!("repo:o/{at}")), text(&["repo:o/*"]), 1),
            (many(21, &|at| format!("repo:o{at:02}/r")), many(21, &|at| format!("repo:o{at:02}/r")), 0),
            (many(21, &|at| format!("user:{at}")), text(&["user:*"]), 1),
            (many(21, &|at| format!("package:p@{at}")), text(&["package:p@*"]), 1),
            (many(3, &|at| format!("customer:cus_NffrFeUfNV{at}")), text(&["customer:cus_*"]), 1),
            (
                many(2, &|at| format!("customer:cus_NffrFeUfNV{at}")),
                many(2, &|at| format!("customer:cus_NffrFeUfNV{at}")),
                0,
            ),
            (many(3, &|at| format!("user:ada_{at}")), many(3, &|at| format!("user:ada_{at}")), 0),
            (many(3, &|at| format!("repo:o/a_long_enough{at}")), many(3, &|at| format!("repo:o/a_long_enough{at}")), 0),
            (
                text(&["node:I_kwDOabcdef1", "node:PR_kwDOabcde1", "node:PR_kwDOabcde2", "node:PR_kwDOabcde3"]),
                text(&["node:I_kwDOabcdef1", "node:PR_*"]),
                1,
            ),
        ] {
            let (patterns, generalised) = generalise(&seen.into_iter().collect());
            assert_eq!((patterns, generalised.len()), (expected, wider));
        }
    }
}
