//! MCP and JSON-RPC, by the cases of a service made for it.

#![expect(clippy::expect_used, reason = "what helps a test may stop it")]

use std::sync::LazyLock;

use catalog::{Catalog, ServiceFile};
use http::{HeaderMap, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{Classification, Code, Refusal};
use proptest::prelude::*;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let file = ServiceFile::parse(include_str!("../mcp/tracker.yaml"), "tracker.yaml").expect("a service file");
    Catalog::with(vec![file]).expect("a catalogue")
});

fn classify(view: BodyView<'_>, coding: Option<&'static str>) -> Result<Classification, Refusal> {
    let host = Host::parse("tracker.test").expect("a host");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.extend(coding.map(|coding| (http::header::CONTENT_ENCODING, HeaderValue::from_static(coding))));
    let headers = clean(headers).expect("clean");
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let request = CanonicalRequest::new(Method::POST, origin, "/mcp", headers, Length::Streamed).expect("canonical");
    CATALOG.classify(&request, view)
}

#[test]
fn every_case_of_the_test_service_holds() {
    let outcomes = CATALOG.test("tracker");
    assert!(outcomes.len() > 50);
    let failures: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.failure.map(|failure| format!("{}: {failure}", outcome.request)))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn until_it_is_read_a_message_may_do_anything() {
    let found = classify(BodyView::NotRead, None).expect("calls");
    assert!(found.needs_body);
    assert_eq!(found.calls[0].action.as_str(), "mcp/message");
    assert_eq!(found.class(), model::Class::Admin);
    assert_eq!(classify(BodyView::TooLarge(b""), None).err().map(|refusal| refusal.code), Some(Code::TooLarge));
    let body = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let coded = classify(BodyView::Whole(body), Some("gzip")).expect_err("a refusal");
    assert_eq!((coded.code, coded.hint.as_deref()), (Code::Malformed, Some("send it without Content-Encoding")));
    let batch = format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"ping"}"#; 65].join(","));
    assert_eq!(
        classify(BodyView::Whole(batch.as_bytes()), None).err().map(|refusal| refusal.code),
        Some(Code::TooLarge)
    );
}

#[test]
fn the_words_know_tools_and_what_comes_before_them() {
    let words = CATALOG.vocabulary();
    let tracker = &words.services["tracker"];
    let connect = &tracker.actions["mcp/connect"].implied_by;
    assert!(connect.iter().any(|id| id == "tools/whoami") && connect.iter().any(|id| id == "issues/close"));
    assert!(tracker.actions["mcp/list-prompts"].implied_by == ["mcp/get-prompt"]);
    assert!(tracker.actions["tools/create_issue"].facts.contains_key("arguments.title"));
    assert!(tracker.actions["issues/close"].facts.contains_key("mcp.tool"));
    assert_eq!(tracker.actions["mcp/unlisted-tool"].forms.len(), 2);
    assert!(tracker.kinds.iter().any(|kind| kind == "tool") && tracker.kinds.iter().any(|kind| kind == "team"));
}

#[test]
fn mistakes_in_the_sections_have_places() {
    let head = "name: x\ntitle: X\nhosts: [x.example]\n";
    for (yaml, want) in [
        ("mcp: { at: mcp }", "x.yaml:4:1: `mcp` is no path; begin it with `/`"),
        ("mcp: { at: [] }", "`at` names no path; say where it is spoken"),
        ("mcp: { at: /mcp, tools: \"a b:c\" }", "`a b:c` is no tool: no class or effect `b`"),
        ("mcp: { at: /mcp, tools: \"a@b read:c\" }", "`a@b read:c` is no tool: its name is none of MCP"),
        (
            "mcp: { at: /mcp, tools: \"a tools/a\" }",
            "no action `tools/a`; give it a class where it is new: `read:tools/a`",
        ),
        ("rpc: { at: /rpc, methods: \"a[x] read:c\" }", "the last line of `a` has a condition"),
        ("mcp: { at: POST /mcp }", "`POST /mcp` says a method; `at` takes a path alone: `/mcp`"),
        ("mcp: { at: /mcp, tools: \"a reed:c\" }", "no class or effect `reed`; did you mean `read`?"),
        (
            "mcp: { at: /mcp, tools: \"a read:c arguments.x=x\" }",
            "declare it under `actions:`: `facts: { arguments.x: text }`",
        ),
        (
            "mcp: { at: /mcp, tools: \"a read:c\" }\nactions: [{ id: c, class: admin }]",
            "`c` has its class and effects in its line: `read:c`",
        ),
        ("mcp: { at: other /mcp }", "no host has the role `other`"),
        ("rpc: { at: /rpc, tools: \"\" }", "unknown field `tools`"),
    ] {
        let text = format!("{head}{yaml}\n");
        let error = match ServiceFile::parse(&text, "x.yaml") {
            Err(error) => error.to_string(),
            Ok(file) => Catalog::with(vec![file]).expect_err("a mistake").to_string(),
        };
        assert!(error.contains(want), "{yaml}: {error}");
    }
}

proptest! {
    /// Whatever a message says, what it asks for is refused or named; nothing that calls a tool is less than that tool.
    #[test]
    fn a_call_is_never_less_than_its_tool(name in "[a-z_]{1,12}", more in r#"[\{\}\[\]:,"a-z\\u0-9 ]{0,20}"#) {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{{{more}}}}}}}"#);
        if let Ok(found) = classify(BodyView::Whole(body.as_bytes()), None) {
            prop_assert!(!found.calls.is_empty() && !found.needs_body);
            let known = ["whoami", "get_issue", "create_issue", "close_issue"].contains(&name.as_str());
            for call in &found.calls {
                prop_assert_eq!(call.action.as_str() == "mcp/unlisted-tool", !known);
            }
        }
    }

    /// Nothing makes it panic.
    #[test]
    fn anything_ends(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = classify(BodyView::Whole(&body), None);
    }
}
