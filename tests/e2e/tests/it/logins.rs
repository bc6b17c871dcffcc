//! Log-ins behind Valetkey: a program logs in, calls, refreshes, calls again, and never holds a token. Real clients, an
//! authorization server that does what real ones do, and the leak oracle over everything the program could see.

use std::collections::HashMap;

use e2e::House;
use e2e::house::tool;
use serde_json::{Value, json};
use testkit::oauth::Shape;
use testkit::{Answer, Canary, OAuth, Seen, Upstream};

fn client(name: &str) -> String {
    e2e::house::root().join("tests/e2e/clients").join(name).display().to_string()
}

/// Node resolves packages beside the script; the scripts are copied beside the packages.
fn node(script: &str) -> String {
    let modules = tool("node/node_modules");
    let beside = modules.parent().unwrap().join(script);
    std::fs::copy(client(script), &beside).unwrap();
    beside.display().to_string()
}

const ANTHROPIC: Shape = Shape::Opaque("sk-ant-oat01-", "sk-ant-ort01-");

/// An authorization server and its API at the hosts of a service, and a home whose agent may log in.
struct Scene {
    oauth: OAuth,
    upstream: Upstream,
    house: House,
}

impl Scene {
    fn new(shape: Shape, hosts: &[&str], config: &str, secrets: &[(&str, &str)]) -> Self {
        let oauth = OAuth::new(701, shape);
        let own = oauth.clone();
        let upstream = Upstream::builder().handler(move |seen| own.answer(seen)).start();
        let entries: String = hosts.iter().map(|host| upstream.entry(host)).collect();
        let house = House::new(&format!("version: 1\n{config}upstreams:\n{entries}"), secrets);
        Self { oauth, upstream, house }
    }

    fn anthropic() -> Self {
        Self::new(ANTHROPIC, &["api.anthropic.com", "console.anthropic.com", "collector.test"], ONE_AGENT, &[])
    }

    /// Nothing that the agent printed or kept holds a token.
    fn assert_quiet(&self, texts: &[(&str, &str)]) {
        let issued = self.oauth.issued();
        assert!(!issued.is_empty());
        for (what, text) in texts {
            for canary in &issued {
                canary.assert_absent(what, text.as_bytes());
            }
        }
        let log = self.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
        for canary in &issued {
            canary.assert_absent("the audit log", log.as_bytes());
        }
        self.house.assert_audit();
    }
}

const ONE_AGENT: &str = "egress: open
credentials:
  claude: { service: anthropic, kind: oauth2 }
