//! Agents that ask before they act: access at run time, with a reason and an end, against the real gateway with real clients.

use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::audit::Log;
use e2e::house::{Gateway, Session, binary};
use serde_json::{Value, json};
use testkit::client::Answer as Got;
use testkit::process::{Finished, finish};
use testkit::upstream::Content;
use testkit::{Answer, Canary, Upstream};

use crate::approvals::{TOKEN, talk};
use crate::clock::Hand;

const PATIENCE: Duration = Duration::from_mins(1);
const ISSUES: &str = "/repos/acme/widget/issues";
const COMMENTS: &str = "/repos/acme/widget/issues/7/comments";
const EVENTS: &str = "/repos/acme/widget/events";

const AGENT: &str = r#"
    standing: none
    permissions:
      - { service: github, credential: token, actions: [read], resources: ["repo:acme/widget"], max_ttl: 10m }
      - { service: github, credential: token, actions: [issues/create-comment], resources: ["repo:acme/*"],
          conditions: { approval: required } }
    denied_actions: [repos/delete]
"#;

struct Desk {
    upstream: Upstream,
    house: House,
    token: Canary,
}

impl Desk {
    fn open() -> Self {
        let upstream = Upstream::builder()
            .handler(|seen| {
                let events = Content::Events("data: {n}\n\n".to_owned(), None, Duration::from_millis(20));
                Some(if seen.path().starts_with(EVENTS) {
                    Answer::body("text/event-stream", "").content(events)
                } else {
                    Answer::json(&json!([{ "id": 1 }]))
                })
            })
            .start();
        let token = Canary::new(902, "ghp_", 36);
        let mut hash = Command::new("sh");
        let hash = finish(hash.args(["-c", "printf %s \"$0\" | sha256sum", TOKEN]), PATIENCE).expect_success("a hash");
        let config = format!(
            "version: 1\ncredentials:\n  token: {{ service: github, from: env:GITHUB_TOKEN }}\noperators:\n  \
             - {{ name: ada, token_hash: {}, roles: [approver] }}\nagents:\n  tester:{AGENT}  other:{AGENT}capabilities:\n  \
             look: [{{ service: github, actions: [read], resources: [\"repo:acme/widget\"] }}]\nupstreams:\n{}",
            &hash.stdout[..64],
            upstream.entry("api.github.com"),
        );
        let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
        std::fs::write(house.path("token"), format!("{TOKEN}\n")).unwrap();
        std::fs::set_permissions(house.path("token"), Permissions::from_mode(0o600)).unwrap();
        Self { upstream, house, token }
    }

    fn begin(&self) -> (Gateway, Session) {
        (self.house.serve(), self.house.session("tester"))
    }

    /// `valetkey grant` in the environment of a session.
    fn grant(&self, session: &Session, words: &[&str]) -> Finished {
        let mut command = self.house.clean(binary());
        command.env("HTTPS_PROXY", &session.env["HTTPS_PROXY"]).arg("grant").args(words);
        finish(&mut command, PATIENCE)
    }
}

/// What a session asks of the service, on the reverse leg.
fn calls((gateway, session): (&Gateway, &Session), method: &str, path: &str, body: &str) -> Got {
    let token = &session.token;
    let head = format!("{method} /proxy/github{path} HTTP/1.1\r\nX-Valetkey-Session: {token}\r\nPrefer: wait=0");
    talk(gateway.proxy, &head, body).unwrap()
}

/// What the holder of a token asks of the API.
fn api(gateway: &Gateway, token: &str, (method, path): (&str, &str), body: &str) -> Got {
    talk(gateway.api, &format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer {token}"), body).unwrap()
}

fn asks(gateway: &Gateway, session: &Session, body: &Value) -> Got {
    api(gateway, &session.token, ("POST", "/v1/grants"), &body.to_string())
}

fn reading(ttl: u64) -> Value {
    json!({
        "service": "github", "actions": ["read"], "resources": ["repo:acme/widget"], "ttl_seconds": ttl,
        "justification": "to see what is open", "task": "TASK-1",
    })
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}"))
}

