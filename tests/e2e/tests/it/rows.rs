//! Rows of the attack catalogue that one request cannot tell: several agents, values that come from elsewhere, answers that
//! hold new credentials.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::House;
use e2e::audit::Log;
use e2e::house::binary;
use serde_json::{Value, json};
use testkit::client::Wire;
use testkit::process::{Finished, finish};
use testkit::upstream::Upstream;
use testkit::{Answer, Canary};

use crate::talk::{Agent, HOST, agent, echo_house};

/// `credential add` with the value on standard input, as it stands in a file.
fn add(house: &House, name: &str, value: &[u8], more: &str) -> Finished {
    std::fs::write(house.path("value"), value).unwrap();
    std::fs::write(house.path("passphrase"), "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(house.path("passphrase"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut command = house.clean(Path::new("/bin/sh"));
    command.args(["-c", "\"$1\" credential add \"$2\" $3 < value", "sh"]).arg(binary()).args([name, more]);
    finish(command.env("VALETKEY_PASSPHRASE_FILE", house.path("passphrase")), Duration::from_mins(1))
}

/// Row C37.
#[test]
fn a_value_that_breaks_its_line_is_refused_when_saved_and_when_used() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    for (name, value) in
        [("crlf", &b"tok_abcdefgh\r\nX-Evil: y"[..]), ("fold", b"tok_abcdefgh\n y"), ("nul", b"tok_abc\0defgh")]
    {
        let told = add(&house, name, value, "--service echo");
        assert_ne!(told.code(), Some(0), "{name} was stored");
        assert!(told.stderr.contains("smuggle headers"), "{name}: {}", told.stderr);
        assert!(!told.stderr.contains("tok_abc") && !told.stdout.contains("tok_abc"), "{name}: {told:?}");
    }
    let _ = add(&house, "good", b"tok_abcdefgh", "--service echo").expect_success("a good value");
    let mut list = house.clean(binary());
    list.args(["credential", "list", "--json"]).env("VALETKEY_PASSPHRASE_FILE", house.path("passphrase"));
    let list = finish(&mut list, Duration::from_mins(1)).expect_success("credential list").stdout;
    assert!(list.contains("good"), "{list}");
    assert!(!["crlf", "fold", "nul"].iter().any(|name| list.contains(&format!("\"{name}\""))), "{list}");
    // What another back end gives was never saved: it is looked at when it is used. A session needs a placeholder of the
    // value's shape, so that the first is found out then, the others when a request would carry them.
    for (value, begins) in [
        ("tok_abcdefgh\r\nX-Evil: y", false),
        ("tok_abcdefgh\u{1}ijklmnop", true),
        ("tok_abcdefgh\u{7f}ijklmnop", true),
        ("tok_abcdefgh ", true),
    ] {
        let config = std::fs::read_to_string(house.config()).unwrap();
        let house = House::new(&config, &[("ECHO_TOKEN", value)]);
        std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
        let gateway = house.serve();
        if !begins {
            let told = house.valetkey(&["session", "start", "--agent", "tester", "--json"]);
            assert_eq!(told.code(), Some(3), "{value:?}: {}", told.stdout);
            assert!(told.stderr.contains("smuggle headers") && !told.stderr.contains("tok_"), "{}", told.stderr);
            continue;
        }
        let session = house.session("tester");
        let driver = Agent::of(&gateway, &session);
        let answer = driver.ask(&mut driver.open().unwrap(), "GET", "/anything", "").unwrap();
        assert_eq!((answer.status, answer.code().as_deref()), (503, Some("credential_unavailable")), "{value:?}");
        assert!(!answer.text().contains("tok_"), "{}", answer.text());
        let log = Log::of(&house);
        assert_eq!(log.incomplete(&session.id), Vec::<String>::new(), "{value:?}");
        assert!(log.count(&session.id, "refusal") + log.count(&session.id, "outcome") > 0, "{value:?}: no record");
    }
    assert!(upstream.journal().is_empty(), "{:?}", upstream.journal().all());
}

