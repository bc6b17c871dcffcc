//! After a crash, and at the end: every lane is closed with no attempt left open.
//!
//! A lane whose lock is free belongs to a dead process. Its torn tail is moved aside (never destroyed) and noted by a
//! `recovered` record; each attempt without an end gets an `abandoned` one; then it is synced, bound and closed. Doing
//! it twice, or half and then again, gives the same. A bad record with the seal of a checkpoint over it is not a crash
//! but damage: such a lane is left as it is, for `verify` to report.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use model::event::Kind;
use model::{Event, EventId, ExchangeId, Tenant};
use serde::Deserialize;

use crate::checkpoint::{self, Binding};
use crate::disk::private_file;
use crate::error::AuditError;
use crate::frame::{Link, read_line, sha256};
use crate::lane::{Lane, OpenAttempts, Shared, Start};
use crate::layout::{self, LaneLock};
use crate::lines::Lines;
use crate::log::Core;

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Lanes of dead processes that were closed.
    pub lanes: u64,
    /// Attempts that got an `abandoned` record.
    pub abandoned: u64,
    /// Octets of torn tails that were moved aside.
    pub cut_bytes: u64,
    /// Lanes left as they are: damaged where no crash can damage them (`verify` says where), or not writable now.
    pub left: Vec<String>,
}

/// Locks of lanes whose process is gone.
pub(crate) fn dead(root: &Path) -> Result<Vec<(String, LaneLock)>, AuditError> {
    let mut dead = Vec::new();
    for lane in layout::open_lanes(root).map_err(AuditError::io("read", root))? {
        if let Some(lock) = LaneLock::take(root, &lane).map_err(AuditError::io("lock a lane in", root))? {
            dead.push((lane, lock));
        }
    }
    Ok(dead)
}

/// How much recovery may have to read, octets.
pub(crate) fn octets(root: &Path, dead: &[(String, LaneLock)]) -> u64 {
    let of_segment = |folder: &Path, number| fs::metadata(layout::segment(folder, number)).map_or(0, |meta| meta.len());
    let of_lane = |lane: &String| {
        let folder = root.join(lane);
        layout::segments(&folder).unwrap_or_default().into_iter().map(|number| of_segment(&folder, number)).sum::<u64>()
    };
    let checkpoints = fs::metadata(layout::checkpoints(root)).map_or(0, |meta| meta.len());
    if dead.is_empty() { 0 } else { checkpoints + dead.iter().map(|(lane, _)| of_lane(lane)).sum::<u64>() }
}

/// Recovers lanes whose locks are held. One that cannot be read or written does not keep the others from it, nor the
/// process from starting.
pub(crate) fn recover(core: &Core, dead: Vec<(String, LaneLock)>) -> Result<Recovery, AuditError> {
    let mut done = Recovery::default();
    if dead.is_empty() {
        return Ok(done);
    }
    let bound = checkpoint::bound_without_proof(&core.ground.root)?;
    let mut lanes = Vec::new();
    for (name, lock) in dead {
        let least = bound.get(&name).map_or(0, |binding| binding.link.seq);
        match reopen(core, &name, lock, least) {
            Ok(Some((lane, cut))) => {
                done.cut_bytes += cut;
                lanes.push(lane);
            }
            Ok(None) => done.left.push(name),
            Err(error) => {
                tracing::warn!(lane = %name, %error, "audit lane of a dead process left for the next start");
                done.left.push(name);
            }
        }
    }
    let (closed, error) = close_each(core, &lanes);
    if let Some(error) = error {
        tracing::warn!(%error, "audit lanes of a dead process left for the next start");
    }
    (done.lanes, done.abandoned) = closed;
    Ok(done)
}

/// Opens a dead lane at its end; gives how many octets were set aside. `None` for a damaged one.
fn reopen(core: &Core, name: &str, lock: LaneLock, least: u64) -> Result<Option<(Lane, u64)>, AuditError> {
    let folder = core.ground.root.join(name);
    let Some(found) = find(&folder, name, least).map_err(AuditError::io("read", &folder))? else { return Ok(None) };
    let cut = found.set_tail_aside(&folder).map_err(AuditError::io("cut", &folder))?;
    let shared =
        Shared::begin(&core.ground, name.to_owned(), lock, found.start).map_err(AuditError::io("open", &folder))?;
    let lane = Lane { shared };
    if let Some(cut) = &cut {
        lane.append(&cut.event(core))?;
    }
    Ok(Some((lane, cut.map_or(0, |cut| cut.octets))))
}

