//! The only place that turns a refusal into HTTP: RFC 9457 problem details with our members beside; for the SDKs of AWS, their own
//! documents ([`aws`]).

mod aws;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use model::{Code, Refusal};
use policy::FixedAnswer;
use serde::Serialize;

use crate::body::AnswerBody;

/// LLM SDKs obey it: no retry where a retry is useless.
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Tells that no upstream gave this answer.
const X_FALLBACK: HeaderName = HeaderName::from_static("x-valetkey-fallback");
/// The type of our documents.
pub(crate) const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the agent is told; docs/guide explains each code. The sentence stands where clients look for it: `message` those of GitHub
/// and most others, `error_description` those of Stripe and OAuth, where `error` is a text.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    /// What the JSON protocols of AWS call an error.
    #[serde(rename = "__type", skip_serializing_if = "Option::is_none")]
    aws: Option<&'static str>,
    title: &'static str,
    status: u16,
    detail: &'a str,
    error: &'a str,
    message: &'a str,
    error_description: &'a str,
    code: Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<model::ApprovalId>,
}

/// Whether the answer goes to a proxy client (407) or to an origin's (401).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Inside a tunnel or on the reverse leg.
    Origin,
    /// On the proxy port itself.
    Proxy,
}

/// The status that a refusal has on this side.
pub(crate) fn status(refusal: &Refusal, side: Side) -> StatusCode {
    let status = match (side, refusal.code) {
        (Side::Proxy, Code::Unidentified | Code::SessionEnded) => 407,
        _ => refusal.code.status(),
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The body of the problem document.
pub(crate) fn document(refusal: &Refusal, status: StatusCode) -> Bytes {
    document_of(refusal, status, None)
}

fn document_of(refusal: &Refusal, status: StatusCode, aws: Option<&'static str>) -> Bytes {
    // One sentence is all that the SDKs of AWS show.
    let told = aws.map(|_| aws::message(refusal));
    let problem = Problem {
        kind: format!("urn:valetkey:problem:{}", refusal.code),
        aws,
        title: status.canonical_reason().unwrap_or("Refused"),
        status: status.as_u16(),
        detail: &refusal.public,
        error: &refusal.public,
        message: told.as_deref().unwrap_or(&refusal.public),
        error_description: &refusal.public,
        code: refusal.code,
        rule: refusal.rule.as_deref(),
        hint: refusal.hint.as_deref(),
        retryable: refusal.code.retryable(),
        approval: refusal.approval,
    };
    serde_json::to_vec(&problem).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// What a client reads.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Our document, as this type.
    Ours(HeaderValue),
    /// A document of AWS.
    Aws(aws::Protocol),
}

/// The form of a document for a client: one of AWS's for its SDKs, and plain JSON for one that asks for JSON of some kind and not for problem documents, since
/// SDKs (Octokit) read no other and tell their users of an unknown error.
pub(crate) fn kind_for(headers: &HeaderMap) -> Form {
    if let Some(protocol) = aws::Protocol::of(headers) {
        return Form::Aws(protocol);
    }
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let plain = accepts.contains("json") && !accepts.contains("problem+json");
    Form::Ours(if plain { JSON } else { PROBLEM })
}

/// The whole answer, whose document has this form.
pub(crate) fn refuse(refusal: &Refusal, side: Side, form: Form) -> Response<AnswerBody> {
    let status = status(refusal, side);
    let (document, kind) = match form {
        Form::Ours(kind) => (document(refusal, status), kind),
        Form::Aws(protocol) => {
            let ours = || document_of(refusal, status, Some(aws::code(refusal.code)));
            (protocol.document(refusal).map_or_else(ours, Bytes::from), protocol.kind())
        }
    };
    let mut response = Response::new(AnswerBody::whole(document));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if !refusal.code.retryable() {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    if let Some(seconds) = refusal.retry_after_seconds {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            headers.insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"valetkey\""));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"valetkey\""));
        }
        _ => {}
    }
    response
}

/// An answer that the configuration gives in place of a refusal.
pub(crate) fn fixed(answer: &FixedAnswer) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(Bytes::copy_from_slice(&answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in &answer.headers {
        headers.insert(name, value.clone());
    }
    headers.insert(X_FALLBACK, HeaderValue::from_static("respond"));
    response
}

/// The same for a connection that hyper does not serve: status line, fields and body as octets, closing.
pub(crate) fn raw(refusal: &Refusal, side: Side) -> Vec<u8> {
    let status = status(refusal, side);
    let body = document(refusal, status);
    let challenge = match status.as_u16() {
        407 => "Proxy-Authenticate: Basic realm=\"valetkey\"\r\n",
        _ => "",
    };
    let reason = status.canonical_reason().unwrap_or("Refused");
    let retry = if refusal.code.retryable() { "" } else { "x-should-retry: false\r\n" };
    let after = refusal.retry_after_seconds.map_or_else(String::new, |seconds| format!("Retry-After: {seconds}\r\n"));
    let mut out = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n\
         {retry}{after}{challenge}Content-Length: {}\r\nConnection: close\r\n\r\n",
        status.as_u16(),
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(&body);
    out
}
