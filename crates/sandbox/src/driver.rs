//! The task that stays with an agent from its start to its end.

use std::time::Duration;

use rustix::process::{self, Pid, Signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, sleep_until};

use crate::exit::Exit;
use crate::files::SessionDir;
use crate::prompt::Request;
use crate::relay::{Relay, Step};
use crate::signals::Signals;
use crate::tree;

/// After its terminal is gone an agent has this long to end.
const HANG_UP: Duration = Duration::from_secs(5);
/// How often orphans are reaped while the agent runs.
const REAP: Duration = Duration::from_secs(5);

/// What the keeper thread sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChildEvent {
    /// The agent was stopped by this signal.
    Stopped(i32),
    /// It is over.
    Ended(Exit),
}

/// What the owner of a [`crate::Running`] wants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control {
    Signal(Signal),
    Resize,
}

pub(crate) struct Driver {
    pub(crate) leader: Pid,
    pub(crate) child: mpsc::UnboundedReceiver<ChildEvent>,
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) prompts: mpsc::Receiver<Request>,
    pub(crate) signals: Signals,
    pub(crate) relay: Option<Relay>,
    pub(crate) dir: Option<SessionDir>,
    pub(crate) walls: Option<Walls>,
    pub(crate) asked_to_end: u32,
    pub(crate) kill_at: Option<Instant>,
}

/// What stands around an agent for as long as it runs.
pub(crate) struct Walls {
    /// None when all inside has been told to end.
    pub(crate) isolated: Option<crate::isolate::Isolated>,
    /// Shows the agent's ports.
    pub(crate) ports: tokio::task::JoinHandle<()>,
}

impl Drop for Walls {
    fn drop(&mut self) {
        self.ports.abort();
    }
}

async fn relayed(relay: Option<&mut Relay>) -> Step {
    match relay {
        Some(relay) => relay.step().await,
        None => std::future::pending().await,
    }
}

impl Driver {
    pub(crate) async fn run(mut self) -> Exit {
        let mut reap = interval_at(Instant::now() + REAP, REAP);
        let exit = loop {
            let may_ask = self.relay.as_ref().is_some_and(|relay| !relay.is_asking());
            let kill_at = self.kill_at;
            tokio::select! {
                event = self.child.recv() => match event {
                    Some(ChildEvent::Stopped(signal)) => self.stopped(signal),
                    Some(ChildEvent::Ended(exit)) => break exit,
                    None => break Exit::Lost,
                },
                signal = self.signals.next() => self.pass(signal),
                Some(control) = self.control.recv() => match control {
                    Control::Signal(signal) => self.pass(signal),
                    Control::Resize => self.pass(Signal::WINCH),
                },
                Some(request) = self.prompts.recv(), if may_ask => {
                    if let Some(relay) = self.relay.as_mut() {
                        relay.ask(request);
                    }
                },
                step = relayed(self.relay.as_mut()) => {
                    if matches!(step, Step::HungUp) {
                        self.pass(Signal::HUP);
                    }
                },
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    self.kill_at = None;
                    self.kill();
                },
                _ = reap.tick() => {
                    let leader = self.leader;
                    let _ = tokio::task::spawn_blocking(move || tree::reap_orphans(leader)).await;
                },
            }
        };
        self.finish().await;
        exit
    }

    async fn finish(self) {
        let leader = self.leader;
        if self.walls.is_some() {
            // The namespace ended with its agent, and everything in it.
            tree::forget(leader);
        } else {
            let _ = tokio::task::spawn_blocking(move || tree::end(leader)).await;
        }
        if let Some(relay) = self.relay {
            relay.finish().await;
        }
        drop(self.dir);
    }

    fn kill(&mut self) {
        // Without walls nothing is left standing; with them everything inside ends.
        drop(self.walls.as_mut().and_then(|walls| walls.isolated.take()));
        tree::kill(self.leader);
    }

    /// To everything that has the agent's terminal or belongs to its first group.
    fn send(&self, signal: Signal) {
        let _ = process::kill_process_group(self.leader, signal);
        if let Some(group) = self.relay.as_ref().and_then(Relay::foreground)
            && group != self.leader
        {
            let _ = process::kill_process_group(group, signal);
        }
    }

    fn pass(&mut self, signal: Signal) {
        match signal {
            Signal::WINCH => match self.relay.as_mut() {
                Some(relay) => relay.resize(),
                None => self.send(signal),
            },
            Signal::TSTP => {
                // Its default does nothing to the agent (its group is an orphan in the sense of POSIX); STOP does.
                if tree::somebody_minds_us() {
                    self.send(Signal::STOP);
                }
            }
            Signal::CONT => {
                if let Some(relay) = self.relay.as_mut() {
                    relay.resume();
                }
                self.send(signal);
            }
            Signal::TERM | Signal::HUP => {
                self.asked_to_end += 1;
                // A second request ends at once, whatever the agent thinks of it; a hang-up cannot be repeated.
                if self.asked_to_end > 1 && signal == Signal::TERM {
                    self.kill();
                }
                if signal == Signal::HUP {
                    self.kill_at.get_or_insert_with(|| Instant::now() + HANG_UP);
                }
                self.send(signal);
                // A stopped agent acts on it only when continued.
                self.send(Signal::CONT);
            }
            _ => self.send(signal),
        }
    }

    /// The agent has stopped: so do we, so that the user gets his shell back. Where nobody would continue us, a stop that came
    /// from the keyboard is undone and any other left alone.
    fn stopped(&mut self, signal: i32) {
        let typed = self.relay.as_ref().is_some_and(Relay::suspend_was_typed);
        if tree::somebody_minds_us() {
            if let Some(relay) = self.relay.as_mut() {
                relay.suspend();
            }
            let _ = process::kill_current_process_group(Signal::STOP);
            // SIGCONT brings us back through `pass`.
        } else if typed || signal == Signal::TSTP.as_raw() {
            self.send(Signal::CONT);
        }
    }
}
