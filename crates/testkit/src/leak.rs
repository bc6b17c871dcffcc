//! The oracle LEAK: is any of this secret in what the agent received, in any form that the product promises to undo?
//!
//! Forms: the literal; base64 and base64url at three alignments; hex; percent, JSON `\u` and HTML
//! entities with any subset of characters encoded; UTF-16 of either order; reversed; rot13. Any window of eight
//! characters of the secret counts. The oracle is written apart from the scrubber, on purpose: it undoes the forms where
//! the scrubber searches for them, so that the two cannot share a mistake.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::clock::SeededRandom;

/// Characters of a secret that, seen together, count as a leak.
pub const WINDOW: usize = 8;

/// A secret that exists to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    prefix: String,
    random: String,
}

/// One leak: the form and where it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The form, such as `base64+1`.
    pub form: &'static str,
    /// Offset in the octets of that form.
    pub at: usize,
}

impl Canary {
    /// `prefix` (public, such as `ghp_`, not looked for alone) and `len` random letters and digits.
    #[must_use]
    pub fn new(seed: u64, prefix: &str, len: usize) -> Self {
        Self { prefix: prefix.to_owned(), random: SeededRandom::new(seed ^ 0xca9a_41e5).text(len) }
    }

    /// A secret that somebody else chose; its first `public` characters are not looked for alone.
    #[must_use]
    pub fn of(value: &str, public: usize) -> Self {
        let (prefix, random) = value.split_at(public);
        Self { prefix: prefix.to_owned(), random: random.to_owned() }
    }

    /// The whole value.
    #[must_use]
    pub fn value(&self) -> String {
        format!("{}{}", self.prefix, self.random)
    }

    /// Every leak in these octets. For an answer as it came over the wire use [`Canary::leaks_in_answer`].
    #[must_use]
    pub fn leaks(&self, octets: &[u8]) -> Vec<Leak> {
        let mut found = Vec::new();
        let secret = self.random.as_bytes();
        for (form, view) in views(octets) {
            hits(&mut found, form, &view, &windows(secret, WINDOW));
            let mirrored: Vec<u8> = secret.iter().rev().copied().collect();
            hits(&mut found, "reversed", &view, &windows(&mirrored, WINDOW));
            let turned: Vec<u8> = secret.iter().map(|byte| rot13(*byte)).collect();
            // A window of digits alone is its own rot13 and was found above.
            hits(&mut found, "rot13", &view, &windows(&turned, WINDOW));
            for (form, little) in [("utf-16le", true), ("utf-16be", false)] {
                let wide: Vec<u8> =
                    secret.iter().flat_map(|byte| if little { [*byte, 0] } else { [0, *byte] }).collect();
                hits(&mut found, form, &view, &windows(&wide, WINDOW * 2));
            }
            let lower = view.to_ascii_lowercase();
            let hex = hex(secret);
            hits(&mut found, "hex", &lower, &windows(hex.as_bytes(), WINDOW * 2));
            for (shift, form) in ["base64+0", "base64+1", "base64+2"].into_iter().enumerate() {
                hits(&mut found, form, &view, &windows(&base64_at(secret, shift, false), 12));
                hits(&mut found, form, &view, &windows(&base64_at(secret, shift, true), 12));
            }
        }
        found
    }

    /// Every leak in an HTTP/1 answer: in the octets, after undoing chunks, and after undoing codings.
    #[must_use]
    pub fn leaks_in_answer(&self, wire: &[u8]) -> Vec<Leak> {
        let mut found = self.leaks(wire);
        if let Some(answer) = crate::client::Answer::parse(wire) {
            found.extend(self.leaks(&answer.body));
            found.extend(answer.decoded().map(|plain| self.leaks(&plain)).unwrap_or_default());
        }
        found
    }

    /// Fails the test with the form and the surroundings of the first leak.
    pub fn assert_absent(&self, what: &str, octets: &[u8]) {
        let found = self.leaks_in_answer(octets);
        assert!(found.is_empty(), "the secret leaked in {what}: {:?}", &found[..found.len().min(4)]);
    }
}

fn windows(octets: &[u8], size: usize) -> Vec<Vec<u8>> {
    octets.windows(size.min(octets.len()).max(1)).map(<[u8]>::to_vec).collect()
}

fn hits(found: &mut Vec<Leak>, form: &'static str, hay: &[u8], needles: &[Vec<u8>]) {
    let Some(size) = needles.first().map(Vec::len).filter(|size| *size > 0 && *size <= hay.len()) else { return };
    let set: std::collections::HashSet<&[u8]> = needles.iter().map(Vec::as_slice).collect();
    if let Some(at) = hay.windows(size).position(|window| set.contains(window)) {
        found.push(Leak { form, at });
    }
}

/// The characters of base64 that depend on the secret alone when `shift` octets stand before it.
fn base64_at(secret: &[u8], shift: usize, url: bool) -> Vec<u8> {
    let mut padded = vec![0u8; shift];
    padded.extend_from_slice(secret);
    let text = if url { URL_SAFE_NO_PAD.encode(&padded) } else { STANDARD_NO_PAD.encode(&padded) };
    let first = if shift == 0 { 0 } else { shift + 1 };
    let last = text.len() - usize::from(!padded.len().is_multiple_of(3));
    text.as_bytes()[first..last].to_vec()
}

