//! Finds secrets in octets: files, diffs of a history, logs, transcripts.
//!
//! Pure: no I/O, no clock, no state between calls. It must never print, keep or return a value: a [`Finding`] says kind, place,
//! a fingerprint and a masked preview. What a kind looks like is in `rules/*.yaml`, each entry with the public documentation of its
//! form; the few kinds with a structure have a reader in `reader/`. Start reading at [`Scanner`].
//!
//! One pass of an automaton over the octets finds every word by which some kind can be recognised; a linear-time expression
//! looks only there. [`Stream`] gives the same findings whatever the pieces.

mod assignment;
mod check;
mod finding;
mod format;
mod plausible;
mod reader;
mod rule;
mod scanner;
mod stream;
mod window;

pub use finding::{Certainty, Finding, Fingerprint};
pub use format::Format;
pub use rule::{Kind, RuleError};
pub use scanner::{Known, Scanner};
pub use stream::Stream;

/// The mark of a line whose findings are meant: `valetkey:allow`.
pub const ALLOW: &str = "valetkey:allow";
