//! Where agents ask before they act: the routes of grants, on the port that they know anyway. On the gateway's own address with the
//! session's token, or as `http://valetkey.internal/v1/grants` through the proxy, which says whose request it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use model::{Code, Refusal, Session};

use crate::accepted::Leg;
use crate::body::AnswerBody;
use crate::classify::leaked;
use crate::gateway::Worker;
use crate::identify::{self, Claim};
use crate::record::Recorder;
use crate::respond::{self, Side};
use crate::session::Later;
use crate::tunnel::Link;

/// The name by which agents reach the desk through the proxy.
pub const NAME: &str = "valetkey.internal";
/// Octets of a request: what the control plane takes.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long a sender has for them.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers what agents ask of the control plane. The wiring implements it; the proxy says who asks, and nothing else.
pub trait Desk: Send + Sync {
    /// The answer to a request of this session.
    fn ask(&self, session: Session, request: Request<Bytes>) -> Later<'_, Response<Bytes>>;
}

/// The leg of a request for the desk; none where it is for an upstream.
pub(crate) fn leg_of(link: &Link, uri: &Uri) -> Option<Leg> {
    let path = uri.path();
    if link.origin.is_some() || !(path == "/v1/grants" || path.starts_with("/v1/grants/")) {
        return None;
    }
    match (uri.scheme_str(), uri.host()) {
        (None, _) => Some(Leg::Reverse),
        (Some("http"), Some(host)) if host.eq_ignore_ascii_case(NAME) => Some(Leg::Plain),
        _ => None,
    }
}

/// Hands a request to the desk. What is asked there, and what comes of it, the control plane records.
pub(crate) async fn ask(
    worker: &Arc<Worker>,
    link: &Link,
    (leg, request): (Leg, Request<Incoming>),
) -> Response<AnswerBody> {
    let kind = respond::kind_for(request.headers());
    let mut recorder = Recorder::begin(worker, &link.source);
    recorder.asked(request.method().as_str(), NAME, request.uri().path());
    match asked(worker, link, (leg, request), &mut recorder).await {
        Ok(response) => {
            recorder.elsewhere();
            response.map(AnswerBody::whole)
        }
        Err(refusal) => {
            let side = if leg == Leg::Plain { Side::Proxy } else { Side::Origin };
            let response = respond::refuse(&refusal, side, kind);
            recorder.refused(&refusal, response.status().as_u16());
            response
        }
    }
}

async fn asked(
    worker: &Arc<Worker>,
    link: &Link,
    (leg, request): (Leg, Request<Incoming>),
    recorder: &mut Recorder,
) -> Result<Response<Bytes>, Refusal> {
    let (mut parts, body) = request.into_parts();
    let claim = Claim::take(leg, &mut parts.headers);
    let live = identify::find(worker, link, &claim).await?;
    recorder.identified(&live);
    identify::check(worker, &live, &claim)?;
    let Some(_place) = live.enter() else {
        return Err(Refusal::new(Code::Unavailable, "This session has too many requests under way").retry_after(1));
    };
    let Some(desk) = worker.gateway.desk.get() else {
        return Err(Refusal::new(Code::Unavailable, "Grants cannot be asked for here yet").retry_after(1));
    };
    let reading = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let body = match reading {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Err(Refusal::new(Code::TooLarge, "A request for a grant has at most 256 KiB")),
        Err(_) => return Err(Refusal::new(Code::Malformed, "The request's body did not come in time")),
    };
    // As of any other request: a secret that an agent found would go on record, and before people.
    if let Some(name) = live.known().and_then(|known| known.find_in(&body)) {
        recorder.mask();
        return Err(leaked(&name));
    }
    // The desk knows who asks; nothing that the agent says of it passes on.
    parts.headers.remove(http::header::AUTHORIZATION);
    parts.uri = parts.uri.path().parse().map_err(|_| Refusal::new(Code::Malformed, "The path cannot be read"))?;
    let ended = live.cancelled().clone();
    tokio::select! {
        answer = desk.ask(live.session.clone(), Request::from_parts(parts, body)) => Ok(answer),
        () = ended.cancelled() => Err(identify::ended()),
    }
}