/// Closes lanes: `abandoned` for what is open, sync, one checkpoint over all, then their locks.
pub(crate) fn close(core: &Core, lanes: &[Lane]) -> Result<(), AuditError> {
    close_each(core, lanes).1.map_or(Ok(()), Err)
}

/// [`close`], saying how many lanes were closed and how many attempts abandoned, and what went wrong with the others.
fn close_each(core: &Core, lanes: &[Lane]) -> ((u64, u64), Option<AuditError>) {
    let mut abandoned = 0;
    let mut bindings = Vec::new();
    let mut failed = None;
    for lane in lanes {
        // What is owed is written now or by the next start, never behind the end of its lane.
        let paid = lane.shared.pay_owed(&mut lane.shared.writer.lock());
        let ended = paid.and_then(|()| abandon(core, lane)).and_then(|count| {
            abandoned += count;
            let mut writer = lane.shared.writer.lock();
            writer.close();
            let flushed = writer.flush();
            drop(writer);
            flushed.and_then(|()| lane.shared.sync_now()).map_err(|why| lane.shared.unavailable(&why))
        });
        lane.shared.syncer.stop();
        match ended {
            Ok(link) if link.seq > 0 => bindings.push(Binding { lane: lane.name().into(), link, closed: true }),
            Ok(_) => {}
            // Its lock stays: the next start recovers it.
            Err(error) => failed = Some(error),
        }
    }
    if !bindings.is_empty() {
        let bound = checkpoint::append(&core.ground.root, &core.signer, core.clock.now(), &bindings);
        if let Err(error) = bound {
            return ((0, abandoned), Some(error));
        }
    }
    let mut closed = 0;
    for lane in lanes {
        let empty = lane.shared.writer.lock().link().seq == 0;
        if !empty && !bindings.iter().any(|binding| binding.lane == lane.name()) {
            continue;
        }
        let lock = lane.shared.lock.lock().take();
        let gone = if empty { lane.discard() } else { Ok(()) };
        match gone.and_then(|()| lock.map_or(Ok(()), LaneLock::release)) {
            Ok(()) => closed += 1,
            Err(error) => failed = Some(AuditError::io("close a lane in", &core.ground.root)(error)),
        }
    }
    ((closed, abandoned), failed)
}

fn abandon(core: &Core, lane: &Lane) -> Result<u64, AuditError> {
    let mut open: Vec<(u32, u64)> = lane.shared.writer.lock().open.at.values().copied().collect();
    open.sort_unstable();
    for at in &open {
        let attempt = attempt_at(&lane.shared.folder, *at).map_err(AuditError::io("read", &lane.shared.folder))?;
        let Some(mut event) = attempt else { continue };
        event.id = EventId::fresh(core.clock.now(), &*core.random);
        event.time = core.clock.now();
        event.kind = Kind::Abandoned;
        event.reason = Some("the process ended before the answer did".into());
        lane.append(&event)?;
    }
    Ok(open.len() as u64)
}

fn attempt_at(folder: &Path, (number, offset): (u32, u64)) -> io::Result<Option<Event>> {
    let mut lines = Lines::open(&layout::segment(folder, number), offset)?;
    let record = lines.next()?.and_then(|line| read_line(line.bytes).ok());
    Ok(record.map(|record| record.event).filter(|event| event.kind == Kind::Attempt))
}

/// Where a dead lane ends.
struct Found {
    start: Start,
    /// Octets after the last good record of its segment.
    tail: u64,
    /// Segments after it, which cannot be chained.
    later: Vec<u32>,
}

/// A tail that was set aside.
struct Cut {
    octets: u64,
    sha256: String,
}

impl Cut {
    fn event(&self, core: &Core) -> Event {
        let now = core.clock.now();
        let mut event = Event::new(EventId::fresh(now, &*core.random), now, Kind::Recovered, Tenant::local());
        let Self { octets, sha256 } = self;
        event.reason = Some(format!("a torn tail of {octets} octets, sha256 {sha256}, was set aside after a crash"));
        event
    }
}

#[derive(Deserialize)]
struct Brief {
    kind: Kind,
    exchange: Option<ExchangeId>,
}

