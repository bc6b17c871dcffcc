//! The issuers of a configuration, as the vault asks them: what they are asked for, the road on which, and what each agent may be issued.

mod vendors;

use std::sync::Arc;

use model::Tenant;
use model::canonical::{Origin, Scheme, parse_base};
use model::vocabulary::Vocabulary;
use model::{AgentName, CredentialName};
use policy::document::issue::{Authentication, AwsRole, AwsSource, Grant, Issue, OAuth2};
use policy::document::{At, CredentialEntry, Document, Receiver, Words};
use proxy::net::address::Own;
use proxy::net::tls::Trust;
use vault::Reference;
use vault::issue::{self as vault_issue, Endpoint, Issuing, Narrowings};
use vault::road::Road;

use super::credential_test::AGENT as TESTER;
use super::plan::Plan;
use super::roads::{By, Dialled};
use crate::config::Sources;

pub use vendors::{check_of, notes};

/// What a credential says of its issuer.
pub struct Issued {
    /// Who it is.
    pub by: Arc<Issuing>,
    /// The kind of what goes on requests.
    pub kind: &'static str,
}

/// The issuer of a credential, if it has one.
///
/// # Errors
/// A URL or a reference that cannot be used.
pub fn of(issue: &Issue, sources: &Sources) -> anyhow::Result<Option<Issued>> {
    let Some(chosen) = issue.chosen() else { return Ok(None) };
    let by = if let Some(written) = &issue.oauth2 {
        let settings = oauth2(&written.value, sources)?;
        Issuing::new(settings.clone(), Box::new(settings))
    } else if let Some(settings) = &issue.github_app {
        vendors::github_app(&settings.value)?
    } else if let Some(settings) = &issue.google {
        vendors::google(&settings.value)?
    } else if let Some(settings) = &issue.azure {
        vendors::azure(&settings.value)?
    } else if let Some(settings) = &issue.aws_role {
        aws_role(&settings.value)?
    } else {
        return Ok(None);
    };
    Ok(Some(Issued { by, kind: chosen.issues }))
}

/// A token endpoint, as the vault asks it.
///
/// # Errors
/// A URL or a reference that cannot be used.
pub fn oauth2(written: &OAuth2, sources: &Sources) -> anyhow::Result<vault_issue::OAuth2> {
    let secret = written.client_secret.as_ref().map(|from| local(from, sources)).transpose()?;
    let grant = match written.grant.map(|grant| grant.value).unwrap_or_default() {
        Grant::ClientCredentials => vault_issue::OAuth2Grant::ClientCredentials,
        Grant::RefreshToken => vault_issue::OAuth2Grant::RefreshToken,
        Grant::TokenExchange => vault_issue::OAuth2Grant::TokenExchange,
    };
    let has_secret = secret.is_some() || grant == vault_issue::OAuth2Grant::ClientCredentials;
    let authentication = match written.authentication.map(|at| at.value) {
        Some(Authentication::Basic) => vault_issue::Authentication::Basic,
        Some(Authentication::Post) => vault_issue::Authentication::Post,
        Some(Authentication::PrivateKeyJwt) => vault_issue::Authentication::PrivateKeyJwt,
        None if has_secret => vault_issue::Authentication::Basic,
        Some(Authentication::None) | None => vault_issue::Authentication::None,
    };
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let settings = vault_issue::OAuth2 {
        token: endpoint(&written.token_url)?,
        client_id: written.client_id.value.clone(),
        authentication,
        client_secret: secret,
        key_id: text(&written.key_id),
        grant,
        scope: words(&written.scopes),
        audience: text(&written.audience),
        resource: text(&written.resource),
        subject_token_type: text(&written.subject_token_type),
        authorize: written.authorize_url.as_ref().map(endpoint).transpose()?,
        device: written.device_url.as_ref().map(endpoint).transpose()?,
    };
    Ok(settings)
}

fn aws_role(written: &AwsRole) -> anyhow::Result<Arc<Issuing>> {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let region = written.region.value.clone();
    let origin = parse_base(&format!("https://{}", vault_issue::AwsRole::host(&region))).map_err(anyhow::Error::msg)?;
    let settings = vault_issue::AwsRole {
        sts: Endpoint { origin, target: "/".to_owned() },
        region,
        role: written.role.value.clone(),
        seconds: written.duration.as_ref().map(|span| span.value.0),
        external_id: text(&written.external_id),
        source_identity: text(&written.source_identity),
        source: match written.source.map(|source| source.value).unwrap_or_default() {
            AwsSource::Stored => vault_issue::AwsSource::Stored,
            AwsSource::WebIdentity => vault_issue::AwsSource::WebIdentity,
        },
        narrowed: is_narrowed(written),
    };
    Ok(Issuing::new(settings.clone(), Box::new(settings)))
}

fn is_narrowed(role: &AwsRole) -> bool {
    role.session_policy.is_none_or(|is| is.value)
}

