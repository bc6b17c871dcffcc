//! What must hold whatever is written and asked.

use model::{Fact, Unknown};
use policy::{Decision, Document};
use proptest::prelude::*;

use crate::support::{Asking, ask, rules};

const ACTIONS: [&str; 10] = [
    "repos/get",
    "pulls/create",
    "pulls/merge",
    "issues/create",
    "git/push",
    "repos/delete",
    "repos/add-collaborator",
    "gists/create",
    "http/post",
    "http/get",
];
const WORDS: [&str; 12] = [
    "repos/get",
    "create_pr",
    "pulls:write",
    "write",
    "read",
    "'*'",
    "'effect:escalates'",
    "'effect:branch-write'",
    "delete_repo",
    "repos/add-collaborator",
    "delete",
    "http/post",
];
const RESOURCES: [&str; 8] =
    ["repo:o/r", "repo:o/x", "org:o", "branch:o/r@main", "branch:o/r@agent/x", "user:u", "repo:p/r", "tag:o/r@v1"];
const PATTERNS: [&str; 8] =
    ["*", "repo:o/r", "repo:o/*", "org:o", "branch:o/r@agent/*", "branch:o/r", "repo:*", "repo:p*/r*"];
const CONDITIONS: [&str; 6] = [
    "{}",
    "{task: fix-*}",
    "{hours: '00:00-12:00'}",
    "{limit: 5/hour}",
    "{approval: required}",
    "{when: 'context.facts[\"body.draft\"] == true'}",
];

fn permission() -> impl Strategy<Value = String> {
    let pick = |list: &'static [&'static str]| proptest::sample::select(list);
    (pick(&WORDS), pick(&WORDS), pick(&PATTERNS), pick(&CONDITIONS)).prop_map(|(one, two, resource, conditions)| {
        format!("      - {{service: github, actions: [{one}, {two}], resources: ['{resource}'], conditions: {conditions}}}\n")
    })
}

pub fn policy() -> impl Strategy<Value = String> {
    proptest::collection::vec(permission(), 1..5)
        .prop_map(|all| format!("agents:\n  a:\n    permissions:\n{}", all.concat()))
}

pub fn question() -> impl Strategy<Value = Asking> {
    let facts = proptest::sample::select(vec![
        None,
        Some(Fact::Bool(true)),
        Some(Fact::Int(3)),
        Some(Fact::Unknown(Unknown::TooLarge)),
    ]);
    let pick = |list: &'static [&'static str]| proptest::sample::select(list);
    (pick(&ACTIONS), pick(&RESOURCES), facts, any::<bool>()).prop_map(|(action, resource, fact, task)| {
        let mut asking = ask("a", "github", action, resource);
        if let Some(fact) = fact {
            asking = asking.fact("body.draft", fact);
        }
        if task { asking.task("fix-1") } else { asking }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_denial_never_allows_more(policy in policy(), word in proptest::sample::select(&WORDS[..]), asked in proptest::collection::vec(question(), 8)) {
        let (plain, denying) = (rules(&policy), rules(&format!("{policy}    denied_actions: [{word}]\n")));
        for asking in asked {
            prop_assert!(plain.explain(&asking.question()).decision == "allow" || !asking.passes(&denying));
            prop_assert!(asking.passes(&plain) || !asking.passes(&denying));
        }
    }

    #[test]
    fn a_second_answer_is_the_first(policy in policy(), asked in proptest::collection::vec(question(), 8)) {
        let rules = rules(&policy);
        for asking in &asked {
            let first = format!("{:?}", asking.decide(&rules));
            prop_assert_eq!(first, format!("{:?}", asking.decide(&rules)));
            prop_assert_eq!(asking.passes(&rules), asking.passes(&crate::support::rules(&policy)));
        }
    }

    #[test]
    fn guarded_calls_need_their_name_or_effect(policy in policy(), resource in proptest::sample::select(&RESOURCES[..])) {
        let named = policy.contains("add-collaborator") || policy.contains("escalates");
        let asking = ask("a", "github", "repos/add-collaborator", resource);
        if let Decision::Allow(conditions) = asking.decide(&rules(&policy)) {
            prop_assert!(named);
            prop_assert!(conditions.approval().is_some());
        }
    }

    #[test]
    fn observing_never_denies(policy in policy(), asked in question()) {
        let observing = rules(&format!("mode: observe\n{policy}"));
        prop_assert!(asked.passes(&observing));
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&String::from_utf8_lossy(&bytes), "f");
    }

    #[test]
    fn reading_nearly_right_documents_never_panics(at in 0..crate::documents::WHOLE.len(), with in "[\\PC\\n]{0,4}") {
        let text = crate::documents::WHOLE;
        let broken = format!("{}{with}{}", text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default());
        for line in crate::support::complaints(&broken) {
            prop_assert!(line.starts_with("f.yaml:"), "{}", line);
        }
    }

    #[test]
    fn resources_of_any_text_never_panic(resource in "\\PC{0,40}", tail in "\\PC{0,10}") {
        let rules = rules("agents: {a: {permissions: [{service: github, actions: [write], resources: ['branch:o/*@a*', 'repo:o/r', 'org:*']}]}}");
        let _ = ask("a", "github", "pulls/create", &format!("branch:{resource}@{tail}")).decide(&rules);
        let _ = ask("a", "github", "pulls/create", &resource).decide(&rules);
    }
}
