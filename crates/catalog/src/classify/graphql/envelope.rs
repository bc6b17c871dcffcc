//! How a document travels: as JSON, alone or in a batch; as a form; as a body of its own; in the query of a GET.
//!
//! One spelling each. What is there and is none of the four words is refused, because servers give it a meaning: `id` and
//! `queryId` name documents that are stored, and Ruby and PHP merge the query into the body.

use std::borrow::Cow;

use http::Method;
use model::Unknown;
use model::canonical::{CanonicalRequest, pairs};

use super::super::View;
use super::super::body::{Body, essence};
use super::super::form::decoded;
use super::super::line::{self, Fault};
use super::super::tree::{self, Json, Members, has_twice};
use crate::file::Accepts;

/// Words of a request, and words that some server takes for one.
const WORDS: [&str; 14] = [
    "query",
    "variables",
    "operationname",
    "extensions",
    "operation_name",
    "operation",
    "operations",
    "mutation",
    "id",
    "queryid",
    "documentid",
    "doc_id",
    "hash",
    "persistedquery",
];

/// One document that is asked to be run.
#[derive(Debug, Default)]
pub(super) struct Asked<'a> {
    pub document: Cow<'a, str>,
    pub operation: Option<Cow<'a, str>>,
    pub variables: Members<'a>,
}

/// What a request asks to be run; `None` for a GET that asks for nothing.
pub(super) fn open(view: View<'_>) -> Result<Option<Vec<Asked<'_>>>, Fault> {
    let body = Body::new(view).octets();
    if view.request.method() != Method::POST {
        return match body {
            Ok(None) => query(view.request),
            _ => Err(Fault::Doubt("it has a body where none belongs")),
        };
    }
    let word = |(name, _): (&str, &str)| WORDS.contains(&&*name.to_ascii_lowercase());
    if view.request.query().pairs().any(word) {
        return Err(Fault::Doubt("its URL holds part of it, and its body the rest"));
    }
    let bytes = body.map_err(Fault::Unknown)?.ok_or("it has no document")?;
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
    let headers = view.request.headers();
    let accepts = |wanted| view.at.service.tables.accepts.contains(&wanted);
    let essence = essence(headers).map_err(Fault::Unknown)?;
    if essence == "application/graphql" {
        return Ok(Some(vec![Asked { document: Cow::Borrowed(text), ..Asked::default() }]));
    }
    if essence == "application/x-www-form-urlencoded" && accepts(Accepts::Form) {
        return form(text).map(|asked| Some(vec![asked]));
    }
    let json = essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    if !(json && accepts(Accepts::Json) || accepts(Accepts::AnyAsJson)) {
        return Err(Fault::Doubt("its service reads no body of this type"));
    }
    if !json && is_form_too(text) {
        return Err(Fault::Doubt("its body is a form and JSON at once"));
    }
    line::batch(tree::read(text)?, asked).map(|(all, _)| Some(all))
}

/// Whether a body that is read as JSON, whatever it says it is, would be another document to a server that reads the form.
fn is_form_too(text: &str) -> bool {
    let word = |pair: &str| {
        let name = decoded(pair.split('=').next().unwrap_or_default().as_bytes());
        let name = name.split(|byte| matches!(byte, b'[' | 0)).next().unwrap_or_default().trim_ascii();
        WORDS.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
    };
    text.split(['&', ';']).skip(1).any(word)
}

fn asked(members: Members<'_>) -> Result<Asked<'_>, Fault> {
    let mut asked = Asked::default();
    for (name, value) in members {
        match (&*name, value) {
            ("query", Json::Text(text)) => asked.document = text,
            ("operationName", Json::Text(text)) => asked.operation = Some(text),
            ("variables", Json::Object(members)) => asked.variables = members,
            // Ruby's servers take a text and read it.
            ("variables", Json::Text(text)) if text.is_empty() => {}
            ("variables", Json::Text(text)) => asked.variables = variables(&text)?,
            ("extensions", Json::Object(members)) => extensions(&members)?,
            ("query" | "operationName" | "variables" | "extensions", Json::Null) => {}
            ("query" | "operationName" | "variables" | "extensions", _) => {
                return Err(Fault::Doubt("a part of it is not of its type"));
            }
            _ => return Err(Fault::Doubt("it has a part that is none of `query`, `variables`, `operationName`")),
        }
    }
    whole(asked)
}

fn extensions(members: &[(Cow<'_, str>, Json<'_>)]) -> Result<(), Fault> {
    let stored = |name: &str| name.to_ascii_lowercase().contains("persisted") || name.eq_ignore_ascii_case("query");
    if members.iter().any(|(name, _)| stored(name)) {
        return Err(Fault::Doubt("it names a stored document"));
    }
    Ok(())
}

/// Variables that travel as text.
fn variables(text: &str) -> Result<Members<'static>, Fault> {
    match tree::read(text)? {
        Json::Object(members) => Ok(tree::owned(members)),
        Json::Null => Ok(Vec::new()),
        _ => Err(Fault::Doubt("its variables are no object")),
    }
}

fn form(text: &str) -> Result<Asked<'_>, Fault> {
    if text.contains(';') {
        return Err(Fault::Unknown(Unknown::Malformed));
    }
    let pairs = pairs(text).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
    of_pairs(&pairs, true)
}

fn query(request: &CanonicalRequest) -> Result<Option<Vec<Asked<'_>>>, Fault> {
    let asks = |name: &str| WORDS.contains(&&*name.to_ascii_lowercase());
    if !request.query().pairs().any(|(name, _)| asks(name)) {
        return Ok(None);
    }
    of_pairs(&request.query().pairs().collect::<Vec<_>>(), false).map(|asked| Some(vec![asked]))
}

/// From names and values; `strict` where no others may stand beside.
fn of_pairs(pairs: &[(&str, &str)], strict: bool) -> Result<Asked<'static>, Fault> {
    if has_twice(pairs.iter().map(|(name, _)| *name)) {
        return Err(Fault::Doubt("a part of it comes twice"));
    }
    let mut asked = Asked::default();
    for (name, value) in pairs.iter().copied() {
        match name {
            "query" => asked.document = Cow::Owned(value.to_owned()),
            "operationName" | "variables" | "extensions" if value.is_empty() => {}
            "operationName" => asked.operation = Some(Cow::Owned(value.to_owned())),
            "variables" => asked.variables = variables(value)?,
            "extensions" => match tree::read(value)? {
                Json::Object(members) => extensions(&members)?,
                _ => return Err(Fault::Doubt("a part of it is not of its type")),
            },
            other if strict || WORDS.contains(&&*other.to_ascii_lowercase()) => {
                return Err(Fault::Doubt("it has a part that is none of `query`, `variables`, `operationName`"));
            }
            _ => {}
        }
    }
    whole(asked)
}

fn whole(asked: Asked<'_>) -> Result<Asked<'_>, Fault> {
    if asked.document.is_empty() {
        return Err(Fault::Doubt("it has no document; a stored one cannot be judged"));
    }
    Ok(asked)
}
