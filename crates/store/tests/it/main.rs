//! The suite of durable rows: every aggregate on both engines, several processes on one file, and everything that can
//! be wrong with a file.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a suite fail like the tests that call them"
)]

mod approvals;
mod broken;
mod grants;
mod limits;
mod postgres;
mod processes;
mod rotations;
mod rows;
mod world;
