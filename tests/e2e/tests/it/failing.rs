//! What happens when a credential fails mid-task: upstreams that misbehave in each way of the table, and what is on record of it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use e2e::audit::Log;
use e2e::{Gateway, House, Session};
use serde_json::{Value, json};
use testkit::upstream::{Answer, Seen};
use testkit::{Canary, Upstream};

use crate::talk::{Agent, HOST};

/// Prints the token and counts how often it was asked for. Without a token it prints nothing, and where it is told to, it fails.
const PROGRAM: &str = "echo x >> asked; test -e broken && exit 1; cat token";

const PERMISSION: &str = "methods: [GET, POST, PUT]\n        endpoints: [/]\n";

fn token(seed: u64) -> String {
    Canary::new(seed, "tok_", 40).value()
}

/// A home whose one credential comes from a program, and a service.
struct Scene {
    house: House,
    upstream: Upstream,
    gateway: Gateway,
    session: Session,
    agent: Agent,
}

impl Scene {
    fn new(upstream: Upstream) -> Self {
        let config = format!(
            "version: 1\nservices: [./echo.yaml]\ncredentials:\n  echo-token: {{ service: echo, from: 'exec:sh token.sh', ttl: 1h }}\n\
             agents:\n  tester:\n    permissions:\n      - service: echo\n        credential: echo-token\n        {PERMISSION}upstreams:\n{}",
            upstream.entry(HOST)
        );
        let house = House::new(&config, &[]);
        std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
        std::fs::write(house.path("token.sh"), PROGRAM).unwrap();
        std::fs::write(house.path("token"), token(1_001)).unwrap();
        let gateway = house.serve();
        let session = house.session("tester");
        let agent = Agent::of(&gateway, &session);
        Self { house, upstream, gateway, session, agent }
    }

    /// How often the program was asked.
    fn asked(&self) -> usize {
        std::fs::read_to_string(self.house.path("asked")).map_or(0, |text| text.lines().count())
    }

    /// Asks until the value is kept: that it is used for the first time is written down, and what is written is read again.
    fn warm(&self) -> usize {
        let start = Instant::now();
        loop {
            let before = self.asked();
            thread::sleep(Duration::from_millis(600));
            self.ask("GET", "/things", "");
            if self.asked() == before {
                self.upstream.journal().take();
                return before;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "its source is asked again and again");
        }
    }

    /// One request: status, answer's text.
    fn ask(&self, method: &str, path: &str, body: &str) -> testkit::client::Answer {
        self.agent.ask(&mut self.agent.open().unwrap(), method, path, body).unwrap()
    }

    fn log(&self) -> Log {
        let log = Log::of(&self.house);
        assert!(log.incomplete(&self.session.id).is_empty(), "{:?}", log.incomplete(&self.session.id));
        log
    }
}

/// A service that takes this token and no other; what it takes can be changed.
fn takes(good: &Arc<Mutex<String>>) -> Upstream {
    let good = Arc::clone(good);
    let handler = move |seen: &Seen| {
        let is_good = seen.value("authorization") == format!("Bearer {}", good.lock().unwrap());
        let answer = if seen.path() == "/never" || !is_good { Answer::status(401) } else { Answer::json(&json!({})) };
        Some(answer)
    };
    Upstream::builder().handler(handler).start()
}

