//! What differs between two policies, in words; and that the engine says the same of every example.

use model::AgentName;
use policy::Rules;
use policy::compare::{Change, Comparison, Policy, compare};
use proptest::prelude::*;

use crate::support::{ask, rules, stranger, vocabulary};

fn between(old: &Rules, new: &Rules, agent: Option<&str>) -> Comparison {
    let words = vocabulary();
    let agent = agent.map(|name| AgentName::new(name).expect("a name"));
    compare(Policy { rules: old, words: &words }, Policy { rules: new, words: &words }, agent.as_ref()).expect("few")
}

fn lines(old: &str, new: &str) -> Vec<String> {
    between(&rules(old), &rules(new), None).lines().collect()
}

/// An agent with these permissions of github.
fn bot(permissions: &[&str], more: &str) -> String {
    let all: Vec<String> = permissions.iter().map(|one| format!("{{service: github, {one}}}")).collect();
    format!("agents: {{bot: {{permissions: [{}]{more}}}}}", all.join(", "))
}

const REPO: &str = "resources: ['repo:o/r']";

#[test]
fn one_change_is_one_line() {
    let create = format!("actions: [pulls/create], {REPO}");
    let with = |more: &str| bot(&[&format!("{create}, conditions: {more}")], "");
    let plain = bot(&[&create], "");
    let read = |resources: &str| bot(&[&format!("actions: [read], resources: {resources}")], "");
    for (old, new, expected) in [
        (plain.clone(), plain.clone(), vec![]),
        (
            plain.clone(),
            bot(&[&create, &format!("actions: [pulls/merge], {REPO}, conditions: {{approval: required}}")], ""),
            vec!["bot may now: pulls/merge of github on repo:o/r (asks)"],
        ),
        (plain.clone(), bot(&[], ""), vec!["bot may no longer: pulls/create of github on repo:o/r"]),
        (
            with("{limit: 5/hour}"),
            with("{limit: 10/hour}"),
            vec!["bot changed: pulls/create of github on repo:o/r: limit 5/hour -> limit 10/hour"],
        ),
        (
            plain.clone(),
            with("{hours: '09:00-17:00', approval: once-per-session}"),
            vec![
                "bot changed: pulls/create of github on repo:o/r: no condition -> hours 09:00-17:00; no condition -> asks once in a session",
            ],
        ),
        (
            with("{approval: required}"),
            with("{approval: required, approval_timeout: 60s, approvers: {of: [ada]}}"),
            vec!["bot changed: pulls/create of github on repo:o/r: asks -> asks ada for 60 s"],
        ),
        (
            plain.clone(),
            bot(&[&create], ", denied_actions: [create_pr]"),
            vec!["bot may no longer: pulls/create of github on repo:o/r"],
        ),
        (bot(&[], ""), read("['*']"), vec!["bot may now: read of github on any resource"]),
        (read("['repo:o/r']"), read("['repo:o/*']"), vec!["bot may now: read of github on repo:o/* but repo:o/r"]),
        (
            read("['repo:o/r', 'branch:o/r@agent/*']"),
            read("['repo:o/*', 'branch:o/r@agent/*']"),
            vec!["bot may now: read of github on repo:o/* but repo:o/r"],
        ),
        (
            read("['branch:o/r@agent/*']"),
            read("['repo:o/*', 'repo:o/r']"),
            vec!["bot may now: read of github on repo:o/* but branch:o/r@agent/*"],
        ),
        (
            read("['repo:o/*']"),
            read("['repo:*/r']"),
            vec![
                "bot may now: read of github on repo:*/r but repo:o/*",
                "bot may no longer: read of github on repo:o/* but repo:*/r",
            ],
        ),
        (read("['*']"), read("['repo:o/r']"), vec!["bot may no longer: read of github on any resource but repo:o/r"]),
        (
            read("['repo:o/r']"),
            read("['branch:o/r@agent/*']"),
            vec!["bot may no longer: read of github on repo:o/r but branch:o/r@agent/*"],
        ),
        (
            bot(&[], ""),
            bot(&["methods: [POST], endpoints: [/repos]"], ""),
            vec!["bot may now: * of github on any resource by POST under /repos"],
        ),
    ] {
        let old = if old.is_empty() { plain.clone() } else { old };
        assert_eq!(lines(&old, &new), expected, "{old}\n{new}");
    }
}

#[test]
fn endpoints_that_begin_like_one_another_are_apart() {
    let with = |endpoints: &str| bot(&[&format!("methods: [GET], endpoints: {endpoints}")], "");
    for (old, new, expected) in [
        ("[/a]", "[/a, /any-other-path]", "bot may now: * of github on any resource by GET under /any-other-path"),
        ("[/a]", "[/a, /ab]", "bot may now: * of github on any resource by GET under /ab"),
        ("[/a/b]", "[/a]", "bot may now: * of github on any resource by GET under /a"),
        ("[/a]", "[/]", "bot may now: * of github on any resource by GET elsewhere"),
    ] {
        assert_eq!(lines(&with(old), &with(new)), [expected]);
    }
}

#[test]
fn a_counter_that_is_shared_otherwise_is_a_change() {
    let limited = |actions: &str| format!("actions: [{actions}], {REPO}, conditions: {{limit: 5/hour}}");
    let together = bot(&[&limited("pulls/create, issues/create")], "");
    let apart = bot(&[&limited("pulls/create"), &limited("issues/create")], "");
    let said = lines(&together, &apart);
    assert!(
        !said.is_empty() && said.iter().all(|line| line.contains("limit 5/hour is counted over other actions")),
        "{said:?}"
    );
}

