//! What to start, and the start.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
#[cfg(target_os = "linux")]
use std::sync::Arc;
use std::sync::mpsc as sync;
use std::thread;

use rustix::process::{self, Pid, WaitOptions};
use tokio::sync::mpsc;

use crate::driver::{ChildEvent, Driver, Walls};
use crate::exit::Exit;
use crate::files::SessionDir;
use crate::isolate::Isolated;
#[cfg(target_os = "linux")]
use crate::isolate::{self, Startup};
use crate::plan::Surroundings;
use crate::prompt::{Prompter, SharedSize, WAITING_MAX};
use crate::relay::{Opening, Relay};
use crate::running::Running;
use crate::signals::Signals;
use crate::tty::{Pair, Terminal};
use crate::{SandboxError, kernel, tree};

/// Everything an agent is started with. Nothing is inherited but open descriptors that the caller's own parent passed on
/// (`<(...)` of a shell needs them) and, without a terminal, standard input, output and error.
#[derive(Debug)]
pub struct Launch {
    /// The program and its arguments; the program is searched in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where to start; the caller's own directory if none.
    pub cwd: Option<PathBuf>,
    /// The session's files, removed when the agent has ended.
    pub dir: Option<SessionDir>,
    /// The user's terminal, where the agent is to have one of its own.
    pub terminal: Option<Terminal>,
    /// Namespaces to start it in, and the files there; none to start it beside us.
    pub isolated: Option<(Isolated, Surroundings)>,
}

impl Launch {
    /// Starts the agent. Must be called inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// The program cannot be found or executed, or the system refuses something; [`SandboxError::exit_code`] says with which
    /// code to end. The terminal is as it was.
    pub fn start(self) -> Result<Running, SandboxError> {
        #[cfg(target_os = "linux")]
        if self.isolated.is_some() {
            return self.start_inside();
        }
        let mut argv = self.argv.into_iter();
        let program = argv.next().ok_or(SandboxError::NoCommand)?;
        let mut command = Command::new(&program);
        command.args(argv).env_clear().envs(self.env);
        if let Some(path) = self.cwd {
            let metadata = std::fs::metadata(&path);
            if let Err(cause) = metadata
                .and_then(|found| if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) })
            {
                return Err(SandboxError::Directory { path, cause });
            }
            command.current_dir(path);
        }
        let signals = Signals::listen()?;
        let size = SharedSize::default();
        let opening = match self.terminal {
            Some(terminal) => Some(Opening::new(terminal, size.clone())?),
            None => None,
        };
        let (opening, slave) = opening.map_or((None, None), |(opening, slave)| (Some(opening), Some(slave)));
        if let Some(slave) = &slave {
            let failed = |cause| SandboxError::Terminal { what: "pass on the terminal", cause };
            let [input, output, error] = Pair::stdio(slave).map_err(failed)?;
            command.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::from(error));
        }
        kernel::lead_session(&mut command, slave.is_some());
        drop(slave);
        let (leader, child) = keep(command, &program)?;
        let relay = opening.map(|opening| opening.begin(leader));
        Ok(drive(leader, child, relay, Parts { signals, size, dir: self.dir, walls: None }))
    }

    /// Starts it in its namespaces: the order goes in, and the process id comes out in our own numbering.
    #[cfg(target_os = "linux")]
    fn start_inside(self) -> Result<Running, SandboxError> {
        use std::os::unix::ffi::OsStringExt;
        let lost = || SandboxError::Isolation {
            what: "start the agent".to_owned(),
            cause: io::Error::other("the inside ended early"),
        };
        let Some((mut isolated, surroundings)) = self.isolated else { return Err(lost()) };
        let program = self.argv.first().cloned().ok_or(SandboxError::NoCommand)?;
        let signals = Signals::listen()?;
        let size = SharedSize::default();
        isolated.control.furnish(surroundings).map_err(|_| lost())?;
        let master = match isolated.startup.recv() {
            Ok(Startup::Files(master)) => master,
            Ok(Startup::Failed(error)) => return Err(error),
            _ => return Err(lost()),
        };
        let opening = match (self.terminal, master) {
            (Some(terminal), Some(master)) => Some(Opening::with(terminal, size.clone(), master)?),
            _ => None,
        };
        let argv = self.argv.into_iter().map(OsString::into_vec).collect();
        let env = self.env.into_iter().map(|(name, value)| (name.into_vec(), value.into_vec())).collect();
        isolated.control.start(argv, env).map_err(|_| lost())?;
        let leader = match isolated.startup.recv() {
            Ok(Startup::Started(leader)) => leader,
            Ok(Startup::Failed(SandboxError::Program { cause })) => return Err(cannot_start(&program, cause)),
            Ok(Startup::Failed(error)) => return Err(error),
            _ => return Err(lost()),
        };
        let (_, nothing) = mpsc::unbounded_channel();
        let child = std::mem::replace(&mut isolated.events, nothing);
        let own = isolated.own_ports.clone();
        let ports = isolate::watch_ports(leader, Arc::clone(&isolated.control), own);
        let walls = Some(Walls { isolated: Some(isolated), ports });
        let relay = opening.map(|opening| opening.begin(leader));
        Ok(drive(leader, child, relay, Parts { signals, size, dir: self.dir, walls }))
    }
}

