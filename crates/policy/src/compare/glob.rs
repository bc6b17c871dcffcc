//! Texts for globs: one for every set of globs that some text matches and no other text's set is.

use std::collections::{BTreeMap, HashSet, VecDeque};

/// Places in globs, over all joint states that are looked at: two thousand names of twenty letters come to less; more come of many
/// stars.
const PLACES_MAX: usize = 100_000;

/// Too many ways in which patterns can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the patterns can meet in more ways than are looked at")]
pub(super) struct Entangled;

/// Which texts a place of a resource can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Between two slashes; `small` where only small letters are compared.
    Segment {
        /// Only small letters.
        small: bool,
    },
    /// After the `@`.
    Tail,
}

impl Place {
    fn takes(self, letter: char, first: bool) -> bool {
        match self {
            Self::Tail => true,
            Self::Segment { small } => {
                letter != '/' && (letter != '@' || first) && !(small && letter.is_ascii_uppercase())
            }
        }
    }
}

/// Where each glob stands: its number and a place in it, sorted.
type State = Vec<(usize, usize)>;

/// A text for every set of globs (by number) that some text of this place matches exactly. Texts are short, and hold a
/// letter that no glob has where they can.
///
/// # Errors
/// [`Entangled`].
pub(super) fn witnesses(globs: &[&str], place: Place) -> Result<BTreeMap<Vec<usize>, String>, Entangled> {
    let globs: Vec<Vec<char>> = globs.iter().map(|glob| glob.chars().collect()).collect();
    let fresh = fresh(&globs);
    let mut found: BTreeMap<Vec<usize>, String> = BTreeMap::new();
    let start = closure((0..globs.len()).map(|glob| (glob, 0)).collect(), &globs);
    let mut seen: HashSet<State> = HashSet::from([start.clone()]);
    let mut queue = VecDeque::from([(start, String::new())]);
    let mut places = 0;
    while let Some((state, text)) = queue.pop_front() {
        let mut letters: Vec<char> = state.iter().filter_map(|(glob, at)| letter(&globs, *glob, *at)).collect();
        letters.retain(|letter| *letter != '*' && place.takes(*letter, text.is_empty()));
        letters.push(fresh);
        letters.sort_unstable();
        letters.dedup();
        for letter in letters {
            let next = step(&state, letter, &globs);
            let longer = format!("{text}{letter}");
            let matched = accepted(&next, &globs);
            let known = found.entry(matched).or_insert_with(|| longer.clone());
            if letter == fresh && !known.ends_with(fresh) {
                known.clone_from(&longer);
            }
            if !seen.contains(&next) {
                places += next.len() + 1;
                if places > PLACES_MAX {
                    return Err(Entangled);
                }
                seen.insert(next.clone());
                queue.push_back((next, longer));
            }
        }
    }
    Ok(found)
}

fn letter(globs: &[Vec<char>], glob: usize, at: usize) -> Option<char> {
    globs.get(glob).and_then(|glob| glob.get(at)).copied()
}

/// A letter that stands in no glob.
fn fresh(globs: &[Vec<char>]) -> char {
    let free = |letter: &char| !globs.iter().any(|glob| glob.contains(letter));
    ('x'..='z').chain('a'..='w').chain('0'..='9').chain('\u{3b1}'..='\u{d7ff}').find(free).unwrap_or('\u{e000}')
}

/// With what follows each star, which may stand for nothing.
fn closure(mut state: State, globs: &[Vec<char>]) -> State {
    let mut at = 0;
    while let Some((glob, place)) = state.get(at).copied() {
        if letter(globs, glob, place) == Some('*') && !state.contains(&(glob, place + 1)) {
            state.push((glob, place + 1));
        }
        at += 1;
    }
    state.sort_unstable();
    state.dedup();
    state
}

fn step(state: &State, with: char, globs: &[Vec<char>]) -> State {
    let moved = state.iter().filter_map(|(glob, at)| match letter(globs, *glob, *at) {
        Some('*') => Some((*glob, *at)),
        Some(letter) if letter == with => Some((*glob, *at + 1)),
        _ => None,
    });
    closure(moved.collect(), globs)
}

fn accepted(state: &State, globs: &[Vec<char>]) -> Vec<usize> {
    let ends = |(glob, at): &&(usize, usize)| globs.get(*glob).is_some_and(|glob| glob.len() == *at);
    let mut all: Vec<usize> = state.iter().filter(ends).map(|(glob, _)| *glob).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::pattern::glob;

    #[test]
    fn every_way_to_meet_has_a_text() {
        let segment = Place::Segment { small: false };
        for (globs, place, sets) in [
            (vec!["a", "b"], segment, vec![vec![], vec![0], vec![1]]),
            (vec!["agent/*"], Place::Tail, vec![vec![], vec![0]]),
            (vec!["a*", "*b"], segment, vec![vec![], vec![0], vec![0, 1], vec![1]]),
            (vec!["*", "docs-*"], segment, vec![vec![0], vec![0, 1]]),
            (vec!["a*", "ab*", "abc"], segment, vec![vec![], vec![0], vec![0, 1], vec![0, 1, 2]]),
            (vec!["A", "a"], Place::Segment { small: true }, vec![vec![], vec![1]]),
            (vec!["a/b"], segment, vec![vec![]]),
            (vec!["*a*b*", "*b*a*"], segment, vec![vec![], vec![0], vec![0, 1], vec![1]]),
        ] {
            let found = witnesses(&globs, place).expect("few states");
            assert_eq!(found.keys().cloned().collect::<Vec<_>>(), sets, "{globs:?}");
            for (set, text) in &found {
                let matched: Vec<usize> =
                    globs.iter().enumerate().filter(|(_, one)| glob(one, text)).map(|(at, _)| at).collect();
                assert_eq!(&matched, set, "{text} of {globs:?}");
            }
        }
        let names: Vec<String> = (0..2_000).map(|at| format!("some-repository-{at:04}")).collect();
        let found = witnesses(&names.iter().map(String::as_str).collect::<Vec<_>>(), segment);
        assert_eq!(found.map(|found| found.len()), Ok(2_001));
        let evil: Vec<String> = (0..12).map(|at| format!("*{}*", "ab".repeat(at + 3))).collect();
        let more: Vec<String> = (0..18).map(|at| format!("*{}*{at}*", char::from(b'a' + at))).collect();
        assert!(witnesses(&evil.iter().map(String::as_str).collect::<Vec<_>>(), segment).is_ok());
        assert_eq!(witnesses(&more.iter().map(String::as_str).collect::<Vec<_>>(), segment), Err(Entangled));
    }
}
