//! Injection and its mirror: schemes put a credential on a request, placeholders stand for it in the agent's hands, the
//! scrubber keeps it out of answers, and known secrets are found in what the agent sends.
//!
//! Pure and push style: no I/O, no clock, no randomness of its own. This crate must never put a credential anywhere but
//! into the declared slot, never send one in clear text, and never let a body pass that it could not read. Start
//! reading at [`arm()`], then [`scheme`], [`Index::sight`], [`Scrubber`].

pub mod answer;
mod arm;
pub mod capture;
mod known;
pub mod placeholder;
pub mod scheme;
pub mod scrub;

pub use answer::{ANSWER_DIGESTS, Answer, Undecodable};
pub use arm::{Armed, ArmedParts, Put, arm};
pub use capture::Document;
pub use known::{KnownBuilder, KnownScan, KnownSecrets};
pub use placeholder::index::{Entry, Index, SessionPlaceholders};
pub use placeholder::mint::{Minted, Noise, mint};
pub use placeholder::sight::{Look, Sightings, reference};
pub use placeholder::watch::SightScan;
pub use scheme::sigv4::chunks::{ChunkError, ChunkSigner};
pub use scheme::{Binding, Login, LoginError, Presented, Proved, Scheme, Scram, SlotValue};
pub use scrub::{Frames, NeedleCache, Needles, NeedlesBuilder, Scrubber, scrub_headers};

use model::CredentialName;

/// Why a credential cannot be put on a request, or a placeholder not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The upstream is reached without TLS.
    #[error("credential `{name}` is never sent in clear text; use the https address of the service")]
    ClearText {
        /// Which credential.
        name: CredentialName,
    },
    /// The value has a line break, a control character, or something else that its slot cannot hold.
    #[error(
        "credential `{name}` holds a line break or another character that its slot cannot carry; add it again without"
    )]
    Unprintable {
        /// Which credential.
        name: CredentialName,
    },
    /// The credential has no value.
    #[error("credential `{name}` is empty; add its value with `valetkey credential add {name}`")]
    Empty {
        /// Which credential.
        name: CredentialName,
    },
    /// It holds no client certificate that can be presented.
    #[error(
        "credential `{name}` holds no client certificate with its key; add it again with `valetkey credential add {name} --kind mtls`"
    )]
    Certificate {
        /// Which credential.
        name: CredentialName,
    },
    /// The declared slot makes no sense.
    #[error("slot `{slot}` cannot be written; give a header name, and a template with exactly one `{{value}}`")]
    Slot {
        /// As declared.
        slot: String,
    },
    /// The body was not given, is too large, not of a type that is read, or has no such field.
    #[error("field `{field}` was not found in the body; send JSON or a form, uncompressed, with the placeholder in it")]
    Body {
        /// As declared.
        field: String,
    },
    /// The agent's own signature cannot be made anew; the request is what is wrong.
    #[error("the request cannot be signed anew: {why}")]
    Sign {
        /// Why.
        why: &'static str,
    },
    /// More live placeholders than the bound.
    #[error("more than `{bound}` placeholders; end sessions that are not used")]
    TooMany {
        /// The bound.
        bound: usize,
    },
}
