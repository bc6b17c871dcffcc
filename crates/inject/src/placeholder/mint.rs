//! Making placeholders: same shape as the secret, random otherwise.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secret::Secret;

use crate::scrub::shape::{BASE_62, Place, Shape, checksum};

/// Randomness that must remain beside the stable suffix, bits.
const RANDOM_BITS_MIN: f64 = 96.0;
/// Longest suffix that stays the same for one agent and credential: Claude Code remembers an approved key by its last 20.
const SUFFIX_CHARS_MAX: usize = 20;
/// Length of a placeholder for a secret that is too short or has no shape: `vk_` and 24 characters of base 62.
const OWN_CHARS: usize = 24;

/// A source of octets: a keyed expansion that the caller owns (placeholders are made by no cryptography of this crate).
pub type Noise<'a> = &'a mut dyn FnMut(&mut [u8]);

/// A fresh placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// The text that the agent gets.
    pub text: String,
    /// What its owner should know about it.
    pub note: Option<&'static str>,
}

/// Makes a placeholder for `secret`. `noise` is fresh for each session and credential; `suffix` gives the same octets for
/// the same agent and credential, so that the last characters stay the same where the shape has room for that.
#[must_use]
pub fn mint(secret: &Secret, noise: Noise<'_>, suffix: Noise<'_>) -> Minted {
    // The chance of drawing the secret itself is 2^-96; three tries make it a matter of a broken source.
    for _ in 0..3 {
        let minted = once(secret, noise, suffix);
        if !secret.equals(minted.text.as_bytes()) {
            return minted;
        }
    }
    own(noise)
}

fn once(secret: &Secret, noise: Noise<'_>, suffix: Noise<'_>) -> Minted {
    match Shape::of(secret) {
        Shape::None => own(noise),
        Shape::Jwt { kept, signature_octets } => {
            let mut signature = vec![0; signature_octets];
            noise(&mut signature);
            // The last octets decide the last characters, whatever the length is modulo three.
            let stable = signature_octets.saturating_sub(12).min(SUFFIX_CHARS_MAX * 3 / 4);
            if let Some(tail) = signature.get_mut(signature_octets - stable..) {
                suffix(tail);
            }
            Minted { text: kept + &URL_SAFE_NO_PAD.encode(signature), note: None }
        }
        Shape::Places { places, prefix, checksum: sum } => {
            let mut letters = drawn(&places, sum, noise, suffix);
            if sum {
                let border = letters.len() - 6;
                let random: String = letters.iter().take(border).skip(prefix).collect();
                letters.truncate(border);
                letters.extend(checksum(&random).chars());
            }
            Minted { text: letters.into_iter().collect(), note: None }
        }
    }
}

fn drawn(places: &[Place], sum: bool, noise: Noise<'_>, suffix: Noise<'_>) -> Vec<char> {
    let mut letters: Vec<char> = Vec::with_capacity(places.len());
    for place in places {
        letters.push(match place {
            Place::Fixed(letter) => *letter,
            Place::Drawn(set) => draw(set, noise),
        });
    }
    if sum {
        return letters;
    }
    // From the end: as many stable places as leave enough randomness before them.
    let bits = |place: &Place| if let Place::Drawn(set) = place { (set.len() as f64).log2() } else { 0.0 };
    let mut left: f64 = places.iter().map(bits).sum();
    for (place, letter) in places.iter().zip(letters.iter_mut()).rev().take(SUFFIX_CHARS_MAX) {
        left -= bits(place);
        if left < RANDOM_BITS_MIN {
            break;
        }
        if let Place::Drawn(set) = place {
            *letter = draw(set, suffix);
        }
    }
    letters
}

/// One character of an alphabet of at most 64, without bias.
fn draw(set: &str, noise: Noise<'_>) -> char {
    let size = set.len().clamp(1, 255);
    let fair = 256 - 256 % size;
    let mut octet = [0u8];
    // A source that never gives a fair octet would be broken; the bound keeps even that one finite.
    for _ in 0..64 {
        noise(&mut octet);
        if usize::from(octet[0]) < fair {
            break;
        }
    }
    set.as_bytes().get(usize::from(octet[0]) % size).copied().map_or('0', char::from)
}

fn own(noise: Noise<'_>) -> Minted {
    let text = std::iter::repeat_with(|| draw(BASE_62, noise)).take(OWN_CHARS);
    Minted {
        text: "vk_".chars().chain(text).collect(),
        note: Some("the secret is too short or not one line of text, so its placeholder has another form and length"),
    }
}
