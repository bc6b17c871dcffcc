//! The search. Three ideas make it cheap on ordinary data, however many needles there are:
//!
//! * *Samples.* Every form is at least `shortest` octets long, so one of every `stride = shortest - gram + 1` places of a
//!   text is enough: an occurrence covers a sampled place whole, and only the first `stride` grams of each form need be
//!   known. A gram (8 octets, 4 where a needle is short) is looked up in a bitmap that fits into the first-level cache.
//!   An automaton over the same forms reads every octet (0.3 GB/s for a hundred forms) and was rejected.
//! * *Introducers.* Forms with escaped characters cannot be listed, but each holds an escape, so only the places of
//!   `%`, `\` and `&` are looked at, and of these only escapes that stand for a character of a needle whose neighbour fits.
//! * *Tails.* What is held back at the end of a frame is a true beginning of an occurrence, found by the same tables.

use smallvec::SmallVec;
use zeroize::Zeroize;

use super::escape::{self, ESCAPE_BYTES_MAX, Match, Reading, introduces};
use super::forms::{Form, mask_byte};
use super::places::{Places, Spot, Wanted};

/// Folds the case of letters in eight octets at once; other octets may collide, which only costs a comparison.
const FOLD: u64 = 0x2020_2020_2020_2020;
/// Odd multipliers for hashing grams: the golden ratio, and one from splitmix64.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const SPREAD_MORE: u64 = 0xbf58_476d_1ce4_e5b9;
/// The bitmap has this many bits for each gram, so that ordinary text passes one place in this many.
const BITS_PER_GRAM: usize = 64;
/// 128 KiB: more would leave the second-level cache of small machines.
const BITMAP_BITS_MAX: usize = 1 << 20;
/// Grams of eight octets from this length of the shortest form on; below, a stride of one or two would cost more.
const WIDE_FROM_BYTES: usize = 16;

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

struct Entry {
    gram: u64,
    form: u32,
    offset: u32,
}

/// A set of pairs of octets, case folded.
struct Pairs(Box<[u64; 1024]>);

impl Pairs {
    fn bit(left: u8, right: u8) -> (usize, u64) {
        let index = usize::from(left.to_ascii_lowercase()) << 8 | usize::from(right.to_ascii_lowercase());
        (index >> 6, 1 << (index & 63))
    }

