//! Cases of service files: a request and what it must be. `service test` runs them, and so do the tests of this crate.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Length, Origin, Scheme, clean, parse_authority};
use model::{Call, Fact};

use crate::catalog::Catalog;
use crate::file::Case;

/// How one case went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The request line.
    pub request: String,
    /// What was expected and what came, where they differ.
    pub failure: Option<String>,
}

impl Catalog {
    /// Runs the cases of one service.
    pub fn test(&self, service: &str) -> Vec<Outcome> {
        let run = |case: Case| Outcome { failure: self.run(service, &case).err(), request: case.request };
        self.cases(service).into_iter().map(run).collect()
    }

    /// What a request of a service is taken for, as a case expects it; none where it is refused.
    pub(crate) fn expectation(&self, service: &str, request: &str, body: Option<&str>) -> Option<String> {
        let case = Case { request: request.to_owned(), body: body.map(str::to_owned), ..Case::default() };
        let request = self.request(service, &case).ok()?;
        let body = body.map_or(BodyView::Empty, |text| BodyView::Whole(text.as_bytes()));
        let found = self.classify(&request, body).ok()?;
        (!found.calls.is_empty()).then(|| found.calls.iter().map(triple).collect::<Vec<_>>().join("; "))
    }

    fn run(&self, service: &str, case: &Case) -> Result<(), String> {
        let differ = |what: &str, want: &str, got: &str| Err(format!("{what}: expected `{want}`, got `{got}`"));
        let request = match self.request(service, case) {
            Ok(request) => request,
            Err(reason) if case.expect.starts_with("refused") => return refused(case, "malformed", &reason),
            Err(reason) => return Err(reason),
        };
        let body = match &case.body {
            Some(text) => BodyView::Whole(text.as_bytes()),
            None => BodyView::Empty,
        };
        let read = self.classify(&request, body).and_then(|found| match (&case.message, self.service(service)) {
            (Some(text), Some(service)) => service.message(&found, text.as_bytes(), true),
            _ => Ok(found),
        });
        let found = match read {
            Ok(found) => found,
            Err(refusal) if case.expect.starts_with("refused") => {
                return refused(case, refusal.code.as_str(), &refusal.public);
            }
            Err(refusal) => return differ("outcome", &case.expect, &format!("refused {}", refusal.code)),
        };
        let Some(call) = found.calls.first() else {
            let expected = case.expect == "unknown service";
            return if expected { Ok(()) } else { differ("outcome", &case.expect, "unknown service") };
        };
        let got = found.calls.iter().map(triple).collect::<Vec<_>>().join("; ");
        if got != case.expect.split_ascii_whitespace().collect::<Vec<_>>().join(" ") {
            return differ("call", &case.expect, &got);
        }
        if found.service.as_ref().is_none_or(|name| name.as_str() != service) {
            return differ("service", service, found.service.as_ref().map_or("none", |name| name.as_str()));
        }
        for (name, want) in &case.facts {
            let got = call.facts.get(name).map_or_else(|| "absent".to_owned(), fact_text);
            if got != *want {
                return differ(name, want, &got);
            }
        }
        if let Some(want) = &case.sentence {
            let got = self.service(service).map(|service| service.sentence(call)).unwrap_or_default();
            if got != *want {
                return differ("sentence", want, &got);
            }
        }
        Ok(())
    }

    /// The canonical request of a case.
    fn request(&self, service: &str, case: &Case) -> Result<CanonicalRequest, String> {
        let (method, url) = case.request.split_once(' ').ok_or("write `METHOD URL`")?;
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let (scheme, authority, target) = if url.starts_with('/') {
            let host = self.service(service).and_then(|service| service.default_host()).ok_or("no host")?;
            let base: Vec<&str> = std::iter::once("").chain(host.base.iter().map(|segment| &**segment)).collect();
            (Scheme::Https, host.name.to_string(), format!("{}{url}", base.join("/")))
        } else {
            let (scheme, rest) = url.split_once("://").ok_or("write a path or a whole URL")?;
            let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            (scheme, authority.to_owned(), format!("/{path}"))
        };
        let (host, port) = parse_authority(&authority).map_err(|error| error.to_string())?;
        let origin = Origin { scheme, host, port: port.unwrap_or_else(|| scheme.default_port()) };
        let mut headers = HeaderMap::new();
        for (name, value) in &case.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
            headers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
        }
        if let Some(body) = &case.body
            && !headers.contains_key(http::header::CONTENT_TYPE)
        {
            let json = body.trim_start().starts_with(['{', '[']);
            let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
            headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let length = case.body.as_ref().map_or(Length::Empty, |body| Length::Known(body.len() as u64));
        let cleaned = clean(headers).map_err(|error| error.to_string())?;
        CanonicalRequest::new(method, origin, &target, cleaned, length).map_err(|error| error.to_string())
    }
}

fn refused(case: &Case, code: &str, reason: &str) -> Result<(), String> {
    let got = format!("refused {code}");
    if got == case.expect { Ok(()) } else { Err(format!("expected `{}`, got `{got}`: {reason}", case.expect)) }
}

/// `class action resource [effect ...]`.
fn triple(call: &Call) -> String {
    let mut text = format!("{} {} {}", call.class, call.action, call.resource);
    for effect in call.effects.iter() {
        text.push(' ');
        text.push_str(effect.as_str());
    }
    text
}

fn fact_text(fact: &Fact) -> String {
    match fact {
        Fact::Text(text) => text.to_string(),
        Fact::Int(number) => number.to_string(),
        Fact::Bool(flag) => flag.to_string(),
        Fact::List(items) => items.join(","),
        Fact::Unknown(model::Unknown::NotTold) => "unknown not told".to_owned(),
        Fact::Unknown(model::Unknown::NotProven) => "unknown not proven".to_owned(),
        Fact::Unknown(why) => format!("unknown {why:?}").to_ascii_lowercase(),
    }
}
