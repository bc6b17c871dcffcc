//! What the tests share: a clock that moves by itself, seeded randomness, events with everything in them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use audit::{Lane, Log, Options, Report, Signer, Verified, verify};
use model::event::{CredentialUse, Kind, RequestRecord, ResponseRecord, Verdict};
use model::time::{Clock, Random};
use model::{
    ActionId, AgentName, Call, Class, CredentialName, Digest, Effects, Event, EventId, ExchangeId, Fact, Facts,
    Resource, ServiceName, SessionId, Tenant, Timestamp,
};

pub const SEED: [u8; 32] = [7; 32];

pub struct Ticking(pub AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.fetch_add(17, Ordering::Relaxed))
    }
}

/// A Weyl sequence, mixed (SplitMix64).
pub struct Seeded(pub AtomicU64);

impl Seeded {
    pub fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl Random for Seeded {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

pub fn clock() -> Arc<Ticking> {
    Arc::new(Ticking(AtomicI64::new(1_795_199_927_000_000)))
}

pub fn random(seed: u64) -> Arc<Seeded> {
    Arc::new(Seeded(AtomicU64::new(seed)))
}

pub fn signer() -> Signer {
    Signer::from_seed(&SEED).unwrap()
}

pub fn key() -> [u8; 32] {
    signer().public()
}

pub fn options(seed: u64) -> Options {
    Options {
        node: "test".into(),
        signer: signer(),
        clock: clock(),
        random: random(seed),
        disk: Arc::new(audit::disk::RealDisk),
        segment_bytes: model::bounds::SEGMENT_BYTES_MAX,
    }
}

pub fn open(dir: &Path, seed: u64) -> Log {
    Log::open(dir, "test", signer(), clock(), random(seed)).unwrap()
}

pub fn exchange(number: u64) -> ExchangeId {
    ExchangeId::from_bits(u128::from(number))
}

pub fn event(kind: Kind, number: u64) -> Event {
    let time = Timestamp(1_795_199_927_000_000 + number as i64 * 1_000);
    let mut event = Event::new(EventId::from_bits(u128::from(number) << 8 | kind as u128), time, kind, Tenant::local());
    let mut facts = Facts::default();
    facts.add("path.owner".into(), Fact::Text("myorg".into()));
    event.agent = Some(AgentName::new("refactoring-bot").unwrap());
    event.session = Some(SessionId::from_bits(5));
    event.exchange = Some(exchange(number));
    event.service = Some(ServiceName::new("github").unwrap());
    event.calls = vec![Call {
        action: ActionId::new("pulls/create").unwrap(),
        class: Class::Write,
        effects: Effects::NONE,
        resource: Resource::new("repo:myorg/myrepo"),
        facts,
    }];
    event.credential = Some(CredentialUse { name: CredentialName::new("github-token").unwrap(), version: 3 });
    event.decision = Some(Verdict::Allow);
    event.rules = vec!["refactoring-bot/1".into()];
    event.request = Some(RequestRecord {
        method: "POST".into(),
        host: "api.github.com".into(),
        path: format!("/repos/myorg/myrepo/pulls?n={number}").into(),
        digest: Some(Digest([9; 32])),
        body_hash: Some(Digest([3; 32])),
        bytes: 120,
        source: "127.0.0.1".into(),
    });
    if kind == Kind::Outcome {
        let made = serde_json::json!({"pr_number": number}).as_object().cloned();
        event.response = Some(ResponseRecord { status: 201, bytes: 900, made, ..ResponseRecord::default() });
        event.duration_us = Some(12_600);
    }
    event
}

/// An attempt and its outcome.
pub fn exchange_on(lane: &Lane, number: u64) {
    lane.append(&event(Kind::Attempt, number)).unwrap();
    lane.append(&event(Kind::Outcome, number)).unwrap();
}

pub fn whole(dir: &Path, head: Option<&str>) -> Report {
    match verify(dir, &key(), head).unwrap() {
        Verified::Whole(report) => report,
        Verified::Broken(fault) => panic!("{fault}"),
    }
}

pub fn fault(dir: &Path, head: Option<&str>) -> Option<audit::Fault> {
    match verify(dir, &key(), head).unwrap() {
        Verified::Whole(_) => None,
        Verified::Broken(fault) => Some(fault),
    }
}

/// A copy of a log as a killed process would leave it: the locks of the copy are free.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file of the log that holds octets.
pub fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.metadata().unwrap().len() > 0 {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// The segment files of the log.
pub fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    files(dir)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "log") && path.parent() != Some(dir))
        .collect()
}

/// All records, in order.
pub fn records(dir: &Path) -> Vec<audit::Record> {
    audit::merge::Merge::open(dir).unwrap().map(|line| audit::read_line(&line.unwrap()).unwrap()).collect()
}
