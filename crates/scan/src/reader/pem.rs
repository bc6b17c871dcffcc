//! Private keys in armour (RFC 7468, the OpenSSH and PuTTY formats, RFC 9580 6.2), also on one line with `\n` in it.

use memchr::memmem;

use super::Read;
use crate::finding::Certainty;
use crate::plausible;
use crate::window::Window;

/// As the context to the right of a stretch.
const KEY_BYTES_MAX: usize = 15 * 1024;
/// An Ed25519 key in PKCS#8 has 64 digits of base64.
const BODY_DIGITS_MIN: usize = 60;
/// Bits an octet; base64 of a key has more than 5, a row of dots or of the same letter next to none.
const BODY_ENTROPY_BITS_MIN: f64 = 4.0;

pub(super) fn read(window: Window<'_>, (start, end): (usize, usize)) -> Option<Read> {
    if window.slice(start, end).starts_with(b"PuTTY") {
        return putty(window, start);
    }
    // `-----BEGIN RSA PRIVATE KEY-----`: the word is the end of the label.
    let label = window.back(start, 24, |octet| octet.is_ascii_uppercase() || octet.is_ascii_digit() || octet == b' ');
    let begin = label.checked_sub(5)?;
    let head = window.slice(label, end);
    if window.slice(begin, label) != b"-----"
        || !head.starts_with(b"BEGIN ")
        || memmem::find(head, b"ENCRYPTED").is_some()
    {
        return None;
    }
    let body = window.skip(end, 12, |octet| b" BLOCK-".contains(&octet));
    if !window.slice(end, body).ends_with(b"-----") {
        return None;
    }
    let rest = window.from(body, KEY_BYTES_MAX);
    let length = memmem::find(rest, b"-----END ").unwrap_or_else(|| body_length(rest));
    let text = rest.get(..length).unwrap_or_default();
    // A key under a passphrase is not exposed by its file.
    let locked = memmem::find(text, b"ENCRYPTED").is_some() || is_locked_openssh(text);
    if locked || digits(text) < BODY_DIGITS_MIN || plausible::entropy(text) < BODY_ENTROPY_BITS_MIN {
        return None;
    }
    let tail = window.skip(body + length, 48, |octet| octet != b'\n' && octet != b'\\' && octet != b'"');
    Some(Read { public: end - begin, ..Read::new(begin, tail, Certainty::Certain) })
}

/// Base64 and what stands between its lines, where the end is missing.
fn body_length(rest: &[u8]) -> usize {
    rest.iter().take_while(|octet| octet.is_ascii_alphanumeric() || b"+/=\r\n\\ \t".contains(octet)).count()
}

/// Digits of base64 in the longest run that only ends of lines, escapes and quotes interrupt.
fn digits(text: &[u8]) -> usize {
    // Fields such as `Version: GnuPG` are not the body; examples are shorter than any key.
    text.split(|octet| *octet == b'\n')
        .flat_map(|line| line.split(|octet| b"\\\" ,".contains(octet)))
        .filter(|part| {
            part.len() >= 16 && part.iter().all(|octet| octet.is_ascii_alphanumeric() || b"+/=\r".contains(octet))
        })
        .map(<[u8]>::len)
        .sum()
}

/// `openssh-key-v1` names its cipher in the first line; all but `none` need a passphrase.
fn is_locked_openssh(text: &[u8]) -> bool {
    // Base64 of "openssh-key-v1\0" and of a length and "none": fixed digits at a fixed place.
    let magic = memmem::find(text, b"b3BlbnNzaC1rZXktdjEAAAAA");
    magic.is_some_and(|at| text.get(at + 24..).is_some_and(|rest| !rest.starts_with(b"BG5vbmU")))
}

fn putty(window: Window<'_>, start: usize) -> Option<Read> {
    let rest = window.from(start, KEY_BYTES_MAX);
    memmem::find(rest, b"Encryption: none")?;
    let lines = memmem::find(rest, b"Private-Lines:")?;
    let end = memmem::find(rest, b"Private-MAC:").unwrap_or(rest.len());
    let good = lines < end && digits(rest.get(lines..end).unwrap_or_default()) >= 40;
    good.then(|| Read { public: 20, ..Read::new(start, start + end, Certainty::Certain) })
}
