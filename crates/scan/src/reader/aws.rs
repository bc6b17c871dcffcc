//! Access keys of AWS: an id of 20 letters (IAM User Guide, "Unique identifiers") and a secret of 40 digits of base64 near it.

use super::Read;
use crate::finding::Certainty;
use crate::plausible;
use crate::window::Window;

/// Id and secret stand in one entry of a file.
const NEAR_BYTES_MAX: usize = 400;
const SECRET_BYTES: usize = 40;

/// The id at a hit of its first four letters.
pub(super) fn id(window: Window<'_>, (start, _): (usize, usize)) -> Option<Read> {
    let end = start + 20;
    let text = window.slice(start, end);
    let base32 = |octet: &u8| octet.is_ascii_uppercase() || (b'2'..=b'7').contains(octet);
    let good = window.begins(start)
        && window.ends(end)
        && text.len() == 20
        && text.get(4..).is_some_and(|rest| rest.iter().all(base32) && plausible::entropy(rest) >= 2.5)
        && !plausible::is_example(text);
    good.then(|| Read { public: 4, ..Read::new(start, end, Certainty::Shaped) })
}

/// The secret near the id.
pub(super) fn pair(window: Window<'_>, hit: (usize, usize)) -> Option<Read> {
    let id = id(window, hit)?;
    let from = id.start.saturating_sub(NEAR_BYTES_MAX);
    let around = window.slice(from, id.end + NEAR_BYTES_MAX);
    let digit = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'+' || octet == b'/';
    let mut best: Option<usize> = None;
    let mut at = 0;
    for run in around.split(|octet| !digit(*octet)) {
        if run.len() == SECRET_BYTES && is_secret(run) {
            // The one that follows the id, else the last before it.
            if best.is_none_or(|best| from + best < id.start) {
                best = Some(at);
            }
        }
        at += run.len() + 1;
    }
    let start = from + best?;
    Some(Read::new(start, start + SECRET_BYTES, Certainty::Certain))
}

fn is_secret(run: &[u8]) -> bool {
    let hex = run.iter().all(u8::is_ascii_hexdigit);
    let case = run.iter().any(u8::is_ascii_uppercase) && run.iter().any(u8::is_ascii_lowercase);
    !hex && case && plausible::entropy(run) >= 4.0 && !plausible::is_example(run)
}
