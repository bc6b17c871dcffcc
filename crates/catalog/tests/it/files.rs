//! Mistakes in service files are found, with their place and the nearest word.

#![expect(clippy::expect_used, reason = "a helper of tests")]

use catalog::{Catalog, ServiceFile};

fn mistake(yaml: &str) -> String {
    match ServiceFile::parse(yaml, "x.yaml") {
        Err(error) => error.to_string(),
        Ok(file) => Catalog::with(vec![file]).expect_err("a mistake").to_string(),
    }
}

#[test]
fn mistakes_have_places() {
    let head = "name: x\ntitle: X\nhosts: [x.example]\n";
    for (yaml, want) in [
        ("name: x\ntitle: X\nhots: [a.b]\n".to_owned(), "x.yaml:3:1: unknown field `hots`; did you mean `hosts`?"),
        (
            format!("{head}aliases: {{ a: things/craete }}\nactions: [{{ id: things/create, match: POST /things }}]\n"),
            "x.yaml:4:15: no action `things/craete`; did you mean `things/create`?",
        ),
        (
            format!("{head}actions: [{{ id: a, match: POST things }}]\n"),
            "x.yaml:4:27: `things` is no path; begin it with `/`",
        ),
        (
            format!("{head}actions: [{{ id: a, match: PSOT /things }}]\n"),
            "`PSOT` is no method; use GET, POST .. or ANY",
        ),
        (
            format!("{head}actions: [{{ id: a, match: \"POST /{{owner}}\", resource: \"thing:{{onwer}}\" }}]\n"),
            "x.yaml:4:55: the path has no parameter `onwer`; did you mean `owner`?",
        ),
        (
            format!("{head}actions: [{{ id: a, match: POST /a, resource: thing }}]\n"),
            "resource `thing` has no kind; write `kind:path`",
        ),
        (format!("{head}actions: [{{ id: a, match: other POST /a }}]\n"), "no host has the role `other`"),
        (
            format!("{head}actions: [{{ id: a, class: wrte, match: POST /a }}]\n"),
            "x.yaml:4:27: unknown variant `wrte`; did you mean `write`?",
        ),
        (format!("{head}groups: [{{ actions: b/*, class: admin }}]\n"), "x.yaml:4:21: no action `b/*`"),
        (
            "name: x\ntitle: X\nhosts: [{ host: x.test, protocol: tcp }]\n".to_owned(),
            "`x.test` is no HTTP: give its `ports`, and neither `base`, `clear` nor `schemes`",
        ),
        ("name: x\ntitle: X\nhosts: [\"*.com\"]\n".to_owned(), "`*.com` is too wide; name at least two labels"),
        ("name: x\ntitle: X\nhosts: [\"a_b.example\"]\n".to_owned(), "x.yaml:3:10: `a_b.example`"),
        (
            format!("{head}schemes: [{{ header: {{ name: x-key, template: \"{{value}}\\r\\nX-Evil: y\" }} }}]\n"),
            "x.yaml:4:29: template `{value}\\r\\nX-Evil: y` cannot stand in a header",
        ),
        (format!("{head}schemes: [{{ header: {{ name: x-key, template: key }} }}]\n"), "write `{value}` once"),
        (
            format!("{head}schemes: [{{ header: {{ name: x-key, template: \"{{value}}{{value}}\" }} }}]\n"),
            "write `{value}` once",
        ),
        (format!("{head}schemes: [{{ header: {{ name: \"x key\" }} }}]\n"), "`x key` is no name of a header"),
        (format!("{head}schemes: [{{ bearer: {{ words: [\"a\\nb\"] }} }}]\n"), "`a\\nb` is no name of a word"),
        (format!("{head}schemes: [{{ bearer: {{ words: [] }} }}]\n"), "no word before the value"),
        (format!("{head}schemes: [{{ basic: {{ username: \"a:b\" }} }}]\n"), "user `a:b` cannot stand before a colon"),
        (format!("{head}schemes: [{{ cookie: {{ name: \"a=b\" }} }}]\n"), "`a=b` is no name of a cookie"),
        (format!("{head}schemes: [{{ query: {{ name: \"\" }} }}]\n"), "is no name of a parameter"),
        (
            format!("{head}schemes: [{{ hmac: {{ sign: \"{{bodi}}\", headers: {{ x-s: \"{{signature}}\" }} }} }}]\n"),
            "`{bodi}` is no part",
        ),
        (
            format!("{head}schemes: [{{ hmac: {{ sign: \"{{body\", headers: {{ x-s: \"{{signature}}\" }} }} }}]\n"),
            "`{body}` is no part",
        ),
        (
            format!("{head}schemes: [{{ hmac: {{ sign: \"body\", headers: {{ x-s: \"{{signature}}\" }} }} }}]\n"),
            "nothing of the request is signed",
        ),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{signature}}\", headers: {{ x-s: \"{{signature}}\" }} }} }}]\n"
            ),
            "cannot stand there",
        ),
        (format!("{head}schemes: [{{ hmac: {{ sign: \"{{body}}\" }} }}]\n"), "write `{signature}` once"),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{body}}\", headers: {{ x-s: \"{{signature}}\", x-t: \"{{signature}}\" }} }} }}]\n"
            ),
            "write `{signature}` once",
        ),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{body}}\", headers: {{ x-s: \"{{key_id}}{{signature}}\" }} }} }}]\n"
            ),
            "side by side",
        ),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{body}}\", headers: {{ x-s: \"{{method}} {{signature}}\" }} }} }}]\n"
            ),
            "cannot stand there",
        ),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{body}}\", headers: {{ x-s: \"{{signature}}\\r\\nx: y\" }} }} }}]\n"
            ),
            "cannot be sent",
        ),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{timestamp}}{{body}}\", headers: {{ x-s: \"{{signature}}\" }} }} }}]\n"
            ),
            "`{timestamp}` is signed and not sent",
        ),
        (
            format!("{head}schemes: [{{ hmac: {{ sign: \"{{body}}\", headers: {{ Host: \"{{signature}}\" }} }} }}]\n"),
            "`Host` is no place of a signature",
        ),
        (
            format!(
                "{head}schemes: [{{ hmac: {{ sign: \"{{body}}\", headers: {{ x-a: \"{{key_id}}\", x-s: \"{{signature}}\" }}, query: {{ k: \"{{key_id}}\" }} }} }}]\n"
            ),
            "write `{key_id}` once",
        ),
        (format!("{head}schemes: [{{ mtls: {{}} }}]\n"), "write `credentials: [mtls]`"),
        ("name: x y\ntitle: X\nhosts: [a.example]\n".to_owned(), "`x y` is not a valid service name"),
        ("name: x\ntitle: X\nhosts: []\n".to_owned(), "a service without hosts is nowhere"),
    ] {
        let got = mistake(&yaml);
        assert!(got.contains(want), "{yaml}\nwanted {want}\ngot    {got}");
    }
}

