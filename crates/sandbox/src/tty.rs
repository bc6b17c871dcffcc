//! The user's terminal: opened afresh, put into raw mode, and given back as it was on every way out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt};
use rustix::termios::{self, OptionalActions, QueueSelector, Termios, Winsize};

use crate::SandboxError;

/// The user's terminal, for reading and writing.
#[derive(Debug)]
pub struct Terminal {
    pub(crate) fd: OwnedFd,
}

impl Terminal {
    /// The terminal of this process, if standard input and standard output are the same one. Otherwise (a pipe, a file, two
    /// terminals) there is none to own.
    #[must_use]
    pub fn of_process() -> Option<Self> {
        let (input, output) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        if !termios::isatty(input) || !termios::isatty(output) {
            return None;
        }
        let device = |fd| rustix::fs::fstat(fd).map(|stat| stat.st_rdev);
        if device(input).ok()? != device(output).ok()? {
            return None;
        }
        Self::open(input).ok()
    }

    /// Opens the terminal behind `fd` once more. A description of our own is needed because it must not block, and the one
    /// that we were given is shared with the shell, which must not find its terminal non-blocking afterwards.
    ///
    /// # Errors
    /// It is not a terminal, or cannot be opened.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, SandboxError> {
        let fail = |cause: rustix::io::Errno| SandboxError::Terminal { what: "open the terminal", cause: cause.into() };
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        termios::tcgetattr(fd).map_err(fail)?;
        // By descriptor first: names of terminals may be missing in containers. `/dev/tty` serves where the terminal belongs
        // to another user, as after `su`.
        let fd = rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty())
            .or_else(|_| rustix::fs::open(termios::ttyname(fd, Vec::new())?, flags, Mode::empty()))
            .or_else(|_| rustix::fs::open("/dev/tty", flags, Mode::empty()))
            .map_err(fail)?;
        Ok(Self { fd })
    }

    /// Columns and rows; 80 by 24 where the terminal does not know.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        size_of(self.fd.as_fd())
    }
}

/// Columns and rows of a terminal; 80 by 24 where it does not know.
pub(crate) fn size_of(fd: BorrowedFd<'_>) -> (u16, u16) {
    termios::tcgetwinsize(fd)
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or((80, 24), |size| (size.ws_col, size.ws_row))
}

/// Terminals that are in raw mode now, for the ways out that run no destructor.
static RAW: Mutex<Vec<Weak<Saved>>> = Mutex::new(Vec::new());

struct Saved {
    fd: OwnedFd,
    modes: Termios,
    /// What to write first: leaves the alternate screen and shows the cursor, where the agent or a question left them so.
    undo: Mutex<Vec<u8>>,
}

impl Saved {
    fn restore(&self) {
        if let Ok(mut undo) = self.undo.lock() {
            // The description does not block; a stopped terminal loses these octets and keeps its modes.
            let _ = rustix::io::write(&self.fd, &undo);
            undo.clear();
        }
        let _ = termios::tcsetattr(&self.fd, OptionalActions::Now, &self.modes);
    }
}

/// Gives back every terminal that is in raw mode. Call it before `std::process::exit`, which runs no destructors; everywhere
/// else the destructors do it.
pub fn restore_terminal() {
    let Ok(raw) = RAW.lock() else { return };
    for saved in raw.iter().filter_map(Weak::upgrade) {
        saved.restore();
    }
}

/// Raw mode for as long as this lives.
pub(crate) struct RawMode {
    saved: Arc<Saved>,
}

impl RawMode {
    pub(crate) fn enter(terminal: &OwnedFd) -> Result<Self, SandboxError> {
        let fail = |cause: io::Error| SandboxError::Terminal { what: "switch the terminal to raw mode", cause };
        let modes = termios::tcgetattr(terminal).map_err(|errno| fail(errno.into()))?;
        let fd = terminal.try_clone().map_err(fail)?;
        let guard = Self { saved: Arc::new(Saved { fd, modes, undo: Mutex::new(Vec::new()) }) };
        if let Ok(mut raw) = RAW.lock() {
            raw.retain(|weak| weak.strong_count() > 0);
            raw.push(Arc::downgrade(&guard.saved));
        }
        guard.again().map_err(fail)?;
        Ok(guard)
    }

    /// The modes as they were before.
    pub(crate) fn original(&self) -> &Termios {
        &self.saved.modes
    }

    /// Into raw mode once more, after [`Self::leave`].
    pub(crate) fn again(&self) -> io::Result<()> {
        let mut modes = self.saved.modes.clone();
        modes.make_raw();
        Ok(termios::tcsetattr(&self.saved.fd, OptionalActions::Now, &modes)?)
    }

    /// What must be written before the terminal is given back.
    pub(crate) fn set_undo(&self, bytes: Vec<u8>) {
        if let Ok(mut undo) = self.saved.undo.lock() {
            *undo = bytes;
        }
    }

    /// Gives the terminal back for a while (suspension).
    pub(crate) fn leave(&self) {
        self.saved.restore();
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.saved.restore();
    }
}

/// Both ends of a fresh pseudo-terminal: ours (not blocking) and the agent's.
pub(crate) struct Pair {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

impl Pair {
    /// With the modes and the size of the user's terminal.
    pub(crate) fn open(modes: &Termios, size: (u16, u16)) -> Result<Self, SandboxError> {
        let fail =
            |cause: rustix::io::Errno| SandboxError::Terminal { what: "make a pseudo-terminal", cause: cause.into() };
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).map_err(fail)?;
        rustix::pty::grantpt(&master).map_err(fail)?;
        rustix::pty::unlockpt(&master).map_err(fail)?;
        let name = rustix::pty::ptsname(&master, Vec::new()).map_err(fail)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty()).map_err(fail)?;
        Self::adjust(&master, modes, size)?;
        Ok(Self { master, slave })
    }

    /// Gives a pseudo-terminal modes (which both ends share) and a size, and lets our end not block.
    pub(crate) fn adjust(master: &OwnedFd, modes: &Termios, size: (u16, u16)) -> Result<(), SandboxError> {
        let fail =
            |cause: rustix::io::Errno| SandboxError::Terminal { what: "make a pseudo-terminal", cause: cause.into() };
        termios::tcsetattr(master, OptionalActions::Now, modes).map_err(fail)?;
        let flags = rustix::fs::fcntl_getfl(master).map_err(fail)?;
        rustix::fs::fcntl_setfl(master, flags | OFlags::NONBLOCK).map_err(fail)?;
        set_size(master.as_fd(), size);
        Ok(())
    }

    /// The agent's end, three times: standard input, output and error.
    pub(crate) fn stdio(slave: &OwnedFd) -> io::Result<[File; 3]> {
        Ok([slave.try_clone()?.into(), slave.try_clone()?.into(), slave.try_clone()?.into()])
    }
}

/// Sets columns and rows; the kernel tells the foreground processes (SIGWINCH) if they changed.
pub(crate) fn set_size(fd: BorrowedFd<'_>, (columns, rows): (u16, u16)) {
    let _ = termios::tcsetwinsize(fd, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
}

/// Throws away what was typed and not read.
pub(crate) fn discard_input(fd: BorrowedFd<'_>) {
    let _ = termios::tcflush(fd, QueueSelector::IFlush);
}
