//! Killed at random points: every acknowledged record is there, the chain holds, nothing stays open.
//! And a disk that fills under a running process.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use audit::SyncPolicy;
use model::event::Kind;
use model::{Class, ExchangeId};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::support::{event, exchange, open, random, records, whole};

const ROUNDS: u64 = 50;

/// The child's half runs only where the parent has left this file.
const ORDERS: &str = "orders";

fn child(test: &str, dir: &Path, limit_blocks: Option<u64>) -> Child {
    let program = std::env::current_exe().unwrap();
    // Ignored signals stay ignored over exec: a write beyond the limit is an error then, not the end.
    let script = match limit_blocks {
        Some(blocks) => format!("trap '' XFSZ; ulimit -S -f {blocks}; exec \"$0\" \"$@\""),
        None => "exec \"$0\" \"$@\"".into(),
    };
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(program).args(["--exact", test, "--ignored", "--nocapture"]);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Orders: seed. Says `a N` when attempt N is acknowledged, `o N` for its outcome.
#[test]
#[ignore = "the child's half of `killed_at_random_points`"]
fn appender() {
    let Ok(seed) = std::fs::read_to_string(ORDERS) else { return };
    let seed: u64 = seed.trim().parse().unwrap();
    let log = open(Path::new("log"), seed);
    let lanes = [log.lane().unwrap(), log.lane().unwrap()];
    let mut out = std::io::stdout();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for number in seed * 1_000_000.. {
        let lane = &lanes[(number % 2) as usize];
        let class = Class::ALL[(number % 5) as usize];
        let at = lane.append(&event(Kind::Attempt, number)).unwrap();
        if SyncPolicy::Changes.needs_sync(class) && number % 7 == 0 {
            runtime.block_on(lane.synced(at)).unwrap();
        }
        out.write_all(format!("a {number}\n").as_bytes()).unwrap();
        if number % 3 != 0 {
            lane.append(&event(Kind::Outcome, number)).unwrap();
            out.write_all(format!("o {number}\n").as_bytes()).unwrap();
        }
        if number % 50 == 0 {
            log.checkpoint().unwrap();
        }
    }
}

#[test]
fn killed_at_random_points() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let random = random(51);
    let (mut attempts, mut outcomes) = (HashSet::<ExchangeId>::new(), HashSet::new());
    for round in 1..=ROUNDS {
        std::fs::write(home.path().join(ORDERS), round.to_string()).unwrap();
        let mut killed = child("crash::appender", home.path(), None);
        let mut said = BufReader::new(killed.stdout.take().unwrap());
        let mut line = String::new();
        // From the first acknowledgement on, so that a slow machine is not killed before it begins.
        while !line.contains("a ") && said.read_line(&mut line).unwrap() > 0 {}
        std::thread::sleep(Duration::from_micros(random.below(25_000)));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let rest: Vec<String> = said.lines().map_while(Result::ok).collect();
        for word in line.lines().chain(rest.iter().map(String::as_str)) {
            // The harness may have put its own words before ours on the first line.
            let mut parts = word.rsplit(' ');
            let (Some(number), Some(kind)) = (parts.next().and_then(|it| it.parse().ok()), parts.next()) else {
                continue;
            };
            if kind.ends_with('a') {
                attempts.insert(exchange(number))
            } else {
                outcomes.insert(exchange(number))
            };
        }
    }
    let log = open(&dir, 999);
    log.recovery().unwrap();
    log.close().unwrap();
    assert!(attempts.len() as u64 > ROUNDS, "the children did something: {}", attempts.len());
    let report = whole(&dir, None);
    assert!(report.open.is_empty(), "{:?}", report.open);
    let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
    for record in records(&dir) {
        let Some(exchange) = record.event.exchange else { continue };
        let first = match record.event.kind {
            Kind::Attempt => begun.insert(exchange),
            Kind::Outcome => {
                outcomes.remove(&exchange);
                ended.insert(exchange)
            }
            _ => ended.insert(exchange),
        };
        assert!(first, "twice: {exchange}");
    }
    assert!(attempts.is_subset(&begun), "acknowledged attempts are missing");
    assert!(outcomes.is_empty(), "acknowledged outcomes are missing: {outcomes:?}");
    assert_eq!(begun, ended, "every attempt has one end");
}

#[test]
#[ignore = "the child's half of `a_full_disk_heals_by_itself`"]
fn filler() {
    if std::fs::read_to_string(ORDERS).is_err() {
        return;
    }
    let log = open(Path::new("log"), 61);
    let lane = log.lane().unwrap();
    let mut number = 0;
    while lane.append(&event(Kind::Attempt, number)).is_ok() {
        number += 1;
        assert!(number < 10_000, "the limit never bit");
    }
    assert!(lane.append(&event(Kind::Outcome, 0)).is_err(), "an outcome cannot be written either");
    setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    let began = Instant::now();
    while lane.append(&event(Kind::Attempt, 20_000)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(2), "did not heal");
        std::thread::sleep(Duration::from_millis(20));
    }
    log.close().unwrap();
    println!("healed after {number}");
}

#[test]
fn a_full_disk_heals_by_itself() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(ORDERS), "go").unwrap();
    let output = child("crash::filler", home.path(), Some(64)).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let number: u64 = said.split("healed after ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let dir = home.path().join("log");
    let found = records(&dir);
    assert!(found.iter().any(|record| record.event.kind == Kind::Outcome), "the outcome that was owed");
    // All attempts that were acknowledged, the one after, one outcome, and an abandoned one for each other.
    assert_eq!(whole(&dir, None).records, number + 1 + 1 + number);
}
