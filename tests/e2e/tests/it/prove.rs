//! Statements about a policy, proven by cvc5 or refuted by a request that `explain` really allows.

use std::path::Path;
use std::time::Duration;

use e2e::House;
use e2e::house::binary;
use serde_json::Value;
use testkit::process::{Finished, finish};

const PATIENCE: Duration = Duration::from_mins(1);

const TEAM: &str = include_str!("../../prove/team.yaml");
const STATEMENTS: &str = include_str!("../../prove/statements.yaml");

fn house(policy: &str) -> House {
    let house = House::new(policy, &[]);
    std::fs::write(house.path("team.yaml"), policy).unwrap();
    std::fs::write(house.path("statements.yaml"), STATEMENTS).unwrap();
    house
}

fn shell(house: &House, line: &str) -> Finished {
    let folder = binary().parent().unwrap();
    let line = format!("PATH={}:$PATH; {line}", folder.display());
    finish(house.clean(Path::new("/bin/sh")).args(["-c", &line]), PATIENCE)
}

fn proven(house: &House, file: &str) -> Value {
    let told = house.valetkey(&["policy", "prove", file, "--json"]);
    serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", told.stdout, told.stderr))
}

#[test]
fn a_team_is_held_to_what_it_promises() {
    let house = house(TEAM);
    let told = house.valetkey(&["policy", "prove", "statements.yaml"]);
    assert_eq!(told.code(), Some(1), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.ends_with("7 proved, 1 refuted, 0 open\n"), "{}", told.stdout);
    let json = proven(&house, "statements.yaml");
    let verdicts: Vec<&str> =
        json["statements"].as_array().unwrap().iter().map(|one| one["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["proved", "proved", "proved", "proved", "proved", "proved", "proved", "refuted"], "{json:#}");
    // The counterexample is a request that the agent may make, and nobody is asked.
    let found = &json["statements"][7]["counterexample"];
    let command = found["request"]["command"].as_str().unwrap();
    let explained = shell(&house, &format!("{command} --json")).expect_success(command);
    let explained: Value = serde_json::from_str(&explained.stdout).unwrap();
    assert_eq!((&explained["decision"], &found["agent"]), (&"allow".into(), &"till".into()), "{explained:#}");
    let conditions = explained["conditions"].as_array().unwrap();
    assert!(conditions.iter().all(|condition| condition["kind"] != "approval"), "{explained:#}");
    assert_eq!(explained["calls"][0]["action"], found["call"]["action"], "{explained:#}");
}

/// Each promise is broken by one change, and the request that shows it is one that the changed policy decides so.
#[test]
fn a_broken_promise_is_shown_by_a_request() {
    for (number, (from, to)) in [
        (0, ("repos/delete, \"effect:escalates\"]", "\"effect:escalates\"]")),
        (1, ("count: 2", "count: 1")),
        (2, ("10000'", "20000'")),
        (3, ("max: { body.amount: 50000 }, ", "")),
        (4, ("resources: [\"org:acme\"]\n        conditions", "resources: [\"*\"]\n        conditions")),
        (5, ("branch:acme/*@agent/*", "branch:acme/*@*")),
        (6, ("[read, issues/create-comment, pulls/create-review]", "[issues/create-comment, pulls/create-review]")),
    ] {
        assert!(TEAM.contains(from), "{from}");
        let mut broken = TEAM.replace(from, to);
        if number == 0 {
            broken = broken.replace("issues/create-comment]\n        resources", "repos/delete]\n        resources");
        }
        let house = house(&broken);
        let json = proven(&house, "statements.yaml");
        let told = &json["statements"][number];
        assert_eq!(told["verdict"], "refuted", "{number}: {told:#}");
        // A push has no body that a command line could show; it was judged alone.
        if number == 5 {
            assert_eq!(told["counterexample"]["call"]["action"], "git/push", "{told:#}");
            continue;
        }
        let command = told["counterexample"]["request"]["command"].as_str().unwrap_or_else(|| panic!("{told:#}"));
        let explained = shell(&house, &format!("{command} --json"));
        let explained: Value = serde_json::from_str(&explained.stdout).unwrap();
        let expected = if number == 6 { "deny" } else { "allow" };
        assert_eq!(explained["decision"], expected, "{number}: {command}: {explained:#}");
    }
}

/// A policy that nobody can break: everything that its own words deny stays denied, whatever is said of time, task, person
/// and place.
#[test]
fn circumstances_are_part_of_the_proof() {
    let policy = "version: 1\nagents:\n  night:\n    permissions:\n      - { service: github, actions: [pulls/merge], resources: [\"repo:o/r\"], \
                  conditions: { hours: [\"sat,sun 00:00-24:00\"], source: [\"10.0.0.0/8\"], role: [lead], task: [\"release *\"], approval: none } }\n";
    let house = house(policy);
    let statements = "policy: valetkey.yaml\nstatements:\n  \
        - never: { service: github, actions: [pulls/merge], when: '!(context has task)' }\n  \
        - never: { service: github, actions: [pulls/merge], when: '!context.roles.contains(\"lead\")' }\n  \
        - never: { service: github, actions: [pulls/merge] }\n";
    std::fs::write(house.path("s.yaml"), statements).unwrap();
    let json = proven(&house, "s.yaml");
    let verdict = |at: usize| json["statements"][at]["verdict"].as_str().unwrap();
    assert_eq!([verdict(0), verdict(1), verdict(2)], ["proved", "proved", "refuted"], "{json:#}");
    let found = &json["statements"][2]["counterexample"];
    let command = found["request"]["command"].as_str().unwrap();
    let explained = shell(&house, &format!("{command} --json")).expect_success(command);
    assert!(explained.stdout.contains("\"decision\":\"allow\""), "{command}: {}", explained.stdout);
    assert!(found["task"].as_str().unwrap().starts_with("release "), "{found:#}");
    assert_eq!((&found["roles"][0], &found["source"]), (&"lead".into(), &"10.0.0.0".into()), "{found:#}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let house = house(TEAM);
    std::fs::write(house.path("bad.yaml"), "policy: team.yaml\nstatements:\n  - never: { service: githab }\n").unwrap();
    std::fs::write(house.path("guarded.yaml"), "policy: none.yaml\nstatements:\n  - never: {}\n").unwrap();
    std::fs::write(house.path("none.yaml"), "version: 1\n").unwrap();
    for (arguments, code, says) in [
        (&["statements.yaml", "--solver", "/no/such/cvc5"][..], 3, "install cvc5"),
        (&["missing.yaml"][..], 3, "`missing.yaml` does not exist"),
        (&["bad.yaml"][..], 3, "did you mean `github`"),
        (&["guarded.yaml"][..], 3, "names no agents"),
        (&[][..], 2, "STATEMENTS"),
    ] {
        let told = house.valetkey(&[&["policy", "prove"], arguments].concat());
        assert_eq!(told.code(), Some(code), "{arguments:?}: {}{}", told.stdout, told.stderr);
        assert!(told.stderr.contains(says), "{arguments:?}: {}", told.stderr);
    }
    // What a solver would be asked is Cedar that stands for itself; no solver is needed for it.
    let cedar = house.valetkey(&["policy", "prove", "statements.yaml", "--cedar", "--solver", "/no/such/cvc5"]);
    let cedar = cedar.expect_success("--cedar").stdout;
    assert!(cedar.contains("action \"github:repos/delete\" appliesTo") && cedar.contains("forbid"), "{cedar}");
}

/// One agent with these permissions, and what is said of it.
fn said(permissions: &str, statement: &str) -> (Option<i32>, String) {
    let policy = format!("version: 1\nagents:\n  a:\n    permissions:\n      - {permissions}\n");
    let house = House::new(&policy, &[]);
    std::fs::write(house.path("s.yaml"), format!("policy: valetkey.yaml\nstatements:\n  - {statement}\n")).unwrap();
    let told = house.valetkey(&["policy", "prove", "s.yaml"]);
    (told.code(), format!("{}{}", told.stdout, told.stderr))
}

/// Statements that hold, that do not, and that say nothing; each was once answered otherwise.
#[test]
fn odd_policies_are_not_proved() {
    for (permissions, statement, code, says) in [
        // Names are compared as the service compares them, whether it is named or not.
        (
            "{ service: github, actions: [repos/delete], resources: [\"repo:MyOrg/*\"], conditions: { approval: none } }",
            "never: { actions: [delete], resources: [\"repo:MyOrg/*\"] }",
            1,
            "1 refuted",
        ),
        // What a `when` tells apart is asked for apart.
        (
            "{ service: github, actions: [issues/create, issues/update], resources: [\"*\"], conditions: { when: 'action == Action::\"github:issues/update\"' } }",
            "never: { service: github, actions: [issues/create, issues/update] }",
            1,
            "issues/update",
        ),
        // What is there only where some rule needs it cannot be looked at.
        (
            "{ service: github, actions: [read], resources: [\"*\"], conditions: { when: '!(context has tail)' } }",
            "never: { service: github }",
            3,
            "cannot look at `context.tail`",
        ),
        // A fact is the same however it is written.
        (
            "{ service: stripe, actions: [create_refund], resources: [\"*\"], conditions: { when: 'context.facts has \"body.\\u{61}mount\"' } }",
            "never: { service: stripe, actions: [create_refund] }",
            1,
            "1 refuted",
        ),
        // A bound alone is a proof, and not only of those who have one.
        (
            "{ service: stripe, actions: [create_refund], resources: [\"*\"], conditions: { max: { body.amount: 5000 } } }",
            "never: { service: stripe, actions: [create_refund], when: 'context.facts[\"body.amount\"] > 5000' }",
            0,
            "1 proved",
        ),
        // What is over does not come again; what begins is found at its time.
        (
            "{ service: github, actions: [read], resources: [\"*\"], conditions: { expires: \"2020-01-01\" } }",
            "never: { service: github }",
            0,
            "1 proved",
        ),
        // Branches have slashes.
        (
            "{ service: github, actions: [git/push], resources: [\"branch:o/r@agent/*\"] }",
            "never: { service: github, actions: [git/push] }",
            1,
            "1 refuted",
        ),
        (
            "{ service: github, methods: [POST], endpoints: [/markdown] }",
            "never: { service: github, actions: [\"http/get\"] }",
            0,
            "1 proved",
        ),
        (
            "{ service: stripe, actions: [spend], resources: [\"*\"] }",
            "asks: { service: stripe, actions: [spend], when: 'context.facts[\"body.amout\"] > 5' }",
            3,
            "has the fact `body.amout`; did you mean `body.amount`?",
        ),
        (
            "{ service: github, actions: [read], resources: [\"*\"] }",
            "never: { service: github, actions: [repos/delete], except_actions: [repos/delete] }",
            3,
            "covers no action",
        ),
        (
            "{ service: github, actions: [read], resources: [\"*\"] }",
            "never: { actions: [delete], resources: [\"rep:o/r\"] }",
            3,
            "did you mean `repo:o/r`?",
        ),
    ] {
        let (got, told) = said(permissions, statement);
        assert_eq!(got, Some(code), "{statement}: {told}");
        assert!(told.contains(says), "{statement}: {told}");
    }
    let house = House::new("version: 1\nmode: observe\nagents: { a: { permissions: [] } }\n", &[]);
    std::fs::write(house.path("s.yaml"), "policy: valetkey.yaml\nstatements: [{ never: {} }]\n").unwrap();
    let told = house.valetkey(&["policy", "prove", "s.yaml"]);
    assert!(told.code() == Some(3) && told.stderr.contains("mode: observe"), "{}", told.stderr);
    let told = house.valetkey(&["policy", "prove", "s.yaml", "--solver", "/bin/true"]);
    assert_eq!(told.code(), Some(3), "{}", told.stderr);
}
