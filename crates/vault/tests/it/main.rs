//! The suite of the vault: what goes in never comes out without a permit, whatever is broken.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of a suite fail like the tests that call them"
)]

mod at_rest;
mod backends;
mod cloud;
mod conform;
mod crash;
mod issuing;
mod keyrings;
mod resolving;
mod rotating;
mod rotators;
mod sites;
mod unprintable;
mod world;
