//! Which statements stand behind the names that an agent gave them. Messages run ahead of their answers, and a server that met an error
//! skips what follows until the next Sync: then a name may still mean what it meant before. So a name stands for all that it may mean, until
//! an answer says which, and what runs under it is judged and counted as all of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use model::Classification;

/// Names of statements, and of portals, on one connection.
const NAMES_MAX: usize = 8_192;
/// What one name may mean at once.
const MEANINGS_MAX: usize = 8;

/// Statements that a name may stand for.
pub(super) type Meanings = Vec<Arc<Classification>>;

/// More names or meanings than are kept.
#[derive(Debug)]
pub(super) struct TooMany;

#[derive(Clone)]
enum Change {
    Parsed(Arc<Classification>),
    Closed,
}

struct Portal {
    meanings: Meanings,
    /// What it meant before the round that is open: it means that still if its Bind fails.
    before: Meanings,
    round: u64,
    /// It has begun to run: what follows fetches more of the same.
    runs: bool,
}

/// The names of one connection.
pub(super) struct Names {
    statements: HashMap<Bytes, Meanings>,
    /// Changes whose answers have not come, with the round that they belong to.
    changes: VecDeque<(u64, Bytes, Change)>,
    portals: HashMap<Bytes, Portal>,
    /// Messages up to a Sync are a round: how many have been sent, and how many were answered.
    sent: u64,
    answered: u64,
    /// Nothing was sent in this round yet: the server is not skipping.
    fresh: bool,
    /// A COPY may be under way, in which the server takes a Sync for nothing.
    copies: bool,
}

impl Default for Names {
    fn default() -> Self {
        let (statements, changes, portals) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Self { statements, changes, portals, sent: 0, answered: 0, fresh: true, copies: false }
    }
}

fn same(one: &Classification, other: &Classification) -> bool {
    one.calls == other.calls
}

impl Names {
    /// A message goes to the server, in the round that is open; `ends` where it ends that.
    pub(super) fn sends(&mut self, ends: bool) {
        self.fresh = ends;
        self.sent += u64::from(ends);
    }

    /// A statement that may run gets a name; the empty name is one.
    pub(super) fn parsed(&mut self, name: Bytes, statement: Arc<Classification>) -> Result<(), TooMany> {
        if self.statements.len() >= NAMES_MAX && !self.statements.contains_key(&name) {
            return Err(TooMany);
        }
        let meanings = self.statements.entry(name.clone()).or_default();
        if name.is_empty() && self.fresh && !self.copies {
            // The server reads it for certain, and forgets what was before even where it fails.
            meanings.clear();
        }
        if !meanings.iter().any(|known| same(known, &statement)) {
            meanings.push(Arc::clone(&statement));
        }
        if meanings.len() > MEANINGS_MAX {
            return Err(TooMany);
        }
        self.change(name, Change::Parsed(statement))
    }

    /// A statement is closed, as soon as the server hears of it.
    pub(super) fn closed(&mut self, name: Bytes) -> Result<(), TooMany> {
        self.change(name, Change::Closed)
    }

    fn change(&mut self, name: Bytes, change: Change) -> Result<(), TooMany> {
        if self.changes.len() >= NAMES_MAX {
            return Err(TooMany);
        }
        self.changes.push_back((self.sent, name, change));
        Ok(())
    }

    /// A portal of a statement; whether anything is known of that.
    pub(super) fn bound(&mut self, portal: Bytes, statement: &Bytes) -> Result<bool, TooMany> {
        let Some(meanings) = self.statements.get(statement).filter(|meanings| !meanings.is_empty()) else {
            return Ok(false);
        };
        if self.portals.len() >= NAMES_MAX && !self.portals.contains_key(&portal) {
            return Err(TooMany);
        }
        let meanings = meanings.clone();
        // One with a name was judged when it was bound.
        let runs = !portal.is_empty();
        let before = self.portals.remove(&portal).map(|old| old.meanings.into_iter().chain(old.before).collect());
        let before: Meanings = before.unwrap_or_default();
        if before.len() > MEANINGS_MAX {
            return Err(TooMany);
        }
        self.portals.insert(portal, Portal { meanings, before, round: self.sent, runs });
        Ok(true)
    }

