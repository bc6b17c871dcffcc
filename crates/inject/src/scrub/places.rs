//! Where escapes may matter: which introducers at all, and which places of which forms an escape can stand for.

use zeroize::Zeroize;

use super::escape;
use super::forms::Form;

/// Buckets for pairs of octets.
const BUCKETS: usize = 4_096;

const AFTER_PERCENT: u8 = 1;
const AFTER_BACKSLASH: u8 = 2;
const AFTER_AMPERSAND: u8 = 4;
const IN_NEEDLE: u8 = 8;
/// The character of this number, or what it begins with in UTF-8, may stand in a needle.
const AS_CHARACTER: u8 = 16;

/// Which escapes can stand for a character of a needle: a look or two into a table per introducer. JSON has many `\"` and
/// `\n`, texts have many `& `; hardly any of them passes.
pub(crate) struct Wanted {
    /// By what follows an introducer, and by octet; what is no octet has no flag.
    table: Box<[u8; 512]>,
    /// A needle has octets that are not ASCII, so any character beyond may be part of one.
    beyond: bool,
}

impl Wanted {
    pub fn of_forms(forms: &[Form]) -> Self {
        let mut wanted = Self { table: Box::new([0; 512]), beyond: false };
        for octet in forms.iter().filter(|form| form.escapable).flat_map(|form| form.bytes.iter().copied()) {
            wanted.beyond |= !octet.is_ascii();
            for octet in [octet, octet.to_ascii_uppercase(), octet.to_ascii_lowercase()] {
                wanted.add(octet, if octet.is_ascii() { IN_NEEDLE | AS_CHARACTER } else { IN_NEEDLE });
                let digit = char::from_digit(u32::from(octet >> 4), 16).map_or(b'0', |digit| digit as u8);
                wanted.add(digit, AFTER_PERCENT);
            }
            escape::letters_of(octet, &mut |letter| wanted.add(letter, AFTER_BACKSLASH));
            escape::names_of(octet, &mut |letter| wanted.set(letter, AFTER_AMPERSAND));
        }
        wanted.set(b'#', AFTER_AMPERSAND);
        if wanted.beyond {
            (0x80..=0xff).for_each(|code| wanted.add(code, AS_CHARACTER));
        }
        wanted
    }

    fn set(&mut self, octet: u8, flag: u8) {
        if let Some(slot) = self.table.get_mut(usize::from(octet)) {
            *slot |= flag;
        }
    }

    /// In either case: digits and folded needles have both.
    fn add(&mut self, octet: u8, flag: u8) {
        self.set(octet.to_ascii_uppercase(), flag);
        self.set(octet.to_ascii_lowercase(), flag);
    }

    #[inline]
    fn has(&self, octet: impl Into<usize>, flag: u8) -> bool {
        self.table.get(octet.into()).is_some_and(|flags| flags & flag != 0)
    }

    /// Whether `text` may begin with an escape for a character of a needle, judged by what it begins with. True where that
    /// is not all there yet.
    #[inline]
    pub fn introduces(&self, text: &[u8]) -> bool {
        match *text {
            [b'%', high, low, ..] => self.escaped(high, low).is_some(),
            [b'%', high] => self.has(high, AFTER_PERCENT),
            [b'\\', b'u', b'0', b'0', high, low, ..] | [b'\\', b'x', high, low, ..] => {
                self.has(escape::octet_of(high, low), AS_CHARACTER)
            }
            [b'\\', b'u', _, _, _, _, ..] => self.beyond,
            [b'\\', b'u' | b'x', ..] | [b'%' | b'\\' | b'&'] => true,
            [b'\\', letter, ..] => self.has(letter, AFTER_BACKSLASH),
            [b'&', next, ..] => self.has(next, AFTER_AMPERSAND),
            _ => false,
        }
    }

    /// Whether a needle holds octets that are not ASCII.
    pub const fn beyond(&self) -> bool {
        self.beyond
    }

    /// What two digits behind `%` stand for, where that stands in a needle.
    #[inline]
    pub fn escaped(&self, high: u8, low: u8) -> Option<u8> {
        let octet = escape::octet_of(high, low);
        self.has(octet, IN_NEEDLE).then_some(octet as u8)
    }

    /// Whether an octet stands in a needle, cases folded.
    #[inline]
    pub fn octet(&self, octet: u8) -> bool {
        self.has(octet, IN_NEEDLE)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.table.zeroize();
    }
}

/// One octet of one form.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spot {
    key: u16,
    /// Which form.
    pub form: u32,
    /// Which octet of it.
    pub index: u32,
}

/// Places of forms that may be escaped, by an octet and the one after it, cases folded.
pub(crate) struct Places {
    starts: Vec<u32>,
    spots: Vec<Spot>,
    /// Last octets of forms, sorted.
    ends: Vec<Spot>,
}

const fn key(left: u8, right: u8) -> u16 {
    (left.to_ascii_lowercase() as u16) << 8 | right.to_ascii_lowercase() as u16
}

const fn bucket(key: u16) -> usize {
    // Fibonacci hashing to twelve bits.
    (key.wrapping_mul(0x9e37) >> 4) as usize
}

impl Places {
    pub fn of_forms(forms: &[Form]) -> Self {
        let (mut spots, mut ends) = (Vec::new(), Vec::new());
        for (form, known) in (0u32..).zip(forms).filter(|(_, known)| known.escapable) {
            for (index, pair) in (0u32..).zip(known.bytes.windows(2)) {
                if let [left, right] = pair {
                    spots.push(Spot { key: key(*left, *right), form, index });
                }
            }
            if let Some(last) = known.bytes.last() {
                ends.push(Spot { key: key(*last, 0), form, index: known.bytes.len() as u32 - 1 });
            }
        }
        spots.sort_unstable_by_key(|spot| bucket(spot.key));
        ends.sort_unstable_by_key(|spot| spot.key);
        let mut starts = vec![0u32; BUCKETS + 1];
        for spot in &spots {
            if let Some(count) = starts.get_mut(bucket(spot.key) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for count in &mut starts {
            sum += *count;
            *count = sum;
        }
        Self { starts, spots, ends }
    }

    /// Places of an octet followed by another.
    #[inline]
    pub fn of(&self, left: u8, right: u8) -> impl Iterator<Item = &Spot> {
        let key = key(left, right);
        let bucket = bucket(key);
        let range = match self.starts.get(bucket..bucket + 2) {
            Some([start, end]) => *start as usize..*end as usize,
            _ => 0..0,
        };
        self.spots.get(range).unwrap_or_default().iter().filter(move |spot| spot.key == key)
    }

    /// Places of an octet at the end of a form.
    #[inline]
    pub fn ending_in(&self, octet: u8) -> impl Iterator<Item = &Spot> {
        let key = key(octet, 0);
        let start = self.ends.partition_point(|spot| spot.key < key);
        self.ends.get(start..).unwrap_or_default().iter().take_while(move |spot| spot.key == key)
    }

    /// All places of an octet.
    pub fn of_octet(&self, octet: u8) -> impl Iterator<Item = &Spot> {
        let folded = key(octet, 0) >> 8;
        self.spots.iter().chain(&self.ends).filter(move |spot| spot.key >> 8 == folded)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.starts.zeroize();
        self.spots.fill(Spot::default());
        self.ends.fill(Spot::default());
        std::hint::black_box((&self.spots, &self.ends));
    }
}
