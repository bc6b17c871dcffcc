//! Work on policies with what real agents did.

use e2e::House;
use serde_json::{Value, json};
use testkit::{Answer, Canary, Upstream};

use crate::talk::{agent, echo_house};

#[test]
fn what_is_on_record_is_judged_by_another_policy() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let ask = "for path in /a /a /b; do curl -sS -o /dev/null -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test$path; done; \
               curl -sS -o /dev/null -X POST -d x -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/a; \
               curl -sS -o /dev/null -X DELETE -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/a";
    let (finished, receipt) = house.run("tester", &["sh", "-c", ask]);
    let _ = finished.expect_success("the agent");
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (4, 1), "{}", receipt.0);
    let same = house.valetkey(&["policy", "replay", "valetkey.yaml"]).expect_success("replay");
    assert_eq!(same.stdout, "5 requests judged anew: 5 as before, 0 otherwise\n");
    let other = std::fs::read_to_string(house.config()).unwrap();
    std::fs::write(house.path("other.yaml"), other.replace("methods: [GET, POST]", "methods: [GET, DELETE]")).unwrap();
    let told = house.valetkey(&["policy", "replay", "other.yaml", "--agent", "tester"]);
    assert_eq!(told.code(), Some(1), "{}", told.stderr);
    for part in ["allow -> deny", "deny -> allow", "5 requests judged anew: 3 as before, 2 otherwise"] {
        assert!(told.stdout.contains(part), "`{part}` is missing: {}", told.stdout);
    }
    let json = house.valetkey(&["policy", "replay", "other.yaml", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let changes = json["changes"].as_array().unwrap();
    assert_eq!((changes.len(), &json["judged"]), (2, &Value::from(5)), "{json:#}");
    // Nothing of it is anything that another agent did.
    let none = house.valetkey(&["policy", "replay", "other.yaml", "--agent", "nobody"]).expect_success("replay");
    assert_eq!(none.stdout, "0 requests judged anew: 0 as before, 0 otherwise\n");
}

/// A document is not on record, but what it asked for is.
#[test]
fn documents_of_graphql_are_judged_anew_by_their_calls() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::json(&json!({"data": {}})))).start();
    let token = Canary::new(903, "ghp_", 36);
    let config = format!(
        "version: 1\ncredentials:\n  token: {{ service: github, from: env:GITHUB_TOKEN }}\nagents:\n  tester:\n    permissions:\n      \
         - {{ service: github, credential: token, actions: [read, activity/star-repo-for-authenticated-user, gists/star], \
         resources: [\"*\"] }}\nupstreams:\n{}",
        upstream.entry("api.github.com")
    );
    let house = House::new(&config, &[("GITHUB_TOKEN", &token.value())]);
    let ask = "for query in '{viewer{login}}' 'mutation{addStar(input:{starrableId:\\\"R\\\"}){starrable{id}}}' \
               'mutation{deleteRef(input:{refId:\\\"R\\\"}){clientMutationId}}'; do \
               curl -sS -o /dev/null -H \"Authorization: Bearer $GITHUB_TOKEN\" -H 'Content-Type: application/json' \
               -d \"{\\\"query\\\":\\\"$query\\\"}\" https://api.github.com/graphql; done";
    let (finished, receipt) = house.run("tester", &["sh", "-c", ask]);
    let _ = finished.expect_success("the agent");
    assert_eq!((receipt.count("allowed"), receipt.count("denied")), (2, 1), "{}", receipt.0);
    let same = house.valetkey(&["policy", "replay", "valetkey.yaml"]).expect_success("replay");
    assert_eq!(same.stdout, "3 requests judged anew: 3 as before, 0 otherwise\n");
    std::fs::write(house.path("other.yaml"), config.replace("gists/star]", "gists/star, git/delete-ref]")).unwrap();
    let told = house.valetkey(&["policy", "replay", "other.yaml"]);
    assert!(told.code() == Some(1) && told.stdout.contains("deny -> allow"), "{}{}", told.stdout, told.stderr);
}

