//! The official conformance runner of MCP, unchanged: what a server passes when it is asked directly, it passes through the gateway, on
//! both legs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::House;
use e2e::audit::Log;
use e2e::house::{root, tool};
use serde_json::Value;
use testkit::Canary;
use testkit::client::Wire;
use testkit::process::{Finished, Running, finish};
use testkit::upstream::Upstream;

use crate::mcp::beside;

const PATIENCE: Duration = Duration::from_mins(2);
/// Scenarios for servers of version 0.1.16, without [`LOCAL`], which is not compared.
const SCENARIOS: usize = 31;
/// For servers on the loopback without TLS: over TLS the runner itself refuses the names that it would try.
const LOCAL: &str = "dns-rebinding-protection";

/// Checks by scenario and id, with the runner's words for how they went.
type Checks = BTreeMap<(String, String), String>;

/// A server with everything that the runner asks for, and a home whose agent may use all of it.
struct Scene {
    house: House,
    canary: Canary,
    port: u16,
    ca: PathBuf,
    _server: Running,
    _authority: Upstream,
}

/// The runner needs a newer Node than Debian's.
fn node() -> PathBuf {
    tool("node/node_modules/node/bin/node")
}

fn runner() -> PathBuf {
    tool("node/node_modules/@modelcontextprotocol/conformance/dist/index.js")
}

/// What the runner left in a folder: `server-SCENARIO-TIME/checks.json`.
fn checks(folder: &Path) -> Checks {
    let mut checks = Checks::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().trim_start_matches("server-");
        let (scenario, _) = name.split_once("-2").unwrap();
        let text = std::fs::read_to_string(path.join("checks.json")).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        let told = all.as_array().unwrap().iter().filter(|check| check["status"] != "INFO");
        for check in told.filter(|_| scenario != LOCAL) {
            let (id, status) = (check["id"].as_str().unwrap(), check["status"].as_str().unwrap());
            checks.insert((scenario.to_owned(), id.to_owned()), status.to_owned());
        }
    }
    checks
}

impl Scene {
    fn new() -> Self {
        let (authority, canary) = (Upstream::start(), Canary::new(831, "evt_", 40));
        let (cert, key) = authority.ca().leaf_pem(&["mcp.everything.test", "localhost"]);
        let file = |name: &str| authority.folder().join(name);
        std::fs::write(file("pem"), cert).unwrap();
        std::fs::write(file("key"), key).unwrap();
        let mut command = Command::new(node());
        command.arg(beside("origins", "everything.mjs", "everything.mjs"));
        command.args([file("pem"), file("key")]).arg(canary.value());
        let (server, line) = Running::ready(command);
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the MCP server did not start: {line}"));
        let ca = authority.ca_file();
        let config = format!(
            "version: 1\negress: closed\nservices: [./everything.yaml]\ncredentials:\n  \
             everything: {{ service: everything, from: env:EVERYTHING_TOKEN, inject: always }}\nagents:\n  runner:\n    permissions:\n      \
             - {{ service: everything, credential: everything, actions: [read, write], resources: [\"*\"] }}\n      \
             - {{ service: everything, credential: everything, actions: [mcp/answer], resources: [\"*\"], conditions: {{ approval: none }} }}\n\
             upstreams:\n  mcp.everything.test: {{ address: \"127.0.0.1:{port}\", ca: {} }}\n",
            ca.display()
        );
        let house = House::new(&config, &[("EVERYTHING_TOKEN", &canary.value())]);
        std::fs::copy(root().join("tests/e2e/services/everything.yaml"), house.path("everything.yaml")).unwrap();
        Self { house, canary, port, ca, _server: server, _authority: authority }
    }

    fn words(&self, url: &str, into: &str) -> Vec<String> {
        let (node, runner, folder) = (node(), runner(), self.house.path(into));
        let words = [node.as_path(), runner.as_path()].map(|path| path.display().to_string());
        let more = ["server", "--suite", "all", "--url", url, "-o", folder.to_str().unwrap()].map(str::to_owned);
        words.into_iter().chain(more).collect()
    }

    /// The runner outside of `run`, saying these header fields with each request.
    fn says(&self, url: &str, into: &str, fields: &str) -> Finished {
        let words = self.words(url, into);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env("NODE_EXTRA_CA_CERTS", &self.ca).env("SAY", fields);
        command.env("NODE_OPTIONS", format!("--import {}", beside("clients", "say.mjs", "say.mjs").display()));
        finish(&mut command, PATIENCE)
    }
}

#[test]
fn what_a_server_passes_directly_it_passes_through_us() {
    let scene = Scene::new();
    let url = format!("https://localhost:{}/mcp", scene.port);
    let said = scene.says(&url, "direct", &format!("authorization: Bearer {}", scene.canary.value()));
    let direct = checks(&scene.house.path("direct"));
    let scenarios: BTreeSet<&String> = direct.keys().map(|(scenario, _)| scenario).collect();
    assert_eq!(scenarios.len(), SCENARIOS, "{}", said.stdout);
    assert!(direct.values().all(|status| status == "SUCCESS"), "{direct:#?}");

    // As an agent's client, which sends nothing and knows nothing of us but its proxy.
    let words = scene.words("https://mcp.everything.test/mcp", "forward");
    let (said, receipt) = scene.house.run("runner", &words.iter().map(String::as_str).collect::<Vec<_>>());
    scene.canary.assert_absent("the runner's output", said.stdout.as_bytes());
    // On the reverse leg, with a session's token.
    let (gateway, session) = (scene.house.serve(), scene.house.session("runner"));
    let url = format!("http://{}/proxy/everything/mcp", gateway.proxy);
    let reverse = scene.says(&url, "reverse", &format!("x-valetkey-session: {}", session.token));
    // What a page could send there by a name that was bound anew to the loopback: it has no token.
    let mut wire = Wire::open(gateway.proxy).unwrap();
    let page = "POST /proxy/everything/mcp HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nContent-Length: 0\r\n\r\n";
    wire.send(page.as_bytes()).unwrap();
    assert_eq!(wire.answer("POST").unwrap().status, 401);
    for (leg, said) in [("forward", said), ("reverse", reverse)] {
        let through = checks(&scene.house.path(leg));
        let differing = direct.iter().filter(|(key, status)| through.get(*key) != Some(*status));
        let differing: Vec<_> = differing.map(|(key, status)| (key, status, through.get(key))).collect();
        assert!(differing.is_empty(), "{leg}: {differing:#?}\n{}", said.stdout);
        println!("{leg}: {} checks of {} scenarios as directly", direct.len(), scenarios.len());
    }
    let log = Log::of(&scene.house);
    let refused = log.events(receipt.0["session"].as_str().unwrap(), "refusal");
    // The runner ends while it is still connecting: those are closed in the handshake.
    let refused: Vec<_> =
        refused.filter(|event| !event["reason"].as_str().unwrap().contains("TLS handshake failed")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    // How many of the streams that it leaves open are over in time to count as allowed is chance; each scenario says hello and asks.
    assert!(receipt.count("allowed") >= u64::try_from(2 * SCENARIOS).unwrap(), "{:?}", receipt.0);
    scene.house.assert_audit();
}
