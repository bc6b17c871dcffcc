//! Two terminals and what passes between them: the user's, in raw mode, and the agent's, which we own.
//!
//! Normally octets pass both ways. While a question is open ([`Relay::ask`]) nothing passes: the agent's output stays in the
//! kernel's buffer until it blocks, and keys go to the question alone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};
use rustix::termios::{self, LocalModes, SpecialCodeIndex};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout};

use crate::keys::Keys;
use crate::page::{Page, render};
use crate::prompt::{PromptTiming, Request, SharedSize, measure};
use crate::screen::Screen;
use crate::tty::{Pair, RawMode, Terminal, discard_input, set_size};
use crate::{Key, SandboxError, kernel, tree};

/// What is read from the agent at once; also the most that waits for a slow terminal.
const AGENT_BYTES: usize = 16 * 1024;
/// What is read from the user at once.
const USER_BYTES: usize = 1024;
/// Keys that wait for an agent that does not read; beyond it the user's terminal waits.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// A lone escape is the key if nothing follows for this long.
const ESCAPE: Duration = Duration::from_millis(50);
/// The pseudo-terminal is a row lower for this long, so that a program which repaints on changes only does repaint.
const REPAINT: Duration = Duration::from_millis(30);
/// After Ctrl-Z a program has this long to stop by itself.
const SUSPEND: Duration = Duration::from_millis(100);
/// A control sequence that a question cut in two is dropped up to this length.
const CUT_BYTES_MAX: usize = 4 * 1024;
/// The last words of an agent may take this long to reach a slow terminal.
const FLUSH: Duration = Duration::from_secs(1);

struct Question {
    request: Request,
    keys: Keys,
    page: Option<Page>,
    timing: PromptTiming,
    /// Keys before this are thrown away; none until the first page stands.
    accept_at: Option<Instant>,
    escape_at: Option<Instant>,
}

/// What a step found that the driver must act on.
pub(crate) enum Step {
    Nothing,
    /// The user's terminal is gone.
    HungUp,
}

enum Ready {
    Agent(io::Result<usize>),
    User(io::Result<usize>),
    ToAgent(io::Result<usize>),
    ToUser(io::Result<usize>),
    Page(Option<Page>),
    Timer,
}

pub(crate) struct Relay {
    raw: RawMode,
    real: AsyncFd<OwnedFd>,
    master: AsyncFd<OwnedFd>,
    leader: Pid,
    screen: Screen,
    size: SharedSize,
    out: Vec<u8>,
    input: Vec<u8>,
    agent_bytes: Box<[u8]>,
    user_bytes: Box<[u8]>,
    agent_closed: bool,
    user_closed: bool,
    question: Option<Question>,
    cut: Option<usize>,
    repaint_at: Option<Instant>,
    suspend_at: Option<Instant>,
    suspend_typed: Option<Instant>,
}

async fn read_some(fd: &AsyncFd<OwnedFd>, into: &mut [u8]) -> io::Result<usize> {
    fd.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut *into)?)).await
}

async fn write_some(fd: &AsyncFd<OwnedFd>, from: &[u8]) -> io::Result<usize> {
    fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, from)?)).await
}

/// A terminal in the making: raw already, no agent behind it yet.
pub(crate) struct Opening {
    raw: RawMode,
    real: AsyncFd<OwnedFd>,
    master: AsyncFd<OwnedFd>,
    size: SharedSize,
}

impl Opening {
    /// Puts the user's terminal into raw mode and makes the agent's, of the same size and modes; returns its end too.
    pub(crate) fn new(terminal: Terminal, size: SharedSize) -> Result<(Self, OwnedFd), SandboxError> {
        let raw = RawMode::enter(&terminal.fd)?;
        let pair = Pair::open(raw.original(), measure(&size, terminal.fd.as_fd()))?;
        Ok((Self::between(raw, terminal, pair.master, size)?, pair.slave))
    }

    /// The same with an agent's terminal that was made elsewhere; `master` is our end of it.
    pub(crate) fn with(terminal: Terminal, size: SharedSize, master: OwnedFd) -> Result<Self, SandboxError> {
        let raw = RawMode::enter(&terminal.fd)?;
        Pair::adjust(&master, raw.original(), measure(&size, terminal.fd.as_fd()))?;
        Self::between(raw, terminal, master, size)
    }

    fn between(raw: RawMode, terminal: Terminal, master: OwnedFd, size: SharedSize) -> Result<Self, SandboxError> {
        let fail = |cause| SandboxError::Terminal { what: "watch the terminal", cause };
        let real = kernel::watch(terminal.fd).map_err(fail)?;
        let master = kernel::watch(master).map_err(fail)?;
        Ok(Self { raw, real, master, size })
    }

