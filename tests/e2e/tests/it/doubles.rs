//! Doubles of GitHub (REST, GraphQL, git), Stripe and Slack behind one gateway, as much of them as the vendors' own clients need, and
//! those clients.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use e2e::house::tool;
use e2e::{House, Session};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::process::{Finished, finish};
use testkit::upstream::{GitHost, Upstream};
use testkit::{Answer, Canary, Seen};

use crate::mcp::beside;

/// Nothing that a script of these clients does takes longer.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Hosts of the three.
const HOSTS: [&str; 4] = ["api.github.com", "github.com", "api.stripe.com", "slack.com"];
/// Where each one's clients look for its credential.
const NAMES: [&str; 3] = ["GITHUB_TOKEN", "STRIPE_API_KEY", "SLACK_BOT_TOKEN"];
/// What gh may say besides: no folder of its own elsewhere, no question to the terminal, no look for a newer one.
pub const PRELUDE: &str = "export GH_CONFIG_DIR=$PWD/gh GH_NO_UPDATE_NOTIFIER=1 GH_PROMPT_DISABLED=1 NO_COLOR=1 
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.test GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.test
";

/// A home with a credential for each of the three, and their doubles.
pub struct Town {
    pub house: House,
    pub upstream: Upstream,
    secrets: Vec<Canary>,
    _hosted: TempDir,
}

impl Town {
    /// With this below `agents:`, and this before it.
    pub fn new(seed: u64, before: &str, agents: &str) -> Self {
        let hosted = tempfile::tempdir().unwrap();
        let git = GitHost::at(hosted.path());
        git.repository("acme/widget.git", &[("README.md", b"hello\n")]);
        let upstream = Upstream::builder().handler(move |seen| git.answer(seen)).handler(answer).start();
        let secrets = vec![
            Canary::new(seed, "ghp_", 36),
            Canary::new(seed + 1, "sk_test_", 24),
            Canary::new(seed + 2, "xoxb-", 40),
        ];
        let entries: String = HOSTS.iter().map(|host| upstream.entry(host)).collect();
        let config = format!(
            "version: 1\negress: closed\n{before}credentials:\n  hub: {{ service: github, from: env:GITHUB_TOKEN, inject: always }}\n  \
             pay: {{ service: stripe, from: env:STRIPE_API_KEY }}\n  \
             chat: {{ service: slack, from: env:SLACK_BOT_TOKEN }}\nagents:\n{agents}upstreams:\n{entries}"
        );
        let values: Vec<String> = secrets.iter().map(Canary::value).collect();
        let variables: Vec<(&str, &str)> = NAMES.into_iter().zip(values.iter().map(String::as_str)).collect();
        Self { house: House::new(&config, &variables), upstream, secrets, _hosted: hosted }
    }

    /// A script of an agent; neither its output nor its errors hold a secret.
    pub fn script(&self, agent: &str, script: &str) -> Finished {
        let text = format!("cd {}\n{PRELUDE}{script}", self.house.path("").display());
        let (done, _) = self.house.run_with(agent, &["--isolate=off"], &["sh", "-c", &text]);
        for (what, text) in [("output", &done.stdout), ("errors", &done.stderr)] {
            self.assert_quiet(what, text);
        }
        done
    }

    /// The same for a session of `serve`, which can ask.
    pub fn script_in(&self, session: &Session, script: &str) -> Finished {
        let mut command = self.house.clean(Path::new("sh"));
        for name in NAMES {
            command.env_remove(name);
        }
        command.envs(&session.env).args(["-c", &format!("{PRELUDE}{script}")]);
        let done = finish(&mut command, PATIENCE);
        self.assert_quiet("the output", &[&*done.stdout, &*done.stderr].concat());
        done
    }