/// What a grant covers of what was asked for.
fn allowed(grant: &Value) -> Value {
    let scopes = grant["allowed"].as_array().unwrap();
    scopes.iter().filter(|scope| scope.get("implied").is_none()).cloned().collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

#[test]
fn ask_use_and_end() {
    let desk = Desk::open();
    let (gateway, session) = desk.begin();
    let at = (&gateway, &session);
    let no = calls(at, "GET", ISSUES, "");
    assert_eq!((no.status, no.code().as_deref()), (403, Some("denied")), "{}", no.text());
    let said = no.json();
    assert!(text(&said, "error").contains("needs a grant"), "{said}");
    assert!(text(&said, "hint").contains("grant request --service github"), "{said}");
    assert_eq!(desk.upstream.journal().all().len(), 0);

    let got = asks(&gateway, &session, &reading(60));
    assert_eq!(got.status, 201, "{}", got.text());
    let grant = got.json();
    assert_eq!((text(&grant, "state"), &grant["ttl_seconds"]), ("live", &json!(60)));
    let read = json!([{ "service": "github", "actions": ["read"], "resources": ["repo:acme/widget"] }]);
    assert_eq!(allowed(&grant), read);
    let id = text(&grant, "id").to_owned();
    assert!(id.starts_with("grt_"));
    assert_eq!(got.header("location"), Some(&*format!("/v1/grants/{id}")));
    assert_eq!(calls(at, "GET", ISSUES, "").status, 200, "at once");
    assert_eq!(calls(at, "POST", COMMENTS, "{\"body\":\"x\"}").status, 403, "nothing more");

    // It is over when it is ended, at once.
    assert_eq!(api(&gateway, &session.token, ("DELETE", &format!("/v1/grants/{id}")), "").status, 204);
    assert_eq!(calls(at, "GET", ISSUES, "").status, 403);
    assert_eq!(api(&gateway, &session.token, ("DELETE", &format!("/v1/grants/{id}")), "").status, 409);

    let log = Log::of(&desk.house);
    let attempt = log.events(&session.id, "attempt").next().unwrap();
    assert_eq!(text(attempt, "grant"), id);
    let told: Vec<&str> = log.events(&session.id, "grant").map(|event| text(event, "reason")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("grant given by tester, github read on repo:acme/widget"), "{told:?}");
    assert!(told[1].starts_with("grant ended") && told[1].ends_with("ended by agent tester"), "{told:?}");
    for event in log.events(&session.id, "grant") {
        assert_eq!((text(event, "justification"), text(event, "task")), ("to see what is open", "TASK-1"));
    }
    desk.house.assert_audit();
    assert!(!log.events(&session.id, "grant").any(|event| event.to_string().contains(&desk.token.value())));
}

#[test]
fn the_subset_what_was_cut_and_a_clear_no() {
    let desk = Desk::open();
    let (gateway, session) = desk.begin();
    let mut wide = reading(9_999);
    wide["resources"] = json!(["repo:acme/*"]);
    wide["actions"] = json!(["repos/get", "repos/delete"]);
    let grant = asks(&gateway, &session, &wide).json();
    let get = json!([{ "service": "github", "actions": ["repos/get"], "resources": ["repo:acme/widget"] }]);
    assert_eq!(allowed(&grant), get);
    let cut: Vec<&str> = grant["cut"].as_array().unwrap().iter().map(|cut| text(cut, "what")).collect();
    assert_eq!(cut, ["repos/delete on repo:acme/*", "repos/get on repo:acme/*", "ttl_seconds 9999"]);
    assert_eq!(grant["ttl_seconds"], 600, "its permission's `max_ttl`");
    // A capability set by its name.
    let set = json!({ "capability": "look", "justification": "to look" });
    assert_eq!(asks(&gateway, &session, &set).status, 201);
    // Nothing of it.
    let mut none = reading(60);
    none["actions"] = json!(["pulls/create"]);
    let no = asks(&gateway, &session, &none);
    let said = no.json();
    assert_eq!((no.status, no.code().as_deref()), (403, Some("denied")), "{said}");
    assert!(text(&said, "hint").contains("read on repo:acme/widget (github, rule tester/1)"), "{said}");
    assert_eq!(no.header("content-type"), Some("application/problem+json"));
    let log = Log::of(&desk.house);
    let denied = log.events(&session.id, "grant").find(|event| event["decision"] == "deny").unwrap();
    assert_eq!((text(denied, "code"), text(denied, "justification")), ("denied", "to see what is open"));
}

#[test]
fn a_person_answers() {
    let desk = Desk::open();
    let (gateway, session) = desk.begin();
    let at = (&gateway, &session);
    let comment = json!({
        "service": "github", "scope": "issues/create-comment", "resources": "repo:acme/widget", "justification": "to answer",
    });
    let got = asks(&gateway, &session, &comment);
    assert_eq!(got.status, 202, "{}", got.text());
    let grant = got.json();
    let (id, question) = (text(&grant, "id").to_owned(), text(&grant, "approval").to_owned());
    assert_eq!(calls(at, "POST", COMMENTS, "{\"body\":\"x\"}").status, 403);
    // The same again is the same question.
    assert_eq!(text(&asks(&gateway, &session, &comment).json(), "id"), id);
    let shown = desk.house.valetkey(&["approvals", "show", &question]).expect_success("show").stdout;
    assert!(shown.contains("issues/create-comment on repo:acme/widget") && shown.contains("to answer"), "{shown}");
    // Nobody without a token of his own says yes.
    assert_eq!(desk.house.valetkey(&["approve", &question]).code(), Some(2));
    let approve = |id: &str| desk.house.valetkey(&["approve", id, "--token-file", "token"]);
    let _ = approve(&question).expect_success("approve");
    let look = || api(&gateway, &session.token, ("GET", &format!("/v1/grants/{id}")), "").json();
    wait_until("it is not given", || text(&look(), "state") == "live");
    assert_eq!(text(&look(), "approver"), "ada");
    // The grant answers the question of the rule, as often as the agent calls.
    for body in ["{\"body\":\"one\"}", "{\"body\":\"two\"}"] {
        assert_eq!(calls(at, "POST", COMMENTS, body).status, 200);
    }
    assert_eq!(calls(at, "POST", "/repos/acme/other/issues/7/comments", "{\"body\":\"x\"}").status, 403);

    // What the agent says is shown as what it is.
    let mut odd = reading(60);
    odd["justification"] = json!("fine \u{1b}[2J\u{202e}");
    assert_eq!(asks(&gateway, &session, &odd).status, 201);
    let list = desk.house.valetkey(&["grant", "list"]).expect_success("list").stdout;
    assert!(list.contains("fine \\u{1b}[2J\\u{202e}"), "{list}");
    // A no, while the agent waits.
    let mut again = comment;
    again["justification"] = json!("once more");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let head =
                format!("POST /v1/grants HTTP/1.1\r\nAuthorization: Bearer {}\r\nPrefer: wait=60", session.token);
            talk(gateway.api, &head, &again.to_string()).unwrap()
        });
        let mut open = Vec::new();
        wait_until("nobody is asked", || {
            let list = desk.house.valetkey(&["approvals", "list", "--json"]).expect_success("list").stdout;
            open = serde_json::from_str::<Value>(&list).unwrap().as_array().unwrap().clone();
            open.len() == 1
        });
        let deny = ["deny", text(&open[0], "id"), "--reason", "on Monday"];
        let _ = desk.house.valetkey(&deny).expect_success("deny");
        let no = waits.join().unwrap();
        assert_eq!((no.status, no.code().as_deref()), (403, Some("approval_denied")), "{}", no.text());
        assert!(no.text().contains("on Monday"), "{}", no.text());
    });
    // A no holds for the same access, whatever the words.
    again["justification"] = json!("pretty please");
    let no = asks(&gateway, &session, &again);
    assert_eq!((no.status, no.code().as_deref()), (403, Some("approval_denied")), "{}", no.text());
    let log = Log::of(&desk.house);
    let told = |word: &str| {
        let wanted = format!("grant {word}");
        log.events(&session.id, "grant").filter(|event| text(event, "reason").starts_with(&wanted)).count()
    };
    assert_eq!((told("requested"), told("given"), told("denied")), (2, 2, 2));
    let given = log.events(&session.id, "grant").find(|event| event["decision"] == "allow").unwrap();
    assert_eq!((&given["approval"]["id"], text(&given["approval"], "approver")), (&json!(question), "ada"));
    desk.house.assert_audit();
}

