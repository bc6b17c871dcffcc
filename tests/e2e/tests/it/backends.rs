//! Secret managers over the network, end to end. There is no Vault here: its documented answers are replayed (`testkit::hashicorp`).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{Gateway, Session};
use serde_json::{Value, json};
use testkit::process::finish;
use testkit::{Answer, Canary, Hashicorp, Upstream};

struct Scene {
    server: Hashicorp,
    /// Where the server is reached.
    manager: Upstream,
    upstream: Upstream,
    house: House,
    token: Canary,
    secret_id: Canary,
}

impl Scene {
    /// `credential`: what stands behind `service: echo` in the configuration.
    fn begin(credential: &str) -> Self {
        let (token, secret_id) = (Canary::new(901, "tok_", 40), Canary::new(902, "", 36));
        let server = Hashicorp::new(903);
        server.allow("approle", "agents", &secret_id.value());
        server.put("secret/team/echo", json!({ "token": token.value(), "note": "x" }));
        let manager = Upstream::builder().http1().handler(server.handler()).start();
        let upstream = Upstream::start();
        let config = format!(
            "version: 1\nservices: [./echo.yaml]\nbackends:\n  hashicorp:\n    address: \"https://{}\"\n    ca: {}\n    \
             approle: {{ role_id: agents, secret_id: \"file:./secret-id\" }}\n\
             credentials:\n  echo-token: {{ service: echo, {credential} }}\n\
             agents:\n  tester:\n    permissions:\n      - service: echo\n        credential: echo-token\n        \
             methods: [GET, POST]\n        endpoints: [/]\nupstreams:\n{}",
            manager.addr(),
            manager.ca_file().display(),
            upstream.entry("kit.echo.test")
        );
        let house = House::new(&config, &[]);
        std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
        std::fs::write(house.path("secret-id"), format!("{}\n", secret_id.value())).unwrap();
        Self { server, manager, upstream, house, token, secret_id }
    }

    /// Everything that must be seen nowhere: the value, what logs in, and what the log-in gave.
    fn secrets(&self) -> Vec<String> {
        let mut all = self.server.made();
        all.extend([self.token.value(), self.secret_id.value()]);
        all
    }

    fn assert_quiet(&self, what: &str, octets: &[u8]) {
        for secret in self.secrets() {
            let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret stands in {what}: {}", String::from_utf8_lossy(octets));
        }
    }

    /// Files below a folder, but for the one that holds what logs in.
    fn assert_quiet_below(&self, top: &Path) {
        let mut folders = vec![top.to_owned()];
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path != self.house.path("secret-id") {
                    self.assert_quiet(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
                }
            }
        }
    }

    /// One request of a session's agent: status, body, and `Retry-After`.
    fn ask(&self, (gateway, session): (&Gateway, &Session)) -> (u16, Value, Option<String>) {
        let ca: PathBuf = self.house.path("ca.pem");
        std::fs::write(&ca, &session.ca).unwrap();
        let mut command = self.house.clean(Path::new("curl"));
        command.args(["-sS", "-w", "\n%{http_code} %header{retry-after}", "--cacert"]).arg(ca);
        command.arg("-H").arg(format!("Authorization: Bearer {}", session.env["ECHO_TOKEN"]));
        command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("tester:{}", session.token)]);
        let done = finish(command.arg("https://kit.echo.test/anything"), Duration::from_mins(1));
        self.assert_quiet("an answer", done.stdout.as_bytes());
        let (body, line) = done.stdout.rsplit_once('\n').unwrap_or_default();
        let (status, after) = line.split_once(' ').unwrap_or((line, ""));
        let after = (!after.is_empty()).then(|| after.to_owned());
        (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or_default(), after)
    }
}

#[test]
fn an_agent_works_with_what_lies_in_a_vault_and_sees_none_of_it() {
    let scene = Scene::begin("from: \"hashicorp:secret/team/echo#token\"");
    let script = "curl -sS -o /dev/null -w '%{http_code}\\n' -H \"Authorization: Bearer $ECHO_TOKEN\" \
                  https://kit.echo.test/anything; env; cat secret-id valetkey.yaml; grep -ra . /tmp 2>/dev/null | head -c 1000000; true";
    let (done, receipt) = scene.house.run_with("tester", &["--isolate=on"], &["sh", "-c", script]);
    let done = done.expect_success("the agent");
    assert!(done.stdout.starts_with("200\n"), "{}\n{}", done.stdout, done.stderr);
    assert_eq!(receipt.count("allowed"), 1);
    let seen = scene.upstream.journal().take();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].value("authorization"), format!("Bearer {}", scene.token.value()));
    scene.assert_quiet("the agent's output", done.stdout.as_bytes());
    scene.assert_quiet("standard error", done.stderr.as_bytes());
    scene.assert_quiet("the receipt", receipt.0.to_string().as_bytes());
    scene.assert_quiet_below(scene.house.path("").as_path());
    scene.house.assert_audit();
    // One log-in, revoked at the end; the record names the version and not the value.
    assert_eq!((scene.server.logins(), scene.server.live_tokens()), (1, 0));
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    assert!(export.stdout.contains("echo-token"), "{}", export.stdout);
    scene.assert_quiet("the audit log", export.stdout.as_bytes());
    // `doctor` says that it answers, and `credential test` goes through (the service has no check: wrong use).
    let health = scene.house.valetkey(&["doctor", "--json", "--config", "valetkey.yaml"]);
    let findings: Value = serde_json::from_str(&health.stdout).unwrap();
    let found = findings.as_array().unwrap().iter().find(|one| one["group"] == "backend").unwrap();
    assert_eq!((found["subject"].as_str(), found["state"].as_str()), (Some("hashicorp"), Some("ok")), "{found}");
    scene.server.seal(true);
    let refused = scene.house.valetkey(&["session", "start", "--agent", "tester", "--json"]);
    scene.assert_quiet("an error", refused.stderr.as_bytes());
}