/// Row C37: the template of a header is looked at as the value is.
#[test]
fn a_template_that_breaks_its_line_is_refused() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let service = std::fs::read_to_string(house.path("echo.yaml")).unwrap();
    let with = |template: &str| {
        let scheme = format!("schemes: [{{ header: {{ name: x-api-key, template: \"{template}\" }} }}]");
        let service = service.replace("schemes: [{ bearer: {} }]", &scheme);
        assert!(service.contains(&scheme));
        std::fs::write(house.path("echo.yaml"), service).unwrap();
    };
    let config = house.config().display().to_string();
    for template in ["{value}\\r\\nX-Evil: y", "{value}\\n folded", "{value}\\0", "{value} {value}", "nothing"] {
        with(template);
        let told = house.valetkey(&["policy", "check", &config]);
        assert_ne!(told.code(), Some(0), "{template}");
        assert!(told.stderr.contains("echo.yaml:") && told.stderr.contains("template"), "{template}: {}", told.stderr);
    }
    with("key {value}");
    let _ = house.valetkey(&["policy", "check", &config]).expect_success("a good template");
    let gateway = house.serve();
    let driver = Agent::of(&gateway, &house.session("tester"));
    let mut wire = driver.open().unwrap();
    let head = format!("GET /anything HTTP/1.1\r\nHost: {HOST}\r\nX-Api-Key: key {}\r\n\r\n", driver.placeholder);
    wire.send(head.as_bytes()).unwrap();
    assert_eq!(wire.answer("GET").unwrap().status, 200);
    assert_eq!(upstream.journal().last().value("x-api-key"), format!("key {}", canary.value()));
}

/// Row C44: what the upstream says may be kept by anybody is still asked for again, and is nobody else's answer.
#[test]
fn no_answer_is_kept_for_another() {
    let count = AtomicU64::new(0);
    let upstream = Upstream::builder()
        .handler(move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let answer = Answer::body("text/plain", format!("answer {number}"));
            Some(answer.header("cache-control", "public, max-age=3600").header("etag", "\"one\""))
        })
        .start();
    let (house, canary) = echo_house(&upstream, &(agent("one", "") + &agent("two", "")));
    let gateway = house.serve();
    let agents = ["one", "two"].map(|name| Agent::of(&gateway, &house.session(name)));
    let mut bodies = Vec::new();
    for agent in [&agents[0], &agents[1], &agents[0]] {
        let mut wire = agent.open().unwrap();
        for _ in 0..2 {
            let answer = agent.ask(&mut wire, "GET", "/shared", "").unwrap();
            assert_eq!(answer.status, 200);
            // What the upstream said of keeping it, and nothing of ours: no age, no second opinion.
            let kept =
                answer.headers.iter().filter(|(name, _)| name == "cache-control").map(|(_, value)| value.as_str());
            assert_eq!(kept.collect::<Vec<_>>(), ["public, max-age=3600"]);
            assert!(["age", "x-cache", "via"].iter().all(|name| answer.header(name).is_none()), "{:?}", answer.headers);
            bodies.push(answer.text());
        }
    }
    assert_eq!(bodies, (0..6).map(|number| format!("answer {number}")).collect::<Vec<_>>());
    let arrived = upstream.journal().take();
    assert_eq!(arrived.len(), 6);
    for seen in arrived {
        assert_eq!(seen.count(&canary.value()), 1);
        // Nobody asked whether what it has is still good.
        assert!(!seen.headers.contains_key("if-none-match") && !seen.headers.contains_key("if-modified-since"));
    }
    house.assert_audit();
}

/// Row C45: an upstream that knows its callers by their connections never sees two on one.
#[test]
fn agents_never_share_a_connection_to_the_upstream() {
    for http2 in [false, true] {
        let builder = Upstream::builder();
        let upstream = if http2 { builder.http2() } else { builder.http1() }.start();
        let (house, _) = echo_house(&upstream, &(agent("one", "") + &agent("two", "")));
        let gateway = house.serve();
        let agents = ["one", "two"].map(|name| Agent::of(&gateway, &house.session(name)));
        // Enough connections to meet each worker thread of the gateway, which has a pool of its own.
        for _ in 0..8 {
            for (agent, path) in agents.iter().zip(["/one", "/two"]) {
                let mut wire = agent.open().unwrap();
                for _ in 0..2 {
                    assert_eq!(agent.ask(&mut wire, "GET", path, "").unwrap().status, 200);
                }
            }
        }
        let arrived = upstream.journal().take();
        let of = |path: &str| -> BTreeSet<u64> {
            arrived.iter().filter(|seen| seen.path() == path).map(|seen| seen.connection).collect()
        };
        let (one, two) = (of("/one"), of("/two"));
        assert!(one.is_disjoint(&two), "{one:?} {two:?}");
        // They are kept, or the above would say nothing.
        assert!(arrived.len() == 32 && one.len() < 16 && two.len() < 16, "{one:?} {two:?}");
        house.assert_audit();
    }
}

