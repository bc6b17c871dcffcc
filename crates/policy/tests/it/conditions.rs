//! Golden cases for each condition.

use model::{Fact, Timestamp, Unknown, UserName};
use policy::limit::Over;

use crate::support::{Asking, ask, asking, call, rules};

fn with(conditions: &str) -> policy::Rules {
    rules(&format!(
        "agents:\n  a:\n    permissions:\n      - {{service: github, actions: [pulls/create], resources: ['*'], conditions: {conditions}}}"
    ))
}

fn pull() -> Asking {
    ask("a", "github", "pulls/create", "repo:o/r")
}

#[test]
fn task() {
    let rules = with("{task: ['fix-*', 'docs']}");
    for (task, expected) in [("fix-1", true), ("docs", true), ("docs2", false), ("unfix-1", false)] {
        assert_eq!(pull().task(task).passes(&rules), expected, "{task}");
    }
    assert!(!pull().passes(&rules));
}

#[test]
fn hours() {
    let rules = with("{hours: 'mon-fri 09:00-17:00'}");
    for (time, expected) in [
        ("2026-11-20T12:00:00Z", true),
        ("2026-11-20T17:00:00Z", false),
        ("2026-11-21T12:00:00Z", false),
        ("2026-11-20T12:00:00Z", true),
    ] {
        assert_eq!(pull().at(time).passes(&rules), expected, "{time}");
    }
}

#[test]
fn source() {
    let rules = with("{source: [10.0.0.0/8, '::1']}");
    for (address, expected) in [("10.9.8.7", true), ("127.0.0.1", false), ("::1", true)] {
        let mut asking = pull();
        asking.subject.source = address.parse().expect("an address");
        assert_eq!(asking.passes(&rules), expected, "{address}");
    }
}

#[test]
fn user_and_role() {
    let by = |user: Option<&str>, roles: &[&str]| {
        let mut asking = pull();
        asking.subject.user = user.map(|user| UserName::new(user).expect("a name"));
        asking.subject.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        asking
    };
    let users = with("{user: [ada, bob@corp.test]}");
    assert!(by(Some("ada"), &[]).passes(&users));
    assert!(by(Some("bob@corp.test"), &[]).passes(&users));
    assert!(!by(Some("eve"), &[]).passes(&users));
    assert!(!by(None, &["ada"]).passes(&users));
    let roles = with("{role: [lead, admin]}");
    assert!(by(None, &["dev", "lead"]).passes(&roles));
    assert!(!by(Some("lead"), &["dev"]).passes(&roles));
    assert!(!by(None, &[]).passes(&roles));
}

#[test]
fn expires() {
    for (expires, now, expected) in [
        ("2026-11-20T12:00:01Z", "2026-11-20T12:00:00Z", true),
        ("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z", false),
        ("2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00Z", false),
        ("2026-11-21", "2026-11-20T23:59:59Z", true),
        // The session began at 11:59.
        ("2m", "2026-11-20T12:00:00Z", true),
        ("1m", "2026-11-20T12:00:00Z", false),
    ] {
        assert_eq!(pull().at(now).passes(&with(&format!("{{expires: '{expires}'}}"))), expected, "{expires} at {now}");
    }
}

