//! Whether a push moves a branch forward, as far as the pack beside it proves that.

use std::collections::HashSet;

use super::command::Id;
use super::pack::Commits;

/// Commits that are looked at for all branches of a push.
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
        let Some(left) = steps.checked_sub(1) else { return Ancestry::Unknown };
        *steps = left;
        match commits.get(&id).filter(|_| !cut.contains(&id)) {
            Some(parents) => open.extend(parents.iter().filter(|parent| seen.insert(**parent))),
            None => leaves = true,
        }
    }
    if leaves { Ancestry::Unknown } else { Ancestry::Forced }
}