#[test]
fn a_grant_ends_by_itself_and_with_its_session() {
    let desk = Desk::open();
    let hand = Hand::on(&desk.house);
    let gateway = hand.serve(&desk.house);
    let session = desk.house.session("tester");
    let at = (&gateway, &session);
    assert_eq!(asks(&gateway, &session, &reading(60)).status, 201);
    assert_eq!(calls(at, "GET", ISSUES, "").status, 200);
    hand.set("+50s");
    assert_eq!(calls(at, "GET", ISSUES, "").status, 200);
    hand.set("+61s");
    wait_until("it outlives its time", || calls(at, "GET", ISSUES, "").status == 403);
    let ended = |why: &str| {
        let log = Log::of(&desk.house);
        log.events(&session.id, "grant").filter(|event| text(event, "reason").ends_with(why)).count()
    };
    wait_until("its end is not on record", || ended("its time is over") == 1);

    assert_eq!(asks(&gateway, &session, &reading(60)).status, 201);
    let _ = desk.house.valetkey(&["session", "end", &session.id]).expect_success("end");
    wait_until("it outlives its session", || ended("its session is over") == 1);
    assert_eq!(asks(&gateway, &session, &reading(60)).status, 401);
}

/// Reads what comes until the connection ends; whether it did within this time.
fn ends_within(stream: &mut TcpStream, time: Duration) -> bool {
    let start = Instant::now();
    let mut buffer = [0; 4_096];
    while start.elapsed() < time {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
    false
}

/// A stream that stands on a grant is cut when that ends: by whoever ends it, and by its time.
#[test]
fn streams_end_with_the_grant() {
    let desk = Desk::open();
    let hand = Hand::on(&desk.house);
    let gateway = hand.serve(&desk.house);
    let session = desk.house.session("tester");
    let open = || {
        let mut stream = TcpStream::connect(gateway.proxy).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let head = format!(
            "GET /proxy/github{EVENTS} HTTP/1.1\r\nHost: {}\r\nX-Valetkey-Session: {}\r\n\r\n",
            gateway.proxy, session.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 4_096]);
        wait_until("no event comes", || {
            let count = stream.read(&mut buffer).unwrap_or(0);
            seen.extend_from_slice(&buffer[..count]);
            String::from_utf8_lossy(&seen).contains("data: 3")
        });
        stream
    };
    let grant = asks(&gateway, &session, &reading(60)).json();
    let mut stream = open();
    assert!(!ends_within(&mut stream, Duration::from_millis(300)), "it stays while the grant lives");
    let start = Instant::now();
    let operator = desk.house.valetkey(&["grant", "end", text(&grant, "id")]);
    let told = start.elapsed();
    let _ = operator.expect_success("grant end");
    assert!(ends_within(&mut stream, Duration::from_secs(1)), "a second after the end it streams still ({told:?})");

    assert_eq!(asks(&gateway, &session, &reading(60)).status, 201);
    let mut stream = open();
    hand.set("+61s");
    assert!(ends_within(&mut stream, Duration::from_secs(1)), "a second after its time it streams still");
    // What does not stand on the grant that ends goes on.
    let first = asks(&gateway, &session, &reading(60)).json();
    let mut other = reading(600);
    other["actions"] = json!(["repos/get"]);
    let second = asks(&gateway, &session, &other).json();
    let mut stream = open();
    assert_eq!(api(&gateway, TOKEN, ("DELETE", &format!("/v1/grants/{}", text(&second, "id"))), "").status, 204);
    assert!(!ends_within(&mut stream, Duration::from_millis(500)));
    assert_eq!(api(&gateway, TOKEN, ("DELETE", &format!("/v1/grants/{}", text(&first, "id"))), "").status, 204);
    assert!(ends_within(&mut stream, Duration::from_secs(1)));
}

