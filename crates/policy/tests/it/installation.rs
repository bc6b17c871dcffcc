//! What installation tokens of a GitHub App must be able to do, from what agents may do.

use std::collections::BTreeMap;

use model::vocabulary::{ActionWords, ServiceWords, Vocabulary};
use model::{Class, CredentialName, Effects};
use policy::{Document, Installation, NoInstallation, installation};
use serde_json::{Value, json};

fn words() -> Vocabulary {
    let action = |(id, class): (&str, Class)| {
        let words = ActionWords {
            class,
            effects: Effects::NONE,
            facts: BTreeMap::new(),
            resource: "repo".to_owned(),
            implied_by: Vec::new(),
            forms: Vec::new(),
        };
        (id.to_owned(), words)
    };
    let ids = [
        ("git/push", Class::Write),
        ("git/fetch", Class::Read),
        ("pulls/create", Class::Write),
        ("pulls/get", Class::Read),
        ("issues/get", Class::Read),
        ("issues/create-comment", Class::Write),
        ("actions/create-workflow-dispatch", Class::Write),
        ("repos/transfer", Class::Admin),
        ("graphql/run-query", Class::Read),
    ];
    let service = ServiceWords {
        actions: ids.into_iter().map(action).collect(),
        aliases: BTreeMap::from([("create_pr".to_owned(), vec!["pulls/create".to_owned()])]),
        ..ServiceWords::default()
    };
    Vocabulary { services: BTreeMap::from([("github".to_owned(), service)]) }
}

fn made(app: &str, permissions: &[&str]) -> Result<Installation, NoInstallation> {
    let permissions = permissions.join(", ");
    let text = format!(
        "version: 1\ncredentials:\n  app: {{ service: github, issue: {{ github_app: {{ app_id: 1, {app} }} }} }}\n  other: {{ service: github }}\n\
         agents:\n  bot:\n    permissions: [{permissions}]\n"
    );
    let (document, _) = Document::parse(&text, "test.yaml").expect("a document");
    installation(&document, &words(), "bot", &CredentialName::new("app").expect("a name"))
}

fn permission(actions: &str, resources: &str) -> String {
    format!("{{service: github, credential: app, actions: {actions}, resources: {resources}}}")
}

