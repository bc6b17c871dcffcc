//! Vendors' own clients under policies: what is allowed works as ever, its sibling is denied with the same words by every road, and the
//! client's own error shows them.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::doubles::{PATIENCE, Town, operators};

const AGENTS: &str = r#"  mender:
    permissions:
      - { service: github, credential: hub, actions: [read, issues/create], resources: ["*"] }
  merger:
    permissions:
      - { service: github, credential: hub, actions: [read, pulls/merge], resources: ["*"] }
  asker:
    permissions:
      - { service: github, credential: hub, actions: [read], resources: ["*"] }
      - { service: github, credential: hub, actions: [pulls/merge], resources: ["*"], conditions: { approval: required } }
  till:
    permissions:
      - service: stripe
        credential: pay
        actions: [charges/create]
        resources: ["*"]
        conditions: { max: { body.amount: 5000 }, limit: { sum: body.amount, max: 10000, per: day } }
      - { service: stripe, credential: pay, actions: [refunds/create], resources: ["*"], conditions: { max: { body.amount: 300 } } }
  herald:
    permissions:
      - { service: slack, credential: chat, actions: [chat.postMessage], resources: ["channel:C1"], conditions: { approval: none, when: '!(context.facts has "body.username")' } }
"#;
const MERGE: &str = "mutation($id: ID!) { mergePullRequest(input: { pullRequestId: $id }) { clientMutationId } }";
const CREATE: &str = "mutation($id: ID!) { createIssue(input: { repositoryId: $id, title: \"it\" }) { issue { id } } }";

/// What an SDK's error says.
fn error(said: &Value) -> (u64, &str) {
    assert_eq!(said["ok"], false, "{said}");
    (said["status"].as_u64().unwrap_or_default(), said["message"].as_str().unwrap_or_default())
}

fn pull() -> Value {
    json!({ "owner": "acme", "repo": "widget", "pull_number": 7 })
}

fn issue() -> Value {
    json!({ "owner": "acme", "repo": "widget", "title": "it" })
}

#[test]
fn gh_does_what_it_may_and_says_what_it_may_not() {
    let town = Town::new(841, "", AGENTS);
    for (agent, script, refused) in [
        ("mender", "gh issue create -R acme/widget -t it -b now", None),
        ("mender", "gh pr view 7 -R acme/widget", None),
        ("mender", "gh pr merge 7 -R acme/widget --squash", Some("pulls/merge")),
        ("mender", "gh api -X PUT repos/acme/widget/pulls/7/merge", Some("pulls/merge")),
        (
            "mender",
            "gh api graphql -f query='mutation { mergePullRequest(input: { pullRequestId: \"PR_1\" }) { clientMutationId } }'",
            Some("pulls/merge"),
        ),
        ("mender", "gh repo delete acme/widget --confirm", Some("repos/delete")),
        ("merger", "gh pr merge 7 -R acme/widget --squash", None),
        ("merger", "gh api -X PUT repos/acme/widget/pulls/7/merge", None),
        ("merger", "gh issue create -R acme/widget -t it -b now", Some("issues/create")),
        ("merger", "gh api repos/acme/widget/issues -f title=it", Some("issues/create")),
    ] {
        let done = town.script(agent, script);
        let all = format!("{agent}: {script}\n{}\n{}", done.stdout, done.stderr);
        let Some(action) = refused else {
            assert_eq!(done.code(), Some(0), "{all}");
            continue;
        };
        assert_eq!(done.code(), Some(1), "{all}");
        let said = format!("Action {action} is denied");
        let told = done.stderr.lines().any(|line| line.contains(&said) && line.contains("403"));
        assert!(told, "gh does not say it: {all}");
    }
    // A merge by GraphQL and one by REST, an issue; of what was denied, nothing.
    assert_eq!(town.arrived("mergePullRequest") + town.arrived("/pulls/7/merge"), 2);
    assert_eq!(town.arrived("createIssue") + town.arrived("/issues"), 1);
    town.house.assert_audit();
}

