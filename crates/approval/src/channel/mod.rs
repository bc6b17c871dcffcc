//! How people are told and answer. A channel is a file here and a line in [`CHANNELS`].

mod desk;
mod scripted;
mod terminal;
mod webhook;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use model::ApprovalId;

use crate::ask::{Ask, Question, Settled};
use crate::inbox::Inbox;
use crate::room::Answerer;

pub use desk::Desk;
pub use scripted::Scripted;
pub use terminal::{Screen, Terminal, TerminalChannel};
pub use webhook::{Courier, Letter, Webhook};

/// Every channel, by its name.
pub const CHANNELS: &[&str] = &[desk::NAME, scripted::NAME, terminal::NAME, webhook::NAME];

/// A future behind a `dyn` seam.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to a person. Called from the runtime; must not block.
pub trait Channel: Send + Sync {
    /// Its name, as approvers appear under it.
    fn name(&self) -> &str;
    /// Whether somebody could answer this question through it now.
    fn can_answer(&self, ask: &Ask) -> bool;
    /// Shows a question; the answer goes to `answerer`, now or later.
    fn notify(&self, question: Question, answerer: Answerer);
    /// The question is settled: take it away.
    fn withdraw(&self, id: ApprovalId, settled: &Settled);
    /// Where signed answers come in, if they may.
    fn inbox(&self) -> Option<Arc<Inbox>> {
        None
    }
}
