//! Outcomes that wait for the next write of their lane: chained at once, never lost while the process lives.

use model::event::Kind;

use crate::support::{copy, event, open, options, records, segments, whole};

fn octets(dir: &std::path::Path) -> u64 {
    segments(dir).iter().map(|path| std::fs::metadata(path).unwrap().len()).sum()
}

#[test]
fn an_outcome_waits_for_company_and_says_what_its_attempt_said() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 81);
    let lane = log.lane().unwrap();
    let (_, said) = lane.append_attempt(&event(Kind::Attempt, 1)).unwrap();
    let said = said.expect("kept");
    let before = octets(home.path());
    assert!(lane.append_outcome(&event(Kind::Outcome, 1), Some(&said)).unwrap(), "somebody has to flush");
    assert_eq!(octets(home.path()), before, "not written yet");
    let (_, next) = lane.append_attempt(&event(Kind::Attempt, 2)).unwrap();
    assert!(octets(home.path()) > before, "written with the next record");
    assert!(!lane.append_outcome(&event(Kind::Outcome, 2), next.as_ref()).unwrap(), "a flush is still due");
    lane.flush();
    let found = records(home.path());
    assert_eq!(found.len(), 4);
    for (record, (kind, number)) in
        found.iter().zip([(Kind::Attempt, 1), (Kind::Outcome, 1), (Kind::Attempt, 2), (Kind::Outcome, 2)])
    {
        assert_eq!(record.event, event(kind, number), "as if it had been encoded whole");
    }
    log.close().unwrap();
    assert!(whole(home.path(), None).open.is_empty());
}

#[test]
fn a_process_that_dies_first_leaves_an_abandoned_attempt() {
    let home = tempfile::tempdir().unwrap();
    let (live, dead) = (home.path().join("live"), home.path().join("dead"));
    let log = open(&live, 82);
    let lane = log.lane().unwrap();
    let (_, said) = lane.append_attempt(&event(Kind::Attempt, 1)).unwrap();
    lane.append_outcome(&event(Kind::Outcome, 1), said.as_ref()).unwrap();
    copy(&live, &dead);
    let recovered = open(&dead, 83);
    recovered.recovery().unwrap();
    recovered.close().unwrap();
    let kinds: Vec<Kind> = records(&dead).iter().map(|record| record.event.kind).collect();
    assert_eq!(kinds, [Kind::Attempt, Kind::Abandoned]);
    log.close().unwrap();
    let kinds: Vec<Kind> = records(&live).iter().map(|record| record.event.kind).collect();
    assert_eq!(kinds, [Kind::Attempt, Kind::Outcome], "closing writes what waits");
}

#[test]
fn checkpoints_bind_what_waited() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 84);
    let lane = log.lane().unwrap();
    let (_, said) = lane.append_attempt(&event(Kind::Attempt, 1)).unwrap();
    lane.append_outcome(&event(Kind::Outcome, 1), said.as_ref()).unwrap();
    let head = log.head().unwrap().to_string();
    assert_eq!(records(home.path()).len(), 2, "the head is asked for after everything is written");
    assert_eq!(whole(home.path(), Some(&head)).records, 2);
}

#[test]
fn segments_roll_while_outcomes_wait() {
    let home = tempfile::tempdir().unwrap();
    let mut small = options(85);
    small.segment_bytes = 5_000;
    let log = audit::Log::open_with(home.path(), small).unwrap();
    let lane = log.lane().unwrap();
    let mut open = Vec::new();
    for number in 0..40 {
        let (_, said) = lane.append_attempt(&event(Kind::Attempt, number)).unwrap();
        open.push((number, said));
        if number % 8 == 7 {
            for (number, said) in open.drain(..) {
                lane.append_outcome(&event(Kind::Outcome, number), said.as_ref()).unwrap();
            }
        }
    }
    log.close().unwrap();
    let report = whole(home.path(), None);
    assert_eq!(report.records, 80);
    assert!(report.open.is_empty());
    assert!(segments(home.path()).len() > 8, "it rolled");
}
