//! The search. What makes it cheap on ordinary data, however many needles there are:
//!
//! * *Samples.* A plain occurrence covers one of a few places whole, so only those are looked at: [`super::samples`].
//! * *Introducers.* Forms with escaped characters cannot be listed, but each holds an escape, so only the places of `%`, `\`
//!   and `&` are looked at ([`super::marks`]), and of these only escapes that stand for a character of a needle with the
//!   right neighbours: four characters in a row are known before any form is compared.
//! * *Tails.* What is held back at the end of a frame is a true beginning of an occurrence: [`super::tails`].
//!
//! An automaton over the same forms reads every octet (0.3 GB/s for a hundred forms) and was rejected.

use smallvec::SmallVec;

use super::escape::{self, ESCAPE_BYTES_MAX, Front, Match, Reading, introduces};
use super::forms::{Form, mask_byte};
use super::grams::Grams;
use super::marks::Marks;
use super::places::{Places, Spot, Wanted};
use super::samples::{FOLD, Samples};
use super::tails::Beginnings;

/// Places at the front of a form at which fewer than three characters stand before.
const FRONT: usize = 3;
/// Keeps pairs apart from grams of four.
const PAIR: u64 = 1 << 40;

/// One occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    /// First octet.
    pub start: usize,
    /// After the last.
    pub end: usize,
    /// Which form.
    pub form: u32,
    /// Characters of it are escaped.
    pub escaped: bool,
}

/// Occurrences in one piece of text.
pub(crate) type Hits = SmallVec<[Hit; 4]>;

/// Finds every form of a set of needles.
pub(crate) struct Finder {
    pub(super) forms: Vec<Form>,
    shortest: usize,
    pub(super) longest: usize,
    reach: usize,
    samples: Samples,
    /// Any four octets in a row of any form.
    grams: Grams,
    /// First pairs and grams of four of forms that may be escaped.
    fronts: Grams,
    pub(super) beginnings: Beginnings,
    /// Places of forms that may be escaped.
    pairs: Places,
    /// Which introducers can matter at all.
    pub(super) wanted: Wanted,
    marks: Marks,
    /// A form that may be escaped holds an introducer itself, so a text can be read in more than one way.
    pub(super) ambiguous: bool,
}

