//! What an upstream answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// The body of an answer.
#[derive(Clone, Debug)]
pub enum Content {
    /// At once, with `Content-Length`.
    Whole(Bytes),
    /// Piece by piece, each flushed by itself, with this pause before each.
    Pieces(Vec<Bytes>, Duration),
    /// This many octets of a repeating pattern, made as they are read.
    Pattern(u64),
    /// Events for ever (or this many), with this pause between them; `{n}` and `{nanos}` are filled in.
    Events(String, Option<u64>, Duration),
    /// WebSocket: a greeting, then every message comes back.
    WebSocket(Option<String>),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) wait: Duration,
    pub(super) end: End,
}

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As HTTP says.
    Proper,
    /// TCP reset instead of an answer.
    Reset,
    /// No answer at all, connection open.
    Hang,
    /// The body stops in the middle and the connection closes.
    Cut,
}

impl Answer {
    /// This status and no body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            content: Content::Whole(Bytes::new()),
            trailers: None,
            wait: Duration::ZERO,
            end: End::Proper,
        }
    }

    /// 200 with a body of this type.
    #[must_use]
    pub fn body(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::status(200).header("content-type", content_type).content(Content::Whole(body.into()))
    }

    /// 200 with JSON.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self::body("application/json", value.to_string())
    }

    /// A TCP reset instead of an answer.
    #[must_use]
    pub fn reset() -> Self {
        Self { end: End::Reset, ..Self::status(200) }
    }

    /// Silence.
    #[must_use]
    pub fn hang() -> Self {
        Self { end: End::Hang, ..Self::status(200) }
    }

    /// The body is cut in the middle.
    #[must_use]
    pub const fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Another status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Another body.
    #[must_use]
    pub fn content(mut self, content: Content) -> Self {
        self.content = content;
        self
    }

    /// One header field more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(field(name), HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// One trailer field more.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.append(field(name), HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// Waits before the head.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

fn field(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).unwrap()
}

/// A body fed by a task.
pub(super) struct Fed(pub(super) mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx)
    }
}

/// A piece of the pattern that large bodies are made of: 64 KiB of text that no secret is part of.
pub(super) fn pattern() -> Bytes {
    Bytes::from(b"The quick brown fox jumps over the lazy dog 0123456789 ......\r\n\t".repeat(1_024))
}

/// Feeds a body.
pub(super) async fn feed(answer: Answer, to: mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>) {
    let sent = match answer.content {
        Content::Whole(bytes) => {
            let size = if answer.end == End::Cut { bytes.len() / 2 } else { bytes.len() };
            to.send(Ok(Frame::data(bytes.slice(..size)))).await.is_ok()
        }
        Content::Pieces(pieces, pause) => {
            let count = if answer.end == End::Cut { pieces.len() / 2 } else { pieces.len() };
            pieces_to(&to, pieces.into_iter().take(count), pause).await
        }
        Content::Pattern(size) => pattern_to(&to, if answer.end == End::Cut { size / 2 } else { size }).await,
        Content::Events(text, count, pause) => events_to(&to, &text, count, pause).await,
        Content::WebSocket(_) => true,
    };
    if answer.end == End::Cut {
        let _ = to.send(Err(std::io::Error::other("cut as the test asked"))).await;
    } else if let (true, Some(trailers)) = (sent, answer.trailers) {
        let _ = to.send(Ok(Frame::trailers(trailers))).await;
    }
}

type Out = mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

async fn pieces_to(to: &Out, pieces: impl Iterator<Item = Bytes>, pause: Duration) -> bool {
    for piece in pieces {
        // A pause of zero still lets the connection flush, so that a piece is a segment.
        tokio::time::sleep(pause).await;
        tokio::task::yield_now().await;
        if to.send(Ok(Frame::data(piece))).await.is_err() {
            return false;
        }
    }
    true
}

async fn pattern_to(to: &Out, size: u64) -> bool {
    let piece = pattern();
    let mut left = size;
    while left > 0 {
        let part = piece.slice(..usize::try_from(left).unwrap_or(usize::MAX).min(piece.len()));
        left -= part.len() as u64;
        if to.send(Ok(Frame::data(part))).await.is_err() {
            return false;
        }
    }
    true
}

async fn events_to(to: &Out, text: &str, count: Option<u64>, pause: Duration) -> bool {
    let start = std::time::Instant::now();
    let mut made = 0;
    while count.is_none_or(|count| made < count) {
        let nanos = start.elapsed().as_nanos().to_string();
        let event = text.replace("{n}", &made.to_string()).replace("{nanos}", &nanos);
        if to.send(Ok(Frame::data(Bytes::from(event)))).await.is_err() {
            return false;
        }
        made += 1;
        tokio::time::sleep(pause).await;
    }
    true
}
