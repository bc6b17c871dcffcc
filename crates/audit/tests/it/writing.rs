//! What is appended is there, one line each, whatever it holds and however many write.

use std::os::unix::fs::PermissionsExt;

use audit::read_line;
use model::bounds::RECORD_BYTES_MAX;
use model::event::Kind;
use model::{Fact, Facts};

use crate::support::{event, exchange_on, open, options, records, segments, whole};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn a_record_is_read_back_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 1);
    let lane = log.lane().unwrap();
    let position = lane.append(&event(Kind::Attempt, 1)).unwrap();
    assert_eq!(position.seq(), 1);
    block_on(lane.synced(position)).unwrap();
    lane.append(&event(Kind::Outcome, 1)).unwrap();
    let found = records(home.path());
    assert_eq!(found[0].event, event(Kind::Attempt, 1));
    assert_eq!(found[1].event, event(Kind::Outcome, 1));
    assert_eq!((found[1].seq, found[1].prev, found[1].node.as_str()), (2, found[0].hash, "test"));
    assert_eq!(found[1].lane, lane.name());
    let head = log.close().unwrap().to_string();
    assert_eq!(whole(home.path(), Some(&head)).records, 2);
    assert!(lane.append(&event(Kind::Attempt, 2)).is_err(), "closed");
    for file in segments(home.path()) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(file.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn hostile_text_is_one_line_and_moves_nothing() {
    let payloads: Vec<String> = [
        "a\r\nb",
        "\n",
        "\r",
        "\0",
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{9b}31m",
        "\u{85}",
        "\u{2028}",
        "\u{2029}",
        "\u{202e}gnp.exe",
        "\u{2066}x\u{2069}",
        "\u{200b}\u{200d}\u{feff}",
        "\u{7f}\u{8}",
        "\"},\"hash\":\"00",
        "\\\"\\u000a",
        "{\"kind\":\"outcome\"}",
        "\u{e0041}",
        "\u{fffd}",
        "',|cmd",
        "=1+1",
        "<script>",
        "${jndi:x}",
        "%0d%0a",
        "\u{1d173}",
        "\u{ad}",
        "日本語 text é",
        "\t",
        "\u{b}\u{c}",
        "]]>",
    ]
    .map(String::from)
    .into_iter()
    .chain([String::from_utf8_lossy(b"\xff\xfe\x80bad").into_owned(), "x".repeat(5_000)])
    .collect();
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 2);
    let lane = log.lane().unwrap();
    for (at, payload) in payloads.iter().enumerate() {
        let mut event = event(Kind::Outcome, at as u64);
        event.task = Some(payload.clone());
        event.calls[0].facts.add(payload.as_str().into(), Fact::Text(payload.as_str().into()));
        event.request.as_mut().unwrap().path = payload.as_str().into();
        lane.append(&event).unwrap();
    }
    let text = std::fs::read(&segments(home.path())[0]).unwrap();
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), payloads.len() + 1);
    for (line, payload) in lines.iter().zip(&payloads) {
        let line_text = std::str::from_utf8(line).unwrap();
        assert!(!line_text.chars().any(|letter| letter.is_control() || ('\u{2028}'..='\u{202e}').contains(&letter)));
        assert!(!line_text.contains(['\u{200b}', '\u{feff}', '\u{2066}', '\u{ad}', '\u{e0041}']), "{line_text}");
        assert_eq!(read_line(line).unwrap().event.task.as_ref(), Some(payload));
    }
}

#[test]
fn a_record_over_the_bound_is_cut_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 3);
    let lane = log.lane().unwrap();
    let mut huge = event(Kind::Attempt, 1);
    let call = huge.calls[0].clone();
    let mut facts = Facts::default();
    for at in 0..200 {
        facts.add(format!("body.{at}").into(), Fact::Text("\u{202e}".repeat(3_000).into()));
    }
    huge.calls = (0..256)
        .map(|_| {
            let mut call = call.clone();
            call.facts = facts.clone();
            call.resource = model::Resource::new(&"\u{1}".repeat(9_000));
            call
        })
        .collect();
    huge.request.as_mut().unwrap().path = "\u{1b}".repeat(16_000).into();
    huge.task = Some("\u{7f}".repeat(100_000));
    huge.rules = (0..1_000).map(|_| "\u{7f}".repeat(1_000).into()).collect();
    lane.append(&huge).unwrap();
    let mut wide = event(Kind::Outcome, 1);
    wide.task = Some("x".repeat(100_000));
    lane.append(&wide).unwrap();
    let text = std::fs::read(&segments(home.path())[0]).unwrap();
    assert!(text.split(|byte| *byte == b'\n').all(|line| line.len() < RECORD_BYTES_MAX));
    let found = records(home.path());
    assert_eq!(found[0].event.exchange, huge.exchange);
    assert!(found[0].event.reason.as_ref().unwrap().contains("more calls were cut"));
    assert!(found[1].event.task.as_ref().unwrap().contains("[cut: 100000 octets in all, sha256 "));
    assert_eq!(found[1].event.calls, wide.calls);
}

#[test]
fn eight_threads_with_lanes_of_their_own_and_one_shared() {
    const EACH: u64 = 400;
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 4);
    let shared = log.lane().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (own, shared) = (log.lane().unwrap(), shared.clone());
            scope.spawn(move || {
                for number in 0..EACH {
                    exchange_on(if number % 4 == 0 { &shared } else { &own }, thread * EACH + number);
                }
                let last = own.append(&event(Kind::Session, thread)).unwrap();
                block_on(own.synced(last)).unwrap();
            });
        }
        for _ in 0..5 {
            let head = log.checkpoint().unwrap().to_string();
            whole(home.path(), Some(&head));
        }
    });
    let live = whole(home.path(), None);
    assert_eq!((live.records, live.open.len()), (8 * (2 * EACH + 1), 9));
    log.close().unwrap();
    let closed = whole(home.path(), None);
    assert_eq!((closed.records, closed.lanes, closed.open.len()), (8 * (2 * EACH + 1), 9, 0));
}

#[test]
fn segments_roll_and_the_chain_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let mut small = options(5);
    small.segment_bytes = 4_000;
    let log = audit::Log::open_with(home.path(), small).unwrap();
    let lane = log.lane().unwrap();
    for number in 0..50 {
        exchange_on(&lane, number);
    }
    let last = lane.append(&event(Kind::Attempt, 99)).unwrap();
    block_on(lane.synced(last)).unwrap();
    assert!(segments(home.path()).len() > 10);
    let head = log.close().unwrap().to_string();
    assert_eq!(whole(home.path(), Some(&head)).records, 102, "the open attempt was abandoned");
    assert_eq!(records(home.path()).last().unwrap().event.kind, Kind::Abandoned);
}

#[test]
fn an_unused_lane_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 6);
    let _lane = log.lane().unwrap();
    log.close().unwrap();
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "only the folder of locks");
    assert_eq!(whole(home.path(), None).records, 0);
}

#[test]
fn many_waiters_share_a_sync() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 7);
    let lane = log.lane().unwrap();
    block_on(async {
        let mut waits = Vec::new();
        for number in 0..500 {
            let at = lane.append(&event(Kind::Attempt, number)).unwrap();
            waits.push(lane.synced(at));
        }
        // One left waiting must not keep the others.
        drop(waits.pop());
        for wait in waits {
            wait.await.unwrap();
        }
    });
}
