//! One chain: who appends, how a record is written, how a lane goes on after trouble.
//!
//! The thread that serves the request encodes the record once and writes it with one write(2); there is no hand-over.
//! Records that end an exchange may wait for the next write of their thread.
//! Records of one exchange belong in the lane of its attempt: recovery looks for outcomes there alone.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use model::event::Kind;
use model::{Event, ExchangeId};
use parking_lot::Mutex;

use crate::disk::{Disk, Segment, private_file};
use crate::encode::{self, Said, Stamp};
use crate::error::AuditError;
use crate::frame::Link;
use crate::layout::{self, LaneLock};
use crate::sync::Syncer;

/// Open attempts that a lane keeps track of; beyond it recovery reads the whole lane instead of its last segment.
const OPEN_TRACKED_MAX: usize = 65_536;
/// Closing records that wait for space. New attempts are refused meanwhile, so no more come than exchanges are open.
const OWED_MAX: usize = 32_768;
/// Octets of records that may wait for [`Lane::flush`].
const PENDING_BYTES_MAX: usize = 64 * 1024;

/// Where a record stands in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl Position {
    /// The record's `seq`.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.0
    }
}

/// A lane to append to. One per worker thread; clones are handles to the same chain, cheap, and may be sent.
#[derive(Clone)]
pub struct Lane {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Lane({})", self.shared.name)
    }
}

pub(crate) struct Shared {
    pub name: String,
    pub node: Arc<str>,
    pub root: PathBuf,
    pub folder: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub segment_bytes: u64,
    pub writer: Mutex<Writer>,
    pub syncer: Syncer,
    pub lock: Mutex<Option<LaneLock>>,
    owed: Mutex<VecDeque<Event>>,
    owed_count: AtomicUsize,
    /// Somebody will flush.
    flush_due: AtomicBool,
}

/// A part of a segment that is written but not synced.
#[derive(Clone)]
pub(crate) struct Range {
    pub file: Arc<dyn Segment>,
    from: u64,
    to: u64,
}

/// What a sync has to do.
pub(crate) struct Unsynced {
    pub ranges: Vec<Range>,
    pub link: Link,
    pub folders: bool,
}

pub(crate) struct Writer {
    number: u32,
    offset: u64,
    link: Link,
    /// Where the chain stands in the file; `pending` follows it.
    written: Link,
    /// Where the chain stood at the last sync.
    synced: Link,
    /// The last one is the current segment.
    ranges: Vec<Range>,
    /// Names of new files are not durable yet.
    folders: bool,
    /// Part of a line may stand after `offset`.
    torn: bool,
    closed: bool,
    /// One record, as it is encoded.
    line: Vec<u8>,
    /// Records that are chained and not written yet.
    pending: Vec<u8>,
    pub open: OpenAttempts,
}

/// Attempts without an end: segment and offset of each.
#[derive(Debug, Default)]
pub(crate) struct OpenAttempts {
    pub at: HashMap<ExchangeId, (u32, u64)>,
    /// More than we track.
    pub overflow: bool,
}

impl OpenAttempts {
    pub(crate) fn note(&mut self, kind: Kind, exchange: Option<ExchangeId>, at: (u32, u64)) {
        let Some(exchange) = exchange else { return };
        match kind {
            Kind::Attempt if self.at.len() >= OPEN_TRACKED_MAX => self.overflow = true,
            Kind::Attempt => _ = self.at.insert(exchange, at),
            Kind::Outcome | Kind::Refusal | Kind::Abandoned => _ = self.at.remove(&exchange),
            _ => {}
        }
    }
}

/// Where a lane's writing begins.
pub(crate) struct Start {
    pub number: u32,
    pub offset: u64,
    pub link: Link,
    pub open: OpenAttempts,
}

impl Start {
    pub(crate) fn new() -> Self {
        Self { number: 1, offset: 0, link: Link::START, open: OpenAttempts::default() }
    }
}

