//! Asks a person on the agent's terminal, so that the agent can neither draw over the question nor type into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::keys::Key;
use crate::page::Page;
use crate::{SandboxError, tty};

/// Questions that may wait for the terminal. Approvals are bounded per agent long before.
pub(crate) const WAITING_MAX: usize = 16;

/// How long keys are thrown away after a question appears: nobody can have read it yet, and a person who was typing to the
/// agent goes on for a moment.
#[derive(Clone, Copy, Debug)]
pub struct PromptTiming {
    /// From the first drawing on.
    pub ignore: Duration,
    /// And until there was silence for this long.
    pub quiet: Duration,
}

impl Default for PromptTiming {
    fn default() -> Self {
        Self { ignore: Duration::from_millis(600), quiet: Duration::from_millis(250) }
    }
}

/// The size of the terminal, shared with whoever draws.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedSize(Arc<AtomicU32>);

impl SharedSize {
    pub(crate) fn set(&self, (columns, rows): (u16, u16)) {
        self.0.store(u32::from(columns) << 16 | u32::from(rows), Ordering::Relaxed);
    }

    fn get(&self) -> (u16, u16) {
        let packed = self.0.load(Ordering::Relaxed);
        ((packed >> 16) as u16, (packed & 0xffff) as u16)
    }
}

/// A question that wants the terminal.
pub(crate) struct Request {
    pub(crate) pages: mpsc::Receiver<Page>,
    pub(crate) keys: mpsc::Sender<Key>,
    pub(crate) opened: oneshot::Sender<()>,
    pub(crate) timing: PromptTiming,
}

/// The way to the terminal of a running agent. Cheap to clone; questions take turns.
#[derive(Clone, Debug)]
pub struct Prompter {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) size: SharedSize,
}

impl Prompter {
    /// Waits for the terminal, then covers what the agent has drawn. From here on nothing that the agent writes is shown (it
    /// waits) and nothing typed reaches it, until the [`Prompt`] is dropped.
    ///
    /// # Errors
    /// The agent has ended.
    pub async fn open(&self, timing: PromptTiming) -> Result<Prompt, SandboxError> {
        let (draw, pages) = mpsc::channel(4);
        let (send, keys) = mpsc::channel(64);
        let (opened, is_open) = oneshot::channel();
        let request = Request { pages, keys: send, opened, timing };
        self.requests.send(request).await.map_err(|_| SandboxError::Ended)?;
        is_open.await.map_err(|_| SandboxError::Ended)?;
        Ok(Prompt { draw, keys, size: self.size.clone() })
    }
}

/// An open question. Dropping it gives the screen back to the agent.
#[derive(Debug)]
pub struct Prompt {
    draw: mpsc::Sender<Page>,
    keys: mpsc::Receiver<Key>,
    size: SharedSize,
}

impl Prompt {
    /// Shows a page in place of the last one. Keys count from shortly after the first page.
    ///
    /// # Errors
    /// The agent has ended.
    pub async fn draw(&mut self, page: Page) -> Result<(), SandboxError> {
        self.draw.send(page).await.map_err(|_| SandboxError::Ended)
    }

    /// The next key; none when the agent has ended and the question is moot.
    pub async fn key(&mut self) -> Option<Key> {
        self.keys.recv().await
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        self.size.get()
    }
}

/// Refreshes the shared size from the terminal and returns it.
pub(crate) fn measure(size: &SharedSize, fd: std::os::fd::BorrowedFd<'_>) -> (u16, u16) {
    let now = tty::size_of(fd);
    size.set(now);
    now
}
