//! Policy: parse, check, compile, decide, explain, and the arithmetic of limits.
//!
//! Pure: no I/O, no async, no clock, no randomness. Owns [`Permit`] and [`Upkeep`], which open the vault. Any error
//! while evaluating a rule denies. Start reading at [`decision`], then [`permit`]; then [`document`] (what was written)
//! and [`rules`] (what runs).

mod alert;
pub mod compare;
mod compile;
mod condition;
pub mod decision;
pub mod document;
mod fallback;
mod grant;
pub mod guarded;
mod installation;
pub mod limit;
pub mod permit;
pub mod profile;
pub mod prove;
mod refuse;
pub mod rules;
mod session_policy;
pub mod suggest;
#[cfg(feature = "test-conditions")]
mod test_conditions;

pub use alert::{Alerts, Response};
pub use decision::{Admitted, ApprovalNeed, Conditions, Decision, Grant, Question, Subject, Unsatisfied};
pub use document::{Diagnostic, Document, Note};
pub use fallback::{Fallback, FixedAnswer};
pub use grant::{Asked, Consent, Cut, Given, Offer, Scope};
pub use installation::{Installation, NoInstallation, installation};
pub use permit::{Bearer, Binding, Permit, Redeemed, StalePermit, Upkeep};
pub use rules::{Explained, Granted, Rules};
pub use session_policy::{NoSessionPolicy, session_policy};
