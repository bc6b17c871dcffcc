//! Tokens of SQL as PostgreSQL's own lexer makes them (`src/backend/parser/scan.l`), under the settings that the gateway holds:
//! UTF-8, and backslashes that mean nothing in a plain string. What two lexers could read in two ways is refused: the text that
//! a parser of queries sees afterwards has no comments, no literals and no letters outside ASCII but in quotes.

use std::borrow::Cow;

/// Octets of one message of SQL that is read at all.
pub(crate) const SQL_BYTES_MAX: usize = 256 * 1024;
/// Tokens of one message. A long `IN` list of parameters has two for each.
const TOKENS_MAX: usize = 32_768;
/// Octets of a name; the server cuts longer ones off (NAMEDATALEN), and then they are others.
const NAME_BYTES_MAX: usize = 63;
/// Operators that may nest into each other: each is a level of the tree, and trees are walked by recursion.
const DEPTH_MAX: usize = 200;
/// Octets of a literal that settings are read from.
const PLAIN_BYTES_MAX: usize = 64;

/// Why a text is not judged.
pub(crate) type Doubt = &'static str;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name or a keyword; in small letters where it is not quoted.
    Word { text: Cow<'a, str>, quoted: bool },
    /// A string, of whatever form. What it holds only where that is short and plain.
    Text(Option<&'a str>),
    /// A number.
    Number(&'a str),
    /// `$1`.
    Parameter(&'a str),
    /// An operator of one or more signs.
    Operator(&'a str),
    /// `( ) [ ] , . :` and `::`, `:=`.
    Mark(&'static str),
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word { text, quoted: false } if text == word)
    }

    /// Whether it is this mark.
    pub fn is_mark(&self, mark: &str) -> bool {
        matches!(self, Self::Mark(known) if *known == mark)
    }

    /// An unquoted word.
    pub fn keyword(&self) -> Option<&str> {
        match self {
            Self::Word { text, quoted: false } => Some(text),
            _ => None,
        }
    }
}

/// The statements of one message, each its tokens. Empty ones are none.
///
/// # Errors
/// Why it is not read.
pub(crate) fn statements(sql: &str) -> Result<Vec<Vec<Token<'_>>>, Doubt> {
    if sql.len() > SQL_BYTES_MAX {
        return Err("it is longer than 256 KiB");
    }
    let mut lexer = Lexer { text: sql, at: 0 };
    let (mut all, mut current, mut count) = (Vec::new(), Vec::new(), 0usize);
    let mut depth = Depth::default();
    loop {
        lexer.skip()?;
        let Some(next) = lexer.peek() else { break };
        if next == b';' {
            lexer.at += 1;
            depth = Depth::default();
            if !current.is_empty() {
                all.push(std::mem::take(&mut current));
            }
            continue;
        }
        count += 1;
        if count > TOKENS_MAX {
            return Err("it has too many words");
        }
        let token = lexer.token(next)?;
        depth.take(&token)?;
        current.push(token);
    }
    if !current.is_empty() {
        all.push(current);
    }
    Ok(all)
}

/// How deep the tree of an expression can become at most.
#[derive(Default)]
struct Depth {
    /// Operators at each open bracket.
    open: Vec<usize>,
    here: usize,
    sum: usize,
}

impl Depth {
    fn take(&mut self, token: &Token<'_>) -> Result<(), Doubt> {
        match token {
            Token::Mark("(" | "[") => {
                self.open.push(self.here);
                self.here = 0;
                self.add()?;
            }
            Token::Mark(")" | "]") => {
                self.sum = self.sum.saturating_sub(self.here);
                self.here = self.open.pop().unwrap_or(0);
            }
            Token::Mark(",") => {
                self.sum = self.sum.saturating_sub(self.here);
                self.here = 0;
            }
            Token::Operator(_) | Token::Mark("::" | ":") => self.add()?,
            Token::Word { text, quoted: false } if DEEPER.contains(&&**text) => self.add()?,
            Token::Word { text, quoted: false } if FOREIGN.contains(&&**text) => {
                return Err("it holds a word of another database's SQL; put quotes around a name");
            }
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self) -> Result<(), Doubt> {
        self.here += 1;
        self.sum += 1;
        if self.sum > DEPTH_MAX { Err("it is nested too deep") } else { Ok(()) }
    }
}

/// Words that the parser takes for operators or clauses and PostgreSQL does not: they would nest what is not counted.
const FOREIGN: [&str; 9] = ["xor", "minus", "div", "rlike", "regexp", "match", "member", "pivot", "unpivot"];

/// Words that put one expression or query into another.
const DEEPER: [&str; 22] = [
    "overlaps",
    "escape",
    "operator",
    "and",
    "or",
    "not",
    "union",
    "intersect",
    "except",
    "join",
    "like",
    "ilike",
    "similar",
    "is",
    "isnull",
    "notnull",
    "between",
    "in",
    "collate",
    "at",
    "case",
    "when",
];

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn peek(&self) -> Option<u8> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + by).copied()
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Blanks and comments. A line ends at a carriage return too; comments nest.
    fn skip(&mut self) -> Result<(), Doubt> {
        loop {
            match (self.peek(), self.ahead(1)) {
                (Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) => {
                    while self.peek().is_some_and(|octet| octet != b'\n' && octet != b'\r') {
                        self.at += 1;
                    }
                }
                (Some(b'/'), Some(b'*')) => self.comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Doubt> {
        let mut open = 0usize;
        loop {
            match (self.peek(), self.ahead(1)) {
                (Some(b'/'), Some(b'*')) => {
                    open += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    open = open.saturating_sub(1);
                    self.at += 2;
                    if open == 0 {
                        return Ok(());
                    }
                }
                (Some(_), _) => self.at += 1,
                (None, _) => return Err("a comment has no end"),
            }
        }
    }

    fn token(&mut self, next: u8) -> Result<Token<'a>, Doubt> {
        match next {
            b'\'' => self.string(false),
            b'"' => self.quoted(),
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            b'.' if self.ahead(1).is_some_and(|octet| octet.is_ascii_digit()) => self.number(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(next),
            0x80.. => Err("a letter outside of ASCII stands outside of quotes"),
            _ => self.sign(next),
        }
    }

    /// A plain string, or one with escapes (`E'..'`); what follows after a line break is part of it.
    fn string(&mut self, escapes: bool) -> Result<Token<'a>, Doubt> {
        let mut parts = 0usize;
        let (from, to) = loop {
            let span = self.part(escapes)?;
            parts += 1;
            // `'a'` and, on another line, `'b'` are one string (scan.l, xqs).
            if !self.goes_on() {
                break span;
            }
        };
        let text = self.slice(from, to);
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || b" _-+./:,".contains(&octet);
        let is_plain = parts == 1 && text.len() <= PLAIN_BYTES_MAX && text.bytes().all(plain);
        Ok(Token::Text(is_plain.then_some(text)))
    }

    /// One part of a string, from its quote on; where what stands in it begins and ends.
    fn part(&mut self, escapes: bool) -> Result<(usize, usize), Doubt> {
        self.at += 1;
        let from = self.at;
        loop {
            match self.peek() {
                None => return Err("a string has no end"),
                Some(0) => return Err("it holds a NUL"),
                Some(b'\\') if escapes => self.at += 2,
                Some(b'\'') if self.ahead(1) == Some(b'\'') => self.at += 2,
                Some(b'\'') => break,
                Some(_) => self.at += 1,
            }
        }
        let span = (from, self.at);
        self.at += 1;
        Ok(span)
    }

    /// Whether another part of the string follows: blanks with a line break among them, and a quote. Then this stands at it.
    fn goes_on(&mut self) -> bool {
        let (before, mut broken) = (self.at, false);
        loop {
            match (self.peek(), self.ahead(1)) {
                (Some(b'\n' | b'\r'), _) => {
                    broken = true;
                    self.at += 1;
                }
                (Some(b' ' | b'\t' | 0x0b | 0x0c), _) => self.at += 1,
                (Some(b'-'), Some(b'-')) => {
                    while self.peek().is_some_and(|octet| octet != b'\n' && octet != b'\r') {
                        self.at += 1;
                    }
                }
                (Some(b'\''), _) if broken => return true,
                _ => {
                    self.at = before;
                    return false;
                }
            }
        }
    }

    fn quoted(&mut self) -> Result<Token<'a>, Doubt> {
        let from = self.at + 1;
        let rest = self.text.get(from..).unwrap_or_default();
        let length = rest.find('"').ok_or("a quoted name has no end")?;
        let name = rest.get(..length).unwrap_or_default();
        self.at = from + length + 1;
        if self.peek() == Some(b'"') {
            return Err("a quoted name holds a quote");
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err("a quoted name is empty, too long or holds a control character");
        }
        Ok(Token::Word { text: Cow::Borrowed(name), quoted: true })
    }

    /// `$1`, or a string in dollars.
    fn dollar(&mut self) -> Result<Token<'a>, Doubt> {
        let from = self.at;
        if self.ahead(1).is_some_and(|octet| octet.is_ascii_digit()) {
            self.at += 1;
            while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
                self.at += 1;
            }
            return self.ends(Token::Parameter(self.slice(from, self.at)));
        }
        self.at += 1;
        while self.peek().is_some_and(|octet| octet.is_ascii_alphanumeric() || octet == b'_') {
            self.at += 1;
        }
        if self.peek() != Some(b'$') {
            return Err("a dollar begins neither a parameter nor a string");
        }
        self.at += 1;
        let mark = self.slice(from, self.at);
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.find(mark).ok_or("a string in dollars has no end")?;
        self.at += length + mark.len();
        Ok(Token::Text(None))
    }

    /// Digits, a point, an exponent. Anything else that is glued to it means different things in different versions.
    fn number(&mut self) -> Result<Token<'a>, Doubt> {
        let from = self.at;
        let digits = |lexer: &mut Self| {
            while lexer.peek().is_some_and(|octet| octet.is_ascii_digit()) {
                lexer.at += 1;
            }
        };
        digits(self);
        if self.peek() == Some(b'.') && self.ahead(1) != Some(b'.') {
            self.at += 1;
            digits(self);
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.ahead(1), Some(b'+' | b'-')));
            if self.ahead(1 + sign).is_some_and(|octet| octet.is_ascii_digit()) {
                self.at += 1 + sign;
                digits(self);
            }
        }
        self.ends(Token::Number(self.slice(from, self.at)))
    }

    /// A number or a parameter ends where it ends.
    fn ends(&self, token: Token<'a>) -> Result<Token<'a>, Doubt> {
        match self.peek() {
            Some(octet) if octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'$' || octet >= 0x80 => {
                Err("a number or a parameter runs into a word")
            }
            _ => Ok(token),
        }
    }

    fn word(&mut self, next: u8) -> Result<Token<'a>, Doubt> {
        let second = self.ahead(1);
        match (next, second) {
            (b'e' | b'E', Some(b'\'')) => {
                self.at += 1;
                return self.string(true);
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', Some(b'\'')) => {
                self.at += 1;
                return self.string(false).map(|_| Token::Text(None));
            }
            (b'u' | b'U', Some(b'&')) if matches!(self.ahead(2), Some(b'\'' | b'"')) => {
                return Err("a name or string is written with Unicode escapes");
            }
            _ => {}
        }
        let from = self.at;
        while self.peek().is_some_and(|octet| octet.is_ascii_alphanumeric() || octet == b'_' || octet == b'$') {
            self.at += 1;
        }
        if self.peek().is_some_and(|octet| octet >= 0x80) {
            return Err("a letter outside of ASCII stands outside of quotes");
        }
        let text = self.slice(from, self.at);
        if text.len() > NAME_BYTES_MAX {
            return Err("a name is longer than the server keeps");
        }
        let upper = text.bytes().any(|octet| octet.is_ascii_uppercase());
        let text = if upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) };
        Ok(Token::Word { text, quoted: false })
    }

    fn sign(&mut self, next: u8) -> Result<Token<'a>, Doubt> {
        let mark = match (next, self.ahead(1)) {
            (b'(', _) => "(",
            (b')', _) => ")",
            (b'[', _) => "[",
            (b']', _) => "]",
            (b',', _) => ",",
            (b'.', _) => ".",
            (b':', Some(b':')) => "::",
            (b':', Some(b'=')) => ":=",
            (b':', _) => ":",
            _ => return self.operator(),
        };
        self.at += mark.len();
        Ok(Token::Mark(mark))
    }

    /// As many signs as belong together; a comment ends them, and one of several signs does not end in `+` or `-` unless it holds
    /// one of `~ ! @ # % ^ & | ` ?` (scan.l, operator).
    fn operator(&mut self) -> Result<Token<'a>, Doubt> {
        let from = self.at;
        while let Some(octet) = self.peek() {
            let begins_comment = matches!((octet, self.ahead(1)), (b'-', Some(b'-')) | (b'/', Some(b'*')));
            if begins_comment || !b"~!@#^&|`?+-*/%<>=".contains(&octet) {
                break;
            }
            self.at += 1;
        }
        let mut length = self.at - from;
        if length == 0 {
            return Err("it holds a sign that SQL does not have");
        }
        let text = self.slice(from, self.at);
        let special = |octet: u8| b"~!@#%^&|`?".contains(&octet);
        while length > 1 {
            let part = text.get(..length).unwrap_or_default();
            if !part.ends_with(['+', '-']) || part.bytes().take(length - 1).any(special) {
                break;
            }
            length -= 1;
        }
        self.at = from + length;
        Ok(Token::Operator(text.get(..length).unwrap_or_default()))
    }
}

