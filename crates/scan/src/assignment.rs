//! `name = value` in the many ways in which it is written: settings, languages, JSON (also escaped, inside a transcript), XML,
//! headers, options of a command line.

use crate::format::Format;
use crate::window::{Window, is_word};

/// A name longer than this is no name.
const NAME_BYTES_MAX: usize = 64;
/// A value longer than this is none that a person assigns.
const VALUE_BYTES_MAX: usize = 1_024;
const SPACES_MAX: usize = 12;

/// Words before the value of an `Authorization` field (RFC 9110 11.4).
const SCHEMES: &[&[u8]] = &[b"bearer ", b"token ", b"basic ", b"bot ", b"apikey "];

/// A name and the value that it is given: places in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: (usize, usize),
    pub(crate) value: (usize, usize),
    /// Whether the value stands in quotes or between tags.
    pub(crate) quoted: bool,
}

fn is_name(octet: u8) -> bool {
    is_word(octet) || octet == b'-' || octet == b'.'
}

/// The name around `start..end`.
pub(crate) fn name_around(window: Window<'_>, start: usize, end: usize) -> (usize, usize) {
    let first = window.back(start, NAME_BYTES_MAX, is_name);
    // `\nTOKEN=` in an escaped text begins with the end of a line.
    let escape = window.before(first) == Some(b'\\') && window.at(first).is_some_and(|octet| b"nrt".contains(&octet));
    let first = if escape && first < start { first + 1 } else { first };
    (first, window.skip(end, NAME_BYTES_MAX, is_name))
}

/// The assignment whose name holds `start..end`.
pub(crate) fn around(window: Window<'_>, start: usize, end: usize, format: Format) -> Option<Assignment> {
    let name = name_around(window, start, end);
    let (at, quoted_name) = close(window, name.1);
    let (at, joined) = operator(window, at, name, quoted_name)?;
    let (value, quoted) = value(window, at, joined)?;
    // In a language, what stands without quotes is an expression, but for the parts of `"Server=a;Password=b"`.
    let inside = window.before(name.0).is_some_and(|octet| b";&?".contains(&octet));
    if value.1 == value.0 || !quoted && format == Format::Code && !inside {
        return None;
    }
    Some(Assignment { name, value, quoted })
}

/// Steps over what closes a name: an escaped quote, a bracket.
fn close(window: Window<'_>, at: usize) -> (usize, bool) {
    let after = window.skip(at, 4, |octet| octet == b'\\');
    let quoted = matches!(window.at(after), Some(b'"' | b'\'' | b'`'));
    let at = if quoted { after + 1 } else { at };
    (window.skip(at, 2, |octet| octet == b']'), quoted)
}

/// What joins name and value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// `=` or `:` right after the name, or with spaces.
    Sign,
    /// `>` of an element.
    Tag,
    /// A blank: an option, netrc.
    Blank,
}

fn operator(window: Window<'_>, at: usize, name: (usize, usize), quoted: bool) -> Option<(usize, Joined)> {
    let blank = |octet: u8| octet == b' ' || octet == b'\t';
    let spaced = window.skip(at, SPACES_MAX, blank);
    let sign = match window.at(spaced)? {
        b'=' => window.skip(spaced, 3, |octet| octet == b'=' || octet == b'>'),
        b':' => typed(window, window.skip(spaced, 2, |octet| octet == b':' || octet == b'=')),
        b'?' if window.at(spaced + 1) == Some(b'=') => spaced + 2,
        b',' if quoted => spaced + 1,
        b'>' if spaced == at => return Some((spaced + 1, Joined::Tag)),
        b'v' if quoted && window.from(spaced, 6) == b"value=" => spaced + 6,
        _ if spaced > at => {
            let option = window.slice(name.0, name.1).starts_with(b"-");
            let netrc = window.slice(name.0, name.1) == b"password" && window.back(name.0, 1, blank) < name.0;
            return (option || netrc).then_some((spaced, Joined::Blank));
        }
        _ => return None,
    };
    Some((window.skip(sign, SPACES_MAX, blank), Joined::Sign))
}

/// `name: Type = value`: steps over the type.
fn typed(window: Window<'_>, at: usize) -> usize {
    let blank = |octet: u8| octet == b' ';
    let word = window.skip(at, 3, blank);
    let end = window.skip(word, 32, |octet| is_word(octet) || b"&'<>?".contains(&octet));
    let sign = window.skip(end, 3, blank);
    let declared = end > word && window.at(sign) == Some(b'=') && window.at(sign + 1) != Some(b'=');
    if declared { sign + 1 } else { at }
}

fn value(window: Window<'_>, at: usize, joined: Joined) -> Option<((usize, usize), bool)> {
    if joined == Joined::Tag {
        let end = window.skip(at, VALUE_BYTES_MAX, |octet| octet != b'<' && octet != b'\n');
        return (window.at(end) == Some(b'<')).then_some(((at, end), true));
    }
    let at = scheme(window, at);
    // `b"..."`, `@"..."`, `L"..."`.
    let lettered = matches!(
        (window.at(at), window.at(at + 1)),
        (Some(b'b' | b'r' | b'u' | b'f' | b'@' | b'L'), Some(b'"' | b'\''))
    );
    let at = at + usize::from(lettered);
    let escaped = window.skip(at, 4, |octet| octet == b'\\');
    match window.at(escaped)? {
        quote @ (b'"' | b'\'' | b'`') => {
            let start = scheme(window, escaped + 1);
            let end = quoted_end(window, start, quote, escaped > at)?;
            Some(((start, end), true))
        }
        _ => Some(((at, bare_end(window, at)), false)),
    }
}