agents:
  coder:
    permissions:
      - { service: anthropic, credential: claude, actions: [read], resources: [\"*\"] }
      - { service: anthropic, credential: claude, actions: [oauth/token], resources: [\"*\"], conditions: { approval: none } }
";

fn lines<'a>(output: &'a str, word: &str) -> Vec<&'a str> {
    output.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect()
}

/// Records of one kind with what they say.
fn records(house: &House, kind: &str) -> Vec<Value> {
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let all = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["kind"] == kind).collect()
}

#[test]
fn a_program_logs_in_by_loopback_redirect_and_refreshes() {
    let scene = Scene::anthropic();
    let python = tool("venv/bin/python").display().to_string();
    // The person's browser is not behind the gateway; here it is a part of the program, and gets a port to the log-in's page.
    let port = scene.upstream.addr().port();
    let authorize = format!("https://localhost:{port}/oauth/authorize");
    let authority = scene.house.path("browser.pem");
    std::fs::copy(scene.upstream.ca_file(), &authority).unwrap();
    let (authority, reach) = (authority.display().to_string(), format!("--reach=localhost:{port}"));
    let (token, api) = ("https://console.anthropic.com/v1/oauth/token", "https://api.anthropic.com/v1/models");
    let words = [
        "env",
        "ELSEWHERE=https://collector.test/take",
        &python,
        &client("oauth_code.py"),
        &authorize,
        &authority,
        token,
        api,
        "twice",
    ];
    let (output, _) = scene.house.run_with("coder", &[&reach], &words);
    let output = output.expect_success("the program");
    let (oauth, text) = (&scene.oauth, &output.stdout);
    assert_eq!(lines(text, "call"), ["200"; 4], "{text}\n{}", output.stderr);
    // What it had before a refresh goes on working, and a refresh with it renews what is current: no reuse is ever seen.
    assert_eq!((lines(text, "old"), lines(text, "again")), (vec!["200"; 2], vec!["200"]), "{text}");
    assert_eq!((oauth.refreshed(), oauth.revoked(), oauth.issued().len()), (3, 0, 8));
    // Neither part stands for the other, and nobody else's is taken.
    assert_eq!(lines(text, "misplaced"), ["400"], "{text}");
    assert_eq!(lines(text, "foreign"), ["placeholder_misplaced", "placeholder_foreign"], "{text}");
    // The placeholders have the shape of the real ones.
    let tokens: Vec<Value> = lines(text, "token").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tokens.len(), 3);
    for token in &tokens {
        let (access, refresh) = (token["access_token"].as_str().unwrap(), token["refresh_token"].as_str().unwrap());
        assert!(access.starts_with("sk-ant-oat01-") && access.len() == 73, "{token}");
        assert!(
            refresh.starts_with("sk-ant-ort01-") && refresh.len() == 73 && access[13..] != refresh[13..],
            "{token}"
        );
        assert_eq!(token["account"]["email_address"], "ada@example.test");
    }
    let kept = std::fs::read_to_string(scene.house.path("login.json")).unwrap();
    scene.assert_quiet(&[("output", text), ("errors", &output.stderr), ("its file", &kept)]);
    assert_upstream_saw(&scene, tokens[0]["access_token"].as_str().unwrap());
    assert_recorded(&scene.house);
}

/// The server got real tokens in their slots, the collector a worthless one.
fn assert_upstream_saw(scene: &Scene, placeholder: &str) {
    let issued = scene.oauth.issued();
    let mut seen = HashMap::from([("api", 0), ("token", 0), ("elsewhere", 0)]);
    for one in scene.upstream.journal().all() {
        let real = issued.iter().map(|canary| one.count(&canary.value())).sum::<usize>();
        let (what, want) = match (one.method.as_str(), one.path()) {
            ("GET", "/v1/models") => ("api", 1),
            ("POST", "/v1/oauth/token") => ("token", usize::from(one.count("refresh_token=") > 0)),
            ("POST", "/take") => ("elsewhere", 0),
            _ => continue,
        };
        assert_eq!((real, one.count(placeholder)), (want, 0), "{what}: {one:?}");
        *seen.get_mut(what).unwrap() += 1;
    }
    assert_eq!(seen, HashMap::from([("api", 6), ("token", 4), ("elsewhere", 1)]));
}