#[test]
fn a_service_of_the_user() {
    let yaml = r#"
name: crm
title: Our CRM
hosts: [{ host: crm.example, base: /api }]
schemes: [{ header: { name: x-api-key } }]
environment: [CRM_KEY]
actions:
  - id: contacts/create
    match: POST /contacts
    resource: "contacts:all"
    facts: { body.email: text }
    sentence: "Add {body.email} to the CRM"
cases:
  - { request: POST /contacts, body: '{"email":"a@b.example"}', expect: "write contacts/create contacts:all", sentence: Add a@b.example to the CRM }
  - { request: GET /contacts, expect: "read http/get resource:/contacts" }
  - { request: POST /contacts, body: "{}", expect: "read contacts/create contacts:all" }
"#;
    let catalog = Catalog::with(vec![ServiceFile::parse(yaml, "crm.yaml").expect("parses")]).expect("compiles");
    let outcomes = catalog.test("crm");
    assert_eq!(outcomes.iter().filter(|outcome| outcome.failure.is_none()).count(), 2, "{outcomes:?}");
    let failure = outcomes.last().and_then(|outcome| outcome.failure.as_deref());
    assert_eq!(
        failure,
        Some("call: expected `read contacts/create contacts:all`, got `write contacts/create contacts:all`")
    );
    let service = catalog.service("crm").expect("known");
    assert_eq!(service.default_host().map(|host| &*host.name), Some("crm.example"));
    assert_eq!(service.environment().collect::<Vec<_>>(), ["CRM_KEY"]);
}

/// The sample that explains every key is a service file, and its own cases hold.
#[test]
fn the_sample_is_a_service_file() {
    let page = include_str!("../../services/README.md");
    let yaml = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    let file = ServiceFile::parse(yaml, "crm.yaml").expect("reads");
    let catalog = Catalog::with(vec![file]).expect("compiles");
    let outcomes = catalog.test("crm");
    assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.failure.is_none()), "{outcomes:?}");
}
