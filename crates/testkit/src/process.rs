//! Child processes that never outlive their test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running child; killed and waited for when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

/// What a finished child left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended; `None` if it was killed for being late.
    pub status: Option<ExitStatus>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code, if it ended by itself.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    /// Fails the test with both outputs unless the child ended with zero.
    #[must_use = "drop it with `let _ =` if its output does not matter"]
    pub fn expect_success(self, what: &str) -> Self {
        assert!(self.code() == Some(0), "{what}: {:?}\n{}\n{}", self.status, self.stdout, self.stderr);
        self
    }
}

impl Running {
    /// Starts it and reads its first line of standard output (how servers say that they are ready).
    #[must_use]
    pub fn ready(mut command: Command) -> (Self, String) {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("cannot start the child");
        let mut lines = BufReader::new(child.stdout.take().expect("piped above"));
        let running = Self { child };
        let mut line = String::new();
        lines.read_line(&mut line).expect("cannot read the child's first line");
        // Whatever it prints later is taken away, or it would stop at a full pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        (running, line)
    }

    /// Starts it, to be killed when dropped.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        Self { child: command.stdin(Stdio::null()).spawn().expect("cannot start the child") }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it at once, as a power switch would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end, at most this long.
    pub fn wait(&mut self, at_most: Duration) -> Option<ExitStatus> {
        wait(&mut self.child, at_most)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn wait(child: &mut Child, at_most: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if start.elapsed() < at_most => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

fn gather(from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut octets = Vec::new();
        let mut from = from;
        let _ = from.read_to_end(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    })
}

/// Runs to the end, at most this long, with nothing on standard input.
#[must_use]
pub fn finish(command: &mut Command, at_most: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let (out, err) = (child.stdout.take().map(gather), child.stderr.take().map(gather));
    let status = wait(&mut child, at_most);
    let text =
        |thread: Option<std::thread::JoinHandle<String>>| thread.and_then(|it| it.join().ok()).unwrap_or_default();
    Finished { status, stdout: text(out), stderr: text(err) }
}
