//! Where an escape may begin: the introducers of a text, 64 octets at a time. A search for one mark after the other costs
//! more than it gives where there are many.

use super::forms::Form;
use super::lanes::{LANES, Lanes, bits_of_pairs};
use super::places::Wanted;

/// Octets that are looked at together.
const BLOCK: usize = 64;
/// Octets that are looked at for runs together.
const STRETCH: usize = 4 * BLOCK;
/// Octets of a row of a block.
const ROW: usize = 8;
/// Rows on either side of a stretch that are looked at too.
const MARGIN: usize = ROWS_MAX as usize + 1;
/// Rows that a run must have at most.
const ROWS_MAX: u32 = 4;
/// What follows `%` or `&` in an escape is ASCII beyond this: a digit, a letter or `#`.
const BEFORE_ASCII: i8 = b'"' as i8;
/// What follows a backslash in an escape is beyond this, `u` or `x`; or a slash.
const BEFORE_U: i8 = b't' as i8;
/// The same where a needle holds a quote, a backslash or the end of a line, which have letters of their own.
const BEFORE_QUOTE: i8 = b'!' as i8;
/// What follows `%` is below this where all needles are ASCII.
const BEYOND_ASCII: i8 = b'8' as i8;
/// The same for all others.
const BEYOND_DIGITS: i8 = b'g' as i8;
/// What an escape begins with.
const INTRODUCERS: [u8; 3] = *b"%\\&";
/// Marks of punctuation that hardly any needle has, and no escape.
const BREAKS: [u8; 4] = *b"=.,:";

/// Which introducers are given.
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    before: i8,
    beyond: i8,
    /// Rows without a break that an occurrence with escapes covers at least.
    rows: u32,
    /// What is less, as a signed number, is in no occurrence with escapes.
    floor: i8,
    /// Nor are these.
    breaks: [u8; 4],
}

impl Marks {
    pub fn of_forms(forms: &[Form], wanted: &Wanted) -> Self {
        let escapable = || forms.iter().filter(|form| form.escapable);
        let octets = || escapable().flat_map(|form| form.bytes.iter().copied());
        // An escape is longer than what it stands for.
        let shortest = escapable().map(|form| form.bytes.len() + 1).min().unwrap_or(0);
        let spaced = octets().any(|octet| octet as i8 <= BEFORE_ASCII);
        // Where space, quote or octets beyond ASCII may stand in a needle, the first break is none, and so are all like it.
        let floor = if spaced { i8::MIN } else { BEFORE_ASCII + 1 };
        let unused = BREAKS.into_iter().find(|octet| !wanted.octet(*octet));
        let rows = if unused.is_some() { shortest.saturating_sub(ROW - 1) / ROW } else { 0 };
        Self {
            before: if b"\"\\'\n\r\t".iter().any(|octet| wanted.octet(*octet)) { BEFORE_QUOTE } else { BEFORE_U },
            beyond: if octets().all(|octet| octet.is_ascii()) { BEYOND_ASCII } else { BEYOND_DIGITS },
            rows: (rows as u32).min(ROWS_MAX),
            floor,
            breaks: BREAKS.map(|octet| unused.filter(|_| wanted.octet(octet)).unwrap_or(octet)),
        }
    }

    /// Calls `give` with the place of every introducer in `text` whose next octet lets it begin an escape, and of few
    /// others.
    #[inline]
    pub fn each(self, text: &[u8], mut give: impl FnMut(usize)) {
        // The stretch that was looked at last, and its rows; none begins here.
        let mut near = (1, 0);
        let mut base = 0;
        while let Some(window) = text.get(base..).and_then(<[u8]>::first_chunk) {
            let marks = self.marked(window);
            if marks != 0 {
                places(self.sifted(marks, text, base, &mut near), base, &mut give);
            }
            base += BLOCK;
        }
        let marks = self.marked(&end(text, base));
        places(self.sifted(marks, text, base, &mut near), base, &mut give);
    }

