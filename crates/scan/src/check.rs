//! Checksums and structures that a vendor put into its tokens. What fails them was never issued: an example, a typing error.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde::Deserialize;

/// What can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// After the prefix's `_`: 30 digits and their CRC-32 as 6 digits of base 62 (GitHub, npm).
    Crc32Base62,
    /// The part before the first dot is a number in base64 (Discord: the id of the bot).
    Base64Number,
    /// The part before the first dot is JSON in base64 (Mapbox and others).
    Base64Json,
}

impl Check {
    /// Whether `value` passes; `prefix` is how much of it the rule's word takes.
    pub(crate) fn passes(self, value: &[u8], prefix: usize) -> bool {
        match self {
            Self::Crc32Base62 => crc_base62(value.get(prefix..).unwrap_or_default()),
            Self::Base64Number => first_part(value)
                .is_some_and(|text| (15..=20).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)),
            Self::Base64Json => {
                first_part(value.get(prefix..).unwrap_or_default()).is_some_and(|text| text.first() == Some(&b'{'))
            }
        }
    }
}

fn first_part(value: &[u8]) -> Option<Vec<u8>> {
    let part = value.split(|octet| *octet == b'.').next()?;
    let part: Vec<u8> = part.iter().copied().filter(|octet| *octet != b'=').collect();
    URL_SAFE_NO_PAD.decode(&part).or_else(|_| STANDARD_NO_PAD.decode(&part)).ok()
}

fn crc_base62(rest: &[u8]) -> bool {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((random, sum)) = rest.split_at_checked(30).filter(|(_, sum)| sum.len() == 6) else { return false };
    let mut left = crc32(random);
    // The last digit first.
    sum.iter().rev().all(|digit| {
        let want = DIGITS.get((left % 62) as usize);
        left /= 62;
        want == Some(digit)
    })
}

/// CRC-32 of ISO 3309, bit by bit: it runs over a few octets of a few candidates.
pub(crate) fn crc32(octets: &[u8]) -> u32 {
    let step = |sum: u32, octet: &u8| {
        (0..8).fold(sum ^ u32::from(*octet), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()))
    };
    !octets.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        // A token that GitHub's users have published as revoked, in two halves.
        let good = ["zQWBuTSOoRi4A9spHcVY", "5ncnsDkxkJ0mLq17"].concat();
        assert!(Check::Crc32Base62.passes(good.as_bytes(), 0));
        assert!(!Check::Crc32Base62.passes(good.replace('z', "y").as_bytes(), 0));
        assert!(Check::Base64Number.passes(b"MTIzNDU2Nzg5MDEyMzQ1Njc4.x.y", 0));
        assert!(!Check::Base64Number.passes(b"AAAA.x.y", 0));
    }
}