fn assert_recorded(house: &House) {
    let outcomes = records(house, "outcome");
    let captured: Vec<&Value> =
        outcomes.iter().map(|event| &event["response"]["captured"]).filter(|list| !list.is_null()).collect();
    let versions: Vec<u64> = captured.iter().map(|list| list[0]["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    assert!(captured.iter().all(|list| list[0]["name"] == "claude"), "{captured:?}");
    let refusals = records(house, "refusal");
    let foreign = refusals.iter().filter(|event| event["code"] == "placeholder_foreign").count();
    assert_eq!((refusals.len(), foreign), (3, 1), "{refusals:?}");
}

#[test]
fn a_program_logs_in_by_device_flow_and_reads_its_tokens() {
    let config = ONE_AGENT.replace("anthropic", "openai").replace("claude", "codex");
    let config = config.replace("[oauth/token]", "[oauth/token, http/post]");
    let scene = Scene::new(Shape::Jwt, &["api.openai.com", "auth.openai.com"], &config, &[]);
    let (output, _) = scene.house.run("coder", &["node", &node("device.mjs")]);
    let output = output.expect_success("the program");
    let text = &output.stdout;
    assert_eq!((lines(text, "call"), lines(text, "subject")), (vec!["200"; 3], vec!["user-1"; 3]), "{text}");
    assert_eq!(lines(text, "expires"), ["4000000000"]);
    assert_eq!((scene.oauth.refreshed(), scene.oauth.revoked(), scene.oauth.issued().len()), (2, 0, 9));
    let kept = std::fs::read_to_string(scene.house.path("login.json")).unwrap();
    scene.assert_quiet(&[("output", text), ("errors", &output.stderr), ("its file", &kept)]);
}

/// The log-in that a program left in its file works by name, is renewed behind the gateway, and the file gets what is new.
#[test]
fn a_log_in_of_a_file_is_renewed_in_its_file() {
    let scene = Scene::new(ANTHROPIC, &["api.anthropic.com", "platform.claude.com"], "", &[]);
    let before = scene.oauth.log_in();
    let file = scene.house.path("home/.claude/.credentials.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let content = json!({"claudeAiOauth": {"accessToken": before["access_token"], "refreshToken": before["refresh_token"],
        "expiresAt": 1_790_000_000_000_u64, "scopes": ["user:inference"], "subscriptionType": "max"}, "other": 7});
    std::fs::write(&file, content.to_string()).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    // By name, because the program of this test has not seen the file; isolation shows it with placeholders.
    let script = r#"set -e
        api=https://api.anthropic.com/v1/models
        curl -sS -o /dev/null -w 'call %{http_code}\n' -H "Authorization: Bearer vault://anthropic-login" $api
        curl -sS -H 'Content-Type: application/json' https://platform.claude.com/v1/oauth/token \
            -d '{"grant_type":"refresh_token","client_id":"c","refresh_token":"vault://anthropic-login"}' > answer
        printf 'token '; cat answer; echo
        new=$(sed 's/.*"access_token":"\([^"]*\)".*/\1/' answer)
        curl -sS -o /dev/null -w 'call %{http_code}\n' -H "Authorization: Bearer $new" $api"#;
    let mut command = scene.house.clean(e2e::house::binary());
    command.arg("run").arg("--config").arg(scene.house.config()).args(["--", "sh", "-c", script]);
    let output = testkit::process::finish(&mut command, std::time::Duration::from_mins(1)).expect_success("the agent");
    assert_eq!(lines(&output.stdout, "call"), ["200"; 2], "{}\n{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("~/.claude/.credentials.json found for anthropic"), "{}", output.stderr);
    scene.assert_quiet(&[("output", &output.stdout), ("errors", &output.stderr)]);
    let after: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let issued = scene.oauth.issued();
    let (access, refresh) = (issued[2].value(), issued[3].value());
    assert_eq!(after["claudeAiOauth"]["accessToken"], access);
    assert_eq!(after["claudeAiOauth"]["refreshToken"], refresh);
    assert_ne!(after["claudeAiOauth"]["expiresAt"], content["claudeAiOauth"]["expiresAt"]);
    assert_eq!((&after["claudeAiOauth"]["subscriptionType"], &after["other"]), (&json!("max"), &json!(7)));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o7777, 0o640);
}