/// The same statement for a parser of queries: names, keywords and signs; every literal is one letter.
pub(crate) fn plain(tokens: &[Token<'_>]) -> String {
    let mut out = String::with_capacity(tokens.len() * 6);
    for (at, token) in tokens.iter().enumerate() {
        let after_point = at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|one| one.is_mark("."));
        if !(out.is_empty() || after_point || token.is_mark(".")) {
            out.push(' ');
        }
        match token {
            Token::Word { text, quoted: false } => out.push_str(text),
            Token::Word { text, quoted: true } => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
            Token::Text(_) => out.push_str("'s'"),
            Token::Number(text) | Token::Parameter(text) | Token::Operator(text) | Token::Mark(text) => {
                out.push_str(text);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_the_server_reads_them() {
        for (sql, want) in [
            ("SELECT 1", "select 1"),
            ("select 'it''s' -- ; drop table x\n, 2", "select 's' , 2"),
            ("select 1 -- x\rfrom t", "select 1 from t"),
            ("select /* a /* b */ ; */ 1", "select 1"),
            ("select $$ ; $$, $a$ $$ ' $a$", "select 's' , 's'"),
            ("select E'\\' ; ' , 1", "select 's' , 1"),
            ("select '\\' , 1", "select 's' , 1"),
            ("select 'a'\n  'b' from t", "select 's' from t"),
            ("select 'a' 'b'", "select 's' 's'"),
            ("select \"A b\".\"C\" from s.T", "select \"A b\".\"C\" from s.t"),
            ("select a->>'b', c::int, $1", "select a ->> 's' , c :: int , $1"),
            ("select 2*-1, a>=-1, @-1", "select 2 * - 1 , a >= - 1 , @- 1"),
            ("select 1.5e3, .5, 1.", "select 1.5e3 , .5 , 1."),
            ("select a[1:2]", "select a [ 1 : 2 ]"),
        ] {
            let got = statements(sql).map(|all| all.iter().map(|one| plain(one)).collect::<Vec<_>>().join(" ; "));
            assert_eq!(got.as_deref(), Ok(want), "{sql}");
        }
        let several = statements("begin;; select 1 ; -- end\n").expect("read");
        assert_eq!(several.len(), 2);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        let long = format!("select {}", "x".repeat(64));
        let deep = format!("select {}1", "1+".repeat(DEPTH_MAX + 1));
        let brackets = format!("select {}", "(".repeat(DEPTH_MAX + 1));
        for sql in [
            "select 'open",
            "select \"open",
            "select $a$ open $b$",
            "select /* open",
            "select U&'\\0061'",
            "select u&\"a\" from t",
            "select 1a",
            "select $1a",
            "select 1\u{a0}from t",
            "select na\u{ef}ve",
            "select \"a\"\"b\"",
            "select \"\"",
            "select {fn now()}",
            "select \\1",
            &long,
            &deep,
            &brackets,
        ] {
            assert!(statements(sql).is_err(), "{sql}");
        }
        let wide = format!("select 1 in ({})", "1+1,".repeat(5_000));
        assert!(statements(&wide).is_ok());
    }
}
