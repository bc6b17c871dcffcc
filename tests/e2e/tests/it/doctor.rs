//! `valetkey doctor` with real runtimes: what the published matrix says is what is seen; and with runtimes that do it wrong:
//! what is seen says where.

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::House;
use e2e::house::{binary, root, tool};
use serde_json::Value;
use testkit::process::{Finished, finish};
use testkit::upstream::Upstream;
use testkit::{Answer, Ca, Seen};

/// A dozen runtimes, one after the other, on a busy machine; two of them compile.
const PATIENCE: Duration = Duration::from_secs(400);

/// The runtimes that `cargo xtask tools` installs: what the page is about.
const INSTALLED: [&str; 18] = [
    "curl",
    "wget",
    "git",
    "python3 urllib",
    "python3 requests",
    "python3 httpx",
    "python3 aiohttp",
    "python3 aiohttp, trust_env=True",
    "node fetch",
    "node https",
    "java HttpClient",
    "java HttpClient, told of the proxy",
    "ruby net/http",
    "deno fetch",
    "cargo",
    "pip",
    "npm",
    "gh",
];

/// `doctor` with this PATH.
pub fn doctor(house: &House, path: &str, words: &[&str]) -> Finished {
    let mut command = house.clean(binary());
    command.env("PATH", path).arg("doctor").args(words);
    finish(&mut command, PATIENCE)
}

fn findings(finished: &Finished, group: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    all.into_iter().filter(|finding| finding["group"] == group).collect()
}

fn find<'a>(findings: &'a [Value], subject: &str) -> &'a Value {
    findings.iter().find(|finding| finding["subject"] == subject).unwrap_or_else(|| panic!("no finding of {subject}"))
}

fn cell(proven: &Value) -> &'static str {
    match proven.as_bool() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
}

const HEAD: &str = "# Clients

How clients fare behind `valetkey run` without isolation, told of the gateway by their environment alone. Seen by `valetkey doctor` with
the runtimes that `cargo xtask tools` installs; do not edit by hand: `VALETKEY_PUBLISH=1 cargo test -p e2e the_published_matrix` writes
this page, and `cargo xtask test` fails where it says something else than what is seen.

*trust*: the client takes the session's certificate. *proxy*: it comes through the gateway, with the session's token. *swap*: the upstream
got the real credential, the client did not. `-`: it did not come so far.

| client | trust | proxy | swap | what helps |
|---|---|---|---|---|
";

const FOOT: &str = "
Node means Node 24: older ones have no switch that makes `fetch` and `https` honour a proxy. gh stands for programs written in Go.
`valetkey doctor` tries a Go toolchain, aws and Chromium too where they are installed.
";

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever starts this test says whether it writes the page")]
fn the_published_matrix_is_what_is_seen() {
    let house = House::new("version: 1\n", &[]);
    let cargo = PathBuf::from(env!("CARGO"));
    let folders = [tool("node/node_modules/.bin"), tool("venv/bin"), cargo.parent().unwrap().to_owned()];
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let finished = doctor(&house, &format!("{}:/usr/local/bin:/usr/bin:/bin", folders.join(":")), &["--json"]);
    let seen = findings(&finished, "runtime");
    let mut page = HEAD.to_owned();
    for subject in INSTALLED {
        let finding = find(&seen, subject);
        assert_ne!(finding["state"], "absent", "{subject} is missing; run `cargo xtask tools`: {finding}");
        let helps = if finding["state"] == "ok" { "" } else { finding["mend"].as_str().unwrap() };
        let [trust, proxy, swap] = ["trust", "proxy", "swap"].map(|name| cell(&finding[name]));
        let _ = writeln!(page, "| {subject} | {trust} | {proxy} | {swap} | {helps} |");
    }
    page += FOOT;
    let failed = seen.iter().any(|finding| finding["state"] == "failed");
    assert_eq!(finished.code(), Some(i32::from(failed)), "{}", finished.stderr);
    let path = root().join("docs/reference/clients.md");
    if std::env::var_os("VALETKEY_PUBLISH").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == page,
        "docs/reference/clients.md says otherwise than what was seen:\n{page}\n{}",
        finished.stdout
    );
}

