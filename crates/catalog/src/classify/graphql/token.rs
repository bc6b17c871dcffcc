//! Tokens of a GraphQL document (GraphQL, October 2021, section 2.1). What lexers read in two ways is refused: a carriage return
//! alone, other line ends inside of comments, control characters, lone surrogates.

use std::borrow::Cow;

use crate::classify::json;
use crate::classify::line::Doubt;

/// Octets of one document. GitHub's own clients send less than 16 KiB; file contents travel in variables.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Tokens of one document; servers stop at 15,000 or fewer.
const TOKENS_MAX: usize = 16_384;

/// What an octet is: one that means nothing between tokens, one of a name, a mark.
const BLANK: u8 = 1;
const NAME: u8 = 2;
const MARK: u8 = 4;

/// By octet: a look into a table costs less than a chain of comparisons, and every octet of a document is asked about.
#[expect(clippy::indexing_slicing, reason = "a constant: an index out of bounds would not compile")]
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0u8;
    while byte < 0x80 {
        kinds[byte as usize] = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => BLANK,
            b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => NAME,
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => MARK,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

fn kind(byte: u8) -> u8 {
    KINDS.get(usize::from(byte)).copied().unwrap_or_default()
}

/// A token. Blanks, commas, comments and byte order marks stand between tokens and mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// One of `! $ & ( ) : = @ [ ] { | }`.
    Mark(u8),
    /// `...`
    Spread,
    Name(&'a str),
    Int(&'a str),
    Float,
    Text(Cow<'a, str>),
    End,
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    left: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Result<Self, Doubt> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err("its document is too long");
        }
        let bytes = text.as_bytes();
        // Without a way out of the loop, so that it goes many octets at a time.
        let control = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0x7f;
        if bytes.iter().fold(false, |found, byte| found | control(*byte)) {
            return Err("a control character stands in its document");
        }
        let alone = |at: usize| bytes.get(at) == Some(&b'\r') && bytes.get(at + 1) != Some(&b'\n');
        if bytes.contains(&b'\r') && (0..bytes.len()).any(alone) {
            return Err("a carriage return stands alone in its document");
        }
        Ok(Self { text, at: 0, left: TOKENS_MAX })
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next token.
    pub fn next(&mut self) -> Result<Token<'a>, Doubt> {
        self.blanks()?;
        let Some(byte) = self.peek() else { return Ok(Token::End) };
        self.left = self.left.checked_sub(1).ok_or("its document has too many tokens")?;
        if kind(byte) == MARK {
            self.at += 1;
            return Ok(Token::Mark(byte));
        }
        match byte {
            b'.' if self.rest().starts_with("...") => {
                self.at += 3;
                Ok(Token::Spread)
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => Ok(Token::Name(self.name())),
            b'-' | b'0'..=b'9' => self.number(),
            b'"' if self.rest().starts_with("\"\"\"") => self.block().map(Token::Text),
            b'"' => self.string().map(Token::Text),
            _ => Err("a character stands in its document that begins no token"),
        }
    }

    fn blanks(&mut self) -> Result<(), Doubt> {
        loop {
            while self.peek().is_some_and(|byte| kind(byte) == BLANK) {
                self.at += 1;
            }
            match self.peek() {
                Some(0xef) if self.rest().starts_with('\u{feff}') => self.at += '\u{feff}'.len_utf8(),
                Some(b'#') => {
                    let comment = self.rest().split('\n').next().unwrap_or_default();
                    // Spec: part of the comment. A reader with another idea of lines would read on after it.
                    if comment.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
                        return Err("a comment holds a line end that not every reader knows");
                    }
                    self.at += comment.len();
                }
                _ => return Ok(()),
            }
        }
    }

    fn name(&mut self) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(|byte| kind(byte) == NAME) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn number(&mut self) -> Result<Token<'a>, Doubt> {
        const WRONG: Doubt = "a number in its document is not well formed";
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits(WRONG)?;
        }
        let mut whole = true;
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            self.digits(WRONG)?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits(WRONG)?;
        }
        if self.peek().is_some_and(|byte| matches!(byte, b'.' | b'_') || byte.is_ascii_alphanumeric()) {
            return Err(WRONG);
        }
        Ok(if whole { Token::Int(self.text.get(start..self.at).unwrap_or_default()) } else { Token::Float })
    }

    fn digits(&mut self, wrong: Doubt) -> Result<(), Doubt> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(wrong) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Doubt> {
        const OPEN: Doubt = "a string in its document does not end on its line";
        self.at += 1;
        let start = self.at;
        let mut own: Option<String> = None;
        loop {
            let plain = self.at;
            while self.peek().is_some_and(|byte| !matches!(byte, b'"' | b'\\' | b'\n' | b'\r')) {
                self.at += 1;
            }
            let text = self.text.get(plain..self.at).unwrap_or_default();
            if let Some(own) = &mut own {
                own.push_str(text);
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(own.map_or(Cow::Borrowed(text), Cow::Owned));
                }
                Some(b'\\') => {
                    let before = self.text.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    let character = self.escape()?;
                    own.get_or_insert_with(|| before.to_owned()).push(character);
                }
                _ => return Err(OPEN),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Doubt> {
        const WRONG: Doubt = "a string in its document has an escape that is none";
        let escape = self.peek().ok_or(WRONG)?;
        self.at += 1;
        if let Some(letter) = json::letter(escape) {
            return Ok(letter);
        }
        Ok(match escape {
            b'u' if self.peek() == Some(b'{') => {
                let (digits, _) = self.rest().get(1..).and_then(|rest| rest.split_once('}')).ok_or(WRONG)?;
                self.at += digits.len() + 2;
                let hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                let code = hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
                code.and_then(char::from_u32).ok_or(WRONG)?
            }
            b'u' => {
                let unit = self.unit().ok_or(WRONG)?;
                if (0xd800..0xdc00).contains(&unit) {
                    if !self.rest().starts_with("\\u") {
                        return Err(WRONG);
                    }
                    self.at += 2;
                    let low = self.unit().ok_or(WRONG)?;
                    return char::decode_utf16([unit, low]).next().and_then(Result::ok).ok_or(WRONG);
                }
                char::from_u32(u32::from(unit)).ok_or(WRONG)?
            }
            _ => return Err(WRONG),
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }

    /// `"""..."""`, where only `\"""` is an escape.
    fn block(&mut self) -> Result<Cow<'a, str>, Doubt> {
        self.at += 3;
        let rest = self.rest();
        let mut from = 0;
        loop {
            let found = rest.get(from..).and_then(|rest| rest.find("\"\"\""));
            let end = found.ok_or("a block string in its document has no end")? + from;
            if rest.get(..end).is_some_and(|before| before.ends_with('\\')) {
                from = end + 3;
                continue;
            }
            self.at += end + 3;
            return Ok(dedented(rest.get(..end).unwrap_or_default()));
        }
    }
}

/// `BlockStringValue`: without the indentation that its lines share, and without empty lines around it.
fn dedented(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['\n', '\\']) && !raw.trim_matches([' ', '\t']).is_empty() {
        return Cow::Borrowed(raw);
    }
    let raw = raw.replace("\\\"\"\"", "\"\"\"");
    let lines: Vec<&str> = raw.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let blank = |line: &&str| indent(line) == line.len();
    let common = lines.iter().skip(1).filter(|line| !blank(line)).map(indent).min().unwrap_or(0);
    let cut = |(index, line): (usize, &&str)| {
        if index == 0 { (*line).to_owned() } else { line.get(common..).unwrap_or_default().to_owned() }
    };
    let first = lines.iter().position(|line| !blank(line));
    let last = lines.iter().rposition(|line| !blank(line));
    let (Some(first), Some(last)) = (first, last) else { return Cow::Borrowed("") };
    let kept = lines.iter().enumerate().skip(first).take(last - first + 1);
    Cow::Owned(kept.map(cut).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Token<'_>>, Doubt> {
        let mut lexer = Lexer::new(text)?;
        let mut tokens = Vec::new();
        loop {
            match lexer.next()? {
                Token::End => return Ok(tokens),
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn tokens() {
        let text = "\u{feff}{a_1,#b\r\n-12 0 1.5e3 ...}!$&()=@[]|:";
        let mut want = vec![Token::Mark(b'{'), Token::Name("a_1"), Token::Int("-12"), Token::Int("0"), Token::Float];
        want.push(Token::Spread);
        want.extend(b"}!$&()=@[]|:".map(Token::Mark));
        assert_eq!(all(text), Ok(want));
    }

    #[test]
    fn strings() {
        for (text, want) in [
            (r#""""#, ""),
            (r#""a\"b\\\/\n""#, "a\"b\\/\n"),
            (r#""\u0041\uD83D\uDE00\u{1F600}x""#, "A\u{1f600}\u{1f600}x"),
            (r#""""R_1""""#, "R_1"),
            (r#""""a\"""b""""#, "a\"\"\"b"),
            ("\"\"\"\n    a\n      b\n\n    \"\"\"", "a\n  b"),
            ("\"\"\"a\r\n  b\r\n  c\"\"\"", "a\nb\nc"),
            ("\"\"\"  \n \"\"\"", ""),
            ("\"# no comment, ...\"", "# no comment, ..."),
        ] {
            assert_eq!(all(text), Ok(vec![Token::Text(want.into())]), "{text}");
        }
    }

    #[test]
    fn doubt() {
        let long = "a ".repeat(TOKENS_MAX + 1);
        let large = " ".repeat(DOCUMENT_BYTES_MAX + 1);
        for text in [
            "\"a",
            "\"a\nb\"",
            r#""\x""#,
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\u12""#,
            r#""\u{110000}""#,
            r#""\u{}""#,
            "\"\"\"a",
            r#""""a\""""#,
            "01",
            "1.",
            "1e",
            "-",
            "1a",
            "1.5.2",
            "a\rb",
            "#a\u{2028}b",
            "#a\u{85}b",
            "a\0",
            "a\u{7f}",
            "é",
            "..",
            "%",
            "'a'",
            "\u{a0}",
            "?",
            &long,
            &large,
        ] {
            assert!(all(text).is_err(), "{text:.20}");
        }
    }
}
