//! `scan`: from what was named to what was found. Two threads look, this one reads what git says.

mod baseline;
mod report;
mod sarif;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::Mutex;
use scan::{Finding, Format, Known, Scanner, Stream};

use crate::config::{Changes, Outcome, Piece, Target, Tree, What, read};

pub use baseline::Baseline;
pub use report::{json, text};
pub use sarif::sarif;

/// Threads that look: as many as the machines that this is measured on have cores; a disk gives no more.
const THREADS: usize = 2;
/// Findings kept; whoever has more needs no list but a broom.
const FINDINGS_MAX: usize = 100_000;
/// Pieces of a history that wait for a thread, each of at most 4 MiB.
const PIECES_WAITING_MAX: usize = 8;

/// What is to be looked at.
#[derive(Debug, Default)]
pub struct Look {
    /// Files.
    pub tree: Tree,
    /// Repositories whose history is read, with the name that is put before their paths.
    pub histories: Vec<PathBuf>,
    /// The repository whose next commit is read.
    pub staged: Option<PathBuf>,
    /// Octets of standard input.
    pub input: Option<Vec<u8>>,
    /// Files larger than this are left out.
    pub file_bytes_max: u64,
}

/// A finding and where it was.
#[derive(Clone, Debug)]
pub struct Exposed {
    /// The file, `-` for standard input, or `commit message`.
    pub path: String,
    /// The commit that brought it, for what is in a history.
    pub commit: Option<String>,
    /// What it is.
    pub finding: Finding,
    /// Which piece of a history it was in, from the oldest: the threads end in no order.
    nth: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Seen {
    /// What was found, by place.
    pub found: Vec<Exposed>,
    /// Files that were looked at whole.
    pub files: u64,
    /// Commits' files that were looked at.
    pub changes: u64,
    /// Octets of all these.
    pub octets: u64,
    /// Files left out because they are binary.
    pub binary: u64,
    /// Files left out because they are too large, or cannot be read, each with the reason.
    pub left_out: Vec<String>,
    /// Findings that a baseline knows.
    pub known: usize,
    /// Whether there were more findings than are kept.
    pub cut: bool,
}

impl Seen {
    fn take(&mut self, other: Self) {
        self.found.extend(other.found);
        self.files += other.files;
        self.changes += other.changes;
        self.octets += other.octets;
        self.binary += other.binary;
        self.left_out.extend(other.left_out);
        self.cut |= other.cut || self.found.len() > FINDINGS_MAX;
        self.found.truncate(FINDINGS_MAX);
    }

    fn add(&mut self, path: &str, (nth, commit): (u64, Option<&String>), found: Vec<Finding>) {
        let room = FINDINGS_MAX.saturating_sub(self.found.len());
        self.cut |= found.len() > room;
        let of = |finding| Exposed { path: path.to_owned(), commit: commit.cloned(), finding, nth };
        self.found.extend(found.into_iter().take(room).map(of));
    }
}

/// Looks at everything.
///
/// # Errors
/// git failed.
pub fn scan(look: &Look, known: &Known<'_>) -> anyhow::Result<Seen> {
    let scanner =
        Scanner::builtin().map_err(|error| anyhow::anyhow!("{error}; this build is broken, install another"))?;
    let mut seen = files(scanner, look, known);
    if let Some(octets) = &look.input {
        seen.octets += octets.len() as u64;
        seen.add("-", (0, None), scanner.scan(octets, Format::Text, known));
    }
    for folder in &look.histories {
        seen.take(changes(scanner, Changes::of(folder, What::History)?, known)?);
    }
    if let Some(folder) = &look.staged {
        seen.take(changes(scanner, Changes::of(folder, What::Staged)?, known)?);
    }
    seen.left_out.extend(look.tree.unreadable.iter().cloned());
    order(&mut seen.found);
    Ok(seen)
}

/// By place; a secret that several commits touch stands once in each of its files, with the first.
fn order(found: &mut Vec<Exposed>) {
    found.sort_by_key(|one| one.nth);
    let mut before = std::collections::BTreeSet::new();
    found.retain(|one| one.commit.is_none() || before.insert((one.path.clone(), one.finding.fingerprint)));
    found.sort_by(|one, other| {
        (&one.path, one.commit.is_some(), one.finding.line, one.finding.column).cmp(&(
            &other.path,
            other.commit.is_some(),
            other.finding.line,
            other.finding.column,
        ))
    });
}

fn files(scanner: &Scanner, look: &Look, known: &Known<'_>) -> Seen {
    let list: Vec<&Target> = look.tree.files.iter().collect();
    let next = AtomicUsize::new(0);
    let looker = Looker { scanner, known, file_bytes_max: look.file_bytes_max };
    let one_thread = || {
        let mut seen = Seen::default();
        let mut buffer = Vec::new();
        while let Some(target) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
            file(looker, target, &mut buffer, &mut seen);
        }
        seen
    };
    let mut all = Seen::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one_thread)).collect();
        for thread in threads {
            match thread.join() {
                Ok(seen) => all.take(seen),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}

/// Who looks at a file.
#[derive(Clone, Copy)]
struct Looker<'a> {
    scanner: &'a Scanner,
    known: &'a Known<'a>,
    file_bytes_max: u64,
}

fn file(looker: Looker<'_>, target: &Target, buffer: &mut Vec<u8>, seen: &mut Seen) {
    let Looker { scanner, known, file_bytes_max: max } = looker;
    let mut stream = Stream::new(scanner, Format::of_path(&target.shown), known);
    let mut found = Vec::new();
    match read(&target.path, max, buffer, &mut |piece| found.extend(stream.push(piece))) {
        Ok(Outcome::Whole(octets)) => {
            found.extend(stream.finish());
            seen.files += 1;
            seen.octets += octets;
            seen.add(&target.shown, (0, None), found);
        }
        Ok(Outcome::Binary) => seen.binary += 1,
        Ok(Outcome::Large) => {
            seen.left_out.push(format!("{}: larger than {} MiB (--max-size)", target.shown, max >> 20));
        }
        Err(error) => seen.left_out.push(format!("{}: {error}", target.shown)),
    }
}

fn changes(scanner: &Scanner, mut changes: Changes, known: &Known<'_>) -> anyhow::Result<Seen> {
    let (send, receive) = mpsc::sync_channel::<(u64, Piece)>(PIECES_WAITING_MAX);
    let receive = Mutex::new(receive);
    let one_thread = || {
        let mut seen = Seen::default();
        loop {
            // The lock is free before the piece is looked at.
            let piece = receive.lock().recv();
            let Ok((nth, piece)) = piece else { return seen };
            seen.changes += 1;
            seen.octets += piece.octets.len() as u64;
            let path = piece.path.as_deref().unwrap_or("commit message");
            let mut found = scanner.scan(&piece.octets, Format::of_path(path), known);
            for one in &mut found {
                one.line = piece.line(one.start as usize);
            }
            seen.add(path, (nth, piece.commit.as_ref()), found);
        }
    };
    let mut all = Seen::default();
    let read = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(one_thread)).collect();
        let read = feed(&mut changes, &send);
        drop(send);
        for thread in threads {
            match thread.join() {
                Ok(seen) => all.take(seen),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        read
    });
    read?;
    Ok(all)
}

fn feed(changes: &mut Changes, send: &mpsc::SyncSender<(u64, Piece)>) -> anyhow::Result<()> {
    let mut nth = 0;
    while let Some(piece) = changes.next()? {
        // Nobody listens only if the threads failed, which their join says.
        if send.send((nth, piece)).is_err() {
            break;
        }
        nth += 1;
    }
    Ok(())
}
