//! What is said about a secret that was found. Never the secret.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use crate::rule::Kind;

/// How sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// A name and a value that looks random.
    Likely,
    /// A name of a vendor and the shape of its secrets, or a structure such as a token's or an address's.
    Shaped,
    /// A prefix that nothing else has, a checksum, or a key's armour.
    Certain,
}

impl Certainty {
    /// Its word in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Likely => "likely",
            Self::Shaped => "shaped",
            Self::Certain => "certain",
        }
    }
}

/// Tells secrets apart without telling them: the first 10 octets of a SHA-256 over kind and value.
///
/// What a person may have chosen (a password) could be guessed from that by whoever reads a baseline. Of such a value one octet
/// of its hash goes in: enough to see with 255 chances of 256 that it was changed, too little to guess by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 10]);

impl Fingerprint {
    pub(crate) fn of(kind: &Kind, value: &[u8]) -> Self {
        let digest = |parts: &[&[u8]]| {
            let mut sum = Context::new(&SHA256);
            sum.update(b"valetkey scan 1\0");
            sum.update(kind.name.as_bytes());
            sum.update(b"\0");
            for part in parts {
                sum.update(part);
            }
            sum.finish()
        };
        let whole = digest(&[value]);
        let sum =
            if kind.guessable { digest(&[b"one octet", whole.as_ref().get(..1).unwrap_or_default()]) } else { whole };
        let mut short = [0u8; 10];
        short.iter_mut().zip(sum.as_ref()).for_each(|(slot, octet)| *slot = *octet);
        Self(short)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(out, "{octet:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Arc<Kind>,
    /// How sure that is.
    pub certainty: Certainty,
    /// Where its value begins, in octets from the beginning.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// The line, from 1.
    pub line: u64,
    /// The octet within the line, from 1.
    pub column: u64,
    /// The name that it was given, where it was: a variable, a key, a header.
    pub name: Option<String>,
    /// The same for the same secret.
    pub fingerprint: Fingerprint,
    /// The vendor's prefix and the length, nothing of the secret: `ghp_...(40)`.
    pub preview: String,
}
