//! Transcripts and the attack corpus against the real binary.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "the helpers of a test fail with it")]

mod approvals;
mod attacks;
mod bare;
mod batches;
mod clients;
mod clock;
mod coding;
mod coverage;
mod doctor;
mod doors;
mod faults;
mod floods;
mod git;
mod guarded;
mod hardening;
mod hostile;
mod logins;
mod mcp;
mod names;
mod own_user;
mod packaging;
mod placeholders;
mod policies;
mod reliability;
mod rows;
mod scan;
mod setting;
mod sharing;
mod talk;
mod terminal;
mod tripwires;
mod tunnels;
mod vendors;
mod walls;