fn texts<'a>(events: impl Iterator<Item = &'a Value>, field: &str) -> Vec<String> {
    events.map(|event| event[field].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_hundred_requests_renew_a_credential_once() {
    let good = Arc::new(Mutex::new(token(1_001)));
    let scene = Scene::new(takes(&good));
    let before = scene.warm();
    // It ends at its service, and its source has a new one.
    *good.lock().unwrap() = token(1_002);
    std::fs::write(scene.house.path("token"), token(1_002)).unwrap();
    let agents: Vec<_> = (0..100)
        .map(|number| {
            let agent = scene.agent.clone();
            thread::spawn(move || {
                let method = if number % 2 == 0 { "GET" } else { "POST" };
                let body = if number % 2 == 0 { String::new() } else { format!("{{\"n\":{number}}}") };
                agent.ask(&mut agent.open().unwrap(), method, "/things", &body).unwrap().status
            })
        })
        .collect();
    let statuses: Vec<u16> = agents.into_iter().map(|agent| agent.join().unwrap()).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(scene.asked(), before + 1, "one renewal for all of them");
    // Every attempt is on record with its own end, and what was sent twice is what was judged.
    let seen = scene.upstream.journal().take();
    let log = scene.log();
    let outcomes: Vec<&Value> = log.events(&scene.session.id, "outcome").collect();
    let refused: Vec<&&Value> = outcomes.iter().filter(|event| event["response"]["status"] == 401).collect();
    assert_eq!(seen.len(), 100 + refused.len());
    assert!(!refused.is_empty());
    for event in refused {
        assert_eq!(event["reason"], "sent again: `echo-token` was refused, and renewed", "{event}");
        let same = |other: &&&Value| other["exchange"] == event["exchange"] && other["response"]["status"] == 200;
        let last = outcomes.iter().find(same).unwrap();
        assert_eq!(last["reason"], event["reason"]);
        assert_eq!(last["request"]["body_hash"], event["request"]["body_hash"]);
        assert_ne!(last["id"], event["id"]);
    }
    let bodies: HashSet<String> =
        seen.iter().filter(|one| one.method == "POST").map(|one| one.body_sha256.clone()).collect();
    assert_eq!(bodies.len(), 50);
    let ids: HashSet<&str> =
        log.events(&scene.session.id, "attempt").map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), log.count(&scene.session.id, "attempt"), "each attempt has an id of its own");
    scene.house.assert_audit();
}

#[test]
fn what_has_passed_is_not_sent_again() {
    let good = Arc::new(Mutex::new(token(1_001)));
    let scene = Scene::new(takes(&good));
    scene.warm();
    *good.lock().unwrap() = token(1_002);
    std::fs::write(scene.house.path("token"), token(1_002)).unwrap();
    let mut wire = scene.agent.open().unwrap();
    // Longer than what is held.
    scene.agent.send(&mut wire, "POST", "/things", &"x".repeat(2 * 1024 * 1024)).unwrap();
    let answer = wire.answer("POST").unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (502, Some("credential_expired")), "{}", answer.text());
    assert_eq!((answer.json()["retryable"].as_bool(), answer.header("retry-after")), (Some(true), Some("1")));
    assert_eq!(scene.upstream.journal().take().len(), 1);
    // Sent again by its client it passes.
    assert_eq!(scene.ask("POST", "/things", "hello").status, 200);
    let codes = texts(scene.log().events(&scene.session.id, "outcome"), "code");
    assert!(codes.ends_with(&["credential_expired".to_owned(), String::new()]), "{codes:?}");
}

#[test]
fn what_cannot_be_renewed_is_told() {
    let good = Arc::new(Mutex::new(token(1_001)));
    let scene = Scene::new(takes(&good));
    scene.warm();
    *good.lock().unwrap() = token(1_002);
    // Its source has nothing usable any more.
    std::fs::write(scene.house.path("token"), "").unwrap();
    let answer = scene.ask("GET", "/things", "");
    assert_eq!((answer.status, answer.code().as_deref()), (502, Some("credential_expired")), "{}", answer.text());
    assert_eq!(answer.json()["retryable"], true);
    for _ in 0..3 {
        // Now there is none that could be sent.
        let answer = scene.ask("GET", "/things", "");
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (503, Some("credential_unavailable")),
            "{}",
            answer.text()
        );
    }
    assert_eq!(scene.upstream.journal().len(), 1);
    let log = scene.log();
    let alerts: Vec<&Value> = log.events(&scene.session.id, "alert").collect();
    assert_eq!(alerts.len(), 1, "told once of a session");
    assert_eq!(
        (alerts[0]["context"]["rank"].as_str(), alerts[0]["credential"]["name"].as_str()),
        (Some("high"), Some("echo-token"))
    );
    assert!(alerts[0]["reason"].as_str().unwrap().contains("could not be renewed"), "{}", alerts[0]);
    assert_eq!(texts(log.events(&scene.session.id, "outcome"), "code").last().unwrap(), "credential_expired");
}

