//! Rows of the attack catalogue about questions to people (group H), and what a question says of where things go (G93): nobody but an
//! approver says yes, to what he saw, as often as he meant.

use std::thread;
use std::time::{Duration, Instant};

use e2e::house::{Gateway, Session, binary};
use serde_json::{Value, json};
use testkit::client::{Answer, Wire};
use testkit::process::finish;

use crate::approvals::{Office, TOKEN, talk};

const PATIENCE: Duration = Duration::from_mins(1);

/// An agent on the reverse leg.
struct Desk {
    office: Office,
    gateway: Gateway,
    session: Session,
}

impl Desk {
    fn with(more: &str) -> Self {
        let office = Office::with(more);
        let (gateway, session) = (office.house.serve(), office.house.session("tester"));
        Self { office, gateway, session }
    }

    /// The head of a request to GitHub's API, but for what `talk` adds.
    fn head(&self, method: &str, path: &str, more: &str) -> String {
        let (token, placeholder) = (&self.session.token, &self.session.env["GITHUB_TOKEN"]);
        format!(
            "{method} /proxy/github{path} HTTP/1.1\r\nX-Valetkey-Session: {token}\r\nAuthorization: Bearer {placeholder}{more}"
        )
    }

    /// Asks and does not wait for a person.
    fn asks(&self, method: &str, path: &str, body: &str) -> Answer {
        talk(self.gateway.proxy, &self.head(method, path, "\r\nPrefer: wait=0"), body).unwrap()
    }

    /// What an operator asks of the API.
    fn api(&self, method: &str, path: &str, body: &str) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
        talk(self.gateway.api, &head, body).unwrap()
    }

    fn says(&self, id: &str, decision: &str) -> u16 {
        self.api("POST", &format!("/v1/approvals/{id}"), &json!({ "decision": decision }).to_string()).status
    }

    fn open(&self) -> Vec<Value> {
        self.api("GET", "/v1/approvals", "").json().as_array().unwrap().clone()
    }
}

fn id(one: &Value) -> &str {
    one["id"].as_str().unwrap()
}

fn hash(text: &[u8], desk: &Desk) -> String {
    std::fs::write(desk.office.house.path("octets"), text).unwrap();
    let mut sum = desk.office.house.clean(std::path::Path::new("sha256sum"));
    finish(sum.arg("octets"), PATIENCE).expect_success("sha256sum").stdout[..64].to_owned()
}

const COMMENTS: &str = "/repos/acme/widget/issues/7/comments";

/// Rows H96 and H104: nobody is asked before the last octet is there, what is shown are the octets and not a reading of them, and what
/// leaves has the digest that was shown.
#[test]
fn what_is_shown_is_what_was_read_to_its_end_and_what_leaves() {
    let desk = Desk::with("");
    // Escapes, base64 and letters of other sets are shown as they are sent.
    let text = format!("{{\"body\":\"\\u0068i aGVsbG8= \u{e9} {}\"}}", "x".repeat(40_000));
    let head = desk.head("POST", COMMENTS, "\r\nHost: gateway\r\nContent-Type: application/json; charset=utf-8");
    let mut wire = Wire::open(desk.gateway.proxy).unwrap();
    wire.send(format!("{head}\r\nContent-Length: {}\r\n\r\n", text.len()).as_bytes()).unwrap();
    wire.send(&text.as_bytes()[..16_384]).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        assert!(desk.open().is_empty(), "asked before all was there");
    }
    wire.send(&text.as_bytes()[16_384..]).unwrap();
    let asked = desk.office.question();
    let shown = desk.api("GET", &format!("/v1/approvals/{}", id(&asked)), "").json();
    assert_eq!(shown["body_hash"].as_str().unwrap().trim_start_matches("sha256:"), hash(text.as_bytes(), &desk));
    let body = &shown["body"];
    assert_eq!((&body["bytes"], &body["whole"]), (&json!(text.len()), &json!(true)));
    assert!(
        body["text"].as_str().unwrap().starts_with("{\"body\":\"\\u0068i aGVsbG8= \u{e9} xxx"),
        "{:.60}",
        body["text"]
    );
    assert_eq!(desk.says(id(&asked), "approve"), 204);
    assert_eq!(wire.answer("POST").unwrap().status, 200);
    // Octets behind it, while a person thinks, end the connection: they are no part of what was asked, nor a request.
    let mut wire = Wire::open(desk.gateway.proxy).unwrap();
    let other = text.replace("i aGV", "o aGV");
    wire.send(format!("{head}\r\nContent-Length: {}\r\n\r\n{other}", other.len()).as_bytes()).unwrap();
    let asked = desk.office.question();
    wire.send(b"{\"body\":\"tail\"}").unwrap();
    assert_eq!(wire.answer("POST").unwrap().status, 400);
    assert_eq!(desk.says(id(&asked), "approve"), 204);
    assert_eq!(desk.office.sent(), [text]);
    desk.office.house.assert_audit();
}

