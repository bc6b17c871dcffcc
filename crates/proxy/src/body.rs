//! Bodies on their way: frames pass as they came, are counted and hashed in passing, and are never copied.

mod answer;
mod idle;
mod out;

pub(crate) use answer::{AnswerBody, AnswerParts, CutError, Hook};
pub(crate) use out::{BodyFate, finish, read_whole};
pub use out::{OutBody, OutError};
