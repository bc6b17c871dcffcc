//! People answer from another terminal: what agents ask waits for them, whether the client stays or comes back.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{Gateway, Session, binary};
use serde_json::{Value, json};
use testkit::client::{Answer as Got, Wire};
use testkit::process::{Finished, Running, finish};
use testkit::{Answer, Canary, Upstream};

const PATIENCE: Duration = Duration::from_mins(1);
pub const TOKEN: &str = "the operator's own";
const URL: &str = "https://api.github.com/repos/acme/widget/issues/7/comments";

pub struct Office {
    pub upstream: Upstream,
    pub house: House,
    pub token: Canary,
}

impl Office {
    pub fn open() -> Self {
        Self::with("")
    }

    /// With these permissions of the agent more.
    pub fn with(more: &str) -> Self {
        let upstream = Upstream::builder().handler(|_| Some(Answer::json(&json!({"id": 1})))).start();
        let token = Canary::new(901, "ghp_", 36);
        let mut hash = Command::new("sh");
        let hash = finish(hash.args(["-c", "printf %s \"$0\" | sha256sum", TOKEN]), PATIENCE).expect_success("a hash");
        let config = format!(
            "version: 1\ncredentials:\n  token: {{ service: github, from: env:GITHUB_TOKEN }}\noperators:\n  \
             - {{ name: ada, token_hash: {}, roles: [approver] }}\nagents:\n  tester:\n    permissions:\n      \
             - {{ service: github, credential: token, actions: [read], resources: [\"*\"] }}\n      \
             - {{ service: github, credential: token, actions: [issues/create-comment], resources: [\"repo:acme/*\"], \
             conditions: {{ approval: required }} }}\n      \
             - {{ service: github, credential: token, actions: [repos/upload-release-asset], resources: [\"repo:acme/*\"], \
             conditions: {{ approval: required }} }}\n{more}upstreams:\n{}{}",
            &hash.stdout[..64],
            upstream.entry("api.github.com"),
            upstream.entry("uploads.github.com")
        );
        let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
        for (name, token, mode) in
            [("token", TOKEN, 0o600), ("wrong", "somebody else's", 0o600), ("open", TOKEN, 0o644)]
        {
            std::fs::write(house.path(name), format!("{token}\n")).unwrap();
            std::fs::set_permissions(house.path(name), Permissions::from_mode(mode)).unwrap();
        }
        Self { upstream, house, token }
    }

    /// A person at another terminal.
    pub fn types(&self, words: &[&str]) -> Finished {
        self.house.valetkey(words)
    }

    pub fn listed(&self) -> Vec<Value> {
        let list = self.types(&["approvals", "list", "--json"]).expect_success("list");
        serde_json::from_str::<Value>(&list.stdout).unwrap().as_array().unwrap().clone()
    }

    /// The only question that is open.
    pub fn question(&self) -> Value {
        for _ in 0..200 {
            let mut open = self.listed();
            assert!(open.len() < 2, "{open:?}");
            if let Some(one) = open.pop() {
                return one;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nobody asked");
    }

    /// The agent's client: a comment, whose answer's status and body come back.
    pub fn asks(&self, at: (&Gateway, &Session), comment: &str, more: &[&str]) -> (i32, u16, Value) {
        let (gateway, session) = at;
        let ca = self.house.path("ca.pem");
        std::fs::write(&ca, &session.ca).unwrap();
        let mut command = self.house.clean(std::path::Path::new("curl"));
        command.args(["-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/json"]);
        command.arg("-H").arg(format!("Authorization: Bearer {}", session.env["GITHUB_TOKEN"]));
        command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("tester:{}", session.token)]);
        command.arg("--cacert").arg(ca).args(more);
        command.args(["-d", &json!({ "body": comment }).to_string(), URL]);
        let done = finish(&mut command, PATIENCE);
        let (body, status) = done.stdout.rsplit_once('\n').unwrap_or_default();
        (done.code().unwrap(), status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or_default())
    }

    pub fn sent(&self) -> Vec<String> {
        let all = self.upstream.journal().all();
        all.iter().map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect()
    }
}

