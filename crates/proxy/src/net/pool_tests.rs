//! The pool against real servers: whose connection is used, when it comes back, and when it does not.

use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::fixture::{Ca, Origins, agent, dialer, host, https, trailing};
use super::super::tls::Trust;
use super::*;

type Out = UnsyncBoxBody<Bytes, hyper::Error>;

fn empty() -> Out {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn key(who: &str, version: u64) -> PoolKey {
    let credential = CredentialName::new("github-token").expect("a name");
    PoolKey { agent: agent(who), credential: Some((credential, version)), origin: https("good.test") }
}

struct Rig {
    origin: Origins,
    dialer: Dialer,
    pool: Pool<Out>,
}

async fn rig(alpn: &[&str]) -> Rig {
    let ca = Ca::new();
    let origin = Origins::start(Some(ca.server(&["good.test"], alpn))).await;
    let dialer = dialer("good.test", origin.address, ca.trust());
    Rig { origin, dialer, pool: Pool::new() }
}

impl Rig {
    async fn send(&self, key: PoolKey, path: &str, body: Out) -> Result<Response<Pooled<Incoming>>, SendError> {
        // An absolute target with another authority: the key's origin must win.
        let uri = format!("https://elsewhere.test{path}");
        let request = Request::post(uri).header("host", "elsewhere.test").body(body).expect("a request");
        self.pool.send(&self.dialer, key, request, false).await
    }

    async fn text(&self, key: PoolKey, path: &str) -> String {
        let response = self.send(key, path, empty()).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a body");
        String::from_utf8(body.to_bytes().to_vec()).expect("text")
    }
}

#[tokio::test]
async fn one_connection_for_one_key_and_never_for_another() {
    let rig = rig(&["http/1.1"]).await;
    for _ in 0..100 {
        assert_eq!(rig.text(key("a", 1), "/x?y=1").await, "1 HTTP/1.1 good.test - /x 0 0");
    }
    assert_eq!((rig.origin.connections(), rig.pool.idle()), (1, 1));
    // Row C45: another agent, another version of the credential, none.
    assert!(rig.text(key("b", 1), "/").await.starts_with("2 "));
    assert!(rig.text(key("a", 2), "/").await.starts_with("3 "));
    assert!(rig.text(PoolKey { credential: None, ..key("a", 1) }, "/").await.starts_with("4 "));
    assert!(rig.text(key("a", 1), "/").await.starts_with("1 "));
    assert_eq!((rig.origin.connections(), rig.pool.idle()), (4, 4));
}

#[tokio::test]
async fn http2_is_shared_and_says_the_origin() {
    let rig = rig(&["h2", "http/1.1"]).await;
    assert_eq!(rig.text(key("a", 1), "/x").await, "1 HTTP/2.0 - good.test /x 0 0");
    let (one, two) = tokio::join!(rig.text(key("a", 1), "/1"), rig.text(key("a", 1), "/2"));
    assert!(one.starts_with("1 ") && two.starts_with("1 "));
    assert!(rig.text(key("b", 1), "/").await.starts_with("2 "));
    assert_eq!(rig.origin.connections(), 2);
    let shelf = rig.pool.0.lock();
    assert!(shelf.places.values().flat_map(|place| &place.shared).all(|one| one.streams.load(Ordering::Relaxed) == 0));
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    for alpn in [&["http/1.1"][..], &["h2"]] {
        let rig = rig(alpn).await;
        let body = trailing("hello", "x-sum").boxed_unsync();
        let request = Request::post("/trailers").header("trailer", "x-sum").header("te", "trailers").body(body);
        let request = request.expect("a request");
        let response = rig.pool.send(&rig.dialer, key("a", 1), request, false).await.expect("an answer");
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(body.trailers().and_then(|late| late.get("x-late")).map(HeaderValue::as_bytes), Some(&b"1"[..]));
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        assert!(text.ends_with("/trailers 5 1"), "{alpn:?} {text}");
    }
}

#[tokio::test]
async fn closed_connections_are_replaced() {
    let rig = rig(&["http/1.1"]).await;
    assert!(rig.text(key("a", 1), "/close").await.starts_with("1 "));
    assert!(rig.text(key("a", 1), "/close").await.starts_with("2 "));
    assert!(rig.text(key("a", 1), "/").await.starts_with("3 "));
    assert!(rig.text(key("a", 1), "/").await.starts_with("3 "));
}

#[tokio::test]
async fn an_answer_dropped_half_way_takes_its_connection_along() {
    let rig = rig(&["http/1.1"]).await;
    let response = rig.send(key("a", 1), "/trailers", empty()).await.expect("an answer");
    drop(response);
    assert_eq!(rig.pool.idle(), 0);
    assert!(rig.text(key("a", 1), "/").await.starts_with("2 "));
}

#[tokio::test]
async fn evicted_connections_do_not_come_back() {
    let rig = rig(&["http/1.1"]).await;
    let credential = CredentialName::new("github-token").expect("a name");
    let under_way = rig.send(key("a", 1), "/trailers", empty()).await.expect("an answer");
    assert!(rig.text(key("b", 1), "/").await.starts_with("2 "));
    rig.pool.evict_credential(&credential);
    assert_eq!(rig.pool.idle(), 0);
    under_way.into_body().collect().await.expect("a body");
    assert_eq!(rig.pool.idle(), 0, "lent before the eviction");
    assert!(rig.text(key("a", 1), "/").await.starts_with("3 "));
    rig.pool.evict_agent(&agent("nobody"));
    assert_eq!(rig.pool.idle(), 1);
    rig.pool.evict_agent(&agent("a"));
    assert_eq!(rig.pool.idle(), 0);
}

#[tokio::test]
async fn idle_connections_are_bounded_and_end() {
    let rig = rig(&["http/1.1"]).await;
    let many: Vec<_> = std::iter::repeat_with(|| rig.send(key("a", 1), "/trailers", empty())).take(70).collect();
    let mut answers = Vec::new();
    for answer in many {
        answers.push(answer.await.expect("an answer"));
    }
    assert_eq!(rig.origin.connections(), 70);
    for answer in answers {
        answer.into_body().collect().await.expect("a body");
    }
    assert_eq!(rig.pool.idle(), POOL_IDLE_PER_KEY_MAX);
    let later = Instant::now() + Duration::from_secs(POOL_IDLE_SECONDS_MAX + 1);
    assert!(rig.pool.0.lock().take(&key("a", 1), later).is_none());
    assert_eq!((rig.pool.idle(), rig.pool.0.lock().places.len()), (0, 0));
}

#[tokio::test]
async fn websockets_have_a_connection_of_their_own() {
    let rig = rig(&["h2", "http/1.1"]).await;
    assert!(rig.text(key("a", 1), "/").await.contains("HTTP/2.0"));
    let request = Request::get("/ws").header("sec-websocket-key", "x").body(empty()).expect("a request");
    let mut response = rig.pool.send(&rig.dialer, key("a", 1), request, true).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut io = TokioIo::new(hyper::upgrade::on(&mut response).await.expect("an upgrade"));
    io.write_all(b"\x81\x00ping").await.expect("written");
    let mut echo = [0u8; 6];
    io.read_exact(&mut echo).await.expect("an echo");
    assert_eq!((&echo, rig.origin.connections()), (b"\x81\x00ping", 2));
}

#[tokio::test]
async fn an_upstream_may_not_switch_unasked() {
    let rig = rig(&["http/1.1"]).await;
    assert!(rig.text(key("a", 1), "/").await.starts_with("1 "));
    // Once on a kept connection, once on a fresh one; a request without the WebSocket's key is none.
    for ask in [false, true] {
        let request = Request::get("/ws").body(empty()).expect("a request");
        assert!(rig.pool.send(&rig.dialer, key("a", 1), request, ask).await.is_err());
    }
}

/// The upstream takes one request and closes the kept connection without a word: the next request goes out once, on a
/// fresh one; a request that was sent and not answered is not repeated.
#[tokio::test]
async fn nothing_that_was_sent_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                tcp.read_buf(&mut head).await.expect("octets");
            }
            // The first gets an answer; what comes on a connection after that, and on later ones, is dropped.
            if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("written");
                let mut rest = [0u8; 64];
                let _ = tcp.read(&mut rest).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let origin = Origin { scheme: Scheme::Http, host: host("good.test"), port: 80 };
    let upstream = super::super::dial::Upstream { address, trust: None };
    let dialer = Dialer::new(
        Box::new(super::super::fixture::Table::default()),
        Trust::platform(),
        super::super::address::Own::default(),
    )
    .upstream(host("good.test"), 80, upstream);
    let pool: Pool<Out> = Pool::new();
    let key = PoolKey { agent: agent("a"), credential: None, origin };
    let request = || Request::get("/").body(empty()).expect("a request");
    let first = pool.send(&dialer, key.clone(), request(), false).await.expect("an answer");
    assert_eq!(first.status(), StatusCode::OK);
    drop(first);
    let second = pool.send(&dialer, key.clone(), request(), false).await;
    assert!(matches!(second, Err(SendError::Broken { before_sent: false, .. })));
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn dialling_errors_sent_nothing() {
    let rig = rig(&["http/1.1"]).await;
    let key = PoolKey { origin: https("nowhere.test"), ..key("a", 1) };
    let error = rig.send(key, "/", empty()).await.err().expect("an error");
    assert!(error.before_sent());
    assert!(matches!(error, SendError::Dial(DialError::Unknown { .. })));
}
