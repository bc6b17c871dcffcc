//! The first process of the agent's process namespace: makes the files, starts the agent, reaps what nobody waits for, and
//! tells `run` what becomes of it. When it ends the kernel kills everything in the namespace.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{self, Pid, Signal, WaitOptions, WaitStatus};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use super::vigil::Vigil;
use super::wire::{Ending, Failure, Order, Word, post, take};
use super::{mounts, seccomp};
use crate::kernel;
use crate::plan::{Isolation, Surroundings};

/// What is left after the agent may take this long to end by itself.
const GENTLE: Duration = Duration::from_millis(250);
const STEP: Duration = Duration::from_millis(5);

/// Runs to the end of the namespace.
pub(super) fn run(plan: &Isolation, control: &OwnedFd) -> u8 {
    match begin(plan, control) {
        Ok((agent, files)) => Init { control, agent, files, child: None }.serve(),
        Err(failure) => {
            let _ = post(control.as_fd(), &Word::Failed(failure), &[], None);
            1
        }
    }
}

struct Agent {
    pid: Pid,
    signals: OwnedFd,
}

/// What is watched over while the agent runs.
struct Files {
    surroundings: Surroundings,
    vigil: Vigil,
}

fn begin(plan: &Isolation, control: &OwnedFd) -> Result<(Agent, Files), Failure> {
    let during = |what: &'static str| move |cause: io::Error| Failure::of(what, &cause);
    process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|cause| during("bind to run")(cause.into()))?;
    let order = take::<Order>(control).map_err(during("wait for the files"))?;
    let Some(Order::Furnish { surroundings, sockets }) = order.map(|parcel| parcel.message) else {
        return Err(Failure::of("wait for the files", &io::Error::other("there are none")));
    };
    let laid = mounts::make(&surroundings, &sockets)?;
    let vigil = Vigil::begin(laid).map_err(during("watch the files"))?;
    std::env::set_current_dir(&surroundings.folder).map_err(during("enter the work folder"))?;
    let terminal = if plan.terminal { Some(terminal().map_err(during("make a terminal"))?) } else { None };
    let ends: Vec<_> = terminal.iter().map(|(master, _)| master.as_fd()).collect();
    post(control.as_fd(), &Word::Files, &ends, None).map_err(during("say that the files stand"))?;
    let slave = terminal.map(|(_, slave)| slave);
    let order = take::<Order>(control).map_err(during("wait for the command"))?;
    let Some(Order::Start { argv, env }) = order.map(|parcel| parcel.message) else {
        return Err(Failure::of("wait for the command", &io::Error::other("there is none")));
    };
    let signals = kernel::child_signals().map_err(during("watch children"))?;
    let pid = start(argv, env, slave.as_ref())?;
    // While it is open here the end of the agent's output is never seen.
    drop(slave);
    post(control.as_fd(), &Word::Started, &[], Some(pid)).map_err(during("say that the agent runs"))?;
    Ok((Agent { pid, signals }, Files { surroundings: *surroundings, vigil }))
}

/// Both ends of a pseudo-terminal of this namespace's own, so that it has a name inside.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((master, slave))
}

fn start(argv: Vec<Vec<u8>>, env: Vec<(Vec<u8>, Vec<u8>)>, slave: Option<&OwnedFd>) -> Result<Pid, Failure> {
    let failed = |cause: io::Error| Failure { program: true, ..Failure::of("start the agent", &cause) };
    let mut argv = argv.into_iter().map(OsString::from_vec);
    let program = argv.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let mut command = Command::new(program);
    command.args(argv).env_clear();
    command.envs(env.into_iter().map(|(name, value)| (OsString::from_vec(name), OsString::from_vec(value))));
    if let Some(slave) = slave {
        let [input, output, error] = crate::tty::Pair::stdio(slave).map_err(failed)?;
        command.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::from(error));
    }
    kernel::confine(&mut command, slave.is_some(), seccomp::filter());
    let child = command.spawn().map_err(failed)?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| failed(io::ErrorKind::Other.into()))
}

struct Init<'a> {
    control: &'a OwnedFd,
    agent: Agent,
    files: Files,
    child: Option<Ending>,
}

impl Init<'_> {
    fn serve(mut self) -> u8 {
        loop {
            let vigil = self.files.vigil.events();
            let mut ready = [
                PollFd::new(self.control, PollFlags::IN),
                PollFd::new(&self.agent.signals, PollFlags::IN),
                PollFd::from_borrowed_fd(vigil, PollFlags::IN),
            ];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => break,
            }
            let [control, signals, files] = ready.map(|one| !one.revents().is_empty());
            // First: until then a file lies bare.
            if files {
                self.files.vigil.look();
            }
            if signals {
                kernel::drain(self.agent.signals.as_fd());
                self.reap();
                if self.child.is_some() {
                    break;
                }
            }
            if control && !self.obey() {
                break;
            }
        }
        end();
        let ending = self.child.unwrap_or(Ending::Lost);
        let _ = post(self.control.as_fd(), &Word::Ended(ending), &[], None);
        0
    }

    /// Waits for whoever is to be waited for, and tells of the agent.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if pid != self.agent.pid {
                continue;
            }
            match status.stopping_signal() {
                Some(signal) => {
                    let _ = post(self.control.as_fd(), &Word::Stopped(signal), &[], None);
                }
                None => self.child = Some(ending(status)),
            }
        }
    }

    /// False when `run` is gone or makes no sense.
    fn obey(&self) -> bool {
        match take::<Order>(self.control) {
            Ok(Some(parcel)) => match parcel.message {
                Order::Connect { number, port, v6 } => {
                    let socket = dial(port, v6).ok();
                    let along: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
                    post(self.control.as_fd(), &Word::Connected { number }, &along, None).is_ok()
                }
                Order::HideSockets { sockets } => {
                    // One that cannot be hidden has no name any more.
                    let _ = mounts::hide_late_sockets(&sockets, &self.files.surroundings);
                    true
                }
                Order::Make(_) | Order::Furnish { .. } | Order::Start { .. } => false,
            },
            Ok(None) | Err(_) => false,
        }
    }
}

fn ending(status: WaitStatus) -> Ending {
    let number = |value: Option<i32>| value.and_then(|value| u8::try_from(value).ok());
    number(status.exit_status())
        .map(Ending::Code)
        .or_else(|| number(status.terminating_signal()).map(Ending::Signal))
        .unwrap_or(Ending::Lost)
}

/// A connection under way to one of the agent's own ports.
fn dial(port: u16, v6: bool) -> io::Result<OwnedFd> {
    let (family, address): (_, std::net::SocketAddr) = if v6 {
        (AddressFamily::INET6, (std::net::Ipv6Addr::LOCALHOST, port).into())
    } else {
        (AddressFamily::INET, (std::net::Ipv4Addr::LOCALHOST, port).into())
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(cause) => Err(cause.into()),
    }
}

/// Ends what is left, first gently.
fn end() {
    kernel::signal_all(Signal::TERM);
    kernel::signal_all(Signal::HUP);
    kernel::signal_all(Signal::CONT);
    let mut waited = Duration::ZERO;
    while waited < GENTLE {
        match process::wait(WaitOptions::NOHANG) {
            Err(Errno::CHILD) => return,
            Ok(Some(_)) => {}
            _ => {
                let step = Timespec { tv_sec: 0, tv_nsec: i64::from(STEP.subsec_nanos()) };
                let _ = poll(&mut [], Some(&step));
                waited += STEP;
            }
        }
    }
    kernel::signal_all(Signal::KILL);
}