#[test]
fn a_vault_goes_away_and_comes_back() {
    let scene = Scene::begin("from: \"hashicorp:secret/team/echo#token\", ttl: 1s, stale: 3s");
    let gateway = scene.house.serve();
    let session = scene.house.session("tester");
    let at = (&gateway, &session);
    assert_eq!(scene.ask(at).0, 200);
    scene.server.seal(true);
    let sealed = Instant::now();
    // Past its second, still within its three: the last good value.
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(scene.ask(at).0, 200);
    let (status, problem, after) = loop {
        let answer = scene.ask(at);
        if answer.0 != 200 {
            break answer;
        }
        assert!(sealed.elapsed() < Duration::from_secs(20), "the last good value has no end");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!((status, problem["code"].as_str()), (503, Some("credential_unavailable")), "{problem}");
    assert_eq!(problem["retryable"], true, "{problem}");
    assert!(after.is_some_and(|after| after.parse::<u32>().is_ok()), "no Retry-After");
    let arrived = scene.upstream.journal().len();
    let asked = scene.manager.journal().len();
    for _ in 0..20 {
        assert_eq!(scene.ask(at).0, 503);
    }
    assert_eq!(scene.upstream.journal().len(), arrived, "something left without its credential");
    let hammered = scene.manager.journal().len() - asked;
    assert!(hammered <= 10, "{hammered} questions to one who is away");
    scene.server.seal(false);
    let back = Instant::now();
    while scene.ask(at).0 != 200 {
        assert!(back.elapsed() < Duration::from_secs(70), "it does not come back");
        std::thread::sleep(Duration::from_millis(250));
    }
    for seen in scene.upstream.journal().all() {
        assert_eq!(seen.value("authorization"), format!("Bearer {}", scene.token.value()));
    }
    scene.assert_quiet("the log", &std::fs::read(scene.house.path("serve.log")).unwrap());
    scene.house.assert_audit();
}

#[test]
fn each_user_has_their_own() {
    let scene = Scene::begin("from: \"hashicorp:secret/{user}/echo#token\"");
    let tokens = [("ada", 911), ("grace", 912)].map(|(user, seed)| {
        let token = Canary::new(seed, "tok_", 40);
        scene.server.put(&format!("secret/{user}/echo"), json!({ "token": token.value() }));
        (user, token)
    });
    let script = "curl -sS -o /dev/null -w '%{http_code}' -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/anything";
    for (user, token) in &tokens {
        let (done, _) = scene.house.run_with("tester", &["--user", user], &["sh", "-c", script]);
        assert_eq!(done.stdout, "200", "{}", done.stderr);
        let seen = scene.upstream.journal().take();
        assert_eq!(seen[0].value("authorization"), format!("Bearer {}", token.value()), "{user}");
    }
    // Nobody's, and nobody else's.
    for (options, says) in [(&[][..], "begin the session with `--user NAME`"), (&["--user", ".."], "dots alone")] {
        let mut command = scene.house.clean(e2e::house::binary());
        command.arg("run").arg("--config").arg(scene.house.config()).args(["--agent", "tester"]).args(options);
        let done = finish(command.args(["--", "sh", "-c", script]), Duration::from_mins(1));
        assert!(done.stderr.contains(says), "{options:?}: {}", done.stderr);
        assert!(scene.upstream.journal().is_empty());
    }
}

#[test]
fn a_credential_is_tested_with_what_lies_there() {
    let scene = Scene::begin("from: \"hashicorp:secret/team/echo#token\"");
    let github = Upstream::builder().handler(|_| Some(Answer::json(&json!({ "login": "ada" })))).start();
    scene.server.put("secret/ada/github", json!({ "token": scene.token.value() }));
    let config = std::fs::read_to_string(scene.house.config()).unwrap();
    let config = config.replace(
        "credentials:\n",
        "credentials:\n  github-token: { service: github, from: \"hashicorp:secret/{user}/github\" }\n",
    ) + &github.entry("api.github.com");
    std::fs::write(scene.house.config(), config).unwrap();
    let test = |more: &[&str]| {
        let words = ["credential", "test", "github-token", "--config", "valetkey.yaml"];
        scene.house.valetkey(&words.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let done = test(&["--user", "ada"]).expect_success("credential test");
    assert_eq!(github.journal().last().value("authorization"), format!("Bearer {}", scene.token.value()));
    scene.assert_quiet("what it prints", format!("{}{}", done.stdout, done.stderr).as_bytes());
    assert_eq!(scene.server.live_tokens(), 0);
    let nobody = test(&[]);
    assert!(nobody.stderr.contains("no user is known here"), "{}", nobody.stderr);
}
