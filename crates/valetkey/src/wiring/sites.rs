//! The secret managers of a configuration, as the vault asks them: where they are, who signs them, how we log in.

use std::sync::Arc;

use anyhow::Context;
use model::AgentName;
use model::canonical::parse_base;
use policy::document::{At, Backend, Document, JwtLogin};
use proxy::net::dial::Speaks;
use proxy::net::tls::Trust;
use rustls::ClientConfig;
use vault::{LogIn, Reference, Site};

use crate::config::{POD_TOKEN, Sources};

/// Whose connections these are: no agent's.
const PARTY: &str = "backends";
/// Where a pod of Kubernetes finds what it needs (kubernetes.io/docs: "Accessing the Kubernetes API from a Pod").
const POD_ADDRESS: &str = "https://kubernetes.default.svc";
/// Secret Manager of Google, wherever a project is.
const GOOGLE_ADDRESS: &str = "https://secretmanager.googleapis.com";
const POD_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// What checks their certificates: as for upstreams, the platform's roots or the authorities of a file alone, HTTP/1.1.
///
/// # Errors
/// The certificates cannot be used.
pub fn tls(ca: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    let trust = match ca {
        Some(pem) => Trust::pem(pem).map_err(|error| error.to_string())?,
        None => Trust::platform(),
    };
    let party = AgentName::new(PARTY).map_err(|error| error.to_string())?;
    trust.config(&party, None, Speaks::Upgrade).map_err(|error| error.to_string())
}

/// All of them.
///
/// # Errors
/// An address or a reference that cannot be used, a file that cannot be read.
pub fn of(document: &Document, sources: &Sources) -> anyhow::Result<Vec<Site>> {
    let mut all = Vec::new();
    for (word, backend) in &document.backends {
        let site = one(&word.value, backend, sources);
        all.push(site.with_context(|| format!("back end `{}`", word.value))?);
    }
    Ok(all)
}

fn one(word: &str, backend: &Backend, sources: &Sources) -> anyhow::Result<Site> {
    let nowhere = backend.address.is_empty();
    let of_region = backend.region.as_ref().filter(|_| nowhere).map(|region| {
        let service = if word.starts_with("aws-ps") { "ssm" } else { "secretsmanager" };
        format!("https://{service}.{}.amazonaws.com", region.value)
    });
    let of_region = of_region.or_else(|| (nowhere && word.starts_with("gcp-sm")).then(|| GOOGLE_ADDRESS.to_owned()));
    let in_pod = nowhere && of_region.is_none();
    let addresses = backend.address.iter().map(|address| address.value.as_str());
    let addresses: Vec<&str> = match &of_region {
        Some(address) => vec![address],
        None if in_pod => vec![POD_ADDRESS],
        None => addresses.collect(),
    };
    let origins =
        addresses.into_iter().map(|text| parse_base(text).map_err(anyhow::Error::msg)).collect::<Result<_, _>>()?;
    let ca = match (&backend.ca, in_pod) {
        (Some(path), _) => Some(sources.read_beside(&path.value)?),
        (None, true) => Some(sources.read_beside(POD_CA)?),
        (None, false) => None,
    };
    Ok(Site {
        word: word.to_owned(),
        origins,
        ca,
        namespace: backend.namespace.as_ref().map(|namespace| namespace.value.clone()),
        kv: backend.kv.map(|kv| if kv.value == 1 { 1 } else { 2 }),
        login: login(backend, sources)?,
    })
}

fn login(backend: &Backend, sources: &Sources) -> anyhow::Result<LogIn> {
    let read = |text: &str| Ok::<_, anyhow::Error>(Reference::parse(text)?.beside(sources.folder())?);
    let mount =
        |at: &Option<At<String>>, usual: &str| at.as_ref().map_or_else(|| usual.to_owned(), |at| at.value.clone());
    let jwt = |login: &JwtLogin, usual: &str| {
        let token = login.token.as_ref().map_or(POD_TOKEN, |token| token.value.as_str());
        Ok::<_, anyhow::Error>(LogIn::Jwt {
            mount: mount(&login.mount, usual),
            role: login.role.value.clone(),
            jwt: read(token)?,
        })
    };
    if let (Some(key), Some(region)) = (&backend.aws_key, &backend.region) {
        let key = &key.value;
        return Ok(LogIn::AwsKey {
            region: region.value.clone(),
            key_id: read(&key.key_id.value)?,
            secret: read(&key.secret.value)?,
            session_token: key.session_token.as_ref().map(|token| read(&token.value)).transpose()?,
        });
    }
    if let Some(region) = &backend.region {
        return Ok(LogIn::AwsAmbient { region: region.value.clone() });
    }
    if let Some(key) = &backend.google_key {
        return Ok(LogIn::GoogleKey(read(&key.value)?));
    }
    if let Some(client) = &backend.azure_client {
        let client = &client.value;
        return Ok(LogIn::AzureClient {
            tenant: client.tenant.value.clone(),
            client_id: client.client_id.value.clone(),
            secret: read(&client.client_secret.value)?,
        });
    }
    if let Some(token) = &backend.token {
        return Ok(LogIn::Token(read(&token.value)?));
    }
    if let Some(approle) = &backend.approle {
        let approle = &approle.value;
        return Ok(LogIn::AppRole {
            mount: mount(&approle.mount, "approle"),
            role: approle.role_id.value.clone(),
            secret: read(&approle.secret_id.value)?,
        });
    }
    match (&backend.kubernetes, &backend.jwt) {
        (Some(login), _) => jwt(&login.value, "kubernetes"),
        (None, Some(login)) => jwt(&login.value, "jwt"),
        // In a pod it is the service account's.
        (None, None) => Ok(LogIn::Token(read(POD_TOKEN)?)),
    }
}