#[test]
fn whoever_provokes_refusals_makes_nobody_ask_and_ask() {
    let good = Arc::new(Mutex::new(token(1_001)));
    let scene = Scene::new(takes(&good));
    let (before, start) = (scene.warm(), Instant::now());
    for _ in 0..30 {
        assert_eq!(scene.ask("GET", "/never", "").status, 401);
    }
    // For the first refusal, and every ten seconds at most from then on.
    let most = 1 + start.elapsed().as_secs() as usize / 10;
    assert!((1..=most).contains(&(scene.asked() - before)), "{} in {:?}", scene.asked() - before, start.elapsed());
    // While its source is away the last good value is as good as before.
    std::fs::write(scene.house.path("broken"), "").unwrap();
    thread::sleep(Duration::from_secs(10).saturating_sub(start.elapsed()) + Duration::from_millis(500));
    assert_eq!(scene.ask("GET", "/never", "").status, 401);
    assert_eq!(scene.ask("GET", "/things", "").status, 200);
    let log = scene.log();
    assert_eq!(scene.upstream.journal().len(), 32, "nothing was sent twice");
    assert_eq!(log.count(&scene.session.id, "alert"), 0);
}

/// When each request arrived, and how it was answered.
type Arrivals = Vec<(Instant, u16)>;

/// A service that puts requests off for this long after the first.
fn puts_off(seconds: &'static str, lasts: Duration) -> (Upstream, Arc<Mutex<Arrivals>>) {
    let seen = Arc::new(Mutex::new(Arrivals::new()));
    let known = Arc::clone(&seen);
    let handler = move |_: &Seen| {
        let mut all = known.lock().unwrap();
        let now = Instant::now();
        let began = all.first().map_or(now, |(at, _)| *at);
        let status = if now - began < lasts { 429 } else { 200 };
        all.push((now, status));
        Some(Answer::status(status).header("retry-after", seconds).header("x-own", "kept"))
    };
    (Upstream::builder().handler(handler).start(), seen)
}

#[test]
fn what_is_put_off_comes_back_one_by_one() {
    const AGENTS: usize = 40;
    let (upstream, seen) = puts_off("2", Duration::from_millis(1_500));
    let scene = Scene::new(upstream);
    let agents: Vec<_> = (0..AGENTS)
        .map(|_| {
            let agent = scene.agent.clone();
            thread::spawn(move || agent.get("/things"))
        })
        .collect();
    let statuses: Vec<u16> = agents.into_iter().map(|agent| agent.join().unwrap()).collect();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let seen = seen.lock().unwrap().clone();
    let first = seen[0].0;
    let mut back: Vec<Duration> = seen.iter().filter(|(_, status)| *status == 200).map(|(at, _)| *at - first).collect();
    let put_off = seen.len() - back.len();
    assert_eq!(back.len(), AGENTS);
    back.sort_unstable();
    assert!(back[0] >= Duration::from_secs(2), "sooner than asked for: {:?}", back[0]);
    assert!(put_off >= AGENTS / 2, "too slow a machine for this to show anything: {put_off}");
    // 50 ms between two of them; a busy machine may let some come together, but never most.
    let spread = back[put_off.min(AGENTS) - 1].saturating_sub(back[0]);
    assert!(spread >= Duration::from_millis(50) * (put_off as u32 - 1) / 2, "{put_off} came back within {spread:?}");
    let log = scene.log();
    let told = texts(log.events(&scene.session.id, "outcome"), "reason");
    assert_eq!(told.iter().filter(|reason| reason.contains("the upstream asked to wait, for")).count(), put_off * 2);
    assert_eq!(log.count(&scene.session.id, "attempt"), seen.len());
}

