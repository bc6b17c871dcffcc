//! The request's body towards the upstream.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use inject::{ChunkError, ChunkSigner, KnownScan, SightScan};
use model::canonical::Malformed;
use model::{Code, CredentialName, Digest, Rank, Refusal, Sighting};
use parking_lot::Mutex;

use super::held::Held;
use super::idle::Idle;
use super::spool::{Back, Spool};
use crate::net::frame::trailer_allowed;

/// Silence after which a request's body is given up (row J126).
const IDLE: Duration = Duration::from_secs(model::bounds::IDLE_SECONDS_MAX);

/// Octets of a front that are handed on at a time: about what comes in one piece from a socket.
const PIECE: usize = 64 * 1024;

/// What became of a streamed body, for the outcome.
#[derive(Debug, Default)]
pub(crate) struct BodyFate {
    sent: OnceLock<(Digest, u64)>,
    leaked: OnceLock<CredentialName>,
    broken: OnceLock<Refusal>,
    sighted: Mutex<Vec<Sighting>>,
}

impl BodyFate {
    /// Digest and length, once all of it was sent.
    pub(crate) fn sent(&self) -> Option<(Digest, u64)> {
        self.sent.get().copied()
    }

    /// Why it was not sent whole, where that is the client's doing.
    pub(crate) fn broken(&self) -> Option<&Refusal> {
        self.broken.get()
    }

    /// Takes the placeholders that were seen in it so far.
    pub(crate) fn take_sighted(&self) -> Vec<Sighting> {
        std::mem::take(&mut self.sighted.lock())
    }

    /// The credential whose real value was found in it.
    pub(crate) fn leaked(&self) -> Option<&CredentialName> {
        self.leaked.get()
    }
}

/// Why a body stopped.
#[derive(Debug, thiserror::Error)]
pub enum OutError {
    /// The client went away or broke the protocol.
    #[error("request body ended early: {0}")]
    Client(hyper::Error),
    /// The client fell silent in the middle of it.
    #[error("request body stopped coming")]
    Idle,
    /// It is longer than its service allows.
    #[error("request body is longer than this service allows")]
    TooLarge,
    /// It holds a real secret; nothing of it has left.
    #[error("request body holds the value of a credential")]
    Secret,
    /// It holds a placeholder at whose sight the session is stopped.
    #[error("request body holds a placeholder that ends the session")]
    Tripwire,
    /// A trailer that may not come late.
    #[error("request trailer: {0}")]
    Trailer(Malformed),
    /// Its signed chunks are none.
    #[error("request body: {0}")]
    Chunks(ChunkError),
    /// What was kept of it for a person cannot be read back, or was changed where it lay.
    #[error("request body cannot be read back: {0}")]
    Spool(String),
}

impl OutError {
    /// What the client is told, where it can still hear.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Client(error) => {
                Refusal::new(Code::Malformed, "The request's body ended early").internal(error.to_string())
            }
            Self::Idle => Refusal::new(Code::Malformed, "The request's body stopped coming"),
            Self::TooLarge => Refusal::new(Code::TooLarge, "The request's body is longer than this service allows"),
            Self::Secret => Refusal::new(Code::SecretInRequest, "The request's body holds the value of a credential"),
            Self::Tripwire => Refusal::new(Code::SessionEnded, "A tripwire has ended this session"),
            Self::Spool(why) => {
                Refusal::new(Code::Unavailable, "The request's body cannot be read back").internal(why.clone())
            }
            Self::Chunks(why) => {
                Refusal::new(Code::Malformed, format!("The request's body cannot be signed anew: {why}"))
            }
            Self::Trailer(why) => Refusal::new(Code::Malformed, format!("The request is ambiguous: {why}")),
        }
    }
}

enum Source {
    Whole(Option<Bytes>),
    Stream(Box<Stream>),
    Spool(Box<Back>, Arc<BodyFate>),
}

struct Stream {
    unsent: Unsent,
    context: digest::Context,
    bytes: u64,
    bound: u64,
    search: Search,
    queued: Option<Bytes>,
    idle: Idle,
    ended: bool,
    fate: Arc<BodyFate>,
}

/// A body that passes as it comes, behind what was read of it.
pub(crate) struct Unsent {
    pub(crate) front: Bytes,
    /// The memory that the front takes, given back when it has been handed on.
    pub(crate) held: Option<Held>,
    pub(crate) rest: Incoming,
}

impl Unsent {
    /// One of which nothing was read.
    pub(crate) const fn all(rest: Incoming) -> Self {
        Self { front: Bytes::new(), held: None, rest }
    }

    /// The next piece of the front, while there is one.
    fn piece(&mut self) -> Option<Bytes> {
        if self.front.is_empty() {
            self.held = None;
            return None;
        }
        Some(self.front.split_to(self.front.len().min(PIECE)))
    }

    fn size_hint(&self) -> SizeHint {
        let (front, rest) = (self.front.len() as u64, self.rest.size_hint());
        let mut all = SizeHint::new();
        all.set_lower(rest.lower().saturating_add(front));
        if let Some(upper) = rest.upper() {
            all.set_upper(upper.saturating_add(front));
        }
        all
    }
}