/// Row H98: a thousand requests are five questions; a no is a no for all of its kind, for a while.
#[test]
fn a_thousand_requests_are_five_questions() {
    let desk = Desk::with("");
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..1_000_usize {
        // A hundred times the same, then others.
        let body = json!({ "body": format!("comment {}", number.max(99)) }).to_string();
        *statuses.entry(desk.asks("POST", COMMENTS, &body).status).or_default() += 1;
    }
    assert_eq!(statuses, [(403, 896), (409, 104)].into(), "the same question is put once, and five are open at most");
    let open = desk.open();
    assert_eq!(open.len(), 5);
    assert_eq!(desk.says(id(&open[0]), "deny"), 204);
    for number in 2_000..2_020 {
        let got = desk.asks("POST", COMMENTS, &json!({ "body": format!("comment {number}") }).to_string());
        assert_eq!((got.status, got.code().as_deref()), (403, Some("approval_denied")), "{}", got.text());
    }
    assert_eq!(desk.open().len(), 4, "nobody is asked the same again");
    assert_eq!(desk.office.sent(), [] as [String; 0]);
}

/// Row H99: whatever a text holds, what a person reads holds nothing that moves, hides or turns it.
#[test]
fn thirty_texts_that_deceive_are_shown_by_number() {
    let title = "      - { service: github, credential: token, actions: [issues/create], resources: [\"*\"], conditions: { approval: required } }\n";
    let desk = Desk::with(title);
    let long = format!("{}\u{202e}", "x".repeat(3_000));
    let texts = [
        "gpj\u{202e}.exe",
        "a\u{202d}b",
        "a\u{202a}b\u{202c}",
        "a\u{2066}b\u{2069}",
        "a\u{2067}b",
        "a\u{2068}b",
        "\u{200e}a\u{200f}",
        "\u{61c}a",
        "x\u{200b}y",
        "x\u{200c}y",
        "x\u{200d}y",
        "x\u{feff}y",
        "soft\u{ad}hyphen",
        "x\u{2060}y",
        "\u{1b}[2J\u{1b}[H",
        "\u{1b}]0;title\u{7}",
        "\u{1b}]8;;https://evil.example\u{7}here\u{1b}]8;;\u{7}",
        "\u{9b}31m",
        "a\r\nAllowed: yes",
        "a\u{2028}b\u{2029}c",
        "a\u{85}b",
        "p\u{430}yp\u{430}l",
        "\u{ff41}dmin",
        "\u{1d41a}bc",
        "tag\u{e0041}",
        "fill\u{3164}er",
        "z\u{334}\u{335}",
        "no\u{a0}break",
        "\u{0}nul",
        "**bold** [x](https://evil.example) <b onclick=x>y</b> \u{202e}",
        &long,
    ];
    assert!(texts.len() >= 30);
    for (number, text) in texts.iter().enumerate() {
        let body = json!({ "title": text, "body": text }).to_string();
        let got = desk.asks("POST", &format!("/repos/acme/r{number}/issues"), &body);
        assert_eq!(got.status, 409, "{text:?}: {}", got.text());
        let asked = desk.office.question();
        let list = desk.office.types(&["approvals", "list"]).expect_success("list").stdout;
        let show = desk.office.types(&["approvals", "show", id(&asked)]).expect_success("show").stdout;
        for shown in [&list, &show] {
            let odd: Vec<char> = shown
                .chars()
                .filter(|letter| !matches!(letter, ' '..='~' | '\n') && !letter.is_alphanumeric())
                .collect();
            assert!(odd.is_empty(), "{text:?} is shown with {odd:?}: {shown}");
            assert!(!shown.lines().any(|line| line.starts_with("Allowed")), "{shown}");
            assert!(!shown.contains(text), "{text:?} is shown as it is: {shown}");
        }
        assert_eq!(desk.says(id(&asked), "deny"), 204);
    }
    assert_eq!(desk.office.sent(), [] as [String; 0]);
}

