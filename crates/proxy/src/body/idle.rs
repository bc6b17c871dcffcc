//! Silence has an end: a stream on which nothing moves for too long is cut. The timer is set only while a stream keeps
//! us waiting, and moved only when it fires, so that a busy stream pays one look at the clock a frame.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Watches one stream.
pub(super) struct Idle {
    patience: Duration,
    last: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    /// With so much patience.
    pub(super) const fn new(patience: Duration) -> Self {
        Self { patience, last: None, timer: None }
    }

    /// Something moved.
    pub(super) fn progress(&mut self) {
        if self.timer.is_some() {
            self.last = Some(Instant::now());
        }
    }

    /// Ready once nothing has moved for too long. Called while the stream is pending.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        while timer.as_mut().poll(cx).is_ready() {
            let Some(last) = self.last.take() else { return Poll::Ready(()) };
            timer.as_mut().reset(last + patience);
        }
        Poll::Pending
    }
}