#[test]
fn a_client_that_stays_gets_the_answer() {
    let office = Office::open();
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let comment = "fine \u{202e}by me";
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| office.asks((&gateway, &session), comment, &[]));
        let question = office.question();
        let id = question["id"].as_str().unwrap();
        assert_eq!((question["method"].as_str(), question["url"].as_str()), (Some("POST"), Some(URL)));
        let shown = office.types(&["approvals", "show", id]).expect_success("show").stdout;
        assert!(shown.contains(URL) && shown.contains("fine \\u{202e}by me"), "{shown}");
        // Neither the agent, which is the same user, nor a stranger can say yes.
        for (words, code, says) in [
            (vec!["approve", id], 2, "needs an operator's token"),
            (vec!["approve", id, "--token-file", "wrong"], 3, "no operator's token; check the file"),
            (vec!["approve", id, "--token-file", "absent"], 3, "does not exist"),
            (vec!["approve", id, "--token-file", "open"], 2, "can be read by others than you; `chmod 600"),
            (vec!["approve", id, "--token-file", "token", "--api", "192.0.2.1:7801"], 2, "in clear text"),
            (vec!["approve", id, "--for", "ever", "--token-file", "token"], 2, "or `session`"),
            (vec!["approve", "apr_1", "--token-file", "token"], 2, "apr_1"),
            (vec!["approvals", "show", "apr_00000000000000000000000000"], 3, "no such approval"),
        ] {
            let said = office.types(&words);
            assert_eq!(said.code(), Some(code), "{words:?}: {}", said.stderr);
            assert!(said.stderr.contains(says), "{words:?}: {}", said.stderr);
        }
        assert_eq!(office.sent(), [] as [String; 0]);
        let _ = office.types(&["approve", id, "--token-file", "token"]).expect_success("approve");
        let (code, status, _) = waits.join().unwrap();
        assert_eq!((code, status), (0, 200));
        let late = office.types(&["approve", id, "--token-file", "token"]);
        assert!(late.code() == Some(3) && late.stderr.contains("already used"), "{}", late.stderr);
    });
    assert_eq!(office.sent(), [json!({ "body": comment }).to_string()], "the octets that were shown");
    let records = office.types(&["audit", "export", "--json"]).expect_success("export").stdout;
    assert!(records.contains("\"approver\":\"ada\""), "{records}");
    office.house.assert_audit();
}

#[test]
fn a_client_that_went_away_finds_the_answer() {
    let office = Office::open();
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let at = (&gateway, &session);
    let (code, ..) = office.asks(at, "one", &["-m", "1"]);
    assert_eq!(code, 28, "it timed out");
    let id = office.question()["id"].as_str().unwrap().to_owned();
    let _ = office.types(&["approve", &id, "--token-file", "token"]).expect_success("approve");
    assert_eq!(office.sent(), [] as [String; 0], "nobody is there to send it for");
    assert_eq!(office.asks(at, "one", &[]).1, 200);
    assert_eq!(office.sent().len(), 1);
    // Once: the same octets again are a new question. A client that will not wait is told so.
    let hasty = ["-H", "Prefer: respond-async"];
    let (_, status, said) = office.asks(at, "one", &hasty);
    assert_eq!((status, said["code"].as_str()), (409, Some("approval_pending")), "{said}");
    let second = office.question()["id"].as_str().unwrap().to_owned();
    assert_eq!((said["approval"].as_str(), said["retryable"].as_bool()), (Some(&*second), Some(true)));
    assert_ne!(second, id);
    let _ = office.types(&["deny", &second, "--reason", "ask me on Monday"]).expect_success("deny");
    let (_, status, said) = office.asks(at, "one", &hasty);
    assert_eq!((status, said["code"].as_str()), (403, Some("approval_denied")), "{said}");
    assert!(said["error"].as_str().unwrap().contains("ask me on Monday"), "{said}");
    assert_eq!(office.sent().len(), 1);
    assert!(office.listed().is_empty());
    office.house.assert_clean("what was sent", &office.sent().join("\n"));
    assert!(!office.sent().join("").contains(&office.token.value()));
}

#[test]
fn a_yes_for_ten_minutes_is_for_the_same_action_and_resource() {
    let office = Office::open();
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let (_, status, _) = office.asks((&gateway, &session), "one", &["-H", "Prefer: wait=0"]);
    assert_eq!(status, 409);
    let id = office.question()["id"].as_str().unwrap().to_owned();
    let _ = office.types(&["approve", &id, "--for", "10m", "--token-file", "token"]).expect_success("approve");
    for comment in ["one", "two", "three"] {
        assert_eq!(office.asks((&gateway, &session), comment, &[]).1, 200, "{comment}");
    }
    let other = office.house.session("tester");
    let (_, status, _) = office.asks((&gateway, &other), "two", &["-H", "Prefer: wait=0"]);
    assert_eq!(status, 409, "another session asks for itself");
}

