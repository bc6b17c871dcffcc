//! Batches: each request in them is what it would be alone, and a batch of which one cannot be read is refused.

#![expect(clippy::expect_used, reason = "what helps a test may stop it")]

use std::fmt::Write as _;
use std::sync::LazyLock;

use catalog::{Catalog, ServiceFile};
use http::{HeaderMap, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{Class, Classification, Code, Refusal};
use proptest::prelude::*;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let file = ServiceFile::parse(include_str!("../batch/office.yaml"), "office.yaml").expect("a service file");
    Catalog::with(vec![file]).expect("a catalogue")
});

fn classify(method: &Method, target: &str, kind: &str, view: BodyView<'_>) -> Result<Classification, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_str(kind).expect("a value"));
    let origin = Origin { scheme: Scheme::Https, host: Host::parse("office.test").expect("a host"), port: 443 };
    let headers = clean(headers).expect("clean");
    let request = CanonicalRequest::new(method.clone(), origin, target, headers, Length::Streamed).expect("canonical");
    CATALOG.classify(&request, view)
}

fn said(found: Result<Classification, Refusal>) -> String {
    match found {
        Ok(found) => {
            assert!(!found.needs_body && !found.hands_out);
            let calls = found.calls.iter().map(|call| format!("{} {} {}", call.class, call.action, call.resource));
            calls.collect::<Vec<_>>().join("; ")
        }
        Err(refusal) => format!("refused {}", refusal.code),
    }
}

const KIND: &str = "multipart/mixed; boundary=b";
const REFUSED: &str = "refused malformed";

fn mixed(kind: &str, body: &str) -> String {
    said(classify(&Method::POST, "/batch", kind, BodyView::Whole(body.as_bytes())))
}

/// A batch of these requests, each as HTTP writes it.
fn of(requests: &[&str]) -> String {
    let mut body = String::new();
    for (number, request) in requests.iter().enumerate() {
        let _ = write!(body, "--b\r\nContent-Type: application/http\r\nContent-ID: <{number}>\r\n\r\n{request}\r\n");
    }
    body + "--b--\r\n"
}

const GET: &str = "GET /v1/users/ada HTTP/1.1\r\n\r\n";

