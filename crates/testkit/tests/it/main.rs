//! The kit tested with itself: its client against its upstream.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail with it")]

use std::time::Duration;

use testkit::client::Wire;
use testkit::upstream::{Answer, Protocol, Upstream};
use testkit::{Canary, RawServer, Step, leak};

fn wire(upstream: &Upstream) -> Wire {
    Wire::open(upstream.addr()).unwrap().tls("good.test", &upstream.ca().client(&["http/1.1"])).unwrap()
}

fn get(upstream: &Upstream, path: &str, secret: &str) -> testkit::client::Answer {
    let mut wire = wire(upstream);
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: good.test\r\nTE: trailers\r\nAuthorization: Bearer {secret}\r\n\r\n");
    wire.send(request.as_bytes()).unwrap();
    wire.answer("GET").unwrap()
}

#[test]
fn the_journal_holds_what_arrived() {
    let upstream = Upstream::start();
    let mut wire = wire(&upstream);
    wire.send(
        b"POST /anything?x=1 HTTP/1.1\r\nHost: good.test\r\nX-Two: a\r\nX-Two: b\r\nContent-Length: 5\r\n\r\nhello",
    )
    .unwrap();
    let answer = wire.answer("POST").unwrap();
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("hello")));
    let seen = upstream.journal().last();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), seen.path()), ("POST", "/anything?x=1", "/anything"));
    assert_eq!((seen.values("x-two"), seen.query("x")), (vec!["a".to_owned(), "b".to_owned()], Some("1")));
    assert_eq!((seen.protocol, seen.sni.as_deref(), seen.count("hello")), (Protocol::Http1, Some("good.test"), 1));
    assert_eq!(seen.body_sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
}

#[test]
fn every_leaking_route_is_caught_by_the_oracle() {
    let upstream = Upstream::start();
    let canary = Canary::new(11, "tok_", 40);
    let secret = canary.value();
    let mut paths: Vec<String> =
        ["/anything", "/fields", "/trailers", "/events/3/1", "/pad/100000", "/status/500", "/range"]
            .map(String::from)
            .to_vec();
    paths
        .extend(["gzip", "deflate", "raw-deflate", "br", "zstd", "gzip+gzip"].map(|coding| format!("/coded/{coding}")));
    paths.extend(leak::forms("x").into_iter().map(|(form, _)| format!("/form/{form}")));
    paths.extend((1..40).step_by(7).map(|at| format!("/split/{at}")));
    for path in paths {
        let answer = get(&upstream, &path, &secret);
        assert!(!canary.leaks_in_answer(&answer.wire).is_empty(), "{path}");
    }
    for path in ["/json", "/bytes/100000", "/digest", "/cut2"] {
        let answer = get(&upstream, path, "other");
        canary.assert_absent(path, &answer.wire);
    }
    assert_eq!(get(&upstream, "/json", "x").body.len(), 1024);
    assert_eq!(get(&upstream, "/trailers", "x").trailers.len(), 2);
}

#[test]
fn resets_cuts_and_silence() {
    let upstream = Upstream::start();
    let mut reset = wire(&upstream);
    reset.send(b"GET /reset HTTP/1.1\r\nHost: good.test\r\n\r\n").unwrap();
    assert_eq!(reset.answer("GET").unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let mut cut = wire(&upstream);
    cut.send(b"GET /cut HTTP/1.1\r\nHost: good.test\r\n\r\n").unwrap();
    assert_eq!(cut.answer("GET").unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    let mut hang = wire(&upstream);
    hang.send(b"GET /hang HTTP/1.1\r\nHost: good.test\r\n\r\n").unwrap();
    assert!(hang.drain(Duration::from_millis(100)).is_empty());
}

#[test]
fn websocket_echo() {
    let upstream = Upstream::start();
    let mut wire = wire(&upstream);
    wire.send(
        b"GET /ws HTTP/1.1\r\nHost: good.test\r\nAuthorization: Bearer abc\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .unwrap();
    let answer = wire.answer("GET").unwrap();
    assert_eq!((answer.status, answer.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    wire.send(&testkit::ws::frame(1, b"hello", Some([1, 2, 3, 4]))).unwrap();
    let got = wire.drain(Duration::from_millis(200));
    let (greeting, used) = testkit::ws::parse(&got).unwrap();
    let (echo, _) = testkit::ws::parse(&got[used..]).unwrap();
    assert_eq!((greeting.payload.as_slice(), echo.payload.as_slice()), (b"abc".as_slice(), b"hello".as_slice()));
}

#[test]
fn handlers_come_first_and_plain_works() {
    let upstream = Upstream::builder()
        .plain()
        .route("GET", "/user", Answer::json(&serde_json::json!({"login": "ada"})))
        .handler(|seen| seen.path().starts_with("/no").then(|| Answer::status(404)))
        .start();
    for (path, status) in [("/user", 200), ("/nothing", 404), ("/else", 200)] {
        let mut wire = Wire::open(upstream.addr()).unwrap();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(wire.answer("GET").unwrap().status, status, "{path}");
    }
}

#[test]
fn raw_octets_and_interim_answers() {
    let steps = vec![
        Step::ReadHead,
        Step::Write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n".to_vec()),
        Step::Dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
        Step::Again,
    ];
    let server = RawServer::start(None, steps);
    let mut wire = Wire::open(server.addr()).unwrap();
    for _ in 0..2 {
        wire.send(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let answer = wire.answer("GET").unwrap();
        assert_eq!((answer.status, answer.text().as_str(), answer.interim.len()), (200, "ok", 1));
        assert_eq!(answer.interim[0].header("link"), Some("</a>; rel=preload"));
    }
    assert_eq!(server.seen(), [b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".to_vec()]);
}

#[test]
fn faulty_certificates_are_faulty() {
    use testkit::ca::Leaf;
    let faults = [
        Leaf::WrongName("other.test".to_owned()),
        Leaf::Expired,
        Leaf::NotYet,
        Leaf::SelfSigned,
        Leaf::ClientOnly,
        Leaf::OtherCa,
    ];
    for leaf in faults {
        let upstream = Upstream::builder().leaf(leaf.clone()).start();
        let tls = Wire::open(upstream.addr()).unwrap().tls("good.test", &upstream.ca().client(&["h2"]));
        assert!(tls.is_err(), "{leaf:?}");
    }
}

#[test]
fn git_is_served_and_wants_authentication() {
    let folder = tempfile::tempdir().unwrap();
    let host = testkit::upstream::GitHost::at(folder.path());
    host.repository("o/r.git", &[("README", b"hello")]);
    let shared = host.clone();
    let upstream = Upstream::builder().handler(move |seen| shared.answer(seen)).start();
    let clone = |url: String| {
        let mut command = std::process::Command::new("git");
        command
            .args(["-c", "http.proxy=", "clone", "-q", &url])
            .arg(folder.path().join("copy"))
            .env("GIT_SSL_CAINFO", upstream.ca_file())
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null");
        testkit::process::finish(&mut command, Duration::from_secs(20))
    };
    assert_ne!(clone(format!("https://localhost:{}/o/r.git", upstream.addr().port())).code(), Some(0));
    let _ = clone(format!("https://u:p@localhost:{}/o/r.git", upstream.addr().port())).expect_success("clone");
    assert_eq!(std::fs::read(folder.path().join("copy/README")).unwrap(), b"hello");
    assert!(host.head("o/r.git", "refs/heads/main").is_some());
}
