//! `credential login`: a person logs in, and the tokens go into the built-in vault without passing through anybody's hands.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use model::{CredentialName, ServiceName};
use policy::Upkeep;
use policy::document::issue::Grant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vault::issue::{CodeLogin, DeviceLogin, OAuth2, read_redirect};
use vault::{Added, NewCredential, Tokens};
use zeroize::Zeroizing;

use super::issuing;
use super::open::{self, Opened};
use super::plan::{LOGIN, Plan};
use super::way_out::way_out;
use crate::command::usage;
use crate::config::{Ambient, Sources};

/// How long a person has at a browser.
const PATIENCE: Duration = Duration::from_mins(10);
/// Octets of a browser's question, and how long it may take to come.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEAD_PATIENCE: Duration = Duration::from_secs(5);
/// Where a browser comes back to (RFC 8252 7.3).
const CALLBACK: &str = "/callback";

/// A credential into which somebody logs in.
pub struct LogIn {
    opened: Arc<Opened>,
    settings: OAuth2,
    name: CredentialName,
    service: Option<ServiceName>,
    inject: &'static str,
}

impl LogIn {
    /// Opens the home and the configuration that names it.
    ///
    /// # Errors
    /// There is no such credential, or nobody logs in to it.
    pub async fn open(ambient: &Ambient, config: Option<&Path>, name: &CredentialName) -> anyhow::Result<Self> {
        let opened = open::open(ambient).await?;
        let sources = Sources::find(ambient, config)?;
        let mut plan = Plan::make(&sources, &[])?;
        plan.way_out = way_out(ambient)?;
        let (document, _) = sources.document()?;
        let entry = document.credentials.get(name.as_str()).ok_or_else(|| {
            usage(format!("the configuration names no credential `{name}`; log-ins go into one that it names"))
        })?;
        let oauth2 = entry.issue.as_ref().and_then(|issue| issue.value.oauth2.as_ref());
        let logs_in = oauth2.filter(|at| at.value.grant.is_some_and(|grant| grant.value == Grant::RefreshToken));
        let oauth2 = logs_in.ok_or_else(|| {
            usage(format!(
                "nobody logs in to `{name}`: write `issue: {{ oauth2: {{ grant: refresh_token, .. }} }}` for it"
            ))
        })?;
        if let Some(from) = &entry.from {
            return Err(usage(format!(
                "the tokens of `{name}` come from `{}`; take `from` out, so that they are kept in the built-in vault",
                from.value
            )));
        }
        let held =
            plan.credentials.iter().find(|held| held.name == *name).context("the plan has no such credential")?;
        let (service, always) = (held.service.clone(), held.always);
        let settings = issuing::oauth2(&oauth2.value, &sources)?;
        opened.declare(&plan).await?;
        let inject = if always { "always" } else { "placeholder" };
        Ok(Self { opened, settings, name: name.clone(), service, inject })
    }