    fn add(&mut self, left: u8, right: u8) {
        let (word, bit) = Self::bit(left, right);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    #[inline]
    fn has(&self, left: u8, right: u8) -> bool {
        let (word, bit) = Self::bit(left, right);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

/// Finds every form of a set of needles.
pub(crate) struct Finder {
    forms: Vec<Form>,
    wide: bool,
    stride: usize,
    shortest: usize,
    longest: usize,
    reach: usize,
    bitmap: Vec<u64>,
    bitmap_shift: u32,
    slots: Vec<u32>,
    slot_shift: u32,
    entries: Vec<Entry>,
    /// First two octets of every form, for tails.
    beginnings: Pairs,
    /// Forms by folded first octet.
    by_first: Vec<Vec<u32>>,
    /// Places of forms that may be escaped.
    pairs: Places,
    /// Which introducers can matter at all.
    wanted: Wanted,
}

impl Finder {
    /// Prepares the search. Without forms nothing is ever found.
    pub fn new(forms: Vec<Form>) -> Self {
        let shortest = forms.iter().map(|form| form.bytes.len()).min().unwrap_or(usize::MAX);
        let longest = forms.iter().map(|form| form.bytes.len()).max().unwrap_or(0);
        let escapable = forms.iter().filter(|form| form.escapable).map(|form| form.bytes.len()).max().unwrap_or(0);
        let wide = shortest >= WIDE_FROM_BYTES;
        let gram = if wide { 8 } else { 4 };
        let mut finder = Self {
            wide,
            stride: shortest.saturating_sub(gram - 1).max(1),
            shortest,
            longest,
            reach: longest.max(escapable * ESCAPE_BYTES_MAX),
            bitmap: Vec::new(),
            bitmap_shift: 0,
            slots: Vec::new(),
            slot_shift: 0,
            entries: Vec::new(),
            beginnings: Pairs(Box::new([0; 1024])),
            by_first: vec![Vec::new(); 256],
            pairs: Places::of_forms(&forms),
            wanted: Wanted::of_forms(&forms),
            forms,
        };
        finder.index_grams(gram);
        finder.index_beginnings();
        finder
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

    fn index_grams(&mut self, gram: usize) {
        if self.forms.is_empty() {
            return;
        }
        for (number, form) in (0u32..).zip(&self.forms) {
            for (offset, window) in (0u32..).zip(form.bytes.windows(gram).take(self.stride)) {
                let mut wide = [0u8; 8];
                wide.iter_mut().zip(window).for_each(|(slot, byte)| *slot = *byte);
                let fold = if gram == 8 { FOLD } else { FOLD >> 32 };
                self.entries.push(Entry { gram: u64::from_le_bytes(wide) | fold, form: number, offset });
            }
        }
        self.entries.sort_unstable_by_key(|entry| entry.gram);
        let bits = (self.entries.len() * BITS_PER_GRAM).next_power_of_two().clamp(1 << 10, BITMAP_BITS_MAX);
        self.bitmap = vec![0; bits / 64];
        self.bitmap_shift = 64 - bits.ilog2();
        let slots = (self.entries.len() * 2).next_power_of_two().max(4);
        self.slots = vec![0; slots];
        self.slot_shift = 64 - slots.ilog2();
        let mut last = None;
        for (number, entry) in (1u32..).zip(&self.entries) {
            let bit = entry.gram.wrapping_mul(SPREAD) >> self.bitmap_shift;
            if let Some(word) = self.bitmap.get_mut((bit >> 6) as usize) {
                *word |= 1 << (bit & 63);
            }
            if last.replace(entry.gram) == Some(entry.gram) {
                continue;
            }
            let mut slot = (entry.gram.wrapping_mul(SPREAD_MORE) >> self.slot_shift) as usize;
            while self.slots.get(slot).is_some_and(|taken| *taken != 0) {
                slot = (slot + 1) & (slots - 1);
            }
            if let Some(free) = self.slots.get_mut(slot) {
                *free = number;
            }
        }
    }

    fn index_beginnings(&mut self) {
        for (number, form) in (0u32..).zip(&self.forms) {
            let Some(first) = form.bytes.first() else { continue };
            if let Some(list) = self.by_first.get_mut(usize::from(first.to_ascii_lowercase())) {
                list.push(number);
            }
            if let [first, second, ..] = &**form.bytes {
                self.beginnings.add(*first, *second);
            }
        }
    }

    /// Adds every whole occurrence in `text` to `hits`, in no order; they may overlap.
    pub fn scan(&self, text: &[u8], hits: &mut Hits) {
        // An escape is never shorter than what it stands for.
        if text.len() < self.shortest.min(self.longest) {
            return;
        }
        if self.wide {
            let load = |part: &[u8]| part.first_chunk().map(|gram| u64::from_le_bytes(*gram) | FOLD);
            self.sample(text, load, hits);
        } else {
            let load = |part: &[u8]| part.first_chunk().map(|gram| u64::from(u32::from_le_bytes(*gram)) | (FOLD >> 32));
            self.sample(text, load, hits);
        }
        self.escapes(text, hits);
    }

    #[inline]
    fn sample(&self, text: &[u8], load: impl Fn(&[u8]) -> Option<u64>, hits: &mut Hits) {
        for (turn, part) in text.chunks(self.stride).enumerate() {
            let Some(gram) = load(part) else { continue };
            let bit = gram.wrapping_mul(SPREAD) >> self.bitmap_shift;
            if self.bitmap.get((bit >> 6) as usize).is_some_and(|word| word >> (bit & 63) & 1 == 1) {
                self.check(text, turn * self.stride, gram, hits);
            }
        }
    }

    #[inline(never)]
    fn check(&self, text: &[u8], at: usize, gram: u64, hits: &mut Hits) {
        let mut slot = (gram.wrapping_mul(SPREAD_MORE) >> self.slot_shift) as usize;
        let first = loop {
            match self.slots.get(slot) {
                None | Some(0) => return,
                Some(number) => {
                    let index = *number as usize - 1;
                    if self.entries.get(index).is_some_and(|entry| entry.gram == gram) {
                        break index;
                    }
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        };
        let same = self.entries.get(first..).unwrap_or_default().iter().take_while(|entry| entry.gram == gram);
        for entry in same {
            let Some(form) = self.form(entry.form) else { continue };
            let Some(start) = at.checked_sub(entry.offset as usize) else { continue };
            let end = start + form.bytes.len();
            if text.get(start..end).is_some_and(|part| form.same_all(0, part)) {
                hits.push(Hit { start, end, form: entry.form, escaped: false });
            }
        }
    }

    /// Occurrences with escapes, each found at its first escape: what stands before it is plain.
    fn escapes(&self, text: &[u8], hits: &mut Hits) {
        for at in memchr::memchr3_iter(b'%', b'\\', b'&', text) {
            if self.wanted.introduces(text.get(at..).unwrap_or_default()) {
                self.escape_at(text, at, hits);
            }
        }
    }

    #[inline(never)]
    fn escape_at(&self, text: &[u8], at: usize, hits: &mut Hits) {
        let rest = text.get(at..).unwrap_or_default();
        let Reading::Whole(unit) = escape::read(rest) else { return };
        let first = unit.first();
        if !self.wanted.octet(first) {
            return;
        }
        if unit.octets().len() > 1 {
            // Not ASCII: rare in secrets, so every place of the octet is tried.
            return self.pairs.of_octet(first).for_each(|place| self.complete(text, at, place, hits));
        }
        self.pairs.ending_in(first).for_each(|place| self.complete(text, at, place, hits));
        let Some(next) = rest.get(unit.length) else { return };
        if introduces(*next)
            && let Reading::Whole(after) = escape::read(rest.get(unit.length..).unwrap_or_default())
        {
            self.pairs.of(first, after.first()).for_each(|place| self.complete(text, at, place, hits));
            if after.first().eq_ignore_ascii_case(next) {
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

    /// Length of the longest tail of `text` that is the beginning of an occurrence; 0 for nearly all texts.
    pub fn held(&self, text: &[u8]) -> usize {
        if self.forms.is_empty() {
            return 0;
        }
        let wide = text.len().saturating_sub(self.reach.saturating_sub(1));
        let window = text.get(wide..).unwrap_or_default();
        let escaped = memchr::memchr3_iter(b'%', b'\\', b'&', window).any(|at| {
            let rest = window.get(at..).unwrap_or_default();
            self.wanted.introduces(rest)
                && match escape::read(rest) {
                    Reading::Whole(unit) => self.wanted.octet(unit.first()),
                    Reading::Cut => true,
                    Reading::Not => false,
                }
        });
        let start = if escaped { wide } else { text.len().saturating_sub(self.longest.saturating_sub(1)) };
        let tail = text.get(start..).unwrap_or_default();
        (0..tail.len())
            .find(|at| tail.get(*at..).is_some_and(|rest| self.may_begin(rest) && self.begins(rest)))
            .map_or(0, |at| tail.len() - at)
    }

    #[inline]
    fn may_begin(&self, rest: &[u8]) -> bool {
        match rest {
            [first, ..] if introduces(*first) => true,
            [first, second, ..] if !introduces(*second) => self.beginnings.has(*first, *second),
            [first, ..] => !self.starting(*first).is_empty(),
            [] => false,
        }
    }

    fn starting(&self, octet: u8) -> &[u32] {
        self.by_first.get(usize::from(octet.to_ascii_lowercase())).map_or(&[], Vec::as_slice)
    }

    #[inline(never)]
    fn begins(&self, rest: &[u8]) -> bool {
        let Some(first) = rest.first() else { return false };
        let cut = |number: &u32| {
            self.form(*number).is_some_and(|form| {
                if form.escapable {
                    escape::match_from(form, 0, rest, 0) == Match::Cut
                } else {
                    rest.len() < form.bytes.len() && form.same_all(0, rest)
                }
            })
        };
        if self.starting(*first).iter().any(cut) {
            return true;
        }
        match introduces(*first).then(|| escape::read(rest)) {
            // An unfinished escape may become the first character of a needle.
            Some(Reading::Cut) => true,
            Some(Reading::Whole(unit)) => self.starting(unit.first()).iter().any(cut),
            _ => false,
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

impl Drop for Finder {
    fn drop(&mut self) {
        self.bitmap.zeroize();
        self.slots.zeroize();
        for entry in &mut self.entries {
            (entry.gram, entry.offset) = (0, 0);
        }
        std::hint::black_box(&self.entries);
        self.beginnings.0.zeroize();
    }
}
