//! The audit log: append-only, hash-chained, signed, verified offline.
//!
//! Segment files are the truth; indexes and sinks follow behind. This crate never drops a record silently, never holds
//! a secret, never reads a clock or the environment, and never answers "written" for what is not.
//!
//! ```text
//! <home>/audit/
//!   <lane>/00000001.log    one record a line: the event's members, then node, lane, seq, prev, hash
//!   <lane>/00000002.open   attempts that were open when segment 2 began (a hint that shortens recovery)
//!   <lane>/00000001.torn   octets that recovery cut off a torn tail, kept as evidence
//!   checkpoints.log        signed, chained; each binds the heads of the lanes that moved
//!   open/<lane>            a file lock for each lane that is not closed; held while its process lives
//! ```
//!
//! Start reading at [`frame`] (what a line is), then [`lane`] (how it is written), [`verify`] (how it is checked) and
//! [`recover`] (what happens after a crash).

pub mod checkpoint;
pub mod disk;
mod encode;
mod error;
pub mod export;
pub mod frame;
pub mod lane;
mod layout;
mod lines;
pub mod log;
pub mod merge;
pub mod recover;
pub mod search;
pub mod sink;
pub mod sync;
pub mod tail;
pub mod verify;

pub use checkpoint::{Head, Signer};
pub use encode::Said;
pub use error::AuditError;
pub use export::{Format, export};
pub use frame::{BadLine, Record, read_line};
pub use lane::{Lane, Position};
pub use log::{Log, Options};
pub use search::{Filter, search};
pub use sync::SyncPolicy;
pub use tail::Tail;
pub use verify::{Fault, Report, Verified, verify};
