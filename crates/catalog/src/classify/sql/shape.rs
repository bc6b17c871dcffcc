//! The shape of a text: its tokens, with one letter for every literal that nothing depends on. Programs that write values into their
//! statements say the same again and again; what one is said to be holds for every other of its shape.

use aws_lc_rs::digest::{SHA256, digest};
use model::{Classification, Fact, Facts, hex};

use super::lexer::{self, Token};
use crate::compiled::sql::DIGEST_FACT;

/// Digits of a number that every parser reads.
const DIGITS_MAX: usize = 9;

/// Statements whose literals are values of rows and nothing else. Of others, such as SET, literals decide what they are.
const OF_ROWS: [&str; 7] = ["select", "insert", "update", "delete", "values", "with", "merge"];
/// The one word that makes more of a literal within them.
const SETS: &str = "set_config";

/// The shape of a text, if it can be read. Texts of one shape differ in the values of literals, in blanks and comments.
#[must_use]
pub fn shape(sql: &[u8]) -> Option<Vec<u8>> {
    let all = lexer::statements(std::str::from_utf8(sql).ok()?).ok()?;
    let mut out = Vec::with_capacity(sql.len() + 16);
    for statement in &all {
        let of_rows = statement.first().and_then(Token::keyword).is_some_and(|word| OF_ROWS.contains(&word));
        let values =
            of_rows && !statement.iter().any(|token| matches!(token, Token::Word { text, .. } if text == SETS));
        for token in statement {
            write(token, values, &mut out);
        }
        out.push(b';');
    }
    Some(out)
}

/// A letter for what it is, its text, and a NUL, which stands in no token.
fn write(token: &Token<'_>, values: bool, out: &mut Vec<u8>) {
    let (kind, text) = match token {
        Token::Word { text, quoted: false } => (b'w', &**text),
        Token::Word { text, quoted: true } => (b'q', &**text),
        Token::Text(_) if values => (b't', ""),
        Token::Text(None) => (b't', ""),
        Token::Text(Some(text)) => (b'T', *text),
        Token::Number(text) if values && is_short(text) => (b'n', ""),
        Token::Number(text) => (b'N', *text),
        Token::Parameter(text) => (b'p', *text),
        Token::Operator(text) => (b'o', *text),
        Token::Mark(text) => (b'm', *text),
    };
    out.push(kind);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn is_short(number: &str) -> bool {
    number.len() <= DIGITS_MAX && number.bytes().all(|octet| octet.is_ascii_digit())
}

/// What a text is whose shape is that of another that was read: the same calls, under its own digest.
#[must_use]
pub fn again(known: &Classification, sql: &[u8]) -> Classification {
    let digest = Fact::Text(hex(digest(&SHA256, sql).as_ref()).into());
    let mut same = known.clone();
    for call in &mut same.calls {
        let mut facts = Facts::default();
        for (name, fact) in call.facts.entries() {
            facts.add(name.clone(), if &**name == DIGEST_FACT { digest.clone() } else { fact.clone() });
        }
        call.facts = facts;
    }
    same
}
