//! The response's body towards the agent: through the hooks, cut when authority ends, recorded when it is over.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use model::Code;
use model::event::ResponseRecord;
use smallvec::SmallVec;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::idle::Idle;
use super::out::BodyFate;
use crate::net::pool::Pooled;
use crate::record::Recorder;
use crate::session::Place;

/// One thing done to every answer: scrub, capture, redact, meter. A later one is one file and one line.
pub(crate) trait Hook: Send {
    /// Takes a piece of the body; what it gives may be less (held back) or nothing.
    fn data(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), CutError>;
    /// Gives what was held back.
    fn end(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), CutError>;
    /// Sees the trailers.
    fn trailers(&mut self, trailers: &mut HeaderMap);
    /// How many needles it masked so far.
    fn masked(&self) -> u64;
    /// What the answer says was created, once it has ended.
    fn made(&mut self) -> Option<serde_json::Map<String, serde_json::Value>> {
        None
    }
}

/// Why an answer was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CutError {
    /// The upstream went away or broke the protocol.
    #[error("the upstream ended its answer early")]
    Upstream,
    /// The answer could not be decoded, so it could not be scrubbed.
    #[error("the answer cannot be decoded and therefore not be scrubbed")]
    Undecodable,
    /// Nothing came for too long.
    #[error("the upstream fell silent")]
    Idle,
    /// The session ended or the credential was revoked.
    #[error("the session ended or the credential was revoked")]
    Revoked,
}

impl CutError {
    const fn code(self) -> Code {
        match self {
            Self::Upstream => Code::UpstreamUnreachable,
            Self::Undecodable => Code::UpstreamInvalid,
            Self::Idle => Code::UpstreamTimeout,
            Self::Revoked => Code::CredentialRevoked,
        }
    }
}

/// What an answer is made of.
pub(crate) struct AnswerParts {
    /// The upstream's body, which gives its connection back to the pool when it ends.
    pub(crate) body: Pooled<Incoming>,
    /// What is done to it.
    pub(crate) hooks: SmallVec<[Box<dyn Hook>; 2]>,
    /// The record to finish.
    pub(crate) recorder: Recorder,
    /// What became of the request's body.
    pub(crate) fate: Option<Arc<BodyFate>>,
    /// The status for the record.
    pub(crate) status: u16,
    /// What was masked in the head.
    pub(crate) masked: u64,
    /// Cut by these.
    pub(crate) cut: SmallVec<[CancellationToken; 2]>,
    /// The place among the session's exchanges.
    pub(crate) place: Option<Place>,
    /// Silence after which it is cut.
    pub(crate) idle: Duration,
}

/// The body that the server side sends.
pub(crate) struct AnswerBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Live(Box<Live>),
}

struct Live {
    body: Pooled<Incoming>,
    hooks: SmallVec<[Box<dyn Hook>; 2]>,
    ready: VecDeque<Bytes>,
    recorder: Option<Recorder>,
    fate: Option<Arc<BodyFate>>,
    status: u16,
    masked: u64,
    bytes: u64,
    left: Option<u64>,
    cut: SmallVec<[CancellationToken; 2]>,
    waiting: SmallVec<[Pin<Box<WaitForCancellationFutureOwned>>; 2]>,
    idle: Idle,
    late: Option<HeaderMap>,
    ended: bool,
    _place: Option<Place>,
}

impl AnswerBody {
    /// A body of our own.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// A body of our own in place of the upstream's, whose record ends here.
    pub(crate) fn replaced(bytes: Bytes, upstream: Self) -> Self {
        if let Inner::Live(mut live) = upstream.0 {
            live.close(None);
        }
        Self::whole(bytes)
    }

    /// The upstream's body. One without octets is recorded at once.
    pub(crate) fn live(parts: AnswerParts) -> Self {
        let AnswerParts { body, hooks, recorder, fate, status, masked, cut, place, idle } = parts;
        let left = body.size_hint().exact();
        let mut live = Live {
            left,
            body,
            hooks,
            ready: VecDeque::new(),
            recorder: Some(recorder),
            fate,
            status,
            masked,
            bytes: 0,
            cut,
            waiting: SmallVec::new(),
            idle: Idle::new(idle),
            late: None,
            ended: false,
            _place: place,
        };
        if live.body.is_end_stream() {
            live.close(None);
            return Self(Inner::Whole(None));
        }
        Self(Inner::Live(Box::new(live)))
    }
}

