//! WebSocket (RFC 6455): the upgrade is an exchange like any other; after 101 the two streams are joined, scrubbed
//! towards the agent, searched for known secrets towards the upstream, and cut when the session or the credential ends
//! or the policy no longer allows what opened them.

mod frames;

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use model::event::ResponseRecord;
use model::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::body::AnswerBody;
use crate::exchange::Refused;
use crate::forward::{Answered, clean_answer};
use crate::gate::{AGAIN_AFTER, Gate};
use crate::gateway::Worker;
use crate::record::Recorder;
use crate::session::Place;
use frames::{FrameError, FrameScrubber, FrameSearch};

/// Octets read at once; a message of a chat fits, a large one takes several turns.
const READ_BYTES: usize = 16 * 1024;

/// Joins the two sides of an upgraded exchange.
pub(crate) fn switch(worker: &Arc<Worker>, answered: Answered) -> Result<Response<AnswerBody>, Box<Refused>> {
    let Answered { mut response, needles, cut, upgrade, gate, who, trip, .. } = answered;
    let (Some(client), Some(gate)) = (upgrade, gate) else {
        let refusal = Refusal::new(Code::UpstreamInvalid, "The upstream switched protocols without being asked");
        return Err(trip.refuse(refusal));
    };
    let upstream = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    clean_answer(&mut parts.headers);
    parts.extensions.clear();
    if let Some(needles) = &needles {
        inject::scrub_headers(&mut parts.headers, needles);
    }
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    // Where there are needles, extensions were not offered, so none can have been agreed on.
    let extended = needles.is_none() && parts.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS);
    let joint = Joint {
        traffic: Traffic {
            scrubber: needles.map(FrameScrubber::new),
            search: gate.live.known().map(|known| FrameSearch::new(known, extended)),
            bytes: 0,
        },
        gate,
        cut: [Some(who.live.cancelled().clone()), cut, Some(worker.gateway.cut.clone())]
            .into_iter()
            .flatten()
            .collect(),
        recorder: trip.recorder,
        _place: who.place,
    };
    tokio::spawn(joint.run(client, upstream));
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    Ok(Response::from_parts(parts, AnswerBody::whole(Bytes::new())))
}

struct Joint {
    traffic: Traffic,
    gate: Box<Gate>,
    cut: Vec<CancellationToken>,
    recorder: Recorder,
    _place: Place,
}

impl Joint {
    async fn run(self, client: OnUpgrade, upstream: OnUpgrade) {
        let Ok((client, upstream)) = tokio::try_join!(client, upstream) else { return };
        let Self { mut traffic, gate, cut, recorder, _place } = self;
        let judged = gate.judged;
        let end = async {
            tokio::select! {
                biased;
                () = futures_any(cut) => Code::SessionEnded,
                code = refused(judged, || gate.still()) => code,
            }
        };
        let cut = between(TokioIo::new(client), TokioIo::new(upstream), &mut traffic, end).await;
        let scrubbed = traffic.scrubber.map_or(0, |scrubber| scrubber.hits());
        recorder
            .outcome(ResponseRecord { status: 101, bytes: traffic.bytes, scrubbed, ..ResponseRecord::default() }, cut);
    }
}

/// What passes between the two.
struct Traffic {
    /// Towards the agent.
    scrubber: Option<FrameScrubber>,
    /// Towards the upstream.
    search: Option<FrameSearch>,
    /// Octets that the upstream sent.
    bytes: u64,
}

/// Copies both ways until both are done, one of them fails, or `end` comes; both streams are closed then, whichever it
/// was. The code is why it was cut, if it was.
async fn between(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
    traffic: &mut Traffic,
    end: impl Future<Output = Code>,
) -> Option<Code> {
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let Traffic { scrubber, search, bytes } = traffic;
    let up = copy(from_client, to_upstream, |data, pieces| match search {
        None => {
            pieces.push(data);
            Ok(())
        }
        Some(search) => search.push(data, pieces).map_err(|error| match error {
            FrameError::Secret => Code::SecretInRequest,
            FrameError::Broken => Code::Malformed,
        }),
    });
    let down = copy(from_upstream, to_client, |data, pieces| {
        *bytes += data.len() as u64;
        match scrubber {
            None => {
                pieces.push(data);
                Ok(())
            }
            Some(scrubber) => scrubber.push(data, pieces).map_err(|_| Code::UpstreamInvalid),
        }
    });
    let both = async { tokio::try_join!(up, down) };
    tokio::select! {
        biased;
        code = end => Some(code),
        done = both => done.err().flatten(),
    }
}

/// Asks again and again, whether anything passes or not; ready with the code of the first refusal.
async fn refused(judged: Instant, mut still: impl FnMut() -> Result<(), Refusal>) -> Code {
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
async fn futures_any(handles: Vec<CancellationToken>) {
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

#[cfg(test)]
#[path = "websocket/tests.rs"]
mod tests;
