//! Row J132: the clock is set a year ahead and a year back, while the gateway serves and between two runs of it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::audit::Log;
use e2e::{Gateway, House};
use testkit::{Answer, Upstream};

use crate::talk::{Agent, agent, echo_house};

/// Gives a program another wall time; durations stay as they are.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.exists());
    found
        .unwrap_or_else(|| panic!("libfaketime is missing; run `cargo xtask tools`, or install the package `faketime`"))
}

/// A hand on the gateway's clock.
pub struct Hand(PathBuf);

impl Hand {
    pub fn on(house: &House) -> Self {
        let hand = Self(house.path("time"));
        hand.set("+0");
        hand
    }

    /// Whole or not at all: the library reads it at any time.
    pub fn set(&self, offset: &str) {
        std::fs::write(self.0.with_extension("part"), format!("{offset}\n")).unwrap();
        std::fs::rename(self.0.with_extension("part"), &self.0).unwrap();
    }

    pub fn serve(&self, house: &House) -> Gateway {
        house.serve_with(&[
            ("LD_PRELOAD", library().to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.0.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ])
    }
}

const YEAR_AHEAD: &str = "+365d";
const YEAR_BACK: &str = "-365d";

/// Whether the gateway opens a tunnel for it: the token is alive. What is inside depends on the client's own time.
fn lives(driver: &Agent) -> bool {
    driver.tunnel(crate::talk::HOST).is_ok()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often the gateway said so; a moment has passed meanwhile, so that it is less than the year.
fn said(house: &House) -> usize {
    std::fs::read_to_string(house.path("serve.log")).unwrap().matches("the clock was set back by 364 d 23 h").count()
}

#[test]
fn what_was_over_does_not_live_again() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::body("text/plain", "ok"))).start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let hand = Hand::on(&house);
    let mut gateway = hand.serve(&house);
    let begin = |gateway: &Gateway| Agent::of(gateway, &house.session("tester"));
    let first = begin(&gateway);
    assert_eq!(first.get("/first"), 200);
    let mut before = 0;
    wait_until("the time is not remembered at all", || {
        before = remembered(&house);
        before > 0
    });

    // Ahead: what ends by time ends, and what begins there lives.
    hand.set(YEAR_AHEAD);
    wait_until("a session outlives its time", || !lives(&first));
    let ahead = begin(&gateway);
    wait_until("a session that began ahead is not served", || lives(&ahead));
    // The leaf that is made for it now must not be shown once the time is another.
    assert!(ahead.open().is_err(), "a certificate from next year");

    // And back: neither lives, though both would by their times; a new one does, with a leaf of its own time.
    hand.set("+0");
    wait_until("it is not told", || said(&house) == 1);
    assert!(!lives(&first), "what was over lives again");
    assert!(!lives(&ahead), "what began ahead lives for a year");
    let second = begin(&gateway);
    assert_eq!(second.get("/second"), 200);

    // Back by a year from the right time is no different.
    hand.set(YEAR_BACK);
    wait_until("it is not told again", || said(&house) == 2);
    assert!(!lives(&second));
    hand.set("+0");
    let third = begin(&gateway);
    wait_until("a session is not served after all", || third.get("/third") == 200);

    // The same while nobody looks: it is found when the home is opened.
    hand.set(YEAR_AHEAD);
    wait_until("a session outlives its time", || !lives(&third));
    let late = begin(&gateway);
    let days = 300 * 86_400 * 1_000_000;
    wait_until("the time is not remembered", || lives(&late) && remembered(&house) > before + days);
    gateway.process.kill();
    hand.set("+0");
    let gateway = hand.serve(&house);
    assert_eq!(said(&house), 1, "it is not told at the start");
    // Agents keep the port of the gateway that gave them their token.
    for (what, driver) in [("third", &third), ("late", &late), ("first", &first)] {
        assert!(!lives(&driver.at(&gateway)), "{what} lives again after a restart");
    }
    assert_eq!(begin(&gateway).get("/fourth"), 200);
    let log = Log::of(&house);
    assert_eq!(log.events("", "alert").count(), 3, "each time it was recorded");
    house.assert_audit();
}

/// The time that the home remembers, microseconds.
fn remembered(house: &House) -> i64 {
    let script = "import sqlite3, sys; db = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True); \
                  print(db.execute(\"SELECT value FROM meta WHERE key = 'clock'\").fetchone()[0])";
    let done = Command::new("python3").args(["-c", script]).arg(house.path("state/valetkey.db")).output();
    let done = done.unwrap_or_else(|error| panic!("python3 is needed, run `cargo xtask tools`: {error}"));
    String::from_utf8_lossy(&done.stdout).trim().parse().unwrap_or(0)
}