#[test]
fn repositories_are_those_of_the_resources() {
    let names = |count: usize| (0..count).map(|n| format!("\"repo:acme/r{n}\"")).collect::<Vec<_>>().join(", ");
    for (resources, wanted, says) in [
        (r#""repo:Acme/Widget""#.to_owned(), json!(["widget"]), ""),
        (r#""branch:acme/b@agent/*", "tag:acme/t@v1", "repo:acme/b""#.to_owned(), json!(["b", "t"]), ""),
        (r#""repo:acme/a", "user:@me", "gist:x""#.to_owned(), json!(["a"]), ""),
        (r#""repo:acme/a", "team:acme/ops""#.to_owned(), json!(["a"]), ""),
        (r#""repo:acme/*""#.to_owned(), Value::Null, "for `repo:acme/*`"),
        (r#""repo:acme/a", "org:acme""#.to_owned(), Value::Null, "for `org:acme`"),
        (r#""repo:acme/a", "repo:acme/w-*""#.to_owned(), Value::Null, "for `repo:acme/w-*`"),
        (r#""*""#.to_owned(), Value::Null, "for `*`"),
        (r#""repo:*""#.to_owned(), Value::Null, "for `repo:*`"),
        (r#""repo:1234""#.to_owned(), Value::Null, "for `repo:1234`"),
        (r#""node:R_1""#.to_owned(), Value::Null, "for `node:R_1`"),
        (names(500), json!(500), ""),
        (names(501), Value::Null, "501 are more"),
    ] {
        let Installation { text, wide } =
            made("installation_id: 2", &[&permission("[git/fetch]", &format!("[{resources}]"))]).expect(&resources);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        match wanted.as_u64() {
            Some(count) => assert_eq!(value["repositories"].as_array().map(|all| all.len() as u64), Some(count)),
            None => assert_eq!(value["repositories"], wanted, "{resources}"),
        }
        assert_eq!(wide.is_empty(), says.is_empty(), "{resources}: {wide:?}");
        assert!(wide.join("\n").contains(says), "{resources}: {wide:?}");
    }
}

#[test]
fn permissions_are_those_of_the_actions() {
    for (actions, wanted, says) in [
        ("[git/fetch]", json!({ "contents": "read" }), ""),
        ("[git/push]", json!({ "contents": "write", "workflows": "write" }), ""),
        ("[pulls/get, issues/get]", json!({ "contents": "read", "issues": "read", "pull_requests": "read" }), ""),
        ("[create_pr]", json!({ "contents": "read", "pull_requests": "write" }), ""),
        ("[pulls/get, pulls/create]", json!({ "contents": "read", "pull_requests": "write" }), ""),
        ("[actions/create-workflow-dispatch]", json!({ "actions": "write" }), ""),
        // Whole, and said so.
        ("[git/fetch, repos/transfer]", Value::Null, "which ones `repos/transfer` needs"),
        ("[graphql/run-query]", Value::Null, "which ones `graphql/run-query` needs"),
        ("[read]", Value::Null, "which ones `read` needs"),
        ("[\"*\"]", Value::Null, "which ones `*` needs"),
        ("[\"effect:exfil\", write]", Value::Null, "`effect:exfil` and 1 more needs"),
    ] {
        let Installation { text, wide } =
            made("installation_id: 2", &[&permission(actions, r#"["repo:acme/a"]"#)]).expect(actions);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["permissions"], wanted, "{actions}");
        assert_eq!((&value["owner"], &value["repositories"]), (&json!("acme"), &json!(["a"])), "{actions}");
        assert_eq!(wide.is_empty(), says.is_empty(), "{actions}: {wide:?}");
        assert!(wide.join("\n").contains(says), "{actions}: {wide:?}");
    }
    let raw = "{service: github, credential: app, methods: [GET], endpoints: [/repos]}";
    let Installation { text, wide } = made("installation_id: 2", &[raw]).expect("made");
    assert_eq!((text.as_str(), wide.len()), ("{}", 2), "{wide:?}");
}

#[test]
fn several_permissions_add_up_and_others_do_not_count() {
    let made = made(
        "owner: Acme",
        &[
            &permission("[git/fetch]", r#"["repo:acme/a"]"#),
            &permission("[issues/create-comment]", r#"["repo:acme/b"]"#),
            r#"{service: github, credential: other, actions: ["*"], resources: ["*"]}"#,
            r#"{service: slack, credential: app, actions: ["*"], resources: ["*"]}"#,
        ],
    );
    let made = made.expect("made");
    let wanted = json!({
        "owner": "acme", "repositories": ["a", "b"],
        "permissions": { "contents": "read", "issues": "write", "pull_requests": "write" },
    });
    assert_eq!(serde_json::from_str::<Value>(&made.text).expect("JSON"), wanted);
    assert!(made.wide.is_empty(), "{:?}", made.wide);
}

#[test]
fn an_installation_is_on_one_account() {
    let two = permission("[git/fetch]", r#"["repo:acme/a", "repo:other/b"]"#);
    let owners = NoInstallation::Owners { one: "acme".to_owned(), other: "other".to_owned() };
    assert_eq!(made("installation_id: 2", &[&two]), Err(owners.clone()));
    let one = permission("[git/fetch]", r#"["repo:other/b"]"#);
    assert_eq!(made("owner: acme", &[&one]), Err(owners));
    assert!(made("owner: other", &[&one]).is_ok());
    assert_eq!(made("owner: acme", &[]), Err(NoInstallation::Nothing));
}
