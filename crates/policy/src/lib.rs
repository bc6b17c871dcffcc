//! Policy: parse, check, compile, decide, explain, and the arithmetic of limits.
//!
//! Pure: no I/O, no async, no clock, no randomness. Owns [`Permit`] and [`Upkeep`], which open the vault. Any error
//! while evaluating a rule denies. Start reading at [`decision`], then [`permit`].

pub mod decision;
pub mod limit;
pub mod permit;

pub use decision::{ApprovalNeed, Conditions, Decision, Grant, Question, Subject, Unsatisfied};
pub use permit::{Bearer, Binding, Permit, Redeemed, StalePermit, Upkeep};