#[test]
fn what_may_not_wait_is_passed_on_untouched() {
    let (upstream, seen) = puts_off("1", Duration::from_mins(10));
    let scene = Scene::new(upstream);
    // What may not be done twice.
    let answer = scene.ask("POST", "/things", "{}");
    assert_eq!((answer.status, answer.header("retry-after"), answer.header("x-own")), (429, Some("1"), Some("kept")));
    // Who does not want to wait.
    let mut wire = scene.agent.open().unwrap();
    let head = format!(
        "GET /things HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {}\r\nPrefer: wait=0\r\n\r\n",
        scene.agent.placeholder
    );
    wire.send(head.as_bytes()).unwrap();
    assert_eq!(wire.answer("GET").unwrap().status, 429);
    assert_eq!(seen.lock().unwrap().len(), 2, "each was sent once");
    // Who is put off again and again hears it in the end.
    assert_eq!(scene.ask("GET", "/things", "").status, 429);
    assert_eq!(seen.lock().unwrap().len(), 6, "three waits");
    // A time that is longer than the answer may take.
    let (upstream, seen) = puts_off("301", Duration::from_mins(10));
    let scene = Scene::new(upstream);
    assert_eq!(scene.ask("GET", "/things", "").status, 429);
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(scene.log().count(&scene.session.id, "attempt"), 1);
}

#[test]
fn whoever_waits_hears_that_the_session_has_ended() {
    for gone in [false, true] {
        let (upstream, seen) = puts_off("60", Duration::from_mins(10));
        let scene = Scene::new(upstream);
        let mut wire = scene.agent.open().unwrap();
        scene.agent.send(&mut wire, "GET", "/things", "").unwrap();
        let start = Instant::now();
        while seen.lock().unwrap().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "it does not arrive");
            thread::sleep(Duration::from_millis(10));
        }
        if gone {
            // A client that goes away leaves a record, and nothing is sent for it later.
            drop(wire);
            while scene.log().count(&scene.session.id, "abandoned") == 0 {
                assert!(start.elapsed() < Duration::from_secs(20), "it waits for nobody");
            }
        } else {
            let _ = scene.house.valetkey(&["stop", "--session", &scene.session.id]).expect_success("stop");
            let answer = wire.answer("GET").unwrap();
            assert_eq!(answer.code().as_deref(), Some("session_ended"), "{}", answer.text());
        }
        let log = scene.log();
        assert_eq!((log.count(&scene.session.id, "attempt"), seen.lock().unwrap().len()), (1, 1));
        drop(scene.gateway);
    }
}

#[test]
fn a_403_passes_on_and_is_counted() {
    let scene = Scene::new(Upstream::builder().handler(|_| Some(Answer::status(403).header("x-own", "kept"))).start());
    let before = scene.warm();
    for _ in 0..3 {
        let answer = scene.ask("GET", "/things", "");
        assert_eq!((answer.status, answer.header("x-own")), (403, Some("kept")));
    }
    assert_eq!((scene.upstream.journal().len(), scene.asked()), (3, before), "nobody asks anew");
    scene.log();
    let config = scene.house.config();
    let review = scene.house.valetkey(&["review", "--json", "--config", config.to_str().unwrap()]);
    let review: Value = serde_json::from_str(&review.stdout).unwrap();
    let credential = review["credentials"].as_array().unwrap().iter().find(|one| one["name"] == "echo-token").unwrap();
    assert!(credential["forbidden"].as_u64().unwrap() >= 3, "{credential}");
}