/// Finds the end of a lane. `None` where a record at or before `least` (bound by a checkpoint) is bad or missing.
fn find(folder: &Path, lane: &str, least: u64) -> io::Result<Option<Found>> {
    let numbers = layout::segments(folder)?;
    let Some(last) = numbers.last().copied() else {
        let nothing = Found { start: Start::new(), tail: 0, later: Vec::new() };
        return Ok((least == 0).then_some(nothing));
    };
    let mut found = None;
    if last > 1
        && let (Some(open), Some(link)) = (carried(folder, last), last_link(folder, last - 1)?)
    {
        // The hint holds only where the last segment really follows: a loss of power may have cut the one before it.
        let begun = Start { number: last, offset: 0, link, open };
        found = Some(scan(folder, lane, begun, last)?).filter(|found| found.start.link.seq > link.seq);
    }
    let mut found = match found {
        Some(found) => found,
        None => scan(folder, lane, Start::new(), last)?,
    };
    found.later = numbers.iter().copied().filter(|later| *later > found.start.number).collect();
    Ok((found.start.link.seq >= least).then_some(found))
}

/// Follows the chain from a place to the last good record.
fn scan(folder: &Path, lane: &str, from: Start, last: u32) -> io::Result<Found> {
    let Start { number: first, mut link, mut open, .. } = from;
    let mut number = first;
    loop {
        let path = layout::segment(folder, number);
        let length = fs::metadata(&path)?.len();
        let mut lines = Lines::open(&path, 0)?;
        let mut end = 0;
        while let Some(line) = lines.next()? {
            if !line.ended || link.follow(lane.as_bytes(), line.bytes).is_err() {
                break;
            }
            end = line.offset + line.bytes.len() as u64 + 1;
            if let Ok(brief) = serde_json::from_slice::<Brief>(line.bytes) {
                open.note(brief.kind, brief.exchange, (number, line.offset));
            }
        }
        // A loss of power may take the end of a segment and leave the next one.
        if end < length || number >= last {
            let start = Start { number, offset: end, link, open };
            return Ok(Found { start, tail: length - end, later: Vec::new() });
        }
        number += 1;
    }
}

/// Attempts that were open when segment `number` began, where the hint is whole.
fn carried(folder: &Path, number: u32) -> Option<OpenAttempts> {
    let text = fs::read_to_string(layout::carried(folder, number)).ok()?;
    let mut at = HashMap::new();
    for line in text.strip_suffix("end\n")?.lines() {
        let mut parts = line.split(' ');
        let (exchange, segment, offset) = (parts.next()?, parts.next()?, parts.next()?);
        at.insert(exchange.parse().ok()?, (segment.parse().ok()?, offset.parse().ok()?));
    }
    Some(OpenAttempts { at, overflow: false })
}

/// The last record's place in the chain, from the end of a segment.
fn last_link(folder: &Path, number: u32) -> io::Result<Option<Link>> {
    let mut file = fs::File::open(layout::segment(folder, number))?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(model::bounds::RECORD_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(tail) = tail.strip_suffix(b"\n") else { return Ok(None) };
    let line = memchr::memrchr(b'\n', tail).and_then(|at| tail.get(at + 1..)).unwrap_or(tail);
    let frame = crate::frame::Frame::of(line).filter(crate::frame::Frame::is_sealed);
    Ok(frame.map(|frame| Link { seq: frame.seq, hash: *frame.hash }))
}

impl Found {
    /// Copies the tail to `<segment>.torn`, then cuts it off; segments that follow are renamed so. Everything before
    /// is made durable, segment by segment.
    fn set_tail_aside(&self, folder: &Path) -> io::Result<Option<Cut>> {
        for number in layout::segments(folder)? {
            fs::File::open(layout::segment(folder, number))?.sync_data()?;
        }
        let mut all = Vec::new();
        for number in &self.later {
            let path = layout::segment(folder, *number);
            all.extend(fs::read(&path)?);
            fs::rename(&path, path.with_extension("torn"))?;
        }
        if self.tail > 0 {
            let path = layout::segment(folder, self.start.number);
            let mut file = private_file(&path)?;
            file.seek(SeekFrom::Start(self.start.offset))?;
            let mut octets = Vec::new();
            file.read_to_end(&mut octets)?;
            let mut aside = private_file(&path.with_extension("torn"))?;
            aside.seek(SeekFrom::End(0))?;
            aside.write_all(&octets)?;
            aside.sync_data()?;
            file.set_len(self.start.offset)?;
            file.sync_data()?;
            all.extend(octets);
        }
        Ok((!all.is_empty()).then(|| Cut { octets: all.len() as u64, sha256: sha256(&all).to_string() }))
    }
}
