//! Stage 1: a bounded, canonical head, whose every host is the one of its connection.

use std::sync::Arc;

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Request, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use model::canonical::{self, CanonicalRequest, Host, Length, Malformed, Origin, Scheme, parse_authority};
use model::{Code, Refusal};

use crate::body::Held;
use crate::exchange::Refused;
use crate::gateway::{Snapshot, Worker};
use crate::identify::Claim;
use crate::record::Recorder;
use crate::respond::Side;
use crate::retry::Tries;
use crate::tunnel::Link;

/// A canonical request, not yet anybody's.
pub(crate) struct Accepted {
    pub(crate) request: CanonicalRequest,
    pub(crate) claim: Claim,
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) trip: Trip,
}

/// What travels along with every stage.
pub(crate) struct Trip {
    pub(crate) recorder: Recorder,
    pub(crate) leg: Leg,
    /// The body, until somebody reads or sends it. A refusal lets it run out first, so that clients hear the answer.
    pub(crate) unread: Option<Incoming>,
    /// What it holds of the memory for bodies; given back when the answer's head has come.
    pub(crate) held: Option<Held>,
    /// What was tried for it so far.
    pub(crate) tries: Tries,
}

impl Trip {
    /// Ends the road with a refusal.
    pub(crate) fn refuse(self, refusal: Refusal) -> Box<Refused> {
        let side = if self.leg == Leg::Plain { Side::Proxy } else { Side::Origin };
        Box::new(Refused { refusal, recorder: self.recorder, side, unread: self.unread, instead: None })
    }
}

/// By which way a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Inside an intercepted tunnel.
    Tunnel,
    /// Absolute-form on the proxy port.
    Plain,
    /// `/proxy/{service}/..` on the proxy port.
    Reverse,
}

impl Accepted {
    /// Makes the canonical request, or refuses.
    pub(crate) fn accept(
        worker: &Arc<Worker>,
        link: &Link,
        snapshot: &Snapshot,
        request: Request<Incoming>,
    ) -> Result<Self, Box<Refused>> {
        let recorder = Recorder::begin(worker, &link.source);
        let (mut parts, body) = request.into_parts();
        let upgrade = parts.extensions.remove::<OnUpgrade>();
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let leg = leg_of(link, &parts.uri);
        let mut trip = Trip { recorder, leg, unread: None, held: None, tries: Tries::default() };
        // For refusals alone; what is accepted is recorded in its canonical form.
        let asked = |trip: &mut Trip| {
            let host = uri.authority().map_or("", |authority| authority.as_str());
            let host = link.origin.as_ref().map_or(host, |origin| origin.host.as_str());
            trip.recorder.asked(method.as_str(), host, uri.path_and_query().map_or("", |target| target.as_str()));
        };
        if worker.gateway.drain.is_cancelled() {
            asked(&mut trip);
            return Err(trip.refuse(ending()));
        }
        let claim = Claim::take(leg, &mut parts.headers);
        let request = canonical_request(leg, link, snapshot, parts, &body);
        trip.unread = Some(body);
        match request {
            Ok(request) => {
                let upgrade = upgrade.filter(|_| request.is_websocket());
                Ok(Self { request, claim, upgrade, trip })
            }
            Err(refusal) => {
                asked(&mut trip);
                if let Some(live) = &link.session {
                    trip.recorder.identified(live);
                    trip.recorder.mask();
                }
                Err(trip.refuse(refusal))
            }
        }
    }
}

impl Accepted {
    /// Refuses before it is classified; only then does the record need what was asked from here.
    pub(crate) fn refuse(mut self, refusal: Refusal) -> Box<Refused> {
        let host = self.request.origin().to_string();
        self.trip.recorder.asked(self.request.method().as_str(), &host, &self.request.target());
        self.trip.refuse(refusal)
    }
}

fn ending() -> Refusal {
    Refusal::new(Code::Unavailable, "The gateway is shutting down").retry_after(5)
}

fn leg_of(link: &Link, uri: &Uri) -> Leg {
    match (&link.origin, uri.scheme()) {
        (Some(_), _) => Leg::Tunnel,
        (None, Some(_)) => Leg::Plain,
        (None, None) => Leg::Reverse,
    }
}

/// Turns [`Malformed`] into what the agent is told.
pub(crate) fn malformed(why: Malformed) -> Refusal {
    let code = match why {
        Malformed::HostDisagrees => Code::Misdirected,
        Malformed::TooMany => Code::TooLarge,
        _ => Code::Malformed,
    };
    Refusal::new(code, format!("The request is ambiguous: {why}"))
}

