//! Arming: a request becomes one that may leave. The only way to one that carries a credential.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use model::canonical::{Length, Origin, Scheme as OriginScheme};
use model::scheme::SchemeSpec;
use model::{CanonicalRequest, Timestamp};
use secret::Credential;

use crate::InjectError;
use crate::answer::codec::Coding;
use crate::scheme::sigv4::chunks::ChunkSigner;
use crate::scheme::{self, Draft};
use crate::scrub::Needles;

/// A request that is ready to be sent, and what must not come back.
pub struct Armed {
    method: Method,
    origin: Origin,
    target: String,
    headers: HeaderMap,
    body: Option<Bytes>,
    needles: Arc<Needles>,
    redacted: Option<String>,
    signer: Option<Box<ChunkSigner>>,
}

/// The parts of an [`Armed`] request, for the sender.
pub struct ArmedParts {
    /// One of seven.
    pub method: Method,
    /// Where it goes.
    pub origin: Origin,
    /// Path and query.
    pub target: String,
    /// All fields but `Host`, framing and hop-by-hop ones. What we put on is marked sensitive.
    pub headers: HeaderMap,
    /// The body where it was held whole.
    pub body: Option<Bytes>,
    /// What to look for in the answer.
    pub needles: Arc<Needles>,
    /// Signs the body while it passes, where it carries signatures of its own.
    pub signer: Option<Box<ChunkSigner>>,
}

/// What goes on a request, and how.
#[derive(Clone, Copy)]
pub struct Put<'a> {
    /// The slot.
    pub spec: &'a SchemeSpec,
    /// What goes there.
    pub credential: &'a Credential,
    /// The time, for signatures.
    pub now: Timestamp,
}

impl Armed {
    /// A request that goes out as it came: placeholders in it stay worthless text.
    #[must_use]
    pub fn bare(request: CanonicalRequest, body: Option<Bytes>) -> Self {
        let target = request.target();
        let (method, origin, _, _, headers) = request.into_parts();
        Self { method, origin, target, headers, body, needles: Arc::new(Needles::none()), redacted: None, signer: None }
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query as sent. May hold the credential: see [`Self::redacted_target`].
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Path and query for the record, where the target holds the credential.
    #[must_use]
    pub fn redacted_target(&self) -> Option<String> {
        self.redacted.clone()
    }

    /// The fields.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body where it was held whole.
    #[must_use]
    pub const fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// What to look for in the answer.
    #[must_use]
    pub const fn needles(&self) -> &Arc<Needles> {
        &self.needles
    }

    /// Takes it apart, for the sender.
    #[must_use]
    pub fn into_parts(self) -> ArmedParts {
        let Self { method, origin, target, headers, body, needles, signer, .. } = self;
        ArmedParts { method, origin, target, headers, body, needles, signer }
    }
}

/// Puts `credential` on `request` as `spec` says. `needles` are the credential's own, from a
/// [`NeedleCache`](crate::NeedleCache); `body` is the whole body where it is held.
///
/// # Errors
/// Clear text, a value that would break its line, a body in which the slot cannot be found. Nothing may be sent then.
pub fn arm(
    request: CanonicalRequest,
    put: Put<'_>,
    needles: Arc<Needles>,
    body: Option<Bytes>,
) -> Result<Armed, InjectError> {
    let Put { spec, credential, now } = put;
    if request.origin().scheme != OriginScheme::Https {
        return Err(InjectError::ClearText { name: credential.name().clone() });
    }
    let is_empty = request.length() == Length::Empty;
    let (method, origin, path, query, mut headers) = request.into_parts();
    // Before it is signed. A key that signs never travels, so there is nothing that an upstream could give back in pieces.
    answerable(&mut headers, matches!(spec, SchemeSpec::Sigv4 {}));
    let mut draft = Draft {
        headers,
        query: query.raw().map(str::to_owned),
        body,
        method,
        authority: origin.to_string(),
        path,
        is_empty,
        now,
        signer: None,
    };
    let listed = scheme::of(spec);
    listed.as_dyn().apply(&mut draft, credential)?;
    let Draft { headers, query: sent, body, method, path, signer, .. } = draft;
    let target = join(path.raw(), sent.as_deref());
    let redacted = match spec {
        SchemeSpec::Query { name } => {
            let shown = sent.as_deref().map(|text| scheme::redact_query(text, name, credential.name().as_str()));
            Some(join(path.raw(), shown.as_deref()))
        }
        SchemeSpec::Sigv4 {} => {
            let signed = sent.as_deref().filter(|text| text.contains("X-Amz-"));
            signed.map(|text| join(path.raw(), Some(&scheme::redact_signed(text, credential.name().as_str()))))
        }
        SchemeSpec::Hmac(spec) if !spec.query.is_empty() => {
            let shown = sent.as_deref().map(|text| scheme::redact_hmac(spec, text, credential.name().as_str()));
            Some(join(path.raw(), shown.as_deref()))
        }
        _ => None,
    };
    Ok(Armed { method, origin, target, headers, body, needles, redacted, signer })
}

fn join(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    }
}

/// Makes sure that the answer can be scrubbed: whole (row E57: eight octets at a time hide any needle), in a coding that we
/// undo (row E58), and without compressed WebSocket messages (row E62).
fn answerable(headers: &mut HeaderMap, in_ranges: bool) {
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    for name in [header::RANGE, header::IF_RANGE] {
        if !in_ranges {
            headers.remove(name);
        }
    }
    let mut text = String::new();
    for coding in Coding::ALL {
        if offered(headers, coding) {
            if !text.is_empty() {
                text.push_str(", ");
            }
            text.push_str(coding.as_str());
        }
    }
    let value = HeaderValue::from_str(&text).ok().filter(|_| !text.is_empty());
    headers.insert(header::ACCEPT_ENCODING, value.unwrap_or_else(|| HeaderValue::from_static("identity")));
}

/// Whether the agent takes `coding` (RFC 9110 12.5.3): named, or `*`, and not with weight 0.
fn offered(headers: &HeaderMap, coding: Coding) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim_matches(['0', '.', ' ']).is_empty());
        name.trim().eq_ignore_ascii_case(coding.as_str()) && !refused
    })
}