/// What gh can write, by whichever of its roads: denied by the same names as by REST, and nothing of it arrives.
#[test]
fn what_gh_writes_is_denied_by_its_action() {
    let town = Town::new(891, "", AGENTS);
    std::fs::write(town.house.path("key.pub"), "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIElu\n").unwrap();
    let commands = [
        ("gh gist create --public key.pub", "gists/create"),
        ("gh secret set S -R acme/widget -b x", "actions/create-or-update-repo-secret"),
        ("gh repo edit acme/widget --visibility public", "repos/update"),
        ("gh repo rename other -R acme/widget --yes", "repos/update"),
        ("gh repo fork acme/widget --clone=false", "repos/create-fork"),
        ("gh repo deploy-key add key.pub -R acme/widget", "repos/create-deploy-key"),
        ("gh pr review 7 -R acme/widget --approve", "pulls/create-review"),
        ("gh pr close 7 -R acme/widget", "pulls/update"),
        ("gh issue close 7 -R acme/widget", "issues/update"),
        ("gh issue edit 7 -R acme/widget -t other", "issues/update"),
        ("gh issue comment 7 -R acme/widget -b hello", "issues/create-comment"),
        ("gh issue delete 7 -R acme/widget --confirm", "issues/delete"),
        ("gh issue transfer 7 acme/other -R acme/widget", "issues/transfer"),
        ("gh workflow run x.yml -R acme/widget --ref main", "actions/create-workflow-dispatch"),
        ("gh release create v1 -R acme/widget -n notes", "repos/create-release"),
        ("gh label create bug -R acme/widget", "issues/create-label"),
        ("gh ssh-key add key.pub", "users/create-public-ssh-key-for-authenticated-user"),
        ("gh api -X DELETE repos/acme/widget/git/refs/heads/main", "git/delete-ref"),
    ];
    // One session for all: each begins anew with what gh says of it.
    let script: Vec<String> =
        commands.iter().map(|(command, _)| format!("echo '--' >&2; {command} >/dev/null")).collect();
    let done = town.script("mender", &script.join("\n"));
    let told: Vec<&str> = done.stderr.split("--\n").skip(1).collect();
    assert_eq!(told.len(), commands.len(), "{}", done.stderr);
    for ((command, action), told) in commands.iter().zip(told) {
        assert!(told.contains(&format!("Action {action} is denied")) && told.contains("403"), "{command}: {told}");
    }
    let all = town.upstream.journal().all();
    assert!(all.len() >= 8, "gh reads before it writes: {all:?}");
    for seen in all {
        let is_query = seen.path() == "/graphql" && !String::from_utf8_lossy(&seen.body).contains("mutation");
        assert!(seen.method == "GET" || is_query, "{} {}", seen.method, seen.target);
    }
    town.house.assert_audit();
}

#[test]
fn octokit_is_told_the_same_by_rest_and_by_graphql() {
    let town = Town::new(851, "", AGENTS);
    let calls = [
        ("octokit", "PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge", pull()),
        ("graphql", MERGE, json!({ "id": "PR_1" })),
        ("octokit", "POST /repos/{owner}/{repo}/issues", issue()),
        ("graphql", CREATE, json!({ "id": "R_1" })),
    ];
    for (agent, denied, action) in [("mender", [0, 1], "pulls/merge"), ("merger", [2, 3], "issues/create")] {
        let said = town.sdks(agent, &calls);
        for (at, one) in said.iter().enumerate() {
            if !denied.contains(&at) {
                assert_eq!(one["ok"], true, "{agent}: {one}");
                continue;
            }
            assert_eq!(error(one), (403, &*format!("Action {action} is denied")), "{one}");
            assert_eq!((&one["name"], &one["body"]["code"]), (&json!("HttpError"), &json!("denied")), "{one}");
            assert!(one["body"]["hint"].as_str().unwrap().contains(action), "{one}");
        }
    }
    assert_eq!((town.arrived("mergePullRequest"), town.arrived("createIssue")), (1, 1));
    town.house.assert_audit();
}

