//! Placeholders where they can only be a leak: told, ranked, alerted, and the session stopped where the configuration says
//! so; where they may be quoted, nothing is in the way.

use std::time::{Duration, Instant};

use e2e::audit::Log;
use e2e::{Gateway, House, Session};
use serde_json::{Value, json};
use testkit::client::Wire;
use testkit::leak::forms;
use testkit::{Answer, Canary, Upstream};

use crate::setting::Vendors;
use crate::talk::{Agent, HOST, agent, echo_house};

/// Two agents at the echo service, with these entries of `alerts:`.
fn alerted(upstream: &Upstream, alerts: &str) -> (House, Gateway, Canary) {
    let (house, canary) = echo_house(upstream, &(agent("a", "") + &agent("b", "")));
    let config = std::fs::read_to_string(house.config()).unwrap();
    std::fs::write(house.config(), config + alerts).unwrap();
    let gateway = house.serve();
    (house, gateway, canary)
}

fn plain() -> Upstream {
    Upstream::builder().handler(|_| Some(Answer::body("text/plain", "ok"))).start()
}

/// A request with these lines more in its head; the status and the code of our refusal, 0 where the connection was cut.
fn ask(agent: &Agent, target: &str, lines: &str, body: &[u8]) -> (u16, String) {
    let sent = || -> std::io::Result<testkit::client::Answer> {
        let mut wire = agent.open()?;
        let head = format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n{lines}Content-Length: {}\r\n\r\n", body.len());
        wire.send(&[head.as_bytes(), body].concat())?;
        wire.answer("POST")
    };
    sent().map_or((0, String::new()), |answer| (answer.status, answer.code().unwrap_or_default()))
}

/// The same with a body in chunks, of a length that nobody knows beforehand.
fn stream(agent: &Agent, pieces: &[&[u8]]) -> (u16, String) {
    let sent = || -> std::io::Result<testkit::client::Answer> {
        let mut wire = agent.open()?;
        wire.send(format!("POST /stream HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())?;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            wire.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())?;
        }
        wire.send(b"0\r\n\r\n")?;
        wire.answer("POST")
    };
    sent().map_or((0, String::new()), |answer| (answer.status, answer.code().unwrap_or_default()))
}

/// Waits for what another thread or process of the gateway does a moment later.
fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn alerts<'l>(log: &'l Log, session: &Session) -> Vec<&'l Value> {
    log.events(&session.id, "alert").collect()
}

/// Rank, action, holder and place of an alert.
fn told(alert: &Value) -> [&str; 4] {
    let seen = &alert["sightings"][0];
    // A header is told with its name.
    let place = seen["place"].as_str().unwrap_or("header");
    [
        alert["context"]["rank"].as_str().unwrap_or_default(),
        alert["context"]["action"].as_str().unwrap_or_default(),
        seen["holder"].as_str().unwrap_or_default(),
        place,
    ]
}

