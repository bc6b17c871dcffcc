//! Pushes: which calls they are, what is refused, and what a pack proves.

#![expect(clippy::expect_used, clippy::panic, reason = "what helps a test may stop it")]

use std::sync::LazyLock;

use catalog::Catalog;
use http::{HeaderMap, HeaderValue, Method};
use model::bounds::{BODY_FACT_BYTES_MAX, CALLS_MAX};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Host, Length, Origin, Scheme, clean};
use model::{Call, Class, Classification, Code, Fact, Refusal, Unknown};
use proptest::prelude::*;

use crate::packs::{ASKS, ZERO, line, moved, push};

static CATALOG: LazyLock<Catalog> = LazyLock::new(Catalog::builtin);
pub const OLD: &str = "1111111111111111111111111111111111111111";
pub const NEW: &str = "2222222222222222222222222222222222222222";
pub const BOTH: [&str; 2] = ["git/push", "git/force-push"];
/// A push that is known to drop commits.
pub const FORCED: [&str; 3] = ["git/push", "git/force-push", "proven"];

fn request(coding: Option<&'static str>) -> CanonicalRequest {
    let host = Host::parse("github.com").expect("a host");
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-git-receive-pack-request"));
    if let Some(coding) = coding {
        headers.insert("content-encoding", HeaderValue::from_static(coding));
    }
    let headers = clean(headers).expect("clean");
    CanonicalRequest::new(Method::POST, origin, "/o/r.git/git-receive-pack", headers, Length::Streamed)
        .expect("canonical")
}

fn classify(view: BodyView<'_>) -> Result<Classification, Refusal> {
    CATALOG.classify(&request(None), view)
}

pub fn calls(body: &[u8]) -> Vec<Call> {
    let found = classify(BodyView::Whole(body)).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert!(!found.needs_body && found.reads_front);
    found.calls.to_vec()
}

fn lines(body: &[u8]) -> Vec<String> {
    calls(body).iter().map(|call| format!("{} {} {}", call.class, call.action, call.resource)).collect()
}

/// What a push is, and `proven` behind it where it is known to drop commits.
pub fn actions(body: &[u8]) -> Vec<String> {
    let calls = calls(body);
    let proven = calls.iter().any(|call| fact(call, "git.force") == Some(&Fact::Bool(true)));
    let words = calls.iter().map(|call| call.action.to_string());
    words.chain(proven.then(|| "proven".to_owned())).collect()
}

fn refused(body: &[u8]) -> Refusal {
    classify(BodyView::Whole(body)).err().unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(body)))
}

fn fact<'a>(call: &'a Call, name: &str) -> Option<&'a Fact> {
    call.facts.get(name)
}

#[test]
fn every_ref_is_a_call_of_its_own() {
    for (old, new, name, want) in [
        (ZERO, NEW, "refs/heads/agent/x", &["write git/push branch:o/r@agent/x"][..]),
        (ZERO, NEW, "refs/tags/v1", &["write git/push tag:o/r@v1"]),
        (ZERO, NEW, "refs/notes/commits", &["write git/push repo:o/r"]),
        (ZERO, NEW, "refs/stash", &["write git/push repo:o/r"]),
        (OLD, ZERO, "refs/heads/x@y", &["delete git/delete-ref branch:o/r@x@y"]),
        (OLD, ZERO, "refs/tags/v1", &["delete git/delete-ref tag:o/r@v1"]),
        (OLD, ZERO, "refs/pull/1/head", &["delete git/delete-ref repo:o/r"]),
        (OLD, OLD, "refs/heads/main", &["write git/push branch:o/r@main"]),
        (OLD, NEW, "refs/heads/main", &["write git/push branch:o/r@main", "write git/force-push branch:o/r@main"]),
        (OLD, NEW, "refs/tags/v1", &["write git/push tag:o/r@v1", "write git/force-push tag:o/r@v1"]),
        (OLD, NEW, "refs/notes/x", &["write git/push repo:o/r", "write git/force-push repo:o/r"]),
        // Not a branch: it has another name.
        (OLD, NEW, "refs/Heads/main", &["write git/push repo:o/r", "write git/force-push repo:o/r"]),
    ] {
        assert_eq!(lines(&push(&[format!("{old} {new} {name}")], ASKS, b"")), want, "{old} {new} {name}");
    }
    let several = [
        format!("{ZERO} {NEW} refs/heads/a"),
        format!("{OLD} {ZERO} refs/heads/b\n"),
        format!("{OLD} {NEW} refs/tags/c"),
    ];
    let want = [
        "write git/push branch:o/r@a",
        "delete git/delete-ref branch:o/r@b",
        "write git/push tag:o/r@c",
        "write git/force-push tag:o/r@c",
    ];
    assert_eq!(lines(&push(&several, ASKS, b"PACK")), want);
    assert_eq!(lines(b"0000"), ["read git/list-refs repo:o/r"]);
}