/// Whether a record is written before its append returns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Now,
    Soon,
}

/// What is to be written.
#[derive(Clone, Copy)]
struct Entry<'a> {
    event: &'a Event,
    /// Where the event repeats its attempt.
    said: Option<&'a Said>,
}

impl<'a> Entry<'a> {
    const fn whole(event: &'a Event) -> Self {
        Self { event, said: None }
    }
}

/// What all lanes of a log share.
pub(crate) struct Ground {
    pub root: PathBuf,
    pub node: Arc<str>,
    pub disk: Arc<dyn Disk>,
    pub segment_bytes: u64,
}

impl Shared {
    pub(crate) fn begin(ground: &Ground, name: String, lock: LaneLock, start: Start) -> io::Result<Arc<Self>> {
        let folder = ground.root.join(&name);
        crate::disk::private_folder(&folder)?;
        let file = ground.disk.segment(&layout::segment(&folder, start.number))?;
        let range = Range { file, from: start.offset, to: start.offset };
        let writer = Writer {
            number: start.number,
            offset: start.offset,
            link: start.link,
            written: start.link,
            synced: start.link,
            ranges: vec![range],
            folders: true,
            torn: false,
            closed: false,
            line: Vec::with_capacity(2_048),
            pending: Vec::new(),
            open: start.open,
        };
        Ok(Arc::new(Self {
            name,
            node: Arc::clone(&ground.node),
            root: ground.root.clone(),
            folder,
            disk: Arc::clone(&ground.disk),
            segment_bytes: ground.segment_bytes,
            writer: Mutex::new(writer),
            syncer: Syncer::at(start.link.seq),
            lock: Mutex::new(Some(lock)),
            owed: Mutex::default(),
            owed_count: AtomicUsize::new(0),
            flush_due: AtomicBool::new(false),
        }))
    }

    pub(crate) fn unavailable(&self, why: &io::Error) -> AuditError {
        AuditError::Unavailable { lane: self.name.clone(), why: why.to_string() }
    }

    /// Keeps a record that ends an exchange until it can be written: what has left must not go unrecorded.
    fn owe(self: &Arc<Self>, event: &Event) {
        if matches!(event.kind, Kind::Outcome | Kind::Refusal | Kind::Abandoned | Kind::Call) {
            let mut owed = self.owed.lock();
            if owed.len() < OWED_MAX {
                owed.push_back(event.clone());
                self.owed_count.store(owed.len(), Ordering::Release);
            } else {
                tracing::error!(lane = %self.name, id = %event.id, "a record was lost: too many wait for the disk");
            }
        }
        self.trouble();
    }

    pub(crate) fn pay_owed(&self, writer: &mut Writer) -> Result<(), AuditError> {
        while self.owed_count.load(Ordering::Acquire) > 0 {
            let Some(event) = self.owed.lock().front().cloned() else { break };
            self.write(writer, Entry::whole(&event), When::Now)?;
            let mut owed = self.owed.lock();
            owed.pop_front();
            self.owed_count.store(owed.len(), Ordering::Release);
        }
        Ok(())
    }

    fn append(self: &Arc<Self>, entry: Entry<'_>, when: When) -> Result<Position, AuditError> {
        if self.syncer.is_shut() {
            self.owe(entry.event);
            return Err(self.unavailable(&io::Error::other("its last sync failed")));
        }
        let mut writer = self.writer.lock();
        if writer.closed {
            return Err(AuditError::Closed { lane: self.name.clone() });
        }
        let written = self.pay_owed(&mut writer).and_then(|()| self.write(&mut writer, entry, when));
        drop(writer);
        if let Err(AuditError::Unavailable { .. }) = &written {
            self.owe(entry.event);
        }
        written
    }

