//! What holds when things go wrong: the power fails, the disk is full, the configuration or the key is wrong, the process is
//! told to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::binary;
use serde_json::Value;
use testkit::process::{Finished, Running, finish};
use testkit::{Answer, Upstream};

use crate::talk::{Agent, Seeded, agent, echo_house};

const PATIENCE: Duration = Duration::from_mins(1);

/// One life of a gateway: four agents ask until it is killed.
struct Life {
    session: String,
    answered: BTreeSet<String>,
    arrived: BTreeSet<String>,
}

fn live(house: &House, upstream: &Upstream, secret: &str, (round, seeded): (usize, &mut Seeded)) -> Life {
    let mut gateway = house.serve();
    let session = house.session("tester");
    let driver = Agent::of(&gateway, &session);
    let answered = Arc::new(Mutex::new(BTreeSet::new()));
    let count = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (driver, answered, count) = (driver.clone(), Arc::clone(&answered), Arc::clone(&count));
            thread::spawn(move || {
                let Ok(mut wire) = driver.open() else { return };
                for at in 0.. {
                    let path = format!("/r{round}/t{number}/n{at}");
                    // A write is synced before it leaves, a read only written: both must be there after the kill.
                    let (method, body) = if at % 4 == 3 { ("POST", "{}") } else { ("GET", "") };
                    let Ok(answer) = driver.ask(&mut wire, method, &path, body) else { return };
                    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                    answered.lock().unwrap().insert(path);
                    count.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let (calls, pause) = (20 + seeded.below(361) as usize, Duration::from_micros(seeded.below(3000)));
    let start = Instant::now();
    while count.load(Ordering::SeqCst) < calls {
        assert!(start.elapsed() < PATIENCE, "round {round}: {} of {calls} calls", count.load(Ordering::SeqCst));
        thread::sleep(Duration::from_micros(100));
    }
    thread::sleep(pause);
    gateway.process.kill();
    for thread in threads {
        thread.join().unwrap();
    }
    let arrived = upstream.journal().take();
    let arrived = arrived.iter().filter(|seen| seen.count(secret) > 0).map(|seen| seen.path().to_owned()).collect();
    Life { session: session.id, answered: std::mem::take(&mut *answered.lock().unwrap()), arrived }
}

/// What must be on record of a life once the home was opened again.
fn judge(house: &House, life: &Life) -> Vec<String> {
    let found = house.valetkey(&["audit", "search", "--session", &life.session, "--json"]).expect_success("search");
    let mut attempts = BTreeMap::new();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for line in found.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let exchange = event["exchange"].as_str().unwrap_or_default().to_owned();
        match event["kind"].as_str() {
            Some("attempt") => {
                let path = event["request"]["path"].as_str().unwrap_or_default().to_owned();
                attempts.insert(path, exchange);
            }
            Some("outcome" | "abandoned") => *ends.entry(exchange).or_default() += 1,
            _ => {}
        }
    }
    let ends_of = |path: &String| attempts.get(path).and_then(|exchange| ends.get(exchange)).copied().unwrap_or(0);
    let unended =
        life.answered.iter().filter(|path| ends_of(path) != 1).map(|path| format!("{path}: answered, no end"));
    let unseen = life.arrived.iter().filter(|path| !attempts.contains_key(*path));
    let open = attempts.keys().filter(|path| ends_of(path) != 1).map(|path| format!("{path}: an attempt without end"));
    unended.chain(open).chain(unseen.map(|path| format!("{path}: injected, no attempt"))).collect()
}

/// Kills the gateway in the middle of its work, again and again on the same home.
fn kill(rounds: usize, calls: usize) {
    let upstream = Upstream::builder().handler(|_| Some(Answer::body("text/plain", "ok"))).start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let mut seeded = Seeded(0x5eed_cafe);
    let (mut round, mut made, mut sent) = (0, 0, 0);
    let start = Instant::now();
    while round < rounds || made < calls {
        round += 1;
        let life = live(&house, &upstream, &canary.value(), (round, &mut seeded));
        made += life.answered.len();
        sent += life.arrived.len();
        // Opening the home is what recovers it.
        drop(house.serve());
        let wrong = judge(&house, &life);
        assert!(wrong.is_empty(), "round {round}: {wrong:#?}");
        let _ = house.valetkey(&["audit", "verify"]).expect_success("audit verify");
    }
    println!("{round} rounds, {made} calls answered, {sent} injected, {:?}", start.elapsed());
    house.assert_audit();
}

/// At random points under load; `--nocapture` shows the figures.
#[test]
fn kill_fifty_times_in_ten_thousand_calls() {
    kill(50, 10_000);
}

/// What went wrong, said in full: what, why, and what to do; and nothing of the value of a secret.
fn assert_told(what: &str, finished: &Finished, code: i32, words: &[&str]) {
    println!("{what}: {:?} {}", finished.code(), [finished.stdout.trim(), finished.stderr.trim()].concat());
    assert_eq!(finished.code(), Some(code), "{what}: {}\n{}", finished.stdout, finished.stderr);
    // `policy check` is about its findings, so they are its output; everything else complains on standard error.
    let told = if what == "policy check" { &finished.stdout } else { &finished.stderr };
    for word in words {
        assert!(told.contains(word), "{what}: no `{word}` in: {told}");
    }
    assert!(!finished.stderr.contains("panicked"), "{what}: {}", finished.stderr);
}

fn serve(house: &House, more: &[&str]) -> Finished {
    let mut command = house.clean(binary());
    command.arg("serve").arg("--config").arg(house.config()).args(more);
    finish(&mut command, PATIENCE)
}

fn run(house: &House, words: &[&str]) -> Finished {
    let mut command = house.clean(binary());
    command.arg("run").arg("--config").arg(house.config()).args(["--agent", "tester", "--"]).args(words);
    finish(&mut command, PATIENCE)
}

const ANY: [&str; 4] = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];

#[test]
fn a_wrong_configuration_is_named_with_its_place() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let good = std::fs::read_to_string(house.config()).unwrap();
    let faults = [
        (good.replace("endpoints:", "endpoint:"), ["valetkey.yaml:11:", "endpoint", "endpoints"]),
        (good.replace("service: echo\n", "service: ecoh\n"), ["valetkey.yaml:8:", "ecoh", "echo"]),
        (good.replace("version: 1", "version: 1\nagents: [}"), ["valetkey.yaml:2:", "valetkey.yaml", ""]),
    ];
    for (text, words) in faults {
        std::fs::write(house.config(), &text).unwrap();
        let config = house.config().display().to_string();
        assert_told("policy check", &house.valetkey(&["policy", "check", &config]), 1, &words[..1]);
        assert_told("serve", &serve(&house, &ANY), 3, &words);
        assert_told("run", &run(&house, &["true"]), 125, &words);
    }
    std::fs::remove_file(house.config()).unwrap();
    assert_told("serve without a file", &serve(&house, &ANY), 3, &["valetkey.yaml"]);
    assert_told("wrong use", &serve(&house, &["--no-such-flag"]), 2, &["--no-such-flag"]);
}