    /// What a statement's name may mean.
    pub(super) fn meanings(&self, statement: &Bytes) -> Meanings {
        self.statements.get(statement).cloned().unwrap_or_default()
    }

    /// What a portal runs; with whether it does so for the first time.
    pub(super) fn runs(&mut self, portal: &Bytes) -> Option<(Meanings, bool)> {
        let portal = self.portals.get_mut(portal)?;
        let first = !std::mem::replace(&mut portal.runs, true);
        Some((portal.meanings.clone(), first))
    }

    /// What runs now is a COPY.
    pub(super) fn copies(&mut self) {
        self.copies = true;
    }

    /// A portal that was not let run is none.
    pub(super) fn forgets(&mut self, portal: &Bytes) {
        self.portals.remove(portal);
    }

    /// A round was answered: whole, or with an error in it; `idle` where no transaction is open after it.
    pub(super) fn answered(&mut self, whole: bool, idle: bool) {
        self.copies = false;
        let round = self.answered;
        self.answered += 1;
        for portal in self.portals.values_mut().filter(|portal| portal.round <= round) {
            let before = std::mem::take(&mut portal.before);
            if !whole && !before.is_empty() {
                // Which of them it is was never said; what runs is judged as all of them, from the start.
                for old in before {
                    if !portal.meanings.iter().any(|known| same(known, &old)) {
                        portal.meanings.push(old);
                    }
                }
                portal.runs = false;
            }
        }
        while let Some((of, _, _)) = self.changes.front()
            && *of <= round
        {
            let Some((_, name, change)) = self.changes.pop_front() else { break };
            if !whole {
                continue;
            }
            match change {
                Change::Parsed(statement) => {
                    // Later rounds may have added to it.
                    let later: Meanings = self
                        .changes
                        .iter()
                        .filter_map(|(_, other, change)| match change {
                            Change::Parsed(statement) if *other == name => Some(Arc::clone(statement)),
                            _ => None,
                        })
                        .collect();
                    let meanings = std::iter::once(statement).chain(later).collect();
                    self.statements.insert(name, meanings);
                }
                Change::Closed => {
                    if !self
                        .changes
                        .iter()
                        .any(|(_, other, change)| *other == name && matches!(change, Change::Parsed(_)))
                    {
                        self.statements.remove(&name);
                    }
                }
            }
        }
        if idle {
            self.portals.retain(|_, portal| portal.round > round);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{ActionId, Call, Class, Effects, Facts, Resource};

    use super::*;

    fn statement(table: &str) -> Arc<Classification> {
        let call = Call {
            action: ActionId::new("sql/select").expect("an action"),
            class: Class::Read,
            effects: Effects::NONE,
            resource: Resource::new(&format!("table:crm@{table}")),
            facts: Facts::default(),
        };
        Arc::new(Classification::new(None, smallvec::smallvec![call], Arc::from("/crm")))
    }

    fn meanings(names: &mut Names, name: &'static [u8]) -> Vec<String> {
        let portal = Bytes::from_static(b"probe");
        match names.bound(portal.clone(), &Bytes::from_static(name)) {
            Ok(true) => {}
            _ => return Vec::new(),
        }
        let (all, _) = names.runs(&portal).expect("bound");
        all.iter().map(|one| one.calls[0].resource.tail().unwrap_or_default().to_owned()).collect()
    }

    const S: &[u8] = b"s";

    fn parse(names: &mut Names, name: &'static [u8], table: &str) {
        names.parsed(Bytes::from_static(name), statement(table)).expect("kept");
        names.sends(false);
    }

    #[test]
    fn a_name_means_what_it_was_given() {
        let mut names = Names::default();
        parse(&mut names, S, "a");
        assert_eq!(meanings(&mut names, S), ["a"]);
        assert!(meanings(&mut names, b"other").is_empty());
        names.sends(true);
        names.answered(true, true);
        assert_eq!(meanings(&mut names, S), ["a"]);
        // Closed and given anew, in one round that went well.
        names.closed(Bytes::from_static(S)).expect("kept");
        parse(&mut names, S, "b");
        assert_eq!(meanings(&mut names, S), ["a", "b"]);
        names.sends(true);
        names.answered(true, true);
        assert_eq!(meanings(&mut names, S), ["b"]);
        names.closed(Bytes::from_static(S)).expect("kept");
        names.sends(true);
        names.answered(true, true);
        assert!(meanings(&mut names, S).is_empty());
    }

    #[test]
    fn what_was_perhaps_skipped_is_not_forgotten() {
        let mut names = Names::default();
        parse(&mut names, S, "a");
        names.sends(true);
        names.answered(true, true);
        // Something fails; the Close behind it is skipped, and the name still means the old.
        names.sends(false);
        names.closed(Bytes::from_static(S)).expect("kept");
        names.sends(true);
        names.answered(false, true);
        parse(&mut names, S, "b");
        assert_eq!(meanings(&mut names, S), ["a", "b"]);
        // The server says that the name is taken.
        names.sends(true);
        names.answered(false, true);
        assert_eq!(meanings(&mut names, S), ["a", "b"]);
    }

    #[test]
    fn the_statement_without_a_name_is_the_last_that_was_read() {
        let mut names = Names::default();
        for round in 0..40 {
            parse(&mut names, b"", if round % 2 == 0 { "a" } else { "b" });
            assert_eq!(meanings(&mut names, b"").len(), 1, "first of its round, it replaces");
            names.sends(true);
            names.answered(false, true);
        }
        // Behind another message it may be skipped.
        names.sends(false);
        parse(&mut names, b"", "c");
        assert_eq!(meanings(&mut names, b"").len(), 2);
    }

    #[test]
    fn in_a_copy_a_round_begins_nowhere() {
        let mut names = Names::default();
        parse(&mut names, b"", "copied");
        names.copies();
        names.sends(true);
        // The server is still in the COPY, and what comes is its end and not read.
        parse(&mut names, b"", "other");
        names.sends(true);
        names.answered(false, true);
        assert_eq!(meanings(&mut names, b""), ["copied", "other"]);
    }

    #[test]
    fn portals_end_with_their_transaction() {
        let mut names = Names::default();
        parse(&mut names, S, "a");
        let portal = Bytes::from_static(b"p");
        assert!(names.bound(portal.clone(), &Bytes::from_static(S)).expect("kept"));
        assert!(!names.runs(&portal).expect("there").1, "judged when it was bound");
        assert!(names.bound(Bytes::new(), &Bytes::from_static(S)).expect("kept"));
        assert!(names.runs(&Bytes::new()).expect("there").1, "the first time");
        assert!(!names.runs(&Bytes::new()).expect("there").1, "more of the same");
        names.sends(true);
        names.answered(true, false);
        assert!(names.runs(&portal).is_some());
        names.sends(true);
        names.answered(true, true);
        assert!(names.runs(&portal).is_none());
    }

    /// `BEGIN`; Bind p to one; `SAVEPOINT a`; Bind p to another, which the server refuses; `ROLLBACK TO a`; Execute p.
    #[test]
    fn a_portal_whose_bind_failed_may_be_what_it_was() {
        let mut names = Names::default();
        parse(&mut names, S, "first");
        parse(&mut names, b"t", "second");
        let portal = Bytes::from_static(b"p");
        assert!(names.bound(portal.clone(), &Bytes::from_static(S)).expect("kept"));
        names.sends(true);
        names.answered(true, false);
        assert!(names.bound(portal.clone(), &Bytes::from_static(b"t")).expect("kept"));
        assert_eq!(
            names.runs(&portal).expect("there").0.len(),
            1,
            "in its own round what runs is what was bound, or nothing"
        );
        names.sends(true);
        names.answered(false, false);
        let (all, first) = names.runs(&portal).expect("there");
        assert_eq!((all.len(), first), (2, true), "either, and neither was judged as what runs now");
        names.sends(true);
        names.answered(true, false);
        assert_eq!(names.runs(&portal).expect("there").0.len(), 2);
    }

    #[test]
    fn everything_is_bounded() {
        let mut names = Names::default();
        let mut given = 0;
        while names.parsed(Bytes::from(format!("s{given}")), statement("a")).is_ok() {
            names.sends(false);
            given += 1;
            assert!(given <= NAMES_MAX);
        }
        let mut names = Names::default();
        names.sends(false);
        let mut meant = 0;
        while names.parsed(Bytes::from_static(S), statement(&format!("t{meant}"))).is_ok() {
            meant += 1;
            assert!(meant <= MEANINGS_MAX);
        }
    }
}