#[test]
fn agents_settings_hosts_and_the_guarded_policy() {
    let both = "agents: {a: {permissions: []}, b: {permissions: []}}";
    let all = "agents: {a: {permissions: []}, b: {permissions: []}, '*': {permissions: [{service: stripe, actions: [charges/list], resources: ['*']}]}}";
    assert_eq!(lines(both, all), ["any agent may now: charges/list of stripe on any resource"]);
    let two = "agents: {a: {permissions: [{service: stripe, actions: [charges/list], resources: ['*']}]}, b: {permissions: [{service: stripe, actions: [charges/list], resources: ['*']}]}}";
    assert_eq!(lines(both, two), ["a, b may now: charges/list of stripe on any resource"]);
    let said = lines(both, &format!("mode: observe\negress: open\nprofiles: [packages]\n{both}"));
    for part in [
        "mode: enforce -> observe",
        "egress: closed -> open",
        "any agent may now: requests to any host that no service knows",
    ] {
        assert!(said.iter().any(|line| line == part), "{part} is not among {said:#?}");
    }
    let said = lines("agents: {}", both);
    assert_eq!(said.first().map(String::as_str), Some("policy: guarded -> of agents"));
    assert!(said.iter().any(|line| line.contains("may no longer: read of github on any resource")), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("(was: asks beyond 30/hour)")), "{said:#?}");
}

#[test]
fn credentials_are_conditions_too() {
    let with = |credential: &str| {
        format!(
            "credentials: {{one: {{service: github}}, two: {{service: github}}}}\nagents: {{bot: {{permissions: [{{service: github, credential: {credential}, actions: [repos/get], resources: ['*']}}]}}}}"
        )
    };
    assert_eq!(
        lines(&with("one"), &with("two")),
        ["bot changed: repos/get of github on any resource: credential one -> two"]
    );
}

#[test]
fn one_agent_alone() {
    let old = "agents: {a: {permissions: []}, b: {permissions: []}}";
    let new = "agents: {a: {permissions: [{service: stripe, actions: [spend], resources: ['*']}]}, b: {permissions: [{service: stripe, actions: [read], resources: ['*']}]}}";
    let said: Vec<String> = between(&rules(old), &rules(new), Some("b")).lines().collect();
    assert_eq!(said, ["b may now: read of stripe on any resource"]);
}

#[test]
fn patterns_that_meet_in_too_many_ways_are_said_to() {
    let many: Vec<String> = (0..18).map(|at| format!("'repo:*{}*{at}*'", char::from(b'a' + at))).collect();
    let text = bot(&[&format!("actions: [read], resources: [{}]", many.join(", "))], "");
    let (rules, words) = (rules(&text), vocabulary());
    let side = Policy { rules: &rules, words: &words };
    let error = compare(side, side, None).expect_err("too many").to_string();
    assert!(
        error.starts_with("the patterns of any-other-agent for github") || error.contains("of bot for github"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_is_itself(policy in crate::properties::policy()) {
        prop_assert!(between(&rules(&policy), &rules(&policy), None).is_same());
    }

    /// Every example is decided as the difference says, by the engine that decides requests.
    #[test]
    fn examples_are_decided_so(old in crate::properties::policy(), new in crate::properties::policy()) {
        let (old, new) = (rules(&old), rules(&new));
        for one in between(&old, &new, Some("a")).differences {
            if one.was.ways.iter().chain(&one.becomes.ways).any(|way| !way.applies.is_empty()) {
                continue;
            }
            // A form of an action that others have too is not what `ask` asks for.
            let form = |id: &str| one.actions.iter().any(|word| word.starts_with(&format!("{id} (")));
            let asking = match &one.service {
                Some(service) => match one.ids.iter().find(|id| id.as_str() != "http/get" && !form(id)) {
                    Some(id) => ask("a", service, id, &one.example),
                    None => continue,
                },
                None => stranger("a", &one.example, http::Method::POST),
            };
            let said = [&old, &new].map(|rules| asking.passes(rules));
            prop_assert_eq!(said, [one.change != Change::MayNow, one.change != Change::MayNoLonger], "{}", one.words());
        }
    }

    /// A request that is decided otherwise is an action that is told.
    #[test]
    fn what_differs_is_told(
        old in crate::properties::policy(),
        new in crate::properties::policy(),
        asked in proptest::collection::vec(crate::properties::question(), 8),
    ) {
        let (old, new) = (rules(&old), rules(&new));
        let told = between(&old, &new, None);
        for asking in asked {
            let said = [&old, &new].map(|rules| {
                let mut said = asking.explained(rules);
                said.rules.clear();
                said.conditions.iter_mut().filter_map(|one| one.as_object_mut()).for_each(|one| ["rule", "reason"].iter().for_each(|key| drop(one.remove(*key))));
                said.conditions.sort_by_key(ToString::to_string);
                said.conditions.dedup();
                (said.decision, said.conditions)
            });
            let [was, becomes] = said;
            let action = asking.classification.calls.first().expect("a call").action.to_string();
            if was != becomes {
                prop_assert!(told.differences.iter().any(|one| one.ids.contains(&action)), "{action}: {was:?} {becomes:?}");
            }
        }
    }
}
