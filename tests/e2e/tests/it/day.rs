//! A day's work of vendors' own clients is observed, the least policy is suggested from it, and another such day runs under that policy:
//! other numbers, titles, branches, customers and another order, but work of the same kind.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use e2e::Session;
use e2e::audit::Log;
use serde_json::{Value, json};

use crate::doubles::{Town, operators};
use crate::talk::Seeded;

/// Where nothing is enforced, but every credential has a permission that names it, so that the agent has its placeholder.
const OBSERVED: &str = r#"  dev:
    permissions:
      - { service: github, credential: hub, actions: [git/fetch, git/push], resources: ["*"] }
      - { service: stripe, credential: pay, actions: [read], resources: ["*"] }
      - { service: slack, credential: chat, actions: [read], resources: ["*"] }
"#;

impl Seeded {
    /// An identifier as vendors make them.
    fn id(&mut self, prefix: &str) -> String {
        let mut id = format!("{prefix}_");
        for at in 0..10 {
            let letters: &[u8] = if at % 3 == 0 { b"0123456789" } else { b"abcdefghKLMNOP" };
            id.push(char::from(letters[self.below(letters.len() as u64) as usize]));
        }
        id
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// What one day consists of: lines for a shell, and calls of SDKs.
struct Day {
    lines: Vec<String>,
    calls: Vec<(&'static str, &'static str, Value)>,
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut seeded = Seeded(seed);
        let mut day = Self { lines: Vec::new(), calls: Vec::new() };
        for _ in 0..4 + seeded.below(3) {
            let (number, word) = (1 + seeded.below(900), seeded.id("word"));
            day.lines.push(format!("gh issue view {number} -R acme/widget"));
            day.lines.push(format!("gh issue create -R acme/widget -t 'About {word}' -b 'It {word}s'"));
            day.lines.push(format!("gh issue comment {number} -R acme/widget -b 'seen: {word}'"));
            day.lines.push(format!("gh pr view {number} -R acme/widget"));
            day.lines.push(format!("gh api 'repos/acme/widget/issues?state=open&page={}'", seeded.below(9)));
            day.lines.push(curl(&format!("repos/acme/widget/contents/src/{word}.rs")));
            day.lines.push(curl(&format!("repos/acme/widget/commits?sha={word}")));
            // What no action is known for.
            day.lines.push(curl(&format!("experiments/{number}")));
            day.lines.push(format!("push agent/{word} '{word} changes'"));
        }
        day.lines.push("gh issue list -R acme/widget".to_owned());
        day.lines.push("gh pr list -R acme/widget".to_owned());
        seeded.shuffle(&mut day.lines);
        for _ in 0..4 + seeded.below(3) {
            day.calls.extend(github(&mut seeded));
            day.calls.extend(stripe(&mut seeded));
            day.calls.extend(slack(&mut seeded));
        }
        seeded.shuffle(&mut day.calls);
        day
    }

    /// The whole of it as one script, which says `failed: LINE` of what did not work; SDKs say it in their own lines.
    fn script(&self, town: &Town) -> String {
        let words = town.sdks_words("calls", &self.calls);
        let mut script = String::from(
            "export CLIENT='curl -sS -o /dev/null --fail-with-body'
             rm -rf work; git clone -q https://github.com/acme/widget.git work || echo 'failed: clone'
             push() { ( cd work && git fetch -q origin && git switch -q -c \"$1\" origin/main && echo \"$2\" >> README.md &&
               git commit -q -a -m \"$2\" && git push -q origin \"HEAD:refs/heads/$1\" && echo again >> README.md &&
               git commit -q -a -m again && git push -q origin \"HEAD:refs/heads/$1\" ); }\n",
        );
        for line in &self.lines {
            let _ = writeln!(
                script,
                "{line} >out 2>&1 || {{ echo \"failed: {}\"; cat out; }}",
                line.replace(['\'', '"', '$'], "")
            );
        }
        script + &words.join(" ") + "\n"
    }
}

fn curl(path: &str) -> String {
    format!("$CLIENT -H \"Authorization: Bearer $GITHUB_TOKEN\" 'https://api.github.com/{path}'")
}

fn github(seeded: &mut Seeded) -> Vec<(&'static str, &'static str, Value)> {
    let (number, word) = (1 + seeded.below(900), seeded.id("topic"));
    let of = |more: Value| {
        let mut all = json!({ "owner": "acme", "repo": "widget" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let comment = "mutation($id: ID!, $body: String!) { addComment(input: { subjectId: $id, body: $body }) { commentEdge { node { url } } } }";
    vec![
        ("octokit", "GET /repos/{owner}/{repo}/pulls/{pull_number}", of(json!({ "pull_number": number }))),
        (
            "octokit",
            "POST /repos/{owner}/{repo}/pulls",
            of(json!({ "title": word, "head": format!("agent/{word}"), "base": "main" })),
        ),
        (
            "octokit",
            "POST /repos/{owner}/{repo}/issues/{issue_number}/labels",
            of(json!({ "issue_number": number, "labels": [word] })),
        ),
        (
            "octokit",
            "PATCH /repos/{owner}/{repo}/issues/{issue_number}",
            of(json!({ "issue_number": number, "state": "closed" })),
        ),
        ("graphql", comment, json!({ "id": seeded.id("PR"), "body": word })),
        (
            "graphql",
            "query($n: Int!) { repository(owner: \"acme\", name: \"widget\") { issue(number: $n) { title } } }",
            json!({ "n": number }),
        ),
    ]
}

fn stripe(seeded: &mut Seeded) -> Vec<(&'static str, &'static str, Value)> {
    let (customer, charge, amount) = (seeded.id("cus"), seeded.id("ch"), 100 + seeded.below(900));
    vec![
        ("stripe", "customers.retrieve", json!([customer])),
        ("stripe", "charges.list", json!([{ "customer": customer, "limit": 3 }])),
        ("stripe", "charges.retrieve", json!([charge])),
        ("stripe", "refunds.create", json!([{ "charge": charge, "amount": amount }])),
        ("stripe", "customers.update", json!([customer, { "description": format!("refunded {amount}") }])),
    ]
}

fn slack(seeded: &mut Seeded) -> Vec<(&'static str, &'static str, Value)> {
    let word = seeded.id("news");
    vec![
        ("slack", "chat.postMessage", json!({ "channel": "C024BE91L", "text": word })),
        ("slack", "conversations.history", json!({ "channel": "C024BE91L", "limit": 1 + seeded.below(90) })),
        (
            "slack",
            "reactions.add",
            json!({ "channel": "C024BE91L", "timestamp": format!("{}.1", seeded.below(9_999)), "name": "eyes" }),
        ),
        ("slack", "users.info", json!({ "user": seeded.id("U") })),
    ]
}

/// What went wrong in a day, as its clients tell.
fn failures(stdout: &str) -> Vec<String> {
    let failed = |line: &&str| line.starts_with("failed: ") || line.contains("\"ok\":false,\"name\"");
    stdout.lines().filter(failed).map(str::to_owned).collect()
}

/// Says yes to whatever is asked, as long as the day lasts.
fn nod(town: &Town, over: &AtomicBool) -> usize {
    let mut asked = BTreeSet::new();
    while !over.load(Ordering::SeqCst) {
        let list = town.house.valetkey(&["approvals", "list", "--json"]).stdout;
        let list: Value = serde_json::from_str(&list).unwrap_or_default();
        for one in list.as_array().into_iter().flatten() {
            let id = one["id"].as_str().unwrap();
            if town.house.valetkey(&["approve", id, "--token-file", "token"]).code() == Some(0) {
                asked.insert(id.to_owned());
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    asked.len()
}

/// Exchanges of a session that are on record, and those of them that were refused.
fn exchanges(town: &Town, session: &Session) -> (usize, Vec<String>) {
    let log = Log::of(&town.house);
    let refused: Vec<String> =
        log.events(&session.id, "refusal").map(|event| format!("{} {}", event["reason"], event["calls"])).collect();
    (log.count(&session.id, "attempt") + refused.len(), refused)
}

fn observe(seed: u64, day: &Day) -> Town {
    let town = Town::new(seed, "mode: observe\n", OBSERVED);
    let done = town.script("dev", &day.script(&town));
    let failed = failures(&done.stdout);
    assert!(failed.is_empty() && done.code() == Some(0), "{failed:#?}\n{}\n{}", done.stdout, done.stderr);
    town
}

/// The second day's record, judged by the policy of the first: how many requests, and what would be denied.
fn replayed(observed: &Town, agents: &str) -> (u64, Vec<Value>) {
    let config = std::fs::read_to_string(observed.house.config()).unwrap();
    let least = config.replace(OBSERVED, agents).replace("mode: observe\n", "");
    std::fs::write(observed.house.path("least.yaml"), least).unwrap();
    let said = observed.house.valetkey(&["policy", "replay", "least.yaml", "--json"]);
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    let changes = said["changes"].as_array().unwrap().iter();
    (said["judged"].as_u64().unwrap(), changes.filter(|change| change["would_be"] == "deny").cloned().collect())
}

/// The second day under that policy, with a person who says yes: how many exchanges, how many questions, and what was refused; then what
/// nobody did on the first day.
fn lived(second: &Day, agents: &str) -> (usize, usize, Vec<String>) {
    let real = Town::new(921, &operators(), agents);
    real.give_token();
    let (_gateway, session) = (real.house.serve(), real.house.session("dev"));
    let over = AtomicBool::new(false);
    let (done, asked) = thread::scope(|scope| {
        let nods = scope.spawn(|| nod(&real, &over));
        let done = real.script_in(&session, &second.script(&real));
        over.store(true, Ordering::SeqCst);
        (done, nods.join().unwrap())
    });
    let (all, mut refused) = exchanges(&real, &session);
    refused.extend(failures(&done.stdout));
    let other = [
        (
            "octokit",
            "PUT /repos/{owner}/{repo}/pulls/{pull_number}/merge",
            json!({ "owner": "acme", "repo": "widget", "pull_number": 7 }),
        ),
        ("octokit", "DELETE /repos/{owner}/{repo}", json!({ "owner": "acme", "repo": "widget" })),
        ("octokit", "GET /repos/{owner}/{repo}/commits", json!({ "owner": "acme", "repo": "other" })),
        (
            "graphql",
            "mutation { mergePullRequest(input: { pullRequestId: \"PR_kwDOA1b2c30007\" }) { clientMutationId } }",
            json!({}),
        ),
        ("stripe", "payouts.create", json!([{ "amount": 1, "currency": "usd" }])),
        ("slack", "chat.postMessage", json!({ "channel": "C999", "text": "hello" })),
        ("slack", "users.list", json!({})),
    ];
    let words = real.sdks_words("other", &other).join(" ");
    let push = "cd work && git switch -q main && git pull -q && echo x >> README.md && git commit -qam x && git push -q origin main || echo 'failed: main'";
    let done = real.script_in(&session, &format!("{words}; {push}"));
    assert_eq!(failures(&done.stdout).len(), other.len() + 1, "{}\n{}", done.stdout, done.stderr);
    real.house.assert_audit();
    (all, asked, refused)
}

/// How many actions of the three services there are, and how many of them these permissions name.
fn reachable(town: &Town, permissions: &[Value]) -> (usize, usize) {
    let (mut before, mut after) = (0, 0);
    for service in ["github", "stripe", "slack"] {
        let shown = town.house.valetkey(&["service", "show", service, "--json"]).expect_success("show").stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let mine = permissions.iter().filter(|one| one["service"] == service);
        let named = mine.flat_map(|one| one["actions"].as_array().unwrap());
        let permitted: BTreeSet<&str> = named.map(|action| action.as_str().unwrap()).collect();
        let actions = shown["actions"].as_object().unwrap();
        assert!(permitted.iter().all(|id| actions.contains_key(*id)), "{permitted:?}");
        before += actions.len();
        after += permitted.len();
    }
    (before, after)
}

#[test]
fn a_policy_of_one_day_lets_the_next_one_through_and_little_else() {
    let (first, second) = (Day::new(0x5eed), Day::new(0xcafe));
    let town = observe(901, &first);
    let told = town.house.valetkey(&["policy", "suggest", "--agent", "dev", "--json"]).expect_success("suggest");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let permissions = told["agents"][0]["permissions"].as_array().unwrap();
    let agents = told["yaml"].as_str().unwrap().split_once("agents:\n").unwrap().1;

    let (judged, denied) = replayed(&observe(911, &second), agents);
    let count = denied.iter().map(|change| change["count"].as_u64().unwrap()).sum::<u64>();
    assert!(judged > 150 && count * 100 <= judged, "{count} of {judged} would be denied: {denied:#?}\n{agents}");
    let (all, asked, refused) = lived(&second, agents);
    assert!(all > 150 && refused.len() * 100 <= all, "{} of {all} were refused: {refused:#?}\n{agents}", refused.len());
    // Permissions name their actions, but for the one path that no action is known for: what was reachable before is gone but for these.
    let raw: Vec<&Value> = permissions.iter().filter(|one| one["actions"] == json!([])).collect();
    assert_eq!(raw.len(), 1, "{agents}");
    assert_eq!((&raw[0]["methods"], &raw[0]["endpoints"]), (&json!(["GET"]), &json!(["/experiments"])));
    let (before, after) = reachable(&town, permissions);
    assert!(after * 10 <= before, "{after} of {before} actions are left");
    println!(
        "{judged} replayed, {count} denied; {all} lived, {asked} asked, {} refused; {after} of {before} actions left",
        refused.len()
    );
    town.house.assert_audit();
}
