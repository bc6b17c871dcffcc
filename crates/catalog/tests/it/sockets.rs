//! Messages of WebSockets, by a service made for it.

#![expect(clippy::expect_used, reason = "what helps a test may stop it")]

use std::sync::LazyLock;

use catalog::{Catalog, ServiceFile};
use http::{HeaderMap, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{Class, Classification, Code, Effects, Refusal};
use proptest::prelude::*;

const TEXT: &str = include_str!("../sockets/chat.yaml");

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let file = ServiceFile::parse(TEXT, "chat.yaml").expect("a service file");
    Catalog::with(vec![file]).expect("a catalogue")
});

fn opened(path: &str) -> Classification {
    let host = Host::parse("chat.test").expect("a host");
    let mut headers = HeaderMap::new();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let headers = clean(headers).expect("clean");
    let request = CanonicalRequest::new(Method::GET, origin, path, headers, Length::Empty).expect("canonical");
    CATALOG.classify(&request, BodyView::Empty).expect("a classification")
}

fn message(octets: &[u8], text: bool) -> Result<Classification, Refusal> {
    CATALOG.service("chat").expect("the service").message(&opened("/talk"), octets, text)
}

fn said(text: &str) -> String {
    match message(text.as_bytes(), true) {
        Ok(found) => {
            found.calls.iter().map(|call| format!("{} {}", call.action, call.resource)).collect::<Vec<_>>().join("; ")
        }
        Err(refusal) => format!("{}", refusal.code),
    }
}

#[test]
fn every_case_of_the_test_service_holds() {
    let failures: Vec<String> = CATALOG.test("chat").into_iter().filter_map(|outcome| outcome.failure).collect();
    assert_eq!(failures, Vec::<String>::new());
}

#[test]
fn only_what_has_a_table_is_judged() {
    let service = CATALOG.service("chat").expect("the service");
    for (path, judged) in [("/talk", true), ("/other", false), ("/unheard/of", false)] {
        assert_eq!(service.judges_messages(&opened(path)), judged, "{path}");
    }
    let refusal = service.message(&opened("/other"), b"{\"op\":\"say\"}", true).expect_err("a refusal");
    assert_eq!(refusal.code, Code::Malformed);
}

#[test]
fn a_message_is_its_calls() {
    let unread = "socket/unlisted-message message:(unread); socket/unlisted-message message:(unread)";
    let unlisted = "socket/unlisted-message message:burn; socket/unlisted-message message:burn";
    for (text, want) in [
        (r#"{"op":"say","room":"7","text":"hi"}"#, "messages/post room:7"),
        (r#" {"room":"7","op":"say"} "#, "messages/post room:7"),
        (r#"{"op":"say"}"#, "messages/post message:say"),
        (r#"{"op":"kick","room":"7","who":"ada"}"#, "talk/kick room:7@ada"),
        (r#"{"op":"say","room":"7","loud":true}"#, "messages/post room:7; talk/shout room:7"),
        (r#"{"op":"burn"}"#, unlisted),
        (r#"{"op":"say","op":"kick"}"#, unread),
        (r#"{"op":"say","room":"7","room":"8"}"#, unread),
        (r#"{"op":1}"#, unread),
        (r#"{"op":null}"#, unread),
        (r#"{"op":["say"]}"#, unread),
        (r#"{"op":"(binary)"}"#, unread),
        (r#"{"op":"a b"}"#, unread),
        (r#"{"room":"7"}"#, unread),
        (r#"[{"op":"say"}]"#, unread),
        ("\"say\"", unread),
        ("", unread),
        ("{\"op\":\"say\"}{}", unread),
        (r#"{"OP":"say"}"#, "malformed"),
        (r#"{"op":"say","Op":"kick"}"#, "malformed"),
        (r#"{"op":"SAY"}"#, "malformed"),
        (r#"{"op":"say","room":"../8"}"#, "malformed"),
    ] {
        assert_eq!(said(text), want, "{text}");
    }
    let binary = message(br#"{"op":"say"}"#, false).expect("calls");
    assert!(binary.calls.iter().all(|call| call.resource.as_str() == "message:(binary)"));
    let forms: Vec<_> = binary.calls.iter().map(|call| (call.class, call.effects)).collect();
    assert_eq!(forms, [(Class::Admin, Effects::EVERY), (Class::Admin, Effects::NONE)]);
    assert_eq!(message(b"{\"op\":\"say\xff\"}", true).expect("calls").calls[0].resource.as_str(), "message:(unread)");
}

#[test]
fn the_words_know_messages_and_what_carries_them() {
    let words = CATALOG.vocabulary();
    let chat = &words.services["chat"];
    let open = &chat.actions["talk/open"].implied_by;
    for id in ["messages/post", "talk/kick", "talk/shout", "socket/unlisted-message"] {
        assert!(open.iter().any(|known| known == id), "{id}");
    }
    assert!(chat.actions["messages/post"].facts.contains_key("socket.message"));
    assert_eq!(chat.actions["socket/unlisted-message"].forms.len(), 2);
    assert!(chat.kinds.iter().any(|kind| kind == "message"));
}

#[test]
fn mistakes_in_the_section_have_places() {
    let head = "name: x\ntitle: X\nhosts: [x.example]\noperations: open GET /open\n";
    for (yaml, want) in [
        ("sockets: [{ action: opn, messages: \"a read:b\" }]", "no action `opn`; did you mean `open`?"),
        (
            "sockets: [{ action: open, messages: \"a@b read:c\" }]",
            "`a@b read:c` is no message: its name is none of a WebSocket",
        ),
        ("sockets: [{ action: open, messages: \"a b\" }]", "no action `b`"),
        ("sockets: [{ action: open, key: \"\" }]", "`key` is empty"),
        ("sockets: [{ action: open }, { action: open }]", "the messages of `open` stand here twice"),
    ] {
        let file = ServiceFile::parse(&format!("{head}{yaml}\n"), "x.yaml").expect("reads");
        let error = Catalog::with(vec![file]).expect_err(yaml).to_string();
        assert!(error.contains(want), "{yaml}: {error}");
    }
}

proptest! {
    /// Whatever is said, there is a call for it or a refusal.
    #[test]
    fn nothing_is_said_without_a_call(octets in prop::collection::vec(any::<u8>(), 0..80), text in any::<bool>()) {
        if let Ok(found) = message(&octets, text) {
            prop_assert!(!found.calls.is_empty() && !found.needs_body);
        }
    }
}