/// What a body is searched for while it passes.
#[derive(Default)]
pub(crate) struct Search {
    /// Real secrets: nothing of them leaves.
    pub(crate) known: Option<KnownScan>,
    /// Placeholders: told, and they pass.
    pub(crate) sight: Option<SightScan>,
    /// Unless they are of this rank: the session is stopped then, and the body with it.
    pub(crate) stops_from: Option<Rank>,
}

/// A body that hyper sends. Whole where it was judged, streamed where it was not.
pub struct OutBody(Mutex<Out>);

struct Out {
    source: Source,
    signing: Option<Signing>,
}

/// A body whose chunks are signed anew while they pass (AWS).
struct Signing {
    signer: Box<ChunkSigner>,
    ended: bool,
    fate: Arc<BodyFate>,
}

impl Signing {
    /// What passes of a frame; nothing where more must come first.
    fn frame(&mut self, frame: Frame<Bytes>) -> Result<Option<Frame<Bytes>>, OutError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Ok(Some(other)),
        };
        let signed = self.signer.push(&data).map_err(|error| self.broken(error))?;
        Ok(Some(signed).filter(|signed| !signed.is_empty()).map(Frame::data))
    }

    fn end(&mut self) -> Option<Result<Frame<Bytes>, OutError>> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        match self.signer.finish() {
            Ok(rest) if rest.is_empty() => None,
            Ok(rest) => Some(Ok(Frame::data(rest))),
            Err(error) => Some(Err(self.broken(error))),
        }
    }

    fn broken(&self, error: ChunkError) -> OutError {
        let error = OutError::Chunks(error);
        let _ = self.fate.broken.set(error.refusal());
        error
    }
}

impl OutBody {
    /// A body that is in memory, already judged; none for no body.
    pub(crate) fn whole(bytes: Option<Bytes>) -> Self {
        Self::of(Source::Whole(bytes.filter(|bytes| !bytes.is_empty())))
    }

    /// A body that lies in a file, already judged.
    pub(crate) fn spooled(spool: Spool, fate: Arc<BodyFate>) -> Self {
        Self::of(Source::Spool(Box::new(Back::new(spool)), fate))
    }

    /// A body that is passed on as it comes, bounded, hashed and searched.
    pub(crate) fn stream(unsent: Unsent, bound: u64, search: Search, fate: Arc<BodyFate>) -> Self {
        let context = digest::Context::new(&digest::SHA256);
        let idle = Idle::new(IDLE);
        let stream = Stream { unsent, context, bytes: 0, bound, search, queued: None, idle, ended: false, fate };
        Self::of(Source::Stream(Box::new(stream)))
    }

    fn of(source: Source) -> Self {
        Self(Mutex::new(Out { source, signing: None }))
    }

    /// The same, its chunks signed anew.
    pub(crate) fn signed(mut self, signer: Box<ChunkSigner>, fate: Arc<BodyFate>) -> Self {
        self.0.get_mut().signing = Some(Signing { signer, ended: false, fate });
        self
    }
}

impl Out {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutError>>> {
        loop {
            let polled = std::task::ready!(self.source.poll(cx));
            let Some(signing) = &mut self.signing else { return Poll::Ready(polled) };
            match polled {
                None => return Poll::Ready(signing.end()),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Some(signed) = signing.frame(frame)? {
                        return Poll::Ready(Some(Ok(signed)));
                    }
                }
            }
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = OutError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutError>>> {
        self.get_mut().0.get_mut().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        let out = self.0.lock();
        if let Some(signing) = &out.signing {
            return signing.ended;
        }
        match &out.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Stream(stream) => stream.ended,
            Source::Spool(back, _) => back.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        // Signatures are as long as those that came.
        match &self.0.lock().source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Source::Stream(stream) => stream.unsent.size_hint(),
            Source::Spool(back, _) => SizeHint::with_exact(back.left()),
        }
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutError>>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => {
                let polled = stream.poll(cx);
                if let Poll::Ready(Some(Err(error))) = &polled {
                    let _ = stream.fate.broken.set(error.refusal());
                }
                polled
            }
            Self::Spool(back, fate) => {
                let polled = std::task::ready!(back.poll(cx));
                match &polled {
                    Some(Err(error)) => _ = fate.broken.set(error.refusal()),
                    Some(Ok(_)) if back.left() == 0 => _ = fate.sent.set(back.digest()),
                    Some(Ok(_)) | None => {}
                }
                Poll::Ready(polled.map(|piece| piece.map(Frame::data)))
            }
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, OutError>>> {
        loop {
            if let Some(bytes) = self.queued.take() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(piece) = self.unsent.piece() {
                if let Some(out) = self.data(piece)? {
                    return Poll::Ready(Some(Ok(Frame::data(out))));
                }
                continue;
            }
            let polled = Pin::new(&mut self.unsent.rest).poll_frame(cx);
            if polled.is_pending() {
                return self.idle.poll(cx).map(|()| Some(Err(OutError::Idle)));
            }
            self.idle.progress();
            let frame = match std::task::ready!(polled) {
                None => return Poll::Ready(self.end().transpose().map(|end| end.map(Frame::data))),
                Some(Err(error)) => return Poll::Ready(Some(Err(OutError::Client(error)))),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    if let Some(out) = self.data(data)? {
                        return Poll::Ready(Some(Ok(Frame::data(out))));
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        check_trailers(&trailers).map_err(OutError::Trailer)?;
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                }
            }
        }
    }

