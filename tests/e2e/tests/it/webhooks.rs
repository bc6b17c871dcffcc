//! Questions go to a receiver and answers come back, both signed and verified by the specification's own library: whoever has
//! no secret answers nothing, and no message answers twice.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::House;
use e2e::house::{Gateway, Session, root, tool};
use serde_json::{Value, json};
use testkit::process::{Running, finish};
use testkit::{Answer, Canary, Upstream};

const PATIENCE: Duration = Duration::from_mins(1);

struct Office {
    upstream: Upstream,
    house: House,
    port: u16,
}

/// A secret as receivers have them; the seed makes it.
fn secret(seed: u64) -> String {
    Canary::new(seed, "whsec_", 44).value()
}

impl Office {
    fn open(seed: u64) -> Self {
        let upstream = Upstream::builder().handler(|_| Some(Answer::json(&json!({"id": 1})))).start();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        let ask = |action: &str, more: &str| {
            format!(
                "      - {{ service: github, credential: token, actions: [{action}], resources: [\"repo:acme/*\"], \
                 conditions: {{ approval: required{more} }} }}\n"
            )
        };
        let config = format!(
            "version: 1\ncredentials:\n  token: {{ service: github, from: env:GITHUB_TOKEN }}\nchannels:\n  \
             ops: {{ webhook: {{ url: \"https://hooks.test/approvals\", secret: [env:OPS_WEBHOOK_SECRET, env:OPS_OLD_SECRET] }} }}\n\
             agents:\n  tester:\n    permissions:\n{}{}{}upstreams:\n  \
             hooks.test: {{ address: \"127.0.0.1:{port}\", ca: {} }}\n{}",
            ask("issues/create-comment", ""),
            ask("issues/create", ", approvers: { count: 2, of: [\"ops:ada\", \"ops:grace\"] }"),
            ask("issues/update", ", approval_timeout: 2s"),
            upstream.ca_file().display(),
            upstream.entry("api.github.com"),
        );
        let secrets = [
            ("GITHUB_TOKEN", Canary::new(seed, "ghp_", 36).value()),
            ("OPS_WEBHOOK_SECRET", secret(seed + 1)),
            ("OPS_OLD_SECRET", secret(seed + 2)),
        ];
        let secrets: Vec<(&str, &str)> = secrets.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Self { house: House::new(&config, &secrets), upstream, port }
    }

    fn journal(&self) -> PathBuf {
        self.house.path("receiver.jsonl")
    }

    /// The receiver, with what it says first.
    fn receiver(&self, answers: &str) -> Running {
        let (cert, key) = self.upstream.ca().leaf_pem(&["hooks.test"]);
        std::fs::write(self.house.path("hooks.pem"), cert).unwrap();
        std::fs::write(self.house.path("hooks.key"), key).unwrap();
        let mut command = self.house.clean(&tool("venv/bin/python"));
        command.arg(root().join("tests/e2e/origins/receiver.py"));
        command.args([self.house.path("hooks.pem"), self.house.path("hooks.key"), self.journal()]);
        command.args([&self.port.to_string(), answers].map(str::to_owned).iter().filter(|word| !word.is_empty()));
        let (process, line) = Running::ready(command);
        assert_eq!(line.trim(), self.port.to_string(), "the receiver did not start");
        process
    }

