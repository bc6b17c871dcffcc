//! A role of AWS that is taken on for each agent, end to end: moto is STS, and holds sessions to the policy that they were given.

use std::time::Duration;

use e2e::House;
use e2e::house::{Gateway, Session, tool};
use serde_json::{Value, json};
use testkit::process::{Finished, finish};

use crate::aws::{Aws, client, outcome, tools};

const ROLE: &str = "arn:aws:iam::123456789012:role/agents";

/// Two agents, one role; the pair of keys that takes it on is the user's, who may do everything.
fn house(aws: &Aws, key: &str, more: &str) -> House {
    let config = format!(
        r#"version: 1
credentials:
  aws:
    service: aws
    from: "env:KEYS"
    issue: {{ aws_role: {{ role: "{ROLE}", region: us-east-1, external_id: the-word{more} }} }}
agents:
  worker:
    permissions:
      - service: aws
        credential: aws
        actions: ["sts:GetCallerIdentity", "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:CreateBucket", "sqs:CreateQueue", "sqs:SendMessage",
          "sqs:ReceiveMessage", "dynamodb:CreateTable", "dynamodb:PutItem", "dynamodb:GetItem", "dynamodb:DeleteItem"]
        resources: ["*"]
    denied_actions: ["s3:DeleteBucket"]
  reader:
    permissions:
      - {{ service: aws, credential: aws, actions: ["sts:GetCallerIdentity", "s3:GetObject"], resources: ["arn:aws:sts:::*", "arn:aws:s3:::reports/*"] }}
{}"#,
        aws.upstreams()
    );
    House::new(&config, &[("KEYS", &json!({ "access_key_id": aws.id, "secret_access_key": key }).to_string())])
}

