//! Rotation with a service that takes what it made and nothing else: under load, by schedule, by hand, and back.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::binary;
use serde_json::{Value, json};
use testkit::Upstream;
use testkit::upstream::Answer;

use crate::talk::{Agent, HOST};

/// Rotations while requests are on their way.
const ROTATIONS: u64 = 10;
/// Requests a second, of all threads.
const RATE: u64 = 200;
const THREADS: u64 = 8;

const SERVICE: &str = "name: keyed\ntitle: Keyed\nhosts: [kit.echo.test]\nschemes: [{ bearer: {} }]\nenvironment: [ECHO_TOKEN]\ncheck: GET /me\n\
                       actions: [{ id: things/list, class: read, match: GET /things }, { id: never/get, class: read, match: GET /never }, { id: me/get, class: read, match: GET /me }]\n";

/// Keeps the tokens that are good in a file, a line each. Called for every step, with what it is about on standard input.
const PROGRAM: &str = r"
import json, os, sys
step, turn = sys.argv[1], json.load(sys.stdin)
lines = open('good').read().split()
def keep(lines):
    with open('good.new', 'w') as out:
        out.write('\n'.join(lines))
    os.replace('good.new', 'good')
if step == 'make':
    value = 'kt_' + turn['ticket']
    keep(lines + [value])
    print(json.dumps({'value': value}))
elif step == 'verify':
    sys.exit(2)
else:
    keep(line for line in lines if line != turn['old']['value'])
";

/// A service and a home whose credential it takes.
struct Scene {
    house: House,
    upstream: Upstream,
    good: PathBuf,
}

fn first() -> String {
    ["kt_", "first"].concat()
}

impl Scene {
    fn new(rotate: &str) -> Self {
        let good = Arc::new(OnceLock::<PathBuf>::new());
        let known = Arc::clone(&good);
        let upstream = Upstream::builder().handler(move |seen| {
            let good = std::fs::read_to_string(known.get().unwrap()).unwrap();
            let is_good = good.lines().any(|line| seen.value("authorization") == format!("Bearer {line}"));
            Some(if is_good && seen.path() != "/never" {
                Answer::json(&json!({ "ok": true }))
            } else {
                Answer::status(401)
            })
        });
        let upstream = upstream.start();
        let config = format!(
            "version: 1\nservices: [./keyed.yaml]\ncredentials:\n  keyed-token: {{ service: keyed, rotate: {rotate} }}\n  \
             elsewhere: {{ service: keyed, from: env:ELSEWHERE }}\nagents:\n  tester:\n    permissions:\n      \
             - {{ service: keyed, credential: keyed-token, actions: [things/list, never/get], resources: [\"*\"] }}\nupstreams:\n{}",
            upstream.entry(HOST)
        );
        let house = House::new(&config, &[]);
        std::fs::write(house.path("keyed.yaml"), SERVICE).unwrap();
        std::fs::write(house.path("rotate.py"), PROGRAM).unwrap();
        let file = house.path("good");
        std::fs::write(&file, first()).unwrap();
        good.set(file.clone()).unwrap();
        let scene = Self { house, upstream, good: file };
        let (code, _, error) = scene.told(&["credential", "add", "keyed-token", "--service", "keyed"], &first());
        assert_eq!(code, 0, "{error}");
        scene
    }

    /// Runs a command with this on standard input; its code, output and remarks.
    fn told(&self, words: &[&str], input: &str) -> (i32, String, String) {
        let mut command = self.house.clean(binary());
        let mut child =
            command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    }

    fn rotate(&self, more: &[&str], input: &str) -> (i32, String, String) {
        let config = self.house.config();
        let words = ["credential", "rotate", "keyed-token", "--config", config.to_str().unwrap()];
        self.told(&[&words[..], more].concat(), input)
    }

    /// Number and state of each version, oldest first.
    fn versions(&self) -> Vec<(u64, String)> {
        let shown = self.house.valetkey(&["credential", "show", "keyed-token", "--json"]).expect_success("show");
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        let version = |one: &Value| (one["version"].as_u64().unwrap(), one["state"].as_str().unwrap().to_owned());
        shown["versions"].as_array().unwrap().iter().rev().map(version).collect()
    }