#[test]
fn anothers_placeholder_is_an_alert_in_any_form_and_place() {
    let upstream = plain();
    let (house, gateway, _) = alerted(&upstream, "");
    let other = Agent::of(&gateway, &house.session("b"));
    let sessions: Vec<(String, Session, (u16, String), &str)> = forms(&other.placeholder)
        .into_iter()
        .flat_map(|(name, form)| {
            let session = house.session("a");
            let agent = Agent::of(&gateway, &session);
            let halves = form.split_at(form.len() / 2);
            let streaming = house.session("a");
            let streamed = stream(&Agent::of(&gateway, &streaming), &[b"x ", halves.0, halves.1, b" y"]);
            [
                (format!("{name} in a body"), session, ask(&agent, "/notes", "", &form), "body"),
                (format!("{name} in a stream"), streaming, streamed, "body"),
            ]
        })
        .collect();
    let heads = [
        ("a header", "/".to_owned(), format!("X-Note: {}\r\n", other.placeholder), 200, "header"),
        ("the path", format!("/a/{}", other.placeholder), String::new(), 200, "path"),
        ("the query", format!("/?q={}", other.placeholder), String::new(), 200, "query"),
        ("the slot", "/".to_owned(), format!("Authorization: Bearer {}\r\n", other.placeholder), 403, "foreign_slot"),
    ];
    let in_heads: Vec<_> = heads
        .into_iter()
        .map(|(name, target, lines, status, place)| {
            let session = house.session("a");
            let got = ask(&Agent::of(&gateway, &session), &target, &lines, b"");
            assert_eq!(got.0, status, "{name}: {got:?}");
            (name.to_owned(), session, (200, String::new()), place)
        })
        .collect();
    let log = Log::of(&house);
    for (name, session, (status, code), place) in sessions.iter().chain(&in_heads) {
        assert_eq!((*status, code.as_str()), (200, ""), "{name}: it passes");
        let found = alerts(&log, session);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        let rank = if *place == "foreign_slot" { "critical" } else { "high" };
        assert_eq!(told(found[0]), [rank, "none", "other", place], "{name}: {}", found[0]);
        assert_eq!(found[0]["agent"], "a", "{name}");
        assert!(found[0]["reason"].as_str().unwrap().contains("of agent `b`"), "{}", found[0]);
    }
    assert!(sessions.len() >= 30);
    // Whose it is can be asked.
    let whose = house.valetkey(&["whose", &other.placeholder, "--json"]).expect_success("whose");
    let whose: Value = serde_json::from_str(&whose.stdout).unwrap();
    assert_eq!((whose["agent"].as_str(), whose["credential"].as_str()), (Some("b"), Some("echo-token")));
    house.assert_audit();
}

#[test]
fn an_alert_is_raised_once_and_ones_own_quotes_raise_none() {
    let upstream = plain();
    let (house, gateway, _) = alerted(&upstream, "");
    let session = house.session("a");
    let (own, other) = (Agent::of(&gateway, &session), Agent::of(&gateway, &house.session("b")));
    for _ in 0..5 {
        assert_eq!(ask(&own, "/notes", "", own.placeholder.as_bytes()).0, 200);
        assert_eq!(ask(&own, "/notes", "", other.placeholder.as_bytes()).0, 200);
        assert_eq!(ask(&own, "/?q=1", &format!("X-Note: {}\r\n", own.placeholder), b"").0, 200);
    }
    let log = Log::of(&house);
    let found = alerts(&log, &session);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(told(found[0]), ["high", "none", "other", "body"]);
    // Every exchange has its sightings on record all the same, with their ranks.
    let ranks: Vec<&str> = log
        .events(&session.id, "attempt")
        .flat_map(|event| event["sightings"].as_array().unwrap())
        .map(|seen| seen["rank"].as_str().unwrap())
        .collect();
    let count = |rank: &str| ranks.iter().filter(|it| **it == rank).count();
    assert_eq!((count("expected"), count("low"), count("high"), ranks.len()), (5, 5, 5, 15));
}

/// A way to trip, and its name.
type Trip<'t> = (&'t str, Box<dyn Fn(&Agent) -> (u16, String) + 't>);

