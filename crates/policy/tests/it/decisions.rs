//! Who may do what.

use model::{Code, Fact, Unknown};
use policy::Decision;

use crate::documents::WHOLE;
use crate::support::{Asking, ask, asking, call, rules, stranger};

const BOT: &str = r#"
credentials:
  gh: {service: github}
agents:
  bot:
    permissions:
      - {service: github, credential: gh, actions: [create_pr, issues/create], resources: ["repo:o/r"]}
      - {service: github, credential: gh, actions: [git/push], resources: ["branch:o/r@agent/*"]}
      - {service: github, credential: gh, actions: [read], resources: ["org:o"]}
    denied_actions: [delete_repo, "effect:escalates"]
  wide:
    permissions:
      - {service: github, credential: gh, actions: ["*", write, delete], resources: ["*"]}
      - {service: stripe, methods: [GET, POST], endpoints: [/charges]}
  named:
    permissions:
      - {service: github, credential: gh, actions: [repos/add-collaborator, gists/create], resources: ["*"]}
      - {service: github, credential: gh, actions: [repos/delete], resources: ["*"], conditions: {approval: none}}
"#;

#[test]
fn default_deny_and_containment() {
    let rules = rules(BOT);
    for (agent, action, resource, expected) in [
        ("bot", "pulls/create", "repo:o/r", true),
        ("bot", "pulls/create", "repo:o/other", false),
        ("bot", "issues/create", "repo:o/r", true),
        ("bot", "pulls/merge", "repo:o/r", false),
        ("bot", "git/push", "branch:o/r@agent/x/y", true),
        ("bot", "git/push", "branch:o/r@main", false),
        ("bot", "git/push", "repo:o/r", false),
        ("bot", "repos/get", "repo:o/anything", true),
        ("bot", "repos/get", "repo:p/anything", false),
        ("bot", "http/get", "repo:o/anything", true),
        ("bot", "http/post", "repo:o/r", false),
        ("bot", "repos/delete", "repo:o/r", false),
        ("nobody", "repos/get", "repo:o/r", false),
        ("wide", "http/delete", "repo:o/r", true),
    ] {
        assert_eq!(ask(agent, "github", action, resource).passes(&rules), expected, "{agent} {action} {resource}");
        // The second answer comes from what was kept, and is the same.
        assert_eq!(ask(agent, "github", action, resource).passes(&rules), expected, "{agent} {action} {resource}");
    }
}

#[test]
fn refusals_speak_the_policys_words() {
    let rules = rules(BOT);
    let refusal = ask("bot", "github", "repos/delete", "repo:o/r").denied(&rules);
    assert_eq!(refusal.public, "Action delete_repo is denied");
    assert_eq!((refusal.code, refusal.rule.as_deref()), (Code::Denied, Some("bot/denied/1")));
    let refusal = ask("bot", "github", "repos/add-collaborator", "repo:o/r").denied(&rules);
    assert_eq!(refusal.public, "Action add_collaborator is denied");
    assert_eq!(refusal.rule.as_deref(), Some("bot/denied/2"));
    let refusal = ask("bot", "github", "pulls/merge", "repo:o/r").denied(&rules);
    assert_eq!(refusal.public, "Action merge_pr is denied");
    assert_eq!(
        refusal.hint.as_deref(),
        Some(
            "no permission covers it; add to `permissions` of bot: {service: github, actions: [merge_pr], resources: [\"repo:o/r\"]}"
        )
    );
    let refusal =
        ask("wide", "stripe", "refunds/create", "account:a").raw(http::Method::PUT, "/refunds").denied(&rules);
    assert_eq!(refusal.public, "Action refunds/create is denied");
    assert!(
        ask("nobody", "github", "repos/get", "repo:o/r")
            .denied(&rules)
            .hint
            .is_some_and(|hint| hint.contains("names no agent nobody"))
    );
}

#[test]
fn classes_raw_rules_and_stars_never_cover_what_asks() {
    let rules = rules(BOT);
    for action in ["repos/add-collaborator", "gists/create"] {
        assert!(!ask("wide", "github", action, "repo:o/r").passes(&rules), "{action}");
        let allowed = ask("named", "github", action, "repo:o/r").allowed(&rules);
        let need = allowed.approval().expect("it asks");
        assert!(need.reason.contains("always asks"), "{}", need.reason);
        assert!(
            ask("named", "github", action, "repo:o/r")
                .explained(&rules)
                .conditions
                .iter()
                .any(|one| one["kind"] == "approval")
        );
    }
    assert!(ask("wide", "github", "repos/delete", "repo:o/r").passes(&rules), "class delete is covered by its class");
    assert!(ask("named", "github", "repos/delete", "repo:o/r").allowed(&rules).approval().is_none());
    let mut admin = ask("wide", "stripe", "charges/create", "account:a").raw(http::Method::POST, "/charges");
    assert!(admin.passes(&rules));
    for call in &mut admin.classification.calls {
        call.class = model::Class::Admin;
    }
    assert!(!admin.passes(&rules), "what was kept for one class is not good for another");
}

