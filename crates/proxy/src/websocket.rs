//! WebSocket (RFC 6455): the upgrade is an exchange like any other; after 101 the two streams are joined, scrubbed
//! towards the agent, searched for known secrets towards the upstream, and cut when the session or the credential ends
//! or the policy no longer allows what opened them. Where the service says how messages are read, each of the agent's is
//! judged before it passes ([`judged`]).

mod frames;
mod judged;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use model::event::ResponseRecord;
use model::{Code, Refusal};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::body::AnswerBody;
use crate::exchange::Refused;
use crate::forward::{Answered, clean_answer};
use crate::gate::Gate;
use crate::gateway::Worker;
use crate::join;
use crate::net::message::Message;
use crate::record::Recorder;
use crate::session::Place;
use frames::{FrameError, FrameScrubber, FrameSearch};

/// Joins the two sides of an upgraded exchange.
pub(crate) fn switch(worker: &Arc<Worker>, answered: Answered) -> Result<Response<AnswerBody>, Box<Refused>> {
    let Answered { mut response, needles, cut, upgrade, gate, who, trip, .. } = answered;
    let (Some(client), Some(gate)) = (upgrade, gate) else {
        let refusal = Refusal::new(Code::UpstreamInvalid, "The upstream switched protocols without being asked");
        return Err(trip.refuse(refusal));
    };
    if gate.judges && response.headers().contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        let refusal = Refusal::new(Code::UpstreamInvalid, "The upstream chose an extension that was not offered");
        return Err(trip.refuse(refusal));
    }
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
        cut: cut.into_iter().chain([who.live.cancelled().clone(), worker.gateway.cut.clone()]).collect(),
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
        let sides = (TokioIo::new(client), TokioIo::new(upstream));
        let cut = if gate.judges {
            let mut mask = [0; 4];
            gate.worker.gateway.random.fill(&mut mask);
            let judge = |message: Message| gate.message(message);
            judged::between(&mut traffic, sides, (judge, mask), join::end(cut, &gate)).await
        } else {
            traffic.between(sides, join::end(cut, &gate)).await
        };
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

impl Traffic {
    async fn between(
        &mut self,
        sides: (impl AsyncRead + AsyncWrite, impl AsyncRead + AsyncWrite),
        end: impl Future<Output = Code>,
    ) -> Option<Code> {
        let Self { scrubber, search, bytes } = self;
        let up = |data, pieces: &mut Vec<Bytes>| searched(search, data, pieces);
        let down = |data, pieces: &mut Vec<Bytes>| scrubbed(scrubber, bytes, data, pieces);
        join::between(sides, up, down, end).await
    }
}

/// What of the agent's frames may pass, as far as known secrets go.
fn searched(search: &mut Option<FrameSearch>, data: Bytes, pieces: &mut Vec<Bytes>) -> Result<(), Code> {
    match search {
        None => {
            pieces.push(data);
            Ok(())
        }
        Some(search) => search.push(data, pieces).map_err(|error| match error {
            FrameError::Secret => Code::SecretInRequest,
            FrameError::Broken => Code::Malformed,
        }),
    }
}

/// What the agent is given of the upstream's frames; `bytes` counts those that came.
fn scrubbed(
    scrubber: &mut Option<FrameScrubber>,
    bytes: &mut u64,
    data: Bytes,
    pieces: &mut Vec<Bytes>,
) -> Result<(), Code> {
    *bytes += data.len() as u64;
    match scrubber {
        None => {
            pieces.push(data);
            Ok(())
        }
        Some(scrubber) => scrubber.push(data, pieces).map_err(|_| Code::UpstreamInvalid),
    }
}

#[cfg(test)]
#[path = "websocket/tests.rs"]
mod tests;
