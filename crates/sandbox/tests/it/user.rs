//! A user at a terminal, and ways to start things in front of him.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{self, Termios, Winsize};
use sandbox::{Launch, Running, Terminal};

/// Generous: the machine may be busy; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct User {
    hands: OwnedFd,
    pub terminal: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl User {
    pub fn new(columns: u16, rows: u16) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let hands = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("pseudo-terminal");
        grantpt(&hands).expect("granted");
        unlockpt(&hands).expect("unlocked");
        let name = ptsname(&hands, Vec::new()).expect("named");
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).expect("opened");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (eyes, into) = (hands.try_clone().expect("cloned"), Arc::clone(&seen));
        thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(count @ 1..) = rustix::io::read(&eyes, &mut buffer) {
                into.lock().expect("eyes").extend_from_slice(&buffer[..count]);
            }
        });
        let user = Self { hands, terminal, seen };
        user.resize(columns, rows);
        user
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        termios::tcsetwinsize(&self.terminal, size).expect("resized");
    }

    pub fn modes(&self) -> Termios {
        termios::tcgetattr(&self.terminal).expect("a terminal")
    }

    pub fn is_cooked(&self) -> bool {
        let modes = self.modes().local_modes;
        modes.contains(termios::LocalModes::ICANON | termios::LocalModes::ISIG | termios::LocalModes::ECHO)
    }

    pub fn presses(&self, keys: &str) {
        rustix::io::write(&self.hands, keys.as_bytes()).expect("typed");
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("eyes")).into_owned()
    }

    pub fn forget(&self) {
        self.seen.lock().expect("eyes").clear();
    }

    /// Waits until `text` is on the screen.
    pub async fn sees(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(Instant::now() < until, "`{text}` never came; the screen says:\n{screen:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts something in front of the user.
    pub fn runs(&self, argv: &[&str]) -> Running {
        let terminal = Some(Terminal::open(self.terminal.as_fd()).expect("terminal"));
        launch(argv, terminal).start().expect("started")
    }
}

pub fn environment() -> Vec<(OsString, OsString)> {
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("TERM", "xterm"), ("LC_ALL", "C.UTF-8"), ("PS1", "$ ")]
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

pub fn launch(argv: &[&str], terminal: Option<Terminal>) -> Launch {
    let argv = argv.iter().map(Into::into).collect();
    Launch { argv, env: environment(), cwd: None, dir: None, terminal, isolated: None }
}

/// Waits for something that another process does.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}
