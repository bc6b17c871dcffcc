//! After a crash: nothing that was whole is lost, nothing is left open, twice is once.

use audit::{Log, SyncPolicy};
use model::Class;
use model::event::Kind;

use crate::support::{copy, event, exchange_on, fault, open, options, records, segments, whole};

#[test]
fn a_tail_torn_at_every_octet() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 21);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    lane.append(&event(Kind::Attempt, 2)).unwrap();
    let safe = std::fs::metadata(&segments(home.path())[0]).unwrap().len();
    lane.append(&event(Kind::Attempt, 3)).unwrap();
    let length = std::fs::metadata(&segments(home.path())[0]).unwrap().len();
    for cut in (safe..=length).step_by(7).chain([length - 1, length]) {
        let spare = tempfile::tempdir().unwrap();
        copy(home.path(), spare.path());
        let path = segments(spare.path())[0].clone();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(cut).unwrap();
        let again = open(spare.path(), 22);
        let recovery = again.recovery().unwrap();
        assert_eq!((recovery.lanes, recovery.abandoned), (1, if cut == length { 2 } else { 1 }), "cut to {cut}");
        assert_eq!(recovery.cut_bytes, if cut == length { 0 } else { cut - safe });
        let kinds: Vec<Kind> = records(spare.path()).iter().map(|record| record.event.kind).collect();
        assert_eq!(kinds.contains(&Kind::Recovered), recovery.cut_bytes > 0);
        let after = whole(spare.path(), None);
        assert!(after.open.is_empty());
        drop(again);
        assert_eq!(open(spare.path(), 23).recovery().unwrap(), audit::recover::Recovery::default());
        assert_eq!(whole(spare.path(), None).records, after.records);
    }
}

#[test]
fn an_abandoned_record_repeats_its_attempt() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 24);
    let lane = log.lane().unwrap();
    lane.append(&event(Kind::Attempt, 5)).unwrap();
    let spare = tempfile::tempdir().unwrap();
    copy(home.path(), spare.path());
    drop(open(spare.path(), 25));
    let found = records(spare.path());
    let (attempt, abandoned) = (&found[0].event, &found[1].event);
    assert_eq!(abandoned.kind, Kind::Abandoned);
    assert_eq!(
        (&abandoned.exchange, &abandoned.calls, &abandoned.rules),
        (&attempt.exchange, &attempt.calls, &attempt.rules)
    );
    assert_ne!(abandoned.id, attempt.id);
}

#[test]
fn a_living_lane_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 26);
    let lane = log.lane().unwrap();
    lane.append(&event(Kind::Attempt, 1)).unwrap();
    let other = open(home.path(), 27);
    assert_eq!(other.recovery().unwrap().lanes, 0);
    lane.append(&event(Kind::Outcome, 1)).unwrap();
    drop(other);
    log.close().unwrap();
    assert_eq!(whole(home.path(), None).records, 2);
}

#[test]
fn open_attempts_are_carried_over_segments() {
    let home = tempfile::tempdir().unwrap();
    let mut small = options(28);
    small.segment_bytes = 3_000;
    let log = Log::open_with(home.path(), small).unwrap();
    let lane = log.lane().unwrap();
    lane.append(&event(Kind::Attempt, 1_000)).unwrap();
    for number in 0..40 {
        exchange_on(&lane, number);
    }
    // With the hint, with a torn hint, and without one.
    for damage in 0..3 {
        let spare = tempfile::tempdir().unwrap();
        copy(home.path(), spare.path());
        let last = segments(spare.path()).last().unwrap().with_extension("open");
        match damage {
            0 => assert!(last.exists()),
            1 => std::fs::write(&last, "exc_").unwrap(),
            _ => std::fs::remove_file(&last).unwrap(),
        }
        assert_eq!(open(spare.path(), 29).recovery().unwrap().abandoned, 1, "{damage}");
        assert_eq!(whole(spare.path(), None).records, 82);
    }
}

#[test]
fn a_large_dead_lane_does_not_hold_up_the_start() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 30);
    let lane = log.lane().unwrap();
    for number in 0..1_500 {
        exchange_on(&lane, number);
    }
    lane.append(&event(Kind::Attempt, 9_999)).unwrap();
    let spare = tempfile::tempdir().unwrap();
    copy(home.path(), spare.path());
    let again = open(spare.path(), 31);
    // Recording goes on meanwhile.
    exchange_on(&again.lane().unwrap(), 20_000);
    let recovery = again.recovery().unwrap();
    assert_eq!((recovery.lanes, recovery.abandoned), (1, 1));
    again.close().unwrap();
    assert_eq!(whole(spare.path(), None).records, 3_004);
}

#[test]
fn damage_under_a_seal_is_no_crash() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 32);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    exchange_on(&lane, 2);
    log.checkpoint().unwrap();
    let spare = tempfile::tempdir().unwrap();
    copy(home.path(), spare.path());
    let path = segments(spare.path())[0].clone();
    let mut octets = std::fs::read(&path).unwrap();
    octets[900] ^= 1;
    std::fs::write(&path, &octets).unwrap();
    let again = open(spare.path(), 33);
    assert_eq!(again.recovery().unwrap().left, [lane.name()]);
    drop(again);
    assert_eq!(std::fs::read(&path).unwrap(), octets, "left as it is");
    assert!(fault(spare.path(), None).is_some());
}

#[test]
fn which_records_are_synced() {
    for (word, needs) in [("changes", [false, true, true, true, true]), ("always", [true; 5]), ("never", [false; 5])] {
        let policy: SyncPolicy = word.parse().unwrap();
        assert_eq!(Class::ALL.map(|class| policy.needs_sync(class)), needs, "{word}");
    }
    assert!("sometimes".parse::<SyncPolicy>().is_err());
}