/// Whichever road a guarded action takes, a person is asked in a sentence, and one yes is one merge.
#[test]
fn merges_are_asked_by_every_road() {
    let town = Town::new(861, &operators(), AGENTS);
    town.give_token();
    let (_gateway, session) = (town.house.serve(), town.house.session("asker"));
    let words = town.sdks_words("calls", &[("graphql", MERGE, json!({ "id": "PR_1" }))]).join(" ");
    for (script, sentence, verdict) in [
        ("gh pr merge 7 -R acme/widget --squash", "pull request", "approve"),
        ("gh api -X PUT repos/acme/widget/pulls/7/merge", "pull request", "approve"),
        (&*words, "pull request", "deny"),
    ] {
        let before = town.arrived("mergePullRequest") + town.arrived("/pulls/7/merge");
        let (done, asked) = thread::scope(|scope| {
            let client = scope.spawn(|| town.script_in(&session, script));
            let start = Instant::now();
            let asked = loop {
                let list = town.house.valetkey(&["approvals", "list", "--json"]).expect_success("list").stdout;
                let list: Value = serde_json::from_str(&list).unwrap();
                if let Some(one) = list.get(0) {
                    break one.clone();
                }
                assert!(start.elapsed() < PATIENCE && !client.is_finished(), "{script}: {:?}", client.join());
                thread::sleep(Duration::from_millis(20));
            };
            let id = asked["id"].as_str().unwrap();
            let words = [verdict, id, "--token-file", "token"];
            let words = if verdict == "deny" { &words[..2] } else { &words[..] };
            let _ = town.house.valetkey(words).expect_success(verdict);
            (client.join().unwrap(), asked)
        });
        let all = format!("{asked}\n{}\n{}", done.stdout, done.stderr);
        assert!(asked["sentence"].as_str().unwrap().to_lowercase().contains(sentence), "{all}");
        let merged = town.arrived("mergePullRequest") + town.arrived("/pulls/7/merge") - before;
        if verdict == "approve" {
            assert_eq!((done.code(), merged), (Some(0), 1), "{all}");
        } else {
            let said: Value = serde_json::from_str(done.stdout.lines().next().unwrap()).unwrap();
            assert_eq!((error(&said).0, &said["body"]["code"], merged), (403, &json!("approval_denied"), 0), "{all}");
        }
    }
    town.house.assert_audit();
}

#[test]
fn stripe_spends_what_it_may() {
    let town = Town::new(871, "", AGENTS);
    let charge = |amount: u64| {
        ("stripe", "charges.create", json!([{ "amount": amount, "currency": "usd", "source": "tok_visa" }]))
    };
    let refund = |amount: u64| ("stripe", "refunds.create", json!([{ "charge": "ch_1", "amount": amount }]));
    let mut calls = vec![charge(5001)];
    calls.extend([2000; 5].map(charge));
    calls.extend([
        charge(1),
        refund(300),
        refund(301),
        ("stripe", "payouts.create", json!([{ "amount": 1, "currency": "usd" }])),
    ]);
    // Without an amount a refund is of the whole charge, whatever that is.
    calls.push(("stripe", "refunds.create", json!([{ "charge": "ch_1" }])));
    let said = town.sdks("till", &calls);
    let status = |at: usize| if said[at]["ok"] == true { 200 } else { error(&said[at]).0 };
    let all: Vec<u64> = (0..said.len()).map(status).collect();
    assert_eq!(all, [403, 200, 200, 200, 200, 200, 429, 200, 403, 403, 403], "{said:#?}");
    for (at, words) in
        [(0, "body.amount"), (6, "is reached"), (8, "body.amount"), (9, "Action payouts/create is denied")]
    {
        assert!(error(&said[at]).1.contains(words), "{}", said[at]);
    }
    assert_eq!((town.arrived("/v1/charges"), town.arrived("/v1/refunds")), (5, 1));
    town.house.assert_audit();
}

#[test]
fn slack_talks_where_it_may() {
    let town = Town::new(881, "", AGENTS);
    let said = town.sdks(
        "herald",
        &[
            ("slack", "chat.postMessage", json!({ "channel": "C1", "text": "hello" })),
            ("slack", "chat.postMessage", json!({ "channel": "C2", "text": "hello" })),
            ("slack", "chat.postMessage", json!({ "channel": "C1", "text": "hello", "username": "admin" })),
            (
                "slack",
                "admin.users.invite",
                json!({ "channel_ids": "C1", "email": "eve@example.test", "team_id": "T1" }),
            ),
            ("slack", "chat.update", json!({ "channel": "C1", "ts": "1.2", "text": "other" })),
        ],
    );
    assert_eq!(said[0]["ok"], true, "{}", said[0]);
    for (one, action) in
        said[1..].iter().zip(["chat.postMessage", "chat.postMessage", "admin.users.invite", "chat.update"])
    {
        assert_eq!((error(one).0, &one["code"]), (403, &json!("slack_webapi_http_error")), "{one}");
        let body = &one["body"];
        assert!(body["error"].as_str().unwrap().contains(&format!("Action {action} ")), "{one}");
        assert_eq!(body["code"], "denied", "{one}");
    }
    assert_eq!(town.arrived("/api/"), 1);
    town.house.assert_audit();
}