/// What STS was sent, and what it gave.
fn given(aws: &Aws) -> Vec<Value> {
    let text = std::fs::read_to_string(aws.folder.path().join("sts.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Neither the pair that takes the role on nor anything that STS gave.
fn assert_clean(aws: &Aws, what: &str, text: &str) {
    aws.assert_clean(what, text);
    for one in given(aws) {
        for key in one["keys"].as_array().unwrap().iter().filter_map(Value::as_str) {
            assert!(!text.contains(key), "a key of a session stands in {what}:\n{text}");
        }
    }
}

fn python() -> String {
    tool("venv/bin/python").display().to_string()
}

/// What a client of a session that was begun at `serve` comes to.
fn under(house: &House, (_, session): (&Gateway, &Session), words: &[&str]) -> Finished {
    let mut command = house.clean(&tool("venv/bin/python"));
    let ca = house.path("session-ca.pem");
    std::fs::write(&ca, &session.ca).unwrap();
    command.envs(&session.env).env("AWS_CA_BUNDLE", &ca).args(words);
    finish(&mut command, Duration::from_mins(2))
}

#[test]
fn each_agent_has_a_session_of_its_own() {
    let aws = Aws::start();
    let house = house(&aws, &aws.key, ", duration: 30m");
    let steps = [client("aws_boto3.py"), "whoami".into(), "queue".into(), "items".into(), "denied_xml".into()];
    let words: Vec<&str> = steps.iter().map(String::as_str).collect();
    let python = python();
    let words = [&[python.as_str()], words.as_slice()].concat();
    let (finished, receipt) = house.run_with("worker", &["--isolate=off"], &words);
    let day = outcome(&finished);
    assert_eq!(day["whoami"], "arn:aws:sts::123456789012:assumed-role/agents/valetkey-worker", "{day}");
    assert_eq!((&day["queue"], &day["items"]), (&"hello".into(), &"3".into()), "{day}");
    assert!(day["denied_xml"].as_str().unwrap().contains("Action s3:DeleteBucket is denied"), "{day}");
    assert_eq!((receipt.count("denied"), receipt.count("tripwires")), (1, 0), "{:?}", receipt.0);
    // Placeholders of the form that sessions have, all three parts of them.
    let environment = &day["environment"];
    let text = |name: &str| environment[name].as_str().unwrap_or_default().to_owned();
    assert!(text("AWS_ACCESS_KEY_ID").starts_with("ASIA") && text("AWS_ACCESS_KEY_ID").len() == 20, "{environment}");
    assert_eq!(text("AWS_SECRET_ACCESS_KEY").len(), 40, "{environment}");
    assert!(text("AWS_SESSION_TOKEN").len() > 300, "{environment}");
    assert_clean(&aws, "what the worker saw", &format!("{}{}", finished.stdout, finished.stderr));
    // One session for all of it, called after the agent, for as long as was written, and with a policy of what it may do.
    let all = given(&aws);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["role"], &all[0]["session"]), (&ROLE.into(), &"valetkey-worker".into()));
    assert_eq!(all[0]["external_id"], "the-word");
    assert!((1_790..=1_800).contains(&all[0]["seconds"].as_u64().unwrap()), "{all:?}");
    let policy = all[0]["policy"].as_str().unwrap();
    for part in
        ["\"sqs:CreateQueue\"", "\"dynamodb:BatchWriteItem\"", "{\"Effect\":\"Deny\",\"Action\":[\"s3:DeleteBucket\"]"]
    {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    // The token that STS gives has another length than its placeholder has, and that does not matter.
    assert_ne!(all[0]["keys"][2].as_str().map(str::len), Some(text("AWS_SESSION_TOKEN").len()));

    let (finished, _) = house.run_with("reader", &["--isolate=off"], &[&python, &client("aws_boto3.py"), "whoami"]);
    assert_eq!(outcome(&finished)["whoami"], "arn:aws:sts::123456789012:assumed-role/agents/valetkey-reader");
    let all = given(&aws);
    assert_eq!(all.len(), 2);
    let policy: Value = serde_json::from_str(all[1]["policy"].as_str().unwrap()).unwrap();
    let statement = &policy["Statement"][0];
    assert_eq!(statement["Action"], json!(["s3:GetObject", "sts:GetCallerIdentity"]), "{policy}");
    assert_eq!(statement["Resource"], json!(["arn:aws:s3:::reports/*", "arn:aws:sts::*:*"]), "{policy}");
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    assert_clean(&aws, "the audit log", &export.stdout);
    house.assert_audit();
}

#[test]
fn a_session_that_is_stolen_is_held_to_what_its_agent_may_do() {
    let aws = Aws::start();
    let house = house(&aws, &aws.key, "");
    let (finished, _) = house.run_with("worker", &["--isolate=off"], &[&python(), &client("aws_boto3.py"), "whoami"]);
    assert!(outcome(&finished)["whoami"].as_str().unwrap().ends_with("/valetkey-worker"), "{}", finished.stdout);
    // Past the gateway, with the real keys: moto alone stands in the way now, and the role itself allows everything.
    let keys = given(&aws)[0]["keys"].clone();
    let mut command = house.clean(&tool("venv/bin/python"));
    for (name, at) in [("AWS_ACCESS_KEY_ID", 0), ("AWS_SECRET_ACCESS_KEY", 1), ("AWS_SESSION_TOKEN", 2)] {
        command.env(name, keys[at].as_str().unwrap());
    }
    command.args([client("aws_stolen.py"), format!("https://127.0.0.1:{}", aws.port)]);
    let tries = outcome(&finish(&mut command, Duration::from_mins(1)));
    assert!(tries["whoami"].as_str().unwrap().ends_with("assumed-role/agents/valetkey-worker"), "{tries}");
    assert_eq!(tries["allowed"], true, "{tries}");
    for no in ["denied", "escalates"] {
        assert!(tries[no].as_str().unwrap().contains("AccessDenied"), "{no}: {tries}");
    }
}

#[test]
fn the_sdk_for_javascript_and_the_command_line_need_to_know_nothing() {
    let aws = Aws::start();
    let house = house(&aws, &aws.key, "");
    let copy = tool("node").join("aws_role_sdk.mjs");
    std::fs::copy(client("aws_sdk.mjs"), &copy).unwrap();
    let cli = tool("venv/bin/aws").display().to_string();
    let words = format!(
        "export AWS_REGION=us-east-1; {cli} s3 mb s3://reports && printf hello > f && {cli} s3 cp f s3://reports/f && {cli} sts get-caller-identity --output text"
    );
    let (finished, _) = house.run_with("worker", &["--isolate=off"], &["sh", "-c", &words]);
    assert!(
        finished.stdout.contains("assumed-role/agents/valetkey-worker"),
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert_clean(&aws, "what the shell saw", &format!("{}{}", finished.stdout, finished.stderr));
    let node = copy.display().to_string();
    let (finished, _) = house.run_with("worker", &["--isolate=on", "--writable", &tools()], &["node", &node]);
    let day = outcome(&finished);
    assert!(day["whoami"].as_str().unwrap().ends_with("/valetkey-worker"), "{day}");
    assert_eq!((&day["put"], &day["list"]), (&"from js".into(), &1.into()), "{day}");
    assert_clean(&aws, "what node saw", &format!("{}{}", finished.stdout, finished.stderr));
}

#[test]
fn fifty_calls_at_once_take_it_on_once_and_a_revoked_pair_takes_on_nothing() {
    let aws = Aws::start();
    let house = house(&aws, &aws.key, "");
    let gateway = house.serve();
    let session = house.session("worker");
    let at = (&gateway, &session);
    let finished = under(&house, at, &[&client("aws_many.py")]);
    let came = outcome(&finished);
    assert_eq!(
        came,
        json!({ "arn:aws:sts::123456789012:assumed-role/agents/valetkey-worker": 50 }),
        "{}",
        finished.stderr
    );
    assert_eq!(given(&aws).len(), 1);
    let _ = house.valetkey(&["credential", "revoke", "aws"]).expect_success("credential revoke");
    let day = outcome(&under(&house, at, &[&client("aws_boto3.py"), "whoami"]));
    assert!(day["whoami"].as_str().unwrap().contains("revoked"), "{day}");
    assert_eq!(given(&aws).len(), 1);
    assert_clean(&aws, "the log", &std::fs::read_to_string(house.path("serve.log")).unwrap());
    house.assert_audit();
}

#[test]
fn what_sts_says_is_told_and_a_credential_is_tested() {
    let aws = Aws::start();
    let test = |house: &House| house.valetkey(&["credential", "test", "aws", "--config", "valetkey.yaml"]);
    let _ = test(&house(&aws, &aws.key, "")).expect_success("a role's test");
    // It asked for a session that may do nothing.
    let all = given(&aws);
    assert_eq!((all.len(), all[0]["session"].as_str()), (1, Some("valetkey-credential-test")), "{all:?}");
    assert!(all[0]["policy"].as_str().unwrap().contains("\"Deny\""), "{all:?}");
    let plain = house(&aws, &aws.key, "");
    let config = std::fs::read_to_string(plain.config()).unwrap();
    let issue = config.lines().find(|line| line.contains("issue:")).unwrap();
    std::fs::write(plain.config(), config.replace(issue, "")).unwrap();
    let _ = test(&plain).expect_success("the test of a plain pair");
    // A wrong pair, and one that does not know the word which the role asks for.
    let wrong = house(&aws, &aws.key.replace(|letter: char| letter.is_ascii_digit(), "x"), "");
    let stranger = house(&aws, &aws.key, "");
    std::fs::write(
        stranger.config(),
        std::fs::read_to_string(stranger.config()).unwrap().replace("the-word", "another"),
    )
    .unwrap();
    for (house, says) in [(&wrong, "SignatureDoesNotMatch"), (&stranger, "AccessDenied")] {
        let (finished, _) =
            house.run_with("worker", &["--isolate=off"], &[&python(), &client("aws_boto3.py"), "whoami"]);
        let day = outcome(&finished);
        assert!(day["whoami"].as_str().unwrap().contains("ClientError"), "{day}");
        let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        assert!(export.stdout.contains(says), "{says}: {}", export.stdout);
        assert_clean(&aws, "the audit log", &export.stdout);
        assert_eq!(test(house).code(), Some(1));
    }
    assert_eq!(given(&aws).len(), 1);
}

#[test]
fn what_surrounds_the_gateway_takes_the_role_on_and_stays_out_of_the_agents_sight() {
    let aws = Aws::start();
    let written = house(&aws, &aws.key, "");
    let config = std::fs::read_to_string(written.config()).unwrap().replace("env:KEYS", "aws:ambient");
    let house = House::new(&config, &[("AWS_ACCESS_KEY_ID", &aws.id), ("AWS_SECRET_ACCESS_KEY", &aws.key)]);
    let (finished, _) =
        house.run_with("worker", &["--isolate=off"], &[&python(), &client("aws_boto3.py"), "whoami", "queue"]);
    let day = outcome(&finished);
    assert_eq!(day["whoami"], "arn:aws:sts::123456789012:assumed-role/agents/valetkey-worker", "{day}");
    assert_eq!(day["queue"], "hello", "{day}");
    assert!(day["environment"]["AWS_ACCESS_KEY_ID"].as_str().unwrap().starts_with("ASIA"), "{day}");
    assert_clean(&aws, "what the worker saw", &format!("{}{}", finished.stdout, finished.stderr));
    assert_eq!(given(&aws).len(), 1);
}
