//! The shape of a secret: what a placeholder must have in common with it, and nothing else. Reads the secret once, keeps
//! its prefix, its length, its alphabet and its separators.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secret::Secret;

/// Prefixes of tokens that SDKs, forms and scanners check. Longest first where one begins another.
const PREFIXES: [&str; 62] = [
    "github_pat_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "glpat-",
    "gldt-",
    "glrt-",
    "glptt-",
    "glcbt-",
    "sk-ant-api03-",
    "sk-ant-admin01-",
    "sk-ant-oat01-",
    "sk-ant-ort01-",
    "sk-ant-sid01-",
    "sk-ant-",
    "sk-proj-",
    "sk-svcacct-",
    "sk-admin-",
    "sk-or-v1-",
    "sk-lf-",
    "pk-lf-",
    "sk-",
    "sess-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "pk_live_",
    "pk_test_",
    "whsec_",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxr-",
    "xoxe.xoxp-",
    "xapp-",
    "npm_",
    "pypi-",
    "cio",
    "AIza",
    "ya29.",
    "GOCSPX-",
    "hf_",
    "gsk_",
    "r8_",
    "pplx-",
    "xai-",
    "dop_v1_",
    "doo_v1_",
    "shpat_",
    "shpss_",
    "SG.",
    "key-",
    "lin_api_",
    "ntn_",
    "secret_",
    "figd_",
    "dckr_pat_",
    "hvs.",
    "PMAK-",
];
/// Key ids of AWS: four letters, then base 32.
const AWS: [&str; 4] = ["AKIA", "ASIA", "AROA", "AIDA"];
/// A marker inside of OpenAI's keys (the Base64 of `OpenAI`), which some clients look for.
const MARKERS: [&str; 1] = ["T3BlbkFJ"];
/// A guessed prefix is at most this long.
const GUESS_BYTES_MAX: usize = 12;
/// Below this there is no room for a placeholder that cannot be guessed.
pub(crate) const SHAPED_BYTES_MIN: usize = 16;

/// One character of a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// As in the secret: prefix, separator, marker.
    Fixed(char),
    /// Drawn from this alphabet.
    Drawn(&'static str),
}

const DIGITS: &str = "0123456789";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const HEX_LOWER: &str = "0123456789abcdef";
const HEX_UPPER: &str = "0123456789ABCDEF";
const BASE_32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DIGITS_LOWER: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
const DIGITS_UPPER: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The digits of base 62 as GitHub writes them.
pub(crate) const BASE_62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a placeholder for a secret looks like.
pub(crate) enum Shape {
    /// Too short, or not one line of printable ASCII: a placeholder of our own form.
    None,
    /// Three segments; header and claims are kept, the signature has this many octets.
    Jwt { kept: String, signature_octets: usize },
    /// Character by character; the last six are a checksum of what is between prefix and them.
    Places { places: Vec<Place>, prefix: usize, checksum: bool },
}

impl Shape {
    /// Reads the shape off a secret.
    pub fn of(secret: &Secret) -> Self {
        let Ok(text) = std::str::from_utf8(secret.expose()) else { return Self::None };
        if text.len() < SHAPED_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Self::None;
        }
        if let Some(jwt) = jwt(text) {
            return jwt;
        }
        let prefix = prefix(text);
        let body = text.get(prefix..).unwrap_or_default();
        let checksum = has_checksum(body);
        Self::Places { places: places(text, prefix), prefix, checksum }
    }
}

fn jwt(text: &str) -> Option<Shape> {
    let mut parts = text.split('.');
    let (head, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    for part in [head, claims] {
        let plain = URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&plain).ok()?;
    }
    let octets = URL_SAFE_NO_PAD.decode(signature).ok()?.len();
    // An unsigned token has nothing by which it could be told from its placeholder.
    (octets >= SHAPED_BYTES_MIN).then(|| Shape::Jwt { kept: format!("{head}.{claims}."), signature_octets: octets })
}

