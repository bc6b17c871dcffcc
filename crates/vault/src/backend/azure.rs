//! `azure-kv:NAME[?version=V][#FIELD]`: Azure Key Vault (REST 7.4, `GET /secrets/NAME/VERSION`). We log in as an application, by its secret (RFC 6749 4.4; Microsoft
//! identity platform, "client credentials flow").
#![expect(clippy::disallowed_methods, reason = "an application's secret goes to who gives tokens")]

use model::Timestamp;
use serde_json::Value;

use super::bearer::{Bearer, LogsIn, Token};
use super::pick::{Tree, message_of, of_value};
use super::{Backend, BackendError, Fetched, Local, Wanted, without_newline};
use crate::far::{Client, Reply, encoded};
use crate::instance::{LogIn, Site};
use crate::issue::http::Form;
use crate::reference::Spot;
use crate::{Pending, Scheme};

/// A name that nobody has.
const NOBODY: &str = "valetkey-asks-whether-it-is-known";

pub(super) struct Azure {
    client: Client,
    login: LogIn,
    local: Local,
    bearer: Bearer,
}

impl Azure {
    pub fn new(site: &Site, client: Client, local: Local) -> Self {
        Self { client, login: site.login.clone(), local, bearer: Bearer::default() }
    }

    async fn token(&self, now: Timestamp) -> Result<Token, BackendError> {
        let LogIn::AzureClient { tenant, client_id, secret } = &self.login else {
            return Err(malformed("nothing says how to log in to Azure; write `azure_client`"));
        };
        let secret = self.local.secret(secret, now).await?;
        let mut form = Form::new();
        form.add("grant_type", b"client_credentials");
        form.add("client_id", client_id.as_bytes());
        form.add("scope", b"https://vault.azure.net/.default");
        form.add("client_secret", without_newline(secret.expose()));
        let at = format!("https://login.microsoftonline.com/{}/oauth2/v2.0/token", encoded(tenant));
        self.local.token(&at, form, now).await
    }

    async fn ask(&self, name: &str, version: &str, now: Timestamp) -> Result<Reply, BackendError> {
        let target = format!("/secrets/{}/{}?api-version=7.4", encoded(name), encoded(version));
        self.bearer.ask((&self.client, &target), self, now).await
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let spot = Spot::read(Scheme::AzureKv, wanted.reference.rest()).map_err(malformed)?;
        let Some(name) = spot.segments.first() else { return Err(malformed("it is written `azure-kv:NAME`")) };
        let reply = self.ask(name, spot.version.unwrap_or_default(), wanted.now).await?;
        if reply.status != 200 {
            return Err(refused(&reply, name));
        }
        read(&reply.body, spot.field).map_err(|why| BackendError::Missing { what: format!("`{name}`: {why}") })
    }
}

impl LogsIn for Azure {
    fn log_in(&self, now: Timestamp) -> Pending<'_, Result<Token, BackendError>> {
        Box::pin(self.token(now))
    }
}

fn malformed(what: &str) -> BackendError {
    BackendError::Malformed { what: what.to_owned() }
}

/// The value of an answer.
pub(super) fn read(body: &[u8], field: Option<&str>) -> Result<Fetched, String> {
    let tree: Tree = serde_json::from_slice(body).map_err(|_| "Azure does not answer as it does".to_owned())?;
    if tree.0.pointer("/attributes/enabled").and_then(Value::as_bool) == Some(false) {
        return Err("it is disabled".to_owned());
    }
    let value = tree.0.get("value").and_then(Value::as_str).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| "there is nothing".to_owned())?;
    Ok(Fetched::plain(of_value(value.as_bytes(), field)?))
}

fn refused(reply: &Reply, name: &str) -> BackendError {
    let told = message_of(&reply.body);
    match reply.status {
        401 => BackendError::Forbidden { what: format!("Azure does not take our token{told}") },
        403 => BackendError::Forbidden {
            what: format!(
                "Azure does not give `{name}` to us{told}; give our application the role `Key Vault Secrets User`"
            ),
        },
        404 => BackendError::Missing {
            what: format!("Azure has no `{name}` in this vault, or not this version of it{told}"),
        },
        429 | 500 => BackendError::Busy { what: format!("Azure answers {}{told}", reply.status) },
        501..=599 => BackendError::Away { what: format!("Azure answers {}{told}", reply.status) },
        status => BackendError::Malformed { what: format!("Azure answers {status}{told}") },
    }
}

impl Backend for Azure {
    fn scheme(&self) -> Scheme {
        Scheme::AzureKv
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let reply = self.ask(NOBODY, "", now).await?;
            match reply.status {
                200 | 403 | 404 => Ok(()),
                _ => Err(refused(&reply, NOBODY)),
            }
        })
    }
}
