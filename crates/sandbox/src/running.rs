//! An agent that runs.

use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::driver::Control;
use crate::exit::Exit;
use crate::prompt::Prompter;
use crate::tree;

/// An agent that runs. Dropped before it has ended, it kills the agent and all that it started.
#[derive(Debug)]
pub struct Running {
    pub(crate) leader: Pid,
    pub(crate) driver: JoinHandle<Exit>,
    pub(crate) control: mpsc::Sender<Control>,
    pub(crate) prompter: Option<Prompter>,
    pub(crate) exit: Option<Exit>,
}

impl Running {
    /// Its process id, which is also that of its process group and its session.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.leader.as_raw_nonzero().get().unsigned_abs()
    }

    /// The way to ask a person on its terminal; none where it has no terminal.
    #[must_use]
    pub fn prompter(&self) -> Option<Prompter> {
        self.prompter.clone()
    }

    /// Waits until it has ended, nothing that it started is left, the terminal is as it was and the session's files are gone.
    /// Cancel-safe; a second call gives the same answer at once.
    pub async fn wait(&mut self) -> Exit {
        if let Some(exit) = self.exit {
            return exit;
        }
        let exit = (&mut self.driver).await.unwrap_or(Exit::Lost);
        self.exit = Some(exit);
        exit
    }

    /// Sends it a signal, as if this process had got it. A second `TERM` kills.
    pub async fn signal(&self, signal: Signal) {
        let _ = self.control.send(Control::Signal(signal)).await;
    }

    /// Tells it that the user's terminal may have another size.
    pub async fn resize(&self) {
        let _ = self.control.send(Control::Resize).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.exit.is_none() && !self.driver.is_finished() {
            tree::kill(self.leader);
            self.driver.abort();
        }
    }
}