    fn heard(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for a message of a kind after the first `skip` ones of it, all of which must hold.
    fn hears(&self, kind: &str, skip: usize) -> Value {
        for _ in 0..600 {
            let heard = self.heard();
            assert!(heard.iter().all(|message| message["holds"] == true), "{heard:?}");
            if let Some(message) = heard.into_iter().filter(|message| message["type"] == kind).nth(skip) {
                return message["data"].clone();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no {kind} came: {:?}", self.heard());
    }

    /// A person at the receiver answers; what the API says.
    fn answers(&self, gateway: &Gateway, body: &Value, more: &[&str]) -> String {
        self.answers_with(gateway, "OPS_WEBHOOK_SECRET", body, more)
    }

    /// The same signed with one of the house's secrets.
    fn answers_with(&self, gateway: &Gateway, with: &str, body: &Value, more: &[&str]) -> String {
        let mut command = self.house.clean(&tool("venv/bin/python"));
        command.arg(root().join("tests/e2e/clients/hook_answer.py"));
        command.args([format!("http://{}/v1/channels/ops/answers", gateway.api), body.to_string()]).args(more);
        let value = match with {
            "OPS_WEBHOOK_SECRET" => return finish(&mut command, PATIENCE).expect_success("an answer").stdout,
            other => other.to_owned(),
        };
        command.env("OPS_WEBHOOK_SECRET", value);
        finish(&mut command, PATIENCE).expect_success("an answer").stdout
    }

    fn curl(&self, session: &Session) -> Command {
        let ca = self.house.path("ca.pem");
        std::fs::write(&ca, &session.ca).unwrap();
        let mut command = self.house.clean(std::path::Path::new("curl"));
        command.args(["-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "--cacert"]).arg(ca);
        command
    }

    /// The agent's client: what it sends to a path of the repository; the status and the body that come back.
    fn asks(&self, at: (&Gateway, &Session), path: &str, body: &Value, more: &[&str]) -> (u16, Value) {
        let (gateway, session) = at;
        let mut command = self.curl(session);
        command.arg("-H").arg(format!("Authorization: Bearer {}", session.env["GITHUB_TOKEN"])).args(more);
        command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("tester:{}", session.token)]);
        command.args(["-d", &body.to_string(), &format!("https://api.github.com/repos/acme/widget/{path}")]);
        let done = finish(&mut command, PATIENCE);
        let (body, status) = done.stdout.rsplit_once('\n').unwrap_or_default();
        (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or_default())
    }
}

#[test]
fn people_at_a_receiver_answer() {
    let office = Office::open(7_100);
    let _receiver = office.receiver("");
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let at = (&gateway, &session);
    let comment = json!({ "body": "fine \u{202e}by me", "note": "stays at home" });
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| office.asks(at, "issues/7/comments", &comment, &[]));
        let asked = office.hears("approval.requested", 0);
        assert_eq!((asked["agent"].as_str(), asked["method"].as_str()), (Some("tester"), Some("POST")));
        assert_eq!(asked["url"], "https://api.github.com/repos/acme/widget/issues/7/comments");
        assert_eq!(asked["body"]["bytes"], comment.to_string().len());
        let yes = json!({ "id": asked["id"], "decision": "approve", "by": "ada" });
        // Who has no secret, or another one, or a message that is old, answers nothing; neither do the agent's own token, and what was signed
        // for something else.
        for (with, more, says) in [
            (secret(1), vec![], "does not hold"),
            (String::new(), vec!["msg_a", "-301"], "more than 300 s"),
            (String::new(), vec!["msg_a", "302"], "more than 300 s"),
            (String::new(), vec!["msg_a", "0", "{}"], "does not hold"),
        ] {
            let with = if with.is_empty() { "OPS_WEBHOOK_SECRET" } else { &with };
            let said = office.answers_with(&gateway, with, &yes, &more);
            assert!(said.starts_with("401 ") && said.contains(says), "{said}");
        }
        let url = format!("http://{}/v1/channels/ops/answers", gateway.api);
        for token in [None, Some(&session.token), Some(&session.env["GITHUB_TOKEN"])] {
            let mut command = office.curl(&session);
            if let Some(token) = token {
                command.arg("-H").arg(format!("Authorization: Bearer {token}"));
            }
            let said = finish(command.args(["-d", &yes.to_string(), &url]), PATIENCE).stdout;
            // A session is known here, and may do nothing of this.
            let status = if token == Some(&session.token) { "\n403" } else { "\n401" };
            assert!(said.ends_with(status), "{said}");
        }
        assert_eq!(office.upstream.journal().all().len(), 0);
        assert_eq!(office.answers(&gateway, &yes, &["msg_yes"]).trim(), "204");
        assert_eq!(waits.join().unwrap().0, 200);
        let settled = office.hears("approval.settled", 0);
        assert_eq!((&settled["id"], settled["state"].as_str()), (&asked["id"], Some("approved")));
        assert_eq!(settled["by"], json!(["ops:ada"]));
    });
    let body = office.upstream.journal().all().first().unwrap().body.clone();
    assert_eq!(String::from_utf8_lossy(&body), comment.to_string(), "the octets that were asked about");
    // A no, with the old secret, which still counts; and a message that was used answers no other question.
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| office.asks(at, "issues/7/comments", &comment, &[]));
        let asked = office.hears("approval.requested", 1);
        let yes = json!({ "id": asked["id"], "decision": "approve", "by": "ada" });
        let said = office.answers(&gateway, &yes, &["msg_yes"]);
        assert!(said.starts_with("409 ") && said.contains("used before"), "{said}");
        let no = json!({ "id": asked["id"], "decision": "deny", "by": "grace", "reason": "ask me on Monday" });
        assert_eq!(office.answers_with(&gateway, &secret(7_102), &no, &[]).trim(), "204");
        let (status, said) = waits.join().unwrap();
        assert_eq!((status, said["code"].as_str()), (403, Some("approval_denied")), "{said}");
        let error = said["error"].as_str().unwrap();
        assert!(error.contains("ops:grace") && error.contains("ask me on Monday"), "{error}");
        let settled = office.hears("approval.settled", 1);
        assert_eq!((settled["state"].as_str(), settled["reason"].as_str()), (Some("denied"), Some("ask me on Monday")));
    });
    assert_eq!(office.upstream.journal().all().len(), 1);
    let texts: Vec<String> = office.heard().iter().map(|message| message["text"].to_string()).collect();
    office.house.assert_clean("what the receiver heard", &texts.join("\n"));
    // What the sentence says of a body is quoted; the rest of it stays here.
    let sentence = office.hears("approval.requested", 0)["sentences"][0].as_str().unwrap().to_owned();
    assert!(sentence.contains("u{202e}by me") && !sentence.contains('\u{202e}'), "{sentence}");
    assert!(!texts.join("").contains("stays at home"), "{texts:?}");
    let records = office.house.valetkey(&["audit", "export", "--json"]).expect_success("export").stdout;
    assert!(records.contains("\"approver\":\"ops:ada\""), "{records}");
    office.house.assert_audit();
}