    /// Where marks are many, those that lie in a run are left: an occurrence with escapes has no break, so it covers some
    /// rows whole and reaches into one on either side at most. Texts that are full of escapes have breaks all over.
    #[inline]
    fn sifted(self, marks: u64, text: &[u8], base: usize, near: &mut (usize, u32)) -> u64 {
        if !many(marks) || self.rows == 0 {
            return marks;
        }
        let stretch = base - base % STRETCH;
        if near.0 != stretch {
            *near = (stretch, self.near_runs(text, stretch));
        }
        let rows = near.1 >> (base % STRETCH / ROW) & 0xff;
        marks & octets_of(rows)
    }

    /// The rows of the stretch at `base` that belong to a run or lie beside one.
    #[inline(never)]
    fn near_runs(self, text: &[u8], base: usize) -> u32 {
        let whole = base.checked_sub(MARGIN * ROW).and_then(|start| text.get(start..)?.first_chunk());
        let window = whole.copied().unwrap_or_else(|| edge(text, base));
        let mut clean = 0u64;
        for (lanes, at) in window.as_chunks::<LANES>().0.iter().zip(0..) {
            let lanes = Lanes::of(lanes);
            let breaks = self.breaks.map(|octet| lanes.are(octet)).into_iter();
            let [first, second] = breaks.fold(lanes.are_below(self.floor), |all, one| all | one).bits().to_le_bytes();
            clean |= (u64::from(first == 0) | u64::from(second == 0) << 1) << (at * 2);
        }
        let starts = (1..self.rows).fold(clean, |starts, ahead| starts & clean >> ahead);
        let runs = (1..self.rows).fold(starts, |runs, behind| runs | starts << behind);
        ((runs | runs << 1 | runs >> 1) >> MARGIN) as u32
    }

    /// A bit for each. No look for introducers alone comes before: where half of the blocks have one, a branch on it costs more than it saves.
    #[inline]
    fn marked(self, window: &[u8; BLOCK + 1]) -> u64 {
        let [block @ .., _] = window;
        let [_, next @ ..] = window;
        bits_of_pairs(block, next, |lanes, next| {
            let numbered =
                (lanes.are(b'%') & next.are_below(self.beyond) | lanes.are(b'&')) & next.are_above(BEFORE_ASCII);
            let lettered = lanes.are(b'\\') & (next.are_above(self.before) | next.are(b'/'));
            numbered | lettered
        })
    }
}

/// Eight bits as eight octets, the lowest first: each of the octets of a block's marks is a row.
#[inline]
fn octets_of(bits: u32) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // A copy of all bits in each octet, of which the n-th keeps the n-th.
    let one = u64::from(bits).wrapping_mul(EACH) & 0x8040_2010_0804_0201;
    let high = (((one & (0x7f * EACH)) + 0x7f * EACH) | one) & (0x80 * EACH);
    (high >> 7) * 0xff
}

/// More than three.
#[inline]
fn many(marks: u64) -> bool {
    let without_one = |marks: u64| marks & marks.wrapping_sub(1);
    without_one(without_one(without_one(marks))) != 0
}

/// The last block of `text` and nothing behind it.
#[cold]
fn end(text: &[u8], base: usize) -> [u8; BLOCK + 1] {
    let mut window = [0; BLOCK + 1];
    let rest = text.get(base..).unwrap_or_default();
    window.iter_mut().zip(rest).for_each(|(slot, octet)| *slot = *octet);
    window
}

/// The surroundings of a stretch near the beginning or the end of `text`; what is not there is a break.
#[cold]
fn edge(text: &[u8], base: usize) -> [u8; STRETCH + 2 * MARGIN * ROW] {
    let mut window = [0; STRETCH + 2 * MARGIN * ROW];
    let front = (MARGIN * ROW).saturating_sub(base);
    let part = text.get((base + front).saturating_sub(MARGIN * ROW)..).unwrap_or_default();
    window.iter_mut().skip(front).zip(part).for_each(|(slot, octet)| *slot = *octet);
    window
}