/// A program that logged in once goes on in later runs with what it kept, though that belongs to a session that is over;
/// its file is not taken for a log-in of its own. Another agent gets nothing by it.
#[test]
fn a_program_goes_on_in_the_next_run() {
    let config = ONE_AGENT.to_owned()
        + "  other:
    permissions:
      - { service: anthropic, credential: claude, actions: [read], resources: [\"*\"] }
";
    let scene = Scene::new(ANTHROPIC, &["api.anthropic.com", "console.anthropic.com"], &config, &[]);
    // A device's code needs no browser; the first answer is that the person has not said yes.
    let log_in = r#"set -e
        url=https://console.anthropic.com
        code=$(curl -sS -X POST $url/oauth/device | sed 's/.*"device_code":"\([^"]*\)".*/\1/')
        for turn in 1 2; do
            curl -sS $url/v1/oauth/token -d "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=$code" > login.json
        done"#;
    let go_on = r#"
        access=$(sed 's/.*"access_token":"\([^"]*\)".*/\1/' login.json)
        refresh=$(sed 's/.*"refresh_token":"\([^"]*\)".*/\1/' login.json)
        curl -sS -o /dev/null -w 'call %{http_code}\n' -H "Authorization: Bearer $access" https://api.anthropic.com/v1/models
        curl -sS -w 'refresh %{http_code}\n' https://console.anthropic.com/v1/oauth/token \
            -d "grant_type=refresh_token&refresh_token=$refresh" -o answer
        cat answer; echo"#;
    let run = |agent: &str, script: &str| {
        let (output, _) = scene.house.run(agent, &["sh", "-c", script]);
        output.expect_success("the program").stdout
    };
    let allowed = config.replace("[oauth/token]", "[oauth/token, http/post]");
    std::fs::write(
        scene.house.config(),
        format!(
            "version: 1\n{allowed}upstreams:\n{}{}",
            scene.upstream.entry("api.anthropic.com"),
            scene.upstream.entry("console.anthropic.com")
        ),
    )
    .unwrap();
    let _ = run("coder", log_in);
    let kept = std::fs::read_to_string(scene.house.path("login.json")).unwrap();
    let second = run("coder", go_on);
    assert_eq!((lines(&second, "call"), lines(&second, "refresh")), (vec!["200"], vec!["200"]), "{second}");
    // What the second run was given is its own; what the first kept goes on meaning the same log-in.
    assert!(!second.contains(serde_json::from_str::<Value>(&kept).unwrap()["access_token"].as_str().unwrap()));
    let third = run("coder", go_on);
    assert_eq!((lines(&third, "call"), lines(&third, "refresh")), (vec!["200"], vec!["200"]), "{third}");
    let stranger = run("other", go_on);
    assert_eq!((lines(&stranger, "call"), lines(&stranger, "refresh")), (vec!["401"], vec!["403"]), "{stranger}");
    assert_eq!((scene.oauth.refreshed(), scene.oauth.revoked()), (2, 0));
    scene.assert_quiet(&[("its file", &kept), ("second", &second), ("third", &third), ("other", &stranger)]);
}

/// A session outlives its gateway's process; so do the placeholders of its log-in.
#[test]
fn a_log_in_survives_the_gateway() {
    let config = ONE_AGENT.replace("anthropic", "openai").replace("claude", "codex");
    let scene = Scene::new(Shape::Jwt, &["api.openai.com", "auth.openai.com"], &config, &[]);
    let tokens = scene.oauth.log_in();
    let stored = json!({"access_token": tokens["access_token"], "refresh_token": tokens["refresh_token"],
        "id_token": tokens["id_token"]});
    let value = scene.house.path("value");
    std::fs::write(&value, stored.to_string()).unwrap();
    let add = format!("credential add codex --service openai --kind oauth2 < {}", value.display());
    let mut shell = scene.house.clean(std::path::Path::new("/bin/sh"));
    shell.args(["-c", &format!("{} {add}", e2e::house::binary().display())]);
    let _ = testkit::process::finish(&mut shell, std::time::Duration::from_mins(1)).expect_success("credential add");
    std::fs::remove_file(value).unwrap();
    let first = scene.house.serve();
    let session = scene.house.session("coder");
    let talk = Talk { scene: &scene, token: &session.token };
    let one = talk.refresh(&first, &session.ca, "vault://codex");
    let two = talk.refresh(&first, &session.ca, &text(&one, "refresh_token"));
    assert_eq!(talk.call(&first, &session.ca, &text(&two, "access_token")), "200");
    drop(first);
    let second = scene.house.serve();
    // Its authority is another; its certificate comes with any session.
    let ca = scene.house.session("coder").ca;
    assert_eq!(talk.call(&second, &ca, &text(&two, "access_token")), "200");
    let three = talk.refresh(&second, &ca, &text(&two, "refresh_token"));
    assert_eq!(talk.call(&second, &ca, &text(&three, "access_token")), "200");
    assert_eq!((scene.oauth.refreshed(), scene.oauth.revoked()), (3, 0));
    for answer in [&one, &two, &three] {
        // Opaque ones stay the same; in a JWT only the claims change.
        assert_eq!(answer["refresh_token"], one["refresh_token"]);
        assert_eq!(text(answer, "access_token").rsplit('.').next(), text(&one, "access_token").rsplit('.').next());
    }
    let all: String = [one, two, three].iter().map(Value::to_string).collect();
    drop(second);
    scene.assert_quiet(&[("what the agent was given", &all)]);
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {answer}")).to_owned()
}

/// curl behind a `serve`, as the agent of one session.
struct Talk<'a> {
    scene: &'a Scene,
    token: &'a str,
}

impl Talk<'_> {
    fn ask(&self, gateway: &e2e::house::Gateway, ca: &str, arguments: &[&str]) -> String {
        let house = &self.scene.house;
        std::fs::write(house.path("ca.pem"), ca).unwrap();
        let mut curl = house.clean(std::path::Path::new("/usr/bin/curl"));
        let proxy = format!("http://valetkey:{}@{}", self.token, gateway.proxy);
        curl.args(["-sS", "--proxy", &proxy, "--cacert", "ca.pem"]).args(arguments);
        testkit::process::finish(&mut curl, std::time::Duration::from_mins(1)).expect_success("curl").stdout
    }

    fn refresh(&self, gateway: &e2e::house::Gateway, ca: &str, token: &str) -> Value {
        let body = format!("grant_type=refresh_token&client_id=c&refresh_token={token}");
        let answer = self.ask(gateway, ca, &["-d", &body, "https://auth.openai.com/oauth/token"]);
        serde_json::from_str(&answer).unwrap()
    }

    fn call(&self, gateway: &e2e::house::Gateway, ca: &str, token: &str) -> String {
        let bearer = format!("Authorization: Bearer {token}");
        let url = "https://api.openai.com/v1/models";
        self.ask(gateway, ca, &["-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, url])
    }
}

/// A refresh token is good once. Eight at once, with the same placeholder, are eight refreshes one after the other; and
/// what was handed out to a client that had gone away by then is not lost.
#[test]
fn refreshes_take_turns_and_none_is_lost() {
    let oauth = OAuth::new(702, ANTHROPIC);
    let (own, slow) = (oauth.clone(), std::sync::atomic::AtomicBool::new(true));
    let late = move |seen: &Seen| {
        let answer = own.answer(seen)?;
        let first = seen.path().ends_with("/token") && slow.swap(false, std::sync::atomic::Ordering::SeqCst);
        Some(if first { answer.after(std::time::Duration::from_secs(2)) } else { answer })
    };
    let upstream = Upstream::builder().handler(late).start();
    let file = "login:creds.json#value=/access_token,refresh=/refresh_token";
    let config = ONE_AGENT.replace("kind: oauth2 }", &format!("kind: oauth2, from: \"{file}\" }}"));
    let entries = upstream.entry("api.anthropic.com") + &upstream.entry("console.anthropic.com");
    let house = House::new(&format!("version: 1\n{config}upstreams:\n{entries}"), &[]);
    std::fs::write(house.path("creds.json"), oauth.log_in().to_string()).unwrap();
    let scene = Scene { oauth, upstream, house };
    let script = r#"
        refresh() { curl -sS "$@" -o answer-$$ -w 'refresh %{http_code}\n' https://console.anthropic.com/v1/oauth/token \
            -d 'grant_type=refresh_token&refresh_token=vault://claude'; }
        refresh --max-time 0.5 || true
        for turn in 1 2 3 4 5 6 7 8; do refresh & done
        wait
        curl -sS -o /dev/null -w 'call %{http_code}\n' -H 'Authorization: Bearer vault://claude' https://api.anthropic.com/v1/models"#;
    let (output, _) = scene.house.run("coder", &["sh", "-c", script]);
    let text = output.expect_success("the program").stdout;
    let mut wanted = vec!["200"; 8];
    wanted.insert(0, "000");
    assert_eq!((lines(&text, "refresh"), lines(&text, "call")), (wanted, vec!["200"]), "{text}");
    assert_eq!((scene.oauth.refreshed(), scene.oauth.revoked()), (9, 0));
    let held: Value = serde_json::from_str(&std::fs::read_to_string(scene.house.path("creds.json")).unwrap()).unwrap();
    assert_eq!(held["access_token"], scene.oauth.issued()[18].value());
    scene.assert_quiet(&[("output", &text)]);
}

/// Answers that hand something out, as odd as origins make them: captured where they can be read, else withheld.
#[test]
fn what_cannot_be_read_is_withheld() {
    let secret = Canary::new(711, "glpat-", 20);
    let value = secret.value();
    let upstream = Upstream::builder().handler(move |seen| Some(odd(seen, &value))).start();
    let config = format!(
        "version: 1\ncredentials:\n  gitlab: {{ service: gitlab, from: env:GITLAB_TOKEN }}\nagents:\n  coder:\n    permissions:\n      \
         - {{ service: gitlab, credential: gitlab, actions: [tokens/create], resources: [\"*\"], conditions: {{ approval: none }} }}\n\
         upstreams:\n{}",
        upstream.entry("gitlab.com")
    );
    let house = House::new(&config, &[("GITLAB_TOKEN", &Canary::new(712, "glpat-", 20).value())]);
    let script = r#"for kind in plain gzip form none html cut large lying; do
        curl -sS -o "got-$kind" -w "$kind %{http_code}\n" -X POST -H "PRIVATE-TOKEN: $GITLAB_TOKEN" -H 'Content-Type: application/json' \
            -d '{}' "https://gitlab.com/api/v4/projects/$kind/access_tokens"
        done; cat got-*"#;
    let (output, _) = house.run("coder", &["sh", "-c", script]);
    let output = output.expect_success("the agent").stdout;
    for (kind, status) in [
        ("plain", "200"),
        ("gzip", "200"),
        ("form", "200"),
        ("none", "200"),
        ("html", "502"),
        ("cut", "502"),
        ("large", "502"),
        ("lying", "502"),
    ] {
        assert_eq!(lines(&output, kind), [status], "{output:.2000}");
    }
    secret.assert_absent("the agent's output", output.as_bytes());
    for kind in ["plain", "gzip", "form"] {
        let got = std::fs::read_to_string(house.path(&format!("got-{kind}"))).unwrap();
        assert!(got.contains("glpat-") && got.contains("name"), "{kind}: {got}");
    }
    let got = std::fs::read_to_string(house.path("got-none")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), json!({"error": "not_yet"}));
    let captured = records(&house, "outcome").iter().filter(|event| !event["response"]["captured"].is_null()).count();
    assert_eq!(captured, 3);
    house.assert_audit();
}

fn odd(seen: &Seen, secret: &str) -> Answer {
    let tree = json!({"token": secret, "name": "n", "again": secret});
    let whole = tree.to_string();
    match seen.path().split('/').nth(4).unwrap_or_default() {
        "gzip" => Answer::body("application/json", testkit::coding::encode("gzip", whole.as_bytes()))
            .header("content-encoding", "gzip"),
        "form" => Answer::body("application/x-www-form-urlencoded", format!("token={secret}&name=n&again={secret}")),
        "none" => Answer::json(&json!({"error": "not_yet"})),
        "html" => Answer::body("text/html", format!("<p>{secret}</p>")),
        "cut" => Answer::body("application/json", whole[..whole.len() - 3].to_owned()),
        "large" => Answer::json(&json!({"token": secret, "pad": "x".repeat(300_000)})),
        "lying" => Answer::body("application/json", whole).header("content-encoding", "br"),
        _ => Answer::json(&tree),
    }
}
