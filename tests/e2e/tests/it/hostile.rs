//! A hostile agent, and a judge that looks from outside at what it got: once without walls, where it must succeed, and once
//! inside `run`, where it must not. Both are scripts in `tests/e2e/hostile`; the judge makes a machine of its own for them.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use e2e::House;
use e2e::house::{binary, root};
use serde_json::Value;
use testkit::process::finish;

/// Two runs of more than a hundred attempts, a dozen of which wait for seconds.
const PATIENCE: Duration = Duration::from_mins(14);
/// As many attempts there are at least, and as many are shown to succeed without walls.
const ATTACKS_MIN: usize = 100;
const SHOWN_MIN: usize = 90;
/// What may succeed inside too. The judge and docs/threat-model.md give the reason of each; a longer list is a decision.
const OPEN: [&str; 3] = ["save-anew-race", "unix-late-race", "stay-git-common"];

fn judged(extra: &[&str]) -> Vec<Value> {
    let mut judge = Command::new("python3");
    judge.arg(root().join("tests/e2e/hostile/judge.py")).arg("--json").arg("--binary").arg(binary()).args(extra);
    let finished = finish(&mut judge, PATIENCE);
    let rows: Vec<Value> = finished.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(!rows.is_empty(), "the judge could not work; {}", finished.stderr);
    rows
}

fn assert_walls_hold(rows: &[Value]) {
    let mut wrong = Vec::new();
    for row in rows {
        let name = row["attack"].as_str().unwrap();
        let (control, inside) = (row["control"].is_string(), row["inside"].is_string());
        if row["ran"] != true || inside && !OPEN.contains(&name) || !control && !row["no_control"].is_string() {
            wrong.push(format!("{row:#}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} attempts:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert!(rows.len() >= ATTACKS_MIN, "{} attempts", rows.len());
    let shown = rows.iter().filter(|row| row["control"].is_string()).count();
    assert!(shown >= SHOWN_MIN, "{shown} of {} attempts succeed without walls", rows.len());
}

/// As users have it: the same judge and agent, by `doctor --attack`.
#[test]
fn a_hostile_agent_gets_nowhere() {
    let house = House::new("version: 1\n", &[]);
    let mut doctor = house.clean(binary());
    let finished = finish(doctor.args(["doctor", "--attack", "--json"]), PATIENCE);
    let findings: Vec<Value> = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    let attempts: Vec<&Value> = findings.iter().filter(|finding| finding["group"] == "attack").collect();
    let of_state = |state: &str| attempts.iter().filter(|one| one["state"] == state).copied().collect::<Vec<_>>();
    assert!(of_state("failed").is_empty(), "{:#?}", of_state("failed"));
    assert!(attempts.len() >= ATTACKS_MIN, "{} attempts", attempts.len());
    let name = |one: &Value| one["subject"].as_str().unwrap().to_owned();
    let open: Vec<String> = of_state("open").into_iter().map(name).collect();
    assert!(open.iter().all(|name| OPEN.contains(&name.as_str())), "{open:?}");
    let shown = attempts.iter().filter(|one| one["detail"].as_str().unwrap().contains("without walls it")).count();
    assert!(shown >= SHOWN_MIN, "{shown} of {} attempts succeed without walls", attempts.len());
    assert_eq!(finished.code(), Some(0), "{}", finished.stderr);
    let walls: Vec<&Value> = findings.iter().filter(|finding| finding["group"] == "isolation").collect();
    assert!(walls.len() == 2 && walls.iter().all(|wall| wall["state"] == "ok"), "{walls:#?}");
    let model = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    for name in attempts.into_iter().map(name) {
        assert!(model.contains(&format!("`{name}`")), "docs/threat-model.md does not name {name}");
    }
}

#[test]
fn what_the_hostile_agent_needs_is_said() {
    let house = House::new("version: 1\n", &[]);
    let mut doctor = house.clean(binary());
    doctor.env("PATH", house.path("nothing")).args(["doctor", "--attack"]);
    let finished = finish(&mut doctor, PATIENCE);
    assert_eq!(finished.code(), Some(3), "{}", finished.stderr);
    assert!(finished.stderr.contains("is a Python program: install python3"), "{}", finished.stderr);
}

/// Where these tests are run by root, an agent of root is judged too; for anybody else there is no such agent.
#[test]
fn a_hostile_agent_of_root_gets_nowhere() {
    let ours = tempfile::tempdir().unwrap();
    if std::fs::metadata(ours.path()).unwrap().uid() == 0 {
        assert_walls_hold(&judged(&["--as-root"]));
    } else {
        let mut judge = Command::new("python3");
        judge.arg(root().join("tests/e2e/hostile/judge.py")).arg("--binary").arg(binary()).arg("--as-root");
        assert_eq!(finish(&mut judge, PATIENCE).code(), Some(3));
    }
}
