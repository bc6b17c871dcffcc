//! Two streams that are joined: a WebSocket after its upgrade, a bare connection. They are cut when the session or the credential
//! ends, or the policy no longer allows what opened them.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use model::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::gate::{AGAIN_AFTER, Gate};

/// Octets read at once; a message of a chat fits, a large one takes several turns.
pub(crate) const READ_BYTES: usize = 16 * 1024;

/// Ready with the reason when one of the handles is cancelled, or what opened the streams is no longer allowed.
pub(crate) async fn end(cut: Vec<CancellationToken>, gate: &Gate) -> Code {
    tokio::select! {
        biased;
        () = any(cut) => Code::SessionEnded,
        code = refused(gate.judged, || gate.still()) => code,
    }
}

/// Copies both ways until both are done, one of them fails, or `end` comes; both streams are closed then, whichever it
/// was. `up` and `down` say of each piece what may pass. The code is why it was cut, if it was.
pub(crate) async fn between(
    (client, upstream): (impl AsyncRead + AsyncWrite, impl AsyncRead + AsyncWrite),
    up: impl FnMut(Bytes, &mut Vec<Bytes>) -> Result<(), Code>,
    down: impl FnMut(Bytes, &mut Vec<Bytes>) -> Result<(), Code>,
    end: impl Future<Output = Code>,
) -> Option<Code> {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let up = copy(from_client, to_upstream, up);
    let down = copy(from_upstream, to_client, down);
    let both = async { tokio::try_join!(up, down) };
    tokio::select! {
        biased;
        code = end => Some(code),
        done = both => done.err().flatten(),
    }
}

/// Asks again and again, whether anything passes or not; ready with the code of the first refusal.
pub(crate) async fn refused(judged: Instant, mut still: impl FnMut() -> Result<(), Refusal>) -> Code {
    let mut ticks = interval_at((judged + AGAIN_AFTER).into(), AGAIN_AFTER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(refusal) = still() {
            return refusal.code;
        }
    }
}

/// Ready when any of the handles is.
pub(crate) async fn any(handles: Vec<CancellationToken>) {
    let mut waits: Vec<_> = handles.into_iter().map(|handle| Box::pin(handle.cancelled_owned())).collect();
    std::future::poll_fn(|cx| {
        if waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// Copies one way; `pass` says what of it may go on.
///
/// # Errors
/// Why nothing more may pass; `None` where a side broke off.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut pass: impl FnMut(Bytes, &mut Vec<Bytes>) -> Result<(), Code>,
) -> Result<(), Option<Code>> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut pieces = Vec::new();
    loop {
        buffer.reserve(READ_BYTES);
        if from.read_buf(&mut buffer).await.map_err(|_| None)? == 0 {
            // The other side may still have something to say.
            return to.shutdown().await.map_err(|_| None);
        }
        pass(buffer.split().freeze(), &mut pieces)?;
        for piece in pieces.drain(..) {
            to.write_all(&piece).await.map_err(|_| None)?;
        }
    }
}