#[test]
fn a_token_is_for_its_own_session() {
    let desk = Desk::open();
    let (gateway, session) = desk.begin();
    let other = desk.house.session("other");
    let grant = asks(&gateway, &session, &reading(60)).json();
    let id = text(&grant, "id").to_owned();
    let place = format!("/v1/grants/{id}");
    // Another session neither sees nor ends it, nor may use it, nor asks for the first.
    assert_eq!(api(&gateway, &other.token, ("GET", &place), "").status, 404);
    assert_eq!(api(&gateway, &other.token, ("DELETE", &place), "").status, 404);
    assert_eq!(api(&gateway, &other.token, ("GET", "/v1/grants"), "").json(), json!([]));
    assert_eq!(calls((&gateway, &other), "GET", ISSUES, "").status, 403);
    let mut foreign = reading(60);
    foreign["session"] = json!(session.id);
    assert_eq!(asks(&gateway, &other, &foreign).status, 403);
    // No token of a session opens anything else.
    for (method, path) in [
        ("GET", "/v1/sessions"),
        ("POST", "/v1/sessions"),
        ("GET", "/v1/approvals"),
        ("POST", "/v1/approvals/apr_00000000000000000000000000"),
        ("GET", "/v1/credentials"),
        ("POST", "/v1/credentials"),
        ("POST", "/v1/stop"),
        ("POST", "/v1/stop/lift"),
        ("GET", "/v1/agents"),
    ] {
        assert_eq!(api(&gateway, &session.token, (method, path), "{}").status, 403, "{method} {path}");
    }
    let unknown = format!("vkt_{}", "A".repeat(43));
    assert_eq!(asks(&gateway, &Session { token: unknown, ..session.clone() }, &reading(60)).status, 401);
    // Who sends no token over the socket is the user, who could be the agent: he gives nothing.
    let give =
        ["grant", "give", "--session", &session.id, "--service", "github", "--action", "read", "--justification", "x"];
    assert_eq!(desk.house.valetkey(&give).code(), Some(2), "it wants an operator's token");
    let _ = desk.house.valetkey(&["stop", "--agent", "tester"]).expect_success("stop");
    wait_until("a stopped agent asks", || asks(&gateway, &session, &reading(60)).status == 403);
}

