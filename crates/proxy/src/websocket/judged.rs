//! A WebSocket of which every message of the agent's is judged. A message that may not pass closes both sides (RFC 6455 7.4.1): with
//! 1008 where it is refused, 1002 where frames break the protocol, 1009 where one is too long. The upstream sees none of its octets.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::frames::{FrameScrubber, FrameSearch};
use super::{Traffic, scrubbed, searched};
use crate::gate::Passed;
use crate::join::READ_BYTES;
use crate::net::message::{Boundary, Fault, Message, Reader, Step, close};

/// How long a frame of the upstream's may take to end before a close of ours, and how long both sides have to hear of it.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);
/// Octets that are still read of a side that is closed: what is left unread would reset the connection, and the close be lost.
const LEFT_BYTES_MAX: usize = 256 * 1024;

/// Why it is closed.
#[derive(Debug)]
struct Ending {
    /// RFC 6455 7.4.1.
    status: u16,
    code: Code,
    /// For the agent; the upstream is not told what our rules are.
    why: String,
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self { status: 1008, code: refusal.code, why: format!("{}: {}", refusal.code, refusal.public) }
    }
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken => {
                Self { status: 1002, code: Code::Malformed, why: "malformed: a frame breaks RFC 6455".to_owned() }
            }
            Fault::TooLarge => {
                Self { status: 1009, code: Code::TooLarge, why: "too_large: a message is over 1 MiB".to_owned() }
            }
        }
    }
}

/// Copies both ways until both are done, one of them fails, or `end` comes. `judge` gives of each message the frames that may
/// pass; `mask` is for the close that the upstream gets. The code is why it was cut or closed, if it was.
pub(super) async fn between<F: Future<Output = Result<Passed, Refusal>>>(
    traffic: &mut Traffic,
    (client, upstream): (impl AsyncRead + AsyncWrite, impl AsyncRead + AsyncWrite),
    (judge, mask): (impl Fn(Message) -> F, [u8; 4]),
    end: impl Future<Output = Code>,
) -> Option<Code> {
    let Traffic { scrubber, search, bytes } = traffic;
    let (mut from_client, mut to_client) = split(client);
    let (mut from_upstream, mut to_upstream) = split(upstream);
    let closing = CancellationToken::new();
    let talk = async {
        let up = async {
            let ending = up(&mut from_client, &mut to_upstream, (search, &judge)).await?;
            if ending.is_some() {
                closing.cancel();
            }
            Ok(ending)
        };
        let late = async {
            closing.cancelled().await;
            sleep(CLOSE_TIME_MAX).await;
        };
        let down = async {
            tokio::select! {
                done = down(&mut from_upstream, &mut to_client, (scrubber, bytes), &closing) => done,
                () = late => Ok(false),
            }
        };
        let (ending, clean) = match tokio::try_join!(up, down) {
            Ok((Some(ending), clean)) => (ending, clean),
            Ok((None, _)) => return None,
            Err(code) => return code,
        };
        let client = async {
            if clean {
                to_client.write_all(&close(ending.status, &ending.why, None)).await?;
            }
            to_client.shutdown().await?;
            run_out(&mut from_client).await
        };
        let upstream = async {
            to_upstream.write_all(&close(ending.status, "closed by policy", Some(mask))).await?;
            to_upstream.shutdown().await?;
            run_out(&mut from_upstream).await
        };
        // Whoever does not listen is cut off.
        let _ = timeout(CLOSE_TIME_MAX, async { tokio::join!(client, upstream) }).await;
        Some(ending.code)
    };
    tokio::select! {
        biased;
        code = end => Some(code),
        code = talk => code,
    }
}

/// From the agent to the upstream, message by message.
///
/// # Errors
/// A side broke off.
async fn up<F: Future<Output = Result<Passed, Refusal>>>(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (search, judge): (&mut Option<FrameSearch>, &impl Fn(Message) -> F),
) -> Result<Option<Ending>, Option<Code>> {
    let (mut reader, mut steps, mut pieces) = (Reader::default(), Vec::new(), Vec::new());
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        if from.read_buf(&mut buffer).await.map_err(|_| None)? == 0 {
            // The other side may still have something to say.
            return to.shutdown().await.map(|()| None).map_err(|_| None);
        }
        reader.push(buffer.split().freeze(), &mut steps);
        for step in steps.drain(..) {
            if let Err(ending) = pass(step, search, judge, &mut pieces).await {
                return Ok(Some(ending));
            }
            for piece in pieces.drain(..) {
                to.write_all(&piece).await.map_err(|_| None)?;
            }
        }
    }
}

/// What of one step may pass. Secrets first: what holds one must not be on record either.
async fn pass<F: Future<Output = Result<Passed, Refusal>>>(
    step: Step,
    search: &mut Option<FrameSearch>,
    judge: &impl Fn(Message) -> F,
    pieces: &mut Vec<Bytes>,
) -> Result<(), Ending> {
    let secret = |code: Code| Ending { status: 1008, code, why: code.to_string() };
    match step {
        Step::Fault(fault) => Err(fault.into()),
        Step::Control(frame) => searched(search, frame, pieces).map_err(secret),
        Step::Message(message) => {
            let mut found = Vec::new();
            searched(search, message.frames.clone(), &mut found).map_err(secret)?;
            pieces.push(judge(message).await?.into_frames());
            Ok(())
        }
    }
}

/// From the upstream to the agent, as it comes; once it is closing, no further than where a frame ends. Whether it stands there.
///
/// # Errors
/// The upstream breaks the protocol; none where a side broke off.
async fn down(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    (scrubber, bytes): (&mut Option<FrameScrubber>, &mut u64),
    closing: &CancellationToken,
) -> Result<bool, Option<Code>> {
    let (mut boundary, mut pieces) = (Boundary::default(), Vec::new());
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            biased;
            () = closing.cancelled(), if boundary.is_here() => return Ok(true),
            read = from.read_buf(&mut buffer) => read.map_err(|_| None)?,
        };
        if read == 0 {
            return to.shutdown().await.map(|()| false).map_err(|_| None);
        }
        scrubbed(scrubber, bytes, buffer.split().freeze(), &mut pieces)?;
        for mut piece in pieces.drain(..) {
            let stop = closing.is_cancelled();
            if stop && boundary.is_here() {
                return Ok(true);
            }
            piece.truncate(boundary.take(&piece, stop));
            to.write_all(&piece).await.map_err(|_| None)?;
        }
    }
}

/// Reads what a side still says, to no end.
async fn run_out(mut from: impl AsyncRead + Unpin) -> std::io::Result<()> {
    let mut left = LEFT_BYTES_MAX;
    let mut buffer = [0; 1_024];
    while left > 0 {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        left = left.saturating_sub(read);
    }
    Ok(())
}

#[cfg(test)]
#[path = "judged_tests.rs"]
mod tests;
