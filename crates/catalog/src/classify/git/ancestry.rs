//! Whether a push moves a branch forward, as far as the pack beside it proves that.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::command::Id;
use super::pack::Commits;

/// Commits and parents that are looked at for all branches of a push.
pub(super) const STEPS_MAX: usize = 1024 * 1024;

/// How the new tip stands to the old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ancestry {
    /// The old is reached from the new: nothing is lost.
    Forward,
    /// Every way ends at a beginning, and none comes by the old.
    Forced,
    /// Some way leaves the pack.
    Unknown,
}

/// Follows parents from the new tip. A commit's name is made of its parents' names, so that what is found holds wherever these commits
/// are. The parents of a commit in `cut` are not there for the client, and perhaps not for the server.
pub(super) fn ancestry(commits: &Commits, cut: &HashSet<Id>, (old, new): (Id, Id), steps: &mut usize) -> Ancestry {
    let mut seen = HashSet::from([new]);
    let mut open = vec![new];
    let mut leaves = false;
    while let Some(id) = open.pop() {
        if id == old {
            return Ancestry::Forward;
        }
        let parents = commits.get(&id).filter(|_| !cut.contains(&id)).map(|commit| &commit.parents);
        // Every edge costs: one commit may name as many parents as it likes.
        let cost = 1 + parents.map_or(0, SmallVec::len);
        let Some(left) = steps.checked_sub(cost) else { return Ancestry::Unknown };
        *steps = left;
        match parents {
            Some(parents) => open.extend(parents.iter().filter(|parent| seen.insert(**parent))),
            None => leaves = true,
        }
    }
    if leaves { Ancestry::Unknown } else { Ancestry::Forced }
}