/// `run` without a terminal refuses at once, until an approver looks.
#[test]
fn who_watches_can_be_asked() {
    let office = Office::open();
    let script = format!(
        "for turn in $(seq 100); do \
           curl -sS -o said -w '%{{http_code}}\\n' -H \"Authorization: Bearer $GITHUB_TOKEN\" -H 'Content-Type: application/json' \
             -d '{{\"body\":\"hello\"}}' {URL} >>codes; \
           tail -n1 codes | grep -q 200 && exit 0; sleep 0.2; \
         done; exit 1"
    );
    std::thread::scope(|scope| {
        let agent = scope.spawn(|| office.house.run("tester", &["sh", "-c", &script]));
        let codes = || std::fs::read_to_string(office.house.path("codes")).unwrap_or_default();
        for _ in 0..400 {
            if codes().lines().count() > 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut watch = office.house.clean(binary());
        watch.args(["approvals", "watch", "--json"]).env("VALETKEY_TOKEN_FILE", office.house.path("token"));
        let (watching, line) = Running::ready(watch);
        let question: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (question["agent"].as_str(), question["state"].as_str()),
            (Some("tester"), Some("open")),
            "{question}"
        );
        let id = question["id"].as_str().unwrap();
        let _ = office.types(&["approve", id, "--token-file", "token"]).expect_success("approve");
        let (done, receipt) = agent.join().unwrap();
        let _ = done.expect_success("the agent");
        drop(watching);
        let codes = codes();
        assert!(codes.starts_with("403\n403\n") && codes.ends_with("403\n200\n"), "{codes}");
        assert!(receipt.count("denied") >= 2 && receipt.count("asked") >= 1, "{:?}", receipt.0);
    });
    assert_eq!(office.sent().len(), 1);
}

/// A request and its answer, or none where the connection broke.
pub fn talk(to: SocketAddr, head: &str, body: &str) -> Option<Got> {
    let mut wire = Wire::open(to).ok()?;
    let length = body.len();
    let request =
        format!("{head}\r\nHost: {to}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    wire.send(request.as_bytes()).ok()?;
    wire.answer("POST").ok()
}

/// One approval, its gateway killed while it is used.
struct Killed<'a> {
    office: &'a Office,
    session: &'a Session,
    round: usize,
}

/// What came of a request that was repeated after the gateway was started anew.
#[derive(Debug, PartialEq, Eq)]
enum Repeated {
    /// The yes was there and was used.
    Used,
    /// The same question was still open: the yes had not been written.
    StillOpen(String),
    /// The yes is used up; a person was asked anew.
    AskedAnew(String),
}