#[test]
fn a_tripwire_stops_the_session_where_the_configuration_says_so() {
    let upstream = plain();
    let stop = "alerts:\n  - { condition: 'tripwire:high', action: stop_session }\n";
    let (house, gateway, canary) = alerted(&upstream, stop);
    let other = Agent::of(&gateway, &house.session("b"));
    let bystander = Agent::of(&gateway, &house.session("a"));
    let theirs = other.placeholder.clone();
    let trips: [Trip<'_>; 4] = [
        ("in a body", Box::new(|agent| ask(agent, "/notes", "", theirs.as_bytes()))),
        ("in a stream", Box::new(|agent| stream(agent, &[b"first ", theirs.as_bytes(), b" last"]))),
        ("in a slot", Box::new(|agent| ask(agent, "/", &format!("Authorization: Bearer {theirs}\r\n"), b""))),
        ("a real secret", Box::new(|agent| ask(agent, "/notes", "", canary.value().as_bytes()))),
    ];
    for (name, trip) in &trips {
        let session = house.session("a");
        let agent = Agent::of(&gateway, &session);
        assert_eq!(ask(&agent, "/notes", &format!("X-Note: {}\r\n", agent.placeholder), b"").0, 200, "{name}: low");
        upstream.journal().take();
        let (status, code) = trip(&agent);
        let refused = ["session_ended", "placeholder_foreign", "secret_in_request"].contains(&code.as_str());
        assert!(status == 0 || refused && (400..500).contains(&status), "{name}: {status} {code}");
        let left = upstream.journal().take();
        assert!(
            left.iter().all(|seen| seen.count(&theirs) == 0 && seen.count(&canary.value()) == 0),
            "{name}: {left:?}"
        );
        // The session is over, here and for every other process of the home.
        assert_ne!(agent.get("/json"), 200, "{name}");
        let log = Log::of(&house);
        let found = alerts(&log, &session);
        assert_eq!((found.len(), told(found[0])[1]), (1, "stop_session"), "{name}: {found:?}");
        let whose = || house.valetkey(&["whose", &agent.placeholder, "--json"]).expect_success("whose").stdout;
        until(name, || serde_json::from_str::<Value>(&whose()).unwrap()["ended"].is_string());
    }
    assert_eq!((bystander.get("/json"), other.get("/json")), (200, 200), "nobody else is stopped");
    house.assert_audit();
}

#[test]
fn a_tripwire_disables_the_agent_until_an_operator_lifts_it() {
    let upstream = plain();
    let (house, gateway, _) = alerted(&upstream, "alerts: [{ condition: tripwire, action: disable_agent }]\n");
    let (first, second) = (Agent::of(&gateway, &house.session("a")), Agent::of(&gateway, &house.session("a")));
    let other = Agent::of(&gateway, &house.session("b"));
    assert_eq!(
        ask(&second, "/notes", "", first.placeholder.as_bytes()).0,
        403,
        "one of another session of the same agent"
    );
    assert_eq!((first.get("/json") == 200, second.get("/json") == 200, other.get("/json")), (false, false, 200));
    until("the stop is in the store", || house.valetkey(&["stop", "--agent", "a", "--lift"]).stdout.contains("lifted"));
    until("the agent works again", || Agent::of(&gateway, &house.session("a")).get("/json") == 200);
    assert_ne!(first.get("/json"), 200, "a session that was ended stays so");
    house.assert_audit();
}

/// Promise 12, first half: a placeholder outside of its slot is substituted in none of sixty placements.
#[test]
fn sixty_placements_are_never_substituted() {
    let upstream = plain();
    let (house, gateway, canary) = alerted(&upstream, "");
    let agent = Agent::of(&gateway, &house.session("a"));
    let own = agent.placeholder.clone();
    let mut placements: Vec<(String, String, Vec<u8>)> = Vec::new();
    for (name, form) in forms(&own) {
        placements.push((format!("/notes?{name}"), String::new(), form));
    }
    let names = "User-Agent Referer X-Request-Id Idempotency-Key If-Match If-None-Match X-Api-Key Private-Token Accept Origin \
                 X-Auth-Token Accept-Language Cookie Traceparent X-Custom Cache-Control Content-Language Pragma DNT X-Trace";
    for name in names.split(' ') {
        placements.push(("/".to_owned(), format!("{name}: {own}\r\n"), Vec::new()));
    }
    for value in [
        format!("Bearer x{own}"),
        format!("Bearer {own}x"),
        format!("Bearer {own} {own}"),
        format!("Digest {own}"),
        own.clone(),
        format!("Bearer \"{own}\""),
        format!("Bearer {}", &own[1..]),
        format!("Bearer {}", own.to_uppercase()),
    ] {
        placements.push(("/".to_owned(), format!("Authorization: {value}\r\n"), Vec::new()));
    }
    for target in ["/P", "/a/xPy/b", "/?token=P", "/?a=b&key=xP", "/?P=1", "/a;P", "/?q=P%20and", "/a/P.json"] {
        placements.push((target.replace('P', &own), String::new(), Vec::new()));
    }
    for (kind, body) in [
        ("application/json", json!({ "token": own })),
        ("application/json", json!({ "authorization": format!("Bearer {own}") })),
        ("application/json", json!([{ "headers": { "Authorization": [format!("Bearer {own}")] } }])),
        ("application/x-www-form-urlencoded", json!(format!("access_token={own}&client_secret={own}"))),
        ("multipart/form-data; boundary=b", json!(format!("--b\r\nAuthorization: Bearer {own}\r\n\r\n{own}\r\n--b--"))),
        ("text/plain", json!(format!("Authorization: Bearer {own}"))),
        ("application/octet-stream", json!(format!("\0{own}\0"))),
    ] {
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        placements.push(("/notes".to_owned(), format!("Content-Type: {kind}\r\n"), body.into_bytes()));
    }
    assert!(placements.len() >= 60, "{}", placements.len());
    for (target, lines, body) in &placements {
        let _ = ask(&agent, target, lines, body);
        for seen in upstream.journal().take() {
            assert_eq!(seen.count(&canary.value()), 0, "substituted at {target} {lines}");
        }
    }
    // Where it belongs it is, or the above would say nothing.
    assert_eq!(ask(&agent, "/", &format!("Authorization: Bearer {own}\r\n"), b"").0, 200);
    assert_eq!(upstream.journal().last().count(&canary.value()), 1);
    println!("{} placements, none substituted", placements.len());
    house.assert_audit();
}

