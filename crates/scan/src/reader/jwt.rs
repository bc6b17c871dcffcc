//! Signed JSON web tokens (RFC 7515, RFC 7519).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use super::Read;
use crate::finding::Certainty;
use crate::plausible;
use crate::window::Window;

const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The shortest signature: HS256 has 43 digits.
const SIGNATURE_DIGITS_MIN: usize = 42;

pub(super) fn read(window: Window<'_>, (start, _): (usize, usize)) -> Option<Read> {
    if !window.begins(start) {
        return None;
    }
    let digit = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    let head = window.skip(start, TOKEN_BYTES_MAX, digit);
    (window.at(head)? == b'.').then_some(())?;
    let claims = window.skip(head + 1, TOKEN_BYTES_MAX, digit);
    (window.at(claims)? == b'.').then_some(())?;
    let end = window.skip(claims + 1, TOKEN_BYTES_MAX, digit);
    let signature = window.slice(claims + 1, end);
    let header = URL_SAFE_NO_PAD.decode(window.slice(start, head)).ok()?;
    let payload = URL_SAFE_NO_PAD.decode(window.slice(head + 1, claims)).ok()?;
    let signed = header.starts_with(b"{") && memmem::find(&header, b"\"alg\"").is_some() && payload.starts_with(b"{");
    let example = plausible::is_example(signature) || memmem::find(&payload, b"John Doe").is_some();
    let good = signed && signature.len() >= SIGNATURE_DIGITS_MIN && !example;
    good.then(|| Read { public: 3, ..Read::new(start, end, Certainty::Shaped) })
}