    fn good(&self) -> Vec<String> {
        std::fs::read_to_string(&self.good).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Asks again and again at its share of the rate; statuses other than 200, and how many were asked.
fn ask(agent: &Agent, over: &AtomicBool) -> (u64, Vec<u16>) {
    let (pause, mut wire) = (Duration::from_millis(1_000 * THREADS / RATE), agent.open().unwrap());
    let (mut asked, mut wrong, start) = (0u32, Vec::new(), Instant::now());
    while !over.load(Ordering::Relaxed) {
        let status = agent.ask(&mut wire, "GET", "/things", "").unwrap().status;
        if status != 200 {
            wrong.push(status);
        }
        asked += 1;
        thread::sleep((pause * asked).saturating_sub(start.elapsed()));
    }
    (asked.into(), wrong)
}

#[test]
fn no_request_fails_while_a_credential_is_rotated() {
    let scene = Scene::new("{ with: 'exec:python3 rotate.py', grace: 1s }");
    let gateway = scene.house.serve();
    let agent = Agent::of(&gateway, &scene.house.session("tester"));
    let over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..THREADS)
        .map(|_| {
            let (agent, over) = (agent.clone(), Arc::clone(&over));
            thread::spawn(move || ask(&agent, &over))
        })
        .collect();
    let start = Instant::now();
    for round in 1..=ROTATIONS {
        let (code, out, error) = scene.rotate(&["--json"], "");
        assert_eq!(code, 0, "{out}{error}");
        let done: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&done["version"], &done["grace"]["version"]), (&json!(round + 1), &json!(round)));
    }
    // The gateway beside it retires the last one.
    while scene.good().len() > 1 {
        assert!(start.elapsed() < Duration::from_mins(2), "{:?}", scene.good());
        thread::sleep(Duration::from_millis(100));
    }
    thread::sleep(Duration::from_millis(500));
    over.store(true, Ordering::Relaxed);
    let asked: Vec<(u64, Vec<u16>)> = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
    let (count, wrong): (u64, Vec<u16>) =
        (asked.iter().map(|(count, _)| count).sum(), asked.iter().flat_map(|(_, wrong)| wrong.clone()).collect());
    assert!(wrong.is_empty(), "{} of {count} failed: {wrong:?}", wrong.len());
    println!("{count} requests in {:?}, {ROTATIONS} rotations, 0 failed", start.elapsed());
    let used: std::collections::BTreeSet<String> =
        scene.upstream.journal().take().iter().map(|seen| seen.value("authorization")).collect();
    assert_eq!(used.len() as u64, ROTATIONS + 1, "every version was used");
    let versions = scene.versions();
    assert_eq!(versions.last(), Some(&(ROTATIONS + 1, "current".to_owned())));
    assert!(versions.iter().rev().skip(1).all(|(_, state)| state == "revoked"), "{versions:?}");
    for value in used {
        let value = value.trim_start_matches("Bearer ");
        let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        assert!(!export.stdout.contains(value), "a value is on record");
        assert!(export.stdout.contains("rotated it: version 2 took over from 1"), "rotations are on record");
    }
    scene.house.assert_audit();
}

#[test]
fn what_is_old_is_rotated_by_schedule() {
    let scene = Scene::new("{ with: 'exec:python3 rotate.py', every: 10s, grace: 1s }");
    let gateway = scene.house.serve();
    let agent = Agent::of(&gateway, &scene.house.session("tester"));
    let start = Instant::now();
    while scene.versions() != [(1, "revoked".to_owned()), (2, "current".to_owned())] {
        assert!(start.elapsed() < Duration::from_mins(1), "{:?}", scene.versions());
        assert_eq!(agent.get("/things"), 200);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(agent.get("/things"), 200);
    assert_eq!(scene.good().len(), 1, "the old one is retired at its service");
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    for said in ["version 2 took over from 1 (exec, schedule)", "version 1 was retired (exec)"] {
        assert!(export.stdout.contains(said), "{said}");
    }
}

#[test]
fn a_value_that_an_operator_brings_takes_over_if_it_works() {
    let scene = Scene::new("{ grace: 1h }");
    let gateway = scene.house.serve();
    let agent = Agent::of(&gateway, &scene.house.session("tester"));
    let second = ["kt_", "second"].concat();
    let (code, out, _) = scene.rotate(&[], "kt_wrong\n");
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("keyed-token stays as it is, because the new value does not work: kit.echo.test answers 401"),
        "{out}"
    );
    assert_eq!(agent.get("/things"), 200);
    std::fs::write(&scene.good, format!("{}\n{second}", first())).unwrap();
    let (code, out, error) = scene.rotate(&[], &second);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("keyed-token rotated: version 3 is in use; version 1 stays good until"), "{out}");
    let state = |number: u64, state: &str| (number, state.to_owned());
    assert_eq!(scene.versions(), [state(1, "grace"), state(2, "revoked"), state(3, "current")]);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(agent.get("/things"), 200);
    assert_eq!(scene.upstream.journal().last().value("authorization"), format!("Bearer {second}"));
    // It turns out to be the wrong one.
    std::fs::write(&scene.good, first()).unwrap();
    assert_eq!(agent.get("/things"), 401);
    let (code, out, _) = scene.told(&["credential", "rollback", "keyed-token"], "");
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("keyed-token went back to version 1; version 3 is out of use here"), "{out}");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(agent.get("/things"), 200);
    for (words, code, says) in [
        (&["credential", "rollback", "keyed-token"][..], 3, "no version of `keyed-token` is in grace"),
        (&["credential", "rollback", "nobody"], 1, "there is no credential `nobody` in this home"),
        (&["credential", "rotate", "nobody"], 1, "there is no credential `nobody` in this home"),
        (&["credential", "rotate", "elsewhere"], 3, "comes from `env:ELSEWHERE`; change it there"),
        (&["credential", "rotate", "keyed-token", "--grace", "soon"], 2, "soon"),
    ] {
        let (got, out, error) = scene.told(words, "kt_x");
        assert!(got == code && format!("{out}{error}").contains(says), "{words:?}: {got} {out}{error}");
    }
}