/// Numbers that are the same in every run (splitmix64).
struct Seeded(u64);

impl Seeded {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    }

    fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
        list[self.next() as usize % list.len()]
    }
}

/// What people and tools write around a placeholder.
const QUOTES: [&str; 12] = [
    "my token is P, why does the call fail with 401?",
    "$ gh auth status\n  ✓ Logged in to github.com account ada\n  - Token: P\n  - Token scopes: 'repo'",
    "curl -sS -H 'Authorization: Bearer P' https://api.github.com/user | jq .login",
    "```python\nclient = OpenAI(api_key=\"P\")\nprint(client.models.list())\n```",
    "GITHUB_TOKEN=P\nOPENAI_API_KEY=P\nDEBUG=1\n",
    "{\"env\": {\"TOKEN\": \"P\"}, \"args\": [\"-y\", \"server\"]}",
    "diff --git a/.env b/.env\n-TOKEN=old\n+TOKEN=P\n",
    "export TOKEN='P'; npm publish --//registry.npmjs.org/:_authToken=$TOKEN",
    "remote: https://x-access-token:P@github.com/acme/widget.git (push)",
    "data: {\"choices\":[{\"delta\":{\"content\":\"P\"}}]}\n\ndata: [DONE]\n",
    "headers={'x-api-key': 'P', 'anthropic-version': '2023-06-01'}  # note: \"rotate\" \\ \u{2026}",
    "<pre>&lt;token&gt;P&lt;/token&gt;</pre> & 100% of the \u{1f511} is P",
];

