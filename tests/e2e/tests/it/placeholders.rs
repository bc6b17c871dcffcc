//! What the agent holds instead: the right shape, in its environment and nowhere the real one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use e2e::House;
use e2e::house::binary;
use serde_json::json;
use testkit::process::finish;
use testkit::{Answer, Canary, Upstream};

use crate::setting::Vendors;

#[test]
fn the_agent_sees_placeholders_of_the_right_shape() {
    let vendors = Vendors::start();
    let (output, _) = vendors.house.run("tester", &["env"]);
    let output = output.expect_success("env");
    vendors.assert_quiet(&output.stdout);
    for (name, canary) in vendors.secrets.all() {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        let placeholder = line.unwrap_or_else(|| panic!("`{name}` is not set:\n{}", output.stdout));
        let real = canary.value();
        assert_eq!(placeholder.len(), real.len(), "{name}: {placeholder}");
        let prefix = real.rfind(['_', '-']).map_or(0, |at| at + 1).min(8);
        assert_eq!(placeholder.get(..prefix), real.get(..prefix), "{name}: {placeholder}");
        assert_ne!(placeholder, real);
    }
}

#[test]
fn the_process_tree_holds_no_secret() {
    let vendors = Vendors::start();
    // Environment, arguments and open files of everything that the agent can see of itself and its ancestors in the run.
    let script = "cat /proc/self/environ /proc/self/cmdline /proc/$PPID/cmdline 2>/dev/null | tr '\\0' '\\n'; \
                  cat \"$SSL_CERT_FILE\" | head -c 100 >/dev/null; grep -rs ghp_ \"$HOME\" \"$VALETKEY_HOME\" || true";
    let (output, _) = vendors.house.run("tester", &["sh", "-c", script]);
    vendors.assert_quiet(&output.expect_success("sh").stdout);
}

#[test]
fn whose_names_agent_session_and_credential() {
    let vendors = Vendors::start();
    let (output, receipt) = vendors.house.run("tester", &["sh", "-c", "echo $GITHUB_TOKEN"]);
    let placeholder = output.expect_success("echo").stdout.trim().to_owned();
    let whose = vendors.house.valetkey(&["whose", &placeholder, "--json"]).expect_success("whose");
    let json: serde_json::Value = serde_json::from_str(&whose.stdout).unwrap();
    assert_eq!((json["agent"].as_str(), json["session"].as_str()), (Some("tester"), receipt.0["session"].as_str()));
    assert!(json["ended"].is_string(), "{json}");
}

#[test]
fn a_session_that_ended_is_dead() {
    let vendors = Vendors::start();
    let gateway = vendors.house.serve();
    let session = vendors.house.session("tester");
    let ask = || {
        let mut wire = testkit::client::Wire::open(gateway.proxy).unwrap();
        let identity = testkit::client::proxy_authorization("tester", &session.token);
        wire.connect("api.github.com:443", &identity).unwrap().status
    };
    assert_eq!(ask(), 200);
    let _ = vendors.house.valetkey(&["session", "end", &session.id]).expect_success("session end");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(ask(), 407);
}