#[test]
fn a_missing_ca_file_is_named() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let ca = upstream.ca_file();
    std::fs::remove_file(&ca).unwrap();
    let path = ca.display().to_string();
    assert_told("serve", &serve(&house, &ANY), 3, &[&path, "does not exist"]);
    assert_told("run", &run(&house, &["true"]), 125, &[&path, "does not exist"]);
    std::fs::write(&ca, "not a certificate").unwrap();
    assert_told("not PEM", &serve(&house, &ANY), 3, &[&path]);
}

#[test]
fn a_busy_port_is_named() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = serve(&house, &["--listen", &address, "--api", "127.0.0.1:0"]);
    assert_told("--listen", &told, 3, &[&address, "--listen"]);
    let told = serve(&house, &["--listen", "127.0.0.1:0", "--api", &address]);
    assert_told("--api", &told, 3, &[&address, "--api"]);
    let gateway = house.serve();
    assert_told("a second serve", &serve(&house, &ANY), 3, &["another `valetkey serve`", "VALETKEY_HOME"]);
    // The first one serves on.
    assert_eq!(Agent::of(&gateway, &house.session("tester")).get("/json"), 200);
}

#[test]
fn a_command_that_cannot_run_has_the_code_of_shells() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    std::fs::write(house.path("plain.txt"), "no program").unwrap();
    assert_told("not found", &run(&house, &["no-such-program"]), 127, &["no-such-program", "not found"]);
    assert_told("not executable", &run(&house, &["./plain.txt"]), 126, &["./plain.txt"]);
    assert_eq!(run(&house, &["sh", "-c", "exit 7"]).code(), Some(7));
    assert_eq!(run(&house, &["sh", "-c", "kill -15 $$"]).code(), Some(143));
    house.assert_audit();
}

