//! Bodies on their way: frames pass as they came, are counted and hashed in passing, and are never copied.

mod answer;
mod held;
mod idle;
mod out;
#[cfg(test)]
mod out_tests;
mod spool;

pub(crate) use answer::{AnswerBody, AnswerParts, CutError, Hook};
pub use held::Budget;
pub(crate) use held::Held;
pub use out::OutBody;
pub(crate) use out::{BodyFate, Read, Search, Unsent, finish, read_to};
pub use spool::Spools;
pub(crate) use spool::{Spool, Stopped, spool, too_large};
