//! What an isolated agent is to see, as plain data: it travels to the inside before anything stands.

use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The hidden argument by which this program becomes the inside.
pub const INSIDE: &str = "__inside";
/// The ways out of the namespaces, and their terminal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Isolation {
    /// Ports of the host's loopback that the agent reaches under its own.
    pub reach: Vec<u16>,
    /// Ports that are diverted where the kernel cannot divert every one.
    pub ports: Vec<u16>,
    /// Whether the kernel's rule for every port is left alone, as on a kernel that has none.
    pub named_ports_only: bool,
    /// Whether the agent gets a terminal of its own.
    pub terminal: bool,
}

/// The files that an isolated agent is to see. Everything that is not named here is the host's own, read-only.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Surroundings {
    /// Where the agent starts.
    pub folder: PathBuf,
    /// Folders and files that may be written: the work folder, state of programs, caches. What does not exist is left out.
    pub writable: Vec<PathBuf>,
    /// What is not there: folders appear empty but for masks inside them, files appear empty. Nothing of it can be reached.
    pub hidden: Vec<PathBuf>,
    /// Files with octets of ours in place of their own.
    pub masks: Vec<Mask>,
    /// Files and folders inside writable ones that stay read-only, such as the configuration.
    pub kept: Vec<PathBuf>,
    /// Unix sockets of the host that stay reachable. All others that were bound when the agent started are hidden.
    pub sockets: Vec<PathBuf>,
    /// `$XDG_RUNTIME_DIR`, made fresh.
    pub runtime_folder: Option<PathBuf>,
}

/// A file with octets of ours.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mask {
    /// Where it appears. Where nothing is, it appears only inside a hidden or fresh folder.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
    /// What the agent may do with it.
    pub access: Access,
}

/// What an agent may do with a file of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read it.
    Read,
    /// Write it too; what it writes is gone at the end.
    Write,
    /// Not even open it.
    Closed,
}

/// Sockets that listen inside and are accepted from outside.
#[derive(Debug)]
pub struct Listeners {
    /// Connections to anywhere; their local address is where the agent wanted to go.
    pub diverted: Vec<TcpListener>,
    /// Whether every port is diverted, or only those that [`Isolation::ports`] names.
    pub every_port: bool,
    /// The gateway's proxy port, as the agent sees it.
    pub proxy: TcpListener,
    /// Questions for names.
    pub names: UdpSocket,
    /// Ports of the host's loopback that are to be reached.
    pub reach: Vec<(u16, TcpListener)>,
}