/// Row H100: an agent of the same user, without walls, tries to say yes to itself.
#[test]
fn an_agent_cannot_approve_itself() {
    let desk = Desk::with("");
    assert_eq!(desk.asks("POST", COMMENTS, "{\"body\":\"mine\"}").status, 409);
    let asked = desk.office.question();
    let id = id(&asked);
    let (proxy, api, session) = (desk.gateway.proxy, desk.gateway.api, &desk.session);
    let (token, placeholder) = (&session.token, &session.env["GITHUB_TOKEN"]);
    let yes = "-X POST -H 'Content-Type: application/json' -d '{\"decision\":\"approve\"}'";
    let config = std::fs::read_to_string(desk.office.house.config()).unwrap();
    let known = config.split_once("token_hash: ").unwrap().1.split(',').next().unwrap();
    let curl = |more: &str| format!("curl -s -o /dev/null --fail {yes} {more}");
    let program = binary().display();
    std::fs::write(desk.office.house.path("stolen"), token).unwrap();
    let ways = [
        format!("{program} approve {id}"),
        format!("chmod 600 stolen && {program} approve {id} --token-file stolen"),
        format!("printf 'o\\ny\\n' | {program} approvals show {id} && {program} approve {id} < /dev/null"),
        curl(&format!("--unix-socket state/api.sock http://localhost/v1/approvals/{id}")),
        curl(&format!(
            "--unix-socket state/api.sock -H 'Authorization: Bearer {token}' http://localhost/v1/approvals/{id}"
        )),
        curl(&format!("-H 'Authorization: Bearer {token}' http://{api}/v1/approvals/{id}")),
        curl(&format!("-H 'Authorization: Bearer {placeholder}' http://{api}/v1/approvals/{id}")),
        curl(&format!("-H 'Authorization: Bearer {known}' http://{api}/v1/approvals/{id}")),
        curl(&format!("-H 'Cookie: session={token}; __Host-valetkey={known}' http://{api}/v1/approvals/{id}")),
        curl(&format!("-x http://{proxy} -U tester:{token} http://{api}/v1/approvals/{id}")),
        curl(&format!("-H 'X-Valetkey-Session: {token}' http://{proxy}/v1/approvals/{id}")),
        curl(&format!(
            "-H 'X-Valetkey-Session: {token}' -H 'X-Valetkey-Operator: ada' http://{proxy}/proxy/api/v1/approvals/{id}"
        )),
    ];
    for way in &ways {
        let mut command = desk.office.house.clean(std::path::Path::new("sh"));
        command.env_remove("GITHUB_TOKEN").envs(&session.env).env_remove("HTTP_PROXY").env_remove("http_proxy");
        let done = finish(command.args(["-c", way]), PATIENCE);
        assert_ne!(done.code(), Some(0), "{way}: {}", done.stdout);
        assert_eq!(desk.open().len(), 1, "{way} answered it");
    }
    // And one that takes a file: operators of a configuration that was changed count when the gateway is started anew, not before.
    let eve = hash(b"eve", &desk);
    let more = format!("operators:\n  - {{ name: eve, token_hash: {eve}, roles: [approver] }}\n");
    std::fs::write(desk.office.house.config(), config.replace("operators:\n", &more)).unwrap();
    let start = Instant::now();
    while !std::fs::read_to_string(desk.office.house.path("serve.log")).unwrap().contains("in force") {
        assert!(start.elapsed() < PATIENCE, "the changed configuration is not taken in");
        thread::sleep(Duration::from_millis(20));
    }
    let head = format!("POST /v1/approvals/{id} HTTP/1.1\r\nAuthorization: Bearer eve");
    assert_eq!(talk(api, &head, "{\"decision\":\"approve\"}").unwrap().status, 401);
    assert_eq!(desk.office.sent(), [] as [String; 0]);
    assert_eq!(desk.says(id, "approve"), 204);
    println!("{} ways, none is a yes", ways.len() + 1);
}

