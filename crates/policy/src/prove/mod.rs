//! Statements about a policy, proven over every request or refuted by one.
//!
//! [`Statements`] are what people write. [`Proof::plan`] sorts the actions that one covers into groups that no rule tells
//! apart; [`Proof::claim`] makes of each group a Cedar schema and policies that allow nothing if the statement holds. A
//! solver answers (outside: nothing here does I/O): no answer for any group is a proof. What it finds is narrowed to resources
//! and agents as they are ([`Proof::narrow`]), read back ([`Proof::read`]) and judged by the engine
//! ([`Proof::refutes`]), so that only what the engine decides otherwise refutes a statement.
//!
//! Sound for `never` and `asks`: what the engine allows, these policies allow (a property test holds them together). For
//! `allows` it is the other way about: they allow no more than the engine does, as far as facts are known.

mod claim;
mod found;
mod ground;
mod pieces;
mod plan;
mod proof;
mod statement;
mod total;
mod world;

pub use claim::Claim;
pub use found::{Asked, Found};
pub use plan::{Group, Plan};
pub use proof::{Proof, Provable, Unprovable};
pub use statement::{Statement, Statements, Verb};
pub use world::Shape;
