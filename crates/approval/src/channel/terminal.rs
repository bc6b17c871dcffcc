//! The terminal of `run`. The pseudo-terminal belongs to the launcher; here is what is shown and what keys mean.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::ApprovalId;
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Channel, Wait};
use crate::ask::{Ask, Question, Settled};
use crate::prompt::{Action, Key, Prompt};
use crate::room::Answerer;

pub(super) const NAME: &str = "terminal";

/// A terminal that can be covered for a question.
pub trait Terminal: Send + Sync {
    /// Whether there is one, with a person in front of it.
    fn is_present(&self) -> bool;
    /// Waits for its turn and covers what the agent has drawn; `None` when the agent has ended. Keys typed before are
    /// the implementation's to discard. Dropping the screen gives it back.
    fn open(&self) -> Wait<'_, Option<Box<dyn Screen>>>;
}

/// A covered terminal.
pub trait Screen: Send {
    /// Columns and rows.
    fn size(&self) -> (u16, u16);
    /// Shows lines in place of the last ones. They hold printable characters alone and fit the size; `false` when the
    /// terminal is gone.
    fn draw(&mut self, lines: Vec<String>) -> Wait<'_, bool>;
    /// The next key; `None` when the terminal is gone.
    fn key(&mut self) -> Wait<'_, Option<Key>>;
}

/// Asks on a terminal, one question at a time.
pub struct TerminalChannel {
    terminal: Arc<dyn Terminal>,
    /// Who sits there, as it stands in the record.
    operator: String,
    shown: Arc<Mutex<HashMap<ApprovalId, AbortHandle>>>,
}

impl TerminalChannel {
    /// On this terminal; answers are recorded as given by `operator`.
    #[must_use]
    pub fn new(terminal: Arc<dyn Terminal>, operator: impl Into<String>) -> Self {
        Self { terminal, operator: operator.into(), shown: Arc::default() }
    }
}

impl Channel for TerminalChannel {
    fn name(&self) -> &str {
        NAME
    }

    fn can_answer(&self, ask: &Ask) -> bool {
        let may = ask.need.of.is_empty() || ask.need.of.contains(&self.operator);
        may && ask.need.count <= 1 && self.terminal.is_present()
    }

    fn notify(&self, question: Question, answerer: Answerer) {
        if !self.can_answer(&question.ask) {
            return;
        }
        let (terminal, operator, id) = (Arc::clone(&self.terminal), self.operator.clone(), question.id);
        let shown = Arc::clone(&self.shown);
        // Registered before the task can end.
        let mut register = self.shown.lock();
        let task = tokio::spawn(async move {
            if let Some(mut screen) = terminal.open().await {
                converse(&mut *screen, &question, &operator, &answerer).await;
            }
            shown.lock().remove(&id);
        });
        register.insert(id, task.abort_handle());
    }

    fn withdraw(&self, id: ApprovalId, _: &Settled) {
        if let Some(task) = self.shown.lock().remove(&id) {
            task.abort();
        }
    }
}

async fn converse(screen: &mut dyn Screen, question: &Question, operator: &str, answerer: &Answerer) {
    let mut prompt = Prompt::new(Arc::clone(&question.ask));
    let size = screen.size();
    if !screen.draw(prompt.lines(size)).await {
        return;
    }
    let since = Instant::now();
    while let Some(key) = screen.key().await {
        let elapsed: Duration = since.elapsed();
        match prompt.key(key, elapsed) {
            Action::Nothing => {}
            Action::Redraw => {
                let size = screen.size();
                if !screen.draw(prompt.lines(size)).await {
                    return;
                }
            }
            Action::Answer(reply) => {
                if let Err(error) = answerer.answer(operator, reply).await {
                    tracing::warn!(%error, "an answer did not count");
                }
                return;
            }
        }
    }
}
