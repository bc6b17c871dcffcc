//! MCP by the official SDK, client and server: a session opens, the list of tools shows what may be called, each call is judged by its
//! tool and arguments, and a server that gives the credential away gives it to nobody.

use std::path::PathBuf;
use std::process::Command;

use e2e::House;
use e2e::house::{root, tool};
use testkit::Canary;
use testkit::process::Running;
use testkit::upstream::Upstream;

struct Scene {
    house: House,
    canary: Canary,
    journal: PathBuf,
    _server: Running,
    _authority: Upstream,
}

/// Node resolves packages beside the script; the scripts are copied beside the packages.
pub fn beside(folder: &str, script: &str, name: &str) -> PathBuf {
    let copy = tool("node").join(name);
    std::fs::copy(root().join("tests/e2e").join(folder).join(script), &copy).unwrap();
    copy
}

impl Scene {
    fn new(seed: u64, agents: &str) -> Self {
        let authority = Upstream::start();
        let canary = Canary::new(seed, "trk_", 40);
        let (cert, key) = authority.ca().leaf_pem(&["mcp.tracker.test"]);
        let file = |name: &str| authority.folder().join(name);
        std::fs::write(file("mcp.pem"), cert).unwrap();
        std::fs::write(file("mcp.key"), key).unwrap();
        let journal = file("called.txt");
        std::fs::write(&journal, "").unwrap();
        let mut command = Command::new("node");
        command.arg(beside("origins", "mcp.mjs", &format!("mcp-server-{seed}.mjs")));
        command.args([file("mcp.pem"), file("mcp.key"), journal.clone()]);
        let (server, line) = Running::ready(command);
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the MCP server did not start: {line}"));
        let config = format!(
            "version: 1\negress: closed\nservices: [./tracker.yaml]\ncredentials:\n  \
             tracker-token: {{ service: tracker, from: env:TRACKER_TOKEN }}\nagents:\n{agents}upstreams:\n  \
             mcp.tracker.test: {{ address: \"127.0.0.1:{port}\", ca: {} }}\n",
            authority.ca_file().display()
        );
        let house = House::new(&config, &[("TRACKER_TOKEN", &canary.value())]);
        std::fs::copy(root().join("tests/e2e/services/tracker.yaml"), house.path("tracker.yaml")).unwrap();
        Self { house, canary, journal, _server: server, _authority: authority }
    }

    /// What the client printed, a line each.
    fn client(&self, agent: &str, calls: &[&str]) -> Vec<String> {
        let script = beside("clients", "mcp.mjs", &format!("mcp-client-{agent}.mjs"));
        let words: Vec<&str> = ["node", script.to_str().unwrap()].into_iter().chain(calls.iter().copied()).collect();
        let (finished, _) = self.house.run(agent, &words);
        let finished = finished.expect_success("the MCP client");
        self.canary.assert_absent("the client's output", finished.stdout.as_bytes());
        finished.stdout.lines().map(str::to_owned).collect()
    }

    fn called(&self) -> Vec<String> {
        std::fs::read_to_string(&self.journal).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn tools_are_judged_by_name_and_arguments() {
    let scene = Scene::new(
        811,
        "  planner:\n    permissions:\n      - {service: tracker, credential: tracker-token, actions: [tools/whoami], resources: [\"*\"]}\n      \
         - {service: tracker, credential: tracker-token, actions: [tools/create_issue], resources: [\"team:CORE\"], \
         conditions: {when: 'context.facts[\"arguments.title\"] like \"Fix *\"'}}\n",
    );
    let lines = scene.client(
        "planner",
        &[
            "whoami",
            "{}",
            "create_issue",
            r#"{"team":"CORE","title":"Fix it"}"#,
            "create_issue",
            r#"{"team":"CORE","title":"Drop it"}"#,
            "create_issue",
            r#"{"team":"OPS","title":"Fix it"}"#,
            "delete_team",
            r#"{"team":"CORE"}"#,
            "weather",
            r#"{"city":"Bern"}"#,
        ],
    );
    // What is certain to be denied is not listed.
    assert_eq!(lines[0], "tools whoami create_issue");
    assert!(lines[1].starts_with("whoami answers you came with Bearer "), "{}", lines[1]);
    assert_eq!(lines[2], "create_issue answers created Fix it");
    for line in &lines[3..7] {
        assert!(line.contains(" fails ") && line.contains("denied"), "{line}");
    }
    assert_eq!(scene.called(), ["whoami {}", r#"create_issue {"team":"CORE","title":"Fix it"}"#]);
}

#[test]
fn a_tool_that_no_file_knows_is_admitted_by_its_name() {
    let scene = Scene::new(
        812,
        "  forecaster:\n    permissions:\n      - {service: tracker, credential: tracker-token, actions: [mcp/unlisted-tool], \
         resources: [\"tool:weather\"], conditions: {approval: none}}\n  wide:\n    permissions:\n      - {service: tracker, credential: tracker-token, \
         actions: [\"*\"], resources: [\"*\"]}\n",
    );
    let calls = ["weather", r#"{"city":"Bern"}"#, "whoami", "{}"];
    let lines = scene.client("forecaster", &calls);
    assert_eq!(lines[..2], ["tools weather", "weather answers sunny"]);
    assert!(lines[2].contains("whoami fails"), "{}", lines[2]);
    // No `*` covers what may do anything.
    let lines = scene.client("wide", &calls);
    assert_eq!(lines[0], "tools whoami create_issue");
    assert!(lines[1].contains("weather fails") && lines[2].starts_with("whoami answers"), "{lines:?}");
    assert_eq!(scene.called(), [r#"weather {"city":"Bern"}"#, "whoami {}"]);
    scene.house.assert_audit();
}