#[test]
fn what_a_change_changes_is_told() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let old = std::fs::read_to_string(house.config()).unwrap();
    let same = house.valetkey(&["policy", "diff", "valetkey.yaml", "valetkey.yaml"]).expect_success("diff");
    assert_eq!(same.stdout, "no difference: both decide alike\n");
    let new = old.replace("methods: [GET, POST]", "methods: [GET, DELETE]");
    std::fs::write(house.path("new.yaml"), new).unwrap();
    let told = house.valetkey(&["policy", "diff", "valetkey.yaml", "new.yaml"]);
    assert_eq!(told.code(), Some(1), "{}", told.stderr);
    for part in ["tester may now: ", "tester may no longer: ", " of echo on any resource by DELETE", "by POST"] {
        assert!(told.stdout.contains(part), "`{part}` is missing: {}", told.stdout);
    }
    let json = house.valetkey(&["policy", "diff", "valetkey.yaml", "new.yaml", "--agent", "tester", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["same"], false);
    // What is told is so: the engine says the same of a request of each kind.
    for one in json["differences"].as_array().unwrap() {
        let method = one["by"][0].as_str().unwrap().trim_start_matches("by ").to_owned();
        for (file, side) in [("valetkey.yaml", "was"), ("new.yaml", "becomes")] {
            let url = "https://kit.echo.test/anything-at-all";
            let said = house.valetkey(&["explain", "--json", "--config", file, "--agent", "tester", &method, url]);
            let said: Value = serde_json::from_str(&said.stdout).unwrap();
            assert_eq!(said["decision"], one[side]["decision"], "{one:#} {file}");
        }
    }
}

#[test]
fn the_least_policy_for_what_was_done_is_suggested() {
    let upstream = Upstream::start();
    let (house, _) = echo_house(&upstream, &agent("tester", ""));
    let ask = "for path in /a /a /b; do curl -sS -o /dev/null -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test$path; done; \
               for i in 1 2 3; do curl -sS -o /dev/null -X POST -d x -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/a; done; \
               curl -sS -o /dev/null -X DELETE -H \"Authorization: Bearer $ECHO_TOKEN\" https://kit.echo.test/a";
    let (finished, _) = house.run("tester", &["sh", "-c", ask]);
    let _ = finished.expect_success("the agent");
    let told = house.valetkey(&["policy", "suggest", "--agent", "tester"]).expect_success("suggest");
    for part in [
        "# the least policy for 6 requests of tester\n",
        "# 1 left out: denied; --denied covers them too\n",
        "#   tester may no longer: ",
        "        endpoints: [\"/a\", \"/b\"]\n",
        "        # at most 3 in an hour on record; half as many more, rounded up\n",
        "        credential: echo-token\n",
        "        conditions: { limit: 5/hour }",
    ] {
        let part = part.trim_start_matches("  ");
        assert!(told.stdout.contains(part), "`{part}` is missing: {}", told.stdout);
    }
    let by_receipt = house.valetkey(&["policy", "suggest", "--receipt", "receipt.json"]).expect_success("suggest");
    assert_eq!(by_receipt.stdout, told.stdout, "of the same session");
    // All of it is a configuration, under which the same passes and the same does not.
    std::fs::write(house.path("least.yaml"), &told.stdout).unwrap();
    let _ = house.valetkey(&["policy", "check", "least.yaml"]).expect_success("check");
    let same = house.valetkey(&["policy", "replay", "least.yaml", "--agent", "tester"]).expect_success("replay");
    assert_eq!(same.stdout, "7 requests judged anew: 7 as before, 0 otherwise\n");
    // What was denied only where that is asked for, and marked.
    let json = house.valetkey(&["policy", "suggest", "--denied", "--json"]).expect_success("suggest");
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let denied: Vec<&Value> =
        json["agents"][0]["permissions"].as_array().unwrap().iter().filter(|one| one["denied"] == true).collect();
    assert_eq!((denied.len(), &denied[0]["methods"][0]), (1, &Value::from("DELETE")), "{json:#}");
    assert!(json["yaml"].as_str().unwrap().contains("# was denied; leave it out unless it is meant"));
    let none = house.valetkey(&["policy", "suggest", "--agent", "nobody"]);
    assert_eq!((none.code(), none.stdout.as_str()), (Some(1), ""), "{}", none.stderr);
}