/// A folder of programs: `sh`, `curl`, and scripts that stand for clients.
pub fn programs(house: &House, scripts: &[(&str, &str)]) -> PathBuf {
    let folder = house.path("bin");
    std::fs::create_dir(&folder).unwrap();
    let real = |name: &str| ["/usr/bin", "/bin", "/usr/local/bin"].map(|at| Path::new(at).join(name));
    for name in ["sh", "curl", "sed"] {
        let found = real(name).into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {name}"));
        symlink(found, folder.join(name)).unwrap();
    }
    for (name, script) in scripts {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[test]
fn what_goes_wrong_is_told_apart() {
    let house = House::new("version: 1\n", &[]);
    let other = house.path("other.pem");
    std::fs::write(&other, Ca::new("somebody else").pem()).unwrap();
    let other = other.display();
    let ask = "exec curl -sS -H \"Authorization: Bearer $DOCTOR_TOKEN\" https://probe.valetkey.test/user";
    let path = programs(
        &house,
        &[
            ("wget", &format!("export CURL_CA_BUNDLE={other} SSL_CERT_FILE={other}\n{ask}")),
            ("ruby", &format!("unset HTTPS_PROXY https_proxy ALL_PROXY all_proxy\n{ask}")),
            ("deno", &format!("export https_proxy=$(echo $HTTPS_PROXY | sed 's,//[^@]*@,//,') HTTPS_PROXY=\n{ask}")),
            ("gh", "exec curl -sS -H 'Authorization: token nothing' https://probe.valetkey.test/user"),
            ("npm", "echo something else; exit 0"),
        ],
    );
    let path = path.display().to_string();
    let finished = doctor(&house, &path, &["--json"]);
    let seen = findings(&finished, "runtime");
    for (subject, state, [trust, proxy, swap]) in [
        ("curl", "ok", ["yes", "yes", "yes"]),
        ("wget", "failed", ["no", "yes", "no"]),
        ("ruby net/http", "failed", ["-", "no", "no"]),
        ("deno fetch", "failed", ["-", "no", "no"]),
        ("gh", "failed", ["yes", "yes", "no"]),
        ("npm", "failed", ["-", "no", "no"]),
        ("git", "absent", ["-", "-", "-"]),
    ] {
        let finding = find(&seen, subject);
        assert_eq!(finding["state"], state, "{finding}");
        assert_eq!(["trust", "proxy", "swap"].map(|name| cell(&finding[name])), [trust, proxy, swap], "{finding}");
        assert_eq!(finding["mend"].is_string(), state == "failed", "{finding}");
    }
    assert_eq!(finished.code(), Some(1));
    // The same for people.
    let told = doctor(&house, &path, &[]);
    assert_eq!(told.code(), Some(1), "{}", told.stderr);
    for part in [
        "\nruntimes\n",
        "  failed   ruby net/http  trust -, proxy no, swap no",
        "mend: this Ruby honours",
        "  absent   git, ",
        " 5 failed, ",
    ] {
        assert!(told.stdout.contains(part), "{part}\n{}", told.stdout);
    }
}

fn answers(seen: &Seen) -> Option<Answer> {
    match seen.path() {
        "/user" => Some(Answer::json(&serde_json::json!({"login": "ada"}))),
        "/v1/models" => Some(Answer::status(401)),
        _ => None,
    }
}

const CREDENTIALS: &str = "version: 1
services: [./echo.yaml]
credentials:
  github-token: { service: github, from: env:GITHUB_TOKEN }
  openai-key: { service: openai, from: env:OPENAI_API_KEY }
  echo-token: { service: echo, from: env:ECHO_TOKEN }
  gone: { service: github, from: env:GONE }
upstreams:
";

#[test]
fn each_credential_of_the_configuration_is_tested() {
    let upstream = Upstream::builder().handler(answers).start();
    let secrets = crate::setting::Secrets::new();
    let values = [secrets.github.value(), secrets.openai.value(), secrets.echo.value()];
    let names = ["GITHUB_TOKEN", "OPENAI_API_KEY", "ECHO_TOKEN"];
    let variables: Vec<(&str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
    let config = CREDENTIALS.to_owned() + &upstream.entry("api.github.com") + &upstream.entry("api.openai.com");
    let house = House::new(&config, &variables);
    std::fs::copy(root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
    let path = programs(&house, &[]).display().to_string();
    let finished = doctor(&house, &path, &["--json"]);
    house.assert_clean("doctor", &format!("{}{}", finished.stdout, finished.stderr));
    let seen = findings(&finished, "credential");
    for (subject, state, part) in [
        ("github-token", "ok", "its service takes it"),
        ("openai-key", "failed", "answers 401 to GET /v1/models"),
        ("echo-token", "untested", "offers no harmless request"),
        ("gone", "failed", "GONE"),
    ] {
        let finding = find(&seen, subject);
        assert_eq!(finding["state"], state, "{finding}");
        assert!(finding["detail"].as_str().unwrap().contains(part), "{finding}");
    }
    assert_eq!(find(&findings(&finished, "setting"), "configuration")["state"], "ok");
    assert_eq!(finished.code(), Some(1));
    // With the good one alone everything is well; a configuration that others may write is not.
    let good = "version: 1\ncredentials: { github-token: { service: github, from: env:GITHUB_TOKEN } }\nupstreams:\n";
    std::fs::write(house.config(), good.to_owned() + &upstream.entry("api.github.com")).unwrap();
    let finished = doctor(&house, &path, &["--json", "--config", "valetkey.yaml"]);
    assert_eq!(finished.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    std::fs::set_permissions(house.config(), std::fs::Permissions::from_mode(0o666)).unwrap();
    let finished = doctor(&house, &path, &["--json"]);
    let finding = findings(&finished, "setting");
    let finding = find(&finding, "configuration");
    assert!(finding["detail"].as_str().unwrap().contains("may be written by everybody"), "{finding}");
    assert_eq!(finished.code(), Some(1));
}
