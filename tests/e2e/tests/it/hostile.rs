//! A hostile agent, and a judge that looks from outside at what it got: once without walls, where it must succeed, and once
//! inside `run`, where it must not. Both are scripts in `tests/e2e/hostile`; the judge makes a machine of its own for them.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use e2e::house::{binary, root};
use serde_json::Value;
use testkit::process::finish;

/// Two runs of more than a hundred attempts, a dozen of which wait for seconds.
const PATIENCE: Duration = Duration::from_mins(14);
/// As many attempts there are at least, and as many are shown to succeed without walls.
const ATTACKS_MIN: usize = 100;
const SHOWN_MIN: usize = 90;
/// What may succeed inside too. The judge and docs/threat-model.md give the reason of each; a longer list is a decision.
const OPEN: [&str; 5] = ["save-anew", "unix-late", "policy-plant", "stay-git-config", "squat-service"];

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

#[test]
fn a_hostile_agent_gets_nowhere() {
    let rows = judged(&[]);
    assert_walls_hold(&rows);
    let model = std::fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    for row in &rows {
        let name = format!("`{}`", row["attack"].as_str().unwrap());
        assert!(model.contains(&name), "docs/threat-model.md does not name {name}");
    }
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
