//! Rows of the attack catalogue about names: who answers them, and what is dialled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::House;
use e2e::house::{binary, root};
use serde_json::Value;
use testkit::Canary;
use testkit::process::finish;

/// Asks for every host of a list, one after the other: `HOST STATUS CODE`.
const ASK: &str = r#"
for host in $(cat hosts); do
  status=$(curl -sS -m 20 -o answer -w '%{http_code}' -H "Authorization: Bearer $ECHO_TOKEN" "https://$host/x")
  echo "$host $status $(sed -n 's/.*"code": *"\([a-z_]*\)".*/\1/p' answer)"
done > told
"#;

/// The home, the hosts to ask for, and how often names flip.
fn rebinding_house(rounds: usize) -> (House, Canary) {
    let canary = Canary::new(701, "tok_", 40);
    let config = "version: 1\nservices: [./echo.yaml]\ncredentials:\n  echo-token: { service: echo, from: env:ECHO_TOKEN }\n\
                  agents:\n  tester:\n    permissions:\n      - service: echo\n        credential: echo-token\n        \
                  methods: [GET]\n        endpoints: [/]\n";
    let house = House::new(config, &[("ECHO_TOKEN", &canary.value())]);
    let service = std::fs::read_to_string(root().join("tests/e2e/services/echo.yaml")).unwrap();
    let service = service.replace("hosts: [", "hosts: [\"*.kit.test\", ");
    std::fs::write(house.path("echo.yaml"), service).unwrap();
    let names = ["public", "public-hosted", "absent", "inside", "both"].map(str::to_owned).into_iter();
    let names = names.chain((0..rounds).map(|number| format!("flip-{number}")));
    // The last are asked for once more: from then on they are at loopback, if anybody asks again.
    let names = names.chain((0..rounds / 2).map(|number| format!("flip-{number}")));
    let hosts: Vec<String> = names.map(|name| format!("{name}.kit.test")).collect();
    std::fs::write(house.path("hosts"), hosts.join("\n")).unwrap();
    std::fs::write(house.path("ask.sh"), ASK).unwrap();
    std::fs::write(house.path("aliases"), "public inside.kit.test\nabsent inside.kit.test\n").unwrap();
    (house, canary)
}

/// Rows F72 and F73: names are resolved once, as absolute ones, by the name servers alone, every answer is checked, and what
/// was checked is dialled. Files and variables that an agent may have written have no say.
#[test]
fn names_are_resolved_once_and_by_name_servers_alone() {
    let rounds = 40;
    let (house, canary) = rebinding_house(rounds);
    let mut probe = Command::new("unshare");
    probe.args(["-mn", "sh", "-c", "ip link set lo up && mount -t tmpfs -o size=64k none /mnt"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        println!("no namespaces may be made here: names are left to the tests of `proxy::net`");
        return;
    }
    std::fs::create_dir(house.path("etc")).unwrap();
    let mut command = house.clean(Path::new("/usr/bin/unshare"));
    command.arg("-mn").arg(e2e::house::tool("venv/bin/python")).arg(root().join("tests/e2e/origins/names.py"));
    command.arg(house.path("etc")).arg(binary()).args(["run", "--isolate=off", "--config", "valetkey.yaml"]);
    command.args(["--agent", "tester", "--"]);
    command.args(["sh", "ask.sh"]).env("LOCALDOMAIN", "evil.test").env("HOSTALIASES", house.path("aliases"));
    command.env("RES_OPTIONS", "ndots:9").env("RESOLV_HOST_CONF", house.path("aliases"));
    let output = finish(&mut command, Duration::from_mins(3)).expect_success("the network");
    let told: Value = serde_json::from_str(output.stdout.trim()).unwrap();
    assert_eq!(told["code"], 0, "{}", output.stderr);
    let lines = std::fs::read_to_string(house.path("told")).unwrap();
    let mut got: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines.lines() {
        let (host, how) = line.split_once(' ').unwrap();
        got.entry(host).or_default().push(how);
    }
    // Nothing ever came to loopback, and everything that was not refused came to the public address, where no certificate is.
    let (reached, blocked) = ("502 upstream_unreachable", "403 blocked_address");
    let reaching = lines.lines().filter(|line| line.ends_with(reached) && !line.starts_with("absent")).count();
    assert_eq!((told["loopback"].as_u64(), told["public"].as_u64()), (Some(0), Some(reaching as u64)), "{lines}");
    for (host, how) in &got {
        let expected = if host.starts_with("inside") || host.starts_with("both") { blocked } else { reached };
        assert_eq!(how[0], expected, "{host}");
        // A kept name is dialled as it was checked; once it is over, it is asked for and refused.
        assert!(how.iter().all(|one| [reached, blocked].contains(one)), "{host}: {how:?}");
    }
    assert_eq!(got.len(), rounds + 5, "{lines}");
    // Absolute names alone were asked for, by the gateway alone.
    let asked: BTreeSet<&str> = told["asked"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(asked, got.keys().copied().collect::<BTreeSet<_>>());
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
    let refusals = export.lines().filter(|line| line.contains("\"code\":\"blocked_address\"")).count();
    assert!(refusals >= 2, "{export}");
    assert!(!lines.contains(&canary.value()));
    house.assert_audit();
}