/// Row D54: nothing signs what the agent chose. The schemes that sign (`sigv4`, `hmac`) sign what was judged, for the service that it goes
/// to (`aws.rs`, `signing.rs`); a service file that wants another is refused with its place, and the gateway's own port has no place that would.
#[test]
fn nothing_signs_what_an_agent_sends() {
    let upstream = Upstream::start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let service = std::fs::read_to_string(house.path("echo.yaml")).unwrap();
    let config = house.config().display().to_string();
    let _ = house.valetkey(&["policy", "check", &config]).expect_success("policy check");
    for scheme in ["rsa: { header: x-signature }", "jwt: { claims: {} }", "signature: {}"] {
        std::fs::write(house.path("echo.yaml"), service.replace("bearer: {}", scheme)).unwrap();
        let told = house.valetkey(&["policy", "check", &config]);
        assert_ne!(told.code(), Some(0), "{scheme}");
        let name = scheme.split(':').next().unwrap();
        assert!(told.stderr.contains("echo.yaml:") && told.stderr.contains(name), "{scheme}: {}", told.stderr);
    }
    std::fs::write(house.path("echo.yaml"), service).unwrap();
    let gateway = house.serve();
    let session = house.session("tester");
    for path in ["/sign", "/sign?host=evil.test&msg=x", "/proxy/echo/../sign", "/.well-known/sign"] {
        let mut wire = Wire::open(gateway.proxy).unwrap();
        let identity = testkit::client::proxy_authorization("tester", &session.token);
        let body = "msg=GET%0Aevil.test";
        let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\n{identity}", gateway.proxy);
        wire.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let answer = wire.answer("POST").unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        canary.assert_absent(path, &answer.wire);
    }
    assert!(upstream.journal().is_empty());
    house.assert_audit();
}