#[test]
fn two_people_whom_the_rule_names_must_agree() {
    let office = Office::open(7_200);
    let _receiver = office.receiver("");
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let issue = json!({ "title": "one" });
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| office.asks((&gateway, &session), "issues", &issue, &[]));
        let asked = office.hears("approval.requested", 0);
        assert_eq!(asked["approvers"], json!({ "count": 2, "of": ["ops:ada", "ops:grace"] }));
        let yes = |by: &str| {
            let yes = json!({ "id": asked["id"], "decision": "approve", "by": by });
            office.answers(&gateway, &yes, &[]).trim().split(' ').next().unwrap().to_owned()
        };
        assert_eq!([yes("eve"), yes("ada"), yes("ada"), yes("ops:grace")], ["403", "204", "204", "400"]);
        assert_eq!(office.upstream.journal().all().len(), 0);
        assert_eq!(yes("grace"), "204");
        assert_eq!(waits.join().unwrap().0, 200);
        assert_eq!(office.hears("approval.settled", 0)["by"], json!(["ops:ada", "ops:grace"]));
    });
}

#[test]
fn a_receiver_that_was_away_hears_later_and_of_the_end() {
    let office = Office::open(7_300);
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let at = (&gateway, &session);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| office.asks(at, "issues/7/comments", &json!({ "body": "one" }), &[]));
        // Nobody is there; then it is, and stumbles, and sends us elsewhere, where nobody goes.
        std::thread::sleep(Duration::from_millis(600));
        let _receiver = office.receiver("500,302");
        let asked = office.hears("approval.requested", 2);
        let heard = office.heard();
        assert!(heard.iter().all(|message| message["id"] == heard[0]["id"]), "the same message: {heard:?}");
        assert!(heard.iter().all(|message| message["path"] == "/approvals"), "{heard:?}");
        let yes = json!({ "id": asked["id"], "decision": "approve", "for": "10m", "by": "ada" });
        assert_eq!(office.answers(&gateway, &yes, &[]).trim(), "204");
        assert_eq!(waits.join().unwrap().0, 200);
        assert_eq!(office.hears("approval.settled", 0)["state"], "approved");
        // For ten minutes nobody is asked about this again.
        assert_eq!(office.asks(at, "issues/7/comments", &json!({ "body": "two" }), &[]).0, 200);
        let (status, said) = office.asks(at, "issues/7", &json!({ "title": "x" }), &["-X", "PATCH"]);
        assert_eq!((status, said["code"].as_str()), (403, Some("approval_expired")), "{said}");
        let late = office.hears("approval.settled", 1);
        assert_eq!((late["state"].as_str(), late["by"].as_array().map(Vec::len)), (Some("expired"), Some(0)));
        let yes = json!({ "id": late["id"], "decision": "approve", "by": "ada" });
        let said = office.answers(&gateway, &yes, &[]);
        assert!(said.starts_with("409 ") && said.contains("already expired"), "{said}");
    });
    assert_eq!(office.upstream.journal().all().len(), 2);
}