#[test]
fn raw_rules_are_prefixes_of_whole_segments() {
    let rules = rules(BOT);
    for (method, endpoint, expected) in [
        (http::Method::POST, "/charges", true),
        (http::Method::POST, "/charges/ch_1", true),
        (http::Method::POST, "/chargesx", false),
        (http::Method::POST, "/", false),
        (http::Method::DELETE, "/charges", false),
        (http::Method::GET, "/charges", true),
    ] {
        let action = format!("http/{}", method.as_str().to_lowercase());
        let asking = ask("wide", "stripe", &action, "account:a").raw(method.clone(), endpoint);
        assert_eq!(asking.passes(&rules), expected, "{method} {endpoint}");
    }
    let all = crate::support::rules("agents: {a: {permissions: [{service: stripe, endpoints: [/]}]}}");
    assert!(ask("a", "stripe", "http/post", "account:a").raw(http::Method::POST, "/x/y").passes(&all));
}

#[test]
fn every_call_must_be_allowed() {
    let rules = rules(BOT);
    let both = |second| {
        asking(
            "bot",
            Some("github"),
            vec![call("github", "pulls/create", "repo:o/r"), call("github", second, "repo:o/r")],
        )
    };
    assert!(both("issues/create").passes(&rules));
    assert!(!both("pulls/merge").passes(&rules));
    assert_eq!(both("repos/delete").denied(&rules).rule.as_deref(), Some("bot/denied/1"));
    assert!(!asking("bot", Some("github"), Vec::new()).passes(&rules));
}

#[test]
fn hosts_by_egress_and_profile() {
    let text = |egress: &str| {
        format!(
            "egress: {egress}\nprofiles: [claude-code, packages]\nagents:\n  a:\n    permissions: [{{service: github, actions: [create_pr], resources: ['*']}}]"
        )
    };
    for (egress, host, method, expected) in [
        ("closed", "evil.test", http::Method::GET, false),
        ("known", "evil.test", http::Method::GET, false),
        ("open", "evil.test", http::Method::POST, true),
        ("closed", "claude.ai", http::Method::POST, true),
        ("closed", "pypi.org", http::Method::GET, true),
        ("closed", "pypi.org", http::Method::POST, false),
    ] {
        let rules = rules(&text(egress));
        let asking = stranger("a", host, method.clone());
        assert_eq!(asking.passes(&rules), expected, "{egress} {method} {host}");
        if !expected {
            assert_eq!(asking.denied(&rules).code, Code::UnknownHost);
        }
    }
    for (egress, action, resource, expected) in [
        ("closed", ("stripe", "charges/list"), "account:a", false),
        ("known", ("stripe", "charges/list"), "account:a", true),
        ("known", ("stripe", "charges/create"), "account:a", false),
        ("open", ("stripe", "charges/create"), "account:a", false),
        ("known", ("github", "repos/get"), "repo:o/r", false),
        ("closed", ("anthropic", "messages/create"), "model:x", true),
        ("closed", ("npm", "package/get"), "package:x", true),
        ("closed", ("npm", "package/publish"), "package:x", false),
    ] {
        let rules = rules(&text(egress));
        assert_eq!(ask("a", action.0, action.1, resource).passes(&rules), expected, "{egress} {action:?}");
    }
}

#[test]
fn observing_refuses_nothing_and_says_what_it_would() {
    let rules = rules(&format!("mode: observe\n{BOT}"));
    let allowed = ask("bot", "github", "repos/delete", "repo:o/r").allowed(&rules);
    assert_eq!(allowed.observed().map(|refusal| refusal.public.as_str()), Some("Action delete_repo is denied"));
    assert_eq!(allowed.credential(), None);
    let allowed = ask("bot", "github", "repos/delete", "repo:o/r").with("gh").allowed(&rules);
    assert_eq!(allowed.credential().map(ToString::to_string).as_deref(), Some("gh"));
    let allowed = ask("nobody", "github", "repos/get", "repo:o/r").with("gh").allowed(&rules);
    assert_eq!(allowed.credential(), None, "no permission of nobody names it");
    let allowed = ask("bot", "github", "pulls/create", "repo:o/r").allowed(&rules);
    assert!(allowed.observed().is_none() && allowed.credential().is_some());
    let allowed = ask("named", "github", "gists/create", "user:x").allowed(&rules);
    assert!(allowed.approval().is_none() && allowed.observed().is_some());
    assert!(stranger("bot", "evil.test", http::Method::GET).allowed(&rules).observed().is_some());
}

#[test]
fn explain_says_it_all() {
    let rules = rules(WHOLE);
    let explained = ask("refactoring-bot", "github", "pulls/create", "repo:myorg/myrepo").explained(&rules);
    insta::assert_json_snapshot!(explained);
    let explained = ask("refactoring-bot", "github", "repos/delete", "repo:myorg/myrepo").explained(&rules);
    insta::assert_json_snapshot!(explained);
}