    /// Passes data on, or as much of it as certainly belongs to no secret.
    fn data(&mut self, data: Bytes) -> Result<Option<Bytes>, OutError> {
        self.bytes += data.len() as u64;
        if self.bytes > self.bound {
            return Err(OutError::TooLarge);
        }
        self.context.update(&data);
        if let Some(sight) = &mut self.search.sight {
            let seen = sight.push(&data);
            let stops = |seen: &Sighting| self.search.stops_from.is_some_and(|rank| seen.rank >= rank);
            let stopped = seen.iter().any(stops);
            if !seen.is_empty() {
                self.fate.sighted.lock().extend(seen);
            }
            if stopped {
                return Err(OutError::Tripwire);
            }
        }
        let Some(scan) = &mut self.search.known else { return Ok(Some(data)) };
        match scan.push(data) {
            Ok(mut ready) => {
                let first = ready.next();
                self.queued = join(ready);
                Ok(first)
            }
            Err(name) => {
                let _ = self.fate.leaked.set(name);
                Err(OutError::Secret)
            }
        }
    }

    fn end(&mut self) -> Result<Option<Bytes>, OutError> {
        self.ended = true;
        let rest = match self.search.known.take().map(KnownScan::finish) {
            None => None,
            Some(Ok(rest)) => rest,
            Some(Err(name)) => {
                let _ = self.fate.leaked.set(name);
                return Err(OutError::Secret);
            }
        };
        let _ = self.fate.sent.set((finish(self.context.clone()), self.bytes));
        Ok(rest)
    }
}

fn join(parts: impl Iterator<Item = Bytes>) -> Option<Bytes> {
    let mut all: Option<Bytes> = None;
    for part in parts {
        all = Some(match all {
            None => part,
            Some(front) => [front, part].concat().into(),
        });
    }
    all
}

/// Finishes a SHA-256.
pub(crate) fn finish(context: digest::Context) -> Digest {
    let mut out = [0u8; 32];
    out.copy_from_slice(context.finish().as_ref());
    Digest(out)
}

/// Trailers that would change authentication, framing or routing are refused (row C41).
pub(super) fn check_trailers(trailers: &http::HeaderMap) -> Result<(), Malformed> {
    // The guard asks the same of HTTP/1; here HTTP/2 comes by too.
    let bad = trailers.keys().any(|name| !trailer_allowed(name.as_str()) || model::canonical::is_hop_by_hop(name));
    if bad { Err(Malformed::Trailer) } else { Ok(()) }
}

/// A body as far as it was read.
pub(crate) enum Read {
    /// It has ended.
    Whole(Bytes),
    /// It is larger than the bound, and may go on.
    Front(Bytes),
}

/// Reads a body behind `front`, until it ends or has more than `bound` octets: then by one piece more. Memory is taken from `held` as
/// it grows.
///
/// # Errors
/// The client went away, fell silent, broke the protocol, or sent a trailer that may not come late; no memory is left.
pub(crate) async fn read_to(body: &mut Incoming, front: Bytes, bound: usize, held: &mut Held) -> Result<Read, Refusal> {
    let mut all = Gathered::default();
    if !front.is_empty() {
        all.add(front);
    }
    while all.len() <= bound {
        let Some(frame) = next_frame(body).await? else { return Ok(Read::Whole(all.whole())) };
        match frame.into_data() {
            Ok(data) => {
                held.grow(all.len() + data.len())?;
                all.add(data);
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    check_trailers(&trailers).map_err(|why| OutError::Trailer(why).refusal())?;
                }
            }
        }
    }
    Ok(Read::Front(all.whole()))
}

pub(super) async fn next_frame(body: &mut Incoming) -> Result<Option<Frame<Bytes>>, Refusal> {
    match tokio::time::timeout(IDLE, body.frame()).await {
        Ok(None) => Ok(None),
        Ok(Some(Ok(frame))) => Ok(Some(frame)),
        Ok(Some(Err(error))) => Err(OutError::Client(error).refusal()),
        Err(_) => Err(OutError::Idle.refusal()),
    }
}

/// Pieces of a body: the first is kept as it came, because most bodies are one piece.
#[derive(Default)]
struct Gathered {
    first: Option<Bytes>,
    more: BytesMut,
}

impl Gathered {
    fn len(&self) -> usize {
        self.first.as_ref().map_or(0, Bytes::len) + self.more.len()
    }

    fn add(&mut self, data: Bytes) {
        if self.first.is_none() && self.more.is_empty() {
            self.first = Some(data);
            return;
        }
        if let Some(front) = self.first.take() {
            self.more.extend_from_slice(&front);
        }
        self.more.extend_from_slice(&data);
    }

    fn whole(self) -> Bytes {
        self.first.unwrap_or_else(|| self.more.freeze())
    }
}
