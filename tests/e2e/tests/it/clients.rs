//! Real clients, unchanged, behind `valetkey run`: the upstream got the real secret exactly once in the right slot, the
//! client never saw it, and the log verifies.

use std::path::PathBuf;

use e2e::house::tool;
use testkit::Protocol;
use testkit::process::Finished;

use crate::setting::Vendors;

fn client(name: &str) -> String {
    e2e::house::root().join("tests/e2e/clients").join(name).display().to_string()
}

fn python() -> String {
    tool("venv/bin/python").display().to_string()
}

/// Node resolves packages beside the script; the scripts are copied beside the packages.
fn node(script: &str) -> String {
    let modules: PathBuf = tool("node/node_modules");
    let beside = modules.parent().unwrap().join(script);
    std::fs::copy(client(script), &beside).unwrap();
    beside.display().to_string()
}

fn run(vendors: &Vendors, agent: &str, words: &[&str]) -> Finished {
    let (finished, receipt) = vendors.house.run(agent, words);
    let finished = finished.expect_success(&words.join(" "));
    vendors.assert_quiet(&finished.stdout);
    vendors.assert_quiet(&finished.stderr);
    assert_eq!(receipt.count("denied"), 0, "{}\n{}", receipt.0, finished.stderr);
    assert!(receipt.count("allowed") > 0, "{}", receipt.0);
    vendors.house.assert_audit();
    finished
}

#[test]
fn curl_in_both_protocols() {
    let vendors = Vendors::start();
    for option in ["--http1.1", "--http2"] {
        let script =
            format!("curl -sS {option} -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/user");
        let output = run(&vendors, "tester", &["sh", "-c", &script]);
        assert!(output.stdout.contains("\"ada\""), "{}", output.stdout);
        let seen = vendors.arrived("/user", "authorization", &vendors.secrets.github);
        assert_eq!(seen.values("proxy-authorization"), Vec::<String>::new());
        // Each leg agrees on its own protocol; this upstream offers HTTP/2.
        assert_eq!(seen.protocol, Protocol::Http2);
    }
}

#[test]
fn curl_echo_is_scrubbed_in_every_coding() {
    let vendors = Vendors::start();
    for path in ["anything", "fields", "coded/gzip", "coded/deflate", "coded/br", "coded/zstd", "events/3/5"] {
        let script =
            format!("curl -sS -i --compressed -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/{path}");
        run(&vendors, "tester", &["sh", "-c", &script]);
        vendors.arrived(&format!("/{path}"), "authorization", &vendors.secrets.echo);
    }
}

#[test]
fn git_clones_over_https() {
    let vendors = Vendors::start();
    vendors.git.repository("acme/widget.git", &[("README.md", b"hello"), ("data.bin", &vec![7u8; 300_000])]);
    let copy = vendors.house.path("copy");
    let script = format!("git clone -q https://github.com/acme/widget.git {}", copy.display());
    run(&vendors, "cloner", &["sh", "-c", &script]);
    assert_eq!(std::fs::read(copy.join("README.md")).unwrap(), b"hello");
    assert_eq!(std::fs::read(copy.join("data.bin")).unwrap().len(), 300_000);
}

#[test]
fn python_requests_and_httpx() {
    let vendors = Vendors::start();
    let output = run(&vendors, "tester", &[&python(), &client("requests_get.py")]);
    assert!(output.stdout.contains("ada"), "{}", output.stdout);
    vendors.arrived("/user", "authorization", &vendors.secrets.github);
    let output = run(&vendors, "tester", &[&python(), &client("httpx_get.py")]);
    assert!(output.stdout.contains("HTTP/2 ada"), "{}", output.stdout);
    vendors.arrived("/user", "authorization", &vendors.secrets.github);
}

#[test]
fn python_sdks() {
    let vendors = Vendors::start();
    let secrets = &vendors.secrets;
    for (script, path, field, secret) in [
        ("openai_chat.py", "/v1/chat/completions", "authorization", &secrets.openai),
        ("anthropic_message.py", "/v1/messages", "authorization", &secrets.anthropic),
        ("stripe_balance.py", "/v1/balance", "authorization", &secrets.stripe),
    ] {
        let output = run(&vendors, "tester", &[&python(), &client(script)]);
        assert!(output.stdout.contains("done"), "{script}: {}", output.stdout);
        vendors.arrived(path, field, secret);
    }
}

#[test]
fn node_fetch_and_packages() {
    let vendors = Vendors::start();
    let secrets = &vendors.secrets;
    for (script, path, secret) in [
        ("fetch.mjs", "/user", &secrets.github),
        ("octokit.mjs", "/repos/acme/widget/issues", &secrets.github),
        ("openai.mjs", "/v1/chat/completions", &secrets.openai),
    ] {
        let output = run(&vendors, "tester", &["node", &node(script)]);
        assert!(output.stdout.contains("done"), "{script}: {}", output.stdout);
        vendors.arrived(path, "authorization", secret);
    }
}

#[test]
fn websocket_echo() {
    let vendors = Vendors::start();
    let output = run(&vendors, "tester", &[&python(), &client("websocket_echo.py")]);
    assert!(output.stdout.contains("echo: hello"), "{}", output.stdout);
    vendors.arrived("/ws", "authorization", &vendors.secrets.echo);
}

#[test]
fn events_arrive_one_by_one() {
    let vendors = Vendors::start();
    let output = run(&vendors, "tester", &[&python(), &client("events.py")]);
    // Five events 100 ms apart: buffered they would come together.
    let spread: u64 = output.stdout.trim().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(spread >= 250, "the events came within {spread} ms: {}", output.stdout);
    vendors.arrived("/events/5/100", "authorization", &vendors.secrets.echo);
}

#[test]
fn grpc_unary_call() {
    let vendors = Vendors::start();
    let output = run(&vendors, "tester", &[&python(), &client("grpc_unary.py")]);
    assert!(output.stdout.contains("echo: hello"), "{}", output.stdout);
    let seen = vendors.arrived("/test.Echo/Say", "authorization", &vendors.secrets.echo);
    assert_eq!(seen.protocol, Protocol::Http2);
}

#[test]
fn large_bodies_pass_whole_in_both_directions() {
    let vendors = Vendors::start();
    let script = "head -c 20000000 /dev/zero | curl -sS -T - -X POST -H 'Content-Type: application/octet-stream' -H \"Authorization: Bearer $ECHO_TOKEN\" \
                  https://kit.echo.test/digest; \
                  curl -sS -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/bytes/20000000 | wc -c";
    let output = run(&vendors, "tester", &["sh", "-c", script]);
    assert!(output.stdout.contains("\"bytes\":20000000"), "{}", output.stdout);
    assert!(output.stdout.trim().ends_with("20000000"), "{}", output.stdout);
}