/// `kill -9` between question, answer and use: the question is there, its answer counts, and a message that is sent again to a process
/// that has forgotten its id answers nothing.
#[test]
fn questions_outlive_the_process_and_replays_do_not() {
    let office = Office::open(7_700);
    let _receiver = office.receiver("");
    let first = office.house.serve();
    let session = office.house.session("tester");
    let issue = json!({ "title": "one" });
    // Each process has an authority of its own.
    let asks =
        |gateway: &Gateway| office.asks((gateway, &session), "issues", &issue, &["-k", "-H", "Prefer: wait=0"]).0;
    assert_eq!(asks(&first), 409);
    let asked = office.hears("approval.requested", 0);
    let yes = |by: &str| json!({ "id": asked["id"], "decision": "approve", "by": by });
    assert_eq!(office.answers(&first, &yes("ada"), &["msg_ada"]).trim(), "204");
    drop(first);
    let second = office.house.serve();
    assert_eq!(office.answers(&second, &yes("ada"), &["msg_ada"]).trim(), "204", "the same voice once more");
    assert_eq!(asks(&second), 409);
    assert_eq!(office.answers(&second, &yes("grace"), &["msg_grace"]).trim(), "204");
    drop(second);
    let third = office.house.serve();
    let said = office.answers(&third, &yes("grace"), &["msg_grace"]);
    assert!(said.starts_with("409 ") && said.contains("already approved"), "{said}");
    assert_eq!((asks(&third), asks(&third)), (200, 409), "used once");
    let said = office.answers(&third, &yes("grace"), &["msg_again"]);
    assert!(said.starts_with("409 ") && said.contains("already used"), "{said}");
    assert_eq!(office.upstream.journal().all().len(), 1);
}

#[test]
fn a_secret_that_is_taken_out_signs_nothing_any_more() {
    let office = Office::open(7_600);
    let _receiver = office.receiver("");
    let (gateway, session) = (office.house.serve(), office.house.session("tester"));
    let at = (&gateway, &session);
    let (status, _) = office.asks(at, "issues/7/comments", &json!({ "body": "one" }), &["-H", "Prefer: wait=0"]);
    assert_eq!(status, 409);
    let asked = office.hears("approval.requested", 0);
    let before = std::fs::read_to_string(office.house.config()).unwrap();
    std::fs::write(office.house.config(), before.replace(", env:OPS_OLD_SECRET]", "]")).unwrap();
    let log = || std::fs::read_to_string(office.house.path("serve.log")).unwrap();
    for _ in 0..400 {
        if log().contains("is in force") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(log().contains("is in force"), "{}", log());
    let no = json!({ "id": asked["id"], "decision": "deny", "by": "ada" });
    let said = office.answers_with(&gateway, &secret(7_602), &no, &[]);
    assert!(said.starts_with("401 "), "{said}");
    assert_eq!(office.answers(&gateway, &no, &[]).trim(), "204");
    // Who told of the question tells of its end.
    assert_eq!(office.hears("approval.settled", 0)["state"], "denied");
}

#[test]
fn a_secret_that_is_no_secret_stops_the_start() {
    let office = Office::open(7_400);
    let mut command = office.house.clean(e2e::house::binary());
    command.arg("serve").arg("--config").arg(office.house.config()).args(["--listen", "127.0.0.1:0"]);
    let plain = finish(command.env("OPS_WEBHOOK_SECRET", "a password of mine"), PATIENCE);
    assert!(plain.code() == Some(3) && plain.stderr.contains("openssl rand -base64 32"), "{}", plain.stderr);
    assert!(!plain.stderr.contains("a password of mine"), "{}", plain.stderr);
    // Two receivers with one secret could be told each other's answers.
    let config = std::fs::read_to_string(office.house.config()).unwrap();
    let two = "channels:\n  sec: { webhook: { url: \"https://hooks.test/\", secret: env:OPS_OLD_SECRET } }\n";
    std::fs::write(office.house.config(), config.replace("channels:\n", two)).unwrap();
    let same = finish(command.env("OPS_WEBHOOK_SECRET", secret(7_401)), PATIENCE);
    assert!(same.code() == Some(3) && same.stderr.contains("have the same secret"), "{}", same.stderr);
    let missing = finish(command.env_remove("OPS_WEBHOOK_SECRET"), PATIENCE);
    assert!(
        missing.code() == Some(3) && missing.stderr.contains("`OPS_WEBHOOK_SECRET` is not set"),
        "{}",
        missing.stderr
    );
}

/// The agent of `run` gets neither the secret nor the file that holds it.
#[test]
fn an_agent_is_not_given_what_signs() {
    let office = Office::open(7_500);
    let (done, _) = office.house.run("tester", &["env"]);
    let environment = done.expect_success("env").stdout;
    assert!(!environment.contains("OPS_WEBHOOK_SECRET") && !environment.contains("OPS_OLD_SECRET"), "{environment}");
    office.house.assert_clean("the agent's environment", &environment);
}