/// Length of the public prefix: a known one, or a guess from separators among the first characters.
fn prefix(text: &str) -> usize {
    if AWS.iter().any(|known| text.starts_with(known)) && text.len() == 20 {
        return 4;
    }
    if let Some(known) = PREFIXES.iter().filter(|known| text.starts_with(**known)).max_by_key(|known| known.len()) {
        return known.len();
    }
    let most = GUESS_BYTES_MAX.min(text.len() / 3);
    let head = text.get(..most).unwrap_or_default();
    let mut end = 0;
    for (at, byte) in head.bytes().enumerate() {
        if matches!(byte, b'_' | b'-' | b'.') {
            // A word or a version (`v1`), not a piece of something random.
            let word = head.get(end..at).unwrap_or_default();
            let plain = word.len() <= 8 && word.bytes().filter(u8::is_ascii_digit).count() <= 2;
            if !plain || word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            {
                break;
            }
            end = at + 1;
        }
    }
    end
}

/// Whether the last six characters are the CRC-32 of those before them in base 62 (GitHub, npm).
fn has_checksum(body: &str) -> bool {
    let Some(border) = body.len().checked_sub(6) else { return false };
    let (Some(random), Some(sum)) = (body.get(..border), body.get(border..)) else { return false };
    checksum(random) == sum
}

/// Six digits of base 62 of the CRC-32 (IEEE 802.3) of `text`.
pub(crate) fn checksum(text: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    let (mut rest, mut out) = (crc.sum() as usize, Vec::new());
    for _ in 0..6 {
        out.push(BASE_62.as_bytes().get(rest % 62).copied().unwrap_or(b'0'));
        rest /= 62;
    }
    out.iter().rev().map(|byte| char::from(*byte)).collect()
}

fn places(text: &str, prefix: usize) -> Vec<Place> {
    let mut places: Vec<Place> = text.chars().map(Place::Fixed).collect();
    let body = text.get(prefix..).unwrap_or_default();
    let uuid = is_uuid(body);
    let mut start = prefix;
    // Letters and digits of one segment share an alphabet. Drawing place by place from the class of the secret's own
    // character would tell the agent which of them are digits.
    let whole = alphabet(&body.chars().filter(char::is_ascii_alphanumeric).collect::<String>(), text);
    for segment in body.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let numeric = !uuid && !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        let set = if numeric { DIGITS } else { whole };
        for place in places.iter_mut().skip(start).take(segment.len()) {
            *place = Place::Drawn(set);
        }
        start += segment.len() + 1;
    }
    for marker in MARKERS {
        if let Some(at) = body.find(marker) {
            for (place, letter) in places.iter_mut().skip(prefix + at).zip(marker.chars()) {
                *place = Place::Fixed(letter);
            }
        }
    }
    if text.starts_with("sk-ant-") && text.ends_with("AA") {
        places.iter_mut().rev().take(2).for_each(|place| *place = Place::Fixed('A'));
    }
    if uuid {
        // Version and variant (RFC 9562 4.1, 4.2).
        for at in [14, 19] {
            if let (Some(place), Some(letter)) = (places.get_mut(prefix + at), body.chars().nth(at)) {
                *place = Place::Fixed(letter);
            }
        }
    }
    places
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn alphabet(letters: &str, text: &str) -> &'static str {
    let all = |set: &str| letters.chars().all(|letter| set.contains(letter));
    if AWS.iter().any(|known| text.starts_with(known)) && all(BASE_32) {
        return BASE_32;
    }
    let has = |class: fn(&u8) -> bool| letters.bytes().any(|byte| class(&byte));
    let (digit, lower, upper) = (has(u8::is_ascii_digit), has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase));
    match (digit, lower, upper) {
        (true, true, false) if all(HEX_LOWER) => HEX_LOWER,
        (true, false, true) if all(HEX_UPPER) => HEX_UPPER,
        (true, false, false) => DIGITS,
        (false, true, false) => LOWER,
        (false, false, true) => UPPER,
        (true, true, false) => DIGITS_LOWER,
        (true, false, true) => DIGITS_UPPER,
        (false, true, true) => LETTERS,
        _ => BASE_62,
    }
}
