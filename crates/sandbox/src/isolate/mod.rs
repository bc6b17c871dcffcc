//! Isolation of an agent on Linux, without root: user, mount, network, process, IPC and host-name namespaces, in which the
//! gateway is the only way out.
//!
//! [`Isolation::prepare`] makes the namespaces and their network and hands the listening sockets out, so that the gateway
//! accepts on them directly; [`Launch`](crate::Launch) then makes the files that [`Surroundings`] names and starts the agent. On the inside ([`inside`]) the same program works as the namespace's first process; what it does in which order is
//! in `inside.rs` and `mounts.rs`.
//!
//! The host's side never enters a namespace: it could not, having threads, and need not. It must never send a secret inside.

mod aliases;
mod init;
mod inside;
mod mounts;
mod net;
mod netlink;
mod ports;
mod seccomp;
mod sockets;
mod vigil;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as sync;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt};
use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};

use crate::driver::ChildEvent;
use crate::exit::Exit;
use crate::plan::{INSIDE, Isolation, Listeners, Surroundings};
use crate::{SandboxError, kernel, tree};
pub use inside::inside;
pub use net::{OWN_V4, OWN_V6};
pub(crate) use ports::watch as watch_ports;
use wire::{Order, Parcel, Word, post, take};

/// The step that fails where the system gives ordinary users no namespaces.
const NAMESPACES: &str = "make namespaces";

/// Namespaces that stand, in which nothing runs yet. Dropped unused, they are gone.
#[derive(Debug)]
pub struct Isolated {
    pub(crate) control: Arc<ControlLine>,
    pub(crate) startup: sync::Receiver<Startup>,
    pub(crate) events: mpsc::UnboundedReceiver<ChildEvent>,
    /// Ports of ours, which are not shown on the host.
    pub(crate) own_ports: Vec<u16>,
}

/// What the keeper hears before the agent runs.
#[derive(Debug)]
pub(crate) enum Startup {
    Network(Listeners),
    Files(Option<OwnedFd>),
    Started(Pid),
    Failed(SandboxError),
}

/// The line to the inside.
#[derive(Debug)]
pub(crate) struct ControlLine {
    socket: OwnedFd,
    sending: Mutex<()>,
    asked: Mutex<HashMap<u64, oneshot::Sender<Option<OwnedFd>>>>,
    numbers: AtomicU64,
}

/// Connections asked for and not yet there.
const ASKED_MAX: usize = 1024;

impl ControlLine {
    fn order(&self, order: &Order) -> io::Result<()> {
        let _one_at_a_time = self.sending.lock();
        post(self.socket.as_fd(), order, &[], None)
    }

    /// Makes the files.
    pub(crate) fn furnish(&self, surroundings: Surroundings) -> io::Result<()> {
        self.order(&Order::Furnish { surroundings: Box::new(surroundings), sockets: sockets::bound_sockets() })
    }

    /// Starts the agent.
    pub(crate) fn start(&self, argv: Vec<Vec<u8>>, env: Vec<(Vec<u8>, Vec<u8>)>) -> io::Result<()> {
        self.order(&Order::Start { argv, env })
    }

    /// Hides sockets of the host that were bound since.
    pub(crate) fn hide_sockets(&self, sockets: Vec<PathBuf>) -> io::Result<()> {
        self.order(&Order::HideSockets { sockets })
    }

    /// Opens a connection to one of the agent's own ports.
    pub(crate) async fn connect(&self, port: u16, v6: bool) -> Option<OwnedFd> {
        let (answer, answered) = oneshot::channel();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        {
            let mut asked = self.asked.lock().ok()?;
            if asked.len() >= ASKED_MAX {
                return None;
            }
            asked.insert(number, answer);
        }
        self.order(&Order::Connect { number, port, v6 }).ok()?;
        answered.await.ok().flatten()
    }

    fn connected(&self, number: u64, socket: Option<OwnedFd>) {
        let asked = self.asked.lock().ok().and_then(|mut asked| asked.remove(&number));
        if let Some(asked) = asked {
            let _ = asked.send(socket);
        }
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        // The inside ends when its line does; the keeper's copy ends with it.
        let _ = rustix::net::shutdown(&self.control.socket, rustix::net::Shutdown::Both);
    }
}

impl Isolation {
    /// Makes the namespaces and their network. `program` is this program's own file.
    ///
    /// # Errors
    /// [`SandboxError::NoNamespaces`] where the system gives none to this user; anything else says what failed.
    pub fn prepare(self, program: &Path) -> Result<(Isolated, Listeners), SandboxError> {
        let failed = |cause: io::Error| SandboxError::Isolation { what: "start the inside".to_owned(), cause };
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|cause| failed(cause.into()))?;
        sockopt::set_socket_passcred(&ours, true).map_err(|cause| failed(cause.into()))?;
        let command = command(program, &theirs, self.terminal);
        let reach = self.reach.clone();
        let control = Arc::new(ControlLine {
            socket: ours,
            sending: Mutex::default(),
            asked: Mutex::default(),
            numbers: AtomicU64::new(1),
        });
        let (startup, starting) = sync::sync_channel(8);
        let (events, child) = mpsc::unbounded_channel();
        let keeper = Keeper { control: Arc::clone(&control), startup, events };
        thread::Builder::new().name("keeper".to_owned()).spawn(move || keeper.run(command, theirs)).map_err(failed)?;
        control.order(&Order::Make(self)).map_err(failed)?;
        let mut isolated = Isolated { control, startup: starting, events: child, own_ports: reach };
        match isolated.startup.recv() {
            Ok(Startup::Network(listeners)) => {
                isolated.own_ports.extend(listeners.proxy.local_addr().map(|address| address.port()));
                Ok((isolated, listeners))
            }
            Ok(Startup::Failed(error)) => Err(error),
            _ => Err(failed(io::Error::other("it ended early"))),
        }
    }
}