fn words(all: &Words) -> Option<String> {
    let all: Vec<&str> = all.iter().map(|at| at.value.as_str()).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

fn local(from: &At<String>, sources: &Sources) -> anyhow::Result<Reference> {
    Ok(Reference::parse(&from.value)?.beside(sources.folder())?)
}

fn endpoint(url: &At<String>) -> anyhow::Result<Endpoint> {
    let Receiver { host, port, target } = Receiver::parse(&url.value).map_err(anyhow::Error::msg)?;
    Ok(Endpoint { origin: Origin { scheme: Scheme::Https, host, port }, target })
}

/// How the issuers of a plan are reached.
///
/// # Errors
/// None in practice: the name is a constant.
pub fn way(plan: &Plan) -> anyhow::Result<Arc<dyn Road>> {
    let dialer = plan.dialer(&Trust::platform(), &Own::new(Vec::new()));
    Ok(Arc::new(Dialled::new(By::Own(Arc::new(dialer)))?))
}

/// What each agent may be issued, where an issuer can issue less than the whole.
pub fn narrowings(document: &Document, words: &Vocabulary) -> Narrowings {
    let mut all = Narrowings::new();
    for (name, entry) in &document.credentials {
        let Some(narrow) = entry.issue.as_ref().and_then(|issue| narrowing_of(&issue.value, entry)) else { continue };
        let Ok(credential) = CredentialName::new(&name.value) else { continue };
        // Whoever tests a credential asks who it is, and needs no leave for that.
        if let (true, Ok(tester)) =
            (entry.issue.as_ref().is_some_and(|it| it.value.aws_role.is_some()), AgentName::new(TESTER))
        {
            all.insert((Tenant::local(), tester, credential.clone()), Ok(vault_issue::AwsRole::NOTHING.into()));
        }
        for (agent, _) in &document.agents {
            let Ok(agent) = AgentName::new(&agent.value) else { continue };
            let narrowed = if of_everybody(document, entry) {
                Err("permissions of agent `*` cannot be told to its issuer; name the agents, or have the whole issued (`narrow: false`, `session_policy: false`)".to_owned())
            } else {
                narrow(document, words, agent.as_str(), &credential)
            };
            let narrowed = narrowed.map(Arc::from).map_err(Arc::from);
            all.insert((Tenant::local(), agent, credential.clone()), narrowed);
        }
    }
    all
}

/// Whether every agent may use a credential's service: what is told of one agent would be too little.
fn of_everybody(document: &Document, entry: &CredentialEntry) -> bool {
    let everybody = document.agents.iter().find(|(name, _)| name.value == "*").map(|(_, agent)| agent);
    let of = |service: &At<String>| {
        service.value == "*" || entry.service.as_ref().is_some_and(|own| own.value == service.value)
    };
    everybody.is_some_and(|agent| agent.permissions.iter().any(|at| at.value.service.as_ref().is_none_or(of)))
}

/// What an agent may do with a credential, in an issuer's own words, or why it has none.
type Narrow = fn(&Document, &Vocabulary, &str, &CredentialName) -> Result<String, String>;

/// How an issuer is told what an agent may do; none where it issues the whole alone.
fn narrowing_of(issue: &Issue, entry: &CredentialEntry) -> Option<Narrow> {
    if let Some(app) = &issue.github_app {
        return vendors::is_narrowed(&app.value, entry).then_some(vendors::installation as Narrow);
    }
    let role = issue.aws_role.as_ref().filter(|role| is_narrowed(&role.value));
    role.map(|_| session_policy as Narrow)
}

fn session_policy(
    document: &Document,
    words: &Vocabulary,
    agent: &str,
    credential: &CredentialName,
) -> Result<String, String> {
    policy::session_policy(document, words, agent, credential).map_err(|why| why.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What everybody may do cannot be told of one: then nothing is issued, rather than the whole.
    #[test]
    fn permissions_of_everybody_are_no_narrowing() {
        let text = |rest: &str| {
            format!(
                "version: 1\ncredentials:\n  app: {{ service: github, issue: {{ github_app: {{ app_id: 1, owner: o }} }} }}\nagents:\n  bot:\n    \
                 permissions: [{{ service: github, credential: app, actions: [issues/get], resources: [\"repo:o/r\"] }}]\n{rest}"
            )
        };
        let everybody = "  \"*\":\n    permissions: [{ service: github, credential: app, actions: [pulls/get], resources: [\"repo:o/x\"] }]\n";
        let words = catalog::Catalog::builtin().vocabulary();
        for (rest, is_told) in [("", true), (everybody, false)] {
            let (document, _) = Document::parse(&text(rest), "valetkey.yaml").expect("a configuration");
            let all = narrowings(&document, &words);
            assert_eq!(all.len(), 1, "{rest}");
            assert!(all.values().all(|narrowed| narrowed.is_ok() == is_told), "{rest} {all:?}");
        }
    }
}