#[test]
fn a_conversation_that_quotes_a_secret_goes_on_without_it() {
    let vendors = Vendors::start();
    let real = vendors.secrets.github.value();
    let asked = |size: usize| {
        let content = format!("the file says GITHUB_TOKEN={real}; {}", "and so on. ".repeat(size));
        json!({"model": "m", "messages": [{"role": "tool", "content": content}]}).to_string()
    };
    // Short; longer than what is searched before the head leaves; and the same to somebody who is no model.
    for (name, text) in [("short", asked(1)), ("long", asked(40_000)), ("plain", asked(1))] {
        std::fs::write(vendors.house.path(name), text).unwrap();
    }
    let script = r#"set -e
        ask() { curl -sS -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/json' "$@"; }
        model="Authorization: Bearer $OPENAI_API_KEY"
        url=https://api.openai.com/v1/chat/completions
        ask -H "$model" --data-binary @short $url
        ask -H "$model" --data-binary @long $url
        ask -H "$model" -H "X-Note: $(sed 's/.*=\(ghp_[A-Za-z0-9]*\).*/\1/' short)" --data-binary '{"model":"m"}' $url
        ask -H "Authorization: Bearer $GITHUB_TOKEN" --data-binary @plain https://api.github.com/repos/acme/widget/issues
        echo $GITHUB_TOKEN"#;
    let (output, receipt) = vendors.house.run("tester", &["sh", "-c", script]);
    let output = output.expect_success("the agent");
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[..4], ["200", "200", "403", "403"], "{}", output.stdout);
    let placeholder = lines[4];
    let arrived = vendors.upstream.journal().take();
    assert_eq!(arrived.len(), 2, "{arrived:?}");
    for (seen, sent) in arrived.iter().zip([asked(1), asked(40_000)]) {
        vendors.secrets.github.assert_absent("what the model was sent", &seen.body);
        assert_eq!(String::from_utf8_lossy(&seen.body), sent.replace(&real, placeholder));
        assert_eq!(seen.count(&vendors.secrets.openai.value()), 1);
    }
    let log = vendors.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let attempts: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["kind"] == "attempt")
        .collect();
    assert_eq!(attempts.len(), 2, "{log}");
    for (event, seen) in attempts.iter().zip(&arrived) {
        let names: Vec<&str> = event["rewritten"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
        assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("github-")), "{event}");
        assert_eq!(event["request"]["bytes"], seen.body.len(), "{event}");
    }
    vendors.secrets.github.assert_absent("the audit log", log.as_bytes());
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (2, 2), "{}", receipt.0);
    vendors.house.assert_audit();
}

/// A file and a program beside the configuration are found from any folder, and again by a command that reads no configuration.
#[test]
fn paths_of_references_start_from_the_configuration() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::json(&json!({"id": 1})))).start();
    let (token, key) = (Canary::new(611, "ghp_", 36), Canary::new(612, "sk_test_", 24));
    let config = format!(
        "version: 1\ncredentials:\n  token: {{ service: github, from: \"file:token\" }}\n  \
         key: {{ service: stripe, from: \"exec:./key.sh\" }}\nagents:\n  tester:\n    permissions:\n      \
         - {{ service: github, credential: token, actions: [read], resources: [\"*\"] }}\n      \
         - {{ service: stripe, credential: key, actions: [read], resources: [\"*\"] }}\nupstreams:\n{}{}",
        upstream.entry("api.github.com"),
        upstream.entry("api.stripe.com")
    );
    let house = House::new(&config, &[]);
    std::fs::write(house.path("token"), token.value()).unwrap();
    std::fs::write(house.path("key.sh"), format!("#!/bin/sh\necho {}\n", key.value())).unwrap();
    std::fs::set_permissions(house.path("key.sh"), Permissions::from_mode(0o700)).unwrap();
    std::fs::create_dir(house.path("elsewhere")).unwrap();
    let ask = "curl -sS -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/user \
               && curl -sS -H \"Authorization: Bearer $STRIPE_API_KEY\" https://api.stripe.com/v1/balance";
    let mut command = house.clean(binary());
    command.args(["run", "--config", "../valetkey.yaml", "--agent", "tester", "--", "sh", "-c", ask]);
    let done = finish(command.current_dir(house.path("elsewhere")), Duration::from_mins(1)).expect_success("run");
    house.assert_clean("what the agent printed", &done.stdout);
    let sent: Vec<String> = upstream.journal().all().iter().flat_map(|seen| seen.values("authorization")).collect();
    assert_eq!(sent, [format!("Bearer {}", token.value()), format!("Bearer {}", key.value())]);
    let shown = house.valetkey(&["credential", "show", "token", "--json"]).expect_success("show");
    assert!(shown.stdout.contains(&format!("file:{}", house.path("elsewhere/../token").display())), "{}", shown.stdout);
}