impl Killed<'_> {
    fn comment(&self) -> String {
        json!({ "body": format!("the comment of round {}", self.round) }).to_string()
    }

    /// On the reverse leg, without a certificate that would change with the gateway: the same octets each time. Each round has a
    /// repository of its own, so that a no in one is not remembered in the next.
    fn client(&self, to: SocketAddr) -> Option<Got> {
        let (token, placeholder) = (&self.session.token, &self.session.env["GITHUB_TOKEN"]);
        let head = format!(
            "POST /proxy/github/repos/acme/widget-{}/issues/7/comments HTTP/1.1\r\nX-Valetkey-Session: {token}\r\n\
             Authorization: Bearer {placeholder}",
            self.round
        );
        talk(to, &head, &self.comment())
    }

    /// The one open question, once it is there.
    fn question(to: SocketAddr, gone: impl Fn() -> bool) -> Option<String> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE && !gone() {
            let list = talk(to, &format!("GET /v1/approvals HTTP/1.1\r\nAuthorization: Bearer {TOKEN}"), "");
            let list = list.unwrap().json();
            let open = list.as_array().unwrap();
            assert!(open.len() < 2, "{list}");
            if let Some(one) = open.first() {
                return Some(one["id"].as_str().unwrap().to_owned());
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }

    fn answer(to: SocketAddr, id: &str, decision: &str) -> Option<u16> {
        let head = format!("POST /v1/approvals/{id} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
        talk(to, &head, &json!({ "decision": decision }).to_string()).map(|got| got.status)
    }

    /// How often it was done.
    fn done(&self) -> usize {
        let comment = self.comment();
        self.office.sent().iter().filter(|sent| **sent == comment).count()
    }

    /// Asks, says yes, and kills the gateway this long after; the question, and whether the yes was acknowledged.
    fn kill(&self, gateway: &mut Gateway, after: Duration) -> (String, bool) {
        let (proxy, api) = (gateway.proxy, gateway.api);
        thread::scope(|scope| {
            let client = scope.spawn(|| self.client(proxy));
            let id = Self::question(api, || client.is_finished());
            let Some(id) = id else {
                let said = client.join().unwrap().map(|got| got.text());
                panic!("round {}: nobody was asked: {said:?}", self.round)
            };
            let yes = scope.spawn({
                let id = id.clone();
                move || Self::answer(api, &id, "approve")
            });
            thread::sleep(after);
            gateway.process.kill();
            let acknowledged = yes.join().unwrap();
            assert!(acknowledged.is_none_or(|status| status == 204), "{acknowledged:?}");
            let _ = client.join().unwrap();
            (id, acknowledged.is_some())
        })
    }

    /// How long it takes from the yes to the answer where nothing is killed.
    fn undisturbed(&self, gateway: &Gateway) -> Duration {
        let (proxy, api) = (gateway.proxy, gateway.api);
        thread::scope(|scope| {
            let client = scope.spawn(|| self.client(proxy));
            let id = Self::question(api, || client.is_finished()).unwrap();
            let start = Instant::now();
            assert_eq!(Self::answer(api, &id, "approve"), Some(204));
            assert_eq!(client.join().unwrap().map(|got| got.status), Some(200));
            start.elapsed()
        })
    }

    /// The identical request at the next gateway. A question that is still open is answered yes, a new one no.
    fn repeat(&self, gateway: &Gateway, first: &str) -> Repeated {
        let (proxy, api) = (gateway.proxy, gateway.api);
        thread::scope(|scope| {
            let client = scope.spawn(|| self.client(proxy).unwrap());
            let asked = Self::question(api, || client.is_finished());
            let (decision, status) =
                if asked.as_deref().is_some_and(|id| id != first) { ("deny", 403) } else { ("approve", 200) };
            if let Some(id) = &asked {
                let _ = Self::answer(api, id, decision);
            }
            let got = client.join().unwrap();
            assert_eq!(got.status, status, "round {}: {}", self.round, got.text());
            match asked {
                None => Repeated::Used,
                Some(id) if id == first => Repeated::StillOpen(id),
                Some(id) => Repeated::AskedAnew(id),
            }
        })
    }
}

/// Row H97. The gateway is killed at moments spread over the time that an approval takes from the yes to the upstream; whatever was on
/// its way then, the identical request at the next gateway never does it a second time, and a yes that was acknowledged is not lost.
#[test]
fn killed_between_the_yes_and_its_use_it_is_done_once_or_not_at_all() {
    const ROUNDS: usize = 96;
    let office = Office::open();
    let mut gateway = office.house.serve();
    let session = office.house.session("tester");
    // As slow as this machine is now; the first question of a gateway, like all that follow.
    let takes = (ROUNDS..ROUNDS + 3).map(|round| {
        gateway.process.kill();
        gateway = office.house.serve();
        Killed { office: &office, session: &session, round }.undisturbed(&gateway)
    });
    let spread = takes.max().unwrap().mul_f64(1.5);
    let (mut before, mut after, mut never, mut unwritten) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        let killed = Killed { office: &office, session: &session, round };
        // Denser where the yes is written than where the request is on its way.
        let share = (round as f64 / ROUNDS as f64).powi(2);
        let (first, acknowledged) = killed.kill(&mut gateway, spread.mul_f64(share));
        gateway = office.house.serve();
        let was = killed.done();
        let repeated = killed.repeat(&gateway, &first);
        let is = killed.done();
        match (&repeated, was, is) {
            (Repeated::AskedAnew(_), 1, 1) => before += 1,
            (Repeated::AskedAnew(_), 0, 0) => never += 1,
            (Repeated::Used, 0, 1) => after += 1,
            (Repeated::StillOpen(_), 0, 1) if !acknowledged => unwritten += 1,
            _ => panic!(
                "round {round}: {repeated:?}, done {was} times before and {is} after, acknowledged: {acknowledged}"
            ),
        }
    }
    println!(
        "{ROUNDS} kills: {before} done before, {after} by the repeated request, {never} never, {unwritten} yes not written"
    );
    assert!(before >= 5 && after >= 5, "{before} before, {after} after, {never} never, {unwritten} not written");
    office.house.assert_audit();
}
