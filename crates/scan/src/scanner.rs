//! One pass over the octets: an automaton finds the words, rules look where their words stand.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::assignment;
use crate::check::Check;
use crate::finding::{Certainty, Finding, Fingerprint};
use crate::format::Format;
use crate::plausible;
use crate::reader::{self, Read};
use crate::rule::{self, Kind, Rule, RuleError, Shape, Way};
use crate::stream::{Cut, Cutter};
use crate::window::Window;

/// Says of a value that it is no secret: Valetkey's own placeholders.
pub type Known<'a> = dyn Fn(&[u8]) -> bool + Sync + 'a;

/// A token longer than this is none; Atlassian's and AWS's session tokens are the longest.
const TOKEN_BYTES_MAX: usize = 2_048;
/// How far a token reaches to the left of a word in its middle.
const MIDDLE_BYTES_MAX: usize = 160;
/// Bits an octet of a value whose prefix or shape is a vendor's; what people write in its place has less.
const ENTROPY_BITS_MIN: f64 = 2.6;
/// A line is looked at this far for the mark that its findings are meant.
const LINE_BYTES_MAX: usize = 2_048;

/// The rules, ready to run. One for the process; threads share it.
pub struct Scanner {
    words: AhoCorasick,
    /// For each word of the automaton, the rules that it belongs to.
    rules_of: Vec<Vec<usize>>,
    spellings: Vec<String>,
    rules: Vec<Rule>,
}

/// A value that a rule found, before it is compared with the others.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'r> {
    rule: &'r Rule,
    certainty: Certainty,
    start: usize,
    end: usize,
    /// Octets at its beginning that are the vendor's and no secret.
    public: usize,
    /// Where what is assigned begins: the value, or the address that holds it.
    assigned: usize,
}

impl Scanner {
    /// The one with the built-in rules.
    ///
    /// # Errors
    /// A rule file of this build is wrong; a test excludes that.
    pub fn builtin() -> Result<&'static Self, &'static RuleError> {
        static BUILTIN: OnceLock<Result<Scanner, RuleError>> = OnceLock::new();
        BUILTIN.get_or_init(|| Self::of(rule::builtin()?)).as_ref()
    }

    fn of(rules: Vec<Rule>) -> Result<Self, RuleError> {
        let mut spellings: Vec<String> = Vec::new();
        let mut rules_of: Vec<Vec<usize>> = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            for word in &rule.words {
                // Two spellings of one word are one pattern of the automaton, which knows no case.
                if let Some(at) = spellings.iter().position(|known| known.eq_ignore_ascii_case(word)) {
                    if let Some(list) = rules_of.get_mut(at) {
                        list.push(number);
                    }
                } else {
                    spellings.push(word.clone());
                    rules_of.push(vec![number]);
                }
            }
        }
        let words = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(&spellings)
            .map_err(|error| RuleError::of_words(error.to_string()))?;
        Ok(Self { words, rules_of, spellings, rules })
    }

    /// Every kind that is looked for.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.rules.iter().map(|rule| &rule.kind)
    }

    /// Everything in these octets, in order.
    #[must_use]
    pub fn scan(&self, octets: &[u8], format: Format, known: &Known<'_>) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut cutter = Cutter::default();
        while let Some(cut) = cutter.next(octets) {
            found.extend(self.stretch(octets, &cut, format, known));
        }
        found
    }

    /// One stretch of the input with its context; `octets` begins where `cut` counts from.
    pub(crate) fn stretch(&self, octets: &[u8], cut: &Cut, format: Format, known: &Known<'_>) -> Vec<Finding> {
        let window = Window { octets: octets.get(cut.context.0..cut.context.1).unwrap_or_default() };
        let inside = cut.own.0 - cut.context.0..cut.own.1 - cut.context.0;
        let mut candidates = self.candidates(window, format);
        candidates.retain(|one| inside.contains(&one.start) && !known(window.slice(one.start, one.end)));
        best(&mut candidates);
        candidates.retain(|one| !allowed(window, one.start));
        candidates.iter().map(|one| cut.place(window, inside.start, finding(window, one))).collect()
    }

    fn candidates(&self, window: Window<'_>, format: Format) -> Vec<Candidate<'_>> {
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for hit in self.words.find_overlapping_iter(window.octets) {
            let word = hit.pattern().as_usize();
            let Some(rules) = self.rules_of.get(word) else { continue };
            for rule in rules.iter().filter_map(|number| self.rules.get(*number)) {
                let place = (hit.start(), hit.end());
                let exact =
                    || self.spellings.get(word).is_some_and(|word| window.slice(place.0, place.1) == word.as_bytes());
                let candidate = match &rule.way {
                    Way::Prefix(shape) => exact().then(|| prefixed(rule, shape, window, place)).flatten(),
                    Way::Names(shape) => named(rule, shape, window, place, format),
                    Way::Middle(shape) => exact().then(|| around(rule, shape, window, place)).flatten(),
                    Way::Reader(reader) => {
                        reader::read(*reader, window, place, format).map(|read| of_reader(rule, read))
                    }
                };
                // Several words of one rule find the same value.
                let last = candidates.last().is_some_and(|last| {
                    candidate.is_some_and(|new| {
                        (new.start, new.end, new.certainty) == (last.start, last.end, last.certainty)
                    })
                });
                candidates.extend(candidate.filter(|_| !last));
            }
        }
        candidates
    }
}