#[test]
fn when() {
    let rules = with(r#"{when: 'context.facts has "body.draft" && context.facts["body.draft"]'}"#);
    assert!(pull().fact("body.draft", Fact::Bool(true)).passes(&rules));
    assert!(!pull().fact("body.draft", Fact::Bool(false)).passes(&rules));
    assert!(!pull().passes(&rules));
    assert!(!pull().fact("body.draft", Fact::Unknown(Unknown::Encoded)).passes(&rules));
    let cases = [
        "true) }; permit(principal, action, resource); //",
        "}",
        "context.facts[",
        "permit(principal,action,resource);",
    ];
    for text in cases {
        let text = format!(
            "agents: {{a: {{permissions: [{{service: github, actions: [read], resources: ['*'], conditions: {{when: '{text}'}}}}]}}}}"
        );
        assert!(!crate::support::complaints(&text).is_empty(), "{text}");
    }
}

fn charges(conditions: &str) -> policy::Rules {
    rules(&format!(
        "agents:\n  a:\n    permissions:\n      - {{service: stripe, actions: [spend, read], resources: ['*'], conditions: {conditions}}}"
    ))
}

fn charge() -> Asking {
    ask("a", "stripe", "charges/create", "account:x")
}

#[test]
fn max() {
    for conditions in ["{max: {body.amount: 5000}}", "{max: {amount: 5000}}", "{max_amount: 5000}"] {
        let rules = charges(conditions);
        assert!(charge().fact("body.amount", Fact::Int(5_000)).passes(&rules));
        let refusal = charge().fact("body.amount", Fact::Int(5_001)).denied(&rules);
        assert!(refusal.public.contains("body.amount of 5001 is over 5000"), "{refusal:?}");
        assert_eq!(refusal.rule.as_deref(), Some("a/1"));
        for fact in [
            Fact::Unknown(Unknown::TooLarge),
            Fact::Unknown(Unknown::NotRead),
            Fact::Text("5".into()),
            Fact::Int(-1),
            Fact::Bool(true),
        ] {
            assert!(!charge().fact("body.amount", fact.clone()).passes(&rules), "{fact:?}");
        }
        assert!(!charge().passes(&rules), "a refund without an amount is a full refund");
        assert!(ask("a", "stripe", "charges/list", "account:x").passes(&rules), "a list has no amount");
    }
}

#[test]
fn unknown_paths_have_unknown_facts() {
    let rules =
        rules("agents: {a: {permissions: [{service: stripe, methods: [GET, POST], endpoints: [/], max_amount: 5}]}}");
    assert!(ask("a", "stripe", "http/get", "account:x").raw(http::Method::GET, "/x").passes(&rules));
    assert!(!ask("a", "stripe", "http/post", "account:x").raw(http::Method::POST, "/x").passes(&rules));
}

#[test]
fn limits_read_alike() {
    for conditions in [
        "{limit: 5/hour}",
        "{limit: {max: 5, per: hour}}",
        "{limit: [5/hour]}",
        "{rate_limit: 5_calls_per_hour}",
        "{max_prs_per_hour: 5}",
    ] {
        let allowed = pull().allowed(&with(conditions));
        let [need] = allowed.limits() else { panic!("{conditions}: {allowed:?}") };
        assert_eq!((need.amount, need.max, need.period_micros), (1, 5, 3_600_000_000), "{conditions}");
        assert_eq!((need.label.as_str(), need.rule.as_str(), need.over), ("5/hour", "a/1", Over::Refuse));
    }
}

#[test]
fn sums_take_the_fact() {
    let rules = charges("{limit: [{sum: body.amount, max: 10000, per: day}, 10/minute]}");
    let allowed = charge().fact("body.amount", Fact::Int(250)).allowed(&rules);
    let amounts: Vec<(u64, u64)> = allowed.limits().iter().map(|need| (need.amount, need.max)).collect();
    assert_eq!(amounts, [(250, 10_000), (1, 10)]);
    assert!(!charge().passes(&rules));
    let listed = ask("a", "stripe", "charges/list", "account:x").allowed(&rules);
    assert_eq!(listed.limits().len(), 1, "a list sums nothing");
    let mut two = asking(
        "a",
        Some("stripe"),
        vec![call("stripe", "charges/create", "account:x"), call("stripe", "refunds/create", "account:x")],
    );
    two = two.fact("body.amount", Fact::Int(100));
    assert_eq!(two.allowed(&rules).limits().iter().map(|need| need.amount).collect::<Vec<_>>(), [200, 2]);
}

#[test]
fn counters_outlive_edits_of_other_rules() {
    let key = |text: &str| {
        let rules = rules(text);
        pull().allowed(&rules).limits().iter().map(|need| need.key.clone()).collect::<Vec<_>>()
    };
    let rule = |limit: &str| {
        format!("{{service: github, actions: [pulls/create], resources: ['*'], conditions: {{limit: {limit}}}}}")
    };
    let alone = key(&format!("agents: {{a: {{permissions: [{}]}}}}", rule("5/hour")));
    let later = key(&format!(
        "agents: {{a: {{permissions: [{{service: stripe, actions: [read], resources: ['*']}}, {}]}}}}",
        rule("9/hour")
    ));
    assert_eq!(alone, later);
    assert_ne!(alone, key(&format!("agents: {{a: {{permissions: [{}]}}}}", rule("5/day"))));
}

#[test]
fn the_strictest_of_all_applying_permissions_holds() {
    let rules = rules(
        r#"
operators: [{name: ada}, {name: bob}, {name: eve}]
agents:
  a:
    permissions:
      - {service: github, actions: [pulls/create], resources: ["*"], conditions: {limit: 100/hour}}
      - {service: github, actions: [write], resources: ["org:o"], conditions: {approval: once-per-session, approval_timeout: 10m, approvers: {of: [ada, bob]}}}
      - {service: github, actions: [pulls/create], resources: ["repo:o/r"], conditions: {limit: 5/hour, approval: required, approval_timeout: 60s, approvers: {of: [bob, eve]}}}
"#,
    );
    let allowed = pull().allowed(&rules);
    assert_eq!(allowed.limits().iter().map(|need| need.max).collect::<Vec<_>>(), [100, 5]);
    let need = allowed.approval().expect("it asks");
    assert!(!need.once_per_session);
    assert_eq!((need.timeout_seconds, need.of.as_slice(), need.rule.as_str()), (60, &["bob".to_owned()][..], "a/2"));
    let elsewhere = ask("a", "github", "pulls/create", "repo:o/other").allowed(&rules);
    assert!(elsewhere.approval().is_some_and(|need| need.once_per_session));
    assert!(ask("a", "github", "pulls/create", "repo:p/x").allowed(&rules).approval().is_none());
}

#[test]
fn approvals() {
    let allowed = pull().allowed(&with("{approval: required, approval_timeout: 60s}"));
    let need = allowed.approval().expect("it asks").clone();
    assert_eq!((need.timeout_seconds, need.count, need.rule.as_str()), (60, 1, "a/1"));
    let mut other = pull();
    other.subject.session = model::SessionId::from_bits(8);
    assert_ne!(other.allowed(&with("{approval: required}")).approval().map(|need| need.key.clone()), Some(need.key));
    assert!(pull().allowed(&with("{approval: none}")).approval().is_none());
    assert!(pull().allowed(&with("{require_approval: false}")).approval().is_none());
    assert!(pull().allowed(&with("{require_approval: true}")).approval().is_some());
    assert!(pull().allowed(&with("{approval: once-per-session}")).approval().is_some_and(|need| need.once_per_session));
}

#[test]
fn kept_outcomes_do_not_cross_circumstances() {
    let rules = with("{expires: 2m}");
    let early = pull();
    let mut late = pull();
    late.now = Timestamp(early.now.0 + 600_000_000);
    assert!(early.passes(&rules));
    assert!(!late.passes(&rules));
    assert!(early.passes(&rules));
}