    /// One record, and at most one write, which takes along what waits.
    fn write(&self, writer: &mut Writer, entry: Entry<'_>, when: When) -> Result<Position, AuditError> {
        let unavailable = |why: io::Error| self.unavailable(&why);
        writer.mend().map_err(unavailable)?;
        let Some(seq) = writer.link.seq.checked_add(1) else {
            return Err(AuditError::Closed { lane: self.name.clone() });
        };
        let stamp = Stamp { node: &self.node, lane: &self.name, seq, prev: &writer.link.hash };
        let Entry { event, said } = entry;
        let hash = match said {
            Some(said) => encode::outcome(event, said, &stamp, &mut writer.line)?,
            None => encode::line(event, &stamp, &mut writer.line)?,
        };
        let mut begin = writer.offset + writer.pending.len() as u64;
        if begin > 0 && begin + writer.line.len() as u64 > self.segment_bytes {
            writer.flush().and_then(|()| self.roll(writer)).map_err(unavailable)?;
            begin = 0;
        }
        let waited = writer.pending.len();
        writer.pending.extend_from_slice(&writer.line);
        let before = std::mem::replace(&mut writer.link, Link { seq, hash });
        let now = when == When::Now || writer.pending.len() > PENDING_BYTES_MAX;
        if now && let Err(why) = writer.flush() {
            // This record was never there; those before it go on waiting.
            writer.pending.truncate(waited);
            writer.link = before;
            return Err(unavailable(why));
        }
        writer.open.note(event.kind, event.exchange, (writer.number, begin));
        Ok(Position(seq))
    }

    /// Goes on in a new segment.
    fn roll(&self, writer: &mut Writer) -> io::Result<()> {
        let number = writer.number.checked_add(1).ok_or_else(|| io::Error::other("the lane has no segments left"))?;
        let file = self.disk.segment(&layout::segment(&self.folder, number))?;
        if file.length()? != 0 {
            return Err(io::Error::other("the next segment exists already"));
        }
        if !writer.open.overflow {
            // Only a hint: without it recovery reads the whole lane.
            let _ = self.carry(number, &writer.open);
        }
        writer.ranges.push(Range { file, from: 0, to: 0 });
        writer.number = number;
        writer.offset = 0;
        writer.folders = true;
        Ok(())
    }

    fn carry(&self, number: u32, open: &OpenAttempts) -> io::Result<()> {
        let mut text = String::new();
        for (exchange, (segment, offset)) in &open.at {
            let _ = writeln!(text, "{exchange} {segment} {offset}");
        }
        text.push_str("end\n");
        private_file(&layout::carried(&self.folder, number))?.write_all(text.as_bytes())
    }
}

impl Writer {
    /// Writes what waits; what a failure leaves behind is cut away, now or before the next record.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Some(range) = self.ranges.last_mut() else { return Err(io::Error::other("no segment is open")) };
        if let Err(why) = range.file.write_at(&self.pending, self.offset) {
            self.torn = range.file.cut(self.offset).is_err();
            return Err(why);
        }
        self.offset += self.pending.len() as u64;
        self.pending.clear();
        self.written = self.link;
        range.to = self.offset;
        Ok(())
    }

    /// Cuts away a partial line.
    pub(crate) fn mend(&mut self) -> io::Result<()> {
        if let Some(range) = self.ranges.last().filter(|_| self.torn) {
            range.file.cut(self.offset)?;
            self.torn = false;
        }
        Ok(())
    }

    pub(crate) fn unsynced(&self) -> Unsynced {
        Unsynced { ranges: self.ranges.clone(), link: self.written, folders: self.folders }
    }

    /// Notes that `job` is durable. Ranges were only added behind it since.
    pub(crate) fn settle(&mut self, job: &Unsynced) {
        for (range, done) in self.ranges.iter_mut().zip(&job.ranges) {
            range.from = done.to;
        }
        let count = self.ranges.len();
        if count == job.ranges.len() {
            self.folders = false;
        }
        let mut at = 0;
        self.ranges.retain(|range| {
            at += 1;
            at == count || range.from < range.to
        });
        self.synced = job.link;
    }

    /// Reads back what is written but not synced, checks it, and writes it again.
    pub(crate) fn write_again(&mut self, lane: &[u8]) -> io::Result<()> {
        let mut link = self.synced;
        for range in &self.ranges {
            let mut octets = vec![0; (range.to - range.from) as usize];
            range.file.read_at(&mut octets, range.from)?;
            for line in octets.split_inclusive(|byte| *byte == b'\n') {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                link.follow(lane, line).map_err(io::Error::other)?;
            }
            range.file.write_at(&octets, range.from)?;
        }
        if link == self.written { Ok(()) } else { Err(io::Error::other("records are missing on the disk")) }
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn link(&self) -> Link {
        self.link
    }
}