#[test]
fn a_connection_that_was_being_closed_is_replaced() {
    let served = Arc::new(Mutex::new(HashSet::<u64>::new()));
    let known = Arc::clone(&served);
    let handler = move |seen: &Seen| {
        // The second request on a connection finds it closed.
        let again = !known.lock().unwrap().insert(seen.connection);
        Some(if again { Answer::reset() } else { Answer::json(&json!({})) })
    };
    let scene = Scene::new(Upstream::builder().http1().handler(handler).start());
    let mut wire = scene.agent.open().unwrap();
    let status =
        |wire: &mut _, method: &str, body: &str| scene.agent.ask(wire, method, "/things", body).unwrap().status;
    assert_eq!((status(&mut wire, "GET", ""), status(&mut wire, "GET", "")), (200, 200));
    assert_eq!(scene.upstream.journal().len(), 3);
    // What may not be done twice is not: the upstream may have done it.
    assert_eq!(status(&mut wire, "POST", "{}"), 502);
    assert_eq!(scene.upstream.journal().len(), 4);
    let log = scene.log();
    assert_eq!(log.count(&scene.session.id, "attempt"), 4);
    let codes = texts(log.events(&scene.session.id, "outcome"), "code");
    assert_eq!(codes, ["", "upstream_invalid", "", "upstream_invalid"]);
}

#[test]
fn an_upstream_that_is_away_is_left_alone() {
    let upstream = Upstream::start();
    let (ca, addr) = (Arc::clone(upstream.ca()), upstream.addr());
    let scene = Scene::new(upstream);
    assert_eq!(scene.ask("GET", "/things", "").status, 200);
    let Scene { house, upstream, gateway: _gateway, session, agent } = scene;
    let (file, pem) = (upstream.ca_file(), std::fs::read(upstream.ca_file()).unwrap());
    drop(upstream);
    let ask = || agent.ask(&mut agent.open().unwrap(), "GET", "/things", "").unwrap();
    let start = Instant::now();
    let resting = loop {
        let answer = ask();
        assert_eq!((answer.status, answer.code().as_deref()), (502, Some("upstream_unreachable")), "{}", answer.text());
        assert!(start.elapsed() < Duration::from_secs(30), "it is asked again and again");
        if answer.text().contains("left alone") {
            break answer;
        }
    };
    assert!(resting.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // It comes back, and is found again.
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, pem).unwrap();
    let _back = Upstream::builder().ca(&ca).port(addr.port()).start();
    let start = Instant::now();
    while ask().status != 200 {
        assert!(start.elapsed() < Duration::from_secs(70), "it is not found again");
        thread::sleep(Duration::from_millis(100));
    }
    let log = Log::of(&house);
    let told = texts(log.events(&session.id, "outcome"), "reason");
    assert!(told.iter().any(|reason| reason.contains("is left alone for")), "{told:?}");
    assert!(log.incomplete(&session.id).is_empty());
}

/// Three credentials of one service: `main` has `spare`, and `third` an answer.
fn stands_in() -> (House, Upstream, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let known = Arc::clone(&count);
    let upstream = Upstream::builder().handler(move |_| {
        known.fetch_add(1, Ordering::Relaxed);
        Some(Answer::json(&json!({ "from": "upstream" })))
    });
    let upstream = upstream.start();
    let permission = |credential: &str, actions: &str| {
        format!("      - {{ service: keyed, credential: {credential}, actions: [{actions}], resources: [\"*\"] }}\n")
    };
    let config = format!(
        "version: 1\nservices: [./keyed.yaml]\ncredentials:\n  main: {{ service: keyed, from: env:ECHO_TOKEN, fallback: {{ credential: spare }} }}\n  \
         spare: {{ service: keyed, from: env:SPARE }}\n  third: {{ service: keyed, from: env:THIRD, fallback: {{ respond: {{ status: 200, headers: {{ x-own: kept }}, body: {{ from: configuration }} }} }} }}\n\
         agents:\n  tester:\n    permissions:\n{}{}  solo:\n    permissions:\n{}  narrow:\n    permissions:\n{}upstreams:\n{}",
        permission("main", "things/list"),
        permission("spare", "things/list, me/get"),
        permission("third", "things/list"),
        permission("main", "things/list"),
        upstream.entry(HOST)
    );
    let secrets = [("ECHO_TOKEN", token(1_011)), ("SPARE", token(1_012)), ("THIRD", token(1_013))];
    let secrets: Vec<(&str, &str)> = secrets.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let house = House::new(&config, &secrets);
    let service = "name: keyed\ntitle: Keyed\nhosts: [kit.echo.test]\nschemes: [{ bearer: {} }]\nactions:\n  - { id: things/list, class: read, match: GET /things }\n  \
                   - { id: me/get, class: read, match: GET /me }\n  - { id: things/delete, class: delete, match: DELETE /things }\n";
    std::fs::write(house.path("keyed.yaml"), service).unwrap();
    (house, upstream, count)
}

