//! What the agent holds instead: the right shape, in its environment and nowhere the real one.

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
