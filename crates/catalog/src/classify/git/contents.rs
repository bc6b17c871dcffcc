//! Which sets of paths a pack touches. Trees are followed from the roots of its commits down; what is not in the pack the server has from
//! before, and whether it stood in the same place there cannot be seen.

use std::collections::{HashMap, HashSet};

use super::command::{Format, Id};
use super::pack::Pack;
use crate::compiled::Touch;
use crate::file::TouchPath;

/// What is known of one set; of several commits the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Contents {
    /// Nothing stands there.
    None,
    /// What stands there is not in the pack, and nothing in the pack is named so that a later push could put it there.
    Kept,
    Unknown,
    /// The pack brings something that stands there.
    Brought,
}

/// An entry of a tree whose name is a step to some set.
#[derive(Clone, Copy)]
struct Hit<'a> {
    name: &'a [u8],
    is_tree: bool,
    id: Id,
}

/// Entries of interest, by the tree in which they stand.
type Hits<'a> = HashMap<Id, Vec<Hit<'a>>>;

/// What is known of each set. `files` says which of some files the pack holds.
pub(super) fn contents(
    pack: &Pack,
    format: Format,
    sets: &[Touch],
    files: &dyn Fn(&HashSet<Id>) -> HashSet<Id>,
) -> Vec<Contents> {
    let paths = || sets.iter().flat_map(|set| &set.paths);
    let mut names: Vec<&[u8]> = paths().flat_map(|path| &path.steps).map(|step| step.as_bytes()).collect();
    names.sort_unstable();
    names.dedup();
    let (mut hits, mut whole) = (Hits::new(), pack.whole);
    for (id, tree) in pack.trees() {
        match interesting(tree, format, &names) {
            Some(found) if found.is_empty() => {}
            Some(found) => drop(hits.insert(*id, found)),
            None => whole = false,
        }
    }
    let ends: HashSet<&[u8]> = paths().filter(|path| !path.folder).filter_map(last).collect();
    let of_files = hits.values().flatten().filter(|hit| !hit.is_tree && ends.contains(hit.name));
    let wanted: HashSet<Id> = of_files.map(|hit| hit.id).collect();
    let held = if wanted.is_empty() { HashSet::new() } else { files(&wanted) };
    let roots: HashSet<Id> = pack.commits.values().map(|commit| commit.tree).collect();
    let scene = Scene { pack, hits: &hits, roots: &roots, held: &held };
    let least = if whole { Contents::None } else { Contents::Unknown };
    sets.iter().map(|set| set.paths.iter().map(|path| scene.path(path)).fold(least, Ord::max)).collect()
}

fn last(path: &TouchPath) -> Option<&[u8]> {
    path.steps.last().map(|step| step.as_bytes())
}

struct Scene<'a> {
    pack: &'a Pack,
    hits: &'a Hits<'a>,
    /// Trees of commits.
    roots: &'a HashSet<Id>,
    /// Files of interest that the pack holds.
    held: &'a HashSet<Id>,
}

impl Scene<'_> {
    fn path(&self, path: &TouchPath) -> Contents {
        let all = self.roots.iter().all(|root| self.pack.has_tree(root));
        let mut known = if all { Contents::None } else { Contents::Kept };
        let mut level = self.roots.clone();
        let end = path.steps.len().saturating_sub(1);
        for (depth, step) in path.steps.iter().enumerate() {
            let mut next = HashSet::new();
            let hits = level.iter().filter_map(|id| self.hits.get(id)).flatten();
            for hit in hits.filter(|hit| hit.name == step.as_bytes()) {
                let here = hit.is_tree && self.pack.has_tree(&hit.id);
                known = known.max(match (depth == end, here) {
                    (false, true) => {
                        next.insert(hit.id);
                        Contents::None
                    }
                    (true, true) if path.folder => Contents::Brought,
                    (true, false) if !path.folder && !hit.is_tree && self.held.contains(&hit.id) => Contents::Brought,
                    // A folder that the server has. Where it came by a push of ours, that push was unknown, wherever it stood then: it
                    // holds the set's own name.
                    (false, false) if depth == 0 && hit.is_tree => Contents::Kept,
                    // A link, a module of its own, a file that may have been another's, or what stands beside something new.
                    _ => Contents::Unknown,
                });
            }
            if depth == end && self.is_near(&level, step.as_bytes()) {
                known = known.max(Contents::Unknown);
            }
            level = next;
        }
        known
    }

    /// Whether a tree that stands elsewhere has an entry of the set's own name: a later push could put it in place without bringing it.
    fn is_near(&self, level: &HashSet<Id>, name: &[u8]) -> bool {
        self.hits.iter().any(|(id, hits)| !level.contains(id) && hits.iter().any(|hit| hit.name == name))
    }
}

/// The entries of a tree (`mode name\0id`, each) that have one of these names; nothing where it is odd.
fn interesting<'a>(tree: &'a [u8], format: Format, names: &[&[u8]]) -> Option<Vec<Hit<'a>>> {
    let mut found = Vec::new();
    let mut rest = tree;
    while !rest.is_empty() {
        let (mode, after) = divided(rest, b' ')?;
        let (name, after) = divided(after, 0)?;
        let (id, after) = after.split_at_checked(format.octets())?;
        let digits = matches!(mode.len(), 5 | 6) && mode.iter().all(|byte| (b'0'..=b'7').contains(byte));
        if !digits || name.is_empty() || name.contains(&b'/') {
            return None;
        }
        if names.contains(&name) {
            found.push(Hit { name, is_tree: matches!(mode, b"40000" | b"040000"), id: Id::new(id) });
        }
        rest = after;
    }
    Some(found)
}

/// What stands before an octet, and behind it.
fn divided(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == at)?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}