    pub(crate) fn begin(self, leader: Pid) -> Relay {
        Relay {
            raw: self.raw,
            real: self.real,
            master: self.master,
            leader,
            screen: Screen::new(),
            size: self.size,
            out: Vec::new(),
            input: Vec::new(),
            agent_bytes: vec![0; AGENT_BYTES].into_boxed_slice(),
            user_bytes: vec![0; USER_BYTES].into_boxed_slice(),
            agent_closed: false,
            user_closed: false,
            question: None,
            cut: None,
            repaint_at: None,
            suspend_at: None,
            suspend_typed: None,
        }
    }
}

impl Relay {
    /// One thing that happens. Cancel-safe: octets are taken only by the poll that returns.
    pub(crate) async fn step(&mut self) -> Step {
        let timer = self.next_timer();
        let asking = self.question.is_some();
        let (may_hear, may_say) = (!asking && self.out.is_empty() && !self.agent_closed, !self.out.is_empty());
        let (may_type, may_pass) = (self.input.len() < INPUT_BYTES_MAX && !self.user_closed, !self.input.is_empty());
        let Self { real, master, out, input, question, agent_bytes, user_bytes, .. } = self;
        let next_page = async {
            match question {
                Some(question) => question.request.pages.recv().await,
                None => std::future::pending().await,
            }
        };
        let ready = tokio::select! {
            read = read_some(master, agent_bytes), if may_hear => Ready::Agent(read),
            read = read_some(real, user_bytes), if may_type => Ready::User(read),
            wrote = write_some(master, input), if may_pass => Ready::ToAgent(wrote),
            wrote = write_some(real, out), if may_say => Ready::ToUser(wrote),
            page = next_page => Ready::Page(page),
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Ready::Timer,
        };
        self.handle(ready)
    }

    fn handle(&mut self, ready: Ready) -> Step {
        match ready {
            Ready::Agent(Ok(count)) if count > 0 => self.agent_wrote(count),
            // EIO: the last process with the agent's end open is gone.
            Ready::Agent(_) => self.agent_closed = true,
            Ready::User(Ok(count)) if count > 0 => self.user_typed(count),
            Ready::User(_) | Ready::ToUser(Err(_)) => {
                self.out.clear();
                self.user_closed = true;
                return Step::HungUp;
            }
            Ready::ToAgent(Ok(count)) => {
                self.input.drain(..count);
            }
            Ready::ToAgent(Err(_)) => self.input.clear(),
            Ready::ToUser(Ok(count)) => {
                self.out.drain(..count);
            }
            Ready::Page(Some(page)) => self.draw(page),
            Ready::Page(None) => self.answered(),
            Ready::Timer => self.timer(),
        }
        Step::Nothing
    }

    fn agent_wrote(&mut self, count: usize) {
        let Some(bytes) = self.agent_bytes.get(..count) else { return };
        let mut from = 0;
        if let Some(dropped) = self.cut.as_mut() {
            // The rest of a sequence whose beginning a question cut off is no text.
            for byte in bytes {
                if self.screen.at_rest() || *dropped >= CUT_BYTES_MAX {
                    break;
                }
                self.screen.feed(&[*byte]);
                from += 1;
                *dropped += 1;
            }
            if from < bytes.len() {
                self.cut = None;
            }
        }
        let rest = bytes.get(from..).unwrap_or_default();
        let was = self.screen.is_alternate();
        self.screen.feed(rest);
        self.out.extend_from_slice(rest);
        if was != self.screen.is_alternate() {
            self.raw.set_undo(self.screen.leave());
        }
    }

    fn user_typed(&mut self, count: usize) {
        let Some(bytes) = self.user_bytes.get(..count) else { return };
        let now = Instant::now();
        let Some(question) = self.question.as_mut() else {
            self.input.extend_from_slice(bytes);
            self.watch_for_suspend(count, now);
            return;
        };
        // Even what is thrown away runs through the parser, or the end of a swallowed report would be read as keys.
        let keys = question.keys.feed(bytes);
        match question.accept_at {
            Some(at) if now >= at => {
                question.escape_at = question.keys.is_escape_pending().then(|| now + ESCAPE);
                for key in keys {
                    let _ = question.request.keys.try_send(key);
                }
            }
            Some(at) => question.accept_at = Some(at.max(now + question.timing.quiet)),
            None => {}
        }
    }

    /// The kernel discards the default action of SIGTSTP for the agent (see [`tree::suspends_by_default`]), so a typed Ctrl-Z
    /// is carried out by us where the agent leads the foreground and does nothing about it.
    fn watch_for_suspend(&mut self, count: usize, now: Instant) {
        let Ok(modes) = termios::tcgetattr(&self.master) else { return };
        let key = modes.special_codes[SpecialCodeIndex::VSUSP];
        if key != 0 && self.user_bytes.get(..count).is_some_and(|typed| typed.contains(&key)) {
            self.suspend_typed = Some(now);
            if modes.local_modes.contains(LocalModes::ISIG) {
                self.suspend_at = Some(now + SUSPEND);
            }
        }
    }

    /// Whether the user has just typed the suspend key.
    pub(crate) fn suspend_was_typed(&self) -> bool {
        self.suspend_typed.is_some_and(|at| at.elapsed() < Duration::from_secs(2))
    }

