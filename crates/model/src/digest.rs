//! SHA-256 digests as plain data. Computing them is the caller's (this crate has no cryptography).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 digest (FIPS 180-4), 32 octets; written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of nothing, used as `prev` of a chain's first record: 32 zero octets.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads 64 hex digits of either case; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return None;
        }
        let mut out = [0u8; 32];
        for (slot, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            let text = std::str::from_utf8(pair).ok()?;
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            *slot = u8::from_str_radix(text, 16).ok()?;
        }
        Some(Self(out))
    }

    /// The 64 lower-case hex digits, without an allocation.
    #[must_use]
    pub fn hex(&self) -> [u8; 64] {
        let mut out = [0u8; 64];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            if let [high, low] = pair {
                [*high, *low] = digits(byte);
            }
        }
        out
    }
}

/// The two lower-case hex digits of an octet.
fn digits(octet: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [octet >> 4, octet & 15].map(|half| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0'))
}

/// Octets in lower-case hex digits, two for each.
#[must_use]
pub fn hex(octets: &[u8]) -> String {
    octets.iter().flat_map(|octet| digits(*octet)).map(char::from).collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_back() {
        let digest = Digest(std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap_or_default()));
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(hex(&digest.0), digest.to_string());
        assert_eq!(hex(b"\x00\x0f\xff"), "000fff");
        assert_eq!(Digest::parse("+f"), None);
        assert_eq!(Digest::parse(&"+1".repeat(32)), None);
    }
}