impl Lane {
    /// The lane's name, as it stands in its records.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Writes a record. When this returns it survives the death of the process; [`Lane::synced`] says when it
    /// survives a loss of power.
    ///
    /// # Errors
    /// `Unavailable`: it is not written, and nothing may be done in its name. A record that ends an exchange (outcome,
    /// refusal, abandoned, call) is kept in memory then and written when space returns: do not append it again.
    pub fn append(&self, event: &Event) -> Result<Position, AuditError> {
        self.shared.append(Entry::whole(event), When::Now)
    }

    /// [`Lane::append`] for an attempt; what it says is kept for its outcome.
    ///
    /// # Errors
    /// As [`Lane::append`].
    pub fn append_attempt(&self, event: &Event) -> Result<(Position, Option<Said>), AuditError> {
        let position = self.shared.append(Entry::whole(event), When::Now)?;
        // Only this thread writes its lane's attempts; another's record in between would have other fields.
        let writer = self.shared.writer.lock();
        let said = if writer.link.seq == position.0 { Said::of(event, &writer.line) } else { None };
        Ok((position, said))
    }

    /// Chains an outcome and writes it with the next record, or at the next [`Lane::flush`], which the caller sees to
    /// where this says true: one write for all that end in one turn of a thread. If the process is killed before the
    /// write, recovery finds the attempt without its end and says so. `said` where the event differs from its attempt in
    /// id, time, kind, response and duration alone.
    ///
    /// # Errors
    /// As [`Lane::append`].
    pub fn append_outcome(&self, event: &Event, said: Option<&Said>) -> Result<bool, AuditError> {
        self.shared.append(Entry { event, said }, When::Soon)?;
        Ok(!self.shared.flush_due.swap(true, Ordering::AcqRel))
    }

    /// Writes what waits. What cannot be written goes on waiting, and the lane tries again by itself.
    pub fn flush(&self) {
        self.shared.flush_due.store(false, Ordering::Release);
        let flushed = {
            let mut writer = self.shared.writer.lock();
            writer.mend().and_then(|()| writer.flush())
        };
        if flushed.is_err() {
            self.shared.trouble();
        }
    }

    /// Waits until the record at `position` is durable, together with everybody else who waits.
    ///
    /// # Errors
    /// `Unavailable` where the sync failed; the record may or may not survive.
    pub fn synced(&self, position: Position) -> impl Future<Output = Result<(), AuditError>> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        let mut progress = shared.syncer.watch();
        async move {
            if progress.borrow().done >= position.0 {
                return Ok(());
            }
            shared.want(position.0);
            let end = progress.wait_for(|at| at.done >= position.0 || at.failed).await.map(|at| at.done >= position.0);
            match end {
                Ok(true) => Ok(()),
                _ => Err(shared.unavailable(&io::Error::other("the record could not be made durable"))),
            }
        }
    }

    /// Whether the lane cannot be written at the moment.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.shared.syncer.is_shut()
    }

    /// Removes the folder of a lane that never had a record.
    pub(crate) fn discard(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.shared.folder)
    }
}
