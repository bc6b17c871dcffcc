//! Ends of frames: how much of one begins an occurrence and is held back, and whether an occurrence does begin in it once
//! the next frame is there. Nearly always a few octets or none, so the few are looked at first: a longer beginning has four
//! octets of a form right before the end.

use zeroize::Zeroize;

use super::escape::{self, ESCAPE_BYTES_MAX, Front, Match, Reading, introduces};
use super::finder::{Finder, Hits};
use super::forms::Form;
use super::marks;

/// Text at the end that four octets and an unfinished escape may take.
const END_BYTES: usize = Front::REACH + ESCAPE_BYTES_MAX - 1;
/// What is looked at of a seam before all of it is.
const SEAM_BYTES: usize = 64;

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

/// How forms begin.
pub(crate) struct Beginnings {
    /// First two octets of every form.
    pairs: Pairs,
    /// Forms by folded first octet.
    by_first: Vec<Vec<u32>>,
}

impl Beginnings {
    pub fn of_forms(forms: &[Form]) -> Self {
        let mut beginnings = Self { pairs: Pairs(Box::new([0; 1024])), by_first: vec![Vec::new(); 256] };
        for (number, form) in (0u32..).zip(forms) {
            let Some(first) = form.bytes.first() else { continue };
            if let Some(list) = beginnings.by_first.get_mut(usize::from(first.to_ascii_lowercase())) {
                list.push(number);
            }
            if let [first, second, ..] = &**form.bytes {
                beginnings.pairs.add(*first, *second);
            }
        }
        beginnings
    }

    fn starting(&self, octet: u8) -> &[u32] {
        self.by_first.get(usize::from(octet.to_ascii_lowercase())).map_or(&[], Vec::as_slice)
    }
}

impl Drop for Beginnings {
    fn drop(&mut self) {
        self.pairs.0.zeroize();
    }
}

impl Finder {
    /// Length of the longest tail of `text` that is the beginning of an occurrence; 0 for nearly all texts.
    pub fn held(&self, text: &[u8]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let few = self.short(text);
        let start = few.map_or_else(|| self.window(text), |few| text.len().saturating_sub(few));
        let tail = text.get(start..).unwrap_or_default();
        let may_begin = |at: usize, rest: &[u8]| {
            self.may_begin(rest) && (few.is_none() || Front::of(tail, at).whole().is_none()) && self.begins(rest)
        };
        (0..tail.len())
            .find(|at| tail.get(*at..).is_some_and(|rest| may_begin(*at, rest)))
            .map_or(0, |at| tail.len() - at)
    }

    /// Within how many octets of the end every beginning lies, where four octets of a form do not stand before the end: none
    /// then stands for as many as four.
    fn short(&self, text: &[u8]) -> Option<usize> {
        let plain = text.last_chunk().is_some_and(|end| !self.inside(u32::from_le_bytes(*end)));
        if !plain {
            return None;
        }
        let start = text.len().saturating_sub(END_BYTES);
        let end = text.get(start..).unwrap_or_default();
        if !marks::any(end) {
            return Some(3);
        }
        let four = |at: usize| {
            let front = Front::of(end, at);
            let left = end.len() - front.end;
            front.whole().is_some_and(|gram| left < ESCAPE_BYTES_MAX && self.inside(gram))
                && (left == 0 || matches!(escape::read(end.get(front.end..).unwrap_or_default()), Reading::Cut))
        };
        // One escape may stand for several octets where needles are not ASCII; then four of them may not be the last.
        let countable = !self.ambiguous && !self.wanted.beyond();
        (countable && !(0..end.len()).any(four)).then_some(END_BYTES)
    }

    /// Where the last octets begin that may begin an occurrence.
    fn window(&self, text: &[u8]) -> usize {
        let wide = text.len().saturating_sub(self.reach().saturating_sub(1));
        let tail = text.get(wide..).unwrap_or_default();
        let escaped = memchr::memchr3_iter(b'%', b'\\', b'&', tail).any(|at| {
            let rest = tail.get(at..).unwrap_or_default();
            self.wanted.introduces(rest)
                && match escape::read(rest) {
                    Reading::Whole(unit) => self.wanted.octet(unit.first()),
                    Reading::Cut => true,
                    Reading::Not => false,
                }
        });
        if escaped { wide } else { text.len().saturating_sub(self.longest.saturating_sub(1)) }
    }

    #[inline]
    fn may_begin(&self, rest: &[u8]) -> bool {
        match rest {
            [first, ..] if introduces(*first) => {
                let open = rest.len() < ESCAPE_BYTES_MAX;
                open || self.wanted.introduces(rest) || !self.beginnings.starting(*first).is_empty()
            }
            [first, second, ..] if !introduces(*second) => self.beginnings.pairs.has(*first, *second),
            [first, ..] => !self.beginnings.starting(*first).is_empty(),
            [] => false,
        }
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
        if self.beginnings.starting(*first).iter().any(cut) {
            return true;
        }
        match introduces(*first).then(|| escape::read(rest)) {
            // An unfinished escape may become the first character of a needle.
            Some(Reading::Cut) => true,
            Some(Reading::Whole(unit)) => self.beginnings.starting(unit.first()).iter().any(cut),
            _ => false,
        }
    }

    /// Whether no occurrence begins in `held`, what was held back, now that `next` comes behind it, which is as long as the
    /// longest occurrence at least.
    pub fn passes(&self, held: &[u8], next: &[u8]) -> bool {
        if held.len() + Front::REACH <= SEAM_BYTES {
            let mut seam = [0; SEAM_BYTES];
            seam.iter_mut().zip(held.iter().chain(next)).for_each(|(slot, octet)| *slot = *octet);
            let none = (0..held.len()).all(|at| !self.opens_at(&seam, at));
            seam.zeroize();
            if none {
                return true;
            }
        }
        let mut seam = held.to_vec();
        seam.extend_from_slice(next.get(..self.reach()).unwrap_or(next));
        let mut hits = Hits::new();
        self.scan(&seam, &mut hits);
        seam.zeroize();
        hits.iter().all(|hit| hit.start >= held.len())
    }

    /// Whether four octets of a form may stand at `at`, plain or escaped.
    fn opens_at(&self, text: &[u8], at: usize) -> bool {
        let plain = text.get(at..).and_then(<[u8]>::first_chunk);
        if plain.is_none_or(|gram| self.inside(u32::from_le_bytes(*gram))) {
            return true;
        }
        let front = Front::of(text, at);
        front.escaped && (self.ambiguous || front.whole().is_none_or(|gram| self.inside(gram)))
    }
}
