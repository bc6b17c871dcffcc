//! The two settings that most tests share: the vendors' hosts on one upstream, and the three origins of the corpus.

use std::fmt::Write as _;

use e2e::House;
use e2e::origin::Origin;
use testkit::upstream::{GitHost, Upstream};
use testkit::{Answer, Canary, Seen};

/// Secrets of the right shape for each vendor.
pub struct Secrets {
    pub github: Canary,
    pub stripe: Canary,
    pub openai: Canary,
    pub anthropic: Canary,
    pub echo: Canary,
}

impl Secrets {
    pub fn new() -> Self {
        Self {
            github: Canary::new(101, "ghp_", 36),
            stripe: Canary::new(102, "sk_test_", 24),
            openai: Canary::new(103, "sk-proj-", 48),
            anthropic: Canary::new(104, "sk-ant-api03-", 95),
            echo: Canary::new(105, "tok_", 40),
        }
    }

    pub fn all(&self) -> [(&'static str, &Canary); 5] {
        [
            ("GITHUB_TOKEN", &self.github),
            ("STRIPE_API_KEY", &self.stripe),
            ("OPENAI_API_KEY", &self.openai),
            ("ANTHROPIC_API_KEY", &self.anthropic),
            ("ECHO_TOKEN", &self.echo),
        ]
    }
}

/// The vendors' APIs, as much of them as the clients need, on one upstream.
pub struct Vendors {
    pub upstream: Upstream,
    pub git: GitHost,
    pub house: House,
    pub secrets: Secrets,
}

impl Vendors {
    pub fn start() -> Self {
        let secrets = Secrets::new();
        let folder = tempfile::tempdir().unwrap().keep();
        let git = GitHost::at(&folder);
        let host = git.clone();
        let upstream = Upstream::builder().handler(move |seen| host.answer(seen)).handler(vendor).start();
        let mut config = CONFIG.to_owned();
        let hosts =
            ["api.github.com", "github.com", "api.stripe.com", "api.openai.com", "api.anthropic.com", "kit.echo.test"];
        for host in hosts {
            config += &upstream.entry(host);
        }
        let values: Vec<(&str, String)> = secrets.all().iter().map(|(name, it)| (*name, it.value())).collect();
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let house = House::new(&config, &values);
        std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
        Self { upstream, git, house, secrets }
    }

    /// The one request that arrived at this path; the real secret stands in it exactly once and in the right field.
    pub fn arrived(&self, path: &str, field: &str, secret: &Canary) -> Seen {
        let all = self.upstream.journal().take();
        let seen = all.iter().find(|seen| seen.path() == path);
        let seen = seen.unwrap_or_else(|| panic!("nothing arrived at {path}: {all:?}")).clone();
        assert_eq!(seen.count(&secret.value()), 1, "{path}: {:?}", seen.headers);
        assert!(seen.value(field).contains(&secret.value()), "{path}: {:?}", seen.headers);
        seen
    }

    /// Nothing that the agent's side printed holds a secret in any form.
    pub fn assert_quiet(&self, output: &str) {
        for (name, canary) in self.secrets.all() {
            canary.assert_absent(name, output.as_bytes());
        }
    }
}

const CONFIG: &str = r#"version: 1
egress: closed
services: [./echo.yaml]
credentials:
  github-token: { service: github, from: env:GITHUB_TOKEN }
  github-git: { service: github, from: env:GITHUB_TOKEN, inject: always }
  stripe-key: { service: stripe, from: env:STRIPE_API_KEY }
  openai-key: { service: openai, from: env:OPENAI_API_KEY }
  anthropic-key: { service: anthropic, from: env:ANTHROPIC_API_KEY }
  echo-token: { service: echo, from: env:ECHO_TOKEN }
agents:
  tester:
    permissions:
      - { service: github, credential: github-token, actions: [read, issues/create], resources: ["*"] }
      - { service: stripe, credential: stripe-key, actions: [read], resources: ["*"] }
      - { service: openai, credential: openai-key, actions: [read], resources: ["*"] }
      - { service: anthropic, credential: anthropic-key, actions: [read], resources: ["*"] }
      - { service: echo, credential: echo-token, methods: [GET, POST, PUT], endpoints: [/] }
  cloner:
    permissions:
      - { service: github, credential: github-git, actions: [read], resources: ["*"] }
upstreams:
"#;

/// Answers that the vendors' own clients accept.
fn vendor(seen: &Seen) -> Option<Answer> {
    use serde_json::json;
    let answer = match (seen.method.as_str(), seen.path()) {
        ("GET", "/user") => json!({"login": "ada", "id": 1}),
        ("GET", "/repos/acme/widget/issues") => json!([{"number": 1, "title": "first"}]),
        ("POST", "/repos/acme/widget/issues") => json!({"number": 7, "title": "made"}),
        ("GET", "/v1/balance") => json!({"object": "balance", "available": [{"amount": 4200, "currency": "usd"}]}),
        ("GET", "/v1/models") => json!({"object": "list", "data": [{"id": "model-1", "object": "model"}]}),
        ("POST", "/v1/chat/completions") => json!({
            "id": "chat-1", "object": "chat.completion", "created": 1, "model": "model-1",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "pong"}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }),
        ("POST", "/v1/messages") => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "model-1", "stop_reason": "end_turn",
            "stop_sequence": null, "content": [{"type": "text", "text": "pong"}],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }),
        _ => return None,
    };
    Some(Answer::json(&answer))
}

/// A house with the three origins of the attack corpus, each with a host of its own, one that nobody should trust, and two
/// agents.
pub fn attacked(origins: &[(&str, Origin)], untrusted: &Upstream, ca: &std::path::Path) -> House {
    let mut config = ATTACKED.to_owned() + &untrusted.entry("untrusted.test");
    for (make, origin) in origins {
        let _ = writeln!(config, "  {make}.echo.test: {{ address: \"{}\", ca: {} }}", origin.addr(), ca.display());
    }
    let kit = origins[0].1.addr();
    for host in ["second.test", "evil.test"] {
        let _ = writeln!(config, "  {host}: {{ address: \"{kit}\", ca: {} }}", ca.display());
    }
    let (echo, second) = (Canary::new(201, "tok_", 40).value(), Canary::new(202, "sec_", 40).value());
    let house = House::new(&config, &[("ECHO_TOKEN", &echo), ("SECOND_TOKEN", &second)]);
    for name in ["echo.yaml", "second.yaml"] {
        std::fs::copy(e2e::house::root().join("tests/e2e/services").join(name), house.path(name)).unwrap();
    }
    house
}

const ATTACKED: &str = "version: 1
egress: closed
services: [./echo.yaml, ./second.yaml]
credentials:
  echo-token: { service: echo, from: env:ECHO_TOKEN }
  second-token: { service: second, from: env:SECOND_TOKEN }
agents:
  a:
    permissions:
      - { service: echo, credential: echo-token, methods: [GET, HEAD, OPTIONS], endpoints: [/] }
      - { service: echo, credential: echo-token, methods: [POST], endpoints: [/anything, /notes] }
      - service: echo
        credential: echo-token
        actions: [items/create]
        resources: [\"*\"]
        conditions: { max: { body.amount: 1000 } }
      - { service: second, credential: second-token, methods: [GET], endpoints: [/only-here] }
  b:
    permissions:
      - { service: echo, credential: echo-token, methods: [GET], endpoints: [/] }
upstreams:
";
