//! The guard in front of hyper: what passes, what never reaches a service, and who answers.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::frame::tests::te_mutations;
use super::*;

/// What the service saw: target, body length, trailers; or that the body broke.
type Journal = Arc<Mutex<Vec<String>>>;

/// Serves one end as the gateway does; gives the other end, the journal, and what is answered raw.
fn gateway() -> (DuplexStream, Journal, tokio::task::JoinHandle<Option<Violation>>) {
    let (client, server) = duplex(64 * 1024);
    let journal: Journal = Arc::default();
    let seen = Arc::clone(&journal);
    let task = tokio::spawn(async move {
        let (guard, refused) = Guard::new(server);
        let service = service_fn(move |request| echo(request, Arc::clone(&seen)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(guard), service).with_upgrades();
        let _ = connection.await;
        let (violation, mut io) = refused.take()?;
        io.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.ok()?;
        io.shutdown().await.ok()?;
        Some(violation)
    });
    (client, journal, task)
}

async fn echo(mut request: Request<Incoming>, seen: Journal) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().to_string();
    if request.headers().contains_key("upgrade") {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = TokioIo::new(upgrade.await.expect("an upgrade"));
            let mut octets = [0u8; 4];
            io.read_exact(&mut octets).await.expect("octets");
            io.write_all(&octets).await.expect("written");
        });
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", "upgrade".parse().expect("a value"));
        response.headers_mut().insert("upgrade", "websocket".parse().expect("a value"));
        return Ok(response);
    }
    let mut response = Response::new(Full::default());
    match request.into_body().collect().await {
        Ok(body) => {
            let trailers = body.trailers().map_or(0, http::HeaderMap::len);
            seen.lock().push(format!("{target} {} {trailers}", body.to_bytes().len()));
        }
        Err(error) => {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            seen.lock().push(format!("{target} broken {}", find_violation(&error).is_some()));
        }
    }
    Ok(response)
}

/// How a stage finds the fault of a body behind hyper's error.
fn find_violation(error: &hyper::Error) -> Option<Violation> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(violation) = inner.and_then(|inner| inner.downcast_ref::<Violation>()) {
            return Some(violation.clone());
        }
        source = error.source();
    }
    None
}

