//! Strict JSON (RFC 8259, and nothing that only some parsers take): finds the wanted places in one pass, without
//! building a tree.
//!
//! Malformed are: a key twice on the way to a wanted place, or once more in other case ([`alike`]), NaN
//! and comments and trailing commas, a byte order mark, what is not UTF-8, lone surrogates, more depth than the bound,
//! and anything after the value. Parsers disagree on all of these, so a fact read from them would be a guess.

use std::borrow::Cow;

use model::Unknown;
use model::bounds::JSON_DEPTH_MAX;
use model::canonical::METHOD_OVERRIDES;

use super::body::{Bad, Slot, Slots};

/// Finds the wanted places in a JSON text.
pub(super) fn read<'a>(bytes: &'a [u8], wants: &[Vec<Box<str>>]) -> Result<Slots<'a>, Bad> {
    let text = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
    let mut reader = Reader { text, at: 0, wants, slots: wants.iter().map(|_| Slot::Absent).collect() };
    let all = if wants.len() >= 32 { u32::MAX } else { (1u32 << wants.len()) - 1 };
    reader.space();
    reader.value(Active { wants: all, depth: 0, listed: false }, 0)?;
    reader.space();
    if reader.at != text.len() {
        return Err(MALFORMED);
    }
    Ok(reader.slots)
}

/// What an escape of one letter stands for, in JSON (RFC 8259 7) and in GraphQL (2021, 2.9.4) alike.
pub(super) const fn letter(escape: u8) -> Option<char> {
    match escape {
        b'"' | b'\\' | b'/' => Some(escape as char),
        b'b' => Some('\u{8}'),
        b'f' => Some('\u{c}'),
        b'n' => Some('\n'),
        b'r' => Some('\r'),
        b't' => Some('\t'),
        _ => None,
    }
}

pub(super) const MALFORMED: Bad = Bad::Unknown(Unknown::Malformed);

/// The wanted places that lead through the value being read: a bit each, and how many keys of theirs are behind us.
#[derive(Clone, Copy)]
struct Active {
    wants: u32,
    depth: usize,
    /// They lead through a list, so what is found is one of several.
    listed: bool,
}

impl Active {
    const NONE: Self = Self { wants: 0, depth: 0, listed: false };
}

pub(super) struct Reader<'a, 'w> {
    text: &'a str,
    at: usize,
    wants: &'w [Vec<Box<str>>],
    slots: Slots<'a>,
}

/// What several items of a list say of one place. Of one item, too, it is a list: which of them an origin takes is not known, so it is no
/// text and no number that a rule could be told; a condition holds where it holds for some item.
fn joined<'a>(known: Slot<'a>, more: Slot<'a>) -> Slot<'a> {
    match (known, more) {
        (known, Slot::Absent) => known,
        (Slot::Absent, Slot::Text(one)) => Slot::List(vec![one]),
        (Slot::Absent, Slot::List(all)) => Slot::List(all),
        (Slot::List(mut all), Slot::Text(one)) => {
            all.push(one);
            Slot::List(all)
        }
        (Slot::List(mut all), Slot::List(more)) => {
            all.extend(more);
            Slot::List(all)
        }
        _ => Slot::Unknown(Unknown::WrongType),
    }
}

/// Whether some decoder takes one name for the other: Go's folds the case of letters by Unicode, in which the long s and the sign for
/// kelvin are an s and a k.
#[inline]
pub(super) fn alike(known: &str, name: &str) -> bool {
    if name.is_ascii() {
        return known.eq_ignore_ascii_case(name);
    }
    let folded = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    known.chars().map(folded).eq(name.chars().map(folded))
}

/// How many octets stand for themselves before a quotation mark, an escape, a control character or the end. Whole pieces first, without
/// a way out of the inner loop, so that it goes many octets at a time.
fn plain(bytes: &[u8]) -> usize {
    const PIECE: usize = 16;
    let ends = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let whole = |piece: &&[u8]| !piece.iter().fold(false, |found, byte| found | ends(*byte));
    let at = bytes.chunks_exact(PIECE).take_while(whole).count() * PIECE;
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len())
}

