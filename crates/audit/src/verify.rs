//! Checks a log offline: every octet of every record, every chain, every checkpoint, and a head kept elsewhere.
//!
//! What it finds: any record changed, removed, added, doubled or moved; a lane removed or cut below its last
//! checkpoint, or continued after it was closed; a checkpoint changed or removed from the middle. What only a head kept
//! elsewhere finds: lanes and checkpoints cut together. What nothing finds: the last records of a lane that was never
//! bound, which is why checkpoints are written every few seconds.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::checkpoint::{self, Binding, Checkpoints, Head};
use crate::error::AuditError;
use crate::frame::{BadLine, Link, read_line};
use crate::layout;
use crate::lines::Lines;

/// A log that is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records checked.
    pub records: u64,
    /// Refusals that some of them stand for together.
    pub counted: u64,
    /// Lanes checked.
    pub lanes: u64,
    /// Checkpoints checked.
    pub checkpoints: u64,
    /// Lanes that are not closed: their process lives, or died and is not recovered yet.
    pub open: Vec<String>,
    /// The head of the log, to be kept elsewhere.
    pub head: String,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The lane; empty for the checkpoints.
    pub lane: String,
    /// Number of the segment file; 0 where there is none to name.
    pub segment: u32,
    /// Line in that file, counted from 1.
    pub line: u64,
    /// The record that should stand there.
    pub seq: u64,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, segment, line, seq, why } = self;
        match (lane.as_str(), segment) {
            ("", _) => write!(out, "checkpoints.log, line {line}: {why}"),
            (_, 0) => write!(out, "lane {lane}, record {seq}: {why}"),
            _ => write!(out, "lane {lane}, record {seq} ({segment:08}.log, line {line}): {why}"),
        }
    }
}

/// What verifying came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Nothing is wrong.
    Whole(Report),
    /// Something is; this first.
    Broken(Fault),
}

/// How a lane must end.
struct Expected<'a> {
    lane: &'a str,
    bound: Option<&'a Binding>,
    /// Its lock has a name: more may follow, and the last line may be half written.
    open: bool,
}

/// Verifies the log in `dir` with the public key of its signer, and against a `head` kept elsewhere. The log may be
/// in use meanwhile.
pub fn verify(dir: &Path, public_key: &[u8; 32], head: Option<&str>) -> Result<Verified, AuditError> {
    let head: Option<Head> = head.map(str::parse).transpose()?;
    // The order matters for a log in use: a lane seen here and without a lock below was closed, so the checkpoints
    // read after that bind its end.
    let io = |error| AuditError::io("read", dir)(error);
    let mut lanes = layout::lanes(dir).map_err(io)?;
    let seen: HashSet<String> = lanes.iter().cloned().collect();
    let open: HashSet<String> = layout::open_lanes(dir).map_err(io)?.into_iter().collect();
    let ask = head.map_or(0, |head| head.number);
    let checkpoints = match checkpoint::read(dir, public_key, ask).map_err(io)? {
        Ok(checkpoints) => checkpoints,
        Err((line, why)) => return Ok(Verified::Broken(at_checkpoint(line, why))),
    };
    if let Some(fault) = head.and_then(|head| miss_head(&checkpoints, head)) {
        return Ok(Verified::Broken(fault));
    }
    lanes.extend(checkpoints.bound.keys().filter(|lane| !seen.contains(*lane)).cloned());
    let expect =
        |lane| Expected { lane, bound: checkpoints.bound.get(lane), open: open.contains(lane) || !seen.contains(lane) };
    let jobs: Vec<Expected<'_>> = lanes.iter().map(|lane| expect(lane.as_str())).collect();
    let mut report = Report { checkpoints: checkpoints.count, ..Report::default() };
    for done in check_all(dir, &jobs) {
        match done.map_err(io)? {
            Ok((records, counted)) => {
                report.records += records;
                report.counted += counted;
            }
            Err(fault) => return Ok(Verified::Broken(fault)),
        }
    }
    report.lanes = jobs.len() as u64;
    report.open = jobs.iter().filter(|job| job.open).map(|job| job.lane.to_owned()).collect();
    report.head = Head { number: checkpoints.count, digest: checkpoints.last }.to_string();
    Ok(Verified::Whole(report))
}