/// Row E63: a limit, and it is written down. What holds inside of it: a container passes octet by octet, and a secret that
/// lies in it as it is is masked in place.
#[test]
fn what_is_packed_is_out_of_reach_and_documented() {
    let packed: Vec<u8> = (0..4096u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let known = packed.clone();
    let upstream = Upstream::builder()
        .handler(move |seen| {
            let secret = seen.values("authorization").join("").replace("Bearer ", "");
            let stored = [b"PK\x03\x04".as_slice(), secret.as_bytes(), b"PK\x05\x06"].concat();
            let deflated = [b"PK\x03\x04".as_slice(), &testkit::coding::encode("gzip", secret.as_bytes())].concat();
            Some(match seen.path() {
                "/packed" => Answer::body("image/png", packed.clone()),
                "/stored" => Answer::body("application/zip", stored),
                _ => Answer::body("application/zip", deflated),
            })
        })
        .start();
    let (house, canary) = echo_house(&upstream, &agent("tester", ""));
    let gateway = house.serve();
    let driver = Agent::of(&gateway, &house.session("tester"));
    let mut wire = driver.open().unwrap();
    assert_eq!(driver.ask(&mut wire, "GET", "/packed", "").unwrap().body, known);
    let stored = driver.ask(&mut wire, "GET", "/stored", "").unwrap();
    canary.assert_absent("a container with the secret as it is", &stored.wire);
    assert_eq!(stored.body.len(), 8 + canary.value().len());
    let deflated = driver.ask(&mut wire, "GET", "/deflated", "").unwrap().body;
    assert_eq!(testkit::coding::decode("gzip", &deflated[4..]).unwrap(), canary.value().as_bytes());
    let told = std::fs::read_to_string(e2e::house::root().join("SECURITY.md")).unwrap();
    assert!(told.contains("**What is inside an image, an archive or a document** in an answer is not looked at."));
    house.assert_audit();
}

/// A home whose one service is GitLab, where both of the next tests find endpoints that mint.
fn gitlab(upstream: &Upstream, permissions: &str) -> (House, Canary) {
    let token = Canary::new(601, "glpat-", 20);
    let config = format!(
        "version: 1\ncredentials:\n  gitlab-token: {{ service: gitlab, from: env:GITLAB_TOKEN }}\nagents:\n  tester:\n    \
         permissions:\n{permissions}upstreams:\n{}",
        upstream.entry("gitlab.com")
    );
    let house = House::new(&config, &[("GITLAB_TOKEN", &token.value())]);
    (house, token)
}

/// One request to GitLab; the placeholder goes into the slot where it is asked for.
fn ask_gitlab(house: &House, request: (&str, &str, &str), in_slot: bool) -> (u16, Value, e2e::Receipt) {
    let (path, kind, body) = request;
    let slot = if in_slot { "-H \"PRIVATE-TOKEN: $GITLAB_TOKEN\"" } else { "" };
    let script = format!(
        "curl -sS -o got -w '%{{http_code}}' -X POST {slot} -H 'Content-Type: {kind}' \
         --data-binary \"{body}\" https://gitlab.com{path}; cat got > answer"
    );
    let (output, receipt) = house.run("tester", &["sh", "-c", &script]);
    let status = output.expect_success("curl").stdout.trim().parse().unwrap();
    let got = std::fs::read(house.path("answer")).unwrap();
    (status, serde_json::from_slice(&got).unwrap_or(Value::Null), receipt)
}

fn records(house: &House) -> Vec<Value> {
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    export.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn minting(minted: &Canary) -> Upstream {
    let answer = json!({ "access_token": minted.value(), "token": minted.value(), "key": minted.value() });
    Upstream::builder().handler(move |_| Some(Answer::json(&answer))).start()
}

/// Row E66: what answers with a new credential is not reached by a raw rule, a class or every action.
#[test]
fn no_rule_but_its_own_reaches_what_mints() {
    let minted = Canary::new(602, "glpat-", 20);
    let upstream = minting(&minted);
    for permission in [
        "methods: [GET, POST], endpoints: [/]",
        "actions: [write], resources: [\"*\"]",
        "actions: [\"*\"], resources: [\"*\"]",
    ] {
        let entry = format!("      - {{ service: gitlab, credential: gitlab-token, {permission} }}\n");
        let (house, token) = gitlab(&upstream, &entry);
        let paths = [
            "/oauth/token",
            "/api/v4/user/personal_access_tokens",
            "/api/v4/projects/1/access_tokens",
            "/api/v4/user/keys",
        ];
        for path in paths {
            let (status, problem, _) = ask_gitlab(&house, (path, "application/json", "{}"), true);
            assert_eq!((status, problem["code"].as_str()), (403, Some("denied")), "{permission} {path}: {problem}");
            minted.assert_absent(path, problem.to_string().as_bytes());
        }
        assert!(upstream.journal().is_empty(), "{permission}: {:?}", upstream.journal().all());
        let events = records(&house);
        let refusals: Vec<&Value> = events.iter().filter(|event| event["kind"] == "refusal").collect();
        assert_eq!(refusals.len(), paths.len(), "{permission}");
        for refusal in refusals {
            let call = &refusal["calls"][0];
            assert_eq!((call["class"].as_str(), &call["effects"]), (Some("admin"), &json!(["escalates"])), "{refusal}");
        }
        // What is no minting passes by the same rule.
        let (status, _, _) = ask_gitlab(&house, ("/api/v4/projects/1/issues", "application/json", "{}"), true);
        assert_eq!((status, upstream.journal().take()[0].count(&token.value())), (200, 1), "{permission}");
        house.assert_audit();
    }
}

/// Row E67: a refresh with anything but a refresh token that this session was given never leaves; the record says why.
#[test]
fn a_refresh_with_a_foreign_placeholder_gets_nothing() {
    let upstream = minting(&Canary::new(603, "glpat-", 20));
    let entry = "      - { service: gitlab, credential: gitlab-token, actions: [oauth/refresh], resources: [\"*\"] }\n";
    let (house, _) = gitlab(&upstream, entry);
    let form = "application/x-www-form-urlencoded";
    for (kind, body, code) in [
        (form, "grant_type=refresh_token&refresh_token=$GITLAB_TOKEN", "placeholder_misplaced"),
        (form, "grant_type=refresh_token&refresh_token=glrt-0123456789abcdef", "placeholder_foreign"),
        (form, "grant_type=refresh_token&refresh_token=vault://gitlab-token", "placeholder_foreign"),
        (form, "refresh_token=glrt-0123456789abcdef&grant_type=refresh_token&refresh_token=x", "placeholder_foreign"),
        ("text/plain", "grant_type=refresh_token&refresh_token=glrt-0123456789abcdef", "malformed"),
    ] {
        let (status, problem, _) = ask_gitlab(&house, ("/oauth/token", kind, body), false);
        assert!((400..500).contains(&status) && problem["code"] == code, "{body}: {status} {problem}");
    }
    assert!(upstream.journal().is_empty(), "{:?}", upstream.journal().all());
    let events = records(&house);
    let first = events.iter().find(|event| event["kind"] == "refusal").unwrap();
    let sighting = &first["sightings"][0];
    assert_eq!(
        (sighting["place"].as_str(), sighting["holder"].as_str()),
        (Some("foreign_slot"), Some("own")),
        "{first}"
    );
    assert_eq!(first["calls"][0]["action"], "oauth/refresh", "{first}");
    house.assert_audit();
}

/// Row E66: what an allowed action mints goes into the vault; the agent gets a placeholder, which works like the real one
/// for this session and is worthless elsewhere.
#[test]
fn what_is_minted_is_captured() {
    let minted = Canary::new(604, "glpat-", 20);
    let upstream = minting(&minted);
    let entry = "      - { service: gitlab, credential: gitlab-token, actions: [read, tokens/create], resources: [\"*\"], conditions: { approval: none } }\n";
    let (house, token) = gitlab(&upstream, entry);
    let script = r#"set -e
        curl -sS -X POST -H "PRIVATE-TOKEN: $GITLAB_TOKEN" -H 'Content-Type: application/json' --data-binary '{"name":"n"}' \
            https://gitlab.com/api/v4/user/personal_access_tokens > minted
        cat minted; echo
        new=$(sed 's/.*"token":"\([^"]*\)".*/\1/' minted)
        curl -sS -o /dev/null -w '%{http_code}\n' -H "PRIVATE-TOKEN: $new" https://gitlab.com/api/v4/user
        curl -sS -o /dev/null -w '%{http_code}\n' -X POST -H "PRIVATE-TOKEN: $new" https://gitlab.com/api/v4/projects/1/issues"#;
    let (output, _) = house.run("tester", &["sh", "-c", script]);
    let output = output.expect_success("the agent");
    let lines: Vec<&str> = output.stdout.lines().collect();
    // The same rules hold for it as for what it was minted with.
    assert_eq!(lines[1..], ["200", "403"], "{}", output.stdout);
    let answer: Value = serde_json::from_str(lines[0]).unwrap();
    let placeholder = answer["token"].as_str().unwrap();
    assert!(placeholder.starts_with("glpat-") && placeholder.len() == minted.value().len(), "{answer}");
    // The same value under other names is no way around.
    minted.assert_absent("the agent's output", output.stdout.as_bytes());
    let arrived = upstream.journal().take();
    assert_eq!(arrived.len(), 2);
    assert_eq!((arrived[0].count(&token.value()), arrived[0].count(&minted.value())), (1, 0));
    assert_eq!((arrived[1].count(&token.value()), arrived[1].count(&minted.value())), (0, 1));
    let events = records(&house);
    let captured: Vec<&Value> =
        events.iter().map(|event| &event["response"]["captured"][0]).filter(|it| !it.is_null()).collect();
    assert_eq!(captured, [&json!({"name": "gitlab-token.1", "version": 1})]);
    let log: String = events.iter().map(Value::to_string).collect();
    minted.assert_absent("the audit log", log.as_bytes());
    house.assert_audit();
}
