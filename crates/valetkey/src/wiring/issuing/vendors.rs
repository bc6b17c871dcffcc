//! The issuers of GitHub, Google and Microsoft, as the vault asks them.

use std::sync::Arc;

use anyhow::Context;
use model::CredentialName;
use model::vocabulary::Vocabulary;
use policy::document::issue::{AZURE_AUTHORITY, Azure, GITHUB_API, GOOGLE_TOKENS, GithubApp, Google};
use policy::document::{At, CredentialEntry, Document};
use policy::{Installation, NoInstallation};
use vault::issue::{self as vault_issue, Installed, Issuing};

use super::{endpoint, words};

pub(super) fn github_app(written: &GithubApp) -> anyhow::Result<Arc<Issuing>> {
    let number = written.app_id.map(|id| id.value.to_string());
    let app = number.or_else(|| written.client_id.as_ref().map(|id| id.value.clone()));
    let id = written.installation_id.map(|id| Installed::Id(id.value));
    let installed = id.or_else(|| written.owner.as_ref().map(|owner| Installed::Owner(owner.value.clone())));
    let settings = vault_issue::GithubApp {
        api: endpoint(&or(written.api.as_ref(), GITHUB_API))?,
        app: app.context("a GitHub App without its id")?,
        installed: installed.context("a GitHub App without its installation")?,
        narrow: is_narrow(written),
    };
    Ok(Issuing::with_ender(settings.clone(), Box::new(settings.clone()), Some(Box::new(settings))))
}

pub(super) fn is_narrow(written: &GithubApp) -> bool {
    written.narrow.is_none_or(|narrow| narrow.value)
}

/// Whether its tokens are made for each agent: what an action of another service needs is not known.
pub(super) fn is_narrowed(written: &GithubApp, entry: &CredentialEntry) -> bool {
    is_narrow(written) && entry.service.as_ref().is_some_and(|service| service.value == "github")
}

pub(super) fn google(written: &Google) -> anyhow::Result<Arc<Issuing>> {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let settings = vault_issue::Google {
        token: endpoint(&or(written.token_uri.as_ref(), GOOGLE_TOKENS))?,
        named: written.token_uri.is_some(),
        scope: words(&written.scopes),
        subject: text(&written.subject),
        audience: text(&written.audience),
    };
    Ok(Issuing::new(settings.clone(), Box::new(settings)))
}

pub(super) fn azure(written: &Azure) -> anyhow::Result<Arc<Issuing>> {
    let authority = or(written.authority.as_ref(), AZURE_AUTHORITY);
    let url = format!("{}/{}/oauth2/v2.0/token", authority.value.trim_end_matches('/'), written.tenant.value);
    let oauth2 = vault_issue::OAuth2 {
        token: endpoint(&authority.with(url))?,
        client_id: written.client_id.value.clone(),
        authentication: vault_issue::Authentication::Post,
        client_secret: None,
        key_id: None,
        grant: vault_issue::OAuth2Grant::ClientCredentials,
        scope: Some(written.scope.value.clone()),
        audience: None,
        resource: None,
        subject_token_type: None,
        authorize: None,
        device: None,
    };
    let certificate = written.certificate.is_some_and(|certificate| certificate.value);
    let settings = vault_issue::Azure { oauth2, certificate };
    Ok(Issuing::new(settings.clone(), Box::new(settings)))
}

/// The harmless request for what an issuer issues, where its service's own is for others: an installation is nobody who logged in.
pub fn check_of(issuing: &Issuing) -> Option<(&'static str, &'static str)> {
    (issuing.name() == "github_app").then_some(("GET", "/installation/repositories?per_page=1"))
}

fn or(written: Option<&At<String>>, usual: &str) -> At<String> {
    written.cloned().unwrap_or_else(|| At::nowhere(usual.to_owned()))
}

/// What an agent may do, for a GitHub App.
pub(super) fn installation(
    document: &Document,
    words: &Vocabulary,
    agent: &str,
    credential: &CredentialName,
) -> Result<String, String> {
    let made = policy::installation(document, words, agent, credential);
    made.map(|made| made.text).map_err(|why| why.to_string())
}

/// What somebody should know of what agents are issued: where that is more than their permissions need, and where it is nothing.
pub fn notes(document: &Document, words: &Vocabulary) -> Vec<String> {
    let mut all = Vec::new();
    for (name, entry) in &document.credentials {
        let app = entry.issue.as_ref().and_then(|issue| issue.value.github_app.as_ref());
        if app.is_some_and(|app| is_narrow(&app.value) && !is_narrowed(&app.value, entry)) {
            all.push(format!(
                "the tokens of `{}` have all of the App's repositories and permissions: what its service's actions need is known of `github` alone",
                name.value
            ));
        }
        let is_narrow = app.is_some_and(|app| is_narrowed(&app.value, entry));
        let Some(credential) = CredentialName::new(&name.value).ok().filter(|_| is_narrow) else { continue };
        for (agent, _) in &document.agents {
            let agent = &agent.value;
            match policy::installation(document, words, agent, &credential) {
                Ok(Installation { wide, .. }) => {
                    all.extend(wide.iter().map(|why| format!("the tokens of `{credential}` for `{agent}` have {why}")));
                }
                Err(NoInstallation::Nothing) => {}
                Err(why) => all.push(format!("`{agent}` gets no token of `{credential}`: {why}")),
            }
        }
    }
    all
}
