//! Credentials that are issued: what is stored stays in the gateway, the API gets something short-lived. The authorization server is a real one
//! (oidc-provider), as are the clients; a person's browser is a program that fills forms.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{Gateway, Session, root, tool};
use serde_json::{Value, json};
use testkit::process::{Running, finish};
use testkit::{Ca, Canary};

const HOSTS: [&str; 2] = ["id.corp.test", "kit.echo.test"];

/// An authorization server, and the API that takes its tokens.
struct Server {
    _process: Running,
    folder: tempfile::TempDir,
    port: u64,
    secret: Canary,
}

impl Server {
    /// Whose access tokens live for so many seconds.
    fn start(seconds: u64) -> Self {
        let (ca, folder, secret) = (Ca::new("oidc"), tempfile::tempdir().unwrap(), Canary::new(951, "cs-", 40));
        let (cert, key) = ca.leaf_pem(&HOSTS);
        let file = |name: &str| folder.path().join(name);
        for (name, text) in [("cert.pem", &*cert), ("key.pem", &*key), ("ca.pem", ca.pem())] {
            std::fs::write(file(name), text).unwrap();
        }
        // The client that signs has a key of its own.
        openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"], &file("signer.pem"));
        let node = tool("node/node_modules");
        let script = node.parent().unwrap().join("oidc.mjs");
        std::fs::copy(root().join("tests/e2e/origins/oidc.mjs"), &script).unwrap();
        let mut command = std::process::Command::new(tool("node/node_modules/.bin/node"));
        command.arg(script).args([file("cert.pem"), file("key.pem")]).arg(seconds.to_string());
        let words = json!({ "secret": secret.value(), "jwk": jwk(&file("signer.pem")) }).to_string();
        std::fs::write(file("words.json"), words).unwrap();
        command.arg(file("words.json")).stderr(Stdio::null());
        let (process, line) = Running::ready(command);
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("not ready: {error} {line}"));
        let port = ready["port"].as_u64().unwrap();
        std::fs::remove_file(file("words.json")).unwrap();
        Self { _process: process, folder, port, secret }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A home with one agent and one credential, of which `credential` is the configuration behind `service: echo`.
    fn house(&self, credential: &str, secrets: &[(&str, &str)]) -> House {
        let mut upstreams = String::new();
        for host in HOSTS {
            let (port, ca) = (self.port, self.file("ca.pem"));
            writeln!(upstreams, "  {host}: {{ address: \"127.0.0.1:{port}\", ca: {} }}", ca.display()).unwrap();
        }
        let house = House::new(
            &format!(
                "version: 1\nservices: [./echo.yaml]\ncredentials:\n  corp: {{ service: echo, {credential} }}\nagents:\n  tester:\n    \
                 permissions:\n      - {{ service: echo, credential: corp, methods: [GET, POST], endpoints: [/] }}\nupstreams:\n{upstreams}"
            ),
            secrets,
        );
        std::fs::copy(root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
        house
    }

    /// What happened there, asked for without the gateway.
    fn count(&self) -> Value {
        let mut command = std::process::Command::new("curl");
        let at = format!("kit.echo.test:{0}:127.0.0.1", self.port);
        command.args(["-sS", "--noproxy", "*", "--resolve", &at, "--cacert"]).arg(self.file("ca.pem"));
        command.arg(format!("https://kit.echo.test:{}/count", self.port));
        let done = finish(&mut command, Duration::from_secs(20)).expect_success("count");
        serde_json::from_str(&done.stdout).unwrap()
    }
}

fn openssl(words: &[&str], out: &Path) {
    let mut command = std::process::Command::new("openssl");
    let _ = finish(command.args(words).arg(out), Duration::from_secs(20)).expect_success("openssl");
}

/// The public half of a key of P-256, as JWK (RFC 7518 6.2).
fn jwk(path: &Path) -> Value {
    let script = "const c=require('crypto'),f=require('fs');console.log(JSON.stringify(c.createPublicKey(f.readFileSync(process.argv[1])).export({format:'jwk'})))";
    let mut command = std::process::Command::new(tool("node/node_modules/.bin/node"));
    let done = finish(command.args(["-e", script]).arg(path), Duration::from_secs(20)).expect_success("jwk");
    serde_json::from_str(&done.stdout).unwrap()
}

/// One request of an agent: status and body.
fn ask(house: &House, (gateway, session): (&Gateway, &Session)) -> (u16, Value) {
    let ca = house.path("ca.pem");
    std::fs::write(&ca, &session.ca).unwrap();
    let mut command = house.clean(Path::new("curl"));
    command.args(["-sS", "-w", "\n%{http_code}", "--cacert"]).arg(ca);
    command.arg("-H").arg(format!("Authorization: Bearer {}", session.env["ECHO_TOKEN"]));
    command.args(["-x", &format!("http://{}", gateway.proxy), "-U", &format!("tester:{}", session.token)]);
    let done = finish(command.arg("https://kit.echo.test/who"), Duration::from_mins(1));
    let (body, status) = done.stdout.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or_default())
}