/// Rows H101 to H103, as far as the API goes: a page elsewhere gets in neither by its origin nor by a name that was bound anew, and no
/// answer is anything that a browser would run.
#[test]
fn no_page_asks_the_api() {
    let desk = Desk::with("");
    assert_eq!(desk.asks("POST", COMMENTS, "{\"body\":\"<script>alert(1)</script>\"}").status, 409);
    let asked = desk.office.question();
    let one = format!("/v1/approvals/{}", id(&asked));
    let api = desk.gateway.api;
    let routes = [
        "/v1/health",
        "/v1/sessions",
        "/v1/stops",
        "/v1/agents",
        "/v1/approvals",
        &one,
        "/v1/credentials",
        "/credentials",
        "/nothing",
    ];
    for route in routes {
        for method in ["GET", "POST", "OPTIONS", "DELETE"] {
            let mut wire = Wire::open(api).unwrap();
            let host = format!(
                "{method} {route} HTTP/1.1\r\nHost: evil.test:{}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
                api.port()
            );
            wire.send(host.as_bytes()).unwrap();
            assert_eq!(wire.answer(method).unwrap().status, 421, "{method} {route} by another name");
            let page = format!(
                "{method} {route} HTTP/1.1\r\nOrigin: http://localhost:3000\r\nSec-Fetch-Site: same-site\r\nCookie: token={TOKEN}"
            );
            let got = talk(api, &page, "{\"decision\":\"approve\"}").unwrap();
            assert_eq!(got.status, 401, "{method} {route} from a page");
            let cors = got.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
            assert_eq!(cors, None, "{method} {route}");
        }
        let shown = desk.api("GET", route, "");
        let kind = shown.header("content-type").unwrap_or("application/json");
        assert!(kind.starts_with("application/"), "{route}: {kind}");
    }
    // What a form of a page could send, even with the token: no JSON, no decision.
    let mut wire = Wire::open(api).unwrap();
    let form = "{\"decision\":\"approve\"}";
    let plain = format!(
        "POST {one} HTTP/1.1\r\nHost: {api}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    wire.send(plain.as_bytes()).unwrap();
    assert_eq!(wire.answer("POST").unwrap().status, 415);
    assert_eq!(desk.open().len(), 1);
}

/// Row H105: of two answers one counts; a late one does not; and what was approved is judged again as it leaves.
#[test]
fn answers_race_and_the_world_changes() {
    let brief = "      - { service: github, credential: token, actions: [issues/create], resources: [\"*\"], \
                 conditions: { approval: required, approval_timeout: 1s } }\n";
    let desk = Desk::with(brief);
    for round in 0..8 {
        let body = json!({ "body": format!("race {round}") }).to_string();
        assert_eq!(desk.asks("POST", COMMENTS, &body).status, 409);
        let asked = desk.office.question();
        let id = id(&asked);
        let said: Vec<u16> = thread::scope(|scope| {
            let both: Vec<_> = (0..4).map(|_| scope.spawn(|| desk.says(id, "approve"))).collect();
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(said.iter().filter(|status| **status == 204).count(), 1, "{said:?}");
        assert!(said.iter().all(|status| [204, 409].contains(status)), "{said:?}");
        assert_eq!(desk.asks("POST", COMMENTS, &body).status, 200);
        assert_eq!(desk.office.sent().len(), round + 1);
    }
    let sent = desk.office.sent().len();
    // After its time.
    assert_eq!(desk.asks("POST", "/repos/acme/widget/issues", "{\"title\":\"late\"}").status, 409);
    let asked = desk.office.question();
    let start = Instant::now();
    while !desk.open().is_empty() {
        assert!(start.elapsed() < PATIENCE, "it never expires");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(desk.says(id(&asked), "approve"), 409);
    // Approved, and then the policy does not permit it any more.
    let body = "{\"body\":\"approved\"}";
    assert_eq!(desk.asks("POST", COMMENTS, body).status, 409);
    assert_eq!(desk.says(id(&desk.office.question()), "approve"), 204);
    let config = std::fs::read_to_string(desk.office.house.config()).unwrap();
    let narrow = config.replace("actions: [issues/create-comment]", "actions: [issues/update]");
    std::fs::write(desk.office.house.config(), narrow).unwrap();
    let start = Instant::now();
    loop {
        let got = desk.asks("GET", "/repos/acme/widget/issues/7", "");
        let other = desk.asks("POST", "/repos/acme/other/issues/7/comments", "{\"body\":\"probe\"}");
        if got.status == 200 && other.code().as_deref() == Some("denied") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the policy is not taken in: {}", other.text());
        thread::sleep(Duration::from_millis(50));
    }
    let got = desk.asks("POST", COMMENTS, body);
    assert_eq!((got.status, got.code().as_deref()), (403, Some("denied")), "{}", got.text());
    // And back, but the credential is stopped.
    std::fs::write(desk.office.house.config(), config).unwrap();
    let _ = desk.office.types(&["stop", "--credential", "token"]).expect_success("stop");
    thread::sleep(Duration::from_millis(600));
    let got = desk.asks("POST", COMMENTS, body);
    assert!(got.status >= 400, "{}", got.text());
    let comments = desk.office.sent().iter().filter(|one| one.contains("approved")).count();
    assert_eq!(comments, 0, "{sent} before");
    desk.office.house.assert_audit();
}

/// Row G93: where data would go stands in the sentence.
#[test]
fn the_sentence_names_the_destination() {
    let admin = "      - { service: github, credential: token, actions: [repos/create-webhook, repos/update-webhook, orgs/create-webhook, \
                 repos/create-or-update-file-contents, repos/transfer, repos/add-collaborator], resources: [\"*\"] }\n";
    let desk = Desk::with(admin);
    for (method, path, body, destination) in [
        ("POST", "/repos/acme/a/hooks", r#"{"config":{"url":"https://evil.example/a"}}"#, "https://evil.example/a"),
        ("PATCH", "/repos/acme/b/hooks/1", r#"{"config":{"url":"https://evil.example/b"}}"#, "https://evil.example/b"),
        (
            "POST",
            "/orgs/acme/hooks",
            r#"{"name":"web","config":{"url":"https://evil.example/c"}}"#,
            "https://evil.example/c",
        ),
        (
            "PUT",
            "/repos/acme/c/contents/.github/workflows/x.yml",
            r#"{"message":"m","content":"eA=="}"#,
            ".github/workflows/x.yml",
        ),
        ("POST", "/repos/acme/d/transfer", r#"{"new_owner":"evil"}"#, "evil"),
        ("PUT", "/repos/acme/e/collaborators/eve", r#"{"permission":"admin"}"#, "eve"),
    ] {
        let got = desk.asks(method, path, body);
        assert_eq!(got.status, 409, "{path}: {}", got.text());
        let asked = desk.office.question();
        let sentence = asked["sentence"].as_str().unwrap();
        println!("{sentence}");
        assert!(sentence.contains(destination), "{path}: {sentence}");
        assert_eq!(desk.says(id(&asked), "deny"), 204);
    }
}
