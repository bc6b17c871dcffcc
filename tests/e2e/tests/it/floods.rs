//! Rows J118 and J120: what is refused ten thousand times costs little, slows nobody, and leaves a record that can be read.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::audit::Log;
use testkit::client::Wire;

use crate::hardening::{Stage, plain};
use crate::talk::{Agent, Held};

const BAD_TOKENS: usize = 10_000;
const CLIENTS: usize = 50;

/// Sends bad tokens; how many were answered.
fn guess(proxy: std::net::SocketAddr, client: usize) -> u64 {
    let (mut wire, mut refused) = (Wire::open(proxy).unwrap(), 0);
    for at in 0..BAD_TOKENS / CLIENTS {
        let line = format!("Proxy-Authorization: Bearer vkt_{client:04}{at:039}\r\n");
        match plain(&mut wire, &line).0 {
            407 => refused += 1,
            0 => wire = Wire::open(proxy).unwrap(),
            other => panic!("a bad token was answered {other}"),
        }
    }
    refused
}

/// Row J118: loopback has no exemption, and no lock-out that one agent could use against others. Ten thousand bad tokens
/// open nothing, leave memory flat and few records; a right one passes among them, known here or not.
#[test]
fn ten_thousand_bad_tokens_open_nothing() {
    let mut stage = Stage::set();
    let proxy = stage.gateway.proxy;
    // Begun by another process on the same home: this one has to look for its token.
    let other = Held::start(&stage.house, "a", "other");
    let token = other.env["HTTPS_PROXY"].rsplit_once('@').unwrap().0.rsplit_once(':').unwrap().1.to_owned();
    let mut refused = 0;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || guess(proxy, client))).collect();
        for round in 0..20 {
            assert_eq!(stage.bystander.get("/meanwhile"), 200);
            if round == 5 {
                let start = Instant::now();
                let (status, code) =
                    plain(&mut Wire::open(proxy).unwrap(), &format!("Proxy-Authorization: Bearer {token}\r\n"));
                assert!(status != 407 && status != 0 && code.as_deref() != Some("unidentified"), "{status} {code:?}");
                println!("a right token that was not known here: {:?}", start.elapsed());
            }
        }
        refused = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    });
    let _ = other.end();
    assert!(refused > BAD_TOKENS as u64 / 2, "{refused} of {BAD_TOKENS} were answered, the rest cut");
    let log = Log::once_refused(&stage.house, "", refused);
    let lines = log.count("", "refusal");
    println!("{} refusals in {lines} records", log.refused(""));
    assert!(log.refused("") >= refused && log.refused("") <= BAD_TOKENS as u64, "{} of {refused}", log.refused(""));
    assert!(lines < 1_000, "{lines}");
    stage.assert_sound("10,000 bad tokens");
}

/// So many refusals of one kind, and then some of others.
fn flood(driver: &Agent, each: usize) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut wire = driver.open().unwrap();
                for _ in 0..each {
                    assert_eq!(driver.ask(&mut wire, "DELETE", "/items/1", "").unwrap().status, 403);
                }
            });
        }
    });
}

/// Row J120: refusals evict nothing and fill nothing: what was there is there, the first of a kind are told one by one,
/// the rest is counted to the last, and what was allowed meanwhile is told in full.
#[test]
fn a_flood_of_refusals_evicts_nothing() {
    let mut stage = Stage::set();
    let first = stage.house.session("a");
    assert_eq!(Agent::of(&stage.gateway, &first).get("/evidence"), 200);
    let session = stage.house.session("a");
    let driver = Agent::of(&stage.gateway, &session);
    flood(&driver, 1_250);
    for at in 0..150 {
        assert_eq!(driver.get(&format!("/allowed/{at}")), 200);
    }
    let log = Log::once_refused(&stage.house, &session.id, 5_000);
    assert_eq!(log.refused(&session.id), 5_000);
    let lines = log.count(&session.id, "refusal");
    println!("5,000 refusals in {lines} records");
    assert!((100..1_000).contains(&lines), "{lines}");
    let counted = log.events(&session.id, "refusal").find(|event| event["repeated"].is_object()).unwrap();
    assert_eq!((counted["code"].as_str(), counted["agent"].as_str()), (Some("denied"), Some("a")), "{counted}");
    assert!(counted["reason"].as_str().unwrap().starts_with("the same again, "), "{counted}");
    // Never counted: what was allowed, before and meanwhile.
    assert!(log.events(&first.id, "attempt").any(|event| event["request"]["path"] == "/evidence"));
    assert_eq!((log.count(&first.id, "attempt"), log.count(&first.id, "outcome")), (1, 1));
    assert_eq!((log.count(&session.id, "attempt"), log.count(&session.id, "outcome")), (150, 150));
    stage.assert_sound("5,000 refusals");
    let told = stage.house.valetkey(&["audit", "search", "--session", &session.id, "--code", "denied", "-n", "1000"]);
    assert!(told.expect_success("audit search").stdout.contains("(the same again, "));
    let told = stage.house.valetkey(&["audit", "verify"]).expect_success("audit verify").stdout;
    assert!(told.contains(" refusals that were counted"), "{told}");
    // What waits to be written is written before the end.
    flood(&driver, 250);
    let id = stage.gateway.process.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    assert_eq!(stage.gateway.process.wait(Duration::from_secs(20)).and_then(|status| status.code()), Some(0));
    assert_eq!(Log::of(&stage.house).refused(&session.id), 6_000);
    stage.house.assert_audit();
}