const TOKEN: &str = "token_url: \"https://id.corp.test/token\"";

#[test]
fn a_client_has_tokens_for_its_secret_in_each_way() {
    let server = Server::start(3_600);
    let secret = server.secret.value();
    let key = std::fs::read_to_string(server.file("signer.pem")).unwrap();
    for (client, rest, value) in [
        ("machine", "", secret.as_str()),
        ("poster", "authentication: post,", secret.as_str()),
        ("signer", "authentication: private_key_jwt,", key.as_str()),
    ] {
        let before = server.count()["issued"].as_u64().unwrap();
        let credential = format!(
            "from: \"file:./stored\", issue: {{ oauth2: {{ {TOKEN}, client_id: {client}, {rest} scopes: [read] }} }}"
        );
        let house = server.house(&credential, &[]);
        std::fs::write(house.path("stored"), value).unwrap();
        let gateway = house.serve();
        // Beginning a session asks nobody.
        let session = house.session("tester");
        assert_eq!(server.count()["issued"].as_u64().unwrap(), before, "{client}");
        for _ in 0..3 {
            let (status, body) = ask(&house, (&gateway, &session));
            assert_eq!((status, &body["client"], &body["scope"]), (200, &json!(client), &json!("read")), "{body}");
        }
        assert_eq!(server.count()["issued"].as_u64().unwrap(), before + 1, "{client}");
        let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
        server.secret.assert_absent("the audit log", export.as_bytes());
        house.assert_audit();
    }
}

