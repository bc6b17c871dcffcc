//! `review`: what is granted against what was used, by a real agent and a service that tells what a token may do.

use e2e::House;
use serde_json::Value;
use testkit::{Answer, Canary, Upstream};

/// A bot that reads one repository and comments, beside one that shares its token and does nothing.
fn house(upstream: &Upstream) -> House {
    let token = Canary::new(931, "ghp_", 36);
    let config = format!(
        "version: 1\nmode: enforce\ncredentials:\n  token: {{ service: github, from: \"env:GITHUB_TOKEN\" }}\n  spare: {{ service: github, from: \"env:SPARE\" }}\nagents:\n  \
         bot:\n    purpose: Comments on issues\n    owner: \"@dev\"\n    permissions:\n      \
         - {{ service: github, credential: token, actions: [issues/get, issues/create-comment], resources: [\"repo:o/r\"], conditions: {{ limit: 5/hour }} }}\n      \
         - {{ service: github, credential: token, actions: [write], resources: [\"*\"] }}\n  \
         idle:\n    permissions:\n      \
         - {{ service: github, credential: token, actions: [gists/create], resources: [\"*\"], conditions: {{ approval: none }} }}\nupstreams:\n{}",
        upstream.entry("api.github.com")
    );
    House::new(&config, &[("GITHUB_TOKEN", &token.value()), ("SPARE", "spare-and-unused-0123456789")])
}

#[test]
fn what_is_granted_and_not_used_is_named() {
    let answer = |_: &testkit::Seen| {
        Some(
            Answer::json(&serde_json::json!({ "login": "bot" }))
                .header("X-OAuth-Scopes", "repo, gist, delete_repo, admin:org"),
        )
    };
    let upstream = Upstream::builder().handler(answer).start();
    let house = house(&upstream);
    let ask = "for n in 1 2 3; do curl -sS -o /dev/null -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/repos/o/r/issues/$n; done";
    let (finished, receipt) = house.run("bot", &["sh", "-c", ask]);
    let _ = finished.expect_success("the agent");
    assert_eq!(receipt.count("allowed"), 3, "{}", receipt.0);
    let told = house.valetkey(&["review", "--ask", "--json"]);
    assert_eq!(told.code(), Some(1), "{}{}", told.stdout, told.stderr);
    let review: Value = serde_json::from_str(&told.stdout).unwrap();
    let permissions = review["permissions"].as_array().unwrap();
    let times = |at: usize| permissions[at]["times"].as_u64();
    assert_eq!((permissions.len(), times(0), times(1), times(2)), (3, Some(3), Some(0), Some(0)), "{review:#}");
    assert_eq!(permissions[0]["used"], serde_json::json!(["issues/get"]), "{review:#}");
    let token = review["credentials"].as_array().unwrap().iter().find(|one| one["name"] == "token").unwrap();
    assert_eq!(token["agents"], serde_json::json!(["bot", "idle"]), "{token:#}");
    assert_eq!(token["used_by"], serde_json::json!(["bot"]), "{token:#}");
    assert_eq!(token["scopes"], serde_json::json!(["repo", "gist", "delete_repo", "admin:org"]), "{token:#}");
    // `gist` is what the idle agent may; nobody may delete repositories or run the organisation.
    assert_eq!(token["beyond"], serde_json::json!(["delete_repo", "admin:org"]), "{token:#}");
    let checks = review["checklist"].as_array().unwrap();
    assert_eq!(checks.len(), 12);
    let failed: Vec<&str> =
        checks.iter().filter(|check| check["answer"] == "fail").map(|check| check["title"].as_str().unwrap()).collect();
    for (part, fails) in [
        ("answers for it", true),
        ("share a credential", true),
        ("named by a permission", true),
        ("dormant", false),
        ("older than 90 days", false),
        ("more than permissions need", true),
        ("every permission was used", true),
        ("granted by name", true),
        ("asks a person", true),
        ("has a limit", true),
        ("enforced", false),
        ("record is whole", false),
    ] {
        assert_eq!(failed.iter().any(|title| title.contains(part)), fails, "{part}: {review:#}");
    }
    let least = review["least_policy_changes"].as_array().unwrap();
    assert!(least.iter().any(|line| line.as_str().unwrap().contains("may no longer")), "{least:#?}");
    let shown = house.valetkey(&["review"]).stdout;
    for part in [
        "bot/2  write of github on *: never used",
        "token is shared by bot, idle",
        "not: issues/create-comment",
        "4 pass, 7 fail, 1 open",
    ] {
        assert!(shown.contains(part), "`{part}` is missing: {shown}");
    }
    house.assert_clean("the review", &format!("{}{shown}", told.stdout));
}

/// What passes everything says so, and what cannot be reviewed says why.
#[test]
fn a_tidy_house_passes() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::json(&serde_json::json!({})))).start();
    let token = Canary::new(932, "ghp_", 36);
    let config = format!(
        "version: 1\ncredentials:\n  token: {{ service: github, from: \"env:GITHUB_TOKEN\" }}\nagents:\n  bot:\n    purpose: Reads\n    owner: \"@dev\"\n    \
         permissions:\n      - {{ service: github, credential: token, actions: [issues/get], resources: [\"repo:o/r\"] }}\nupstreams:\n{}",
        upstream.entry("api.github.com")
    );
    let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
    let ask =
        "curl -sS -o /dev/null -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/repos/o/r/issues/1";
    let _ = house.run("bot", &["sh", "-c", ask]).0.expect_success("the agent");
    let told = house.valetkey(&["review"]).expect_success("review");
    assert!(told.stdout.ends_with("11 pass, 0 fail, 1 open\n"), "{}", told.stdout);
    // A house in which nothing was done yet leaves open what only a record could answer.
    let fresh = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
    let fresh = fresh.valetkey(&["review"]).expect_success("review").stdout;
    assert!(fresh.contains("nothing is on record since then"), "{fresh}");
    assert!(fresh.ends_with("8 pass, 0 fail, 4 open\n"), "{fresh}");
    std::fs::write(house.path("none.yaml"), "version: 1\n").unwrap();
    for (arguments, code, says) in [
        (["--config", "none.yaml"], 3, "names no agents"),
        (["--since", "yesterday"], 2, "is not a time"),
        (["--since", "2999-01-01T00:00:00Z"], 2, "lies in the future"),
        (["--agent", "bat"], 2, "names no agent `bat`"),
        (["--config", "missing.yaml"], 3, "missing.yaml"),
    ] {
        let told = house.valetkey(&[&["review"], &arguments[..]].concat());
        assert_eq!(told.code(), Some(code), "{arguments:?}: {}", told.stderr);
        assert!(told.stderr.contains(says), "{arguments:?}: {}", told.stderr);
    }
}