/// A path, a body of the vendor's shape and what is quoted in it.
fn chat(turn: usize, seeded: &mut Seeded, holders: &[String]) -> (&'static str, &'static str, Value) {
    let holder = holders[seeded.next() as usize % holders.len()].as_str();
    let base64 = base64_of(holder);
    let shown = match seeded.next() % 6 {
        0 => base64.as_str(),
        _ => holder,
    };
    let talk = "and then it did the same thing again, so I looked at the log. ".repeat(seeded.next() as usize % 60);
    let text = format!("{talk}{}", seeded.of(&QUOTES).replace('P', shown));
    let code = format!("fn main() {{\n    // {turn}\n    let token = {text:?};\n}}\n");
    match turn % 8 {
        0 => (
            "api.openai.com",
            "/v1/chat/completions",
            json!({"model": "m", "stream": turn.is_multiple_of(16), "messages": [
            {"role": "system", "content": "You are a careful engineer."}, {"role": "user", "content": text}]}),
        ),
        1 => (
            "api.openai.com",
            "/v1/chat/completions",
            json!({"model": "m", "messages": [
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
             "function": {"name": "bash", "arguments": json!({"command": text}).to_string()}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": text}]}),
        ),
        2 => (
            "api.anthropic.com",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 1, "messages": [
            {"role": "user", "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}]}),
        ),
        3 => (
            "api.anthropic.com",
            "/v1/messages",
            json!({"model": "m", "max_tokens": 1, "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": text}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": code}]}]}),
        ),
        4 => (
            "api.openai.com",
            "/v1/responses",
            json!({"model": "m", "input": [{"role": "user", "content": [
            {"type": "input_text", "text": text}]}], "tools": [{"type": "function", "name": "edit", "description": code}]}),
        ),
        5 => (
            "api.github.com",
            "/repos/acme/widget/issues",
            json!({"title": text.chars().take(60).collect::<String>(),
            "body": text, "labels": ["bug"]}),
        ),
        6 => (
            "api.github.com",
            "/repos/acme/widget/pulls",
            json!({"title": "a change", "head": "agent/x", "base": "main",
            "body": format!("{code}\n\n{text}")}),
        ),
        _ => ("api.github.com", "/repos/acme/widget/issues/7/comments", json!({"body": code})),
    }
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("token={text}"))
}

/// Promise 12, second half: of a thousand chats and pieces of code that quote placeholders, none is blocked, and none is changed.
#[test]
fn a_thousand_bodies_that_quote_placeholders_pass() {
    let vendors = Vendors::start();
    let config = std::fs::read_to_string(vendors.house.config()).unwrap();
    let config = config.replace(
        "actions: [read, issues/create], resources: [\"*\"]",
        "actions: [read, issues/create, issues/create-comment, pulls/create], resources: [\"*\"], conditions: { approval: none }",
    );
    std::fs::write(vendors.house.config(), config).unwrap();
    let gateway = vendors.house.serve();
    let (ended, other) = (vendors.house.session("tester"), vendors.house.session("tester"));
    let _ = vendors.house.valetkey(&["session", "end", &ended.id]).expect_success("session end");
    let session = vendors.house.session("tester");
    let holders: Vec<String> = [&session, &session, &ended, &other]
        .iter()
        .flat_map(|of| ["GITHUB_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"].map(|name| of.env[name].clone()))
        .collect();
    let tls = testkit::ca::client_trusting(testkit::ca::roots_of(&session.ca), &["http/1.1"]);
    let open = |host: &str| {
        let mut wire = Wire::open(gateway.proxy).unwrap();
        let identity = testkit::client::proxy_authorization("tester", &session.token);
        assert_eq!(wire.connect(&format!("{host}:443"), &identity).unwrap().status, 200);
        wire.tls(host, &tls).unwrap()
    };
    let hosts = ["api.openai.com", "api.anthropic.com", "api.github.com"];
    let mut wires = hosts.map(open);
    let mut seeded = Seeded(1_012);
    let (mut blocked, mut quoted) = (Vec::new(), 0);
    for turn in 0..1_000 {
        let (host, path, body) = chat(turn, &mut seeded, &holders);
        let at = hosts.iter().position(|known| *known == host).unwrap();
        let slot = match host {
            "api.anthropic.com" => format!("x-api-key: {}", session.env["ANTHROPIC_API_KEY"]),
            "api.openai.com" => format!("Authorization: Bearer {}", session.env["OPENAI_API_KEY"]),
            _ => format!("Authorization: Bearer {}", session.env["GITHUB_TOKEN"]),
        };
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{slot}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        wires[at].send(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        let answer = wires[at].answer("POST").unwrap();
        if answer.code().is_some() || (400..600).contains(&answer.status) && answer.status != 404 {
            blocked.push(format!("{turn} {host}{path}: {} {:.200}", answer.status, answer.text()));
        }
        let arrived = vendors.upstream.journal().take();
        assert_eq!(arrived.len(), usize::from(answer.code().is_none()), "{turn} {host}{path}: {:.300}", answer.text());
        for seen in arrived {
            assert_eq!(seen.body, body.as_bytes(), "{turn}: changed on its way");
            quoted += 1;
        }
    }
    assert_eq!(blocked, Vec::<String>::new());
    println!("{quoted} bodies that quote placeholders passed unchanged, {} blocked", blocked.len());
    drop(wires);
    vendors.house.assert_audit();
}
