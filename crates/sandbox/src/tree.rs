//! Finds and ends everything that an agent started.
//!
//! The agent leads a session; what stays in it is found by its session number. What leaves it (a daemon that calls `setsid`
//! and forks twice) is re-parented to us, because we are a child subreaper, and is found as a child of ours that is in
//! nobody's session. A process namespace will make this exact; until then it is complete for anything that does not race us.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rustix::process::{self, Pid, Signal, WaitOptions};

/// How long what is left may take to end by itself, in steps of [`STEP`].
const GENTLE_STEPS: u32 = 25;
/// How often killing is repeated: a fork bomb makes new processes meanwhile.
const KILL_STEPS: u32 = 50;
const STEP: Duration = Duration::from_millis(10);

/// Agents of this process.
static AGENTS: Mutex<Agents> = Mutex::new(Agents { leaders: Vec::new(), starting: 0 });

struct Agents {
    /// Sessions of those that run.
    leaders: Vec<Pid>,
    /// Forks under way: children that are in no list yet.
    starting: u32,
}

impl Agents {
    /// Whether an orphan can only be `leader`'s.
    fn is_alone(&self, leader: Pid) -> bool {
        self.starting == 0 && self.leaders.iter().all(|known| *known == leader)
    }
}

/// Forks through `spawn` and remembers the agent; its orphans become ours.
pub(crate) fn adopt<E>(spawn: impl FnOnce() -> Result<Pid, E>) -> Result<Pid, E> {
    #[cfg(target_os = "linux")]
    if let Err(cause) = process::set_child_subreaper(Some(process::getpid())) {
        tracing::warn!(%cause, "cannot become subreaper: a process that the agent detaches may outlive it");
    }
    let change = |by: &dyn Fn(&mut Agents)| {
        if let Ok(mut agents) = AGENTS.lock() {
            by(&mut agents);
        }
    };
    change(&|agents| agents.starting += 1);
    let spawned = spawn();
    change(&|agents| {
        agents.starting = agents.starting.saturating_sub(1);
        if let Ok(leader) = &spawned {
            agents.leaders.push(*leader);
        }
    });
    spawned
}

/// Remembers an agent that somebody else forked for us.
pub(crate) fn remember(leader: Pid) {
    if let Ok(mut agents) = AGENTS.lock() {
        agents.leaders.push(leader);
    }
}

/// Forgets an agent of which nothing is left.
pub(crate) fn forget(leader: Pid) {
    if let Ok(mut agents) = AGENTS.lock() {
        agents.leaders.retain(|known| *known != leader);
    }
}

/// One line of the process table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    pid: i32,
    parent: i32,
    session: i32,
    zombie: bool,
}

/// Reads `/proc/PID/stat` (proc(5)): the name in parentheses may hold anything, so fields count from the last `)`.
fn parse_stat(text: &str) -> Option<Entry> {
    let pid = text.split_once(' ')?.0.parse().ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Entry { pid, parent, session, zombie })
}

fn process_table() -> Vec<Entry> {
    let Ok(listing) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numeric = |name: &std::ffi::OsStr| name.to_str().is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit()));
    listing
        .flatten()
        .filter(|entry| numeric(&entry.file_name()))
        .filter_map(|entry| parse_stat(&std::fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect()
}

/// What belongs to the agent and has not been reaped, the leader itself excepted.
fn remains(leader: Pid) -> Vec<Entry> {
    let table = process_table();
    let me = process::getpid().as_raw_nonzero().get();
    let leader_raw = leader.as_raw_nonzero().get();
    let mine = table.iter().find(|entry| entry.pid == me).map_or(0, |entry| entry.session);
    // Asked after the table was read: a fork that began later is not in it.
    let alone = AGENTS.lock().is_ok_and(|agents| agents.is_alone(leader));
    let orphan = |entry: &Entry| alone && entry.parent == me && entry.session != mine;
    let mut found: Vec<Entry> =
        table.iter().filter(|entry| entry.session == leader_raw || orphan(entry)).copied().collect();
    // Descendants that made sessions of their own below one that we found.
    loop {
        let more: Vec<Entry> = table
            .iter()
            .filter(|entry| !found.iter().any(|known| known.pid == entry.pid))
            .filter(|entry| found.iter().any(|known| known.pid == entry.parent) || entry.parent == leader_raw)
            .copied()
            .collect();
        if more.is_empty() {
            break;
        }
        found.extend(more);
    }
    found.retain(|entry| entry.pid != leader_raw && entry.pid != me);
    found
}

fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = process::kill_process(pid, signal);
    }
}

