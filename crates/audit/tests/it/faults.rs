//! A disk that fails, tears and forgets.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audit::disk::{Disk, RealDisk, Segment};
use audit::{Lane, Log};
use model::event::Kind;

use crate::support::{copy, event, exchange_on, open, options, random, records, segments, whole};

/// What goes wrong, and how much of each file is durable.
#[derive(Default)]
struct Faults {
    sync_fails: AtomicBool,
    write_tears: AtomicBool,
    write_fails: Mutex<Option<io::ErrorKind>>,
    cut_fails: AtomicBool,
    syncs: AtomicU64,
    durable: Mutex<HashMap<PathBuf, u64>>,
}

struct BadDisk(Arc<Faults>);

struct BadSegment {
    file: Arc<dyn Segment>,
    path: PathBuf,
    faults: Arc<Faults>,
}

impl Disk for BadDisk {
    fn segment(&self, path: &Path) -> io::Result<Arc<dyn Segment>> {
        let file = RealDisk.segment(path)?;
        Ok(Arc::new(BadSegment { file, path: path.to_path_buf(), faults: Arc::clone(&self.0) }))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_folder(path)
    }
}

impl Segment for BadSegment {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(why) = *self.faults.write_fails.lock().unwrap() {
            return Err(why.into());
        }
        if self.faults.write_tears.load(Ordering::SeqCst) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_at(bytes, offset)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(out, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        if self.faults.cut_fails.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        self.file.cut(length)
    }

    fn sync(&self) -> io::Result<()> {
        let length = self.file.length()?;
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        self.file.sync()?;
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.faults.durable.lock().unwrap().insert(self.path.clone(), length);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

fn bad_log(dir: &Path, seed: u64) -> (Log, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let mut options = options(seed);
    options.disk = Arc::new(BadDisk(Arc::clone(&faults)));
    options.segment_bytes = 20_000;
    (Log::open_with(dir, options).unwrap(), faults)
}

fn synced(lane: &Lane, position: audit::Position) -> Result<(), audit::AuditError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let wait = lane.synced(position);
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), wait).await.expect("nobody hangs") })
}