fn at_checkpoint(line: u64, why: &str) -> Fault {
    Fault { lane: String::new(), segment: 0, line, seq: 0, why: why.to_owned() }
}

fn miss_head(checkpoints: &Checkpoints, head: Head) -> Option<Fault> {
    if head == Head::START || checkpoints.asked == Some(head.digest) {
        return None;
    }
    let why = match checkpoints.asked {
        Some(_) => "the checkpoint is not the one whose head was kept: the log was rewritten",
        None => "the checkpoint whose head was kept is missing: the log was cut",
    };
    Some(at_checkpoint(head.number, why))
}

/// Records of a lane, and refusals that some of them stand for.
type Checked = io::Result<Result<(u64, u64), Fault>>;

/// Checks lanes in parallel; results in the order of `jobs`.
fn check_all(dir: &Path, jobs: &[Expected<'_>]) -> Vec<Checked> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(jobs.len());
    let next = AtomicUsize::new(0);
    let results: Mutex<HashMap<usize, Checked>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, job)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(at).map(|job| (at, job))
                } {
                    let done = check_lane(dir, job);
                    results.lock().insert(at, done);
                }
            });
        }
    });
    let mut results = results.into_inner();
    let lost = || Err(io::Error::other("a thread ended early"));
    (0..jobs.len()).map(|at| results.remove(&at).unwrap_or_else(lost)).collect()
}

fn check_lane(dir: &Path, job: &Expected<'_>) -> Checked {
    let folder = dir.join(job.lane);
    let (mut link, mut counted) = (Link::START, 0);
    let fault = |segment, line, seq, why: &dyn fmt::Display| {
        Ok(Err(Fault { lane: job.lane.to_owned(), segment, line, seq, why: why.to_string() }))
    };
    let mut met = job.bound.is_none();
    let mut numbers = layout::segments(&folder)?;
    // Read the number of segments once; one that begins meanwhile is for the next time.
    let last = numbers.last().copied().unwrap_or(0);
    numbers.sort_unstable();
    for (expected, number) in (1u32..).zip(numbers) {
        if number != expected {
            return fault(expected, 1, link.seq + 1, &"a segment file is missing");
        }
        let mut lines = Lines::open(&layout::segment(&folder, number), 0)?;
        let mut count = 0;
        while let Some(line) = lines.next()? {
            count += 1;
            if !line.ended {
                if job.open && number == last {
                    break;
                }
                return fault(number, count, link.seq + 1, &BadLine::Cut);
            }
            if let Err(why) = link.follow(job.lane.as_bytes(), line.bytes) {
                return fault(number, count, link.seq + 1, &why);
            }
            counted += times(line.bytes);
            if let Some(bound) = job.bound.filter(|bound| bound.link.seq == link.seq) {
                if bound.link != link {
                    return fault(number, count, link.seq, &"the record is not the one that a checkpoint binds");
                }
                met = true;
            }
        }
    }
    if let Some(bound) = job.bound.filter(|_| !met) {
        return fault(
            0,
            0,
            link.seq + 1,
            &format!("records up to {}, which a checkpoint binds, are missing", bound.link.seq),
        );
    }
    let closed = job.bound.is_some_and(|bound| bound.closed);
    if closed && job.bound.is_some_and(|bound| bound.link.seq != link.seq) {
        return fault(0, 0, link.seq, &"the record was added after the lane was closed");
    }
    if !closed && !job.open && link.seq > 0 {
        return fault(0, 0, link.seq, &"the lane has no lock, and no checkpoint binds its end");
    }
    Ok(Ok((link.seq, counted)))
}

/// How many refusals a sealed record stands for besides itself; records that are told one by one are not parsed.
fn times(line: &[u8]) -> u64 {
    let is_counted = memchr::memmem::find(line, b"\"repeated\":{").is_some();
    let record = if is_counted { read_line(line).ok() } else { None };
    record.and_then(|record| record.event.repeated).map_or(0, |repeated| repeated.times)
}
