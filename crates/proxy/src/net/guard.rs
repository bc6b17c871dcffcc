//! The guard: stands between a client's stream and hyper's HTTP/1.1 server and lets hyper see only octets that passed
//! [`Framing`].
//!
//! Heads and trailers are handed on whole, bodies as they come, in hyper's own buffer and without a copy. When a head is
//! refused hyper gets an error and nothing else, and the stream moves to the [`Refused`] that the connection's task
//! holds, which writes one answer and closes. When a body is refused the exchange it belongs to gets the error, answers
//! and is recorded in the usual way, and nothing after it is read. The guard also keeps the client's time within heads
//! and bodies (row J126) by one lazily set timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use model::bounds::{BODY_BYTES_PER_SECOND_MIN, HEAD_SECONDS_MAX};
use model::canonical::Malformed;
use model::{Code, Refusal};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub use super::first::{FirstHead, Rewind, read_first_head};
use super::frame::{Fault, Framing, Standing, Verdict};

/// Octets read at once while a head is unfinished.
const SLICE: usize = 2 * 1024;
/// A body's rate is judged only after this much waiting for it.
const BODY_GRACE: Duration = Duration::from_secs(HEAD_SECONDS_MAX);
/// As much of a refused request line as is kept for the record.
const QUOTED_BYTES_MAX: usize = 256;

/// Why a connection is not read any further, and what can be said of the request that did it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request is refused before it is parsed ({fault:?}); send plain HTTP/1.1 (RFC 9112) with one length")]
pub struct Violation {
    fault: Fault,
    method: Box<str>,
    target: Box<str>,
}

impl Violation {
    /// Quotes method and target from the head that `bytes` begin with, as far as they are plain.
    #[must_use]
    pub fn quoting(fault: Fault, bytes: &[u8]) -> Self {
        let line = bytes.get(..bytes.len().min(QUOTED_BYTES_MAX)).unwrap_or_default();
        let line = line.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let mut words = line.split(|byte| *byte == b' ').map(|word| match std::str::from_utf8(word) {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => text,
            _ => "",
        });
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Self { fault, method: method.into(), target: target.into() }
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// The method, as far as it could be read; perhaps empty.
    #[must_use]
    pub const fn method(&self) -> &str {
        &self.method
    }

    /// The target, as far as it could be read; perhaps empty.
    #[must_use]
    pub const fn target(&self) -> &str {
        &self.target
    }

    /// The fault in the words of the canonical request.
    #[must_use]
    pub const fn why(&self) -> Malformed {
        match self.fault {
            Fault::Malformed(why) => why,
            Fault::TooLarge => Malformed::TooMany,
            Fault::TooSlow => Malformed::Framing,
        }
    }

    /// What the client is told before the connection is closed.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let code = if self.fault == Fault::TooLarge { Code::TooLarge } else { Code::Malformed };
        Refusal::new(code, self.why().to_string())
    }
}

/// Where the connection's task finds a refused stream, after hyper has let go of it.
pub struct Refused<IO>(Arc<Mutex<Option<(Violation, IO)>>>);

impl<IO> Refused<IO> {
    /// The stream and why it is not read any further; none where hyper ended by itself, where an exchange has the fault
    /// to answer for, or where the client was merely silent. What was read is lost.
    #[must_use]
    pub fn take(&self) -> Option<(Violation, IO)> {
        self.0.lock().take()
    }
}

/// A stream of which only valid HTTP/1.1 can be read. See the module.
pub struct Guard<IO> {
    /// None once refused.
    io: Option<IO>,
    refused: Arc<Mutex<Option<(Violation, IO)>>>,
    framing: Framing,
    violation: Option<Violation>,
    /// An unfinished head or trailer section, and in front of it what passed but did not fit the reader's buffer.
    held: BytesMut,
    passed: usize,
    timing: Timing,
    /// After the 101: another protocol, which is not ours to read.
    tunnel: bool,
}

impl<IO> Guard<IO> {
    /// Guards `io`, from the first octet of a message on.
    #[must_use]
    pub fn new(io: IO) -> (Self, Refused<IO>) {
        let refused = Arc::new(Mutex::new(None));
        let guard = Self {
            io: Some(io),
            refused: Arc::clone(&refused),
            framing: Framing::default(),
            violation: None,
            held: BytesMut::new(),
            passed: 0,
            timing: Timing::default(),
            tunnel: false,
        };
        (guard, Refused(refused))
    }

    /// Gives what passed, as far as it fits.
    fn hand_on(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.passed.min(out.remaining());
        out.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.advance(count);
        self.passed -= count;
        if self.held.is_empty() {
            // Idle connections keep no memory here.
            self.held = BytesMut::new();
        }
    }

    /// Nothing more is read. All that came in the same read is dropped with the bad octets: what stood before them has
    /// not been acted upon, and a client that sends them is not owed half an answer.
    fn fail(&mut self, fault: Fault, in_body: bool, bad: &[u8]) -> io::Error {
        let violation = Violation::quoting(fault, if in_body { b"" } else { bad });
        (self.held, self.passed) = (BytesMut::new(), 0);
        self.violation = Some(violation.clone());
        io::Error::new(io::ErrorKind::InvalidData, violation)
    }

