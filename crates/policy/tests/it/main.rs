//! The policy crate as its users see it: documents in, decisions out.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "helpers of tests, outside `#[test]`"
)]

mod compare;
mod conditions;
mod credentials;
mod decisions;
mod documents;
mod grants;
mod guarded;
mod implied;
mod installation;
mod possible;
mod properties;
mod prove;
mod session_policy;
mod shapes;
mod suggest;
mod support;
