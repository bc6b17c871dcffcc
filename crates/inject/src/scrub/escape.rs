//! Escapes: percent (RFC 3986 2.1), JSON and JavaScript strings (RFC 8259 7), HTML character references. A needle may
//! come back with any subset of its characters written so; this module reads one escape, and matches a form against a
//! text of plain and escaped characters.

use super::forms::Form;

/// Longest escape that is read: `&#x0000067;` without the needless zeros beyond. Longer ones are outside of what is promised.
pub(crate) const ESCAPE_BYTES_MAX: usize = 10;
/// How often one match may try both readings of an introducer (it may also be a character of the needle).
const FORKS_MAX: u32 = 64;

/// One escape: the octets it stands for and its own length.
#[derive(Clone, Copy)]
pub(crate) struct Escape {
    octets: [u8; 4],
    count: u8,
    /// Octets of the escape itself.
    pub length: usize,
}

impl Escape {
    fn of(code: u32, length: usize) -> Reading {
        let Some(letter) = char::from_u32(code) else { return Reading::Not };
        let mut octets = [0; 4];
        let count = letter.encode_utf8(&mut octets).len() as u8;
        Reading::Whole(Self { octets, count, length })
    }

    const fn octet(octet: u8, length: usize) -> Reading {
        Reading::Whole(Self { octets: [octet, 0, 0, 0], count: 1, length })
    }

    /// What it stands for.
    pub fn octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The first octet of that.
    pub const fn first(&self) -> u8 {
        self.octets[0]
    }
}

/// What stands at an introducer.
pub(crate) enum Reading {
    /// An escape.
    Whole(Escape),
    /// The text ends before one can tell.
    Cut,
    /// A plain character.
    Not,
}

/// Whether an escape may begin with this octet.
#[inline]
pub(crate) const fn introduces(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&')
}

/// Reads the escape at the beginning of `text`.
pub(crate) fn read(text: &[u8]) -> Reading {
    match text {
        [b'%', rest @ ..] => match digits(rest, 2) {
            Digits::All(code) => Escape::octet(code as u8, 3),
            Digits::Cut => Reading::Cut,
            Digits::Bad => Reading::Not,
        },
        [b'\\'] => Reading::Cut,
        [b'\\', kind @ (b'u' | b'x'), rest @ ..] => {
            let count = if *kind == b'u' { 4 } else { 2 };
            match digits(rest, count) {
                Digits::All(code) => Escape::of(code, count + 2),
                Digits::Cut => Reading::Cut,
                Digits::Bad => Reading::Not,
            }
        }
        [b'\\', letter, ..] => match letter {
            b'"' | b'\\' | b'/' | b'\'' => Escape::octet(*letter, 2),
            b'n' => Escape::octet(b'\n', 2),
            b'r' => Escape::octet(b'\r', 2),
            b't' => Escape::octet(b'\t', 2),
            _ => Reading::Not,
        },
        [b'&', rest @ ..] => reference(rest),
        _ => Reading::Not,
    }
}

/// The first octets that a text stands for.
pub(crate) struct Front {
    octets: [u8; 4],
    /// How many of them there are; fewer than four where the text ends.
    pub count: usize,
    /// After what was read.
    pub end: usize,
    /// Introducers were seen.
    pub escaped: bool,
}

impl Front {
    /// Octets of text that four octets may take.
    pub const REACH: usize = 4 * ESCAPE_BYTES_MAX;

    /// Reads at `at`. Escapes are taken for what they stand for wherever they can be; so a needle that holds an introducer
    /// itself may be read otherwise than it was meant.
    #[inline]
    pub fn of(text: &[u8], at: usize) -> Self {
        let mut front = Self { octets: [0; 4], count: 0, end: at, escaped: false };
        while front.count < 4 {
            match text.get(front.end..).unwrap_or_default() {
                [] => break,
                // Whole texts are made of these.
                [b'%', high, low, ..] if octet_of(*high, *low) < NO_DIGIT => {
                    front.escaped = true;
                    front.take(octet_of(*high, *low) as u8);
                    front.end += 3;
                }
                rest @ [octet, ..] => {
                    if introduces(*octet) && !front.escape(rest) {
                        break;
                    }
                    if !introduces(*octet) {
                        front.take(*octet);
                        front.end += 1;
                    }
                }
            }
        }
        front
    }

