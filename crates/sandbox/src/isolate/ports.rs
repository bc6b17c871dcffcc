//! What is opened while the agent runs: its ports appear on the host's loopback, so that a person can look at what it built;
//! Unix sockets that the host binds are hidden from it.
//!
//! The kernel's tables of both are read a few times a second (there is nothing to wait on), and connections are opened by the
//! namespace's first process, which hands the socket out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::ControlLine;
use super::sockets::bound_sockets;

const EVERY: Duration = Duration::from_millis(200);
/// As many ports are shown at once.
const PORTS_MAX: usize = 64;
/// Below it ports are the system's.
const SYSTEM_PORTS_END: u16 = 1024;
/// Never shown: where programs of the host look for a service that they give a password, a query or an order to. An agent that has
/// one of these open keeps it for itself. The first two are the gateway's own: a page that asks for approvals must not be forged.
const NEVER_SHOWN: [u16; 42] = [
    7800, 7801, // Valetkey
    1433, 1521, 3050, 3306, 5432, 5433, 6432, 26257, 33060, 50000, // SQL
    5984, 6379, 6380, 7687, 8086, 8529, 9042, 9200, 9300, 11211, 27017, 28015, // other stores
    1883, 4222, 5671, 5672, 9092, 61613, 61616, // brokers of messages
    2375, 2376, 2379, 6443, 8200, 8500, 10250, // containers, clusters, secrets
    1080, 3128, 8118, 9050, // proxies
];
/// `TCP_LISTEN`, as the table has it.
const LISTENING: &str = "0A";

/// A port that somebody listens on, and whether by IPv6 alone.
type Open = BTreeMap<u16, bool>;

/// Shows ports until it is dropped.
pub(crate) fn watch(leader: Pid, control: Arc<ControlLine>, own: Vec<u16>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut shown: BTreeMap<u16, Shown> = BTreeMap::new();
        let mut taken: BTreeSet<u16> = BTreeSet::new();
        let mut every = interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hidden: BTreeSet<PathBuf> = BTreeSet::new();
        loop {
            every.tick().await;
            hide_late(&control, &mut hidden);
            let open = open_ports(leader, &own);
            shown.retain(|port, _| open.contains_key(port));
            taken.retain(|port| open.contains_key(port));
            for (port, v6) in open {
                if shown.contains_key(&port) || shown.len() >= PORTS_MAX {
                    continue;
                }
                match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                    Ok(listener) => {
                        shown.insert(port, Shown(tokio::spawn(show(listener, port, v6, Arc::clone(&control)))));
                    }
                    Err(cause) if taken.insert(port) => {
                        tracing::warn!(%cause, port, "a port that the agent opened is taken on the host");
                    }
                    Err(_) => {}
                }
            }
        }
    })
}

/// Has sockets hidden that were not there the last time.
fn hide_late(control: &ControlLine, hidden: &mut BTreeSet<PathBuf>) {
    let bound: BTreeSet<PathBuf> = bound_sockets().into_iter().collect();
    let late: Vec<PathBuf> = bound.difference(hidden).cloned().collect();
    // Without its line the inside is gone.
    if late.is_empty() || control.hide_sockets(late).is_ok() {
        *hidden = bound;
    }
}

struct Shown(JoinHandle<()>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn show(listener: TcpListener, port: u16, v6: bool, control: Arc<ControlLine>) {
    loop {
        let Ok((mut outside, _)) = listener.accept().await else {
            tokio::time::sleep(EVERY).await;
            continue;
        };
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            let Some(socket) = control.connect(port, v6).await else { return };
            let Ok(mut inside) = TcpStream::from_std(StdStream::from(socket)) else { return };
            if inside.writable().await.is_ok() {
                // Either side's end is the other's; there is nothing to tell anybody.
                let _ = copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}

fn open_ports(leader: Pid, own: &[u16]) -> Open {
    let mut open = Open::new();
    for (table, v6) in [("tcp", false), ("tcp6", true)] {
        let text = std::fs::read_to_string(format!("/proc/{}/net/{table}", leader.as_raw_nonzero()));
        for port in listening(&text.unwrap_or_default()) {
            if port >= SYSTEM_PORTS_END && !NEVER_SHOWN.contains(&port) && !own.contains(&port) {
                open.entry(port).or_insert(v6);
            }
        }
    }
    open
}

/// Ports with a listener: the second field is `ADDRESS:PORT` in hex, the fourth the state.
fn listening(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        (state == LISTENING).then(|| u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()).flatten()
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
            1: 0100007F:1F91 0100007F:1234 01 00000000:00000000\n";
        assert_eq!(listening(table), [8080]);
    }
}