#[test]
fn bodies_are_read_only_where_it_matters() {
    let rules = rules(
        r#"
agents:
  a:
    permissions:
      - {service: github, actions: [pulls/create], resources: ["*"]}
      - {service: github, actions: [issues/create], resources: ["*"], conditions: {approval: required}}
      - {service: github, actions: [gists/create], resources: ["*"]}
      - {service: stripe, actions: [spend], resources: ["*"], conditions: {max: {amount: 5}}}
      - {service: stripe, actions: [read], resources: ["*"], conditions: {max: {amount: 5}}}
"#,
    );
    for (service, action, expected) in [
        ("github", "pulls/create", false),
        ("github", "issues/create", true),
        ("github", "gists/create", true),
        ("stripe", "charges/create", true),
        ("stripe", "charges/list", false),
    ] {
        let Asking { subject, classification, .. } = ask("a", service, action, "x:y");
        assert_eq!(rules.needs_body(&subject, &classification), expected, "{service} {action}");
    }
    let Asking { subject, mut classification, .. } = ask("a", "github", "pulls/create", "repo:o/r");
    classification.needs_body = true;
    assert!(rules.needs_body(&subject, &classification));
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    let rules = rules(
        r#"
agents:
  a:
    permissions:
      - {service: github, actions: [pulls/create], resources: ["*"]}
      - {service: github, actions: [pulls/create], resources: ["repo:o/r"], conditions: {when: 'context.facts["body.draft"] == true'}}
"#,
    );
    let asking = || ask("a", "github", "pulls/create", "repo:o/r");
    assert!(asking().fact("body.draft", Fact::Bool(true)).passes(&rules));
    assert!(asking().fact("body.draft", Fact::Bool(false)).passes(&rules), "the first permission still applies");
    let refusal = asking().denied(&rules);
    assert_eq!(refusal.rule.as_deref(), Some("a/2"));
    let refusal = asking().fact("body.draft", Fact::Unknown(Unknown::TooLarge)).denied(&rules);
    assert!(refusal.internal.contains("body.draft"), "{refusal:?}");
    assert!(ask("a", "github", "pulls/create", "repo:o/other").passes(&rules), "the second rule cannot matter there");
}

#[test]
fn a_path_that_may_do_anything_has_no_permission_to_add() {
    let rules = rules("agents: {bot: {permissions: [{service: github, actions: [write], resources: ['*']}]}}");
    let mut unknown = crate::support::call("github", "http/post", "resource:/messages");
    (unknown.class, unknown.effects) = (model::Class::Admin, model::Effects::NONE.with(model::Effect::Exfil));
    let hint = crate::support::asking("bot", Some("github"), vec![unknown]).denied(&rules).hint.unwrap_or_default();
    assert!(hint.contains("the file of `github` does not describe this path") && hint.contains("`mcp.at`"), "{hint}");
}

/// A request in a batch is judged by its own method and path, as if it had come alone.
#[test]
fn raw_rules_look_at_the_parts_of_a_batch() {
    use std::sync::Arc;

    let rules = rules(
        "agents:\n  bot:\n    permissions:\n      - {service: github, methods: [POST], endpoints: [/batch, /issues]}\n      \
         - {service: github, methods: [DELETE], endpoints: [/issues], conditions: {approval: required}}\n      \
         - {service: github, actions: [delete], resources: ['*']}\n",
    );
    let part = |method: &str, path: &str| model::call::Part {
        method: method.parse().expect("a method"),
        endpoint: Arc::from(path),
        path: Arc::from(path),
        calls: 1,
    };
    let call = |action: &str| crate::support::call("github", action, "repo:o/r");
    for (parts, calls, passes, asks) in [
        (vec![part("POST", "/issues")], vec![call("issues/create")], true, false),
        (vec![part("PATCH", "/issues")], vec![call("issues/create")], false, false),
        (vec![part("POST", "/pulls")], vec![call("pulls/create")], false, false),
        (
            vec![part("POST", "/issues"), part("PATCH", "/issues")],
            vec![call("issues/create"), call("pulls/create")],
            false,
            false,
        ),
        // What asks alone asks in a batch.
        (vec![part("DELETE", "/issues")], vec![call("repos/delete")], true, true),
        (vec![part("DELETE", "/other")], vec![call("repos/delete")], true, false),
    ] {
        let mut asking = asking("bot", Some("github"), calls).raw(http::Method::POST, "/batch");
        asking.classification.parts = parts;
        let decided = asking.decide(&rules);
        let asked = matches!(&decided, Decision::Allow(conditions) if conditions.approval().is_some());
        assert_eq!((matches!(decided, Decision::Allow(_)), asked), (passes, asks), "{:?}", asking.classification);
    }
}