#[test]
fn every_case_of_the_test_service_holds() {
    let outcomes = CATALOG.test("office");
    assert!(outcomes.len() > 30);
    let failed = |outcome: catalog::Outcome| outcome.failure.map(|failure| format!("{}: {failure}", outcome.request));
    let failures: Vec<String> = outcomes.into_iter().filter_map(failed).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn until_it_is_read_a_batch_may_do_anything() {
    for (target, kind) in [("/v1.0/$batch", "application/json"), ("/batch", KIND)] {
        let found = classify(&Method::POST, target, kind, BodyView::NotRead).expect("calls");
        assert!(found.needs_body && found.class() == Class::Admin, "{target}");
        let large = classify(&Method::POST, target, kind, BodyView::TooLarge(b"--b\r\n")).expect_err("too large");
        assert_eq!(large.code, Code::TooLarge);
    }
    let json = |count: usize| {
        let one = |number: usize| format!("{{\"id\":\"{number}\",\"method\":\"GET\",\"url\":\"/users/ada\"}}");
        let body = format!("{{\"requests\":[{}]}}", (0..count).map(one).collect::<Vec<_>>().join(","));
        said(classify(&Method::POST, "/v1.0/$batch", "application/json", BodyView::Whole(body.as_bytes())))
    };
    assert_eq!(json(100).split("; ").count(), 100);
    assert_eq!(json(101), REFUSED);
    assert_eq!(mixed(KIND, &of(&[GET; 100])).split("; ").count(), 100);
    assert_eq!(mixed(KIND, &of(&[GET; 101])), REFUSED);
}

#[test]
fn parts_are_requests() {
    let send = "POST /v1/users/ada/sendMail HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let want = "read users/get user:ada; write mail/send user:ada";
    assert_eq!(mixed(KIND, &of(&[GET, send])), want);
    for kind in ["Multipart/Mixed;boundary=\"b\"", "multipart/mixed ; Boundary=b"] {
        assert_eq!(mixed(kind, &of(&[GET, send])), want, "{kind}");
    }
    assert_eq!(mixed(KIND, &of(&[GET, send]).replace("\r\n", "\n")), want, "as Python writes it");
    assert_eq!(mixed(KIND, &format!("\r\n{}\r\n\r\n", of(&[GET, send]))), want);
    assert_eq!(mixed(KIND, &of(&["GET /v1/users/ada", send])), want, "without a version, as Google shows it");
    assert_eq!(
        mixed(KIND, &of(&["GET /v1/users/ada HTTP/1.1\r\nHost: office.test\r\n\r\n\r\n"])),
        "read users/get user:ada"
    );
    let admin =
        "PATCH /v1/users/ada HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"admin\":true}";
    assert_eq!(mixed(KIND, &of(&[admin])), "admin users/update user:ada");
    assert_eq!(mixed(KIND, &of(&["DELETE /nowhere HTTP/1.1\r\n\r\n"])), "delete http/delete resource:/nowhere");
    // A change set of OData.
    let set = format!(
        "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n{}\r\n--b--",
        of(&[admin, GET]).replace("--b", "--c").trim_end()
    );
    assert_eq!(mixed(KIND, &set), "admin users/update user:ada; read users/get user:ada");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let good = of(&[GET]);
    for kind in [
        "multipart/mixed",
        "multipart/form-data; boundary=b",
        "multipart/mixed; boundary=",
        "multipart/mixed; boundary=b; boundary=c",
        "multipart/mixed; boundary=b c",
        "multipart/mixed; boundary*=utf-8''b",
        "multipart/mixed; charset=utf-8; boundary=b",
        "application/http",
    ] {
        assert_eq!(mixed(kind, &good), REFUSED, "{kind}");
    }
    for request in [
        "get /v1/users/ada HTTP/1.1\r\n\r\n",
        "GET  /v1/users/ada HTTP/1.1\r\n\r\n",
        "GET /v1/users/ada HTTP/1.0\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1 x\r\n\r\n",
        "GET v1/users/ada HTTP/1.1\r\n\r\n",
        "GET https://office.test/v1/users/ada HTTP/1.1\r\n\r\n",
        "GET //evil.test/v1/users/ada HTTP/1.1\r\n\r\n",
        "GET /v1/users/../users/ada HTTP/1.1\r\n\r\n",
        "GET /v1/users/ada?_method=DELETE HTTP/1.1\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nHost: evil.test\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nHost: office.test\r\nHost: office.test\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nAccept: a\r\n folded\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\r\nAccept : a\r\n\r\n",
        "GET /v1/users/ada HTTP/1.1\rAccept: a\r\n\r\n",
        "PATCH /v1/users/ada HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{\"admin\":true}",
        "PATCH /v1/users/ada HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{\"admin\":true}",
        "PATCH /v1/users/ada HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 014\r\n\r\n{\"admin\":true}",
        "POST /batch HTTP/1.1\r\n\r\n",
        "POST /v1.0/$batch HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        "POST /v1/users/ada/keys HTTP/1.1\r\n\r\n",
        "",
    ] {
        assert_eq!(mixed(KIND, &of(&[GET, request])), REFUSED, "{request:?}");
    }
    let part = "Content-Type: application/http";
    for (from, to) in [
        (part, "Content-Type: text/plain"),
        (part, "Content-Type: application/http; msgtype=response"),
        (part, "Content-Type: application/http\r\nContent-Type: application/http"),
        (part, "Content-Type: application/http\r\nContent-Transfer-Encoding: base64"),
        (part, "Content-Type: application/http\r\nContent-Length: 1"),
        (part, "Content-Type: application/http\r\nX-Else: 1"),
        (part, "Accept: a"),
        ("--b--", ""),
        ("--b--", "--b"),
        ("--b--", "--b-- x"),
        ("--b--", "--b--\r\n--b"),
        ("--b\r\n", "--b \r\n"),
        ("--b\r\n", "x--b\r\n"),
        ("--b\r\n", "preamble\r\n--b\r\n"),
        ("<0>", "<0>--b"),
    ] {
        assert!(good.contains(from));
        assert_eq!(mixed(KIND, &good.replacen(from, to, 1)), REFUSED, "{from:?} {to:?}");
    }
    assert_eq!(mixed(KIND, ""), REFUSED);
    assert_eq!(mixed(KIND, "--b--"), REFUSED);
    let deep = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n--d--\r\n--c--\r\n--b--";
    assert_eq!(mixed(KIND, deep), REFUSED);
    assert_eq!(said(classify(&Method::PUT, "/batch", KIND, BodyView::Whole(good.as_bytes()))), REFUSED);
}

proptest! {
    #[test]
    fn nothing_panics(lines in proptest::collection::vec("(--b|--b--|.{0,40})(\r\n|\n)", 0..12)) {
        let _ = mixed(KIND, &lines.concat());
    }

    /// What is read of a batch is what is read of each request alone.
    #[test]
    fn a_batch_is_its_requests(choice in proptest::collection::vec((0..3usize, "[a-z]{1,8}"), 1..20)) {
        let methods = [Method::GET, Method::DELETE, Method::POST];
        let path = |user: &str| format!("/v1/users/{user}/messages/1");
        let requests: Vec<String> =
            choice.iter().map(|(method, user)| format!("{} {} HTTP/1.1\r\n\r\n", methods[*method], path(user))).collect();
        let requests: Vec<&str> = requests.iter().map(String::as_str).collect();
        let alone = |(method, user): &(usize, String)| said(classify(&methods[*method], &path(user), "text/plain", BodyView::Empty));
        let want: Vec<String> = choice.iter().map(alone).collect();
        prop_assert_eq!(mixed(KIND, &of(&requests)), want.join("; "));
    }
}