fn command(program: &Path, theirs: &OwnedFd, terminal: bool) -> Command {
    use std::os::fd::AsRawFd;
    let mut command = Command::new(program);
    command.arg(INSIDE).arg(theirs.as_raw_fd().to_string()).env_clear();
    if terminal {
        // The agent has a terminal of its own; nothing inside holds the user's.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    }
    // From a folder that is open one walks to what lies beside it, past every mask.
    let is_folder = |stream: std::os::fd::BorrowedFd<'_>| {
        rustix::fs::fstat(stream)
            .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::Directory)
    };
    if is_folder(rustix::stdio::stdin()) {
        command.stdin(Stdio::null());
    }
    if is_folder(rustix::stdio::stdout()) {
        command.stdout(Stdio::null());
    }
    if is_folder(rustix::stdio::stderr()) {
        command.stderr(Stdio::null());
    }
    kernel::lead_session(&mut command, false);
    kernel::inherit(&mut command, theirs);
    command
}

/// The thread that forks the inside and stays until it has ended; see `launch::keep` for why.
struct Keeper {
    control: Arc<ControlLine>,
    startup: sync::SyncSender<Startup>,
    events: mpsc::UnboundedSender<ChildEvent>,
}

impl Keeper {
    fn run(self, mut command: Command, theirs: OwnedFd) {
        let spawned = command.spawn();
        drop((command, theirs));
        let mut child = match spawned {
            Ok(child) => child,
            Err(cause) => {
                let failed = SandboxError::Isolation { what: "start the inside".to_owned(), cause };
                let _ = self.startup.send(Startup::Failed(failed));
                return;
            }
        };
        while let Ok(Some(parcel)) = take::<Word>(&self.control.socket) {
            if !self.hear(parcel) {
                break;
            }
        }
        let _ = rustix::net::shutdown(&self.control.socket, rustix::net::Shutdown::Both);
        // Nothing of the namespace outlives its first process, and that one ends with its line.
        let _ = child.wait();
        let _ = self.events.send(ChildEvent::Ended(Exit::Lost));
    }

    /// False when the agent has ended.
    fn hear(&self, parcel: Parcel<Word>) -> bool {
        let Parcel { message, mut descriptors, pid } = parcel;
        let startup = match message {
            Word::Network(sockets) => match listeners(&sockets, descriptors) {
                Ok(listeners) => Startup::Network(listeners),
                Err(cause) => Startup::Failed(SandboxError::Isolation { what: "take its sockets".to_owned(), cause }),
            },
            Word::Files => Startup::Files(descriptors.pop()),
            Word::Started => match pid {
                Some(pid) => {
                    tree::remember(pid);
                    Startup::Started(pid)
                }
                None => return false,
            },
            Word::Failed(failure) => Startup::Failed(failed(&failure)),
            Word::Stopped(signal) => return self.events.send(ChildEvent::Stopped(signal)).is_ok(),
            Word::Connected { number } => {
                self.control.connected(number, descriptors.pop());
                return true;
            }
            Word::Ended(ending) => {
                let _ = self.events.send(ChildEvent::Ended(ending.into()));
                return false;
            }
        };
        self.startup.send(startup).is_ok()
    }
}

fn failed(failure: &wire::Failure) -> SandboxError {
    let cause = failure.cause();
    if failure.what == NAMESPACES {
        return SandboxError::NoNamespaces { cause };
    }
    if failure.program {
        SandboxError::Program { cause }
    } else {
        SandboxError::Isolation { what: failure.what.clone(), cause }
    }
}

fn listeners(sockets: &wire::Sockets, descriptors: Vec<OwnedFd>) -> io::Result<Listeners> {
    let missing = || io::Error::other("a socket is missing");
    let mut all = descriptors.into_iter();
    let listener = |fd: OwnedFd| -> io::Result<TcpListener> {
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let proxy = listener(all.next().ok_or_else(missing)?)?;
    let names = UdpSocket::from(all.next().ok_or_else(missing)?);
    names.set_nonblocking(true)?;
    let diverted = all.by_ref().take(sockets.diverted).map(listener).collect::<io::Result<Vec<_>>>()?;
    let reach: Vec<_> = all.by_ref().map(listener).collect::<io::Result<_>>()?;
    if diverted.len() != sockets.diverted || reach.len() != sockets.reach.len() {
        return Err(missing());
    }
    let reach = sockets.reach.iter().copied().zip(reach).collect();
    Ok(Listeners { diverted, every_port: sockets.every_port, proxy, names, reach })
}