impl Live {
    fn close(&mut self, cut: Option<Code>) {
        self.ended = true;
        let Some(mut recorder) = self.recorder.take() else { return };
        let mut cut = cut;
        if let Some(fate) = &self.fate {
            if let Some((hash, bytes)) = fate.sent() {
                recorder.body(Some(hash), bytes);
            }
            if fate.leaked().is_some() {
                cut = Some(Code::SecretInRequest);
            }
            // What has left has left; the session may still be stopped for it.
            let _ = recorder.sighted(fate.take_sighted());
        }
        let made = self.hooks.iter_mut().find_map(|hook| hook.made());
        let scrubbed = self.masked + self.hooks.iter().map(|hook| hook.masked()).sum::<u64>();
        recorder.outcome(
            ResponseRecord { status: self.status, bytes: self.bytes, made, scrubbed, ..ResponseRecord::default() },
            cut,
        );
    }

    /// Whether authority ended; registers for waking only where the upstream keeps us waiting.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> bool {
        if self.cut.iter().any(CancellationToken::is_cancelled) {
            return true;
        }
        if self.waiting.is_empty() {
            self.waiting = self.cut.iter().map(|token| Box::pin(token.clone().cancelled_owned())).collect();
        }
        self.waiting.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready())
    }

    fn through(&mut self, from: usize, data: Bytes) -> Result<(), CutError> {
        let mut pieces = VecDeque::from([data]);
        for hook in self.hooks.iter_mut().skip(from) {
            let mut next = VecDeque::new();
            for piece in pieces {
                hook.data(piece, &mut next)?;
            }
            pieces = next;
        }
        self.ready.extend(pieces);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), CutError> {
        for at in 0..self.hooks.len() {
            let mut rest = VecDeque::new();
            if let Some(hook) = self.hooks.get_mut(at) {
                hook.end(&mut rest)?;
            }
            for piece in rest {
                self.through(at + 1, piece)?;
            }
        }
        Ok(())
    }

    fn data(&mut self, data: Bytes) -> Result<Option<Bytes>, CutError> {
        if self.hooks.is_empty() {
            return Ok(Some(data));
        }
        self.through(0, data)?;
        Ok(self.ready.pop_front())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(trailers) = self.late.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => {
                    if self.poll_cut(cx) {
                        return Poll::Ready(Some(Err(CutError::Revoked)));
                    }
                    return self.idle.poll(cx).map(|()| Some(Err(CutError::Idle)));
                }
                Poll::Ready(frame) => frame,
            };
            self.idle.progress();
            if self.cut.iter().any(CancellationToken::is_cancelled) {
                return Poll::Ready(Some(Err(CutError::Revoked)));
            }
            match frame {
                None => {
                    self.finish()?;
                    self.ended = true;
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(CutError::Upstream))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                        if let Some(bytes) = self.data(data)? {
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(Some(self.trailers(trailers)));
                        }
                    }
                },
            }
        }
    }

    /// Trailers come last; what a hook still holds back goes before them.
    fn trailers(&mut self, mut trailers: HeaderMap) -> Result<Frame<Bytes>, CutError> {
        self.finish()?;
        for hook in &mut self.hooks {
            hook.trailers(&mut trailers);
        }
        if let Some(first) = self.ready.pop_front() {
            // What was held back comes first; the trailers follow once the queue is empty.
            self.late = Some(trailers);
            return Ok(Frame::data(first));
        }
        Ok(Frame::trailers(trailers))
    }
}

/// A server that has written as many octets as the head announced drops the body without asking for its end. That is an
/// outcome; anything else is an abandoned exchange, which the recorder writes by itself.
impl Drop for Live {
    fn drop(&mut self) {
        if self.left == Some(0) {
            self.close(None);
        } else if let Some(recorder) = &mut self.recorder {
            recorder.partly(self.status, self.bytes);
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = CutError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutError>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Live(live) => {
                let poll = live.poll(cx);
                match &poll {
                    Poll::Ready(Some(Ok(frame))) => {
                        live.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                        // Trailers are the last that is asked for.
                        let last = frame.is_trailers() || live.hooks.is_empty() && live.body.is_end_stream();
                        if last {
                            live.close(None);
                        }
                    }
                    Poll::Ready(Some(Err(error))) => live.close(Some(error.code())),
                    Poll::Ready(None) => live.close(None),
                    Poll::Pending => {}
                }
                poll
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_none(),
            Inner::Live(live) => live.ended && live.ready.is_empty() && live.late.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Live(live) if live.hooks.is_empty() => live.body.size_hint(),
            Inner::Live(_) => SizeHint::default(),
        }
    }
}