struct Parts {
    signals: Signals,
    size: SharedSize,
    dir: Option<SessionDir>,
    walls: Option<Walls>,
}

fn drive(leader: Pid, child: mpsc::UnboundedReceiver<ChildEvent>, relay: Option<Relay>, parts: Parts) -> Running {
    let (control, controls) = mpsc::channel(16);
    let (requests, prompts) = mpsc::channel(WAITING_MAX);
    let prompter = relay.is_some().then(|| Prompter { requests, size: parts.size });
    let driver = Driver {
        leader,
        child,
        control: controls,
        prompts,
        signals: parts.signals,
        relay,
        dir: parts.dir,
        walls: parts.walls,
        asked_to_end: 0,
        kill_at: None,
    };
    Running { leader, driver: tokio::spawn(driver.run()), control, prompter, exit: None }
}

/// Forks on a thread of its own and stays there until the agent has ended: the kernel kills the agent when the *thread* that
/// forked it dies (`PR_SET_PDEATHSIG`), and a thread of a pool may die at any time. It also waits for stops, which
/// `tokio::process` does not report.
fn keep(
    command: Command,
    program: &std::ffi::OsStr,
) -> Result<(Pid, mpsc::UnboundedReceiver<ChildEvent>), SandboxError> {
    let (started, outcome) = sync::sync_channel(1);
    let (events, child) = mpsc::unbounded_channel();
    let failed = |cause| SandboxError::System { what: "start a thread for the agent", cause };
    thread::Builder::new()
        .name("keeper".to_owned())
        .spawn(move || {
            if let Some(pid) = fork(command, &started) {
                watch(pid, &events);
            }
        })
        .map_err(failed)?;
    let pid = outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended early")));
    let pid = pid.map_err(|cause| cannot_start(program, cause))?;
    Ok((pid, child))
}

fn fork(mut command: Command, started: &sync::SyncSender<io::Result<Pid>>) -> Option<Pid> {
    let result = tree::adopt(|| {
        let raw = i32::try_from(command.spawn()?.id()).ok().and_then(Pid::from_raw);
        raw.ok_or_else(|| io::Error::other("the system gave no process id"))
    });
    // The command holds the agent's end of the terminal; while it is open the end of the agent's output is never seen.
    drop(command);
    let pid = result.as_ref().ok().copied();
    let _ = started.send(result);
    pid
}

fn watch(pid: Pid, events: &mpsc::UnboundedSender<ChildEvent>) {
    loop {
        let status = match process::waitpid(Some(pid), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) => status,
            Err(rustix::io::Errno::INTR) | Ok(None) => continue,
            Err(_) => {
                let _ = events.send(ChildEvent::Ended(Exit::Lost));
                return;
            }
        };
        if let Some(signal) = status.stopping_signal() {
            let _ = events.send(ChildEvent::Stopped(signal));
            continue;
        }
        let number = |value: Option<i32>| value.and_then(|value| u8::try_from(value).ok());
        let exit = number(status.exit_status())
            .map(Exit::Code)
            .or_else(|| number(status.terminating_signal()).map(Exit::Signal))
            .unwrap_or(Exit::Lost);
        let _ = events.send(ChildEvent::Ended(exit));
        return;
    }
}

fn cannot_start(program: &std::ffi::OsStr, cause: io::Error) -> SandboxError {
    let program = program.to_string_lossy().into_owned();
    match cause.kind() {
        io::ErrorKind::NotFound => SandboxError::NotFound { program },
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            SandboxError::System { what: "start the agent", cause }
        }
        _ => SandboxError::CannotExecute { program, cause },
    }
}