/// `credential add` takes the value on standard input.
fn add(house: &House, name: &str, value: &str, passphrase: &Path) -> Finished {
    let mut command = house.clean(Path::new("/bin/sh"));
    command.args(["-c", "printf %s \"$1\" | \"$2\" credential add \"$3\" --service echo", "sh", value]);
    command.arg(binary()).arg(name).env("VALETKEY_PASSPHRASE_FILE", passphrase);
    finish(&mut command, PATIENCE)
}

fn list(house: &House, passphrase: &Path) -> Finished {
    let mut command = house.clean(binary());
    finish(command.args(["credential", "list", "--json"]).env("VALETKEY_PASSPHRASE_FILE", passphrase), PATIENCE)
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_breaks_nothing() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let (right, wrong) = (house.path("right"), house.path("wrong"));
    std::fs::write(&right, "correct horse battery staple\n").unwrap();
    std::fs::write(&wrong, "incorrect horse battery staple\n").unwrap();
    for file in [&right, &wrong] {
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let added = add(&house, "kept", &canary.value(), &right).expect_success("credential add");
    house.assert_clean("what `credential add` printed", &(added.stdout + &added.stderr));
    let told = add(&house, "other", "tok_other_value_that_is_long_enough", &wrong);
    assert_told("a wrong passphrase", &told, 3, &["passphrase"]);
    let gone = house.path("gone");
    assert_told("no passphrase file", &add(&house, "other", "x", &gone), 3, &["gone"]);
    let listed = list(&house, &right).expect_success("credential list");
    assert!(listed.stdout.contains("kept") && !listed.stdout.contains("other"), "{}", listed.stdout);
}

#[test]
fn a_corrupt_vault_is_refused_and_left_as_it_is() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let pass = house.path("pass");
    std::fs::write(&pass, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&pass, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let _ = add(&house, "kept", &canary.value(), &pass).expect_success("credential add");
    let database = house.path("state/valetkey.db");
    let whole = std::fs::read(&database).unwrap();
    for (what, from, to) in [("head", 0, 16), ("every page", 100, whole.len())] {
        let mut broken = whole.clone();
        broken[from..to].iter_mut().for_each(|octet| *octet ^= 0x5a);
        std::fs::write(&database, &broken).unwrap();
        let _ = std::fs::remove_file(house.path("state/valetkey.db-wal"));
        let _ = std::fs::remove_file(house.path("state/valetkey.db-shm"));
        assert_told(what, &list(&house, &pass), 3, &["valetkey.db"]);
        assert_told(what, &serve(&house, &ANY), 3, &["valetkey.db"]);
        assert_eq!(std::fs::read(&database).unwrap(), broken, "{what}: the file was changed");
    }
    std::fs::write(&database, &whole).unwrap();
    let listed = list(&house, &pass).expect_success("credential list");
    assert!(listed.stdout.contains("kept"), "{}", listed.stdout);
}

/// Row J140: a program that is older than the store refuses it, says so, and leaves it as it is for the newer one.
#[test]
fn a_store_of_a_newer_program_is_refused() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    assert_eq!(run(&house, &["true"]).code(), Some(0));
    let database = house.path("state/valetkey.db");
    let edit = |sql: &str| {
        let script =
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute(sys.argv[2]); db.commit(); db.close()";
        let done = Command::new("python3").args(["-c", script]).arg(&database).arg(sql).status();
        assert!(done.is_ok_and(|status| status.success()), "python3 with sqlite3 is needed: `cargo xtask tools`");
    };
    edit("INSERT INTO migrations VALUES ('*', 99, 'of next year', 0)");
    let before = std::fs::read(&database).unwrap();
    let words = ["valetkey.db", "version 99", "use a newer program or an older backup"];
    assert_told("serve", &serve(&house, &ANY), 3, &words);
    assert_told("run", &run(&house, &["true"]), 125, &words);
    assert_told("credential list", &house.valetkey(&["credential", "list"]), 3, &words);
    assert_eq!(std::fs::read(&database).unwrap(), before, "the file was changed");
    edit("DELETE FROM migrations WHERE number = 99");
    assert_eq!(run(&house, &["true"]).code(), Some(0));
    house.assert_audit();
}

