//! The least permissions for what was done: what they say, and that they load and let it through.

use model::{Call, Timestamp};
use policy::suggest::{Suggestion, Used, suggest};

use crate::support::{ask, call, rules, vocabulary};

/// Calls, one a minute: service, action, resource.
fn calls(rows: &[(&str, &str, &str)]) -> Vec<(String, Call)> {
    rows.iter().map(|(service, action, resource)| ((*service).to_owned(), call(service, action, resource))).collect()
}

fn of(calls: &[(String, Call)], change: impl Fn(usize, &mut Used<'_>)) -> Suggestion {
    let mut used: Vec<Used<'_>> = calls
        .iter()
        .enumerate()
        .map(|(at, (service, call))| Used {
            service,
            credential: Some("token"),
            call,
            at: Timestamp::from_secs(at as i64 * 60),
            asked: false,
            denied: false,
        })
        .collect();
    used.iter_mut().enumerate().for_each(|(at, one)| change(at, one));
    suggest(&vocabulary(), &used)
}

fn flows(suggestion: &Suggestion) -> Vec<String> {
    suggestion.permissions.iter().map(policy::suggest::Suggested::flow).collect()
}

#[test]
fn what_was_done_is_said_in_few_words() {
    let push = |at: usize| ["branch:o/r@agent/a", "branch:o/r@agent/b", "branch:o/r@agent/c"][at];
    for (rows, expected) in [
        (
            vec![("github", "repos/get", "repo:o/r"), ("github", "repos/get", "repo:o/x")],
            vec![r#"{service: github, credential: token, actions: [repos/get], resources: ["repo:o/r", "repo:o/x"]}"#],
        ),
        (
            vec![
                ("github", "pulls/create", "repo:o/r"),
                ("github", "issues/create", "repo:o/r"),
                ("github", "issues/create", "repo:o/r"),
            ],
            vec![
                r#"{service: github, credential: token, actions: [issues/create, pulls/create], resources: ["repo:o/r"], conditions: { limit: 5/hour }}"#,
            ],
        ),
        (
            (0..3).map(|at| ("github", "git/push", push(at))).collect(),
            vec![
                r#"{service: github, credential: token, actions: [git/push], resources: ["branch:o/r@agent/*"], conditions: { limit: 5/hour }}"#,
            ],
        ),
        (
            vec![("github", "repos/add-collaborator", "repo:o/r"), ("github", "gists/create", "user:@me")],
            vec![
                r#"{service: github, credential: token, actions: [gists/create], resources: ["user:@me"], conditions: { limit: 2/hour, approval: required }}"#,
                r#"{service: github, credential: token, actions: [repos/add-collaborator], resources: ["repo:o/r"], conditions: { limit: 2/hour, approval: required }}"#,
            ],
        ),
        (
            vec![("github", "http/get", "resource:/v1/a"), ("github", "http/get", "resource:/v1/b")],
            vec![r#"{service: github, credential: token, methods: [GET], endpoints: ["/v1/a", "/v1/b"]}"#],
        ),
        (
            vec![("github", "http/get", "resource:/")],
            vec![r#"{service: github, credential: token, actions: [http/get], resources: ["*"]}"#],
        ),
    ] {
        let rows = calls(&rows);
        let suggestion = of(&rows, |_, _| {});
        assert_eq!(flows(&suggestion), expected);
        // It loads, and lets through what it rests on.
        let text: String = suggestion.permissions.iter().map(|one| one.yaml(6)).collect();
        let rules = rules(&format!("agents:\n  bot:\n    permissions:\n{text}"));
        for (service, call) in &rows {
            let path = call.resource.rest().to_owned();
            let asking = ask("bot", service, call.action.as_str(), call.resource.as_str());
            let method = call.action.as_str().strip_prefix("http/").unwrap_or("post").to_uppercase();
            let asking =
                if path.starts_with('/') { asking.raw(method.parse().expect("a method"), &path) } else { asking };
            assert!(asking.passes(&rules), "{call:?}\n{text}");
        }
    }
}

#[test]
fn what_asked_asks_and_what_was_denied_is_marked() {
    let rows = calls(&[
        ("github", "pulls/create", "repo:o/r"),
        ("github", "pulls/create", "repo:o/x"),
        ("github", "pulls/merge", "repo:o/r"),
        ("github", "repos/delete", "repo:o/r"),
        ("github", "pulls/create", "repo:o/x"),
    ]);
    let suggestion = of(&rows, |at, one| {
        one.asked = at == 0;
        one.denied = at >= 3;
        one.credential = one.credential.filter(|_| !one.denied);
    });
    assert_eq!(
        flows(&suggestion),
        [
            r#"{service: github, credential: token, actions: [pulls/create], resources: ["repo:o/x"], conditions: { limit: 2/hour }}"#,
            r#"{service: github, credential: token, actions: [pulls/create], resources: ["repo:o/r"], conditions: { limit: 2/hour, approval: required }}"#,
            r#"{service: github, credential: token, actions: [pulls/merge], resources: ["repo:o/r"], conditions: { limit: 2/hour }}"#,
            r#"{service: github, credential: token, actions: [repos/delete], resources: ["repo:o/r"], conditions: { limit: 2/hour }}"#,
        ],
        "what passed once is covered by what passed"
    );
    let marked: Vec<bool> = suggestion.permissions.iter().map(|one| one.yaml(0).contains("# was denied")).collect();
    assert_eq!(marked, [false, false, false, true]);
}

#[test]
fn what_no_permission_can_name_is_counted() {
    let mut rows = calls(&[
        ("github", "repos/get", "repo:o/*"),
        ("github", "repos/get", "repo:o/r"),
        ("github", "repos/get", "repo:o/r"),
    ]);
    rows[1].0 = "elsewhere".to_owned();
    let suggestion = of(&rows, |at, one| one.credential = Some(if at == 0 { "token" } else { "other" }));
    assert_eq!(suggestion.left_out.values().sum::<u64>(), 2, "{suggestion:?}");
    assert!(!flows(&suggestion).iter().any(|line| line.contains('*')), "a name is never taken for a pattern");
}

#[test]
fn a_name_is_never_more_than_a_name() {
    let evil = "repo:o/\"]}\n      - {service: stripe, actions: [spend], resources: [\"x";
    let rows = calls(&[("github", "repos/get", evil)]);
    let suggestion = of(&rows, |_, _| {});
    let text: String = suggestion.permissions.iter().map(|one| one.yaml(6)).collect();
    let rules = rules(&format!("agents:\n  bot:\n    permissions:\n{text}"));
    assert!(!ask("bot", "stripe", "charges/create", "account:x").passes(&rules));
    assert_eq!(rules.cedar().matches("permit (").count(), 1);
}
