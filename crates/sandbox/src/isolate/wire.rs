//! What `run` and the inside say to each other: one message at a time, its length in front, descriptors beside it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred,
    recvmsg, sendmsg,
};
use rustix::process::{Pid, getgid, getuid};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::plan::{Isolation, Surroundings};

/// An environment and arguments may take 2 MiB (execve(2)), masks as much again.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Listeners for both families of a few dozen ports, and the rest.
pub(super) const DESCRIPTORS_MAX: usize = 128;

/// To the inside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// First: the namespaces and their ways out.
    Make(Isolation),
    /// Then: the files. Sockets of the host that are bound now come along by name.
    Furnish { surroundings: Box<Surroundings>, sockets: Vec<PathBuf> },
    /// Last: what to start in it.
    Start { argv: Vec<Vec<u8>>, env: Vec<(Vec<u8>, Vec<u8>)> },
    /// Sockets of the host that were bound since.
    HideSockets { sockets: Vec<PathBuf> },
    /// A connection to a port of the agent's.
    Connect { number: u64, port: u16, v6: bool },
}

/// From the inside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// The network stands; listeners come along, in the order of [`Sockets`].
    Network(Sockets),
    /// The files stand; the terminal's own end comes along where one was asked for.
    Files,
    /// The agent runs; its process id comes along as a credential.
    Started,
    /// It could not be made or started.
    Failed(Failure),
    /// The agent was stopped.
    Stopped(i32),
    /// The agent has ended, and all that it started.
    Ended(Ending),
    /// The connection that was asked for comes along, or there is none.
    Connected { number: u64 },
}

/// Which sockets come along.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sockets {
    /// The kernel diverts every port; else those that were named.
    pub(super) every_port: bool,
    /// How many listeners accept diverted connections.
    pub(super) diverted: usize,
    /// The ports of the listeners by which the host is reached.
    pub(super) reach: Vec<u16>,
}

/// What went wrong inside.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// What was done.
    pub(super) what: String,
    /// The system's number, 0 where there is none.
    pub(super) errno: i32,
    /// The isolation stood already: it is the agent's program that cannot be started.
    pub(super) program: bool,
}

impl Failure {
    pub(super) fn of(what: impl Into<String>, cause: &io::Error) -> Self {
        Self { what: what.into(), errno: cause.raw_os_error().unwrap_or(0), program: false }
    }

    pub(super) fn cause(&self) -> io::Error {
        match self.errno {
            0 => io::Error::other("the system does not say why"),
            number => io::Error::from_raw_os_error(number),
        }
    }
}

/// [`Exit`], as it travels.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Ending {
    Code(u8),
    Signal(u8),
    Lost,
}

impl From<Ending> for Exit {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Code(code) => Self::Code(code),
            Ending::Signal(signal) => Self::Signal(signal),
            Ending::Lost => Self::Lost,
        }
    }
}

/// A message with what came beside it.
pub(super) struct Parcel<T> {
    pub(super) message: T,
    pub(super) descriptors: Vec<OwnedFd>,
    /// Who is spoken of, in our own numbering.
    pub(super) pid: Option<Pid>,
}

/// Sends a message, descriptors and a process id.
pub(super) fn post<T: Serialize>(
    to: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
    pid: Option<Pid>,
) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_ne_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    if let Some(pid) = pid
        && !ancillary.push(SendAncillaryMessage::ScmCredentials(UCred { pid, uid: getuid(), gid: getgid() }))
    {
        return Err(io::Error::other("no room for a process id"));
    }
    let octets = [&length[..], &body].concat();
    let mut sent = sendmsg(to, &[IoSlice::new(&octets)], &mut ancillary, SendFlags::NOSIGNAL)?;
    while let Some(rest) = octets.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += rustix::net::send(to, rest, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Waits for a message; none at the end of the stream.
pub(super) fn take<T: DeserializeOwned>(from: impl AsFd) -> io::Result<Option<Parcel<T>>> {
    let mut length = [0u8; 4];
    let mut beside = Beside { descriptors: Vec::new(), pid: None };
    if !fill(from.as_fd(), &mut length, &mut beside)? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    let mut body = vec![0; length];
    if !fill(from.as_fd(), &mut body, &mut beside)? {
        return Ok(None);
    }
    let message = postcard::from_bytes(&body).map_err(io::Error::other)?;
    Ok(Some(Parcel { message, descriptors: beside.descriptors, pid: beside.pid }))
}

struct Beside {
    descriptors: Vec<OwnedFd>,
    pid: Option<Pid>,
}

fn fill(from: BorrowedFd<'_>, mut into: &mut [u8], beside: &mut Beside) -> io::Result<bool> {
    while !into.is_empty() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = match recvmsg(from, &mut [IoSliceMut::new(into)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(descriptors) => beside.descriptors.extend(descriptors),
                RecvAncillaryMessage::ScmCredentials(who) => beside.pid = Some(who.pid),
                _ => {}
            }
        }
        if received.bytes == 0 {
            return Ok(false);
        }
        into = into.get_mut(received.bytes..).unwrap_or_default();
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn messages_arrive_whole_with_what_is_beside_them() {
        let (one, two) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a pair");
        rustix::net::sockopt::set_socket_passcred(&two, true).expect("set");
        let argv = vec![vec![b'x'; 300_000]];
        let big = Order::Start { argv: argv.clone(), env: Vec::new() };
        let sender = std::thread::spawn(move || {
            let null = std::fs::File::open("/dev/null").expect("opened");
            post(one.as_fd(), &big, &[null.as_fd()], Some(rustix::process::getpid())).expect("sent");
            post(one.as_fd(), &Order::Connect { number: 7, port: 80, v6: false }, &[], None).expect("sent");
        });
        let first = take::<Order>(&two).expect("received").expect("a message");
        assert!(matches!(&first.message, Order::Start { argv: got, .. } if *got == argv));
        assert_eq!((first.descriptors.len(), first.pid), (1, Some(rustix::process::getpid())));
        let second = take::<Order>(&two).expect("received").expect("a message");
        assert!(matches!(second.message, Order::Connect { number: 7, port: 80, .. }));
        assert!(second.descriptors.is_empty());
        sender.join().expect("done");
        assert!(take::<Order>(&two).expect("the end").is_none());
    }
}