/// Sends octets, ends its side, and gives the whole answer, what the service saw, and the refusal.
async fn exchange(pieces: &[&[u8]]) -> (String, Vec<String>, Option<Violation>) {
    let (mut client, journal, task) = gateway();
    for piece in pieces {
        if client.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = client.shutdown().await;
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    let violation = task.await.expect("no panic");
    let seen = journal.lock().clone();
    (String::from_utf8_lossy(&answer).into_owned(), seen, violation)
}

#[tokio::test]
async fn good_requests_reach_the_service_whole_or_in_pieces() {
    let text = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    let expected = ["/a 0 0", "/b 5 0", "/c 3 1"];
    let (_, seen, violation) = exchange(&[text.as_bytes()]).await;
    assert_eq!((seen, violation), (expected.map(str::to_owned).to_vec(), None));
    let octets: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (_, seen, violation) = exchange(&octets).await;
    assert_eq!((seen, violation), (expected.map(str::to_owned).to_vec(), None));
}

#[tokio::test]
async fn a_refused_head_is_answered_once_and_never_served() {
    let bad = b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for size in [1, 7, 1_000] {
        let pieces: Vec<&[u8]> = bad.chunks(size).collect();
        let (answer, seen, violation) = exchange(&pieces).await;
        assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{answer}");
        assert!(seen.is_empty());
        let violation = violation.expect("a violation");
        assert_eq!((violation.method(), violation.target()), ("GET", "/x"));
        assert_eq!(violation.why(), Malformed::Framing);
        assert_eq!(violation.refusal().code, Code::Malformed);
    }
}

#[tokio::test]
async fn what_stands_before_a_bad_head_in_one_read_is_not_acted_upon() {
    let (answer, seen, violation) = exchange(&[
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ])
    .await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(seen.is_empty(), "{seen:?}");
    assert_eq!(violation.expect("a violation").why(), Malformed::HostDisagrees);
}

#[tokio::test]
async fn a_broken_body_is_the_exchanges_to_answer() {
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [&b"3;x\r\nabc\r\n0\r\n\r\n"[..], b"0\r\nAuthorization: x\r\n\r\n"] {
        let (answer, seen, violation) = exchange(&[head, body]).await;
        assert_eq!(seen, ["/a broken true"]);
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(violation, None);
    }
}

/// Row C34 through the real parser: a second request hides behind every mutation; it is never served.
#[tokio::test]
async fn no_mutation_smuggles_a_request_past_hyper() {
    for line in te_mutations() {
        let mut message = b"POST /good HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\n".to_vec();
        message.extend_from_slice(&line);
        message.extend_from_slice(b"\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: good.test\r\n\r\n");
        let (answer, seen, violation) = exchange(&[&message]).await;
        let text = String::from_utf8_lossy(&line);
        if violation.is_some() {
            assert!(seen.is_empty() && answer.matches("HTTP/1.1").count() == 1, "{text:?} {seen:?} {answer}");
        } else {
            // Another field altogether: two requests by one reading, the length's.
            assert_eq!(seen, ["/good 5 0", "/evil 0 0"], "{text:?}");
        }
    }
}

#[tokio::test]
async fn after_our_101_octets_pass_untouched_and_not_before() {
    let head = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (mut client, _, _task) = gateway();
    client.write_all(head).await.expect("written");
    let mut answer = vec![0u8; 1024];
    let read = client.read(&mut answer).await.expect("an answer");
    assert!(answer[..read].starts_with(b"HTTP/1.1 101 "));
    client.write_all(b"\r\n\0\xff").await.expect("written");
    let mut octets = [0u8; 4];
    client.read_exact(&mut octets).await.expect("an echo");
    assert_eq!(&octets, b"\r\n\0\xff");
    // Octets sent along with the head are not the tunnel's (row C36).
    let (answer, seen, violation) = exchange(&[&[&head[..], b"\x81\x05hello"].concat()]).await;
    assert!(violation.is_some() && seen.is_empty() && answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn slow_heads_and_bodies_are_cut_and_slow_answers_are_not() {
    let (mut client, journal, task) = gateway();
    client.write_all(b"GET / HTTP/1.1\r\nHost").await.expect("written");
    let begun = Instant::now();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("closed");
    assert_eq!(answer, b"");
    let took = begun.elapsed().as_secs();
    assert!((9..=11).contains(&took), "{took}");
    assert_eq!(task.await.expect("no panic"), None);

    // 100 octets every two seconds are under the least rate; 4 KiB every two seconds are not.
    for (size, cut) in [(100usize, true), (4_096, false)] {
        let (mut client, seen, _task) = gateway();
        client.write_all(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 81920\r\n\r\n").await.expect("written");
        let mut sent = 0;
        while sent < 81_920 && seen.lock().is_empty() {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if client.write_all(&vec![b'x'; size]).await.is_err() {
                break;
            }
            sent += size;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let expected = if cut { "/b broken true" } else { "/b 81920 0" };
        assert_eq!(*seen.lock(), [expected]);
    }
    drop(journal);
}

#[tokio::test]
async fn first_heads() {
    let read = |octets: &'static [u8]| async move {
        let mut octets = octets;
        read_first_head(&mut octets).await
    };
    let head = read(b"CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\nProxy-Authorization: Basic x\r\n\r\n").await;
    let head = head.expect("no violation").expect("a head");
    assert_eq!((head.method.as_str(), head.target.as_str(), head.headers.len()), ("CONNECT", "a.b:443", 2));
    let replayed = read(b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").await;
    let head = replayed.expect("no violation").expect("a head");
    assert!(head.raw.ends_with(b"\r\n\r\nhi"));
    let mut rewound = Rewind::new(head.raw, &b" there"[..]);
    let mut text = String::new();
    rewound.read_to_string(&mut text).await.expect("text");
    assert!(text.ends_with("hi there"));

    assert!(matches!(read(b"").await, Ok(None)));
    assert!(matches!(read(b"GET / HT").await, Ok(None)));
    for bad in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"CONNECT a.b:443 HTTP/1.1\r\n\r\n\x16\x03\x01",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        assert!(read(bad).await.is_err(), "{bad:?}");
    }
}

#[test]
fn idle_guards_are_small() {
    assert!(std::mem::size_of::<Guard<()>>() <= 320, "{}", std::mem::size_of::<Guard<()>>());
}

/// Measures, does not judge: `cargo test cost_of -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_one_small_request() {
    struct Endless(&'static [u8], AtomicUsize);
    impl AsyncRead for Endless {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            out.put_slice(self.0);
            Poll::Ready(Ok(()))
        }
    }
    let head = b"GET /repos/o/r/pulls?state=open HTTP/1.1\r\nHost: api.github.com\r\nUser-Agent: curl/8.0\r\n\
        Accept: application/vnd.github+json\r\nAuthorization: Bearer ghp_0123456789abcdefghij0123456789abcdef\r\n\
        X-GitHub-Api-Version: 2022-11-28\r\nAccept-Encoding: gzip, br\r\n\r\n";
    let (mut guard, _refused) = Guard::new(Endless(head, AtomicUsize::new(0)));
    let mut buffer = vec![0u8; 8_192];
    let rounds = 200_000u32;
    let begun = std::time::Instant::now();
    for _ in 0..rounds {
        let mut out = ReadBuf::new(&mut buffer);
        std::future::poll_fn(|cx| Pin::new(&mut guard).poll_read(cx, &mut out)).await.expect("passes");
        assert_eq!(out.filled().len(), head.len());
    }
    println!("guard: {:?} for a head of {} octets", begun.elapsed() / rounds, head.len());
}