#[test]
fn facts_say_what_is_known() {
    let text = |text: &str| Some(Fact::Text(text.into()));
    let body = push(&[format!("{OLD} {NEW} refs/heads/main")], ASKS, b"");
    for call in calls(&body) {
        assert_eq!(fact(&call, "git.ref").cloned(), text("refs/heads/main"));
        assert_eq!(fact(&call, "git.change").cloned(), text("update"));
        assert_eq!(fact(&call, "git.old").cloned(), text(OLD));
        assert_eq!(fact(&call, "git.new").cloned(), text(NEW));
        assert_eq!(fact(&call, "git.force"), Some(&Fact::Unknown(Unknown::NotProven)));
        assert_eq!(fact(&call, "git.options"), None);
    }
    let forward = calls(&moved(3)).remove(0);
    assert_eq!((forward.action.as_str(), fact(&forward, "git.force")), ("git/push", Some(&Fact::Bool(false))));
    let tag = calls(&push(&[format!("{OLD} {NEW} refs/tags/v")], ASKS, b"")).remove(0);
    assert_eq!(fact(&tag, "git.force"), Some(&Fact::Bool(true)));
}

#[test]
fn options_that_do_something_are_an_action() {
    let with = |options: &[&str]| {
        let mut body = push(&[format!("{ZERO} {NEW} refs/heads/x")], "report-status push-options", b"");
        for option in options {
            body.extend(line(option));
        }
        body.extend_from_slice(b"0000PACK");
        body
    };
    assert_eq!(actions(&with(&[])), ["git/push"]);
    assert_eq!(actions(&with(&["ci.skip"])), ["git/push"]);
    let merged = calls(&with(&["ci.skip", "merge_request.merge_when_pipeline_succeeds"]));
    assert_eq!(merged[1].action.as_str(), "git/push-option");
    assert_eq!((merged[1].class, merged[1].resource.as_str()), (Class::Admin, "repo:o/r"));
    let options = Fact::List(vec!["ci.skip".into(), "merge_request.merge_when_pipeline_succeeds".into()]);
    assert!(merged.iter().all(|call| fact(call, "git.options") == Some(&options)));
    for odd in ["ci.skip=1", "CI.SKIP", "ci.skip ", "ci.variable=A=1"] {
        assert_eq!(actions(&with(&[odd])), ["git/push", "git/push-option"], "{odd}");
    }
    assert_eq!(refused(&with(&["a\tb"])).code, Code::Malformed);
    assert_eq!(refused(&with(&vec!["ci.skip"; 257])).code, Code::TooLarge);
    // Promised and not there: what follows is no line.
    let promised = push(&[format!("{ZERO} {NEW} refs/heads/x")], "push-options", b"PACK");
    assert_eq!(refused(&promised).code, Code::Malformed);
}