#[inline]
fn places(mut marks: u64, base: usize, give: &mut impl FnMut(usize)) {
    while marks != 0 {
        give(base + marks.trailing_zeros() as usize);
        marks &= marks - 1;
    }
}

/// Whether there is an introducer in `text`.
#[inline]
pub(crate) fn any(text: &[u8]) -> bool {
    let (lanes, rest) = text.as_chunks::<LANES>();
    lanes.iter().any(|lanes| Lanes::of(lanes).among(INTRODUCERS) != 0)
        || rest.iter().any(|octet| INTRODUCERS.contains(octet))
}

#[cfg(test)]
mod tests {
    use super::super::forms;
    use super::*;

    #[test]
    fn bits_are_octets() {
        for bits in 0..=255u32 {
            let want = (0..ROW).fold(0, |all, row| all | (u64::from(bits >> row & 1) * 0xff) << (row * ROW));
            assert_eq!(octets_of(bits), want);
        }
    }

    fn marks(needle: &[u8]) -> Marks {
        let mut all = Vec::new();
        forms::add(needle, 0, &mut all);
        Marks::of_forms(&all, &Wanted::of_forms(&all))
    }

    fn all(marks: Marks, text: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        marks.each(text, |place| all.push(place));
        all.sort_unstable();
        all
    }

    #[test]
    fn every_place_of_every_length() {
        let (plain, letters, beyond) = (marks(b"0123456789"), marks(b"01234\n5678"), marks("0123456789é".as_bytes()));
        let introducers = b"%\\&";
        for length in 2..200 {
            for at in 0..length - 1 {
                for escape in
                    [b"%4", b"%9", b"%f", b"\\u", b"\\x", b"\\/", b"&#", b"&A", b"% ", b"\\n", b"&\xc3", b"$4"]
                {
                    let mut text = vec![b'.'; length];
                    text[at..at + 2].copy_from_slice(escape);
                    let begins = introducers.contains(&escape[0]) && b"4ux/#A".contains(&escape[1]);
                    let found = |begins: bool| if begins { vec![at] } else { vec![] };
                    assert_eq!(all(plain, &text), found(begins), "{escape:?} at {at} of {length}");
                    assert_eq!(all(letters, &text), found(begins || escape == b"\\n"));
                    assert_eq!(all(beyond, &text), found(begins || escape == b"%9" || escape == b"%f"));
                    assert_eq!(any(&text), introducers.contains(&escape[0]));
                }
            }
        }
        for letter in b"\"\\/'nrt" {
            assert_eq!(all(marks(b"\"\\/'\n\r\t678"), &[b'.', b'\\', *letter, b'4'])[0], 1);
        }
    }

    #[test]
    fn marks_between_breaks_are_left_out_and_none_in_a_run() {
        let plain = marks(b"0123456789abcdefghijABCDEFGHIJ0123456789");
        let escapes = b"%41%42%43%44%45%46%47%48%49%4a%4b%4c%4d%4e%4f%50";
        let wanted: Vec<usize> = (0..escapes.len()).step_by(3).collect();
        for front in 0..200 {
            for back in [0, 1, 7, 100] {
                let text = [vec![b'.'; front], escapes.to_vec(), vec![b' '; back]].concat();
                let expected: Vec<usize> = wanted.iter().map(|at| front + at).collect();
                assert_eq!(all(plain, &text), expected, "{front} {back}");
            }
        }
        let broken = b"a=%41%42%43%44&b=%41%42%43%44&c=%41%42%43%44&".repeat(30);
        assert!(all(plain, &broken).len() < 8, "{:?}", all(plain, &broken));
        // A needle with all breaks in it switches this off.
        assert_eq!(all(marks(b"0123456789=.,: 0123456789"), &broken).len(), 30 * 12 + 90 - 1);
    }
}