    fn next_timer(&self) -> Option<Instant> {
        let escape = self.question.as_ref().and_then(|question| question.escape_at);
        [escape, self.repaint_at, self.suspend_at].into_iter().flatten().min()
    }

    fn timer(&mut self) {
        let now = Instant::now();
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        if due(&mut self.repaint_at) {
            self.resize();
        }
        if due(&mut self.suspend_at) && self.foreground() == Some(self.leader) && tree::suspends_by_default(self.leader)
        {
            let _ = process::kill_process_group(self.leader, Signal::STOP);
        }
        if let Some(question) = self.question.as_mut()
            && due(&mut question.escape_at)
            && let Some(key) = question.keys.settle()
        {
            let _ = question.request.keys.try_send(key);
        }
    }

    /// The process group that has the agent's terminal.
    pub(crate) fn foreground(&self) -> Option<Pid> {
        termios::tcgetpgrp(&self.master).ok()
    }

    /// Whether a question has the terminal.
    pub(crate) const fn is_asking(&self) -> bool {
        self.question.is_some()
    }

    /// Takes the screen and the keyboard from the agent.
    pub(crate) fn ask(&mut self, mut request: Request) {
        let (unused, _) = tokio::sync::oneshot::channel();
        let opened = std::mem::replace(&mut request.opened, unused);
        if self.user_closed || opened.send(()).is_err() {
            return;
        }
        self.out.extend_from_slice(&self.screen.cover());
        self.cut = (!self.screen.at_rest()).then_some(0);
        let mut undo = self.screen.uncover();
        undo.extend_from_slice(&self.screen.leave());
        self.raw.set_undo(undo);
        discard_input(self.real.as_fd());
        let timing = request.timing;
        self.question =
            Some(Question { request, keys: Keys::new(), page: None, timing, accept_at: None, escape_at: None });
    }

    fn draw(&mut self, page: Page) {
        let size = measure(&self.size, self.real.as_fd());
        let Some(question) = self.question.as_mut() else { return };
        self.out.extend_from_slice(&render(&page, size));
        question.page = Some(page);
        if question.accept_at.is_none() {
            question.accept_at = Some(Instant::now() + question.timing.ignore);
        }
    }

    fn answered(&mut self) {
        if self.question.take().is_none() {
            return;
        }
        discard_input(self.real.as_fd());
        self.out.extend_from_slice(&self.screen.uncover());
        self.raw.set_undo(self.screen.leave());
        self.repaint();
    }

    /// Makes the agent draw again what we covered.
    fn repaint(&mut self) {
        if self.screen.is_alternate() {
            let (columns, rows) = measure(&self.size, self.real.as_fd());
            set_size(self.master.as_fd(), (columns, rows.saturating_sub(1).max(1)));
            self.repaint_at = Some(Instant::now() + REPAINT);
        } else if let Some(group) = self.foreground() {
            let _ = process::kill_process_group(group, Signal::WINCH);
        }
    }

    /// The user's terminal may have another size now.
    pub(crate) fn resize(&mut self) {
        let size = measure(&self.size, self.real.as_fd());
        set_size(self.master.as_fd(), size);
        if let Some(question) = self.question.as_mut() {
            if let Some(page) = &question.page {
                self.out.extend_from_slice(&render(page, size));
            }
            let _ = question.request.keys.try_send(Key::Resized);
        }
    }

    /// Gives the terminal back to the shell for a while.
    pub(crate) fn suspend(&mut self) {
        if self.question.is_none() {
            self.raw.set_undo(self.screen.leave());
        }
        self.raw.leave();
    }

    /// Takes it again.
    pub(crate) fn resume(&mut self) {
        if self.raw.again().is_err() {
            return;
        }
        self.out.extend_from_slice(&self.screen.come_back());
        if let Some(question) = &self.question {
            self.out.extend_from_slice(&self.screen.cover());
            let size = measure(&self.size, self.real.as_fd());
            question.page.iter().for_each(|page| self.out.extend_from_slice(&render(page, size)));
        }
        self.resize();
        self.repaint();
    }

    /// The agent has ended and so has all that it left: its last words, then the terminal as it was.
    pub(crate) async fn finish(mut self) {
        if self.question.take().is_some() {
            self.out.extend_from_slice(&self.screen.uncover());
        }
        let drain = async {
            while !self.user_closed && (!self.agent_closed || !self.out.is_empty()) {
                if !self.out.is_empty() {
                    let wrote = write_some(&self.real, &self.out).await;
                    self.handle(Ready::ToUser(wrote));
                    continue;
                }
                // Everybody who could write is dead; what is not there now will not come.
                let read = rustix::io::read(&self.master, &mut *self.agent_bytes);
                self.agent_closed = !matches!(read, Ok(1..) | Err(Errno::INTR));
                if let Ok(count) = read {
                    self.agent_wrote(count);
                }
            }
        };
        let _ = timeout(FLUSH, drain).await;
        self.raw.set_undo(self.screen.leave());
    }
}