fn scheme(window: Window<'_>, at: usize) -> usize {
    let head = window.from(at, 8);
    let known =
        SCHEMES.iter().find(|scheme| head.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
    at + known.map_or(0, |scheme| scheme.len())
}

/// The end of a value in quotes; none if the line ends first. Within an escaped text the closing quote is escaped too.
fn quoted_end(window: Window<'_>, start: usize, quote: u8, escaped: bool) -> Option<usize> {
    let mut at = start;
    loop {
        let octet = window.at(at).filter(|_| at - start <= VALUE_BYTES_MAX)?;
        match octet {
            b'\n' => return None,
            b'\\' if escaped => return Some(at),
            b'\\' => at += 2,
            _ if octet == quote => return Some(at),
            _ => at += 1,
        }
    }
}

fn bare_end(window: Window<'_>, start: usize) -> usize {
    window.skip(start, VALUE_BYTES_MAX, |octet| octet.is_ascii_graphic() && !b"\"'`,;<>()\\&|".contains(&octet))
}

/// The name that the value at `at` is given, for people and for naming a credential.
pub(crate) fn name_before(window: Window<'_>, at: usize) -> Option<String> {
    // Back over scheme, quotes, blanks and the sign.
    let at = scheme_before(window, at);
    let quote = window.back(at, 6, |octet| b"\"'`\\ \t".contains(&octet));
    let sign = window.back(quote, 3, |octet| b"=:>".contains(&octet));
    if sign == quote {
        return None;
    }
    let end = window.back(sign, 6, |octet| b"\"'`\\ \t]".contains(&octet));
    let start = window.back(end, NAME_BYTES_MAX, is_name);
    let (start, end) = declared(window, start).unwrap_or((start, end));
    let name = window.slice(start, end);
    let named = name.iter().any(u8::is_ascii_alphabetic);
    named.then(|| String::from_utf8_lossy(name).trim_matches(['-', '.']).to_owned())
}

/// The name of `name: &Type = value`, where `at` is the beginning of the type.
fn declared(window: Window<'_>, at: usize) -> Option<(usize, usize)> {
    let sign = window.back(at, 4, |octet| b" &".contains(&octet));
    let end = sign.checked_sub(1).filter(|end| sign < at && window.at(*end) == Some(b':'))?;
    let start = window.back(end, NAME_BYTES_MAX, is_word);
    (start < end).then_some((start, end))
}

/// Where the value's own text begins, with a scheme before it taken off.
fn scheme_before(window: Window<'_>, at: usize) -> usize {
    let head = window.slice(at.saturating_sub(8), at);
    let known = SCHEMES.iter().find(|scheme| {
        head.len() >= scheme.len()
            && head.get(head.len() - scheme.len()..).is_some_and(|end| end.eq_ignore_ascii_case(scheme))
    });
    at - known.map_or(0, |scheme| scheme.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: Format) -> Option<(String, String, bool)> {
        let window = Window { octets: text.as_bytes() };
        let lower = text.to_ascii_lowercase();
        let start = lower.find("token").expect("the word");
        let found = around(window, start, start + 5, format)?;
        let part = |(start, end): (usize, usize)| text[start..end].to_owned();
        Some((part(found.name), part(found.value), found.quoted))
    }

    #[test]
    fn forms() {
        for (text, name, value, quoted) in [
            ("TOKEN=abc\nX=1", "TOKEN", "abc", false),
            ("  my.token: abc # note", "my.token", "abc", false),
            ("let token: &str = \"abc\";", "token", "abc", true),
            ("token := `abc`", "token", "abc", true),
            ("{\"token\": \"abc\"}", "token", "abc", true),
            ("{\\\"token\\\":\\\"abc\\\"}", "token", "abc", true),
            ("\\nTOKEN=abc\\nB=", "TOKEN", "abc", false),
            ("put(\"token\", \"abc\")", "token", "abc", true),
            ("<token>abc</token>", "token", "abc", true),
            ("<add key=\"Token\" value=\"abc\"/>", "Token", "abc", true),
            ("x --token abc y", "--token", "abc", false),
            ("config['token'] = b'abc'", "token", "abc", true),
            ("X-Token: Bearer abc", "X-Token", "abc", false),
            ("\"x-token\": \"Bearer abc\"", "x-token", "abc", true),
            ("token => 'a\\'bc'", "token", "a\\'bc", true),
        ] {
            assert_eq!(read(text, Format::Text), Some((name.to_owned(), value.to_owned(), quoted)), "{text}");
        }
        for text in ["token", "token of abc", "token \"abc\"", "token = \"abc\n\"", "token = ", "token(abc)"] {
            assert_eq!(read(text, Format::Text).filter(|(_, value, _)| !value.is_empty()), None, "{text}");
        }
        assert_eq!(read("token = other.value", Format::Code), None);
    }

    #[test]
    fn names() {
        for (text, name) in [
            ("A_KEY=@", Some("A_KEY")),
            ("\"api-key\": \"@", Some("api-key")),
            ("Authorization: Bearer @", Some("Authorization")),
            ("const KEY: &str = \"@", Some("KEY")),
            ("let key: String = '@", Some("key")),
            ("see @", None),
            ("@", None),
        ] {
            let at = text.find('@').expect("the place");
            let window = Window { octets: text.as_bytes() };
            assert_eq!(name_before(window, at).as_deref(), name, "{text}");
        }
    }
}