impl<'a> Reader<'a, '_> {
    /// A reader that looks for no place.
    pub fn plain(text: &'a str) -> Self {
        Self { text, at: 0, wants: &[], slots: Slots::new() }
    }

    /// Whether all is read.
    pub fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub fn expect(&mut self, byte: u8) -> Result<(), Bad> {
        if self.peek() != Some(byte) {
            return Err(MALFORMED);
        }
        self.at += 1;
        Ok(())
    }

    pub fn word(&mut self, word: &str) -> Result<(), Bad> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(MALFORMED);
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads one value; those of `active` that end here are kept.
    fn value(&mut self, active: Active, nesting: usize) -> Result<(), Bad> {
        let slot = match self.peek().ok_or(MALFORMED)? {
            b'{' => {
                self.object(active, nesting + 1)?;
                Slot::Unknown(Unknown::WrongType)
            }
            b'[' => self.array(active, nesting + 1)?,
            b'"' => Slot::Text(self.string()?),
            b't' => self.word("true").map(|()| Slot::Bool(true))?,
            b'f' => self.word("false").map(|()| Slot::Bool(false))?,
            b'n' => self.word("null").map(|()| Slot::Absent)?,
            _ => self.number()?,
        };
        let mut ending = self.ending(active);
        while ending != 0 {
            let index = ending.trailing_zeros() as usize;
            ending &= ending - 1;
            if let Some(place) = self.slots.get_mut(index) {
                *place = if active.listed {
                    joined(std::mem::replace(place, Slot::Absent), slot.clone())
                } else {
                    slot.clone()
                };
            }
        }
        Ok(())
    }

    /// Those of `active` whose keys are all behind us.
    fn ending(&self, active: Active) -> u32 {
        self.of(active.wants, |want| want.len() == active.depth)
    }

    fn of(&self, wants: u32, fits: impl Fn(&[Box<str>]) -> bool) -> u32 {
        if wants == 0 {
            return 0;
        }
        let bits = self.wants.iter().enumerate().filter(|(index, want)| wants & (1 << index) != 0 && fits(want));
        bits.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    fn object(&mut self, active: Active, nesting: usize) -> Result<(), Bad> {
        if nesting > JSON_DEPTH_MAX {
            return Err(MALFORMED);
        }
        self.expect(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut seen = 0u32;
        loop {
            let key = self.string()?;
            if nesting == 1 && METHOD_OVERRIDES.contains(&&*key) {
                return Err(Bad::Override);
            }
            let exact = self.of(active.wants, |want| want.get(active.depth).is_some_and(|step| **step == *key));
            // Most keys are wanted by nothing, in any case: length tells before letters are folded.
            let plain = key.is_ascii();
            let same = |step: &str| if plain { step.eq_ignore_ascii_case(&key) } else { alike(step, &key) };
            let near = self.of(active.wants, |want| want.get(active.depth).is_some_and(|step| same(step)));
            if near & seen != 0 || near & !exact != 0 {
                return Err(MALFORMED);
            }
            seen |= exact;
            self.space();
            self.expect(b':')?;
            self.space();
            let next =
                if exact == 0 { Active::NONE } else { Active { wants: exact, depth: active.depth + 1, ..active } };
            self.value(next, nesting)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(MALFORMED),
            }
            self.space();
        }
        self.at += 1;
        Ok(())
    }

    /// Reads an array: its texts where a place ends at it, and of its items what places lead to through it.
    fn array(&mut self, active: Active, nesting: usize) -> Result<Slot<'a>, Bad> {
        let keep = self.ending(active) != 0;
        let through = self.of(active.wants, |want| want.len() > active.depth);
        let each = Active { wants: through, listed: true, ..active };
        if nesting > JSON_DEPTH_MAX {
            return Err(MALFORMED);
        }
        self.expect(b'[')?;
        self.space();
        let mut items = Vec::new();
        let mut texts = true;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Slot::List(items));
        }
        loop {
            if self.peek() == Some(b'"') {
                let item = self.string()?;
                if keep {
                    items.push(item);
                }
            } else {
                texts = false;
                self.value(each, nesting)?;
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(MALFORMED),
            }
            self.space();
        }
        self.at += 1;
        Ok(if texts { Slot::List(items) } else { Slot::Unknown(Unknown::WrongType) })
    }

    pub fn string(&mut self) -> Result<Cow<'a, str>, Bad> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).ok_or(MALFORMED)?;
        let end = plain(rest);
        self.at += end;
        match rest.get(end) {
            Some(b'"') => {}
            Some(b'\\') => return self.escaped(start),
            _ => return Err(MALFORMED),
        }
        let plain = self.text.get(start..self.at).ok_or(MALFORMED)?;
        self.at += 1;
        Ok(Cow::Borrowed(plain))
    }

    /// A string from its first escape on.
    fn escaped(&mut self, start: usize) -> Result<Cow<'a, str>, Bad> {
        let mut out = self.text.get(start..self.at).ok_or(MALFORMED)?.to_owned();
        loop {
            let plain_from = self.at;
            match self.peek().ok_or(MALFORMED)? {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                b'\\' => {
                    self.at += 1;
                    let escape = self.peek().ok_or(MALFORMED)?;
                    self.at += 1;
                    out.push(self.escape(escape)?);
                }
                0..0x20 => return Err(MALFORMED),
                _ => {
                    self.at += plain(self.text.as_bytes().get(plain_from..).unwrap_or_default());
                    out.push_str(self.text.get(plain_from..self.at).ok_or(MALFORMED)?);
                }
            }
        }
    }

    fn escape(&mut self, escape: u8) -> Result<char, Bad> {
        if let Some(letter) = letter(escape) {
            return Ok(letter);
        }
        Ok(match escape {
            b'u' => {
                let unit = self.hex()?;
                if (0xd800..0xdc00).contains(&unit) {
                    self.word("\\u")?;
                    let low = self.hex()?;
                    let pair = char::decode_utf16([unit, low]).next().and_then(Result::ok);
                    return pair.ok_or(MALFORMED);
                }
                char::from_u32(u32::from(unit)).ok_or(MALFORMED)?
            }
            _ => return Err(MALFORMED),
        })
    }

    fn hex(&mut self) -> Result<u16, Bad> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(MALFORMED)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(MALFORMED);
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| MALFORMED)
    }

    /// A number by the grammar. Only a plain whole number that fits is known: what `1e2`, `1.0` or 2^70 become differs.
    pub fn number(&mut self) -> Result<Slot<'a>, Bad> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(MALFORMED),
        }
        let mut plain = true;
        if self.peek() == Some(b'.') {
            plain = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            plain = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        // Beyond 2^53 readers with doubles see another number (RFC 8259 6); `-0` has two readings as well.
        let exact = |number: &i64| number.unsigned_abs() <= 1 << 53 && text != "-0";
        let number = text.parse::<i64>().ok().filter(|_| plain).filter(exact);
        Ok(number.map_or(Slot::Unknown(Unknown::WrongType), Slot::Int))
    }

    fn digits(&mut self) -> Result<(), Bad> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(MALFORMED) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(body: &[u8], want: &str) -> Result<Slot<'static>, Bad> {
        let wants = vec![want.split('.').map(Into::into).collect()];
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        read(body, &wants).map(|mut slots| match slots.remove(0) {
            Slot::Text(text) => Slot::Text(own(text)),
            Slot::List(items) => Slot::List(items.into_iter().map(own).collect()),
            Slot::Int(number) => Slot::Int(number),
            Slot::Bool(flag) => Slot::Bool(flag),
            Slot::Unknown(why) => Slot::Unknown(why),
            Slot::Absent | Slot::Loose(_) => Slot::Absent,
        })
    }

    #[test]
    fn values_are_found() {
        for (body, want, slot) in [
            (r#"{"a":1}"#, "a", Slot::Int(1)),
            // Through lists: of several, and never a text or a number, which one origin would take and another not.
            (r#"[{"a":5}]"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"[{"a":"x"}]"#, "a", Slot::List(vec!["x".into()])),
            (
                r#"{"l":[{"a":"x"},{"b":1},{"a":["y","z"]}]}"#,
                "l.a",
                Slot::List(vec!["x".into(), "y".into(), "z".into()]),
            ),
            (r#"{"l":[{"a":"x"},{"a":1}]}"#, "l.a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"l":[[{"a":true}]]}"#, "l.a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"l":[{"a":null},{},[]]}"#, "l.a", Slot::Absent),
            (r#" { "x" : [1,{"a":2}] , "a" : -5 } "#, "a", Slot::Int(-5)),
            (r#"{"a":{"b":"c"}}"#, "a.b", Slot::Text("c".into())),
            (r#"{"\u0061":true}"#, "a", Slot::Bool(true)),
            (r#"{"a":"\ud83d\ude00\n\/"}"#, "a", Slot::Text("\u{1f600}\n/".into())),
            (r#"{"a":["x","y"]}"#, "a", Slot::List(vec!["x".into(), "y".into()])),
            (r#"{"a":["x",1]}"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"a":null}"#, "a", Slot::Absent),
            (r#"{"b":{"a":1},"c":[{"a":2}]}"#, "a", Slot::Absent),
            (r#"{"a":1e2}"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"a":1.0}"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"a":99999999999999999999}"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"a":9007199254740993}"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"a":{}}"#, "a", Slot::Unknown(Unknown::WrongType)),
            (r#"{"x":1,"x":2,"a":3}"#, "a", Slot::Int(3)),
            ("[]", "a", Slot::Absent),
        ] {
            assert_eq!(find(body.as_bytes(), want), Ok(slot), "{body}");
        }
    }

    #[test]
    fn doubt_is_malformed() {
        let deep = format!(r#"{{"a":1,"b":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,"A":2}"#,
            r#"{"A":2}"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":NaN}"#,
            r#"{"a":Infinity}"#,
            r#"{"a":1}/**/"#,
            "{\"a\":1 // x\n}",
            "\u{feff}{\"a\":1}",
            "{'a':1}",
            "{a:1}",
            r#"{"a":01}"#,
            r#"{"a":+1}"#,
            r#"{"a":.5}"#,
            r#"{"a":1.}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\udc00\ud800"}"#,
            "{\"a\":\"\t\"}",
            r#"{"a":1}{"a":2}"#,
            r#"{"a":1"#,
            r#"{"a":tru}"#,
            "",
            "nul",
            deep.as_str(),
        ] {
            assert_eq!(find(body.as_bytes(), "a"), Err(MALFORMED), "{body}");
        }
        assert_eq!(find(b"{\"a\":\"\xff\"}", "a"), Err(MALFORMED));
        assert_eq!(find(b"{\0\"\0a\0", "a"), Err(MALFORMED));
        assert_eq!(find(br#"{"_method":"DELETE"}"#, "a"), Err(Bad::Override));
        assert!(find(br#"{"x":{"_method":"DELETE"}}"#, "a").is_ok());
    }

    proptest! {
        /// Whatever serde_json takes and writes, we read alike; whatever it refuses, we refuse.
        #[test]
        fn agrees_with_serde_json(text in r#"[\{\}\[\]:,"a1 \\u0-9eE.+tfn-]{0,24}"#) {
            let theirs: Option<serde_json::Value> = serde_json::from_str(&text).ok();
            let ours = find(text.as_bytes(), "a");
            match theirs {
                None => prop_assert!(ours.is_err()),
                Some(theirs) => if let Ok(ours) = ours {
                    let known = match theirs.get("a") {
                        Some(serde_json::Value::String(text)) => Slot::Text(text.clone().into()),
                        Some(serde_json::Value::Bool(flag)) => Slot::Bool(*flag),
                        None | Some(serde_json::Value::Null) => Slot::Absent,
                        Some(_) => return Ok(()),
                    };
                    prop_assert_eq!(ours, known);
                },
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(find(&bytes, "a.b"));
        }
    }
}
