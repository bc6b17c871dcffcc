//! AWS under its own clients: boto3, aws-cli and the SDK for JavaScript sign with placeholders, moto verifies what comes out of the
//! gateway.

use std::fmt::Write as _;

use e2e::House;
use e2e::house::{root, tool};
use serde_json::Value;
use testkit::Ca;
use testkit::process::{Finished, Running};

/// Endpoints that the clients use.
const HOSTS: [&str; 11] = [
    "iam.amazonaws.com",
    "sts.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "s3.us-east-1.amazonaws.com",
    "s3.amazonaws.com",
    "reports.s3.us-east-1.amazonaws.com",
    "reports.s3.amazonaws.com",
    "dynamodb.us-east-1.amazonaws.com",
    "secretsmanager.us-east-1.amazonaws.com",
    "sqs.us-east-1.amazonaws.com",
    "lambda.us-east-1.amazonaws.com",
];

/// moto, over TLS.
pub(crate) struct Aws {
    _process: Running,
    pub(crate) folder: tempfile::TempDir,
    ca: String,
    pub(crate) port: u64,
    pub(crate) id: String,
    pub(crate) key: String,
    session: Value,
}

impl Aws {
    pub(crate) fn start() -> Self {
        let (ca, folder) = (Ca::new("aws"), tempfile::tempdir().unwrap());
        let (cert, key) = ca.leaf_pem(&HOSTS);
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("cert.pem"), cert).unwrap();
        std::fs::write(file("key.pem"), key).unwrap();
        std::fs::write(file("ca.pem"), ca.pem()).unwrap();
        let mut command = std::process::Command::new(tool("venv/bin/python"));
        command.arg(root().join("tests/e2e/origins/aws.py")).args([file("cert.pem"), file("key.pem")]);
        command.env("HOME", folder.path()).stderr(std::process::Stdio::null());
        let (process, line) = Running::ready(command);
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("moto did not start: {error} {line}"));
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            ca: file("ca.pem").display().to_string(),
            port: ready["port"].as_u64().unwrap(),
            id: text("id"),
            key: text("key"),
            session: ready["session"].clone(),
            _process: process,
            folder,
        }
    }

    pub(crate) fn upstreams(&self) -> String {
        HOSTS.iter().fold("upstreams:\n".to_owned(), |mut text, host| {
            let _ = writeln!(text, "  {host}: {{ address: \"127.0.0.1:{}\", ca: {} }}", self.port, self.ca);
            text
        })
    }

    /// A house whose agent may do what the clients' day holds, and not what they try beside.
    fn house(&self, key: &str) -> House {
        self.house_of(&serde_json::json!({ "access_key_id": self.id, "secret_access_key": key }))
    }

    fn house_of(&self, keys: &Value) -> House {
        let config = format!(
            r#"version: 1
credentials:
  aws: {{ service: aws, from: "env:KEYS" }}
agents:
  worker:
    permissions:
      - service: aws
        credential: aws
        actions: ["sts:GetCallerIdentity", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:CreateBucket",
          "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "dynamodb:CreateTable", "dynamodb:PutItem", "dynamodb:GetItem",
          "dynamodb:DeleteItem", "dynamodb:UpdateItem", "sqs:CreateQueue", "sqs:SendMessage", "sqs:ReceiveMessage", "lambda:ListFunctions",
          "lambda:InvokeFunction", "secretsmanager:CreateSecret"]
        resources: ["arn:aws:sts:::*", "arn:aws:s3:::reports", "arn:aws:s3:::reports/*", "arn:aws:dynamodb:us-east-1::table/Orders",
          "arn:aws:sqs:us-east-1:*:jobs", "arn:aws:lambda:us-east-1:*:function:hello", "arn:aws:lambda:us-east-1::*",
          "arn:aws:secretsmanager:us-east-1:*:secret:prod/*"]
      - service: aws
        credential: aws
        actions: ["secretsmanager:GetSecretValue"]
        resources: ["arn:aws:secretsmanager:us-east-1:*:secret:prod/*"]
        conditions: {{ approval: none }}
    denied_actions: ["s3:DeleteBucket"]
{}"#,
            self.upstreams()
        );
        House::new(&config, &[("KEYS", &keys.to_string())])
    }

    pub(crate) fn assert_clean(&self, what: &str, text: &str) {
        assert!(!text.contains(&self.key) && !text.contains(&self.id), "a real key stands in {what}:\n{text}");
    }
}