/// Waits until a version is in use and works.
fn until_works(scene: &Scene, agent: &Agent, version: u64) {
    let start = Instant::now();
    while agent.get("/things") != 200 {
        assert!(start.elapsed() < Duration::from_mins(1), "{:?}", scene.versions());
        thread::sleep(Duration::from_millis(100));
    }
    assert!(scene.versions().contains(&(version, "current".to_owned())), "{:?}", scene.versions());
}

/// The one alert about the credential.
fn alert(scene: &Scene) -> Value {
    thread::sleep(Duration::from_millis(50));
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    let events = export.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut alerts: Vec<Value> = events.filter(|event| event["kind"] == "alert").collect();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    alerts.remove(0)
}

#[test]
fn an_agent_that_provokes_refusals_changes_no_version() {
    let scene = Scene::new("{ with: 'exec:python3 rotate.py', grace: 1h }");
    let (code, out, error) = scene.rotate(&[], "");
    assert_eq!(code, 0, "{out}{error}");
    let gateway = scene.house.serve();
    let agent = Agent::of(&gateway, &scene.house.session("tester"));
    let before = (scene.versions(), scene.good());
    scene.upstream.journal().take();
    let start = Instant::now();
    let looks = || scene.upstream.journal().all().iter().filter(|seen| seen.path() == "/me").count();
    while looks() == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody looks");
        assert_eq!(agent.get("/never"), 401);
        thread::sleep(Duration::from_millis(50));
    }
    for _ in 0..60 {
        assert_eq!(agent.get("/never"), 401);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(agent.get("/things"), 200);
    assert!(looks() <= 1 + start.elapsed().as_secs() as usize / 60, "{} looks in {:?}", looks(), start.elapsed());
    assert_eq!((scene.versions(), scene.good()), before);
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    assert!(
        export.stdout.contains("its service answers 200 to the harmless request, so it stays"),
        "the look is on record"
    );
    assert!(!export.stdout.contains("\"kind\":\"alert\""));
}

#[test]
fn the_version_in_grace_comes_back_where_the_new_one_fails() {
    let scene = Scene::new("{ grace: 1h }");
    let second = ["kt_", "second"].concat();
    std::fs::write(&scene.good, format!("{}\n{second}", first())).unwrap();
    let (code, out, error) = scene.rotate(&[], &second);
    assert_eq!(code, 0, "{out}{error}");
    let gateway = scene.house.serve();
    let agent = Agent::of(&gateway, &scene.house.session("tester"));
    assert_eq!(agent.get("/things"), 200);
    // Its service takes the new one back, and the old one still.
    std::fs::write(&scene.good, first()).unwrap();
    assert_eq!(agent.get("/things"), 401);
    until_works(&scene, &agent, 1);
    let alert = alert(&scene);
    assert_eq!(
        (alert["context"]["rank"].as_str(), &alert["credential"]["version"]),
        (Some("high"), &json!(1)),
        "{alert}"
    );
    assert!(alert["reason"].as_str().unwrap().contains("refuses version 2 and takes version 1"), "{alert}");
    scene.house.assert_audit();
}

#[test]
fn where_no_version_works_another_is_made_or_an_operator_told() {
    for (rotate, makes) in [("{ with: 'exec:python3 rotate.py', grace: 1h }", true), ("{ grace: 1h }", false)] {
        let scene = Scene::new(rotate);
        let gateway = scene.house.serve();
        let agent = Agent::of(&gateway, &scene.house.session("tester"));
        assert_eq!(agent.get("/things"), 200);
        std::fs::write(&scene.good, "").unwrap();
        assert_eq!(agent.get("/things"), 401);
        let start = Instant::now();
        let told = || {
            std::fs::read_to_string(scene.house.path("serve.log")).unwrap().contains("its service refuses version 1")
        };
        while !told() {
            assert!(start.elapsed() < Duration::from_secs(30), "nobody is told");
            thread::sleep(Duration::from_millis(100));
        }
        if makes {
            until_works(&scene, &agent, 2);
        }
        let alert = alert(&scene);
        let says =
            if makes { "version 2 took over" } else { "there is no other; `valetkey credential rotate keyed-token`" };
        assert!(alert["reason"].as_str().unwrap().contains(says), "{alert}");
        assert_eq!(alert["context"]["rank"], if makes { "high" } else { "critical" });
    }
}