    /// By a browser on this machine, which is sent back to us; `show` is given what to open.
    ///
    /// # Errors
    /// Nobody said where people log in, the person or the server said no, or took too long.
    pub async fn by_browser(&self, port: u16, show: impl FnOnce(&str)) -> anyhow::Result<Tokens> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
            format!("cannot listen on 127.0.0.1:{port} for the browser; choose another with --port, or leave it out")
        })?;
        let redirect = format!("http://127.0.0.1:{}{CALLBACK}", listener.local_addr()?.port());
        let login = self.settings.code_login(&redirect, &*self.opened.random).ok_or_else(|| {
            usage(format!(
                "nothing says where people log in to `{}`: write `authorize_url`, or try --device",
                self.name
            ))
        })?;
        show(&login.url);
        let code = tokio::time::timeout(PATIENCE, answer(&listener, &login))
            .await
            .map_err(|_| anyhow::anyhow!("nobody logged in within {} minutes; try again", PATIENCE.as_secs() / 60))??;
        let tokens = self.opened.vault.finish_code_login(&self.settings, &login, &code).await;
        tokens.context("the code could not be exchanged")
    }

    /// By a code that the person types in elsewhere; `show` is given where, and what.
    ///
    /// # Errors
    /// Nobody said where a code is asked for, the person or the server said no, or took too long.
    pub async fn by_device(&self, show: impl FnOnce(&DeviceLogin)) -> anyhow::Result<Tokens> {
        let vault = &self.opened.vault;
        let login = vault.device_login(&self.settings).await.context("no code could be had")?;
        let mut login = login.ok_or_else(|| {
            usage(format!("nothing says where a device logs in to `{}`: write `device_url`", self.name))
        })?;
        show(&login);
        let limit = Duration::from_secs(login.expires_in);
        let looking = async {
            loop {
                tokio::time::sleep(Duration::from_secs(login.interval)).await;
                if let Some(tokens) = vault.look_at_device_login(&self.settings, &mut login).await? {
                    return Ok::<_, anyhow::Error>(tokens);
                }
            }
        };
        tokio::time::timeout(limit, looking)
            .await
            .map_err(|_| anyhow::anyhow!("nobody logged in in time; try again"))?
    }

    /// Keeps the tokens: a new version, or the first.
    ///
    /// # Errors
    /// They cannot be stored.
    pub async fn keep(&self, tokens: Tokens) -> anyhow::Result<Added> {
        let upkeep = Upkeep::of(self.opened.tenant.clone(), "credential login");
        let new = NewCredential {
            tenant: self.opened.tenant.clone(),
            name: self.name.clone(),
            service: self.service.clone(),
            kind: LOGIN.to_owned(),
            inject: self.inject.to_owned(),
        };
        let added = if self.opened.store.credentials().get(&new.tenant, &new.name).await?.is_some() {
            self.opened.vault.capture(&upkeep, &new, tokens).await?
        } else {
            self.opened.vault.add_log_in(&new, tokens).await?
        };
        Ok(added)
    }

    /// The service it is for.
    pub fn service(&self) -> Option<&ServiceName> {
        self.service.as_ref()
    }
}

/// Waits for the answer to our question; what else comes is told that it is not.
async fn answer(listener: &TcpListener, login: &CodeLogin) -> anyhow::Result<Zeroizing<String>> {
    loop {
        let (mut browser, _) = listener.accept().await?;
        let Ok(Some(target)) = tokio::time::timeout(HEAD_PATIENCE, target(&mut browser)).await else { continue };
        let read = match target.split(['?', '#']).next() {
            Some(CALLBACK) => read_redirect(&target, login),
            _ => Err("there is nothing here".to_owned()),
        };
        let ours = target.contains(&login.state);
        let words = match &read {
            Ok(_) => "You are logged in. This window can be closed.".to_owned(),
            Err(why) => format!("Not logged in: {}.", why.replace(['<', '>', '&'], "")),
        };
        let _ = tell(&mut browser, read.is_ok(), &words).await;
        match read {
            Ok(code) => return Ok(code),
            Err(why) if ours => bail!("nobody was logged in: {why}"),
            Err(_) => {}
        }
    }
}

/// The target of a browser's question.
async fn target(browser: &mut TcpStream) -> Option<String> {
    let mut head = Zeroizing::new(Vec::with_capacity(HEAD_BYTES_MAX));
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES_MAX || browser.read_buf(&mut *head).await.ok()? == 0 {
            return None;
        }
    }
    let text = std::str::from_utf8(&head).ok()?;
    let mut words = text.lines().next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    (method == "GET").then(|| target.to_owned())
}

async fn tell(browser: &mut TcpStream, good: bool, words: &str) -> std::io::Result<()> {
    let body = format!("<!doctype html><meta charset=utf-8><title>Valetkey</title><p>{words}</p>\n");
    let status = if good { "200 OK" } else { "400 Bad Request" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n",
        body.len()
    );
    browser.write_all(head.as_bytes()).await?;
    browser.write_all(body.as_bytes()).await?;
    browser.shutdown().await
}
