//! Bodies that are too large to be held in memory wait for a person in a sealed file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use e2e::house::{Gateway, Session};
use serde_json::Value;
use testkit::process::finish;

use crate::approvals::Office;

const PATIENCE: Duration = Duration::from_mins(1);
const ASSET: &str = "https://uploads.github.com/repos/acme/widget/releases/1/assets?name=a.bin";
const MIB: usize = 1024 * 1024;

impl Office {
    /// A file of so many MiB; its lines say which they are.
    fn asset(&self, mebibytes: usize) -> PathBuf {
        let mut text = Vec::with_capacity(mebibytes * MIB + 64);
        let mut line = 0u32;
        while text.len() < mebibytes * MIB {
            text.extend_from_slice(format!("the agent's own words, line {line}\n").as_bytes());
            line += 1;
        }
        text.truncate(mebibytes * MIB);
        std::fs::write(self.house.path("asset"), text).unwrap();
        self.house.path("asset")
    }

    /// The agent's client uploads a file.
    fn uploads(&self, at: (&Gateway, &Session), file: &Path, more: &[&str]) -> (u16, Value) {
        let (gateway, session) = at;
        let ca = self.house.path("ca.pem");
        std::fs::write(&ca, &session.ca).unwrap();
        let mut command = self.house.clean(Path::new("curl"));
        command
            .args(["-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/octet-stream", "--cacert"])
            .arg(ca);
        command.arg("-H").arg(format!("Authorization: Bearer {}", session.env["GITHUB_TOKEN"])).args(more);
        command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("tester:{}", session.token)]);
        command.args(["--data-binary", &format!("@{}", file.display()), ASSET]);
        let done = finish(&mut command, Duration::from_mins(5));
        let (body, status) = done.stdout.rsplit_once('\n').unwrap_or_default();
        (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or_default())
    }

    /// The question that comes when all of a large body has, unless the upload has ended by itself.
    fn question_of_an_upload(&self, waits: &ScopedJoinHandle<'_, (u16, Value)>) -> Value {
        for _ in 0..600 {
            if let Some(one) = self.listed().pop() {
                return one;
            }
            assert!(!waits.is_finished(), "nobody was asked");
            std::thread::sleep(Duration::from_millis(300));
        }
        panic!("nobody asked: {}", std::fs::read_to_string(self.house.path("serve.log")).unwrap_or_default());
    }

    /// Files of the state folder that hold this text, and all that are there for large bodies.
    fn at_rest(&self, text: &str) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut holding, mut spools) = (Vec::new(), Vec::new());
        let mut folders = vec![self.house.path("state")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                    continue;
                }
                let octets = std::fs::read(&entry).unwrap_or_default();
                if octets.windows(text.len()).any(|window| window == text.as_bytes()) {
                    holding.push(entry.clone());
                }
                if entry.file_name().unwrap().to_string_lossy().starts_with("spool") {
                    spools.push(entry);
                }
            }
        }
        (holding, spools)
    }
}

/// The most memory that a process had, KiB.
fn peak(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_large_body_waits_sealed_and_arrives_as_it_was() {
    let office = Office::open();
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let at = (&gateway, &session);
    assert_eq!(office.asks(at, "one", &["-H", "Prefer: wait=0"]).1, 409);
    let first = office.question()["id"].as_str().unwrap().to_owned();
    let _ = office.types(&["deny", &first]).expect_success("deny");
    let asset = office.asset(100);
    let hash = finish(Command::new("sha256sum").arg(&asset), PATIENCE).expect_success("a hash");
    let before = peak(&gateway);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| office.uploads(at, &asset, &[]));
        let question = office.question_of_an_upload(&waits);
        let id = question["id"].as_str().unwrap();
        assert_eq!(question["body_hash"].as_str(), Some(&hash.stdout[..64]));
        let shown = office.types(&["approvals", "show", id, "--json"]).expect_success("show").stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!((shown["body"]["bytes"].as_u64(), shown["body"]["whole"].as_bool()), (Some(100 << 20), Some(false)));
        assert!(shown["body"]["text"].as_str().unwrap().starts_with("the agent's own words, line 0"), "{shown}");
        assert_eq!(office.at_rest("the agent's own words, line 17"), (vec![], vec![]));
        assert_eq!(office.sent().len(), 0);
        let _ = office.types(&["approve", id, "--token-file", "token"]).expect_success("approve");
        assert_eq!(waits.join().unwrap().0, 200);
    });
    let seen = office.upstream.journal().all().pop().unwrap();
    assert_eq!((seen.body_bytes, &*seen.body_sha256), (100 << 20, &hash.stdout[..64]), "the very octets");
    assert_eq!(seen.value("authorization"), format!("Bearer {}", office.token.value()));
    let grown = (peak(&gateway) - before) / 1024;
    assert!(grown < 24, "the gateway grew by {grown} MiB for a body of 100");
    println!("the gateway grew by {grown} MiB for a body of 100");
    let records = office.types(&["audit", "export", "--json"]).expect_success("export").stdout;
    assert!(records.contains(&hash.stdout[..64]), "its digest is on record");
    office.house.assert_audit();
}

#[test]
fn a_large_body_that_is_denied_or_holds_a_secret_leaves_nothing() {
    let office = Office::open();
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let at = (&gateway, &session);
    let asset = office.asset(20);
    std::thread::scope(|scope| {
        // In chunks of no stated length: what is held in memory first goes to the file too.
        let waits = scope.spawn(|| office.uploads(at, &asset, &["--http1.1", "-H", "Transfer-Encoding: chunked"]));
        let id = office.question_of_an_upload(&waits)["id"].as_str().unwrap().to_owned();
        let _ = office.types(&["deny", &id, "--reason", "too much"]).expect_success("deny");
        let (status, said) = waits.join().unwrap();
        assert_eq!((status, said["code"].as_str()), (403, Some("approval_denied")), "{said}");
    });
    assert_eq!(office.at_rest("the agent's own words, line 17"), (vec![], vec![]));
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.process.id()));
    let open = open.map(|all| all.flatten().filter_map(|one| std::fs::read_link(one.path()).ok()).collect::<Vec<_>>());
    if let Ok(open) = open {
        assert!(!open.iter().any(|path| path.to_string_lossy().contains("spool")), "{open:?}");
    }
    // The real secret far behind what is held in memory.
    let mut octets = std::fs::read(&asset).unwrap();
    let token = office.token.value();
    octets[15 * MIB..15 * MIB + token.len()].copy_from_slice(token.as_bytes());
    std::fs::write(&asset, octets).unwrap();
    let (_, said) = office.uploads(at, &asset, &[]);
    assert_eq!(said["code"].as_str(), Some("secret_in_request"), "{said}");
    // More than anybody is asked about.
    std::fs::File::create(&asset).unwrap().set_len((257 * MIB) as u64).unwrap();
    let (_, said) = office.uploads(at, &asset, &[]);
    assert_eq!(said["code"].as_str(), Some("too_large"), "{said}");
    assert_eq!((office.listed().len(), office.sent().len()), (0, 0));
    office.house.assert_audit();
}
