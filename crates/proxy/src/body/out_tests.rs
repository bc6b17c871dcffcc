//! A body whose front was read passes octet for octet, is hashed and searched as one, and gives its memory back.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use inject::KnownSecrets;
use model::CredentialName;
use parking_lot::Mutex;
use secret::{Material, Secret};

use super::held::{Budget, Held};
use super::out::{BodyFate, OutBody, Read, Search, Unsent, read_to};

const HELD: &str = "ghp_q7Rk2ZtVw9LxN4bYc8DmHs3JpGf6AeUuT1Xo";
const ROOM: usize = 1024 * 1024;

/// What a client sends, in these pieces; of a known length or in chunks.
struct Pieces(VecDeque<Bytes>, bool);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.0.iter().map(|piece| piece.len() as u64).sum();
        if self.1 { SizeHint::with_exact(length) } else { SizeHint::default() }
    }
}

#[derive(Default)]
struct Seen {
    /// The body fitted below the bound.
    whole: bool,
    front: usize,
    exact: Option<u64>,
    out: Vec<u8>,
    failed: bool,
    fate: Arc<BodyFate>,
    /// The memory was there again when the last piece of the front had been handed on.
    given_back: bool,
}

fn known() -> KnownSecrets {
    let name = CredentialName::new("github").expect("a name");
    let material = Material::token(Secret::new(HELD.into()));
    KnownSecrets::new([(&name, &material)])
}

async fn take(mut body: Incoming, bound: usize) -> Seen {
    let budget = Budget::of(ROOM);
    let mut held = Held::nothing([budget.clone(), Budget::of(ROOM)]);
    let mut seen = Seen::default();
    let front = match read_to(&mut body, Bytes::new(), bound, &mut held).await.expect("it is read") {
        Read::Whole(bytes) => {
            (seen.whole, seen.front, seen.out) = (true, bytes.len(), bytes.to_vec());
            return seen;
        }
        Read::Front(front) => front,
    };
    seen.front = front.len();
    let free = || Held::nothing([budget.clone(), Budget::of(ROOM)]).grow(ROOM).is_ok();
    assert!(!free(), "the front is counted");
    let search = Search { known: Some(Arc::new(known()).scan()), ..Search::default() };
    let unsent = Unsent { front, held: Some(held), rest: body };
    let mut out = OutBody::stream(unsent, u64::MAX, search, Arc::clone(&seen.fate));
    seen.exact = out.size_hint().exact();
    while let Some(frame) = out.frame().await {
        let Ok(frame) = frame else {
            seen.failed = true;
            return seen;
        };
        seen.out.extend_from_slice(&frame.into_data().expect("data"));
    }
    seen.given_back = free();
    seen
}

async fn pass(pieces: &[&[u8]], bound: usize, length: bool) -> Seen {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let told = Arc::new(Mutex::new(Seen::default()));
    let teller = Arc::clone(&told);
    let service = service_fn(move |request: Request<Incoming>| {
        let teller = Arc::clone(&teller);
        async move {
            let seen = take(request.into_body(), bound).await;
            *teller.lock() = seen;
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let server = tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.expect("connects");
    let client = tokio::spawn(connection);
    let body = Pieces(pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect(), length);
    let request = Request::post("/").header("host", "a.test").body(body).expect("a request");
    let answer = sender.send_request(request).await.map(|answer| answer.status());
    client.abort();
    server.abort();
    let seen = std::mem::take(&mut *told.lock());
    assert!(answer.is_ok() || seen.failed);
    seen
}

#[tokio::test]
async fn the_rest_follows_the_front() {
    let text: Vec<u8> = (0..300_000u32).map(|number| (number % 251) as u8).collect();
    for length in [true, false] {
        for (bound, whole) in [(0, false), (1, false), (70_000, false), (299_999, false), (300_000, true)] {
            let seen = pass(&text.chunks(9_999).collect::<Vec<_>>(), bound, length).await;
            assert_eq!((seen.whole, seen.failed), (whole, false), "{bound}");
            assert!(seen.out == text, "{bound}: other octets");
            if whole {
                continue;
            }
            assert!(seen.front > bound && seen.front <= text.len(), "{bound}: {} octets read", seen.front);
            assert_eq!(seen.exact, length.then_some(300_000));
            let sent = seen.fate.sent().expect("it was sent");
            assert_eq!((sent.0.0.as_slice(), sent.1), (digest::digest(&digest::SHA256, &text).as_ref(), 300_000));
            assert!(seen.given_back, "{bound}");
        }
    }
}

#[tokio::test]
async fn a_secret_across_the_border_is_found() {
    let (left, right) = HELD.split_at(17);
    let front = [b"x".repeat(1_000).as_slice(), left.as_bytes()].concat();
    let seen = pass(&[&front, right.as_bytes(), b" and more"], 900, false).await;
    assert!(seen.failed && seen.fate.leaked().is_some());
    assert!(!seen.out.windows(4).any(|window| window == b"ghp_"), "a part of it left");
}
