//! WebSocket (RFC 6455): the upgrade is an exchange like any other; after 101 the two streams are joined, scrubbed
//! towards the agent, and cut when the session or the credential ends.

mod frames;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use inject::Needles;
use model::event::ResponseRecord;
use model::{Code, Refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use crate::body::AnswerBody;
use crate::exchange::Refused;
use crate::forward::{Answered, clean_answer};
use crate::gate::Gate;
use crate::gateway::Worker;
use crate::record::Recorder;
use crate::session::Place;
use frames::FrameScrubber;

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
    let joint = Joint {
        needles,
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
    needles: Option<Arc<Needles>>,
    gate: Gate,
    cut: Vec<CancellationToken>,
    recorder: Recorder,
    _place: Place,
}

impl Joint {
    async fn run(self, client: OnUpgrade, upstream: OnUpgrade) {
        let Ok((client, upstream)) = tokio::try_join!(client, upstream) else { return };
        let (from_client, to_client) = split(client);
        let (from_upstream, to_upstream) = split(upstream);
        let mut scrubber = self.needles.map(FrameScrubber::new);
        let mut bytes = 0;
        let down = copy_down(from_upstream, to_client, scrubber.as_mut(), &mut bytes);
        let ended = futures_any(self.cut);
        let cut = tokio::select! {
            biased;
            () = ended => Some(Code::SessionEnded),
            end = async { tokio::join!(copy_up(from_client, to_upstream, self.gate), down) } => end.0.err(),
        };
        let scrubbed = scrubber.map_or(0, |scrubber| scrubber.hits());
        self.recorder.outcome(ResponseRecord { status: 101, bytes, made: None, scrubbed }, cut);
    }
}

fn split(io: Upgraded) -> (ReadHalf<TokioIo<Upgraded>>, WriteHalf<TokioIo<Upgraded>>) {
    tokio::io::split(TokioIo::new(io))
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

/// What the agent sends; whether it may go on is asked again and again.
async fn copy_up(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    mut gate: Gate,
) -> Result<(), Code> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    while from.read_buf(&mut buffer).await.is_ok_and(|read| read > 0) {
        if let Err(refusal) = gate.still(Instant::now()) {
            // Closing towards the upstream makes it close, which ends the other direction too.
            let _ = to.shutdown().await;
            return Err(refusal.code);
        }
        if to.write_all(&buffer).await.is_err() {
            return Ok(());
        }
        buffer.clear();
    }
    // The upstream may have gone first.
    let _ = to.shutdown().await;
    Ok(())
}

async fn copy_down(
    mut from: ReadHalf<TokioIo<Upgraded>>,
    mut to: WriteHalf<TokioIo<Upgraded>>,
    mut scrubber: Option<&mut FrameScrubber>,
    bytes: &mut u64,
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut pieces = Vec::new();
    loop {
        buffer.reserve(READ_BYTES);
        if from.read_buf(&mut buffer).await? == 0 {
            return to.shutdown().await;
        }
        let data = buffer.split().freeze();
        *bytes += data.len() as u64;
        match &mut scrubber {
            None => pieces.push(data),
            Some(scrubber) => scrubber.push(data, &mut pieces).map_err(io::Error::other)?,
        }
        for piece in pieces.drain(..) {
            to.write_all(&piece).await?;
        }
    }
}