#[test]
fn a_no_of_the_server_is_told_in_words() {
    let server = Server::start(3_600);
    let credential = format!("from: \"file:./stored\", issue: {{ oauth2: {{ {TOKEN}, client_id: machine }} }}");
    let house = server.house(&credential, &[]);
    let wrong = Canary::new(952, "cs-", 40);
    std::fs::write(house.path("stored"), wrong.value()).unwrap();
    let gateway = house.serve();
    let session = house.session("tester");
    let (status, body) = ask(&house, (&gateway, &session));
    assert_eq!((status, &body["code"]), (503, &json!("credential_unavailable")), "{body}");
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    assert!(export.contains("id.corp.test answers 401: invalid_client"), "{export}");
    let health = house.valetkey(&["doctor", "--json", "--config", "valetkey.yaml"]);
    assert!(health.stdout.contains("invalid_client"), "{}", health.stdout);
    for (what, text) in [("the answer", body.to_string()), ("the log", export), ("doctor", health.stdout)] {
        wrong.assert_absent(what, text.as_bytes());
    }
    // Mended without a restart.
    std::fs::write(house.path("stored"), server.secret.value()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while ask(&house, (&gateway, &session)).0 != 200 {
        assert!(Instant::now() < until, "still refused");
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Tokens that live for four seconds, under load for more than three lives of one: nobody is refused, and hardly anybody asks.
#[test]
fn tokens_are_renewed_before_their_end() {
    let server = Server::start(4);
    let credential = format!("from: \"file:./stored\", issue: {{ oauth2: {{ {TOKEN}, client_id: machine }} }}");
    let house = server.house(&credential, &[]);
    std::fs::write(house.path("stored"), server.secret.value()).unwrap();
    let gateway = house.serve();
    let session = house.session("tester");
    std::fs::write(house.path("ca.pem"), &session.ca).unwrap();
    let script = "import os, threading, time, requests\n\
        end, said, lock = time.monotonic() + 14, {}, threading.Lock()\n\
        def work():\n\
        \x20   s = requests.Session()\n\
        \x20   while time.monotonic() < end:\n\
        \x20       got = s.get('https://kit.echo.test/who').status_code\n\
        \x20       with lock: said[got] = said.get(got, 0) + 1\n\
        all = [threading.Thread(target=work) for _ in range(20)]\n\
        [one.start() for one in all]; [one.join() for one in all]\n\
        import json; print(json.dumps(said))\n";
    let mut command = house.clean(&tool("venv/bin/python"));
    command.args([
        "-c",
        &script.replace(
            "s = requests.Session()",
            &format!("s = requests.Session(); s.headers['Authorization'] = 'Bearer {}'", session.env["ECHO_TOKEN"]),
        ),
    ]);
    command.env("REQUESTS_CA_BUNDLE", house.path("ca.pem"));
    command.env("HTTPS_PROXY", format!("http://tester:{}@{}", session.token, gateway.proxy));
    let done = finish(&mut command, Duration::from_mins(1)).expect_success("the load");
    let said: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(said.as_object().unwrap().keys().collect::<Vec<_>>(), ["200"], "{said}");
    let count = server.count();
    let issued = count["issued"].as_u64().unwrap();
    // A third of its life before its end each: about six in fourteen seconds, whoever asks meanwhile.
    assert!((4..=8).contains(&issued), "{count}");
    assert_eq!(count["refused"], 0, "{count}");
    assert!(said["200"].as_u64().unwrap() > 100, "{said}");
}

const PERSON: &str = "issue: { oauth2: { token_url: \"https://id.corp.test/token\", client_id: person, grant: refresh_token, \
    scopes: [openid, offline_access, read], authorize_url: \"https://id.corp.test/auth\", device_url: \"https://id.corp.test/device/auth\" } }";

/// A person logs in; `words` are those of `credential login`.
fn log_in(server: &Server, house: &House, words: &[&str]) -> String {
    let mut command = house.clean(e2e::house::binary());
    command.args(["credential", "login", "corp", "--config", "valetkey.yaml", "--json"]).args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    let url = lines.by_ref().map(Result::unwrap).find_map(|line| {
        let at = line.find("https://")?;
        line.get(at..)?.split(' ').next().map(str::to_owned)
    });
    let url = url.unwrap();
    let mut browser = std::process::Command::new(tool("venv/bin/python"));
    browser.arg(root().join("tests/e2e/clients/browser.py")).args([&url, &server.file("ca.pem").display().to_string()]);
    let seen =
        finish(browser.arg(server.port.to_string()).arg("ada"), Duration::from_mins(1)).expect_success("browser");
    let done = child.wait_with_output().unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(done.status.success(), "{rest:?}\n{}", seen.stdout);
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "{\"credential\":\"corp\",\"version\":1}");
    seen.stdout
}

#[test]
fn a_person_logs_in_and_the_gateway_renews() {
    let server = Server::start(4);
    for (words, ends) in [(&[][..], "You are logged in"), (&["--device"][..], "")] {
        let house = server.house(PERSON, &[]);
        let seen = log_in(&server, &house, words);
        assert!(seen.contains(ends), "{seen}");
        let gateway = house.serve();
        let session = house.session("tester");
        let (before, until) = (server.count(), Instant::now() + Duration::from_secs(9));
        let mut calls = 0;
        while Instant::now() < until {
            let (status, body) = ask(&house, (&gateway, &session));
            assert_eq!((status, &body["client"], &body["who"]), (200, &json!("person"), &json!("ada")), "{body}");
            calls += 1;
            std::thread::sleep(Duration::from_millis(150));
        }
        let count = server.count();
        let renewed = count["refreshed"].as_u64().unwrap() - before["refreshed"].as_u64().unwrap();
        assert!((2..=6).contains(&renewed) && calls > 10, "{count}");
        assert_eq!((&count["refused"], &count["reused"]), (&json!(0), &json!(0)), "{count}");
        house.assert_audit();
    }
}

/// A server and a `run` on one home: a refresh token is never used twice, or everything of that log-in would be taken back.
#[test]
fn two_gateways_take_turns() {
    let server = Server::start(4);
    let house = server.house(PERSON, &[]);
    log_in(&server, &house, &[]);
    let gateway = house.serve();
    let session = house.session("tester");
    let (until, before) = (Instant::now() + Duration::from_secs(10), server.count());
    let run = std::thread::scope(|scope| {
        let served = scope.spawn(|| {
            let mut all = Vec::new();
            while Instant::now() < until {
                all.push(ask(&house, (&gateway, &session)));
            }
            all
        });
        let script = "for i in $(seq 40); do curl -sS -o /dev/null -w '%{http_code}\n' -H \"Authorization: Bearer $ECHO_TOKEN\" \
                      https://kit.echo.test/who; sleep 0.2; done";
        let (run, _) = house.run_with("tester", &["--isolate=off"], &["sh", "-c", script]);
        for (status, body) in served.join().unwrap() {
            assert_eq!(status, 200, "{body}");
        }
        run.expect_success("run").stdout
    });
    assert_eq!(run.lines().filter(|line| *line != "200").count(), 0, "{run}");
    assert_eq!(run.lines().count(), 40);
    let count = server.count();
    assert_eq!((&count["refused"], &count["reused"]), (&json!(0), &json!(0)), "{count}");
    let renewed = count["refreshed"].as_u64().unwrap() - before["refreshed"].as_u64().unwrap();
    assert!((2..=12).contains(&renewed), "{count}");
}
