//! A request as it is given on the command line or in a table of cases, made canonical as the proxy does.

use std::net::{IpAddr, Ipv4Addr};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Length, Origin, Scheme, clean, parse_authority};
use model::{AgentName, Code, Random, Refusal, SessionId, Tenant, Timestamp, UserName, bounds};
use policy::Subject;

use super::usage;
use crate::clock::SystemRandom;
use crate::output;

/// A request, or why it would be refused before policy. JSON without a type is taken for JSON, as clients send it.
///
/// # Errors
/// The method, the URL or a field is none.
pub(super) fn canonical(
    (method, url): (&str, &str),
    headers: &[String],
    body: Option<&[u8]>,
) -> anyhow::Result<Result<CanonicalRequest, Refusal>> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("tcp", rest)) => (Scheme::Tcp, rest),
        Some(("postgres" | "postgresql", rest)) => (Scheme::Postgres, rest),
        _ => {
            return Err(usage(format!(
                "`{}` is not an http, https, tcp or postgres URL; write it whole",
                output::safe(url)
            )));
        }
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    // A fragment is never sent (RFC 9110 4.2.4).
    let target = target.split('#').next().unwrap_or_default();
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let known = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
    let method = known.map_err(|_| usage(format!("`{}` is not a method", output::safe(method))))?;
    let mut headers = header_map(headers)?;
    if body.is_some_and(|body| body.trim_ascii_start().starts_with(b"{") || body.trim_ascii_start().starts_with(b"[")) {
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    let length = body.map_or(Length::Empty, |body| Length::Known(body.len() as u64));
    let made = || {
        let (host, port) = parse_authority(authority)?;
        let port = port.unwrap_or(scheme.default_port());
        if scheme == Scheme::Tcp {
            return CanonicalRequest::connection(host, port);
        }
        if scheme == Scheme::Postgres {
            return CanonicalRequest::database(host, port, target.trim_start_matches('/'));
        }
        CanonicalRequest::new(method, Origin { scheme, host, port }, &target, clean(headers)?, length)
    };
    Ok(made().map_err(|malformed| Refusal::new(Code::Malformed, malformed.to_string())))
}

fn header_map(fields: &[String]) -> anyhow::Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for field in fields {
        let wrong = || usage(format!("`{}` is not a header field; write `Name: value`", output::safe(field)));
        let (name, value) = field.split_once(':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
        map.append(name, HeaderValue::from_str(value.trim()).map_err(|_| wrong())?);
    }
    Ok(map)
}

/// What is looked at of a body.
pub(super) fn body_view(body: Option<&[u8]>) -> BodyView<'_> {
    match body {
        None => BodyView::Empty,
        Some(body) if body.len() > bounds::BODY_FACT_BYTES_MAX => BodyView::TooLarge(body),
        Some(body) => BodyView::Whole(body),
    }
}

/// An agent on this machine whose session has just begun.
pub(super) fn subject(agent: &AgentName, user: Option<UserName>, task: Option<String>, now: Timestamp) -> Subject {
    let random: &dyn Random = &SystemRandom;
    Subject {
        tenant: Tenant::local(),
        agent: agent.clone(),
        user,
        roles: Vec::new(),
        task,
        session: SessionId::fresh(now, random),
        session_started: now,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}
