//! The audit log from outside: what is written is there, what is changed is found, what fails heals.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod crash;
mod faults;
mod readers;
mod recovery;
mod support;
mod tampering;
mod waiting;
mod writing;
