//! What may be written, and what is said about what may not.

use crate::support::{complaints, document, rules};

/// The whole configuration, without what a later version implements.
pub const WHOLE: &str = r#"
version: 1
egress: closed
profiles: [claude-code, packages]
mode: enforce
environment: staging
services: [./services]
credentials:
  github-token:
    service: github
    from: env:GITHUB_TOKEN
    inject: placeholder
agents:
  refactoring-bot:
    purpose: Create pull requests for automated refactoring
    owner: "@dev-team"
    permissions:
      - service: github
        credential: github-token
        actions: [pulls/create, issues/create-comment]
        resources: ["repo:myorg/myrepo"]
        conditions:
          limit: 5/hour
          approval: required
          approval_timeout: 300s
          approvers: { count: 1, of: [ada] }
      - service: github
        credential: github-token
        actions: [git/push]
        resources: ["branch:myorg/myrepo@agent/*"]
    denied_actions: [repos/delete, effect:escalates]
    local_users: [ada, "uid:1001"]
channels:
  here: { terminal: {} }
operators: [{ name: ada, token_hash: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", roles: [approver] }]
upstreams:
  api.github.com: { address: "127.0.0.1:8443", ca: ./upstream-ca.pem }
audit: { sync: always }
"#;

#[test]
fn the_whole_configuration_loads() {
    let document = document(WHOLE);
    assert_eq!(document.agents.iter().count(), 1);
    let upstream = document.upstreams.get("api.github.com").expect("an upstream");
    assert_eq!(upstream.address.value, "127.0.0.1:8443");
    let entry = document.credentials.get("github-token").expect("a credential");
    assert_eq!(
        entry.from.as_ref().map(|from| (from.value.as_str(), from.line, from.column)),
        Some(("env:GITHUB_TOKEN", 11, 11))
    );
    insta::assert_snapshot!(rules(WHOLE).cedar());
}

#[test]
fn what_may_be_a_secret_is_not_repeated() {
    let pasted = "zq9Rk2ZtVw9LxN4bYc8DmHs3JpGf6AeUu";
    for text in [
        format!("version: 1\ncredentials:\n  one: {{ service: github, from: {pasted} }}\n"),
        format!("version: 1\noperators: [{{ name: ada, token_hash: {pasted}, roles: [approver] }}]\n"),
    ] {
        let said = complaints(&text).join("\n");
        assert!(said.contains("zq9R..."), "{said}");
        assert!(!said.contains(pasted), "{said}");
    }
}

#[test]
fn json_is_yaml() {
    let text = "{\"version\": 1,\n\t\"agents\": {\"a\": {\"permissions\": [\n\t\t{\"service\": \"github\", \"actions\": [\"read\"], \"resources\": [\"*\"]}]}}}";
    assert_eq!(complaints(text), Vec::<String>::new());
}

#[test]
fn empty_documents_are_guarded() {
    for text in ["", "version: 1\n", "# nothing\n", "upstreams:\n  a.test: {address: '127.0.0.1:1'}\n", "{}"] {
        assert!(rules(text).is_guarded(), "{text:?}");
    }
}

fn permission(lines: &str) -> String {
    format!("agents:\n  a:\n    permissions:\n      - service: github\n        resources: [\"*\"]\n{lines}")
}

#[test]
fn complaints_name_the_place_and_the_nearest_word() {
    let table: &[(String, &str)] = &[
        ("versoin: 1".into(), "f.yaml:1:1: unknown key `versoin`; did you mean `version`?"),
        ("version: 2".into(), "f.yaml:1:10: this program reads `version: 1`: `2`"),
        ("egress: closd".into(), "f.yaml:1:9: `closd` is not one of open, known, closed; did you mean `closed`?"),
        ("mode: observ".into(), "f.yaml:1:7: `observ` is not one of enforce, observe; did you mean `observe`?"),
        ("profiles: [claude]".into(), "f.yaml:1:12: unknown profile `claude`; did you mean `claude-code`?"),
        ("version: 1\nversion: 1".into(), "f.yaml:2:1: key `version` is written twice; keep one"),
        (
            "credentials:\n  t:\n    service: githb".into(),
            "f.yaml:3:14: unknown service `githb`; did you mean `github`?",
        ),
        (
            "credentials:\n  t: {service: github, from: enw:X}".into(),
            "f.yaml:2:30: unknown back end `enw`; did you mean `env`?",
        ),
        (
            "environment: staging\ncredentials:\n  t: {service: github, environment: production}".into(),
            "f.yaml:3:37: credential is bound to environment `production`, and this configuration is for `staging`; sharing across environments is refused",
        ),
        (permission("        actions: [pulls/craete]"), "f.yaml:6:19: unknown action `pulls/craete` of service `github`; did you mean `pulls/create`?"),
        (permission("        actions: [creat_pr]"), "f.yaml:6:19: unknown action `creat_pr` of service `github`; did you mean `create_pr`?"),
        (permission("        actions: ['effect:escalate']"), "f.yaml:6:19: unknown effect `escalate`: `effect:escalate`; did you mean `effect:escalates`?"),
        (permission("        actions: [pull:write]"), "f.yaml:6:19: unknown action `pull:write` of service `github`; did you mean `pulls:write`?"),
        (permission("        actions: [admin]"), "f.yaml:6:19: class admin is never covered by its class; name the actions one by one: `admin`"),
        (permission("        acts: [read]"), "f.yaml:6:9: unknown key `acts`; did you mean `actions`?"),
        (permission("        methods: [PSOT]"), "f.yaml:6:19: unknown method `PSOT`; did you mean `POST`?"),
        (permission("        endpoints: [charges]"), "f.yaml:6:21: endpoint `charges` must begin with `/`; did you mean `/charges`?"),
        (permission("        actions: [read]\n        conditions: {limit: 5/fortnight}"), "f.yaml:7:29: `5/fortnight` is not a limit such as `5/hour`, `10_calls_per_minute` or `{sum: body.amount, max: 10000, per: day}`"),
        (permission("        actions: [read]\n        conditions: {max: {body.amout: 5}}"), "f.yaml:7:28: no action of this service has the fact `body.amout`; did you mean `body.draft`?"),
        (permission("        actions: [read]\n        conditions: {approval: maybe}"), "f.yaml:7:32: `maybe` is not one of required, once-per-session, none"),
        (permission("        actions: [read]\n        conditions: {approvers: {count: 0}}"), "f.yaml:7:41: at least one approver is needed; for none write `approval: none`: `0`"),
        (permission("        actions: [read]\n        conditions: {approvers: {count: 2, of: [ada]}}"), "f.yaml:7:41: more people must agree than the 1 who are named in `of`: `2`"),
        (permission("        actions: [read]\n        conditions: {hours: 9-5}"), "f.yaml:7:29: expected hours such as `09:00-17:00` or `mon-fri 09:00-17:00 +01:00`: `9-5`"),
        (permission("        actions: [read]\n        conditions: {source: 10.0.0}"), "f.yaml:7:30: expected an address or a network such as `10.0.0.0/8`: `10.0.0`"),
        (permission("        actions: [read]\n        credential: nothing\ncredentials:\n  nothin: {service: github}"), "f.yaml:7:21: unknown credential `nothing`; did you mean `nothin`?"),
        (permission("        conditions: {}"), "f.yaml:4:9: permission names no action; add `actions`, or `methods` and `endpoints`"),
        ("agents:\n  a:\n    permissions:\n      - service: github\n        actions: [read]\n        resources: ['rep:o/r']".into(), "f.yaml:6:21: unknown kind of resource `rep`: `rep:o/r`; did you mean `repo:o/r`?"),
        ("agents:\n  a:\n    permissions:\n      - service: github\n        actions: [read]".into(), "f.yaml:4:9: permission names no resources; for all of them write `resources: [\"*\"]`"),
        ("agents:\n  a:\n    permissions:\n      - service: gitbuh\n        actions: [read]".into(), "f.yaml:4:18: unknown service `gitbuh`; did you mean `github`?"),
        ("agents:\n  a:\n    denied_actions: [delete_rep]".into(), "f.yaml:3:22: no service knows the action `delete_rep`; did you mean `delete_repo`?"),
        ("agents:\n  a:\n    local_users: ['uid:x']".into(), "f.yaml:3:19: the number of a user is written `uid:1001`: `uid:x`"),
        ("agents:\n  a:\n    local_users: ['a b']".into(), "f.yaml:3:19: `a b` is not a valid user name: only letters, digits, `-`, `_` and `.` may be used"),
        ("agents:\n  a b: {}".into(), "f.yaml:2:3: `a b` is not a valid agent name: only letters, digits, `-`, `_` and `.` may be used"),
        ("budgets: [{ agent: '*', per: day, money: { max: 20, currency: USD }, warn: [50] }]".into(), "f.yaml:1:11: `budgets` is not in this version; take it out"),
        ("redact: [{ service: crm, fields: [email] }]".into(), "f.yaml:1:10: `redact` is not in this version; take it out"),
        ("alerts:\n  - { condition: 'failed_auth > 5', action: disable_agent }".into(), "f.yaml:2:18: `failed_auth > 5` is not in this version; conditions are `tripwire`, `tripwire:low`, `tripwire:medium`, `tripwire:high`, `tripwire:critical`"),
        ("alerts:\n  - { condition: 'tripwire:hgih', action: disable_agent }".into(), "f.yaml:2:18: unknown condition `tripwire:hgih`; known are `tripwire`, `tripwire:low`, `tripwire:medium`, `tripwire:high`, `tripwire:critical`; did you mean `tripwire:high`?"),
        ("alerts: [{ condition: tripwire, action: require_approval }]".into(), "f.yaml:1:41: action `require_approval` is not in this version; write one of notify_admin, stop_session, disable_agent"),
        ("alerts: [{ condition: tripwire, action: stop }]".into(), "f.yaml:1:41: unknown action `stop`; did you mean `stop_session`?"),
        ("channels:\n  ops: { slack: { app_token: 'env:A', bot_token: 'env:B', channel: '#x' } }".into(), "f.yaml:2:17: `slack` is not in this version; take it out"),
        ("credentials:\n  t: {service: github, fallback: { credential: x }}".into(), "f.yaml:2:48: there is no credential `x`; a fallback is declared beside it"),
        ("upstreams:\n  'a_b': {address: '127.0.0.1:1'}".into(), "f.yaml:2:3: host is not a plain DNS name or address; give it without user part, trailing dot, escapes or brackets on names: `a_b`"),
        ("upstreams:\n  a.test: {address: '127.0.0.1'}".into(), "f.yaml:2:21: an address is written `host:port`: `127.0.0.1`"),
        ("upstreams:\n  a.test: {ca: x}".into(), "f.yaml:2:12: key `address` is missing here"),
        ("agents: []".into(), "f.yaml:1:1: expected a mapping, found sequence: `agents`"),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in table {
        let found = complaints(text);
        if !found.iter().any(|line| line == expected) {
            wrong.push(format!("{text}\nexpected {expected}\n   found {}\n", found.join("\n         ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rotations_name_who_makes_values() {
    let table: [(String, &str); 4] = [
        (
            "credentials:\n  t: {service: github, rotate: { every: 7d, grace: 1h }}".into(),
            "f.yaml:2:41: nothing here can make a new value: add `with: exec:PROGRAM` or a rotator, or take `every` out and rotate it by hand",
        ),
        (
            "credentials:\n  t: {service: github, rotate: { with: 'exec:./make', every: 5s }}".into(),
            "f.yaml:2:62: a value is rotated every 10 seconds at most",
        ),
        (
            "credentials:\n  t: {service: github, rotate: { with: ./make }}".into(),
            "f.yaml:2:40: who rotates it is written `exec:PROGRAM ARGUMENTS`",
        ),
        (
            "credentials:\n  t: {service: github, from: 'env:T', rotate: { grace: 1h }}".into(),
            "f.yaml:2:30: `rotate` is for values in the built-in vault; what lies elsewhere is rotated there",
        ),
    ];
    for (text, expected) in table {
        let found = complaints(&text);
        assert!(found.iter().any(|line| line.starts_with(expected)), "{text}\nexpected {expected}\n   found {found:?}");
    }
    assert!(complaints("credentials:\n  t: {service: github, rotate: { with: 'exec:./make', every: 7d }}").is_empty());
}

#[test]
fn several_faults_are_all_told() {
    let text = permission("        actions: [nope/a, nope/b]\n        conditions: {hours: x, source: y}");
    assert_eq!(complaints(&text).len(), 4, "{:?}", complaints(&text));
}

#[test]
fn bombs_and_broken_files_are_refused() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    let deep = "[".repeat(100_000);
    for text in [bomb, &deep, "{", "a: [", "\u{0}", "a: 'x", "--- a\n--- b\n", "<<: {a: 1}", "- 1", "just text"] {
        assert!(!complaints(text).is_empty(), "{:?}", text.get(..20));
    }
}

#[test]
fn the_schema_names_every_key() {
    let schema = policy::document::json_schema();
    let text = schema.to_string();
    for key in ["egress", "denied_actions", "approval_timeout", "upstreams", "rate_limit", "additionalProperties"] {
        assert!(text.contains(key), "{key}");
    }
    assert!(!text.contains("\"file\""), "internal fields are not part of the form");
}

#[test]
fn folders_join() {
    let one = document("agents:\n  a: {permissions: [{service: github, actions: [read], resources: ['*']}]}");
    let two =
        document("egress: known\nagents:\n  b: {permissions: [{service: github, actions: [read], resources: ['*']}]}");
    let whole = policy::Document::join([one.clone(), two]).expect("joined");
    assert_eq!(whole.agents.iter().count(), 2);
    assert_eq!(whole.egress(), policy::document::Egress::Known);
    let problems = policy::Document::join([one.clone(), one]).expect_err("twice");
    assert_eq!(problems[0].to_string(), "valetkey.yaml:2:3: `a` is written in two files; keep one");
}