/// Asks until nothing can be recorded any more, looks at what can still be read, makes room, and asks again.
const FILL: &str = r#"
ask() { curl -sS -m 20 -o answer -w '%{http_code}' -H "Authorization: Bearer $ECHO_TOKEN" "https://kit.echo.test/$1"; }
reads() { for words in "audit search" "audit export --json" "audit verify" "session list" "credential list"; do
  env -u HTTPS_PROXY "$BINARY" $words > read 2>&1 && echo "reads $words" || { echo "FAILS $words"; cat read; }; done; }
echo "before $(ask before)"
for round in 1 2; do
  cat /dev/zero > "$VALETKEY_HOME/filler" 2>/dev/null
  for n in $(seq 200); do
    status=$(ask "full/$round/$n"); echo "full/$round/$n $status $(cat answer)"
    [ "$status" = 503 ] && break
  done
  reads
  rm "$VALETKEY_HOME/filler"
  echo "after $(ask after/$round)"
done
"#;

/// Row J134: a disk that is full lets nothing new out, can still be read, and is as good as before once there is room.
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::body("text/plain", "ok"))).start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    std::fs::write(house.path("fill.sh"), FILL).unwrap();
    std::fs::create_dir(house.path("state")).unwrap();
    // A mount of its own, seen by this command alone, gone with it.
    let script = "mount -t tmpfs -o size=2m,mode=0700 none \"$VALETKEY_HOME\" && \
                  \"$1\" run --isolate=off --config valetkey.yaml --agent tester -- \
                  env BINARY=\"$1\" VALETKEY_HOME=\"$VALETKEY_HOME\" sh fill.sh && \
                  echo verified && \"$1\" audit verify && \"$1\" audit export --json > export.json";
    let mut command = house.clean(Path::new("/usr/bin/unshare"));
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(binary());
    let told = finish(&mut command, PATIENCE).expect_success("the agent on a full disk (user namespaces are needed)");
    println!("{}{}", told.stdout, told.stderr);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!(lines[0], "before 200", "{}", told.stdout);
    let refused = lines.iter().filter(|line| line.contains(" 503 ") && line.contains("audit_unavailable"));
    assert_eq!(refused.count(), 2, "{}", told.stdout);
    assert_eq!(lines.iter().filter(|line| **line == "after 200").count(), 2, "{}", told.stdout);
    assert_eq!(lines.iter().filter(|line| line.starts_with("reads ")).count(), 10, "{}", told.stdout);
    let export = std::fs::read_to_string(house.path("export.json")).unwrap();
    assert_recorded(&upstream, &export);
}