fn of_reader(rule: &Rule, read: Read) -> Candidate<'_> {
    let Read { start, end, public, assigned, certainty } = read;
    Candidate { rule, certainty, start, end, public, assigned }
}

fn prefixed<'r>(
    rule: &'r Rule,
    shape: &Shape,
    window: Window<'_>,
    (start, after): (usize, usize),
) -> Option<Candidate<'r>> {
    if !window.begins(start) {
        return None;
    }
    let matched = shape.get()?.find(window.from(after, TOKEN_BYTES_MAX))?;
    let end = after + matched.end();
    let rest = window.slice(after, end);
    let good = window.ends(end) && plausible_shape(rest) && passes(rule, window.slice(start, end), after - start);
    let certainty = Certainty::Certain;
    good.then_some(Candidate { rule, certainty, start, end, public: after - start, assigned: start })
}

fn named<'r>(
    rule: &'r Rule,
    shape: &Shape,
    window: Window<'_>,
    hit: (usize, usize),
    format: Format,
) -> Option<Candidate<'r>> {
    let found = assignment::around(window, hit.0, hit.1, format)?;
    let (start, end) = found.value;
    let value = window.slice(start, end);
    let name = window.slice(found.name.0, found.name.1);
    let good = reader::names_a_secret(name)
        && shape.get()?.is_match(value)
        && plausible_shape(value)
        && passes(rule, value, 0);
    good.then_some(Candidate { rule, certainty: Certainty::Shaped, start, end, public: 0, assigned: start })
}

fn around<'r>(rule: &'r Rule, shape: &Shape, window: Window<'_>, hit: (usize, usize)) -> Option<Candidate<'r>> {
    let part = |octet: u8| octet.is_ascii_alphanumeric() || b"_-.~+/:".contains(&octet);
    let from = window.back(hit.0, MIDDLE_BYTES_MAX, part);
    let to = window.skip(hit.1, TOKEN_BYTES_MAX, |octet| part(octet) || octet == b'=');
    let run = window.slice(from, to);
    let matched =
        shape.get()?.find_iter(run).find(|matched| from + matched.start() <= hit.0 && hit.1 <= from + matched.end())?;
    let (start, end) = (from + matched.start(), from + matched.end());
    let value = window.slice(start, end);
    let good = window.begins(start) && window.ends(end) && plausible_shape(value) && passes(rule, value, 0);
    good.then_some(Candidate { rule, certainty: Certainty::Shaped, start, end, public: 0, assigned: start })
}

fn plausible_shape(value: &[u8]) -> bool {
    !plausible::is_example(value) && plausible::entropy(value) >= ENTROPY_BITS_MIN
}

fn passes(rule: &Rule, value: &[u8], prefix: usize) -> bool {
    rule.check.is_none_or(|check: Check| check.passes(value, prefix))
}

/// Of candidates that overlap the surest stays, and of those the longest.
fn best(candidates: &mut Vec<Candidate<'_>>) {
    candidates.sort_by_key(|one| (std::cmp::Reverse(one.certainty), std::cmp::Reverse(one.end - one.start), one.start));
    // What is kept is disjoint, so only the last that begins before the end can overlap.
    let mut kept: BTreeMap<usize, usize> = BTreeMap::new();
    candidates.retain(|one| {
        let free = kept.range(..one.end).next_back().is_none_or(|(_, end)| *end <= one.start);
        if free {
            kept.insert(one.start, one.end);
        }
        free
    });
    candidates.sort_by_key(|one| one.start);
}

fn allowed(window: Window<'_>, at: usize) -> bool {
    let (start, end) = window.line(at, LINE_BYTES_MAX);
    memchr::memmem::find(window.slice(start, end), crate::ALLOW.as_bytes()).is_some()
}

/// What is said of it; the place is still within the window.
fn finding(window: Window<'_>, one: &Candidate<'_>) -> Finding {
    let value = window.slice(one.start, one.end);
    let public = String::from_utf8_lossy(value.get(..one.public).unwrap_or_default()).into_owned();
    Finding {
        kind: Arc::clone(&one.rule.kind),
        certainty: one.certainty,
        start: one.start as u64,
        end: one.end as u64,
        line: 0,
        column: 0,
        name: assignment::name_before(window, one.assigned),
        fingerprint: Fingerprint::of(&one.rule.kind, value),
        preview: format!("{public}...({})", value.len()),
    }
}
