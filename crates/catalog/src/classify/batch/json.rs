//! Batches in JSON: `{"requests": [{"id": "1", "method": "GET", "url": "/me"}]}` (Microsoft Graph, OData 4.01).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use model::Unknown;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::body::essence;
use super::super::line::Fault;
use super::super::tree;
use super::{Part, Parts, push};

/// What a batch may say; any other key, or one in another case, is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    requests: Vec<Request<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    method: &'a str,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow, default)]
    headers: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    /// Order alone: which must have ended before.
    #[serde(borrow, default)]
    depends_on: Vec<Cow<'a, str>>,
}

/// The requests of a batch. `under` is where their URLs begin.
pub(super) fn parts<'a>(text: &'a [u8], headers: &HeaderMap, under: &str) -> Parts<'a> {
    if essence(headers).map_err(Fault::Unknown)? != "application/json" {
        return Err("it is no JSON".into());
    }
    let text = std::str::from_utf8(text).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
    // Every key once, and nothing that only some readers take: then both readers read the same.
    tree::read(text)?;
    let batch: Batch<'a> = serde_json::from_str(text).map_err(|_| "a key of it is not known, or is no plain text")?;
    let mut ids = BTreeSet::new();
    let mut all = Vec::new();
    for request in batch.requests {
        if request.depends_on.iter().any(|id| !ids.contains(id)) {
            return Err("a request of it depends on one that does not stand before".into());
        }
        if !ids.insert(request.id) {
            return Err("two of its requests have one id".into());
        }
        let mut fields: Vec<_> = request.headers.into_iter().collect();
        let body = request.body.map_or("", RawValue::get);
        if !body.is_empty() {
            // Of another type it would be octets in base64.
            let json = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
                name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().starts_with("application/json")
            };
            if !body.starts_with(['{', '[']) || !fields.iter().any(json) {
                return Err("a body of it is no JSON object, or does not say that it is JSON".into());
            }
            fields.push(("content-length".into(), body.len().to_string().into()));
        }
        let target = Cow::Owned(if request.url.starts_with('/') {
            format!("{under}{}", request.url)
        } else {
            request.url.into_owned()
        });
        push(&mut all, Part { method: request.method, target, fields, body: body.as_bytes() })?;
    }
    Ok(all)
}
