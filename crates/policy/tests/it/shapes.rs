//! The three foreign forms load as they are, and say what they mean.

use model::{Code, Fact, Timestamp};
use policy::limit::{Reached, Taken, admit};
use policy::{Document, Rules};

use crate::support::{ask, show, vocabulary};

fn load(text: &str) -> (Rules, Vec<String>) {
    let (document, notes) = Document::parse(text, "p.json").unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let rules = Rules::compile(&document, &vocabulary()).unwrap_or_else(|problems| panic!("{}", show(&problems)));
    (rules, notes.iter().map(ToString::to_string).collect())
}

const ONE_AGENT: &str = r#"{
  "agent": "refactoring-bot",
  "permissions": [
    {
      "service": "github",
      "actions": ["create_pr", "add_comment"],
      "resources": ["repo:myorg/myrepo"],
      "conditions": { "max_prs_per_hour": 5, "require_approval": false }
    }
  ],
  "denied_actions": ["delete_repo", "add_collaborator"]
}"#;

#[test]
fn one_agent_per_document() {
    let (rules, notes) = load(ONE_AGENT);
    insta::assert_snapshot!(notes.join("\n"));
    let refusal = ask("refactoring-bot", "github", "repos/delete", "repo:myorg/myrepo").denied(&rules);
    assert_eq!((refusal.public.as_str(), refusal.code), ("Action delete_repo is denied", Code::Denied));
    // Five allowed and the sixth 429.
    let mut taken = Vec::new();
    for second in 0..6 {
        let mut asking = ask("refactoring-bot", "github", "pulls/create", "repo:myorg/myrepo");
        asking.now = Timestamp(asking.now.0 + second * 1_000_000);
        let allowed = asking.allowed(&rules);
        let need = allowed.limits().first().expect("a limit");
        let outcome = admit(need, &taken, asking.now);
        assert_eq!(outcome.is_ok(), second < 5, "{second}");
        match outcome {
            Ok(()) => taken.push(Taken { at: asking.now, amount: need.amount }),
            Err(Reached { retry_after_seconds, .. }) => assert_eq!(retry_after_seconds, Some(3_595)),
        }
    }
    assert_eq!(Code::LimitReached.status(), 429);
}

const BROKER: &str = r"
policies:
  - name: reviewer
    credentials:
      - service: github
        max_scope: write
        require_approval: true
        approval_timeout: 120
        max_ttl: 1h
      - service: stripe
        max_scope: charges:read
";

#[test]
fn broker_document() {
    let (rules, notes) = load(BROKER);
    insta::assert_snapshot!(notes.join("\n"));
    let asking = || ask("reviewer", "github", "pulls/create", "repo:o/r");
    let allowed = asking().allowed(&rules);
    assert!(allowed.approval().is_some_and(|need| need.timeout_seconds == 120));
    assert!(ask("reviewer", "github", "repos/get", "repo:o/r").passes(&rules));
    assert!(!ask("reviewer", "github", "repos/delete", "repo:o/r").passes(&rules));
    assert!(!ask("reviewer", "github", "repos/add-collaborator", "repo:o/r").passes(&rules));
    assert!(!asking().at("2026-11-20T13:00:00Z").passes(&rules), "an hour after the session's start it is over");
    assert!(ask("reviewer", "stripe", "charges/list", "account:x").passes(&rules));
    assert!(!ask("reviewer", "stripe", "charges/create", "account:x").passes(&rules));
}

#[test]
fn constraint_document() {
    let text =
        r#"{"methods": ["POST"], "endpoints": ["/charges"], "rate_limit": "10_calls_per_minute", "max_amount": 5000}"#;
    let (rules, notes) = load(text);
    insta::assert_snapshot!(notes.join("\n"));
    let charge = |amount| {
        ask("anyone", "stripe", "charges/create", "account:x")
            .raw(http::Method::POST, "/charges")
            .fact("body.amount", Fact::Int(amount))
    };
    let allowed = charge(5_000).allowed(&rules);
    assert_eq!(
        allowed.limits().iter().map(|need| (need.max, need.period_micros)).collect::<Vec<_>>(),
        [(10, 60_000_000)]
    );
    assert!(!charge(5_001).passes(&rules));
    assert!(!charge(1).raw(http::Method::GET, "/charges").passes(&rules));
    assert!(!charge(1).raw(http::Method::POST, "/refunds").passes(&rules));
}

#[test]
fn foreign_documents_are_strict_too() {
    for (text, expected) in [
        (r#"{"agent": "a", "permisions": []}"#, "f.yaml:1:16: unknown key `permisions`; did you mean `permissions`?"),
        (
            r#"{"policies": [{"name": "a", "credentials": [{"service": "github", "max_scop": "read"}]}]}"#,
            "f.yaml:1:67: unknown key `max_scop`; did you mean `max_scope`?",
        ),
        (
            r#"{"methods": ["GET"], "rate_limit": "10"}"#,
            "f.yaml:1:36: `10` is not a limit such as `5/hour`, `10_calls_per_minute` or `{sum: body.amount, max: 10000, per: day}`",
        ),
        (
            r#"{"agent": "a", "permissions": [{"service": "github", "actions": ["create_pull"], "resources": ["*"]}]}"#,
            "f.yaml:1:66: unknown action `create_pull` of service `github`; did you mean `create_pr`?",
        ),
    ] {
        let found = crate::support::complaints(text);
        assert!(found.iter().any(|line| line == expected), "{text}\n{}", found.join("\n"));
    }
}
