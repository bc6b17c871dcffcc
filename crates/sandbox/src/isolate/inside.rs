//! The inside before an agent runs: namespaces, network, files; then [`init`](super::init).
//!
//! This is the same program, executed afresh with a hidden argument: a process of many threads cannot leave its user
//! namespace, and after a fork it could do next to nothing safely. It trusts what `run` sends it and nothing else; its
//! environment is empty.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use rustix::process::{DumpableBehavior, WaitOptions, getgid, getuid, set_dumpable_behavior, waitpid};
use rustix::thread::UnshareFlags;

use super::wire::{Failure, Order, Sockets, Word, post, take};
use super::{init, net};
use crate::kernel;
use crate::plan::Isolation;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Where the resolver's configuration sends questions for names.
const NAMES_PORT: u16 = 53;

/// The hidden argument's work. `control` is the number of the descriptor that it was given. The code is of no meaning: what
/// became of the agent has been said through `control`.
#[must_use]
pub fn inside(control: i32) -> u8 {
    let Ok(control) = kernel::adopt(control) else { return 1 };
    match make(&control) {
        Ok(()) => 0,
        Err(failure) => {
            // `run` may be gone; then nobody is left to be told.
            let _ = post(control.as_fd(), &Word::Failed(failure), &[], None);
            1
        }
    }
}

fn make(control: &OwnedFd) -> Result<(), Failure> {
    kernel::close_all_but(control.as_fd()).map_err(|cause| Failure::of("close descriptors", &cause))?;
    let order = take::<Order>(control).map_err(|cause| Failure::of("read the plan", &cause))?;
    let Some(Order::Make(plan)) = order.map(|parcel| parcel.message) else {
        return Err(Failure::of("read the plan", &io::Error::other("there is none")));
    };
    // What the user's own session keeps in its keyring is not for the agent.
    let _ = kernel::leave_keyring();
    namespaces()?;
    network(&plan, control)?;
    match kernel::fork().map_err(|cause| Failure::of("fork", &cause))? {
        None => {
            let code = init::run(&plan, control);
            std::process::exit(i32::from(code));
        }
        Some(init) => {
            // The process namespace dies with its first process; nothing of it outlives this.
            while let Err(rustix::io::Errno::INTR) = waitpid(Some(init), WaitOptions::empty()) {}
            Ok(())
        }
    }
}

fn namespaces() -> Result<(), Failure> {
    let (uid, gid) = (getuid(), getgid());
    let all = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    kernel::unshare(all).map_err(|cause| Failure::of(super::NAMESPACES, &cause))?;
    let map = |file: &str, line: String| {
        std::fs::write(file, line).map_err(|cause| Failure::of(format!("write {file}"), &cause))
    };
    // The agent stays who the user is, so that its files are the user's; nobody else exists for it.
    map("/proc/self/setgroups", "deny".to_owned())?;
    map("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    map("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|cause| Failure::of("hide memory", &cause.into()))
}

/// Makes the network and hands its sockets out.
fn network(plan: &Isolation, control: &OwnedFd) -> Result<(), Failure> {
    let during = |what: &'static str| move |cause: io::Error| Failure::of(what, &cause);
    net::make_everything_local().map_err(during("make the network"))?;
    let every_port = !plan.named_ports_only && net::divert_every_port().is_ok();
    let diverted = if every_port { transparent() } else { named(&plan.ports) }.map_err(during("divert connections"))?;
    let local = |port: u16| (Ipv4Addr::LOCALHOST, port);
    let proxy = TcpListener::bind(local(0)).map_err(during("listen inside"))?;
    let names = UdpSocket::bind(local(NAMES_PORT)).map_err(during("answer for names"))?;
    let mut reach = Vec::new();
    for port in &plan.reach {
        reach.push(TcpListener::bind(local(*port)).map_err(during("listen on a reached port"))?);
    }
    let mut all: Vec<BorrowedFd<'_>> = vec![proxy.as_fd(), names.as_fd()];
    all.extend(diverted.iter().map(AsFd::as_fd));
    all.extend(reach.iter().map(AsFd::as_fd));
    let sockets = Sockets { every_port, diverted: diverted.len(), reach: plan.reach.clone() };
    post(control.as_fd(), &Word::Network(sockets), &all, None).map_err(during("hand out sockets"))
}

/// One listener for each family, to which the kernel's rule brings every connection.
fn transparent() -> io::Result<Vec<OwnedFd>> {
    let v4 = listener(SocketAddr::from((Ipv4Addr::LOCALHOST, net::DIVERSION_PORT)), true)?;
    Ok(std::iter::once(v4).chain(listener((Ipv6Addr::LOCALHOST, net::DIVERSION_PORT).into(), true)).collect())
}

/// A listener for each port, on every address: everything is local. What the plan does not name is refused by the kernel.
fn named(ports: &[u16]) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    for port in ports {
        all.push(listener((Ipv4Addr::UNSPECIFIED, *port).into(), false)?);
        // Without IPv6 there is no way out by it.
        all.extend(listener((Ipv6Addr::UNSPECIFIED, *port).into(), false));
    }
    Ok(all)
}

fn listener(address: SocketAddr, transparent: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if transparent {
        kernel::set_transparent(socket.as_fd(), address.is_ipv6())?;
    }
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}