fn heals(lane: &Lane, number: u64) {
    let began = Instant::now();
    while lane.append(&event(Kind::Attempt, number)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(2), "did not heal");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_failed_sync_shuts_the_lane_until_it_is_made_good() {
    let home = tempfile::tempdir().unwrap();
    let (log, faults) = bad_log(home.path(), 71);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    let good = lane.append(&event(Kind::Attempt, 2)).unwrap();
    synced(&lane, good).unwrap();
    let before = lane.append(&event(Kind::Attempt, 3)).unwrap();
    faults.sync_fails.store(true, Ordering::SeqCst);
    assert!(synced(&lane, before).is_err());
    assert!(lane.is_shut());
    assert!(lane.append(&event(Kind::Attempt, 4)).is_err(), "nothing new may leave");
    assert!(lane.append(&event(Kind::Outcome, 2)).is_err(), "owed");
    assert!(log.checkpoint().is_err(), "what is not durable is not bound");
    synced(&lane, good).expect("what was durable is");
    std::thread::sleep(Duration::from_millis(600));
    assert!(lane.is_shut());
    faults.sync_fails.store(false, Ordering::SeqCst);
    heals(&lane, 5);
    synced(&lane, before).unwrap();
    log.close().unwrap();
    let ends: Vec<_> =
        records(home.path()).iter().filter(|it| it.event.kind == Kind::Outcome).map(|it| it.event.exchange).collect();
    assert_eq!(ends.len(), 2, "the owed outcome was written: {ends:?}");
    // Attempts 1, 2, 3, 5, each with its end.
    assert_eq!(whole(home.path(), None).records, 8);
}

#[test]
fn a_torn_write_is_cut_away() {
    let home = tempfile::tempdir().unwrap();
    let (log, faults) = bad_log(home.path(), 72);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    for cut_fails in [false, true] {
        faults.write_tears.store(true, Ordering::SeqCst);
        faults.cut_fails.store(cut_fails, Ordering::SeqCst);
        assert!(lane.append(&event(Kind::Attempt, 2)).is_err());
        assert!(lane.append(&event(Kind::Attempt, 3)).is_err());
        faults.write_tears.store(false, Ordering::SeqCst);
        faults.cut_fails.store(false, Ordering::SeqCst);
        heals(&lane, 10 + u64::from(cut_fails));
        whole(home.path(), None);
    }
    log.close().unwrap();
    assert_eq!(whole(home.path(), None).records, 2 + 4);
}

#[test]
fn power_lost_at_any_point() {
    let random = random(73);
    let home = tempfile::tempdir().unwrap();
    let (log, faults) = bad_log(home.path(), 74);
    let lane = log.lane().unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..120 {
        let at = lane.append(&event(Kind::Attempt, number)).unwrap();
        if number % 3 == 0 {
            synced(&lane, at).unwrap();
            acknowledged.push(number);
        }
        lane.append(&event(Kind::Outcome, number)).unwrap();
        if number % 17 == 0 {
            log.checkpoint().unwrap();
        }
        if number % 2 == 0 {
            // What was not synced is gone, or partly there, or there as garbage.
            let lost = tempfile::tempdir().unwrap();
            copy(home.path(), lost.path());
            for path in segments(lost.path()) {
                let real = home.path().join(path.strip_prefix(lost.path()).unwrap());
                let safe = faults.durable.lock().unwrap().get(&real).copied().unwrap_or(0);
                let mut octets = std::fs::read(&path).unwrap();
                let length = safe as usize + random.below(octets.len() as u64 - safe + 1) as usize;
                octets.truncate(length);
                if random.below(3) == 0 {
                    octets[safe as usize..].fill(0);
                }
                std::fs::write(&path, octets).unwrap();
            }
            let again = open(lost.path(), 1_000 + number);
            assert_eq!(again.recovery().unwrap().left, Vec::<String>::new());
            drop(again);
            whole(lost.path(), None);
            let there: Vec<_> = records(lost.path()).iter().filter_map(|it| it.event.exchange).collect();
            for number in &acknowledged {
                assert!(there.contains(&crate::support::exchange(*number)), "acknowledged {number} is lost");
            }
        }
    }
    assert!(faults.syncs.load(Ordering::SeqCst) > 40);
}

#[test]
fn outcomes_that_wait_survive_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let (log, faults) = bad_log(home.path(), 79);
    let lane = log.lane().unwrap();
    let (_, said) = lane.append_attempt(&event(Kind::Attempt, 1)).unwrap();
    assert!(lane.append_outcome(&event(Kind::Outcome, 1), said.as_ref()).unwrap());
    faults.write_tears.store(true, Ordering::SeqCst);
    lane.flush();
    assert!(lane.append(&event(Kind::Attempt, 2)).is_err(), "nothing new may leave");
    faults.write_tears.store(false, Ordering::SeqCst);
    heals(&lane, 3);
    log.close().unwrap();
    let found: Vec<_> =
        records(home.path()).into_iter().map(|record| (record.event.kind, record.event.exchange)).collect();
    let one = event(Kind::Outcome, 1).exchange;
    assert_eq!(found.iter().filter(|(_, exchange)| *exchange == one).count(), 2, "{found:?}");
    assert!(found.contains(&(Kind::Outcome, one)), "the one that waited");
    assert!(
        !found.iter().any(|(_, exchange)| *exchange == event(Kind::Attempt, 2).exchange),
        "the one that was refused"
    );
    assert!(whole(home.path(), None).open.is_empty());
}

/// Row J134: no space, a disk that is only read, one that fails: nothing new may leave, what has happened is written
/// when it can be, and nobody has to do anything for that.
#[test]
fn a_disk_that_cannot_be_written_heals_by_itself() {
    for (number, why) in
        [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other].into_iter().enumerate()
    {
        let home = tempfile::tempdir().unwrap();
        let (log, faults) = bad_log(home.path(), 80 + number as u64);
        let lane = log.lane().unwrap();
        lane.append(&event(Kind::Attempt, 1)).unwrap();
        *faults.write_fails.lock().unwrap() = Some(why);
        for at in 2..50 {
            assert!(lane.append(&event(Kind::Attempt, at)).is_err(), "{why}: nothing new may leave");
            assert!(lane.append(&event(Kind::Refusal, at)).is_err(), "{why}: owed");
        }
        assert!(lane.append(&event(Kind::Outcome, 1)).is_err(), "{why}: owed");
        // Reading goes on.
        assert_eq!(records(home.path()).len(), 1, "{why}");
        *faults.write_fails.lock().unwrap() = None;
        heals(&lane, 60);
        log.close().unwrap();
        let found = records(home.path());
        let count = |kind: Kind| found.iter().filter(|record| record.event.kind == kind).count();
        // The attempts that nothing became of are not there; the one after has its end from closing.
        assert_eq!((count(Kind::Attempt), count(Kind::Refusal), count(Kind::Outcome)), (2, 48, 1), "{why}");
        whole(home.path(), None);
    }
}