    /// Reads what stands at an introducer; false where the text ends first.
    #[inline(never)]
    fn escape(&mut self, rest: &[u8]) -> bool {
        self.escaped = true;
        match read(rest) {
            Reading::Whole(escape) => {
                escape.octets().iter().for_each(|octet| self.take(*octet));
                self.end += escape.length;
            }
            Reading::Not => {
                rest.first().into_iter().for_each(|octet| self.take(*octet));
                self.end += 1;
            }
            Reading::Cut => return false,
        }
        true
    }

    #[inline]
    fn take(&mut self, octet: u8) {
        if let Some(slot) = self.octets.get_mut(self.count) {
            *slot = octet;
            self.count += 1;
        }
    }

    /// All four, as a number; the first is the lowest.
    pub fn whole(&self) -> Option<u32> {
        (self.count == 4).then(|| u32::from_le_bytes(self.octets))
    }
}

/// What no digit stands for: beyond every octet.
const NO_DIGIT: u16 = 0x100;

/// Value of each hexadecimal digit, in either case.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; an index out of bounds does not build")]
const HEX: [u16; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        let lower = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        table[lower as usize] = digit as u16;
        table[lower.to_ascii_uppercase() as usize] = digit as u16;
        digit += 1;
    }
    table
};

/// What two hexadecimal digits stand for; more than 255 where one is none.
#[inline]
pub(crate) fn octet_of(high: u8, low: u8) -> u16 {
    let value = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(NO_DIGIT);
    let (high, low) = (value(high), value(low));
    high << 4 & 0xff | (high | low) & NO_DIGIT | low
}

/// Gives what may follow a backslash to stand for `octet`, but for the numeric escapes.
pub(crate) fn letters_of(octet: u8, give: &mut dyn FnMut(u8)) {
    match octet {
        b'"' | b'\\' | b'/' | b'\'' => give(octet),
        b'\n' => give(b'n'),
        b'\r' => give(b'r'),
        b'\t' => give(b't'),
        _ => {}
    }
}

/// Gives what may follow `&` to stand for `octet` by name.
pub(crate) fn names_of(octet: u8, give: &mut dyn FnMut(u8)) {
    for (name, _) in NAMES.iter().filter(|(_, known)| *known == octet) {
        name.first().copied().into_iter().for_each(&mut *give);
    }
}

enum Digits {
    All(u32),
    Cut,
    Bad,
}

fn digits(text: &[u8], count: usize) -> Digits {
    let mut code = 0;
    for at in 0..count {
        let Some(byte) = text.get(at) else { return Digits::Cut };
        let digit = HEX.get(usize::from(*byte)).copied().unwrap_or(NO_DIGIT);
        if digit == NO_DIGIT {
            return Digits::Bad;
        }
        code = code << 4 | u32::from(digit);
    }
    Digits::All(code)
}

/// Names of HTML's ASCII characters that may stand in a token (HTML 13.5); letters and digits have none.
const NAMES: [(&[u8], u8); 35] = [
    (b"amp", b'&'),
    (b"AMP", b'&'),
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"quot", b'"'),
    (b"apos", b'\''),
    (b"sol", b'/'),
    (b"bsol", b'\\'),
    (b"plus", b'+'),
    (b"equals", b'='),
    (b"lowbar", b'_'),
    (b"UnderBar", b'_'),
    (b"period", b'.'),
    (b"comma", b','),
    (b"colon", b':'),
    (b"semi", b';'),
    (b"excl", b'!'),
    (b"num", b'#'),
    (b"dollar", b'$'),
    (b"percnt", b'%'),
    (b"lpar", b'('),
    (b"rpar", b')'),
    (b"ast", b'*'),
    (b"quest", b'?'),
    (b"commat", b'@'),
    (b"lsqb", b'['),
    (b"lbrack", b'['),
    (b"rsqb", b']'),
    (b"rbrack", b']'),
    (b"Hat", b'^'),
    (b"grave", b'`'),
    (b"lcub", b'{'),
    (b"rcub", b'}'),
    (b"verbar", b'|'),
    (b"NewLine", b'\n'),
];