    /// Judges what was read into `out` after `before`; keeps back what is unfinished. True when something can be
    /// handed on.
    fn judge_in_place(&mut self, out: &mut ReadBuf<'_>, before: usize) -> io::Result<bool> {
        let fresh = out.filled().get(before..).unwrap_or_default();
        let Verdict { accepted, fault } = self.framing.push(fresh);
        let rest = fresh.get(accepted..).unwrap_or_default();
        self.timing.arrived(fresh.len(), accepted, self.framing.standing());
        if let Some(fault) = fault {
            let in_body = self.framing.in_message();
            let error = self.fail(fault, in_body, rest);
            out.set_filled(before);
            return Err(error);
        }
        self.held.extend_from_slice(rest);
        out.set_filled(before + accepted);
        Ok(accepted > 0)
    }
}

impl<IO: AsyncRead + Unpin> Guard<IO> {
    /// Reads more of an unfinished block. True when something passed or the stream has ended.
    fn poll_more(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut slice = [0u8; SLICE];
        let mut slice = ReadBuf::new(&mut slice);
        ready!(Pin::new(io).poll_read(cx, &mut slice))?;
        let read = slice.filled().len();
        if read == 0 {
            // The end of the stream within a head: nothing to act upon, and nobody to tell.
            return Poll::Ready(Ok(true));
        }
        self.held.extend_from_slice(slice.filled());
        let Verdict { accepted, fault } = self.framing.push(&self.held);
        self.timing.arrived(read, accepted, self.framing.standing());
        self.passed = accepted;
        match fault {
            None => Poll::Ready(Ok(accepted > 0)),
            Some(fault) => Poll::Ready(Err(self.fail_held(fault, accepted))),
        }
    }

    fn fail_held(&mut self, fault: Fault, accepted: usize) -> io::Error {
        let held = std::mem::take(&mut self.held);
        self.fail(fault, self.framing.in_message(), held.get(accepted..).unwrap_or_default())
    }

    fn poll_checked(&mut self, io: &mut IO, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let before = out.filled().len();
            let passed = if self.held.is_empty() {
                match Pin::new(&mut *io).poll_read(cx, out) {
                    Poll::Ready(Ok(())) if out.filled().len() == before => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) => Poll::Ready(self.judge_in_place(out, before)),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Pending => Poll::Pending,
                }
            } else {
                self.poll_more(io, cx)
            };
            match passed {
                Poll::Ready(Ok(true)) => {
                    self.hand_on(out);
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(false)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.timing.poll_overdue(cx));
                    return Poll::Ready(Err(self.fail(Fault::TooSlow, true, b"")));
                }
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.passed > 0 {
            this.hand_on(out);
            return Poll::Ready(Ok(()));
        }
        if let Some(violation) = &this.violation {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation.clone())));
        }
        // Taken out for the call, so that a refusal can move it on; put back unless it did.
        let Some(mut io) = this.io.take() else { return Poll::Ready(Err(gone())) };
        if this.tunnel {
            let outcome = Pin::new(&mut io).poll_read(cx, out);
            this.io = Some(io);
            return outcome;
        }
        let outcome = this.poll_checked(&mut io, cx, out);
        match (&this.violation, this.framing.in_message()) {
            (Some(violation), false) if violation.fault != Fault::TooSlow => {
                *this.refused.lock() = Some((violation.clone(), io));
            }
            _ => this.io = Some(io),
        }
        outcome
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl<IO: AsyncWrite + Unpin> Guard<IO> {
    /// Our own 101 to a head that asked for an upgrade ends the reading of HTTP (row C36): never the client's word
    /// alone. hyper writes a head at the beginning of a write.
    fn notice_switch(&mut self, written: &[u8]) {
        if self.framing.awaits_upgrade() && written.starts_with(b"HTTP/1.1 101 ") {
            self.tunnel = true;
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.notice_switch(bytes);
        let Some(io) = &mut this.io else { return Poll::Ready(Err(gone())) };
        Pin::new(io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().io.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.notice_switch(parts.iter().find(|part| !part.is_empty()).map(|part| &**part).unwrap_or_default());
        let Some(io) = &mut this.io else { return Poll::Ready(Err(gone())) };
        Pin::new(io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

/// When the client was last waited for. One timer, set to the earliest end that was needed when it last went off, so
/// that a busy connection sets none per request. Idle connections have none: hyper keeps the time between requests.
#[derive(Default)]
struct Timing {
    timer: Option<Pin<Box<Sleep>>>,
    standing: Standing,
    /// When the unfinished head began.
    since: Option<Instant>,
    /// While a body is read: octets that came, and time spent waiting for them.
    octets: u64,
    waited: Duration,
    waiting: Option<Instant>,
}

impl Timing {
    /// Notes what arrived, and where the stream stands now.
    fn arrived(&mut self, octets: usize, accepted: usize, standing: Standing) {
        let waiting = self.waiting.take();
        if self.standing == Standing::Body {
            self.octets += octets as u64;
            self.waited += waiting.map(|since| since.elapsed()).unwrap_or_default();
        }
        if standing != self.standing {
            (self.octets, self.waited) = (0, Duration::ZERO);
        }
        if standing != self.standing || accepted > 0 {
            self.since = None;
        }
        self.standing = standing;
    }

    /// Called when there is nothing to read. Ready when the client has been waited for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = match self.standing {
            Standing::Between => return Poll::Pending,
            Standing::Head => *self.since.get_or_insert_with(Instant::now) + Duration::from_secs(HEAD_SECONDS_MAX),
            Standing::Body => {
                let earned = Duration::from_secs(self.octets / BODY_BYTES_PER_SECOND_MIN);
                let waiting = *self.waiting.get_or_insert_with(Instant::now);
                waiting + (BODY_GRACE + earned).saturating_sub(self.waited)
            }
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        if timer.deadline() > end || timer.is_elapsed() {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
