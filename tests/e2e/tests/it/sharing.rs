//! Several processes on one home: limits are exact, and a stop or a revocation reaches all of them at once.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use e2e::House;
use e2e::house::binary;
use serde_json::Value;
use testkit::Upstream;
use testkit::process::finish;

use crate::talk::{Agent, Held, agent, echo_house};

/// What is promised: what one process changes, every other has taken in after this.
const SEEN: Duration = Duration::from_millis(250);

/// Four threads for each agent, each asking this often; how many answers of each status came.
fn storm(agents: &[Agent], each: usize) -> (usize, usize, Vec<u16>) {
    let threads: Vec<_> = agents
        .iter()
        .flat_map(|agent| std::iter::repeat_n(agent, 4))
        .cloned()
        .map(|agent| {
            thread::spawn(move || {
                let mut wire = agent.open().unwrap();
                let mut all = Vec::new();
                for _ in 0..each {
                    all.push(agent.ask(&mut wire, "GET", "/json", "").unwrap().status);
                }
                all
            })
        })
        .collect();
    let all: Vec<u16> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let count = |status| all.iter().filter(|it| **it == status).count();
    let (passed, limited) = (count(200), count(429));
    (passed, limited, all.into_iter().filter(|it| ![200, 429].contains(it)).collect())
}

#[test]
fn a_limit_holds_for_two_processes_together() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &agent("tester", "        conditions: { limit: 40/hour }\n"));
    let gateway = house.serve();
    let served = Agent::of(&gateway, &house.session("tester"));
    let (first, second) = (Held::start(&house, "tester", "first"), Held::start(&house, "tester", "second"));
    let agents = [served, Agent::in_run(&first.env), Agent::in_run(&second.env)];
    let got = storm(&agents, 10);
    assert_eq!(got, (40, 80, Vec::new()));
    let arrived = upstream.journal().take();
    assert_eq!(arrived.iter().filter(|seen| seen.count(&canary.value()) == 1).count(), 40);
    assert_eq!(arrived.len(), 40);
    let receipts = [first.end(), second.end()];
    let told: u64 = receipts.iter().map(|receipt| receipt["requests"].as_u64().unwrap()).sum();
    assert_eq!(told, 80, "{receipts:?}");
    house.assert_audit();
}

#[test]
fn three_agents_share_a_gateway_and_keep_their_own_limits() {
    let upstream = Upstream::start();
    let limit = |count: u32| format!("        conditions: {{ limit: {count}/hour }}\n");
    let agents = [agent("one", &limit(10)), agent("two", &limit(20)), agent("three", &limit(5))].concat();
    let (house, _) = echo_house(&upstream, &agents);
    let gateway = house.serve();
    let sessions = ["one", "two", "three"].map(|name| Agent::of(&gateway, &house.session(name)));
    // 100 requests: 36, 32 and 32 of them in threads of four for each agent.
    let threads = [(0, 9), (1, 8), (2, 8)].map(|(which, each): (usize, usize)| {
        let agent = sessions[which].clone();
        thread::spawn(move || storm(&[agent], each))
    });
    let got = threads.map(|thread| thread.join().unwrap());
    assert_eq!(got, [(10, 26, vec![]), (20, 12, vec![]), (5, 27, vec![])]);
    assert_eq!(upstream.journal().len(), 35);
    house.assert_audit();
}

/// Both processes ask and stream; a third changes something. How late they were is read from the record: the change is
/// recorded once it is in the store, an attempt just before it leaves, the outcome of a stream when it is cut.
fn cut_by(command: &[&str], said: &str, refusal: &str) {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    cut_in(&house, (command, said, refusal));
}

fn cut_in(house: &House, (command, said, refusal): (&[&str], &str, &str)) {
    let gateway = house.serve();
    let held = Held::start(house, "tester", "held");
    let agents = [Agent::of(&gateway, &house.session("tester")), Agent::in_run(&held.env)];
    let streaming = Arc::new(Barrier::new(3));
    let streams = agents.clone().map(|agent| {
        let streaming = Arc::clone(&streaming);
        thread::spawn(move || agent.stream(&streaming))
    });
    let asking = agents.clone().map(|agent| thread::spawn(move || agent.until_refused(Duration::from_secs(15))));
    streaming.wait();
    let _ = house.valetkey(command).expect_success(&command.join(" "));
    for thread in streams {
        thread.join().unwrap();
    }
    for thread in asking {
        let how = thread.join().unwrap();
        assert!(how.contains(refusal), "{how}");
    }
    // Not killed: an outcome of its last milliseconds would stand as abandoned (decision 12).
    held.end();
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let events: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let change = events.iter().find(|event| event["reason"].as_str().is_some_and(|reason| reason.contains(said)));
    let change = micros(change.unwrap_or_else(|| panic!("no record of `{said}`")));
    let late = |of: &dyn Fn(&Value) -> bool| {
        let all = events.iter().filter(|event| of(event)).map(|event| micros(event).saturating_sub(change));
        Duration::from_micros(all.max().unwrap())
    };
    let passed = late(&|event| event["kind"] == "attempt");
    let stream = |event: &Value| event["request"]["path"] == "/events/60000/5" && event["kind"] == "outcome";
    assert_eq!(events.iter().filter(|event| stream(event)).count(), 2);
    let cut = late(&stream);
    println!("{}: the last request left {passed:?} later, the last stream was cut {cut:?} later", command.join(" "));
    assert!(passed <= SEEN && cut <= SEEN, "requests {passed:?}, streams {cut:?}");
    house.assert_audit();
}