#[test]
fn the_command_line() {
    let desk = Desk::open();
    let (gateway, session) = desk.begin();
    let at = (&gateway, &session);
    let words =
        ["--service", "github", "--action", "read", "--resource", "repo:acme/widget", "--justification", "to look"];
    let mut asked = vec!["request"];
    asked.extend(words);
    let said = desk.grant(&session, &asked).expect_success("request").stdout;
    assert!(said.starts_with("grt_") && said.contains("github: read on repo:acme/widget"), "{said}");
    assert_eq!(calls(at, "GET", ISSUES, "").status, 200);
    let list = desk.house.valetkey(&["grant", "list", "--json"]).expect_success("list").stdout;
    let list: Value = serde_json::from_str(&list).unwrap();
    let id = text(&list[0], "id");
    assert!(desk.house.valetkey(&["grant", "list"]).stdout.contains("to look"));
    let _ = desk.house.valetkey(&["grant", "end", id]).expect_success("end");
    assert_eq!(desk.house.valetkey(&["grant", "end", id]).code(), Some(3), "once");
    assert_eq!(desk.house.valetkey(&["grant", "list"]).stdout, "");
    // An honest no is 1, a word that nobody knows 2, and so is who has no session.
    let no =
        desk.grant(&session, &["request", "--service", "github", "--action", "pulls/create", "--justification", "x"]);
    assert_eq!(no.code(), Some(1), "{}", no.stderr);
    assert!(no.stdout.contains("what could be asked for"), "{}", no.stdout);
    let wrong = desk.grant(&session, &["request", "--service", "githup", "--action", "read", "--justification", "x"]);
    assert_eq!(wrong.code(), Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("did you mean `github`"), "{}", wrong.stderr);
    assert_eq!(
        desk.house.valetkey(&["grant", "request", "--capability", "look", "--justification", "x"]).code(),
        Some(2)
    );
    // An operator gives one, and says yes with it.
    let comment =
        ["grant", "give", "--session", &session.id, "--service", "github", "--action", "issues/create-comment"];
    let mut command = desk.house.clean(binary());
    command.args(comment).args(["--justification", "go on", "--ttl", "2m", "--token-file", "token", "--json"]);
    let given = finish(&mut command, PATIENCE).expect_success("give");
    let given: Value = serde_json::from_str(&given.stdout).unwrap();
    assert_eq!((text(&given, "by"), text(&given, "approver"), &given["ttl_seconds"]), ("ada", "ada", &json!(120)));
    assert_eq!(calls(at, "POST", COMMENTS, "{\"body\":\"x\"}").status, 200);
}

