//! `valetkey credential test`: asks the credential's own service whether it works, on the very road that agents take.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use approval::WaitingRoom;
use bytes::Bytes;
use catalog::Catalog;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use model::{AgentName, CredentialName, ServiceName, UserName};
use policy::Upkeep;
use proxy::net::leaf::{Authority, AuthorityName};
use serde_json::json;

use super::client;
use super::environment::{self, Trust};
use super::gateway::{self, Options};
use super::open::{self, Opened};
use super::plan::{Held, Plan};
use super::sessions::Wanted;
use super::way_out::way_out;
use crate::command::usage;
use crate::config::{Ambient, Sources};

/// Scopes of a token that are looked at, and characters of each.
const SCOPES_MAX: usize = 200;
const SCOPE_CHARS_MAX: usize = 100;

/// Status, fields and the front of the body.
type Answered = (u16, http::HeaderMap, String);

/// The agent that asks; it may do nothing but that.
pub(super) const AGENT: &str = "credential-test";

/// What a credential's service says of it.
#[derive(Debug)]
pub struct Tested {
    /// What it answered.
    pub status: u16,
    /// Why it does not take it; none where it does.
    pub failure: Option<String>,
    /// What the token may do, in the vendor's words, where the service tells it.
    pub scopes: Option<Vec<String>>,
}

/// Tests a credential, with that of a person where each has their own.
///
/// # Errors
/// There is no such credential, its service offers no check, or the service cannot be asked.
pub async fn credential_test(
    ambient: &Ambient,
    (name, user): (&CredentialName, Option<UserName>),
    config: Option<&Path>,
) -> anyhow::Result<Tested> {
    let opened = open::open(ambient).await?;
    let sources = Sources::find(ambient, config)?;
    let mut configured = Plan::make(&sources, &[])?;
    configured.way_out = way_out(ambient)?;
    opened.declare(&configured).await?;
    let summary = opened.vault.show(&opened.tenant, name).await?;
    let service = summary.service.context(
        "it is bound to no service; name its service in the configuration, or add it under another name with --service",
    )?;
    let declared = configured.credentials.iter().find(|held| held.name == *name);
    let issuing = declared.and_then(|held| held.issuing.as_deref());
    if let Some(failure) = unissued(&opened, name, (user.as_ref(), issuing)).await {
        opened.vault.close().await;
        return Ok(Tested { status: 0, failure: Some(failure), scopes: None });
    }
    // What is stored may be of another kind than what goes on requests.
    let kind = declared.filter(|_| issuing.is_some()).map_or(&summary.kind, |held| &held.kind);
    if configured.catalog.service(service.as_str()).is_some_and(|known| known.check().is_none()) {
        return Err(usage(format!("service `{service}` offers no harmless request to test with")));
    }
    let check = issuing.and_then(super::issuing::check_of);
    let asked = Subject { name, service: &service, kind, user, check };
    let asked = ask_service(ambient, (&opened, &sources, &configured.catalog), asked).await;
    opened.vault.close().await;
    asked?.with_context(|| format!("service `{service}` offers no harmless request to test with"))
}

/// What a service is asked about.
pub(super) struct Subject<'a> {
    /// The credential.
    pub name: &'a CredentialName,
    /// Its service.
    pub service: &'a ServiceName,
    /// Its kind.
    pub kind: &'a str,
    /// Whose, where each person has their own.
    pub user: Option<UserName>,
    /// The harmless request, where it is another than the service's own.
    pub check: Option<(&'static str, &'static str)>,
}

/// Why its issuer issues nothing, in the issuer's words, which no agent is told; none where it does, or where somebody's own is meant.
async fn unissued(
    opened: &Opened,
    name: &CredentialName,
    (user, issuing): (Option<&UserName>, Option<&vault::issue::Issuing>),
) -> Option<String> {
    // A role of AWS is tested with a session that may do nothing; nobody else has one.
    issuing.filter(|issuing| user.is_none() && issuing.name() != "aws_role")?;
    let upkeep = Upkeep::of(opened.tenant.clone(), "credential test");
    opened.vault.check(&upkeep, name).await.err().map(|error| error.to_string())
}

