//! Batches: requests in the body of one request. Each is classified as if it had come alone, and all of their calls must be allowed.
//!
//! Start reading at [`calls`]; then [`json`] and [`multipart`], which take a body apart. A batch of which one part cannot be read is
//! refused whole: its server may well read it.

mod json;
mod multipart;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::bounds::CALLS_MAX;
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Length, clean};
use model::{Refusal, SchemeSpec, Unknown};

use super::body::Body;
use super::line::{Calls, Doubt, Fault};
use super::{Found, Several, View, classify_in};
use crate::compiled::Batch;
use crate::file::BatchForm;

/// Requests of one batch. Google takes 100, Microsoft Graph 20.
const PARTS_MAX: usize = 100;
/// Fields that a part may have. None of them lets it be read as another request, or carries a credential of its own: what a part says is
/// sent as it is, where such fields of a request by itself are dropped.
const FIELDS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "consistencylevel",
    "content-length",
    "content-type",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "mime-version",
    "prefer",
    "user-agent",
    "x-goog-api-client",
    "x-user-agent",
];
const HINT: &str = "send its requests one by one, or each with a plain path, method, and length";

/// A request of a batch, as it is written.
struct Part<'a> {
    method: &'a str,
    /// Path and query.
    target: Cow<'a, str>,
    fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    body: &'a [u8],
}

/// The calls of a batch; nothing where `found` is another action, or all that can be said of it: the body has not been read.
pub(super) fn calls(view: View<'_>, found: &Found) -> Result<Option<Several>, Refusal> {
    let Some(batch) = place(view, found) else { return Ok(None) };
    if view.nested {
        return Err(Fault::Doubt("it holds another batch").refusal("batch", HINT));
    }
    match read(view, batch.form) {
        Ok(calls) => Ok(Some(calls)),
        Err(Fault::Unknown(Unknown::NotRead)) => Ok(None),
        Err(fault) => Err(fault.refusal("batch", HINT)),
    }
}

/// Marks a place whose body decides: until it is read, the call is the most that it could be.
pub(super) fn needs_body(view: View<'_>, found: &Found) -> bool {
    place(view, found).is_some()
}

fn place<'v>(view: View<'v>, found: &Found) -> Option<&'v Batch> {
    let tables = &view.at.service.tables;
    let is = |batch: &&Batch| tables.actions.get(batch.place as usize).is_some_and(|action| found.is(&action.id));
    tables.batches.iter().find(is)
}

fn read(view: View<'_>, form: BatchForm) -> Result<Several, Fault> {
    if *view.request.method() != Method::POST {
        return Err("it is not sent by POST".into());
    }
    let Some(text) = Body::new(view).octets().map_err(Fault::Unknown)? else { return Err("it has no body".into()) };
    let headers = view.request.headers();
    let parts = match form {
        BatchForm::Json => json::parts(text, headers, &under(view))?,
        BatchForm::Multipart => multipart::parts(text, headers)?,
    };
    if parts.is_empty() {
        return Err("it holds no request".into());
    }
    let mut all = Several::default();
    for part in &parts {
        let (calls, part) = one(view, part)?;
        all.calls.extend(calls);
        all.parts.push(part);
        if all.calls.len() > CALLS_MAX {
            return Err(Fault::TooMany);
        }
    }
    Ok(all)
}

/// Where URLs of a batch in JSON begin: the path of the batch without its last segment.
fn under(view: View<'_>) -> String {
    let path = view.request.path().raw().trim_end_matches('/');
    path.rsplit_once('/').map_or("", |(front, _)| front).to_owned()
}

/// The calls of one part.
fn one(view: View<'_>, part: &Part<'_>) -> Result<(Calls, model::call::Part), Fault> {
    if !part.target.starts_with('/') {
        return Err("a path of it does not begin with `/`".into());
    }
    let method = Method::from_bytes(part.method.as_bytes()).map_err(|_| "a method of it is none")?;
    let headers = fields(view, part)?;
    let length = if part.body.is_empty() { Length::Empty } else { Length::Known(part.body.len() as u64) };
    let cleaned = clean(headers).map_err(|why| Fault::Refused(super::malformed(why)))?;
    let origin = view.request.origin().clone();
    let request = CanonicalRequest::new(method, origin, &part.target, cleaned, length);
    let request = request.map_err(|why| Fault::Refused(super::malformed(why)))?;
    let schemes = view.at.service.schemes_at(view.at.host);
    let opens =
        |name: &str| schemes.iter().any(|known| matches!(known, SchemeSpec::Query { name: slot } if slot == name));
    if request.query().pairs().any(|(name, _)| opens(name)) {
        return Err("a request of it has a credential of its own".into());
    }
    let body = if part.body.is_empty() { BodyView::Empty } else { BodyView::Whole(part.body) };
    let found = classify_in(view.at, &request, body, true).map_err(Fault::Refused)?;
    if found.hands_out {
        // Its answer stands within another, where it would not be captured.
        return Err("a request of it hands out a secret".into());
    }
    if found.needs_body || found.calls.is_empty() {
        return Err("what a request of it does depends on more than is there".into());
    }
    let (endpoint, path, calls) = (found.endpoint, found.path, found.calls.len());
    Ok((found.calls, model::call::Part { method: request.method().clone(), endpoint, path, calls }))
}

fn fields(view: View<'_>, part: &Part<'_>) -> Result<HeaderMap, Fault> {
    let mut all = HeaderMap::new();
    for (name, value) in &part.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "a field of it is none")?;
        if !FIELDS.contains(&name.as_str()) {
            return Err("a request of it has a field that is not read here".into());
        }
        if all.contains_key(&name) {
            return Err("a request of it has a field twice".into());
        }
        let value = HeaderValue::from_str(value).map_err(|_| "a field of it is no text")?;
        all.insert(name, value);
    }
    if let Some(host) = all.remove(http::header::HOST)
        && !host.as_bytes().eq_ignore_ascii_case(view.request.origin().host.as_str().as_bytes())
    {
        return Err("a request of it is for another host".into());
    }
    let length = all.remove(http::header::CONTENT_LENGTH);
    let said = length.map(|length| length.to_str().ok().and_then(plain_number));
    match said {
        // Without a length some servers read no body.
        None if part.body.is_empty() => Ok(all),
        Some(Some(length)) if length == part.body.len() => Ok(all),
        _ => Err("a request of it has a body and no length, or another".into()),
    }
}

/// A number in its one spelling.
fn plain_number(text: &str) -> Option<usize> {
    text.parse::<usize>().ok().filter(|number| number.to_string() == text)
}

/// How a part is not read.
type Parts<'a> = Result<Vec<Part<'a>>, Fault>;

/// Adds a part where there is room.
fn push<'a>(all: &mut Vec<Part<'a>>, part: Part<'a>) -> Result<(), Doubt> {
    if all.len() >= PARTS_MAX {
        return Err("it holds more than 100 requests");
    }
    all.push(part);
    Ok(())
}