#[test]
fn another_credential_or_an_answer_stands_in() {
    let (house, upstream, count) = stands_in();
    let gateway = house.serve();
    let session = house.session("tester");
    let agent = Agent::of(&gateway, &session);
    let solo = house.session("solo");
    let third = Agent::with(&gateway, &solo, "THIRD");
    let narrow = Agent::of(&gateway, &house.session("narrow"));
    let ask =
        |agent: &Agent, method: &str, path: &str| agent.ask(&mut agent.open().unwrap(), method, path, "").unwrap();
    assert_eq!(ask(&agent, "GET", "/things").status, 200);
    assert_eq!(upstream.journal().last().value("authorization"), format!("Bearer {}", token(1_011)));
    // Not with `main`, but with what stands in for it.
    assert_eq!(ask(&agent, "GET", "/me").status, 200);
    assert_eq!(upstream.journal().last().value("authorization"), format!("Bearer {}", token(1_012)));
    // What is denied is denied with any credential.
    let denied = ask(&agent, "DELETE", "/things");
    assert_eq!((denied.status, denied.code().as_deref()), (403, Some("denied")));
    let fixed = ask(&third, "DELETE", "/things");
    assert_eq!(
        (fixed.status, fixed.header("x-valetkey-fallback"), fixed.header("x-own")),
        (200, Some("respond"), Some("kept"))
    );
    assert_eq!(fixed.json(), json!({ "from": "configuration" }));
    assert_eq!(count.load(Ordering::Relaxed), 2, "neither left");
    for name in ["main", "third"] {
        let _ = house.valetkey(&["stop", "--credential", name]).expect_success("stop");
    }
    thread::sleep(Duration::from_millis(500));
    assert_eq!(ask(&agent, "GET", "/things").json()["from"], "upstream");
    assert_eq!(upstream.journal().last().value("authorization"), format!("Bearer {}", token(1_012)));
    assert_eq!(ask(&third, "GET", "/things").json()["from"], "configuration");
    // Whom the policy does not let use it is refused.
    let refused = ask(&narrow, "GET", "/things");
    assert_eq!((refused.status, refused.code().as_deref()), (502, Some("credential_revoked")));
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let log = Log::of(&house);
    assert!(log.incomplete(&session.id).is_empty());
    let attempts: Vec<(String, String)> = log
        .events(&session.id, "attempt")
        .map(|event| {
            (
                event["credential"]["name"].as_str().unwrap().to_owned(),
                event["reason"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let told = |name: &str, reason: &str| (name.to_owned(), reason.to_owned());
    assert_eq!(
        attempts,
        [
            told("main", ""),
            told("spare", "`spare` stands in for `main`: denied"),
            told("spare", "`spare` stands in for `main`: credential_revoked")
        ]
    );
    let answered: Vec<&Value> =
        log.events(&solo.id, "refusal").filter(|event| event["response"]["status"] == 200).collect();
    assert_eq!(
        answered.iter().map(|event| event["code"].as_str().unwrap()).collect::<Vec<_>>(),
        ["denied", "credential_revoked"]
    );
    assert!(
        answered.iter().all(|event| event["reason"].as_str().unwrap().ends_with("answered by the fallback of `third`"))
    );
    for session in [&session, &solo] {
        let alerts: Vec<&Value> = log.events(&session.id, "alert").collect();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(alerts[0]["context"]["rank"], "critical", "{}", alerts[0]);
    }
    house.assert_clean("the log", &std::fs::read_to_string(house.path("serve.log")).unwrap());
    house.assert_audit();
}