pub(crate) fn client(name: &str) -> String {
    root().join("tests/e2e/clients").join(name).display().to_string()
}

/// Programs of the tests lie below the workspace, wherever that is.
pub(crate) fn tools() -> String {
    // The folder may be a link, and what may be written to is named by where it is.
    tool("node").parent().unwrap().canonicalize().unwrap().display().to_string()
}

pub(crate) fn outcome(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{}\n{}", finished.stdout, finished.stderr))
}

#[test]
fn aws_is_signed_anew_for_three_clients() {
    let aws = Aws::start();
    let house = aws.house(&aws.key);
    let python = tool("venv/bin/python").display().to_string();
    let (finished, receipt) = house.run_with("worker", &["--isolate=off"], &[&python, &client("aws_boto3.py")]);
    let day = outcome(&finished);
    assert_eq!(day["whoami"], "arn:aws:iam::123456789012:user/agent", "{day}");
    assert_eq!(day["secret"], "hunter22");
    assert_eq!(day["objects"][0], "one");
    assert_eq!(day["objects"][1], "ne", "a range comes as one");
    assert_eq!(day["objects"][2], serde_json::json!(["a/b c+d=é@x.txt"]));
    assert_eq!(day["multipart"], true, "{day}");
    assert_eq!(day["items"], "3");
    assert_eq!(day["queue"], "hello");
    assert_eq!(day["function"], 200);
    for (step, words) in [
        ("denied_xml", "Action s3:DeleteBucket is denied"),
        ("denied_json", "Action dynamodb:DeleteTable is denied"),
        ("denied_query", "Action iam:CreateAccessKey is denied"),
    ] {
        let text = day[step].as_str().unwrap();
        assert!(text.contains(words) && text.contains("AccessDenied"), "{step}: {text}");
    }
    // What the agent had were placeholders of the same shape, and what it signed with them is worth nothing elsewhere.
    let environment = &day["environment"];
    assert_eq!(environment["AWS_ACCESS_KEY_ID"].as_str().map(str::len), Some(20), "{environment}");
    assert_eq!(environment["AWS_SECRET_ACCESS_KEY"].as_str().map(str::len), Some(40), "{environment}");
    assert!(environment["AWS_SESSION_TOKEN"].is_null());
    aws.assert_clean("what boto3 saw", &format!("{}{}", finished.stdout, finished.stderr));
    assert_eq!(receipt.count("denied"), 3, "{:?}", receipt.0);
    assert_eq!(receipt.count("tripwires"), 0, "{:?}", receipt.0);

    let script = client("aws_sdk.mjs");
    let copy = tool("node").join("aws_sdk.mjs");
    std::fs::copy(&script, &copy).unwrap();
    let (finished, _) =
        house.run_with("worker", &["--isolate=on", "--writable", &tools()], &["node", &copy.display().to_string()]);
    let day = outcome(&finished);
    assert_eq!(day["whoami"], "arn:aws:iam::123456789012:user/agent", "{day}");
    assert_eq!((&day["put"], &day["list"], &day["item"]), (&"from js".into(), &1.into(), &"3".into()), "{day}");
    let denied = day["denied"].as_str().unwrap();
    assert!(denied.contains("AccessDenied") && denied.contains("Action s3:DeleteBucket is denied"), "{denied}");

    let cli = tool("venv/bin/aws").display().to_string();
    let words = "set -e; printf 'from the shell' > f; aws s3 cp f s3://reports/sh/f; aws s3 cp s3://reports/sh/f -; aws s3 ls s3://reports/sh/; \
                 aws sts get-caller-identity --output text; aws s3 rb s3://reports 2>&1 || true";
    let words = words.replace("aws s", &format!("AWS_REGION=us-east-1 {cli} s"));
    let (finished, _) = house.run_with("worker", &["--isolate=off"], &["sh", "-c", &words]);
    for part in ["from the shell", "user/agent", "Action s3:DeleteBucket is denied"] {
        assert!(finished.stdout.contains(part), "{part}: {}\n{}", finished.stdout, finished.stderr);
    }
    aws.assert_clean("what the shell saw", &format!("{}{}", finished.stdout, finished.stderr));
    let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
    aws.assert_clean("the audit log", &export.stdout);
    assert!(export.stdout.contains("arn:aws:s3:::reports/a/b c+d=é%40x.txt"), "the object is named");
    house.assert_audit();
}

