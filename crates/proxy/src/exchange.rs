//! One exchange, from the request as hyper read it to the answer that hyper will write.
//!
//! Each stage consumes what the last one gives, so none can be skipped, doubled or reordered: no [`Permit`](policy::Permit)
//! without a decision, no credential without a permit, no forwarding without an attempt on record.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use model::Refusal;
use policy::FixedAnswer;

use crate::accepted::Accepted;
use crate::body::AnswerBody;
use crate::capture::Road;
use crate::gateway::Worker;
use crate::record::Recorder;
use crate::respond::{self, Side};
use crate::retry::{self, Next};
use crate::tunnel::Link;
use crate::{answer, arm, capture, classify, decide, desk, forward, identify, resolve};

/// Octets of a refused request's body that are still read.
const RUN_OUT_BYTES_MAX: usize = 256 * 1024;
/// And for how long.
const RUN_OUT_TIME_MAX: Duration = Duration::from_millis(500);

/// A refusal together with the record that must tell of it.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) recorder: Recorder,
    pub(crate) side: Side,
    pub(crate) unread: Option<Incoming>,
    /// What the configuration answers in its place.
    pub(crate) instead: Option<Arc<FixedAnswer>>,
}

/// The road. Never fails: what goes wrong becomes an answer and a record.
pub(crate) async fn exchange(worker: Arc<Worker>, link: Arc<Link>, request: Request<Incoming>) -> Response<AnswerBody> {
    if let Some(leg) = desk::leg_of(&link, request.uri()) {
        return desk::ask(&worker, &link, (leg, request)).await;
    }
    let kind = respond::kind_for(request.headers());
    match travel(&worker, &link, request).await {
        Ok(response) => response,
        Err(refused) => {
            let Refused { refusal, recorder, side, unread, instead } = *refused;
            if let Some(body) = unread {
                run_out(body).await;
            }
            let response = match instead {
                Some(answer) => respond::fixed(&answer),
                None => respond::refuse(&refusal, side, kind),
            };
            recorder.refused(&refusal, response.status().as_u16());
            response
        }
    }
}

/// Reads what little is left of a refused request's body: a client that is still sending may not look at the answer, and
/// HTTP/2 would reset the stream before it does. What is longer is cut off.
async fn run_out(mut body: Incoming) {
    let mut left = RUN_OUT_BYTES_MAX;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Over the time or the bound the connection ends with the answer; both are a client's own doing.
    let _ = tokio::time::timeout(RUN_OUT_TIME_MAX, reading).await;
}

async fn travel(
    worker: &Arc<Worker>,
    link: &Link,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Box<Refused>> {
    let snapshot = worker.gateway.snapshot.load_full();
    let accepted = Accepted::accept(worker, link, &snapshot, request)?;
    let identified = identify::identify(worker, link, accepted).await?;
    let classified = classify::classify(worker, link, snapshot, identified).await?;
    let mut permitted = decide::decide(worker, classified).await?;
    loop {
        let resolved = resolve::resolve(worker, permitted).await?;
        let sent = match arm::arm(worker, resolved)? {
            Road::Passes(ready) => forward::forward(worker, ready).await?,
            Road::HandsOut(held) => return capture::travel(worker, held).await,
        };
        permitted = match retry::settle(worker, sent).await? {
            Next::Answered(answered) => return answer::answer(worker, answered),
            Next::Again(again) => *again,
        };
    }
}