/// Microseconds of the day: `2026-01-02T03:04:05.678901Z`.
fn micros(event: &Value) -> u64 {
    let time = event["time"].as_str().unwrap();
    let number = |at: std::ops::Range<usize>| time[at].parse::<u64>().unwrap();
    ((number(11..13) * 60 + number(14..16)) * 60 + number(17..19)) * 1_000_000 + number(20..26)
}

#[test]
fn a_stop_is_seen_by_all_and_cuts_streams() {
    cut_by(&["stop", "--agent", "tester"], "stopped agent tester", "40");
}

#[test]
fn a_revocation_is_seen_by_all_and_cuts_streams() {
    cut_by(&["credential", "revoke", "echo-token"], "revoked every version", "502 credential_revoked");
}

/// What the built-in vault holds is revoked version by version.
#[test]
fn a_revoked_version_is_seen_by_all_and_cuts_streams() {
    for command in
        [&["credential", "revoke", "echo-token"][..], &["credential", "revoke", "echo-token", "--version", "1"]]
    {
        let upstream = Upstream::start();
        let (house, canary) = echo_house(&upstream, &agent("tester", ""));
        let config = std::fs::read_to_string(house.config()).unwrap().replace(", from: env:ECHO_TOKEN", "");
        std::fs::write(house.config(), config).unwrap();
        let mut add = house.clean(std::path::Path::new("/bin/sh"));
        add.args(["-c", "printf %s \"$1\" | \"$2\" credential add echo-token --service echo", "sh", &canary.value()]);
        let _ = finish(add.arg(binary()), Duration::from_mins(1)).expect_success("credential add");
        let said = if command.len() == 3 { "revoked every version" } else { "revoked version 1" };
        cut_in(&house, (command, said, "502 credential_revoked"));
    }
}

#[test]
fn a_stop_is_lifted_by_operators_where_there_are_any() {
    let with = |operators: &str| {
        let config = format!("version: 1\n{operators}agents:\n  bot:\n    permissions: []\n");
        House::new(&config, &[])
    };
    let lift = |house: &House| house.valetkey(&["stop", "--agent", "bot", "--lift", "--reason", "a mistake"]);
    let stopped = |house: &House| {
        let shown = house.valetkey(&["stop", "--agent", "bot", "--json"]);
        assert!(shown.expect_success("stop").stdout.contains(r#""stopped":true"#));
    };
    let closed = with(&format!("operators: [{{ name: ada, token_hash: {}, roles: [approver] }}]\n", "0a".repeat(32)));
    {
        let _gateway = closed.serve();
        stopped(&closed);
        let refused = lift(&closed);
        assert_eq!(refused.code(), Some(3), "{refused:?}");
        for word in ["operator's token over TCP", "serve --api"] {
            assert!(refused.stderr.contains(word), "{}", refused.stderr);
        }
        let agent = closed.valetkey(&["audit", "search", "--json", "lifted"]);
        assert!(!agent.stdout.contains("lifted the stop"), "{}", agent.stdout);
    }
    let open = with("");
    {
        let _gateway = open.serve();
        stopped(&open);
        assert_eq!(lift(&open).expect_success("lift").stdout, "lifted the stop of agent bot\n");
        assert_eq!(lift(&open).stdout, "there was no stop of agent bot\n");
        stopped(&open);
    }
    // Nobody serves, so nobody is served: the home's owner decides.
    assert_eq!(lift(&open).expect_success("lift").stdout, "lifted the stop of agent bot\n");
}

#[test]
fn a_refusal_before_classification_says_what_was_asked() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let gateway = house.serve();
    let driver = Agent::of(&gateway, &house.session("tester"));
    let mut wire = driver.open().unwrap();
    assert_eq!(driver.ask(&mut wire, "GET", "/anything", "").unwrap().status, 200);
    let _ = house.valetkey(&["stop", "--agent", "tester"]).expect_success("stop");
    let _ = driver.until_refused(Duration::from_secs(5));
    // From here on nothing gets as far as an attempt.
    let answer = driver.ask(&mut wire, "GET", "/anything?last", "").unwrap();
    assert!([401, 403].contains(&answer.status), "{}", answer.status);
    drop(gateway);
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let events: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = |event: &&Value| event["kind"] == "refusal" && event["request"]["path"] == "/anything?last";
    let refused = events.iter().find(last).expect("a record that says what was asked");
    assert_eq!(refused["request"]["method"], "GET", "{refused}");
    assert_eq!(refused["request"]["host"], "kit.echo.test", "{refused}");
    house.assert_audit();
}