/// Asks a service whether it takes a credential; none where it offers no harmless request.
///
/// # Errors
/// The service is not known or cannot be asked.
pub(super) async fn ask_service(
    ambient: &Ambient,
    (opened, sources, catalog): (&Arc<Opened>, &Sources, &Catalog),
    Subject { name, service, kind, user, check }: Subject<'_>,
) -> anyhow::Result<Option<Tested>> {
    let known = catalog.service(service.as_str());
    let known = known.with_context(|| {
        format!("its service `{service}` is not known; `valetkey service list` names those that are")
    })?;
    let Some((method, path, form)) = check.map(|(method, path)| (method, path, None)).or_else(|| known.check()) else {
        return Ok(None);
    };
    let (method, path, form) = (method.to_owned(), path.to_owned(), form.map(str::to_owned));
    let scopes_header = known.scopes_header().map(str::to_owned);
    let host = known.default_host().context("its service has no host to ask")?.name.to_string();
    let text = config_for(sources, name.as_str(), service.as_str())?;
    let narrow = Sources::of_text(&text, &sources.folder().join("credential-test"))?.with_services(sources.services()?);
    let held = Held {
        name: name.clone(),
        service: Some(service.clone()),
        from: None,
        kind: kind.to_owned(),
        always: true,
        variables: Vec::new(),
        issuing: None,
        rotation: None,
        digest: None,
        hollow: false,
        spans: (None, None),
    };
    let mut plan = Plan::make(&narrow, &[])?;
    plan.way_out = way_out(ambient)?;
    plan.credentials = vec![held];
    let called = AuthorityName { name: "Valetkey credential test".to_owned(), domains: Vec::new() };
    let authority = Authority::fresh(&called, Arc::clone(&opened.clock), Arc::clone(&opened.random))?;
    let trust = Trust::write(&opened.home, ambient, &authority, opened.clock.now())?;
    let room = WaitingRoom::new(opened.store.clone(), opened.clock.clone(), opened.random.clone(), Vec::new());
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        workers: 1,
        room,
        authority,
        identify_by_header: false,
        doors: super::walls::Doors::default(),
    };
    let serving = gateway::start(opened, plan, opened.log()?, options)?;
    let wanted = Wanted { agent: AgentName::new(AGENT)?, task: None, user, ttl_seconds: Some(60) };
    let asked = async {
        let begun = serving.maker.begin(wanted).await?;
        let proxy = environment::proxy_url(serving.address, &begun.token);
        let status =
            ask(&proxy, &trust.certificate().display().to_string(), &host, (&method, &path, form.as_deref())).await;
        begun.live.end();
        opened.store.sessions().end(&opened.tenant, begun.live.session.id, opened.clock.now()).await?;
        status
    };
    let asked = asked.await;
    serving.drain(Duration::from_millis(200)).await;
    let (status, headers, body) = asked?;
    let works = (200..300).contains(&status);
    let failure = (!works).then(|| format!("{host} answers {status} to {method} {path}: {body}"));
    let told = scopes_header.filter(|_| works).and_then(|name| headers.get(name)?.to_str().ok().map(str::to_owned));
    let scopes = told.map(|told| {
        let words = told.split(',').map(|word| word.trim().chars().take(SCOPE_CHARS_MAX).collect::<String>());
        words.filter(|word| !word.is_empty()).take(SCOPES_MAX).collect()
    });
    Ok(Some(Tested { status, failure, scopes }))
}

async fn ask(
    proxy: &str,
    bundle: &str,
    host: &str,
    (method, path, form): (&str, &str, Option<&str>),
) -> anyhow::Result<Answered> {
    let mut sender = client::connect(proxy, bundle, host).await?;
    let request = Request::builder().method(method).uri(path).header(header::HOST, host);
    let request = match form {
        Some(_) => request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
        None => request,
    };
    let body = Bytes::from(form.unwrap_or_default().to_owned());
    // Whoever asks how it is does not wait for an upstream that puts us off.
    let request = request.header(header::USER_AGENT, "valetkey").header("prefer", "wait=1").body(Full::new(body))?;
    let response = sender.send_request(request).await.with_context(|| format!("{host} broke off"))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, headers, String::from_utf8_lossy(&body).chars().take(300).collect()))
}

/// The user's upstreams, and one permission: to read with this credential.
fn config_for(sources: &Sources, name: &str, service: &str) -> anyhow::Result<String> {
    let (document, _) = sources.document()?;
    let mut text = format!(
        "version: 1\ncredentials: {{ {name}: {{ service: {service}, inject: always }} }}\nagents:\n  {AGENT}:\n    permissions: [{{ service: {service}, credential: {name}, actions: [read], resources: [\"*\"] }}]\n"
    );
    let mut hosts = BTreeMap::new();
    for (host, upstream) in &document.upstreams {
        let ca = upstream.ca.as_ref().map(|ca| format!(", ca: {}", json!(ca.value)));
        hosts
            .insert(&host.value, format!("{{ address: {}{} }}", json!(upstream.address.value), ca.unwrap_or_default()));
    }
    if !hosts.is_empty() {
        text.push_str("upstreams:\n");
    }
    for (host, entry) in hosts {
        writeln!(text, "  {}: {entry}", json!(host))?;
    }
    Ok(text)
}