impl Finder {
    /// Prepares the search. Without forms nothing is ever found.
    pub fn new(forms: Vec<Form>) -> Self {
        let shortest = forms.iter().map(|form| form.bytes.len()).min().unwrap_or(usize::MAX);
        let longest = forms.iter().map(|form| form.bytes.len()).max().unwrap_or(0);
        let escapable = || forms.iter().filter(|form| form.escapable);
        let reach = longest.max(escapable().map(|form| form.bytes.len()).max().unwrap_or(0) * ESCAPE_BYTES_MAX);
        let wanted = Wanted::of_forms(&forms);
        Self {
            shortest,
            longest,
            reach,
            samples: Samples::of_forms(&forms, shortest),
            grams: grams_of(&forms),
            fronts: fronts_of(&forms),
            beginnings: Beginnings::of_forms(&forms),
            pairs: Places::of_forms(&forms),
            marks: Marks::of_forms(&forms, &wanted),
            wanted,
            ambiguous: escapable().any(|form| form.bytes.iter().any(|octet| introduces(*octet))),
            forms,
        }
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Longest occurrence, escapes included.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// All forms.
    pub fn forms(&self) -> &[Form] {
        &self.forms
    }

    /// One form.
    pub fn form(&self, index: u32) -> Option<&Form> {
        self.forms.get(index as usize)
    }

    /// Whether these four octets, case folded, may stand in a form. Given in the order of the text, lowest first.
    #[inline]
    pub(super) fn inside(&self, gram: u32) -> bool {
        self.grams.has(fold(gram))
    }

    /// Adds every whole occurrence in `text` to `hits`; they may overlap. In the order in which they end, so that the
    /// masks of a stream do not hang on how it was cut.
    pub fn scan(&self, text: &[u8], hits: &mut Hits) {
        // An escape is never shorter than what it stands for.
        if text.len() < self.shortest.min(self.longest) {
            return;
        }
        let before = hits.len();
        self.samples.scan(&self.forms, text, hits);
        self.marks.each(text, |at| self.escape_at(text, at, hits));
        if let Some(fresh @ [_, _, ..]) = hits.get_mut(before..) {
            fresh.sort_unstable_by_key(|hit| (hit.end, hit.start, hit.form));
        }
    }

    /// Occurrences with escapes, each found at its first escape: what stands before it is plain.
    #[inline]
    fn escape_at(&self, text: &[u8], at: usize, hits: &mut Hits) {
        let rest = text.get(at..).unwrap_or_default();
        if let [b'%', high, low, ..] = rest {
            if let Some(octet) = self.wanted.escaped(*high, *low)
                && self.may_be_first(text, at, octet, at + 3)
            {
                self.settle(text, (at, at + 3), octet, hits);
            }
        } else if self.wanted.introduces(rest) {
            self.other_at(text, at, hits);
        }
    }

    #[inline(never)]
    fn other_at(&self, text: &[u8], at: usize, hits: &mut Hits) {
        let Reading::Whole(unit) = escape::read(text.get(at..).unwrap_or_default()) else { return };
        let first = unit.first();
        if !self.wanted.octet(first) {
            return;
        }
        if unit.octets().len() > 1 {
            // Not ASCII: rare in secrets, so every place of the octet is tried.
            return self.pairs.of_octet(first).for_each(|place| self.complete(text, at, place, hits));
        }
        if self.may_be_first(text, at, first, at + unit.length) {
            self.settle(text, (at, at + unit.length), first, hits);
        }
    }

    /// Whether an escape for `first`, from `at` to `after`, has the neighbours that a form's first escape has: three
    /// characters before, or four from it on.
    #[inline]
    fn may_be_first(&self, text: &[u8], at: usize, first: u8, after: usize) -> bool {
        let before = at.checked_sub(FRONT).and_then(|start| text.get(start..)?.first_chunk::<FRONT>());
        before.is_some_and(|[a, b, c]| self.inside(u32::from_le_bytes([*a, *b, *c, first])))
            || self.opens(text, at, first, after)
    }

    /// Whether an escape for `first`, which ends at `after`, may be a form's first behind fewer than three characters.
    /// Four octets come from there on at least, since no form is shorter than eight.
    #[inline]
    fn opens(&self, text: &[u8], at: usize, first: u8, after: usize) -> bool {
        let Some(next) = text.get(after) else { return false };
        let pair = |second: u8| self.fronts.has(pair(first, second));
        if !introduces(*next) {
            return pair(*next) && self.opens_whole(text, at);
        }
        let second = match text.get(after..).unwrap_or_default() {
            [b'%', high, low, ..] => self.wanted.escaped(*high, *low),
            rest => match escape::read(rest) {
                Reading::Whole(unit) => Some(unit.first()),
                _ => None,
            },
        };
        (second.is_some_and(pair) || self.ambiguous && pair(*next)) && self.opens_whole(text, at)
    }

    #[inline]
    fn opens_whole(&self, text: &[u8], at: usize) -> bool {
        self.ambiguous || self.front(text, at).is_some_and(|gram| self.fronts.has(gram))
    }

    /// The first four octets that `text` stands for, where they may all stand in a form.
    fn front(&self, text: &[u8], start: usize) -> Option<u64> {
        let (mut octets, mut at) = ([0; 4], start);
        for slot in &mut octets {
            let rest = text.get(at..).unwrap_or_default();
            match *rest {
                [b'%', high, low, ..] => {
                    *slot = self.wanted.escaped(high, low)?;
                    at += 3;
                }
                [octet, ..] if !introduces(octet) => {
                    *slot = octet;
                    at += 1;
                }
                _ => return self.wanted.introduces(rest).then(|| Front::of(text, start).whole()).flatten().map(fold),
            }
        }
        Some(fold(u32::from_le_bytes(octets)))
    }

    /// Tries the places of forms that an escape for `first`, from `at` to `after`, can stand for.
    #[inline(never)]
    fn settle(&self, text: &[u8], (at, after): (usize, usize), first: u8, hits: &mut Hits) {
        self.pairs.ending_in(first).for_each(|place| self.complete(text, at, place, hits));
        let Some(next) = text.get(after) else { return };
        if introduces(*next)
            && let Reading::Whole(second) = escape::read(text.get(after..).unwrap_or_default())
        {
            self.pairs.of(first, second.first()).for_each(|place| self.complete(text, at, place, hits));
            if second.first().eq_ignore_ascii_case(next) {
                return;
            }
        }
        self.pairs.of(first, *next).for_each(|place| self.complete(text, at, place, hits));
    }

    /// Tries one place of one form at an escape.
    fn complete(&self, text: &[u8], at: usize, place: &Spot, hits: &mut Hits) {
        let index = place.index as usize;
        let Some(form) = self.form(place.form) else { return };
        let Some(start) = at.checked_sub(index) else { return };
        if !text.get(start..at).is_some_and(|before| form.same_all(0, before)) {
            return;
        }
        if let Match::Full(end) = escape::match_from(form, index, text, at) {
            hits.push(Hit { start, end, form: place.form, escaped: true });
        }
    }

    /// Masks one occurrence; `text` is where it was found, or a copy of that.
    pub fn mask(&self, text: &mut [u8], hit: &Hit) {
        let Some(form) = self.form(hit.form) else { return };
        let Some(part) = text.get_mut(hit.start..hit.end) else { return };
        if hit.escaped {
            return escape::mask(part);
        }
        let digits = part.iter().all(u8::is_ascii_digit);
        for (at, byte) in part.iter_mut().enumerate() {
            // A number stays a number, or JSON would break.
            *byte = if digits { b'0' } else { mask_byte(form.encoding, at) };
        }
    }
}

#[inline]
fn fold(gram: u32) -> u64 {
    u64::from(gram) | FOLD >> 32
}

#[inline]
fn pair(left: u8, right: u8) -> u64 {
    u64::from(u16::from_le_bytes([left, right])) | FOLD >> 48 | PAIR
}

/// Every four octets in a row of every form.
fn grams_of(forms: &[Form]) -> Grams {
    let mut grams = Grams::new(forms.iter().map(|form| form.bytes.len()).sum());
    for gram in forms.iter().flat_map(|form| form.bytes.windows(4)) {
        gram.first_chunk().into_iter().for_each(|gram| grams.add(fold(u32::from_le_bytes(*gram))));
    }
    grams
}

/// What stands at the first places of forms that may be escaped.
fn fronts_of(forms: &[Form]) -> Grams {
    let escapable = || forms.iter().filter(|form| form.escapable);
    let mut fronts = Grams::new(escapable().count() * 2 * FRONT);
    for gram in escapable().flat_map(|form| form.bytes.windows(4).take(FRONT)) {
        if let Some(gram @ [first, second, ..]) = gram.first_chunk::<4>() {
            fronts.add(fold(u32::from_le_bytes(*gram)));
            fronts.add(pair(*first, *second));
        }
    }
    fronts
}
