//! Whatever is changed in a log is found.

use std::path::Path;

use model::event::Kind;

use crate::support::{copy, event, exchange_on, fault, files, open, random, segments, whole};

/// A closed log: two lanes, a checkpoint in the middle and one at the end.
fn closed(dir: &Path, exchanges: u64) -> String {
    let log = open(dir, 11);
    let (one, two) = (log.lane().unwrap(), log.lane().unwrap());
    for number in 0..exchanges {
        exchange_on(if number % 3 == 0 { &two } else { &one }, number);
        if number == exchanges / 2 {
            log.checkpoint().unwrap();
        }
    }
    log.close().unwrap().to_string()
}

#[test]
fn every_octet_of_a_small_log() {
    let home = tempfile::tempdir().unwrap();
    closed(home.path(), 3);
    whole(home.path(), None);
    for path in files(home.path()) {
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            for flip in [0x01, 0x20] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                std::fs::write(&path, &bad).unwrap();
                assert!(fault(home.path(), None).is_some(), "octet {at} of {} with {flip:#x}", path.display());
            }
        }
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(fault(home.path(), None).is_some(), "{} cut to {length}", path.display());
        }
        std::fs::write(&path, &good).unwrap();
    }
    whole(home.path(), None);
}

#[test]
fn lines_deleted_swapped_doubled_and_moved() {
    let home = tempfile::tempdir().unwrap();
    closed(home.path(), 12);
    let all = files(home.path());
    for path in &all {
        let good = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = good.split_inclusive('\n').collect();
        for at in 0..lines.len() {
            let mut deleted = lines.clone();
            deleted.remove(at);
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at]);
            let mut swapped = lines.clone();
            swapped.swap(at, (at + 1) % lines.len());
            for bad in [deleted, doubled, swapped] {
                std::fs::write(path, bad.concat()).unwrap();
                assert!(bad == lines || fault(home.path(), None).is_some(), "line {at} of {}", path.display());
            }
        }
        std::fs::write(path, good).unwrap();
    }
    let [one, two] = &segments(home.path())[..] else { panic!("two lanes") };
    let (first, second) = (std::fs::read(one).unwrap(), std::fs::read(two).unwrap());
    std::fs::write(one, &second).unwrap();
    std::fs::write(two, &first).unwrap();
    assert!(fault(home.path(), None).is_some());
}

#[test]
fn two_thousand_records_anywhere() {
    let home = tempfile::tempdir().unwrap();
    closed(home.path(), 1_000);
    let random = random(12);
    let all = files(home.path());
    for _ in 0..150 {
        let path = &all[random.below(all.len() as u64) as usize];
        let good = std::fs::read(path).unwrap();
        let mut bad = good.clone();
        let at = random.below(good.len() as u64) as usize;
        match random.below(3) {
            0 => bad[at] ^= 1 << random.below(8),
            1 => _ = bad.remove(at),
            _ => bad.truncate(at),
        }
        std::fs::write(path, &bad).unwrap();
        assert!(fault(home.path(), None).is_some(), "{} at {at}", path.display());
        std::fs::write(path, &good).unwrap();
    }
    assert_eq!(whole(home.path(), None).records, 2_000);
}

#[test]
fn a_fault_names_the_record() {
    let home = tempfile::tempdir().unwrap();
    closed(home.path(), 9);
    let path = &segments(home.path())[0];
    let text = std::fs::read_to_string(path).unwrap().replacen("myorg/myrepo/pulls?n=2", "myorg/myrepo/pulls?n=7", 1);
    std::fs::write(path, text).unwrap();
    let fault = fault(home.path(), None).unwrap();
    assert_eq!((fault.segment, fault.line, fault.seq), (1, 3, 3));
    let lane = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let said =
        format!("lane {lane}, record 3 (00000001.log, line 3): the record's octets do not have the hash it names");
    assert_eq!(fault.to_string(), said);
}

#[test]
fn a_head_kept_elsewhere_finds_a_log_cut_as_a_whole() {
    let home = tempfile::tempdir().unwrap();
    let early = tempfile::tempdir().unwrap();
    let log = open(home.path(), 13);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    let first = log.head().unwrap().to_string();
    copy(home.path(), early.path());
    exchange_on(&lane, 2);
    let last = log.close().unwrap().to_string();
    whole(home.path(), Some(&first));
    whole(home.path(), Some(&last));
    whole(early.path(), Some(&first));
    let why = fault(early.path(), Some(&last)).unwrap().to_string();
    assert!(why.contains("missing: the log was cut"), "{why}");
    // Everything gone.
    let empty = tempfile::tempdir().unwrap();
    assert!(fault(empty.path(), Some(&first)).is_some());
    // Another history under the same key.
    let other = tempfile::tempdir().unwrap();
    closed(other.path(), 5);
    let why = fault(other.path(), Some(&first)).unwrap().to_string();
    assert!(why.contains("rewritten"), "{why}");
    assert!(audit::verify(home.path(), &crate::support::key(), Some("nonsense")).is_err());
}

#[test]
fn lanes_removed_and_records_added() {
    let home = tempfile::tempdir().unwrap();
    closed(home.path(), 6);
    let spare = tempfile::tempdir().unwrap();
    copy(home.path(), spare.path());
    let path = &segments(spare.path())[0];
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    assert!(fault(spare.path(), None).unwrap().to_string().contains("are missing"));
    // A record written behind the end of a closed lane, chained as it must be.
    let live = tempfile::tempdir().unwrap();
    let log = open(live.path(), 14);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    let killed = tempfile::tempdir().unwrap();
    copy(live.path(), killed.path());
    lane.append(&event(Kind::Session, 2)).unwrap();
    drop(open(killed.path(), 15));
    assert_eq!(whole(killed.path(), None).records, 2);
    std::fs::copy(&segments(live.path())[0], &segments(killed.path())[0]).unwrap();
    assert!(fault(killed.path(), None).unwrap().to_string().contains("after the lane was closed"));
    // The wrong key.
    let wrong = audit::Signer::from_seed(&[8; 32]).unwrap().public();
    assert!(matches!(audit::verify(home.path(), &wrong, None).unwrap(), audit::Verified::Broken(_)));
    assert!(audit::Signer::from_seed(&[1; 5]).is_err());
}
