//! Credentials that a GitHub App, Google and Microsoft Entra issue, end to end. None of them is here: their documented answers are replayed, and the
//! replays look at what is signed (`testkit::github_app`, `testkit::grants`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::house::{Gateway, Session, binary};
use e2e::{House, Receipt};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::process::{Finished, finish};
use testkit::upstream::GitHost;
use testkit::{Answer, GithubApp, RsaKey, Upstream};

use crate::clock::Hand;

const PATIENCE: Duration = Duration::from_mins(2);
const APP: &str = "4711";
const HAS: [(&str, &str); 5] =
    [("contents", "write"), ("issues", "write"), ("metadata", "read"), ("pull_requests", "read"), ("actions", "write")];
const READER: &str =
    "{service: github, credential: app, actions: [issues/list-for-repo], resources: [\"repo:acme/a\"]}";
const WRITER: &str = "{service: github, credential: app, actions: [issues/create], resources: [\"repo:acme/b\"]}";
const CODER: &str =
    "{service: github, credential: app-git, actions: [git/fetch, git/push], resources: [\"repo:acme/widget\"]}";
const LONER: &str =
    "{service: github, credential: app-env, actions: [issues/list-for-repo], resources: [\"repo:acme/a\"]}";

/// GitHub, and a home that has an App's private key: in the vault as `app`, and in a file as `app-git`.
struct Scene {
    github: GithubApp,
    api: Upstream,
    web: Upstream,
    host: GitHost,
    house: House,
    key: RsaKey,
    _hosted: TempDir,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let key = RsaKey::fresh();
        let github = GithubApp::new(seed, APP, &key, &["a", "b", "widget"], &HAS);
        let replay = github.clone();
        let api = Upstream::builder().handler(github.handler()).handler(move |seen| {
            let repository = seen.path().strip_prefix("/repos/acme/")?.strip_suffix("/issues")?;
            let level = if seen.method == "GET" { "read" } else { "write" };
            let may = replay.allows(seen, repository, "issues", level);
            Some(if may { Answer::json(&json!([])) } else { Answer::status(403) })
        });
        let api = api.start();
        let hosted = tempfile::tempdir().unwrap();
        let host = GitHost::at(hosted.path());
        host.repository("acme/widget.git", &[("README.md", b"hello\n")]);
        let (git, replay) = (host.clone(), github.clone());
        let web = Upstream::builder().handler(move |seen| {
            let writes = seen.target.contains("git-receive-pack");
            let may = replay.allows(seen, "widget", "contents", if writes { "write" } else { "read" });
            let known = seen.headers.contains_key("authorization");
            if known && !may { Some(Answer::status(403)) } else { git.answer(seen) }
        });
        let web = web.start();
        let agent = |name: &str, permission: &str| format!("  {name}:\n    permissions: [{permission}]\n");
        let issue = |by: &str| format!("issue: {{ github_app: {{ app_id: {APP}, {by} }} }}");
        let config = format!(
            "version: 1\negress: closed\ncredentials:\n  app: {{ service: github, {} }}\n  \
             app-git: {{ service: github, from: \"file:./app.pem\", inject: always, {} }}\n  \
             app-env: {{ service: github, from: env:APP_KEY, {} }}\nagents:\n{}{}{}{}upstreams:\n{}{}",
            issue("installation_id: 77"),
            issue("owner: acme"),
            issue("owner: acme, narrow: false"),
            agent("loner", LONER),
            agent("reader", READER),
            agent("writer", WRITER),
            agent("coder", CODER),
            api.entry("api.github.com"),
            web.entry("github.com"),
        );
        // As variables often have it: in one line.
        let house = House::new(&config, &[("APP_KEY", &key.pkcs8().replace('\n', "\\n"))]);
        std::fs::write(house.path("app.pem"), key.pkcs8()).unwrap();
        let scene = Self { github, api, web, host, house, key, _hosted: hosted };
        let (code, said) = scene.add("app", "private-key", &scene.key.pkcs1());
        assert_eq!(code, Some(0), "{said}");
        scene
    }

    /// `credential add NAME --kind KIND` with this on standard input.
    fn add(&self, name: &str, kind: &str, value: &str) -> (Option<i32>, String) {
        let mut command = self.house.clean(binary());
        command.args(["credential", "add", name, "--service", "github", "--kind", kind]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8(said).unwrap())
    }

    /// `curl` as the agent of a session.
    fn curl(&self, (gateway, session): (&Gateway, &Session), words: &[&str]) -> Finished {
        curl(&self.house, (gateway, session), &session.env["GITHUB_TOKEN"], words)
    }

    /// The status of one request for issues.
    fn ask(&self, at: (&Gateway, &Session), repository: &str) -> String {
        let url = format!("https://api.github.com/repos/acme/{repository}/issues");
        let done = self.curl(at, &["-w", "%{http_code}", &url]);
        self.assert_quiet("an answer", done.stdout.as_bytes());
        done.stdout.chars().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect()
    }

    /// Fifty requests for issues at once, all of which must be answered.
    fn ask_at_once(&self, at: (&Gateway, &Session)) {
        let urls = vec!["https://api.github.com/repos/acme/a/issues"; 50];
        let parallel = ["-Z", "--parallel-immediate", "--parallel-max", "50", "-w", "%{http_code}\n"];
        let done = self.curl(at, &[&parallel[..], &urls[..]].concat());
        assert_eq!(done.stdout.matches("200\n").count(), 50, "{}\n{}", done.stdout, done.stderr);
    }

    /// Neither a line of the key nor a token that was given stands in it.
    fn assert_quiet(&self, what: &str, octets: &[u8]) {
        let tokens = self.github.given().into_iter().map(|given| given.token);
        assert_absent(what, octets, tokens.chain([self.key.line()]));
    }

    fn assert_quiet_everywhere(&self) {
        for path in files_below(&self.house.path("")) {
            if path != self.house.path("app.pem") {
                self.assert_quiet(&path.display().to_string(), &std::fs::read(&path).unwrap_or_default());
            }
        }
        let export = self.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        self.assert_quiet("the audit log", export.stdout.as_bytes());
        self.house.assert_audit();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.house.path("serve.log")).unwrap()
    }
}

