//! Typed ids: a prefix that says what it names, then 26 characters of Crockford base 32 (time, then randomness, as in
//! ULID), so that ids sort by time and cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::{Random, Timestamp};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an id of the form `{prefix}` and 26 letters or digits; copy it whole from the output that named it"
)]
pub struct IdError {
    text: String,
    prefix: &'static str,
}

fn encode(value: u128, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; 26];
    let mut rest = value;
    for slot in text.iter_mut().rev() {
        *slot = ALPHABET.get((rest & 31) as usize).copied().unwrap_or(b'0');
        rest >>= 5;
    }
    out.write_str(std::str::from_utf8(&text).unwrap_or_default())
}

fn decode(text: &str) -> Option<u128> {
    if text.len() != 26 {
        return None;
    }
    text.bytes().try_fold(0u128, |sum, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        // 26 digits hold 130 bits; the top two must be zero.
        (sum >> 123 == 0).then_some((sum << 5) | digit as u128)
    })
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u128);

        impl $name {
            /// The prefix, underscore included.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id: 48 bits of milliseconds, 80 bits of randomness.
            #[must_use]
            pub fn fresh(now: Timestamp, random: &dyn Random) -> Self {
                let mut noise = [0u8; 16];
                random.fill(&mut noise);
                let millis = u128::from(now.0.max(0).unsigned_abs() / 1_000) & ((1 << 48) - 1);
                Self((millis << 80) | (u128::from_be_bytes(noise) & ((1 << 80) - 1)))
            }

            /// The bare 128 bits, for compact storage.
            #[must_use]
            pub const fn bits(self) -> u128 {
                self.0
            }

            /// From [`Self::bits`].
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str($prefix)?;
                encode(self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix)
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| IdError { text: text.chars().take(64).collect(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// One run of an agent on one task.
    SessionId, "ses_");
id!(
    /// One request and its response.
    ExchangeId, "exc_");
id!(
    /// One audit record.
    EventId, "evt_");
id!(
    /// A stored credential.
    CredentialId, "crd_");
id!(
    /// A question to a person.
    ApprovalId, "apr_");
id!(
    /// Time-limited access given at run time.
    GrantId, "grt_");
id!(
    /// A held part of a limit.
    ReservationId, "rsv_");
id!(
    /// A response to something odd.
    IncidentId, "inc_");

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);
    impl Random for Fixed {
        fn fill(&self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn round_trip_and_order() {
        let early = SessionId::fresh(Timestamp::from_secs(1), &Fixed(255));
        let late = SessionId::fresh(Timestamp::from_secs(2), &Fixed(0));
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.to_string().len(), 30);
    }

    #[test]
    fn the_wrong_kind_is_refused() {
        let session = SessionId::fresh(Timestamp::from_secs(1), &Fixed(7)).to_string();
        assert!(session.parse::<ExchangeId>().is_err());
        assert!("ses_zzzzzzzzzzzzzzzzzzzzzzzzzz".parse::<SessionId>().is_err());
        assert!("ses_".parse::<SessionId>().is_err());
    }
}
