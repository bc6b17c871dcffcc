//! The walls around `run`'s agent: which there are, what leads through them, and what is said where they cannot stand.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use proxy::divert::{Diverted, divert, proxy_inside};
use proxy::net::names::{Names, answer_names};
use proxy::{LiveSession, Worker};
use sandbox::{Isolated, Isolation, SandboxError, Surroundings};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::environment::Trust;
use super::{note, warn};
use crate::config::{Ambient, Grounds, Said, Wants, surroundings};

/// `--isolate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolate {
    /// Where the system can; where it cannot, one line says what is not protected.
    #[default]
    Auto,
    /// Always: where the system cannot, nothing is started.
    On,
    /// Without walls.
    Off,
}

/// `--reach`: a port of the host's loopback, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The agent finds it under the same port of its own loopback.
    Port(u16),
    /// The agent finds it under its own path.
    Socket(PathBuf),
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Socket(text.into()));
        }
        let port = ["localhost:", "127.0.0.1:"].iter().find_map(|host| text.strip_prefix(host)).unwrap_or(text);
        match port.parse() {
            Ok(port) if port != 0 => Ok(Self::Port(port)),
            _ => Err(format!(
                "`{text}` is neither a port of this machine nor a socket; write localhost:5432 or /path/to.sock"
            )),
        }
    }
}

/// What the agent can reach without walls, in one line.
const OPEN: &str = "without isolation the agent can read this user's files and reach the network past the gateway; only what \
                    goes through the gateway is policed";

/// Walls that stand, nothing in them yet.
pub struct Walls {
    isolated: Isolated,
    proxy: SocketAddr,
    sockets: Vec<PathBuf>,
    diverted: Arc<Diverted>,
}

/// Walls with the agent's files in them, written down where it is at work.
pub struct Furnished {
    /// The gateway's proxy port as the agent sees it.
    pub proxy: SocketAddr,
    /// The walls.
    pub isolated: Isolated,
    /// The files.
    pub surroundings: Surroundings,
    /// To be held until the agent's end.
    pub grounds: Grounds,
}

/// What the gateway accepts on besides its own port.
#[derive(Default)]
pub struct Doors(Option<Inside>);

/// Sockets of a namespace, and whose it is.
struct Inside {
    proxy: std::net::TcpListener,
    diverted: Vec<std::net::TcpListener>,
    whose: Arc<Diverted>,
}

impl Doors {
    /// The same sockets once more, for another thread.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        let Some(inside) = &self.0 else { return Ok(Self::default()) };
        let diverted = inside.diverted.iter().map(std::net::TcpListener::try_clone).collect::<Result<_, _>>()?;
        Ok(Self(Some(Inside { proxy: inside.proxy.try_clone()?, diverted, whose: Arc::clone(&inside.whose) })))
    }

    /// Accepts on this thread until the process is told to stop.
    ///
    /// # Errors
    /// The runtime cannot watch them.
    pub fn open(self, worker: &Arc<Worker>) -> std::io::Result<()> {
        let Some(inside) = self.0 else { return Ok(()) };
        let proxy = TcpListener::from_std(inside.proxy)?;
        tokio::spawn(proxy_inside(Arc::clone(worker), proxy, Arc::clone(&inside.whose)));
        for listener in inside.diverted {
            let listener = TcpListener::from_std(listener)?;
            tokio::spawn(divert(Arc::clone(worker), listener, Arc::clone(&inside.whose)));
        }
        Ok(())
    }
}

/// Raises walls where they are wanted and possible.
///
/// # Errors
/// They are wanted whatever happens and cannot stand; or something else than the system's rules is in the way.
pub fn raise(
    ambient: &Ambient,
    wanted: (Isolate, &[Reach]),
    (terminal, ports): (bool, Vec<u16>),
) -> anyhow::Result<Option<(Walls, Doors)>> {
    let (isolate, reach) = wanted;
    if isolate == Isolate::Off {
        warn(OPEN);
        return Ok(None);
    }
    let reach_ports = reach.iter().filter_map(|one| if let Reach::Port(port) = one { Some(*port) } else { None });
    let sockets = reach.iter().filter_map(|one| if let Reach::Socket(path) = one { Some(path.clone()) } else { None });
    let isolation = Isolation { reach: reach_ports.collect(), ports, named_ports_only: false, terminal };
    let (isolated, listeners) = match isolation.prepare(&ambient.own_program()?) {
        Ok(stands) => stands,
        Err(error @ SandboxError::NoNamespaces { .. }) if isolate == Isolate::Auto => {
            warn(&format!("{error}; {OPEN}"));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    if !listeners.every_port {
        note("this kernel has no nf_tables: connections to ports that no service names are refused, not recorded");
    }
    let names = Arc::new(Names::default());
    tokio::spawn(answer_names(UdpSocket::from_std(listeners.names)?, Arc::clone(&names)));
    for (port, listener) in listeners.reach {
        tokio::spawn(reach_host(TcpListener::from_std(listener)?, port));
    }
    let diverted = Arc::new(Diverted { names, session: OnceLock::new() });
    let proxy = listeners.proxy.local_addr()?;
    let inside = Inside { proxy: listeners.proxy, diverted: listeners.diverted, whose: Arc::clone(&diverted) };
    let doors = Doors(Some(inside));
    Ok(Some((Walls { isolated, proxy, sockets: sockets.collect(), diverted }, doors)))
}

/// Connections of the agent to a port of the host's that was opened to it.
async fn reach_host(listener: TcpListener, port: u16) {
    while let Ok((mut inside, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut outside) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                // Either side's end is the other's.
                let _ = copy_bidirectional(&mut inside, &mut outside).await;
            }
        });
    }
}

impl Walls {
    /// Gives them to a session, and furnishes them. What the agent does not see as it is, the next run remembers.
    ///
    /// # Errors
    /// Our own state has no place, or cannot be written.
    pub fn furnish(
        self,
        ambient: &Ambient,
        (trust, said): (&Trust, Said),
        grounds: Grounds,
        live: &Arc<LiveSession>,
    ) -> anyhow::Result<Furnished> {
        self.diverted.session.set(Arc::clone(live)).ok().context("the walls belong to another session")?;
        let wants = Wants {
            said,
            sockets: self.sockets,
            known: &|text| live.without_secrets(text),
            own: &|value| live.holdings().placeholders.entries().any(|entry| *entry.text == *value),
        };
        let surroundings = surroundings(ambient, trust.bundle(), &wants)?;
        let masked: Vec<&Path> = surroundings.masks.iter().map(|mask| mask.path.as_path()).collect();
        grounds.remember(&wants.said.folders, &masked)?;
        Ok(Furnished { proxy: self.proxy, isolated: self.isolated, surroundings, grounds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_address_stands_for_no_name() {
        let own = sandbox::OWN_V4;
        let itself = model::canonical::Host::parse(&own.to_string()).expect("an address");
        assert_eq!(Names::default().meant(own.into()), proxy::net::names::Meant::Host(itself));
    }

    #[test]
    fn what_can_be_reached() {
        for (text, want) in [
            ("localhost:5432", Some(Reach::Port(5432))),
            ("127.0.0.1:80", Some(Reach::Port(80))),
            ("8080", Some(Reach::Port(8080))),
            ("/run/docker.sock", Some(Reach::Socket("/run/docker.sock".into()))),
            ("db.internal:5432", None),
            ("localhost:0", None),
            ("localhost:99999", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Reach>().ok(), want, "{text}");
        }
    }
}
