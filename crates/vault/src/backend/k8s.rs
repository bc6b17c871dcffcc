//! `k8s:NAMESPACE/NAME#KEY`: a Secret of Kubernetes, by its API (core/v1, `GET /api/v1/namespaces/NS/secrets/NAME`), with the token of a service
//! account.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header;
use model::Timestamp;
use secret::Secret;
use serde_json::Value;
use zeroize::Zeroizing;

use super::pick::{Tree, message};
use super::{Backend, BackendError, Fetched, Local, Wanted, without_newline};
use crate::far::{Ask, Client, Reply, encoded};
use crate::instance::{LogIn, Site};
use crate::reference::Spot;
use crate::{Pending, Scheme};

pub(super) struct K8s {
    client: Client,
    login: LogIn,
    local: Local,
}

impl K8s {
    pub fn new(site: &Site, client: Client, local: Local) -> Self {
        Self { client, login: site.login.clone(), local }
    }

    async fn ask(&self, target: String, now: Timestamp) -> Result<Reply, BackendError> {
        // Read each time: the kubelet replaces it every hour.
        let value = self.local.bearer(&self.login, "Kubernetes", now).await?;
        self.client.ask(&Ask::get(target).with(header::AUTHORIZATION, value)).await
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let malformed = |what: String| BackendError::Malformed { what };
        let spot = Spot::read(Scheme::K8s, wanted.reference.rest()).map_err(|why| malformed(why.to_owned()))?;
        let (Some(namespace), Some(name), Some(key)) = (spot.segments.first(), spot.segments.get(1), spot.field) else {
            return Err(malformed("it is written `k8s:NAMESPACE/NAME#KEY`".to_owned()));
        };
        let target = format!("/api/v1/namespaces/{}/secrets/{}", encoded(namespace), encoded(name));
        let reply = self.ask(target, wanted.now).await?;
        let what = format!("secret `{name}` of namespace `{namespace}`");
        if reply.status != 200 {
            return Err(refused(&reply, &what));
        }
        read(&reply.body, key, &what).map(Fetched::plain)
    }
}

/// One key of a Secret.
pub(super) fn read(body: &[u8], key: &str, what: &str) -> Result<Secret, BackendError> {
    let malformed = |why: &str| BackendError::Malformed { what: format!("{what}: {why}") };
    let tree: Tree =
        serde_json::from_slice(body).map_err(|_| malformed("the API does not answer as Kubernetes does"))?;
    if tree.0.get("kind").and_then(Value::as_str) != Some("Secret") {
        return Err(malformed("the API answers with something else"));
    }
    let text = tree.0.get("data").and_then(|data| data.get(key)).and_then(Value::as_str);
    let text = text.ok_or_else(|| BackendError::Missing { what: format!("{what} has no key `{key}`") })?;
    let value = STANDARD.decode(text).map(Zeroizing::new).map_err(|_| malformed("its value is no Base64"))?;
    Ok(Secret::new(without_newline(&value).to_vec()))
}

fn refused(reply: &Reply, what: &str) -> BackendError {
    let told = message(&reply.body);
    match reply.status {
        401 => BackendError::Forbidden { what: format!("Kubernetes does not take our token{told}") },
        403 => BackendError::Forbidden {
            what: format!(
                "Kubernetes does not give {what} to us{told}; bind a role with `get` on it to our service account"
            ),
        },
        404 => BackendError::Missing { what: format!("Kubernetes has no {what}{told}") },
        429 | 500 => BackendError::Busy { what: format!("Kubernetes answers {}{told}", reply.status) },
        501..=599 => BackendError::Away { what: format!("Kubernetes answers {}{told}", reply.status) },
        status => BackendError::Malformed { what: format!("Kubernetes answers {status}{told}") },
    }
}

impl Backend for K8s {
    fn scheme(&self) -> Scheme {
        Scheme::K8s
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let reply = self.ask("/version".to_owned(), now).await?;
            if reply.status == 200 { Ok(()) } else { Err(refused(&reply, "its version")) }
        })
    }
}