#[test]
fn what_is_odd_is_refused() {
    let one = |text: &str| push(&[text.to_owned()], ASKS, b"");
    let named = |name: &str| one(&format!("{ZERO} {NEW} {name}"));
    for name in [
        "HEAD",
        "main",
        "refs",
        "refs/",
        "refs/heads/",
        "refs//heads/x",
        "refs/heads/x/",
        "refs/heads/.x",
        "refs/heads/x.lock",
        "refs/heads/x.lock/y",
        "refs/heads/x.",
        "refs/heads/a..b",
        "refs/heads/a b",
        "refs/heads/a\tb",
        "refs/heads/a\x7fb",
        "refs/heads/a~1",
        "refs/heads/a^",
        "refs/heads/a:b",
        "refs/heads/a?",
        "refs/heads/a*",
        "refs/heads/a[",
        "refs/heads/a\\b",
        "refs/heads/@{-1}",
        "refs/heads/a\n\n",
        "/refs/heads/x",
        "Refs/heads/x",
    ] {
        assert_eq!(refused(&named(name)).code, Code::Malformed, "{name:?}");
    }
    assert_eq!(refused(&named(&format!("refs/heads/{}", "x".repeat(5_000)))).code, Code::Malformed);
    let long = "3".repeat(64);
    for text in [
        format!("{ZERO} {ZERO} refs/heads/x"),
        format!("{} {NEW} refs/heads/x", "A".repeat(40)),
        format!("{} {NEW} refs/heads/x", "g".repeat(40)),
        format!("{} {NEW} refs/heads/x", "1".repeat(39)),
        format!("{OLD}  {NEW} refs/heads/x"),
        format!("{OLD} {NEW}"),
        format!("{OLD} {long} refs/heads/x"),
        format!("{long} {long} refs/heads/x"),
        "push".to_owned(),
        format!("shallow {OLD}"),
    ] {
        assert_eq!(refused(&one(&text)).code, Code::Malformed, "{text}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let good = format!("{ZERO} {NEW} refs/heads/x");
    for asks in [
        "report-status report-status",
        "unknown",
        "agent",
        "push-options=1",
        "object-format=md5",
        "object-format=sha1 object-format=sha256",
        "object-format=sha256",
        "agent=a\tb",
        "report-status\0quiet",
        "agent=\u{e9}",
    ] {
        assert_eq!(refused(&push(std::slice::from_ref(&good), asks, b"")).code, Code::Malformed, "{asks:?}");
    }
    let signed = [line("push-cert\0 push-cert=nonce"), line("certificate version 0.1"), b"0000".to_vec()].concat();
    assert_eq!(refused(&signed).hint.as_deref(), Some("send it without --signed"));
    let twice = [good.clone(), format!("{OLD} {ZERO} refs/heads/x")];
    let capable = [good.clone(), format!("{ZERO} {NEW} refs/heads/y\0quiet")];
    let late = [good.clone(), format!("shallow {OLD}")];
    for lines in [&twice[..], &capable, &late] {
        assert_eq!(refused(&push(lines, ASKS, b"")).code, Code::Malformed, "{lines:?}");
    }
    let gone = format!("{OLD} {ZERO} refs/heads/x");
    for body in
        [b"".as_slice(), b"000", b"00000", b"0000PACK", &push(&[gone], ASKS, b"PACK"), &line(&good), b"{\"a\":1}"]
    {
        assert_eq!(refused(body).code, Code::Malformed, "{:?}", String::from_utf8_lossy(body));
    }
    let coded = CATALOG.classify(&request(Some("gzip")), BodyView::Whole(&push(&[good], ASKS, b"")));
    assert_eq!(coded.expect_err("coded").code, Code::Malformed);
    assert_eq!(classify(BodyView::Empty).expect_err("no body").code, Code::Malformed);
}

#[test]
fn bounds_hold() {
    let many = |count: usize, old: &str| -> Vec<u8> {
        let lines: Vec<String> = (0..count).map(|number| format!("{old} {NEW} refs/heads/{number}")).collect();
        push(&lines, ASKS, b"")
    };
    assert_eq!(calls(&many(CALLS_MAX, ZERO)).len(), CALLS_MAX);
    assert_eq!(refused(&many(CALLS_MAX + 1, ZERO)).code, Code::TooLarge);
    // Two calls each.
    assert_eq!(refused(&many(CALLS_MAX / 2 + 1, OLD)).code, Code::TooLarge);
    let cut: Vec<u8> = (0..4_097).flat_map(|_| line(format!("shallow {OLD}"))).collect();
    assert_eq!(refused(&cut).code, Code::TooLarge);
}

#[test]
fn the_front_is_enough_for_refs_and_proves_nothing() {
    let whole = moved(3);
    assert_eq!(actions(&whole), ["git/push"]);
    let found = classify(BodyView::TooLarge(&whole)).expect("classified");
    let both: Vec<&str> = found.calls.iter().map(|call| call.action.as_str()).collect();
    assert_eq!(both, BOTH, "what follows the front may be anything");
    assert_eq!(found.bounds.body_fact_bytes, Some(BODY_FACT_BYTES_MAX));
    let mut large = push(&[format!("{ZERO} {NEW} refs/heads/x")], ASKS, b"PACK");
    large.resize(BODY_FACT_BYTES_MAX + 1, 0);
    assert_eq!(actions(&large), ["git/push"]);
    for cut in [0, 3, 40, 100] {
        assert_eq!(classify(BodyView::TooLarge(&whole[..cut])).expect_err("cut").code, Code::TooLarge, "{cut}");
    }
    let gone = push(&[format!("{OLD} {ZERO} refs/heads/x")], ASKS, b"");
    for front in [b"0000".as_slice(), &gone] {
        assert_eq!(classify(BodyView::TooLarge(front)).expect_err("it goes on").code, Code::Malformed);
    }
    let unread = classify(BodyView::NotRead).expect("classified");
    assert!(unread.needs_body && unread.reads_front && unread.class() == Class::Admin);
}

#[test]
fn no_prefix_and_no_change_proves_more() {
    let body = moved(4);
    let pack = body.windows(4).position(|window| window == b"PACK").expect("a pack");
    for cut in 0..body.len() {
        match classify(BodyView::Whole(&body[..cut])) {
            Ok(found) => {
                let found: Vec<&str> = found.calls.iter().map(|call| call.action.as_str()).collect();
                assert!(cut >= pack && found == BOTH, "{cut}: {found:?}");
            }
            Err(refusal) => assert!(cut < pack && refusal.code == Code::Malformed, "{cut}"),
        }
    }
    let mut changed = body.clone();
    for at in pack..body.len() {
        changed[at] ^= 0x41;
        assert_eq!(actions(&changed), BOTH, "{at}");
        changed[at] = body[at];
    }
    for at in 0..pack {
        for bit in 0..8 {
            changed[at] ^= 1 << bit;
            let _ = classify(BodyView::Whole(&changed));
            changed[at] = body[at];
        }
    }
}

#[test]
fn every_service_that_speaks_git_has_its_words() {
    let vocabulary = CATALOG.vocabulary();
    for service in ["github", "gitlab"] {
        let words = &vocabulary.services[service];
        for (action, class) in [
            ("git/fetch", Class::Read),
            ("git/list-refs", Class::Read),
            ("git/push", Class::Write),
            ("git/force-push", Class::Write),
            ("git/delete-ref", Class::Delete),
            ("git/push-option", Class::Admin),
        ] {
            assert_eq!(words.actions[action].class, class, "{service} {action}");
            let facts = words.actions[action].facts.contains_key("git.force");
            assert_eq!(facts, !["git/fetch", "git/list-refs"].contains(&action), "{service} {action}");
        }
        assert_eq!(words.actions["git/list-refs"].implied_by, ["git/delete-ref", "git/force-push", "git/push"]);
        assert_eq!(words.aliases["force_push"], ["git/force-push"]);
    }
}

proptest! {
    #[test]
    fn nothing_panics(lines in proptest::collection::vec(".{0,90}", 0..4), tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut body: Vec<u8> = lines.iter().flat_map(line).collect();
        body.extend(tail);
        let _ = classify(BodyView::Whole(&body));
        let _ = classify(BodyView::TooLarge(&body));
    }
}
