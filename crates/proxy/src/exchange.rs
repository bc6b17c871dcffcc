//! One exchange, from the request as hyper read it to the answer that hyper will write.
//!
//! Each stage consumes what the last one gives, so none can be skipped, doubled or reordered: no [`Permit`](policy::Permit)
//! without a decision, no credential without a permit, no forwarding without an attempt on record.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use model::Refusal;

use crate::accepted::Accepted;
use crate::body::AnswerBody;
use crate::gateway::Worker;
use crate::record::Recorder;
use crate::respond::{self, Side};
use crate::tunnel::Link;
use crate::{answer, arm, classify, decide, forward, identify, resolve};

/// A refusal together with the record that must tell of it.
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) recorder: Recorder,
    pub(crate) side: Side,
}

/// The road. Never fails: what goes wrong becomes an answer and a record.
pub(crate) async fn exchange(worker: Arc<Worker>, link: Arc<Link>, request: Request<Incoming>) -> Response<AnswerBody> {
    match travel(&worker, &link, request).await {
        Ok(response) => response,
        Err(refused) => {
            let Refused { refusal, recorder, side } = *refused;
            let response = respond::refuse(&refusal, side);
            recorder.refused(&refusal, response.status().as_u16());
            response
        }
    }
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
    let permitted = decide::decide(worker, classified).await?;
    let resolved = resolve::resolve(worker, permitted).await?;
    let armed = arm::arm(worker, resolved)?;
    let answered = forward::forward(worker, armed).await?;
    answer::answer(worker, answered)
}
