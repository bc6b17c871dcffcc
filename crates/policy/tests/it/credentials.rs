//! Which credential goes on.

use crate::support::{ask, asking, call, complaints, credential, rules};

const TWO: &str = r#"
credentials:
  reader: {service: github}
  writer: {service: github, inject: always}
agents:
  a:
    permissions:
      - {service: github, credential: reader, actions: [read], resources: ["*"]}
      - {service: github, credential: writer, actions: [pulls/create], resources: ["repo:o/r"]}
"#;

#[test]
fn the_placeholder_chooses_and_the_permission_names() {
    let rules = rules(TWO);
    let name = |asking: &crate::support::Asking| asking.allowed(&rules).credential().map(ToString::to_string);
    assert_eq!(name(&ask("a", "github", "repos/get", "repo:o/r")).as_deref(), Some("reader"));
    assert_eq!(name(&ask("a", "github", "repos/get", "repo:o/r").with("reader")).as_deref(), Some("reader"));
    assert_eq!(name(&ask("a", "github", "pulls/create", "repo:o/r").with("writer")).as_deref(), Some("writer"));
    let refusal = ask("a", "github", "pulls/create", "repo:o/r").with("reader").denied(&rules);
    assert_eq!(refusal.public, "Credential reader may not be used for pulls/create");
    assert!(!ask("a", "github", "repos/get", "repo:o/r").with("stranger").passes(&rules));
    assert_eq!(rules.inject(&credential("writer")), policy::document::Inject::Always);
    let mine = rules.credentials_of(&model::AgentName::new("a").expect("a name"));
    assert_eq!(mine, [&credential("reader"), &credential("writer")]);
    assert!(rules.credentials_of(&model::AgentName::new("b").expect("a name")).is_empty());
}

#[test]
fn one_credential_serves_every_call_or_none_does() {
    let rules = rules(TWO);
    let both = || {
        asking(
            "a",
            Some("github"),
            vec![call("github", "repos/get", "repo:o/r"), call("github", "pulls/create", "repo:o/r")],
        )
    };
    assert!(both().denied(&rules).public.starts_with("Several credentials could be used"));
    assert!(!both().with("writer").passes(&rules));
}

#[test]
fn without_credentials_the_policy_is_judged_all_the_same() {
    let rules = rules(
        "agents: {a: {permissions: [{service: github, credential: gh, actions: [create_pr], resources: ['*']}]}}",
    );
    let explained = ask("a", "github", "pulls/create", "repo:o/r").explained(&rules);
    assert_eq!((explained.decision, explained.credential), ("allow", None));
}

#[test]
fn a_permission_without_credential_takes_the_services_only_one() {
    let rules = rules(
        "credentials: {gh: {service: github}, st: {service: stripe}}\nagents: {a: {permissions: [{service: github, actions: [create_pr], resources: ['*']}]}}",
    );
    let allowed = ask("a", "github", "pulls/create", "repo:o/r").allowed(&rules);
    assert_eq!(allowed.credential(), Some(&credential("gh")));
    assert!(!ask("a", "github", "pulls/create", "repo:o/r").with("st").passes(&rules));
}

#[test]
fn rules_that_could_pick_two_are_refused() {
    let head = "credentials: {one: {service: github}, two: {service: github}, st: {service: stripe}}\nagents:\n  a:\n    permissions:\n";
    let rule = |credential: &str, actions: &str, resources: &str| {
        format!("      - {{service: github{credential}, actions: [{actions}], resources: ['{resources}']}}\n")
    };
    for (lines, refused) in [
        (rule("", "create_pr", "*"), true),
        (rule(", credential: st", "create_pr", "*"), true),
        (rule(", credential: one", "create_pr", "*") + &rule(", credential: two", "write", "repo:o/r"), true),
        (
            rule(", credential: one", "create_pr", "repo:o/r") + &rule(", credential: two", "pulls/create", "org:o"),
            true,
        ),
        (
            rule(", credential: one", "create_pr", "repo:o/r") + &rule(", credential: two", "create_pr", "repo:o/s"),
            false,
        ),
        (rule(", credential: one", "create_pr", "repo:o/*") + &rule(", credential: two", "read", "repo:o/*"), false),
        (
            rule(", credential: one", "git/push", "branch:o/r@a/*")
                + &rule(", credential: two", "git/push", "branch:o/r@b/*"),
            false,
        ),
        (
            rule(", credential: one", "git/push", "branch:o/r@a/*")
                + &rule(", credential: two", "git/push", "branch:o/r@a/b"),
            true,
        ),
    ] {
        let found = complaints(&format!("{head}{lines}"));
        assert_eq!(!found.is_empty(), refused, "{lines}{found:?}");
    }
    let found = complaints(&format!(
        "{head}{}{}",
        rule(", credential: one", "create_pr", "*"),
        rule(", credential: two", "write", "*")
    ));
    assert_eq!(
        found,
        [
            "f.yaml:6:39: rule could pick two credentials: `two` here and `one` by a/1; let the rules differ in action or resource"
        ]
    );
}
