//! Stage 3: what it asks for, and which placeholders were seen where, before anything is decided.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, digest as sha};
use bytes::Bytes;
use catalog::{CaptureMap, Service};
use hyper::upgrade::OnUpgrade;
use inject::Sightings;
use model::aws::Endpoint;
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Length, Origin};
use model::{Classification, Code, CredentialName, Digest, Refusal, SchemeSpec, bounds};
use policy::Subject;

use crate::accepted::{Accepted, Trip};
use crate::body::{Held, Read, Spool, finish, read_to};
use crate::exchange::Refused;
use crate::gateway::{Snapshot, Worker};
use crate::identify::{self, Identified};
use crate::rewrite;
use crate::session::{LiveSession, Place};
use crate::tunnel::Link;

/// Octets of a body that is searched for real secrets before anything is sent.
const SEARCHED_FIRST_BYTES_MAX: u64 = 256 * 1024;

/// How long a body may take that is read before it is decided about.
pub(crate) const GATHER_TIME_MAX: Duration = Duration::from_secs(bounds::BODY_HELD_SECONDS_MAX);

/// A request that is understood.
pub(crate) struct Classified {
    pub(crate) request: CanonicalRequest,
    pub(crate) body: JudgedBody,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) subject: Subject,
    pub(crate) classification: Classification,
    pub(crate) head: Digest,
    pub(crate) presented: Option<(usize, CredentialName)>,
    /// What is opened in its place.
    pub(crate) minted: Option<CredentialName>,
    pub(crate) who: Who,
    pub(crate) trip: Trip,
}

/// The session, and its place among the exchanges under way.
pub(crate) struct Who {
    pub(crate) live: Arc<LiveSession>,
    pub(crate) place: Place,
}

/// A body as far as it was judged.
pub(crate) enum JudgedBody {
    /// There is none.
    Empty,
    /// It passes as it comes.
    Streamed,
    /// What decides was read from its front; the rest passes behind it as it comes.
    Front(Bytes),
    /// It was read whole; its digest is what permits are bound to.
    Whole(Bytes, Digest),
    /// The same, in a file.
    Spooled(Box<Spool>),
}

impl JudgedBody {
    /// One that is in memory, with its digest.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        let mut digest = [0u8; 32];
        digest.copy_from_slice(sha(&SHA256, &bytes).as_ref());
        Self::Whole(bytes, Digest(digest))
    }

    /// The digest, where the body was judged.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Empty | Self::Streamed | Self::Front(_) => None,
            Self::Whole(_, digest) => Some(*digest),
            Self::Spooled(spool) => Some(spool.digest()),
        }
    }

    /// How long it is, where it was judged.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty | Self::Streamed | Self::Front(_) => 0,
            Self::Whole(bytes, _) => bytes.len() as u64,
            Self::Spooled(spool) => spool.bytes(),
        }
    }

    /// The octets, where all of them are in memory. A front alone is none: it is searched when it passes, together with what follows.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes, _) => Some(bytes),
            Self::Empty | Self::Streamed | Self::Front(_) | Self::Spooled(_) => None,
        }
    }

    /// Whether octets of it pass that nobody has seen yet.
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::Streamed | Self::Front(_))
    }

    /// What a classifier may look at, where facts are read of so many octets.
    fn view(&self, fact_bound: usize) -> BodyView<'_> {
        match self {
            Self::Empty => BodyView::Empty,
            Self::Streamed => BodyView::NotRead,
            Self::Front(front) => BodyView::TooLarge(front),
            // It is put there after everything was read of it that counts.
            Self::Spooled(_) => BodyView::TooLarge(&[]),
            Self::Whole(bytes, _) => rewrite::view(bytes, fact_bound),
        }
    }

    /// Reads on until it is whole, or until more than `bound` octets have come.
    pub(crate) async fn read_to(self, trip: &mut Trip, live: &LiveSession, bound: usize) -> Result<Self, Refusal> {
        let front = match self {
            Self::Streamed => Bytes::new(),
            Self::Front(front) => front,
            known => return Ok(known),
        };
        let (Some(incoming), Some(held)) = (&mut trip.unread, &mut trip.held) else { return Ok(Self::Front(front)) };
        let reading = tokio::time::timeout(GATHER_TIME_MAX, read_to(incoming, front, bound, held));
        let read = tokio::select! {
            read = reading => read,
            () = live.cancelled().cancelled() => return Err(identify::ended()),
        };
        match read {
            Ok(Ok(Read::Whole(bytes))) => Ok(Self::whole(bytes)),
            Ok(Ok(Read::Front(bytes))) => Ok(Self::Front(bytes)),
            Ok(Err(refusal)) => Err(refusal),
            Err(_) => Err(Refusal::new(Code::Malformed, "The request's body did not come in time")),
        }
    }
}

