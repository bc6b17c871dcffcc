//! Operations by method and path: Lambda.

use std::borrow::Cow;

use model::Unknown;

use super::super::body::Body;
use super::super::line::{Calls, Fault};
use super::super::tree::{self, Json};
use super::arn::{self, Values};
use super::{Ask, Said, push};
use crate::compiled::AwsPlace;

pub(super) fn said(ask: &Ask<'_>) -> Result<Said, Fault> {
    let request = ask.view.request;
    if request.headers().contains_key("x-amz-target") {
        return Err("an operation of this service stands in its path".into());
    }
    let fitting = ask.aws.placed.iter().filter(|place| *place.service == *ask.at.service && fits(ask, place));
    // A word wins over a parameter, and what asks for a parameter over what does not.
    let literals = |place: &&AwsPlace| {
        (place.path.split('/').filter(|step| !step.starts_with('{')).count(), place.query.is_some())
    };
    let Some(place) = fitting.max_by_key(literals) else { return ask.unlisted() };
    let body = Lazy::new(ask);
    let get = |name: &str| {
        let steps = place.path.split('/').skip(1);
        let own = steps.zip(request.path().segments()).find(|(step, _)| parameter(step) == Some(name));
        if let Some((_, segment)) = own {
            return Ok(vec![Cow::Borrowed(segment)]);
        }
        let in_query: Values<'_> = request.query().values(name).map(|value| Cow::Owned(value.to_owned())).collect();
        match in_query.len() {
            0 => body.get(name),
            // Which of two the service takes is not known here.
            1 if !body.get(name)?.is_empty() => Err(Fault::Doubt("a name stands in its query and in its body")),
            1 => Ok(in_query),
            _ => Err(Fault::Doubt("a parameter of it comes twice")),
        }
    };
    let mut calls = Calls::new();
    for template in &place.operation.resources {
        for resource in arn::fill(&ask.at, template, &get)? {
            push(&mut calls, ask.call(&place.operation, &resource)?)?;
        }
    }
    if calls.is_empty() {
        calls.push(ask.call(&place.operation, &arn::anything(&ask.at))?);
    }
    Ok(Said { calls, needs_body: body.is_missed() })
}

fn parameter(step: &str) -> Option<&str> {
    step.strip_prefix('{')?.strip_suffix('}')
}

fn fits(ask: &Ask<'_>, place: &AwsPlace) -> bool {
    let request = ask.view.request;
    let steps = place.path.split('/').skip(1);
    let asked = |query: &str| {
        let (name, value) = query.split_once('=').unwrap_or((query, ""));
        request.query().values(name).any(|known| value.is_empty() || known == value)
    };
    request.method().as_str() == &*place.method
        && steps.clone().count() == request.path().len()
        && steps.zip(request.path().segments()).all(|(step, segment)| parameter(step).is_some() || step == segment)
        && place.query.as_deref().is_none_or(asked)
}

/// A JSON body that is read only where a name is looked for that stands nowhere else. What an invocation is given is no such place: it is
/// the function's own.
struct Lazy<'a> {
    body: Body<'a>,
    missed: std::cell::Cell<bool>,
}

impl<'a> Lazy<'a> {
    fn new(ask: &Ask<'a>) -> Self {
        Self { body: Body::new(ask.view), missed: std::cell::Cell::new(false) }
    }

    fn is_missed(&self) -> bool {
        self.missed.get()
    }

    fn get(&self, name: &str) -> Result<Values<'a>, Fault> {
        // It is a parameter of the query alone.
        if name == "Qualifier" {
            return Ok(Vec::new());
        }
        let octets = match self.body.octets() {
            Err(Unknown::NotRead) => {
                self.missed.set(true);
                return Ok(Vec::new());
            }
            other => other.map_err(Fault::Unknown)?,
        };
        let Some(octets) = octets else { return Ok(Vec::new()) };
        let text = std::str::from_utf8(octets).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
        let Json::Object(members) = tree::read(text)? else { return Err("its JSON is no object".into()) };
        match members.into_iter().find(|(known, _)| *known == *name) {
            None | Some((_, Json::Null)) => Ok(Vec::new()),
            Some((_, Json::Text(value))) => Ok(vec![value]),
            Some(_) => Err("a name in it is no text".into()),
        }
    }
}