#[test]
fn a_wrong_aws_key_is_refused_by_the_upstream_alone() {
    let aws = Aws::start();
    let wrong = aws.key.replace(|letter: char| letter.is_ascii_digit(), "x");
    let house = aws.house(&wrong);
    let python = tool("venv/bin/python").display().to_string();
    let (finished, receipt) =
        house.run_with("worker", &["--isolate=off"], &[&python, &client("aws_boto3.py"), "whoami", "items"]);
    let day = outcome(&finished);
    let text = day["whoami"].as_str().unwrap();
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
    assert!(day["items"].as_str().unwrap().contains("ClientError"), "{day}");
    assert_eq!(receipt.count("denied"), 0);
    aws.assert_clean("what boto3 saw", &format!("{}{}", finished.stdout, finished.stderr));
}

#[test]
fn a_session_token_is_put_on_with_its_keys() {
    let aws = Aws::start();
    let house = aws.house_of(&aws.session);
    let python = tool("venv/bin/python").display().to_string();
    let (finished, receipt) =
        house.run_with("worker", &["--isolate=off"], &[&python, &client("aws_boto3.py"), "whoami", "queue"]);
    let day = outcome(&finished);
    assert_eq!(day["whoami"], "arn:aws:sts::123456789012:assumed-role/r/day", "{day}");
    assert_eq!(day["queue"], "hello", "{day}");
    let environment = &day["environment"];
    for (name, part) in [
        ("AWS_ACCESS_KEY_ID", "AccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
        ("AWS_SESSION_TOKEN", "SessionToken"),
    ] {
        let (holder, real) = (environment[name].as_str().unwrap(), aws.session[part].as_str().unwrap());
        assert!(holder != real && holder.len() == real.len(), "{name}: {environment}");
        assert!(!finished.stdout.contains(real) && !finished.stderr.contains(real), "{name} is there");
    }
    assert!(environment["AWS_ACCESS_KEY_ID"].as_str().unwrap().starts_with("ASIA"), "{environment}");
    assert_eq!(receipt.count("tripwires"), 0, "{:?}", receipt.0);
}

#[test]
fn explain_and_check_know_aws() {
    let house = House::new("version: 1\n", &[]);
    let typo = "version: 1\nagents: { a: { permissions: [{ service: aws, actions: [\"s3:GetObjct\"], resources: [\"*\"] }] } }\n";
    std::fs::write(house.path("typo.yaml"), typo).unwrap();
    let checked = house.valetkey(&["policy", "check", "typo.yaml"]);
    assert_eq!(checked.code(), Some(1));
    assert!(format!("{}{}", checked.stdout, checked.stderr).contains("`s3:GetObject`"), "{}", checked.stderr);
    std::fs::write(house.path("b.json"), r#"{"RequestItems":{"A":[{"PutRequest":{}},{"DeleteRequest":{}}]}}"#).unwrap();
    let words = [
        "explain",
        "--json",
        "-H",
        "X-Amz-Target: DynamoDB_20120810.BatchWriteItem",
        "-H",
        "Content-Type: application/x-amz-json-1.0",
        "--body",
        "b.json",
        "POST",
        "https://dynamodb.eu-west-1.amazonaws.com/",
    ];
    let told = house.valetkey(&words).expect_success("explain");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let calls: Vec<_> =
        told["calls"].as_array().unwrap().iter().map(|call| (&call["action"], &call["class"])).collect();
    assert_eq!(
        calls,
        [(&"dynamodb:PutItem".into(), &"write".into()), (&"dynamodb:DeleteItem".into(), &"delete".into())]
    );
    assert_eq!(told["calls"][0]["resource"], "arn:aws:dynamodb:eu-west-1::table/A");
}

#[test]
fn run_finds_aws_keys_and_masks_their_file() {
    let aws = Aws::start();
    let config = format!("version: 1\n{}", aws.upstreams());
    let house = House::new(&config, &[("AWS_ACCESS_KEY_ID", &aws.id), ("AWS_SECRET_ACCESS_KEY", &aws.key)]);
    let file = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", aws.id, aws.key);
    std::fs::create_dir(house.path("home/.aws")).unwrap();
    std::fs::write(house.path("home/.aws/credentials"), file).unwrap();
    let python = tool("venv/bin/python").display().to_string();
    std::fs::copy(client("aws_boto3.py"), house.path("day.py")).unwrap();
    let words = format!(
        "{python} day.py whoami && cat ~/.aws/credentials && env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY {python} day.py whoami"
    );
    let mut command = house.clean(e2e::house::binary());
    command.arg("run").arg("--config").arg(house.config()).args(["--isolate=on", "--writable", &tools()]);
    command.args(["--", "sh", "-c", &words]);
    let finished = testkit::process::finish(&mut command, std::time::Duration::from_mins(1)).expect_success("run");
    assert_eq!(finished.stdout.matches("arn:aws:iam::123456789012:user/agent").count(), 2, "{}", finished.stdout);
    assert!(finished.stdout.contains("aws_access_key_id = AKIA"), "{}", finished.stdout);
    assert!(!finished.stdout.contains("withheld"), "{}", finished.stdout);
    aws.assert_clean("what the agent saw", &format!("{}{}", finished.stdout, finished.stderr));
}

#[test]
fn keys_of_a_user_are_rotated() {
    let aws = Aws::start();
    let first = serde_json::json!({ "access_key_id": aws.id, "secret_access_key": aws.key });
    let house = aws.house_of(&first);
    // In the vault instead of a variable, with who rotates it.
    let config = std::fs::read_to_string(house.config()).unwrap();
    let own = config.replace("from: \"env:KEYS\"", "rotate: { with: { aws-iam: {} }, grace: 1s }");
    assert_ne!(own, config);
    std::fs::write(house.config(), own).unwrap();
    let mut command = house.clean(e2e::house::binary());
    command.args(["credential", "add", "aws", "--service", "aws", "--kind", "aws"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), first.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let python = tool("venv/bin/python").display().to_string();
    let whoami = |house: &House| {
        let words = [&python[..], &client("aws_boto3.py"), "whoami"];
        let (finished, _) = house.run_with("worker", &["--isolate=off"], &words);
        outcome(&finished)["whoami"].as_str().unwrap().to_owned()
    };
    let user = "arn:aws:iam::123456789012:user/agent";
    for round in 1..=2 {
        let config = house.config();
        let words = ["credential", "rotate", "aws", "--config", config.to_str().unwrap()];
        let told = house.valetkey(&words).expect_success("rotate");
        assert!(told.stdout.contains(&format!("version {} is in use", round + 1)), "{}", told.stdout);
        assert_eq!(whoami(&house), user, "the new key signs");
        // The first one is good until the second rotation retires it.
        let old = whoami(&aws.house(&aws.key));
        assert_eq!(old == user, round == 1, "round {round}: {old}");
    }
}