/// Nothing that an agent sends here is more than a refusal.
#[test]
fn hostile_requests() {
    let desk = Desk::open();
    let (gateway, session) = desk.begin();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = reading(60);
        change(&mut body);
        body.to_string()
    };
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (what, body, statuses) in [
        ("no JSON", "{".to_owned(), &[400][..]),
        ("nothing", String::new(), &[400]),
        ("a list", "[]".to_owned(), &[422]),
        ("a key that is unknown", with(&|body| body["scopes"] = json!([])), &[422]),
        ("a grant that is made up", with(&|body| body["allowed"] = json!([{ "service": "github" }])), &[422]),
        ("a number for a word", with(&|body| body["actions"] = json!(7)), &[422]),
        ("a negative time", with(&|body| body["ttl_seconds"] = json!(-1)), &[422]),
        ("no time", with(&|body| body["ttl_seconds"] = json!(0)), &[400]),
        ("no reason", with(&|body| body["justification"] = json!("  ")), &[400]),
        ("a long reason", with(&|body| body["justification"] = json!("x".repeat(9_000))), &[400]),
        ("many words", with(&|body| body["actions"] = json!(vec!["read"; 99])), &[400]),
        ("a long word", with(&|body| body["actions"] = json!(["x".repeat(9_000)])), &[400]),
        ("stars", with(&|body| body["resources"] = json!([format!("repo:{}", "*a".repeat(200))])), &[403]),
        ("a path that climbs", with(&|body| body["resources"] = json!(["repo:../../acme"])), &[403]),
        ("no kind", with(&|body| body["resources"] = json!(["acme/widget"])), &[400]),
        ("an unknown action", with(&|body| body["actions"] = json!(["read\n- delete"])), &[400]),
        ("both ways at once", with(&|body| body["capability"] = json!("look")), &[400]),
        ("a user that is another", with(&|body| body["user"] = json!("ada")), &[403]),
        ("a session that is none", with(&|body| body["session"] = json!("ses_")), &[422]),
        ("too large", with(&|body| body["task"] = json!("x".repeat(400_000))), &[413]),
        ("deep", with(&|body| body["actions"] = json!("read")).replace("\"read\"", &deep), &[400, 422]),
    ] {
        let got = asks(&gateway, &session, &Value::Null).status;
        assert_eq!(got, 422, "null");
        let head = format!("POST /v1/grants HTTP/1.1\r\nAuthorization: Bearer {}", session.token);
        let got = talk(gateway.api, &head, &body).unwrap();
        assert!(statuses.contains(&got.status), "{what}: {} {}", got.status, got.text());
        assert_eq!(got.header("content-type"), Some("application/problem+json"), "{what}");
    }
    assert_eq!(calls((&gateway, &session), "GET", ISSUES, "").status, 403, "nothing was given");
    // A loop is told to stop.
    let mut last = 0;
    for _ in 0..100 {
        last = asks(&gateway, &session, &reading(1)).status;
    }
    assert_eq!(last, 429);
    desk.house.assert_audit();
}

/// Between walls, or wherever only the proxy can be reached, the agent asks through it; its connection says who it is.
#[test]
fn agents_ask_through_the_gateway() {
    let desk = Desk::open();
    let script = format!(
        "set -e
         ask() {{ curl -sS -o said -w '%{{http_code}} ' http://valetkey.internal/v1/grants -H 'Content-Type: application/json' -d \"$1\"; }}
         use() {{ curl -sS -o /dev/null -w '%{{http_code}} ' -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com{ISSUES}; }}
         use
         ask '{{\"service\":\"github\",\"actions\":[\"read\"],\"resources\":[\"repo:acme/widget\"],\"justification\":\"to look\"}}'
         use
         ask '{{\"service\":\"github\",\"actions\":[\"pulls/create\"],\"justification\":\"x\"}}'
         curl -sS -X DELETE -o /dev/null -w '%{{http_code}} ' http://valetkey.internal/v1/grants/$(curl -sS http://valetkey.internal/v1/grants | sed 's/.*\\(grt_[a-z0-9]*\\).*/\\1/')
         use
         curl -sS -o /dev/null -w '%{{http_code}}' http://valetkey.internal/v1/sessions"
    );
    let (done, receipt) = desk.house.run("tester", &["sh", "-c", &script]);
    let done = done.expect_success("the agent");
    assert_eq!(done.stdout, "403 201 200 403 204 403 403", "{}", done.stderr);
    assert_eq!(receipt.count("allowed"), 1);
    let (gateway, session) = desk.begin();
    let bearer = format!("POST /v1/grants HTTP/1.1\r\nAuthorization: Bearer {}", session.token);
    assert_eq!(talk(gateway.proxy, &bearer, &reading(60).to_string()).unwrap().status, 201);
    let nobody = "POST /v1/grants HTTP/1.1\r\nX-Nobody: 1";
    assert_eq!(talk(gateway.proxy, nobody, &reading(60).to_string()).unwrap().status, 401);
    let large = json!({ "justification": "x".repeat(300_000) }).to_string();
    assert_eq!(talk(gateway.proxy, &bearer, &large).unwrap().status, 413);
}