/// Reads what follows `&`.
fn reference(text: &[u8]) -> Reading {
    let seen = text.get(..ESCAPE_BYTES_MAX - 1).unwrap_or(text);
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'#';
    let Some(end) = seen.iter().position(|byte| !name(byte)) else {
        return if seen.len() < ESCAPE_BYTES_MAX - 1 { Reading::Cut } else { Reading::Not };
    };
    if seen.get(end) != Some(&b';') {
        return Reading::Not;
    }
    let name = seen.get(..end).unwrap_or_default();
    let length = end + 2;
    let (radix, text) = match name {
        [b'#', b'x' | b'X', rest @ ..] => (16, rest),
        [b'#', rest @ ..] => (10, rest),
        _ => {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            return known.map_or(Reading::Not, |(_, octet)| Escape::octet(*octet, length));
        }
    };
    let code = text.iter().try_fold(0u32, |sum, byte| {
        char::from(*byte).to_digit(radix).map(|digit| sum.saturating_mul(radix).saturating_add(digit))
    });
    match code {
        Some(code) if !text.is_empty() => Escape::of(code, length),
        _ => Reading::Not,
    }
}

/// What a match came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Match {
    /// The form ends before this place of the text.
    Full(usize),
    /// The text ends first.
    Cut,
    /// They differ.
    No,
}

/// Matches `form[from..]` against plain and escaped characters at `text[at..]`.
pub(crate) fn match_from(form: &Form, from: usize, text: &[u8], at: usize) -> Match {
    let mut forks = FORKS_MAX;
    walk(form, from, text, at, &mut forks)
}

fn walk(form: &Form, mut from: usize, text: &[u8], mut at: usize, forks: &mut u32) -> Match {
    let mut cut = false;
    let end = |found: Match, cut: bool| if cut && found == Match::No { Match::Cut } else { found };
    loop {
        let Some(wanted) = form.bytes.get(from) else { return end(Match::Full(at), cut) };
        let Some(byte) = text.get(at) else { return Match::Cut };
        let plain = form.same(*wanted, *byte);
        if introduces(*byte) {
            match read(text.get(at..).unwrap_or_default()) {
                Reading::Whole(escape) if same_octets(form, from, &escape) => {
                    let (next, after) = (from + escape.octets().len(), at + escape.length);
                    if !plain || *forks == 0 {
                        (from, at) = (next, after);
                        continue;
                    }
                    *forks -= 1;
                    match walk(form, next, text, after, forks) {
                        Match::No => {}
                        Match::Cut => cut = true,
                        full @ Match::Full(_) => return full,
                    }
                }
                Reading::Cut => cut = true,
                _ => {}
            }
        }
        if !plain {
            return end(Match::No, cut);
        }
        (from, at) = (from + 1, at + 1);
    }
}

/// Whether the escape stands for what the form has at `from`. A form may end inside of a character of several octets
/// (a piece of a long needle): then its first octets are enough.
fn same_octets(form: &Form, from: usize, escape: &Escape) -> bool {
    let left = form.bytes.get(from..).unwrap_or_default();
    !left.is_empty() && escape.octets().iter().zip(left).all(|(octet, wanted)| form.same(*wanted, *octet))
}

/// Masks `text`, keeping its length and the form of its escapes: `%67` becomes `%2A`.
pub(crate) fn mask(text: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = text.get_mut(at..).filter(|rest| !rest.is_empty()) {
        let length = match read(rest) {
            Reading::Whole(escape) => escape.length,
            _ => 1,
        };
        if let Some(unit) = rest.get_mut(..length) {
            mask_unit(unit);
        }
        at += length;
    }
}

fn mask_unit(unit: &mut [u8]) {
    let fill = |digits: &mut [u8], value: &[u8; 2]| {
        digits.fill(b'0');
        if let [.., high, low] = digits {
            (*high, *low) = (value[0], value[1]);
        }
    };
    match unit {
        [b'%', digits @ ..] if digits.len() == 2 => fill(digits, b"2A"),
        [b'\\', b'u' | b'x', digits @ ..] if digits.len() >= 2 => fill(digits, b"2a"),
        // 42 is `*` in decimal; a reference by name becomes one by number.
        [b'&', hash, digits @ .., b';'] if digits.len() >= 2 => {
            *hash = b'#';
            fill(digits, b"42");
        }
        _ => unit.fill(b'*'),
    }
}