/// What reached the upstream has an attempt and an end.
fn assert_recorded(upstream: &Upstream, export: &str) {
    let events: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for seen in upstream.journal().take() {
        let attempt = events.iter().find(|event| event["kind"] == "attempt" && event["request"]["path"] == seen.path());
        let attempt = attempt.unwrap_or_else(|| panic!("{} was sent without a record", seen.path()));
        let ends = events.iter().filter(|event| {
            event["exchange"] == attempt["exchange"] && (event["kind"] == "outcome" || event["kind"] == "abandoned")
        });
        assert_eq!(ends.count(), 1, "{}", seen.path());
    }
}

#[test]
fn a_file_that_may_not_grow() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    // 8 KiB for each file: a database of this size cannot be made.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$1\" run --config valetkey.yaml --agent tester -- true";
    let mut command = house.clean(Path::new("/bin/sh"));
    command.args(["-c", script, "sh"]).arg(binary());
    let told = finish(&mut command, PATIENCE);
    assert_told("no room for the home", &told, 125, &["valetkey.db"]);
    // With room again the same home is fine.
    assert_eq!(run(&house, &["true"]).code(), Some(0));
    house.assert_audit();
}

fn signal(process: &Running, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_drain_finishes_what_is_under_way_and_refuses_what_is_new() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let mut gateway = house.serve();
    let driver = Agent::of(&gateway, &house.session("tester"));
    let mut idle = driver.open().unwrap();
    assert_eq!(driver.ask(&mut idle, "GET", "/json", "").unwrap().status, 200);
    let slow = {
        let driver = driver.clone();
        thread::spawn(move || {
            let mut wire = driver.open().unwrap();
            driver.ask(&mut wire, "GET", "/slow/1500", "").unwrap()
        })
    };
    wait_until(|| upstream.journal().len() == 2);
    signal(&gateway.process, "TERM");
    wait_until(|| std::fs::read_to_string(house.path("serve.log")).is_ok_and(|log| log.contains("stopping")));
    // On a connection that is open and on a new one: refused, or nobody there; nothing is sent any more.
    let statuses = [driver.ask(&mut idle, "GET", "/late", "").map_or(0, |answer| answer.status), driver.get("/late")];
    assert!(statuses.iter().all(|status| [0, 503].contains(status)), "{statuses:?}");
    let answer = slow.join().unwrap();
    assert_eq!(answer.status, 200);
    let ended = gateway.process.wait(Duration::from_secs(10)).expect("it does not end");
    assert_eq!(ended.code(), Some(0));
    let paths: Vec<String> = upstream.journal().all().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(paths, ["/json", "/slow/1500"]);
    assert!(!house.path("state/api.sock").exists());
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("export").stdout;
    assert_recorded(&upstream, &export);
    house.assert_audit();
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM")] {
        let upstream = Upstream::start();
        let (house, _) = echo_house(&upstream, &agent("tester", ""));
        let mut gateway = house.serve();
        let driver = Agent::of(&gateway, &house.session("tester"));
        let slow = thread::spawn(move || driver.get("/slow/20000"));
        wait_until(|| upstream.journal().len() == 1);
        signal(&gateway.process, first);
        wait_until(|| std::fs::read_to_string(house.path("serve.log")).is_ok_and(|log| log.contains("stopping")));
        let asked = Instant::now();
        signal(&gateway.process, second);
        let ended = gateway.process.wait(Duration::from_secs(10)).expect("it does not end");
        println!("{first}, {second}: ended {:?} after the second, {ended:?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        let _ = slow.join().unwrap();
        // Opening the home again says what became of the exchange.
        drop(house.serve());
        let export = house.valetkey(&["audit", "export", "--json"]).expect_success("export").stdout;
        assert_recorded(&upstream, &export);
        house.assert_audit();
    }
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not come about");
        thread::sleep(Duration::from_millis(5));
    }
}
