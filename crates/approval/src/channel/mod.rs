//! How people are told and answer. A channel is a file here and a line in [`CHANNELS`].

mod desk;
mod scripted;
mod terminal;

use std::future::Future;
use std::pin::Pin;

use model::ApprovalId;

use crate::ask::{Ask, Question};
use crate::room::Answerer;

pub use desk::Desk;
pub use scripted::Scripted;
pub use terminal::{Screen, Terminal, TerminalChannel};

/// Every channel, by its name.
pub const CHANNELS: &[&str] = &[desk::NAME, scripted::NAME, terminal::NAME];

/// A future behind a `dyn` seam.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to a person. Called from the runtime; must not block.
pub trait Channel: Send + Sync {
    /// Its name, as approvers appear under it.
    fn name(&self) -> &'static str;
    /// Whether somebody could answer this question through it now.
    fn can_answer(&self, ask: &Ask) -> bool;
    /// Shows a question; the answer goes to `answerer`, now or later.
    fn notify(&self, question: Question, answerer: Answerer);
    /// The question is settled or nobody waits any more: take it away.
    fn withdraw(&self, id: ApprovalId);
}