    /// Calls by the vendors' SDKs, as `clients/sdks.mjs` takes them; what it said of each.
    pub fn sdks(&self, agent: &str, calls: &[(&str, &str, Value)]) -> Vec<Value> {
        let words = self.sdks_words("calls", calls);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (done, _) = self.house.run_with(agent, &["--isolate=off"], &words);
        self.assert_quiet("the SDKs' output", &done.stdout);
        let done = done.expect_success("the SDKs");
        done.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The words of a command that makes these calls.
    pub fn sdks_words(&self, name: &str, calls: &[(&str, &str, Value)]) -> Vec<String> {
        let line = |(kind, what, given): &(&str, &str, Value)| {
            let what = if *kind == "graphql" { json!(what).to_string() } else { (*what).to_owned() };
            format!("{kind}\t{what}\t{given}\n")
        };
        let file = self.house.path(name);
        std::fs::write(&file, calls.iter().map(line).collect::<String>()).unwrap();
        let script = beside("clients", "sdks.mjs", "sdks.mjs");
        [node().as_path(), &script, &file].iter().map(|path| path.display().to_string()).collect()
    }

    /// Puts that operator's token into the file `token`.
    pub fn give_token(&self) {
        std::fs::write(self.house.path("token"), "ada\n").unwrap();
        std::fs::set_permissions(self.house.path("token"), Permissions::from_mode(0o600)).unwrap();
    }

    /// How many requests arrived in whose target or body this stands.
    pub fn arrived(&self, text: &str) -> usize {
        let all = self.upstream.journal().all();
        let has = |seen: &&Seen| seen.target.contains(text) || String::from_utf8_lossy(&seen.body).contains(text);
        all.iter().filter(has).count()
    }

    fn assert_quiet(&self, what: &str, text: &str) {
        for secret in &self.secrets {
            secret.assert_absent(what, text.as_bytes());
        }
    }
}

/// An operator of the name and token `ada`, whose yes counts.
pub fn operators() -> String {
    let mut hash = Command::new("sh");
    let hash = finish(hash.args(["-c", "printf ada | sha256sum"]), PATIENCE);
    format!("operators:\n  - {{ name: ada, token_hash: {}, roles: [approver] }}\n", &hash.stdout[..64])
}

/// Debian's Node honours no proxy in `fetch`.
pub fn node() -> PathBuf {
    tool("node/node_modules/node/bin/node")
}

fn answer(seen: &Seen) -> Option<Answer> {
    let path = seen.path();
    let answer = match path.split('/').nth(1)? {
        "graphql" => graphql(&String::from_utf8_lossy(&seen.body)),
        "api" => slack(path),
        "v1" => stripe(path),
        _ => rest(&seen.method, path)?,
    };
    Some(answer)
}

fn slack(path: &str) -> Answer {
    let method = path.trim_start_matches("/api/");
    Answer::json(&json!({ "ok": true, "method": method, "channel": "C1", "ts": "1.2", "channels": [], "messages": [] }))
}

fn stripe(path: &str) -> Answer {
    let object = path.trim_start_matches("/v1/").split('/').next().unwrap_or_default().trim_end_matches('s');
    Answer::json(
        &json!({ "id": format!("{object}_1"), "object": object, "status": "succeeded", "data": [], "has_more": false }),
    )
}

fn rest(method: &str, path: &str) -> Option<Answer> {
    let url = format!("https://github.com{}", path.trim_start_matches("/repos"));
    let whole = json!({
        "id": 1, "node_id": "N_1", "number": 7, "name": "widget", "full_name": "acme/widget", "login": "ada", "title": "it", "state": "open",
        "html_url": url, "merged": true, "owner": { "login": "acme" }, "permissions": { "admin": true },
    });
    let lists = method == "GET" && ["issues", "pulls", "comments", "branches"].iter().any(|end| path.ends_with(end));
    match method {
        "GET" if path.ends_with("/public-key") => {
            Some(Answer::json(&json!({ "key_id": "1", "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" })))
        }
        "GET" if lists => Some(Answer::json(&json!([whole]))),
        "GET" | "PUT" | "PATCH" => Some(Answer::json(&whole)),
        "POST" => Some(Answer::json(&whole).with_status(201)),
        "DELETE" => Some(Answer::status(204)),
        _ => None,
    }
}

/// Answers every query alike, with all that a client may have asked for; a mutation by its name.
fn graphql(body: &str) -> Answer {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let query = body["query"].as_str().unwrap_or_default();
    // Each thing has an identifier of its own, as GitHub's have.
    let number = ["number", "pr_number"].iter().find_map(|name| body["variables"][name].as_u64()).unwrap_or(7);
    let id = |kind: &str| format!("{kind}_kwDOA1b2c3{number:04}");
    let pull = json!({
        "id": id("PR"), "number": 7, "state": "OPEN", "title": "it", "url": "https://github.com/acme/widget/pull/7", "isDraft": false,
        "headRefName": "agent/one", "baseRefName": "main", "headRefOid": "0123456789012345678901234567890123456789",
        "mergeStateStatus": "CLEAN", "mergeable": "MERGEABLE", "isCrossRepository": false, "headRepositoryOwner": { "login": "acme" },
        "headRepository": { "id": "R_1", "name": "widget" }, "maintainerCanModify": false, "viewerMergeHeadlineText": "it", "viewerMergeBodyText": "",
    });
    let repository = json!({
        "id": "R_1", "name": "widget", "nameWithOwner": "acme/widget", "owner": { "login": "acme" }, "hasIssuesEnabled": true,
        "isPrivate": false, "description": "", "viewerPermission": "ADMIN", "defaultBranchRef": { "name": "main" }, "parent": null,
        "url": "https://github.com/acme/widget", "isArchived": false, "mergeCommitAllowed": true, "rebaseMergeAllowed": true,
        "squashMergeAllowed": true, "issue": { "id": id("I"), "number": 7, "title": "it", "state": "OPEN", "url": "https://github.com/acme/widget/issues/7" },
        "pullRequest": pull, "pullRequests": { "totalCount": 1, "nodes": [pull], "pageInfo": { "hasNextPage": false, "endCursor": "" } },
        "issues": { "totalCount": 0, "nodes": [], "pageInfo": { "hasNextPage": false, "endCursor": "" } },
        "issueTemplates": [], "pullRequestTemplates": [], "object": null,
    });
    let issue = json!({ "id": "I_1", "number": 7, "url": "https://github.com/acme/widget/issues/7" });
    let comment = json!({ "node": { "url": "https://github.com/acme/widget/issues/7#issuecomment-1" } });
    let named = |name: &str| query.contains("mutation") && query.contains(name);
    // Some of gh's decoders take no field that was not asked for.
    let data = match query {
        _ if named("createIssue") => json!({ "createIssue": { "issue": issue } }),
        _ if named("createPullRequest") => json!({ "createPullRequest": { "pullRequest": pull } }),
        _ if named("addComment") => json!({ "addComment": { "commentEdge": comment } }),
        _ if named("mergePullRequest") => json!({ "mergePullRequest": { "clientMutationId": null } }),
        _ if query.contains("PullRequest: __type") => json!({ "PullRequest": { "fields": [] } }),
        _ if query.contains("viewer") && !query.contains("repository(") => json!({ "viewer": { "login": "ada" } }),
        _ => json!({ "repository": repository }),
    };
    Answer::json(&json!({ "data": data }))
}