/// Classifies by the head, and by the body where an action or a rule depends on it.
pub(crate) async fn classify(
    worker: &Arc<Worker>,
    link: &Link,
    snapshot: Arc<Snapshot>,
    identified: Identified,
) -> Result<Classified, Box<Refused>> {
    let Identified { accepted, live, place } = identified;
    let Accepted { request, upgrade, mut trip, .. } = accepted;
    let head = head_digest(&request);
    trip.recorder.request(&request, head);
    trip.held = Some(Held::nothing([worker.gateway.bodies.clone(), live.bodies.clone()]));
    let body = if request.length() == Length::Empty { JudgedBody::Empty } else { JudgedBody::Streamed };
    let subject = Subject::of(&live.session, link.address);
    let judged = match judge(&snapshot, (&subject, &mut trip, &live), &request, body).await {
        Ok(judged) => judged,
        Err(refusal) => return Err(trip.refuse(refusal)),
    };
    let (mut classification, mut body) = judged;
    let search = |body: &JudgedBody| live.holdings().known.as_ref()?.find(&request, body.bytes().map(|bytes| &**bytes));
    let (mut leak, mut rewritten) = (search(&body), None);
    if leak.is_some()
        && let Some(clean) = rewrite::rewrite(&snapshot, (&live, &mut trip), &request, (&classification, &body))
    {
        (classification, body, leak) = (clean.classification, clean.body, None);
        rewritten = Some(clean.names);
    }
    if live.holdings().logins {
        adopt(worker, &snapshot, &live, &request, (&classification, body.bytes())).await;
    }
    let sightings = sight(worker, &snapshot, &live, &request, (&classification, body.bytes()));
    let Sightings { list, presented, minted, refusal } = sightings;
    trip.recorder.classified(&classification);
    if leak.is_some() {
        trip.recorder.mask();
    }
    let stopped = rewritten.and_then(|names| trip.recorder.rewritten(names));
    let stopped = trip.recorder.sighted(list).or(stopped);
    if let Some(refusal) = refusal.or_else(|| leak.map(|name| leaked(&name))).or(stopped) {
        return Err(trip.refuse(refusal));
    }
    let who = Who { live, place };
    Ok(Classified { request, body, upgrade, snapshot, subject, classification, head, presented, minted, who, trip })
}

async fn judge(
    snapshot: &Snapshot,
    (subject, trip, live): (&Subject, &mut Trip, &LiveSession),
    request: &CanonicalRequest,
    mut body: JudgedBody,
) -> Result<(Classification, JudgedBody), Refusal> {
    let first = snapshot.catalog.classify(request, body.view(0))?;
    let streamed = matches!(body, JudgedBody::Streamed);
    let needed = first.needs_body
        || first.hands_out
        || snapshot.rules.needs_body(subject, &first)
        || needs_body_slot(snapshot, request);
    // A body that is short is searched for real secrets before even its head leaves; a longer one while it passes.
    let short = matches!(request.length(), Length::Known(length) if length <= SEARCHED_FIRST_BYTES_MAX);
    let needed = needed || live.holdings().known.is_some() && (short || is_conversation(snapshot, request, &first));
    if !streamed || !needed {
        return Ok((first, body));
    }
    let bound = rewrite::read_bound(&first);
    let too_long = matches!(request.length(), Length::Known(length) if length > bound as u64);
    if first.reads_front || !too_long {
        body = body.read_to(trip, live, bound).await?;
    }
    if body.passes() && !first.reads_front {
        // It can pass only where nothing depends on it: its facts are unknown, and what needs them denies.
        return Ok((snapshot.catalog.classify(request, BodyView::TooLarge(&[]))?, body));
    }
    Ok((snapshot.catalog.classify(request, body.view(rewrite::fact_bound(&first)))?, body))
}

