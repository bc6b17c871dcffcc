//! User and password: in base64 (RFC 7617; `auth` of Docker's configuration), or after `-u` of curl.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::Read;
use crate::finding::Certainty;
use crate::plausible;
use crate::window::Window;

const VALUE_BYTES_MAX: usize = 512;

pub(super) fn read(window: Window<'_>, (word, after): (usize, usize)) -> Option<Read> {
    // Between the word and the value: quotes, blanks, a sign.
    let start = window.skip(after, 8, |octet| b"\\\"':= \t".contains(&octet));
    let end = window.skip(start, VALUE_BYTES_MAX, |octet| octet.is_ascii_alphanumeric() || b"+/=".contains(&octet));
    let value = window.slice(start, end);
    if value.len() < 12 || start == after && !window.slice(word, after).ends_with(b" ") {
        return None;
    }
    let text = STANDARD.decode(value).or_else(|_| STANDARD_NO_PAD.decode(value)).ok()?;
    let colon = memchr::memchr(b':', &text)?;
    let password = text.get(colon + 1..)?;
    let good = colon > 0
        && password.len() >= 6
        && text.iter().all(|octet| octet.is_ascii_graphic() || *octet == b' ')
        && !plausible::is_example(&text)
        && !is_word(password);
    good.then(|| Read::new(start, end, Certainty::Shaped))
}

/// `-u user:password`; the value is the password.
pub(super) fn curl(window: Window<'_>, (start, after): (usize, usize)) -> Option<Read> {
    let (line, _) = window.line(start, 1_024);
    memchr::memmem::rfind(window.slice(line, start), b"curl")?;
    let first = window.skip(after, 3, |octet| b"\"' ".contains(&octet));
    let end = window.skip(first, VALUE_BYTES_MAX, |octet| octet.is_ascii_graphic() && !b"\"'\\".contains(&octet));
    let text = window.slice(first, end);
    let colon = memchr::memchr(b':', text)?;
    let password = text.get(colon + 1..)?;
    let template = password.iter().any(|octet| b"${}<>*".contains(octet));
    let good = colon > 0 && password.len() >= 6 && !template && !plausible::is_example(password) && !is_word(password);
    good.then(|| Read { assigned: start, ..Read::new(first + colon + 1, end, Certainty::Shaped) })
}

fn is_word(password: &[u8]) -> bool {
    let lower = password.to_ascii_lowercase();
    [&b"password"[..], b"passwd", b"secret", b"admin", b"test"].iter().any(|word| lower.starts_with(word))
        || lower.len() < 12 && lower.iter().all(u8::is_ascii_lowercase) && password == lower
}