fn curl(house: &House, (gateway, session): (&Gateway, &Session), placeholder: &str, words: &[&str]) -> Finished {
    let ca = house.path(&format!("{}.pem", session.id));
    std::fs::write(&ca, &session.ca).unwrap();
    let mut command = house.clean(Path::new("curl"));
    command.args(["-sS", "--cacert"]).arg(ca).arg("-H").arg(format!("Authorization: Bearer {placeholder}"));
    command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("agent:{}", session.token)]);
    finish(command.args(words), PATIENCE)
}

fn assert_absent(what: &str, octets: &[u8], secrets: impl Iterator<Item = String>) {
    for secret in secrets {
        let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a secret stands in {what}: {}", String::from_utf8_lossy(octets));
    }
}

fn files_below(top: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![top.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

/// Ends a server as an operator does.
fn end(gateway: &mut Gateway) {
    Command::new("kill").args(["-TERM", &gateway.process.id().to_string()]).status().unwrap();
    assert!(gateway.process.wait(Duration::from_secs(30)).is_some(), "`serve` does not end");
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn each_agent_has_a_token_of_what_it_needs_and_no_more() {
    let scene = Scene::new(931);
    let mut gateway = scene.house.serve();
    let (reader, writer) = (scene.house.session("reader"), scene.house.session("writer"));
    for session in [&reader, &writer] {
        let placeholder = &session.env["GITHUB_TOKEN"];
        assert!(placeholder.starts_with("ghs_") && placeholder.len() == 40, "{placeholder}");
    }
    assert!(scene.github.given().is_empty(), "beginning a session asks nobody");
    // Fifty at once: one question.
    scene.ask_at_once((&gateway, &reader));
    assert_eq!(scene.github.given().len(), 1);
    assert_eq!(scene.ask((&gateway, &writer), "b"), "403", "the policy allows the writer no reading");
    let post = ["-w", "%{http_code}", "-d", "{\"title\":\"x\"}", "https://api.github.com/repos/acme/b/issues"];
    let done = scene.curl((&gateway, &writer), &post);
    assert!(done.stdout.ends_with("200"), "{}\n{}", done.stdout, scene.log());
    let asked = scene.github.asked();
    let wanted = [
        json!({ "repositories": ["a"], "permissions": { "issues": "read", "pull_requests": "read" } }),
        json!({ "repositories": ["b"], "permissions": { "issues": "write", "pull_requests": "read" } }),
    ];
    assert_eq!(asked, wanted);
    // What went out is each one's own, and nothing else.
    let given = scene.github.given();
    let sent = scene.api.journal().take().into_iter().filter(|seen| seen.path().starts_with("/repos/"));
    for seen in sent {
        let own = &given[usize::from(seen.method == "POST")].token;
        assert_eq!(seen.value("authorization"), format!("Bearer {own}"), "{}", seen.target);
    }
    assert_eq!(scene.github.refused(), Vec::<String>::new());
    assert_eq!(scene.github.live(), 2);
    end(&mut gateway);
    assert_eq!(scene.github.live(), 0, "tokens outlive the gateway");
    scene.assert_quiet_everywhere();
}

#[test]
fn git_pushes_with_an_installation_token() {
    let scene = Scene::new(932);
    let script = "export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@x.test GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@x.test
        git clone -q https://github.com/acme/widget.git w && cd w && echo more >> README.md && git commit -qam more &&
        git push -q origin HEAD:refs/heads/agent/one && echo pushed; env; cat ../app.pem 2>/dev/null; true";
    let (done, Receipt(receipt)) = scene.house.run_with("coder", &["--isolate=on"], &["sh", "-c", script]);
    assert!(done.stdout.contains("pushed"), "{}\n{}\n{receipt}", done.stdout, done.stderr);
    assert!(scene.host.head("acme/widget.git", "refs/heads/agent/one").is_some());
    scene.assert_quiet("the agent's output", format!("{}{}", done.stdout, done.stderr).as_bytes());
    // The App has no permission for workflows, so none is asked for.
    assert_eq!(scene.github.asked(), [json!({ "repositories": ["widget"], "permissions": { "contents": "write" } })]);
    let sent = scene.web.journal().all();
    assert!(sent.iter().all(|seen| seen.value("authorization").starts_with("Basic ")), "not by Basic");
    assert_eq!((scene.github.given().len(), scene.github.live()), (1, 0), "the token outlives the run");
    scene.assert_quiet_everywhere();
}

#[test]
fn a_key_in_a_variable_is_hidden_from_the_agent() {
    let scene = Scene::new(937);
    scene.github.belongs_to_user();
    let script = "for name in GITHUB_TOKEN APP_KEY; do eval \"value=\\$$name\"; echo \"$name $value\"; done
        curl -sS -o /dev/null -w '%{http_code}' -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/repos/acme/a/issues";
    for isolate in ["on", "off"] {
        let option = format!("--isolate={isolate}");
        let (done, _) = scene.house.run_with("loner", &[&option], &["sh", "-c", script]);
        let lines: Vec<&str> = done.stdout.lines().collect();
        assert!(lines[0].starts_with("GITHUB_TOKEN ghs_") && lines[1].starts_with("APP_KEY ghs_"), "{}", done.stdout);
        assert_eq!(lines[2], "200", "{}", done.stderr);
        scene.assert_quiet("the agent's output", format!("{}{}", done.stdout, done.stderr).as_bytes());
    }
    // Not narrowed, as it says: everything that the installation has.
    assert_eq!(scene.github.asked(), [json!({}), json!({})]);
    assert_eq!(scene.github.live(), 0);
    scene.assert_quiet_everywhere();
}

#[test]
fn tokens_are_renewed_before_their_end_and_used_to_it() {
    let scene = Scene::new(933);
    scene.github.set_seconds(600);
    let hand = Hand::on(&scene.house);
    let gateway = hand.serve(&scene.house);
    let reader = scene.house.session("reader");
    let at = (&gateway, &reader);
    let go = |seconds: i64| {
        scene.github.set_ahead(seconds);
        hand.set(&format!("+{seconds}"));
    };
    assert_eq!((scene.ask(at, "a").as_str(), scene.github.given().len()), ("200", 1));
    go(300);
    assert_eq!(
        (scene.ask(at, "a").as_str(), scene.github.given().len()),
        ("200", 1),
        "it is good for five minutes more"
    );
    go(430);
    scene.ask_at_once(at);
    assert_eq!(scene.github.given().len(), 2, "it is not renewed in time, or by each who asks");
    // Issuing is away. What was issued is used to its end, and no longer.
    scene.github.refuse_tokens(Some(Answer::status(503)));
    go(1_000);
    assert_eq!(scene.ask(at, "a"), "200", "{}", scene.log());
    go(1_040);
    let done = scene.curl(at, &["-w", "\n%{http_code}", "https://api.github.com/repos/acme/a/issues"]);
    let (body, status) = done.stdout.rsplit_once('\n').unwrap();
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!((status, problem["code"].as_str()), ("503", Some("credential_unavailable")), "{problem}");
    assert_eq!(scene.github.given().len(), 2);
    scene.github.refuse_tokens(None);
    until("it does not come back", || {
        go(1_040 + 120);
        scene.ask(at, "a") == "200"
    });
    drop(gateway);
    scene.assert_quiet_everywhere();
}

#[test]
fn a_no_is_said_to_operators_and_a_revocation_to_github() {
    let scene = Scene::new(934);
    let mut gateway = scene.house.serve();
    let reader = scene.house.session("reader");
    let at = (&gateway, &reader);
    assert_eq!(scene.ask(at, "a"), "200");
    let works = scene.house.valetkey(&["credential", "test", "app", "--config", "valetkey.yaml"]);
    let works = works.expect_success("credential test");
    assert!(works.stdout.contains("app works"), "{}", works.stdout);
    // What it had issued for that is over.
    assert_eq!(scene.github.live(), 1);
    // Revoked: at once here, told to GitHub, and nothing new.
    let _ = scene.house.valetkey(&["credential", "revoke", "app"]).expect_success("credential revoke");
    until("GitHub is not told", || scene.github.live() == 0);
    let done = scene.curl(at, &["https://api.github.com/repos/acme/a/issues"]);
    assert!(done.stdout.contains("credential_revoked"), "{}", done.stdout);
    assert_eq!(scene.github.live(), 0);
    end(&mut gateway);
    // Suspended: the log and `doctor` have the words, the agent has not.
    let scene = Scene::new(935);
    scene.github.suspend(true);
    let gateway = scene.house.serve();
    let reader = scene.house.session("reader");
    let done = scene.curl((&gateway, &reader), &["https://api.github.com/repos/acme/a/issues"]);
    assert!(done.stdout.contains("credential_unavailable"), "{}", done.stdout);
    assert!(!done.stdout.contains("suspended"), "{}", done.stdout);
    let export = scene.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let says = "the installation on `acme` is suspended since 2026-11-20T10:00:00Z";
    assert!(export.contains(says) || scene.log().contains(says), "{export}\n{}", scene.log());
    let doctor = scene.house.valetkey(&["doctor", "--json", "--config", "valetkey.yaml"]);
    let findings: Value = serde_json::from_str(&doctor.stdout).unwrap();
    let found = findings.as_array().unwrap().iter().find(|one| one["subject"] == "app").unwrap();
    assert_eq!(found["state"], "failed", "{found}");
    assert!(found["detail"].as_str().unwrap().contains(says), "{found}");
    drop(gateway);
    scene.assert_quiet_everywhere();
}

#[test]
fn what_is_stored_must_be_a_key() {
    let scene = Scene::new(936);
    let ecc = testkit::Ca::new("x").key_pem().to_owned();
    for (number, (kind, value, says)) in [
        ("private-key", "hunter2", "PEM: the lines from"),
        ("private-key", "-----BEGIN PRIVATE KEY-----\nAAAA", "PEM: the lines from"),
        ("private-key", ecc.as_str(), "stored other-2 version 1"),
        ("gcp", "{\"client_email\":\"a@b\"}", "the JSON of a service account's key file"),
        ("github-app", ecc.as_str(), "what is stored for it is of kind `private-key`"),
    ]
    .into_iter()
    .enumerate()
    {
        let (code, said) = scene.add(&format!("other-{number}"), kind, value);
        assert!(said.contains(says), "{kind}: {said}");
        assert_eq!(code == Some(0), says.starts_with("stored"), "{kind}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // A policy whose resources are of two owners gets no token, and whoever starts the gateway reads why.
    let text = std::fs::read_to_string(scene.house.config())
        .unwrap()
        .replace("\"repo:acme/a\"", "\"repo:acme/a\", \"repo:evil/a\"");
    std::fs::write(scene.house.config(), text).unwrap();
    let gateway = scene.house.serve();
    let refused = scene.house.valetkey(&["session", "start", "--agent", "reader", "--json"]);
    assert!(refused.stderr.contains("`acme` and of `evil`"), "{}", refused.stderr);
    assert!(scene.log().contains("`acme` and of `evil`"), "{}", scene.log());
    assert!(scene.github.given().is_empty());
    drop(gateway);
}