/// A model request whose length is known and can be held: rewritten where it quotes a secret, so it is read whole. One
/// that comes in chunks of unknown length streams, and is cut at a secret.
fn is_conversation(snapshot: &Snapshot, request: &CanonicalRequest, first: &Classification) -> bool {
    let bound = rewrite::read_bound(first) as u64;
    matches!(request.length(), Length::Known(length) if length <= bound)
        && rewrite::is_model_request(snapshot, request, first)
}

/// A credential that goes into the body needs the body, and so does a signature over its hash, where the agent does not say it.
fn needs_body_slot(snapshot: &Snapshot, request: &CanonicalRequest) -> bool {
    let says_hash = || request.headers().contains_key("x-amz-content-sha256");
    schemes(snapshot, request.origin()).iter().any(|scheme| match scheme {
        SchemeSpec::Body { .. } => true,
        SchemeSpec::Sigv4 {} => {
            !says_hash() && Endpoint::of(request.origin().host.as_str()).is_none_or(|at| at.service != "s3")
        }
        SchemeSpec::Hmac(spec) => spec.reads_body(),
        _ => false,
    })
}

/// The slots of this host, none for one that nobody knows or where no credential ever goes.
pub(crate) fn schemes<'a>(snapshot: &'a Snapshot, origin: &Origin) -> &'a [SchemeSpec] {
    let found = snapshot.catalog.find(&origin.host, origin.port, origin.scheme);
    found.map_or(&[], |found| found.service.schemes_at(found.host))
}

/// The slots of this request: the host's, and where its answer hands tokens out, the one that takes a refresh token.
pub(crate) fn slots<'a>(
    snapshot: &'a Snapshot,
    origin: &Origin,
    classification: &Classification,
) -> Cow<'a, [SchemeSpec]> {
    let own = schemes(snapshot, origin);
    if !classification.hands_out {
        return Cow::Borrowed(own);
    }
    let mut all = own.to_vec();
    for capture in captures(snapshot, classification) {
        all.extend(capture.slot());
    }
    Cow::Owned(all)
}

/// What the answer hands out.
pub(crate) fn captures<'a>(snapshot: &'a Snapshot, classification: &'a Classification) -> Vec<&'a CaptureMap> {
    let service = classification.service.as_ref().and_then(|name| snapshot.catalog.service(name.as_str()));
    let all = |service: &'a Service| {
        classification.calls.iter().flat_map(|call| service.captures(call.action.as_str())).collect()
    };
    service.map(all).unwrap_or_default()
}

/// A program keeps its log-in between its runs, and with it the placeholders of an earlier session. They mean the same
/// log-in, which this session may use as well.
async fn adopt(
    worker: &Worker,
    snapshot: &Snapshot,
    live: &Arc<LiveSession>,
    request: &CanonicalRequest,
    (classification, body): (&Classification, Option<&Bytes>),
) {
    let strangers = worker.gateway.index.strangers(inject::Look {
        request,
        service: classification.service.as_ref(),
        schemes: &slots(snapshot, request.origin(), classification),
        session: &live.holdings().placeholders,
        body: body.map(|bytes| &**bytes),
    });
    for (part, text) in strangers {
        worker.gateway.source.adopt(live, part, &text).await;
    }
}

fn sight(
    worker: &Worker,
    snapshot: &Snapshot,
    live: &LiveSession,
    request: &CanonicalRequest,
    (classification, body): (&Classification, Option<&Bytes>),
) -> Sightings {
    worker.gateway.index.sight(inject::Look {
        request,
        service: classification.service.as_ref(),
        schemes: &slots(snapshot, request.origin(), classification),
        session: &live.holdings().placeholders,
        body: body.map(|bytes| &**bytes),
    })
}

/// A real secret in what an agent sends: it must never have had it.
pub(crate) fn leaked(name: &CredentialName) -> Refusal {
    Refusal::new(Code::SecretInRequest, format!("The request holds the value of the credential `{name}`"))
        .hint("send the placeholder instead; if the agent has the real value, revoke it: `valetkey credential revoke`")
}

fn head_digest(request: &CanonicalRequest) -> Digest {
    let mut context = Context::new(&SHA256);
    request.digest_input(&mut |bytes| context.update(bytes));
    finish(context)
}
