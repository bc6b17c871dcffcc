//! Drives the real binary with real clients: a home of its own, a configuration, upstreams on loopback, and what came out
//! at both ends.
//!
//! It knows nothing of the crates inside: only the command line, the configuration and the wire, as they are
//! promised to scripts. It never touches the internet and leaves no process behind. Start reading at [`House`], then
//! `tests/it/`; the attack corpus is in `corpus/`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "only tests call this crate; a helper that fails must fail its test loudly"
)]

pub mod audit;
pub mod corpus;
pub mod frames;
pub mod house;
pub mod origin;
pub mod postgres;

pub use house::{Gateway, House, Receipt, Session};
