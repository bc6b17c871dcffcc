//! Search, export, tail, sinks, and the reader of hostile octets.

use std::sync::LazyLock;

use audit::{Filter, Format, Tail, export, read_line, search, sink};
use model::event::{Kind, Verdict};
use model::{AgentName, Timestamp};
use proptest::prelude::*;

use crate::support::{event, exchange_on, open, segments};

#[test]
fn search_by_everything() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 41);
    let (one, two) = (log.lane().unwrap(), log.lane().unwrap());
    for number in 0..20 {
        exchange_on(if number % 2 == 0 { &one } else { &two }, number);
    }
    let mut refusal = event(Kind::Refusal, 50);
    refusal.agent = Some(AgentName::new("other").unwrap());
    refusal.decision = Some(Verdict::Deny);
    refusal.code = Some(model::refusal::Code::Denied);
    two.append(&refusal).unwrap();
    let count = |filter: Filter| search(home.path(), &filter).unwrap().len();
    assert_eq!(count(Filter::default()), 41);
    assert_eq!(count(Filter { agent: AgentName::new("other").ok(), ..Filter::default() }), 1);
    assert_eq!(count(Filter { code: Some(model::refusal::Code::Denied), ..Filter::default() }), 1);
    assert_eq!(count(Filter { decision: Some(Verdict::Allow), ..Filter::default() }), 40);
    assert_eq!(count(Filter { action: Some("pulls/create".into()), ..Filter::default() }), 41);
    assert_eq!(count(Filter { action: Some("pulls".into()), ..Filter::default() }), 0);
    assert_eq!(count(Filter { text: Some("pulls?n=7\"".into()), ..Filter::default() }), 2);
    let at = |number: i64| Some(Timestamp(1_795_199_927_000_000 + number * 1_000));
    assert_eq!(count(Filter { since: at(5), until: at(10), ..Filter::default() }), 10);
    let last = search(home.path(), &Filter { limit: Some(3), ..Filter::default() }).unwrap();
    let times: Vec<_> = last.iter().map(|record| record.event.exchange.unwrap().bits()).collect();
    assert_eq!(times, [19, 19, 50], "the last ones, in order of time over lanes");
}

#[test]
fn flat_and_whole_exports() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 42);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 42);
    let mut out = Vec::new();
    assert_eq!(export(home.path(), Format::Json, &mut out).unwrap(), 2);
    assert_eq!(out, std::fs::read(&segments(home.path())[0]).unwrap(), "the octets that the hashes are over");
    let mut out = Vec::new();
    assert_eq!(export(home.path(), Format::Flat, &mut out).unwrap(), 1);
    let flat: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        flat,
        serde_json::json!({
            "timestamp": "2026-11-20T18:38:47.042000Z", "agent_id": "refactoring-bot", "action": "pulls/create",
            "service": "github", "resource": "repo:myorg/myrepo", "credential_used": "github-token",
            "request": {"method": "POST", "path": "/repos/myorg/myrepo/pulls?n=42",
                "body_hash": "sha256:0303030303030303030303030303030303030303030303030303030303030303"},
            "response": {"status": 201, "pr_number": 42}, "duration_ms": 13, "ip_address": "127.0.0.1",
        })
    );
}

#[test]
fn what_was_counted_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 44);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    let mut counted = event(Kind::Refusal, 2);
    counted.exchange = None;
    let (first, last) = (counted.time, counted.time.plus_secs(9));
    counted.repeated = Some(model::event::Repeated { times: 4_900, first, last, class: Some(model::Class::Delete) });
    lane.append(&counted).unwrap();
    // Somebody else's words are no count.
    let mut words = event(Kind::Refusal, 3);
    words.reason = Some("\"repeated\":{\"times\":7}".to_owned());
    words.context = serde_json::json!({"repeated": {"times": 7}}).as_object().cloned();
    lane.append(&words).unwrap();
    log.close().unwrap();
    let report = crate::support::whole(home.path(), None);
    assert_eq!((report.records, report.counted), (4, 4_900));
    let found = search(home.path(), &Filter { code: counted.code, ..Filter::default() }).unwrap();
    assert_eq!(found.iter().filter_map(|record| record.event.repeated).map(|it| it.times).sum::<u64>(), 4_900);
    let mut out = Vec::new();
    export(home.path(), Format::Json, &mut out).unwrap();
    let line = "\"repeated\":{\"times\":4900,\"first\":\"2026-11-20T18:38:47.002000Z\",\
                \"last\":\"2026-11-20T18:38:56.002000Z\",\"class\":\"delete\"}";
    assert!(String::from_utf8(out).unwrap().contains(line));
    let mut out = Vec::new();
    export(home.path(), Format::Flat, &mut out).unwrap();
    let counts: Vec<_> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["count"].as_u64())
        .collect();
    assert_eq!(counts, [None, Some(4_900), None]);
}

#[test]
fn tail_and_sinks_follow() {
    let home = tempfile::tempdir().unwrap();
    let log = open(home.path(), 43);
    let lane = log.lane().unwrap();
    exchange_on(&lane, 1);
    let mut late = Tail::from_end(home.path()).unwrap();
    let mut all = Tail::from_start(home.path());
    assert_eq!((all.look().unwrap().len(), all.look().unwrap().len(), late.look().unwrap().len()), (2, 0, 0));
    let copy = home.path().join("copy.jsonl");
    let mut sink = sink::open("jsonl", copy.to_str().unwrap()).unwrap();
    let mut fed = Tail::from_start(home.path());
    assert_eq!(sink::feed(&mut fed, &mut *sink).unwrap(), 2);
    let second = log.lane().unwrap();
    exchange_on(&second, 2);
    lane.append(&event(Kind::Session, 3)).unwrap();
    log.close().unwrap();
    assert_eq!((all.look().unwrap().len(), late.look().unwrap().len()), (3, 3));
    assert_eq!(sink::feed(&mut fed, &mut *sink).unwrap(), 3);
    let lines = std::fs::read_to_string(&copy).unwrap();
    assert!(lines.lines().count() == 5 && lines.lines().all(|line| read_line(line.as_bytes()).is_ok()));
    let error = sink::open("carrier-pigeon", "").err().unwrap().to_string();
    assert_eq!(error, "`carrier-pigeon` is not an audit sink; known are: jsonl");
}

fn one_line() -> &'static [u8] {
    static LINE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let home = tempfile::tempdir().unwrap();
        let log = open(home.path(), 44);
        log.lane().unwrap().append(&event(Kind::Attempt, 1)).unwrap();
        let mut line = std::fs::read(&segments(home.path())[0]).unwrap();
        line.pop();
        line
    });
    &LINE
}

proptest! {
    #[test]
    fn any_octets_are_read_without_a_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read_line(&octets).is_err());
    }

    #[test]
    fn a_line_with_anything_changed_is_bad(at in 0usize..900, octet in any::<u8>(), cut in any::<bool>()) {
        let good = one_line();
        let mut bad = good.to_vec();
        let at = at % good.len();
        if cut { bad.truncate(at) } else { bad[at] = octet }
        prop_assert_eq!(read_line(&bad).is_ok(), bad == good);
    }

    #[test]
    fn trailers_of_any_form(head in ".{0,40}", seq in "[0-9]{0,25}", prev in "[0-9a-f]{60,66}", hash in "[0-9a-f]{60,66}") {
        let line = format!("{head}\",\"lane\":\"0123456789abcdef0123\",\"seq\":{seq},\"prev\":\"{prev}\",\"hash\":\"{hash}\"}}");
        prop_assert!(read_line(line.as_bytes()).is_err());
    }
}