/// Reaps what is dead and ours, and says how many are still alive.
fn reap(entries: &[Entry]) -> usize {
    for entry in entries.iter().filter(|entry| entry.zombie) {
        let _ = process::waitpid(Pid::from_raw(entry.pid), WaitOptions::NOHANG);
    }
    entries.iter().filter(|entry| !entry.zombie).count()
}

/// Ends what the agent left behind: hang-up and terminate first, then kill. Blocks for at most 750 ms; the leader itself has
/// ended already and has been reaped by its keeper.
pub(crate) fn end(leader: Pid) {
    let _ = process::kill_process_group(leader, Signal::TERM);
    for step in 0..GENTLE_STEPS + KILL_STEPS {
        let entries = remains(leader);
        if reap(&entries) == 0 {
            break;
        }
        if step == 0 {
            // Stopped processes act on a signal only when continued.
            for entry in &entries {
                send(entry.pid, Signal::HUP);
                send(entry.pid, Signal::TERM);
                send(entry.pid, Signal::CONT);
            }
        }
        if step >= GENTLE_STEPS {
            for entry in &entries {
                send(entry.pid, Signal::KILL);
            }
        }
        thread::sleep(STEP);
    }
    reap(&remains(leader));
    forget(leader);
}

/// Kills everything at once, leader included. For the paths on which nobody waits any more.
pub(crate) fn kill(leader: Pid) {
    let _ = process::kill_process_group(leader, Signal::KILL);
    for entry in remains(leader) {
        send(entry.pid, Signal::KILL);
    }
}

/// Whether somebody would continue us if we stopped: a parent outside our process group in our session (POSIX "orphaned
/// process group", the other way round). In a container or under `setsid` nobody would.
pub(crate) fn somebody_minds_us() -> bool {
    let (mine, session) = (process::getpgrp(), process::getsid(None).ok());
    let mut at = process::getppid();
    // A chain of parents this long does not happen; the bound keeps a lying process table from holding us.
    for _ in 0..64 {
        let Some(parent) = at else { return false };
        match process::getpgid(Some(parent)) {
            Ok(group) if group == mine => at = parent_of(parent),
            Ok(_) => return process::getsid(Some(parent)).ok() == session,
            Err(_) => return false,
        }
    }
    false
}

fn parent_of(pid: Pid) -> Option<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    Pid::from_raw(parse_stat(&text)?.parent)
}

/// Whether `pid` leaves SIGTSTP at its default. The kernel discards that default for a process group whose parent is in another
/// session, as the agent's is, so Ctrl-Z needs our help there and only there.
pub(crate) fn suspends_by_default(pid: Pid) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())) else { return false };
    let mask = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| u64::from_str_radix(rest.trim(), 16).ok())
            .unwrap_or(u64::MAX)
    };
    let bit = 1u64 << (Signal::TSTP.as_raw() - 1);
    (mask("SigIgn:") | mask("SigCgt:") | mask("SigBlk:")) & bit == 0
}

/// Reaps orphans of the agent while it runs.
pub(crate) fn reap_orphans(leader: Pid) {
    reap(&remains(leader));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_table_is_read_past_hostile_names() {
        let entry = parse_stat("42 (a) S 1 (b) Z 7 42 9 0 -1").expect("parsed");
        assert_eq!((entry.pid, entry.parent, entry.session, entry.zombie), (42, 7, 9, true));
        assert!(parse_stat("").is_none());
        assert!(parse_stat("42 (a").is_none());
        assert!(process_table().iter().any(|entry| entry.pid == process::getpid().as_raw_nonzero().get()));
    }
}
