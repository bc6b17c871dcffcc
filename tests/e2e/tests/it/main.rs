//! Transcripts and the attack corpus against the real binary.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test fail with it")]

mod attacks;
mod clients;
mod coverage;
mod faults;
mod guarded;
mod names;
mod placeholders;
mod reliability;
mod rows;
mod scan;
mod setting;
mod sharing;
mod talk;
mod tunnels;
