//! What a change touches: named sets of paths of a repository, by whatever road it comes. Each set is a fact, `touches.NAME`: `yes`,
//! `no`, what git alone can say (`kept`, `none`), or unknown.

use model::{Fact, Facts, Unknown};

use super::body::Slot;
use crate::compiled::Touch;
use crate::file::Stand;

/// It changes something there.
pub(super) const YES: &str = "yes";
/// It names paths, and none of them is there.
pub(super) const NO: &str = "no";
/// What stands there is something that the server has: as it was, or put there from elsewhere.
pub(super) const KEPT: &str = "kept";

/// Adds what is said of each set by what stands at these places; no place at all: a ref that moves to something the server has.
pub(super) fn add(sets: &[Touch], places: &[Slot<'_>], facts: &mut Facts) {
    for set in sets {
        let fact = if places.is_empty() { Fact::Text(KEPT.into()) } else { said(set, places) };
        facts.add(set.fact.clone(), fact);
    }
}

fn said(set: &Touch, places: &[Slot<'_>]) -> Fact {
    let (mut most, mut unknown) = (Stand::Out, None);
    let mut look = |path: &str| most = set.paths.iter().map(|place| place.stand(path)).fold(most, Ord::max);
    for place in places {
        match place {
            Slot::Absent => {}
            Slot::Text(path) | Slot::Loose(path) => look(path),
            Slot::List(paths) => paths.iter().for_each(|path| look(path)),
            Slot::Unknown(why) => unknown = Some(*why),
            Slot::Int(_) | Slot::Bool(_) => unknown = Some(Unknown::WrongType),
        }
    }
    match (most, unknown) {
        (Stand::In, _) => Fact::Text(YES.into()),
        (_, Some(why)) => Fact::Unknown(why),
        (Stand::Odd, None) => Fact::Unknown(Unknown::Ambiguous),
        (Stand::Near, None) => Fact::Unknown(Unknown::NotProven),
        (Stand::Out, None) => Fact::Text(NO.into()),
    }
}