/// Octets in lower-case hex.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const fn rot13(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        _ => byte,
    }
}

/// The octets as they are, and with the three escapes undone that may cover any subset of characters.
fn views(octets: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![("literal", octets.to_vec())];
    if octets.contains(&b'%') {
        all.push(("percent", unescape(octets, percent)));
    }
    if octets.contains(&b'\\') {
        all.push(("json", unescape(octets, json)));
    }
    if octets.contains(&b'&') {
        all.push(("html", unescape(octets, html)));
    }
    all
}

fn unescape(octets: &[u8], one: fn(&[u8]) -> Option<(u8, usize)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut at = 0;
    while at < octets.len() {
        if let Some((byte, used)) = one(&octets[at..]) {
            out.push(byte);
            at += used;
        } else {
            out.push(octets[at]);
            at += 1;
        }
    }
    out
}

fn digits(octets: &[u8], radix: u32) -> Option<u8> {
    u32::from_str_radix(std::str::from_utf8(octets).ok()?, radix).ok()?.try_into().ok()
}

fn percent(rest: &[u8]) -> Option<(u8, usize)> {
    (rest.first() == Some(&b'%')).then_some(())?;
    Some((digits(rest.get(1..3)?, 16)?, 3))
}

fn json(rest: &[u8]) -> Option<(u8, usize)> {
    match (rest.first()?, rest.get(1)?) {
        (b'\\', b'u') => Some((digits(rest.get(2..6)?, 16)?, 6)),
        (b'\\', b'x') => Some((digits(rest.get(2..4)?, 16)?, 4)),
        _ => None,
    }
}

fn html(rest: &[u8]) -> Option<(u8, usize)> {
    let body = rest.strip_prefix(b"&#")?;
    let (radix, skip) = if matches!(body.first(), Some(b'x' | b'X')) { (16, 1) } else { (10, 0) };
    let end = body.iter().take(10).position(|byte| *byte == b';')?;
    Some((digits(body.get(skip..end)?, radix)?, end + 3))
}

/// The forms in which a hostile origin may echo, each with its name (attack 60).
#[must_use]
pub fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let each = |write: fn(u8) -> String| bytes.iter().map(|byte| write(*byte)).collect::<String>().into_bytes();
    let shifted = |pad: &str| STANDARD_NO_PAD.encode(format!("{pad}{secret}")).into_bytes();
    vec![
        ("literal", bytes.to_vec()),
        ("base64+0", shifted("")),
        ("base64+1", shifted("a")),
        ("base64+2", shifted("ab")),
        ("base64url", URL_SAFE_NO_PAD.encode(bytes).into_bytes()),
        ("hex", each(|byte| format!("{byte:02x}"))),
        ("HEX", each(|byte| format!("{byte:02X}"))),
        ("percent", each(|byte| format!("%{byte:02X}"))),
        (
            "percent-some",
            each(|byte| if byte % 3 == 0 { format!("%{byte:02x}") } else { char::from(byte).to_string() }),
        ),
        ("json", each(|byte| format!("\\u{byte:04x}"))),
        ("json-some", each(|byte| if byte % 2 == 0 { format!("\\u{byte:04X}") } else { char::from(byte).to_string() })),
        ("html", each(|byte| format!("&#{byte};"))),
        ("html-hex", each(|byte| format!("&#x{byte:x};"))),
        ("utf-16le", bytes.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("utf-16be", bytes.iter().flat_map(|byte| [0, *byte]).collect()),
        ("reversed", bytes.iter().rev().copied().collect()),
        ("rot13", bytes.iter().map(|byte| rot13(*byte)).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_and_noise_is_not() {
        let canary = Canary::new(1, "ghp_", 36);
        for (form, echo) in forms(&canary.value()) {
            let hay = [b"{\"x\":\"".as_slice(), &echo, b"\"} and more"].concat();
            assert!(!canary.leaks(&hay).is_empty(), "{form}");
        }
        let other = Canary::new(2, "ghp_", 36);
        for (form, echo) in forms(&other.value()) {
            assert_eq!(canary.leaks(&echo), [], "{form}");
        }
        assert_eq!(canary.leaks(b"ghp_****************"), []);
    }

    #[test]
    fn eight_characters_are_enough_and_seven_are_not() {
        let canary = Canary::new(3, "sk-", 40);
        let value = canary.value();
        assert!(!canary.leaks(&value.as_bytes()[10..18]).is_empty());
        assert!(canary.leaks(&value.as_bytes()[10..17]).is_empty());
    }

    #[test]
    fn codings_and_chunks_are_undone() {
        let canary = Canary::new(4, "", 40);
        let body = crate::coding::encode("gzip", canary.value().as_bytes());
        let mut wire = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body.chunks(7) {
            wire.extend(format!("{:x}\r\n", part.len()).bytes());
            wire.extend_from_slice(part);
            wire.extend(b"\r\n");
        }
        wire.extend(b"0\r\n\r\n");
        assert!(canary.leaks(&wire).is_empty());
        assert!(!canary.leaks_in_answer(&wire).is_empty());
    }
}