fn canonical_request(
    leg: Leg,
    link: &Link,
    snapshot: &Snapshot,
    parts: Parts,
    body: &Incoming,
) -> Result<CanonicalRequest, Refusal> {
    let Parts { method, uri, version, headers, .. } = parts;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let (origin, target): (Origin, std::borrow::Cow<'_, str>) = match leg {
        Leg::Tunnel => (tunnel_origin(link, &uri, version, &headers).map_err(malformed)?, target.into()),
        Leg::Plain => (plain_origin(&uri, &headers).map_err(malformed)?, target.into()),
        Leg::Reverse => reverse_origin(snapshot, target).map(|(origin, target)| (origin, target.into()))?,
    };
    let length = if body.is_end_stream() {
        Length::Empty
    } else {
        body.size_hint().exact().map_or(Length::Streamed, Length::Known)
    };
    let cleaned = canonical::clean(headers).map_err(malformed)?;
    CanonicalRequest::new(method, origin, &target, cleaned, length).map_err(malformed)
}

/// CONNECT host = SNI = Host = `:authority`, else 421 (rows A1-A5). The SNI was checked at the handshake.
fn tunnel_origin(link: &Link, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Origin, Malformed> {
    let origin = link.origin.clone().ok_or(Malformed::HostDisagrees)?;
    let mut named = 0;
    if let Some(authority) = uri.authority() {
        if uri.scheme().is_none() {
            // Authority form (RFC 9112 3.2.3) belongs to CONNECT alone.
            return Err(Malformed::Target);
        }
        same(&origin, authority.as_str())?;
        named += 1;
        let scheme = uri.scheme_str().unwrap_or_default();
        if scheme != origin.scheme.as_str() {
            return Err(Malformed::HostDisagrees);
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    if let Some(host) = hosts.next() {
        same(&origin, host.to_str().map_err(|_| Malformed::Host)?)?;
        named += 1;
    }
    if hosts.next().is_some() || named == 0 && version != Version::HTTP_10 {
        return Err(Malformed::HostDisagrees);
    }
    Ok(origin)
}

fn same(origin: &Origin, authority: &str) -> Result<(), Malformed> {
    let (host, port) = parse_authority(authority)?;
    if host == origin.host && port.unwrap_or(origin.scheme.default_port()) == origin.port {
        Ok(())
    } else {
        Err(Malformed::HostDisagrees)
    }
}

/// An absolute-form target (RFC 9112 3.2.2). `https` is served too: some clients send it to a proxy's plain port (A7).
fn plain_origin(uri: &Uri, headers: &HeaderMap) -> Result<Origin, Malformed> {
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(Malformed::Target),
    };
    let authority = uri.authority().ok_or(Malformed::HostDisagrees)?;
    let (host, port) = parse_authority(authority.as_str())?;
    let origin = Origin { scheme, host, port: port.unwrap_or(scheme.default_port()) };
    let mut hosts = headers.get_all(header::HOST).iter();
    if let Some(host) = hosts.next() {
        same(&origin, host.to_str().map_err(|_| Malformed::Host)?)?;
    }
    if hosts.next().is_some() { Err(Malformed::HostDisagrees) } else { Ok(origin) }
}

/// `/proxy/{service}/{path}`: the service's own host, over TLS. The path may leave the service's base path out.
fn reverse_origin(snapshot: &Snapshot, target: &str) -> Result<(Origin, String), Refusal> {
    let lost = || {
        Refusal::new(Code::Malformed, "This is Valetkey's gateway; it has no pages")
            .hint("set HTTPS_PROXY to this address, or call /proxy/{service}/{path}")
    };
    let rest = target.strip_prefix("/proxy/").ok_or_else(lost)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, target) = rest.split_at_checked(end).ok_or_else(lost)?;
    let service = snapshot.catalog.service(name).ok_or_else(|| {
        Refusal::new(Code::UnknownService, "Unknown service").hint("`valetkey service list` names those that are known")
    })?;
    let rule = service.default_host().ok_or_else(|| {
        Refusal::new(Code::UnknownService, "This service has no default host").hint("use the proxy with the full URL")
    })?;
    let host = Host::parse(&rule.name).map_err(malformed)?;
    let port = rule.ports.first().copied().unwrap_or(443);
    let mut base = String::new();
    for segment in &rule.base {
        base.push('/');
        base.push_str(segment);
    }
    let inside = target.strip_prefix(&*base).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let slash = if target.starts_with('/') { "" } else { "/" };
    let target = if inside { target.to_owned() } else { format!("{base}{slash}{target}") };
    Ok((Origin { scheme: Scheme::Https, host, port }, target))
}
