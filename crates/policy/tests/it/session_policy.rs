//! Session policies for STS, from what agents may do.

use std::collections::BTreeMap;

use model::vocabulary::{ActionWords, ServiceWords, Vocabulary};
use model::{Class, CredentialName, Effects};
use policy::{Document, NoSessionPolicy, session_policy};

fn words() -> Vocabulary {
    let action = |id: &str| {
        let words = ActionWords {
            class: Class::Read,
            effects: Effects::NONE,
            facts: BTreeMap::new(),
            resource: "arn".to_owned(),
            implied_by: Vec::new(),
            forms: Vec::new(),
        };
        (id.to_owned(), words)
    };
    let ids = ["s3:GetObject", "s3:PutObject", "dynamodb:PutItem", "s3:DeleteBucket", "aws/unlisted-request"];
    let scopes = BTreeMap::from([("s3:Get*".to_owned(), vec!["s3:GetObject".to_owned()])]);
    let service = ServiceWords {
        actions: ids.into_iter().map(action).collect(),
        scopes,
        kinds: vec!["arn".to_owned()],
        ..ServiceWords::default()
    };
    Vocabulary { services: BTreeMap::from([("aws".to_owned(), service)]) }
}

fn of(permissions: &str, more: &str) -> Result<serde_json::Value, NoSessionPolicy> {
    let text = format!("version: 1\nagents:\n  bot:\n    permissions: [{permissions}]\n{more}");
    let (document, _) = Document::parse(&text, "test.yaml").expect("a document");
    let name = CredentialName::new("keys").expect("a name");
    session_policy(&document, &words(), "bot", &name).map(|text| serde_json::from_str(&text).expect("json"))
}

#[test]
fn what_sts_would_not_take_is_said_before_it_is_asked() {
    let long: Vec<String> = (0..120).map(|at| format!("\"arn:aws:s3:::bucket-{at:04}/*\"")).collect();
    let text = |more: &str| {
        format!(
            "version: 1\ncredentials:\n  keys: {{ service: aws, issue: {{ aws_role: {{ role: \"arn:aws:iam::123456789012:role/agents\", region: eu-central-1{more} }} }} }}\n\
             agents:\n  bot:\n    permissions: [{}]\n",
            permission("[\"s3:GetObject\"]", &format!("[{}]", long.join(", ")))
        )
    };
    let compiled = |more: &str| {
        let (document, _) = Document::parse(&text(more), "test.yaml").expect("a document");
        policy::Rules::compile(&document, &words()).map(drop)
    };
    let faults = compiled("").expect_err("too long");
    let said = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(said.starts_with("test.yaml:3:"), "{said}");
    assert!(said.contains("agent `bot`: the session policy has") && said.contains("`session_policy: false`"), "{said}");
    compiled(", session_policy: false").unwrap_or_else(|faults| panic!("{faults:?}"));
}

fn permission(actions: &str, resources: &str) -> String {
    format!("{{service: aws, credential: keys, actions: {actions}, resources: {resources}}}")
}

#[test]
fn what_is_allowed_is_allowed() {
    let two = [
        permission(r#"["s3:Get*", "aws:s3:PutObject"]"#, r#"["arn:aws:s3:::reports/a%40b/*"]"#),
        permission(r#"["dynamodb:PutItem"]"#, r#"["arn:aws:dynamodb:us-east-1::table/Orders"]"#),
        r#"{service: aws, credential: other, actions: ["*"], resources: ["*"]}"#.to_owned(),
    ];
    let made = of(&two.join(", "), "    denied_actions: [\"s3:DeleteBucket\", \"effect:escalates\"]\n").expect("made");
    let wanted = serde_json::json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": ["s3:Get*", "s3:PutObject"], "Resource": ["arn:aws:s3:::reports/a@b/*"] },
        { "Effect": "Allow", "Action": ["dynamodb:BatchWriteItem", "dynamodb:PutItem"],
          "Resource": ["arn:aws:dynamodb:us-east-1:*:table/Orders"] },
        { "Effect": "Deny", "Action": ["s3:DeleteBucket"], "Resource": ["*"] },
    ] });
    assert_eq!(made, wanted);
    let read = of(&permission("[read]", r#"["*"]"#), "").expect("made");
    assert_eq!(read["Statement"][0]["Action"], serde_json::json!(["*"]), "IAM has no word for a class");
}

#[test]
fn nothing_and_too_much() {
    let other = r#"{service: aws, credential: other, actions: ["*"], resources: ["*"]}"#;
    assert_eq!(of(other, ""), Err(NoSessionPolicy::Nothing));
    let many: Vec<String> = (0..100).map(|at| format!("\"arn:aws:s3:::bucket-number-{at}/*\"")).collect();
    let long = of(&permission("[\"s3:GetObject\"]", &format!("[{}]", many.join(", "))), "");
    assert!(matches!(long, Err(NoSessionPolicy::TooLong { chars }) if chars > 2_048));
}
