//! The issuers of GitHub, Google and Microsoft: what a configuration says of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Checker, endpoint};
use crate::document::at::{At, Words};

/// A GitHub App: installation tokens for the App's private key, which is what is stored (kind `private-key`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubApp {
    /// The App's client id. This or its number is written.
    pub client_id: Option<At<String>>,
    /// The App's number.
    pub app_id: Option<At<u64>>,
    /// The number of its installation. This or its owner is written.
    pub installation_id: Option<At<u64>>,
    /// The organisation or user on which it is installed.
    pub owner: Option<At<String>>,
    /// Where the API is; `https://api.github.com` where nothing is written, `https://HOST/api/v3` for a server of one's own.
    pub api: Option<At<String>>,
    /// Each agent has a token of its own, for the repositories and permissions that its policy needs; true where nothing is written.
    pub narrow: Option<At<bool>>,
}

/// A service account of Google: its key file is what is stored (kind `gcp`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Google {
    /// Scopes of the access token: `https://www.googleapis.com/auth/..`.
    pub scopes: Words,
    /// The person for whom the account acts (domain-wide delegation).
    pub subject: Option<At<String>>,
    /// For whom an ID token is (Cloud Run, IAP), instead of an access token.
    pub audience: Option<At<String>>,
    /// The token endpoint; Google's where nothing is written. A key file that names another one is refused.
    pub token_uri: Option<At<String>>,
}

/// An application in Microsoft Entra: its secret is what is stored, or its private key and certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// The tenant: its id or one of its domains.
    pub tenant: At<String>,
    /// The application's (client) id.
    pub client_id: At<String>,
    /// What is asked for: `https://graph.microsoft.com/.default`.
    pub scope: At<String>,
    /// The PEM of a private key and its certificate is stored, rather than a secret.
    #[serde(default)]
    pub certificate: Option<At<bool>>,
    /// `https://login.microsoftonline.com` where nothing is written; another one for a national cloud.
    #[serde(default)]
    pub authority: Option<At<String>>,
}

/// Where GitHub's API is.
pub const GITHUB_API: &str = "https://api.github.com";
/// Where Google gives tokens.
pub const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";
/// Where Entra is.
pub const AZURE_AUTHORITY: &str = "https://login.microsoftonline.com";

pub(super) fn github_app(app: &GithubApp, word: &At<String>, checker: &mut Checker<'_>) {
    if app.app_id.is_some() == app.client_id.is_some() {
        checker.say(word, "a GitHub App is named by `client_id` or by `app_id`: write one of them");
    }
    if app.installation_id.is_some() == app.owner.is_some() {
        checker.say(word, "an installation is named by `installation_id` or by `owner`: write one of them");
    }
    if let Some(owner) = app.owner.as_ref().filter(|owner| !is_segment(&owner.value)) {
        checker.say(owner, "an owner is one name, as it stands in the URL of a repository");
    }
    api(app.api.as_ref(), checker);
}

pub(super) fn google(google: &Google, word: &At<String>, checker: &mut Checker<'_>) {
    let has_scopes = google.scopes.iter().next().is_some();
    if has_scopes == google.audience.is_some() {
        checker.say(word, "an access token has `scopes`, an ID token an `audience`: write one of them");
    }
    if let Some(url) = &google.token_uri {
        endpoint(url, checker);
    }
}

pub(super) fn azure(azure: &Azure, checker: &mut Checker<'_>) {
    if !is_segment(&azure.tenant.value) {
        checker.say(&azure.tenant, "a tenant is its id or one of its domains");
    }
    if azure.scope.value.split_whitespace().count() != 1 || !azure.scope.value.ends_with("/.default") {
        checker.say(
            &azure.scope,
            "an application asks for one resource as a whole: `https://graph.microsoft.com/.default`",
        );
    }
    api(azure.authority.as_ref(), checker);
}

/// A URL under which others lie.
fn api(url: Option<&At<String>>, checker: &mut Checker<'_>) {
    let Some(url) = url else { return };
    endpoint(url, checker);
    if url.value.contains('?') {
        checker.say(url, "other paths are put behind this URL, so it has no query");
    }
}

fn is_segment(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(plain) && !text.chars().all(|letter| letter == '.')
}

#[cfg(test)]
mod tests {
    use crate::Document;

    #[test]
    fn what_is_wrong_with_an_issuer_of_a_vendor() {
        let issue = |issuer: &str| format!("credentials:\n  c: {{ service: github, issue: {{ {issuer} }} }}\n");
        let azure =
            |rest: &str| issue(&format!("azure: {{ tenant: t, client_id: c, scope: \"https://x/.default\"{rest} }}"));
        for (text, says) in [
            (issue("github_app: { app_id: 1, installation_id: 2 }"), ""),
            (
                issue("github_app: { client_id: Iv1.x, owner: acme, narrow: false, api: \"https://ghe.corp/api/v3\" }"),
                "",
            ),
            (issue("github_app: { app_id: 1, client_id: x, owner: acme }"), "write one of them"),
            (issue("github_app: { owner: acme }"), "write one of them"),
            (issue("github_app: { app_id: 1 }"), "`installation_id` or by `owner`"),
            (issue("github_app: { app_id: 1, owner: \"acme/x\" }"), "an owner is one name"),
            (issue("github_app: { app_id: 1, owner: \"..\" }"), "an owner is one name"),
            (issue("github_app: { app_id: 1, owner: acme, api: \"http://ghe.corp\" }"), "begins with `https://`"),
            (issue("github_app: { app_id: 1, owner: acme, api: \"https://ghe.corp?x\" }"), "it has no query"),
            (issue("google: { scopes: [a], subject: ada@corp }"), ""),
            (issue("google: { audience: \"https://run.app\" }"), ""),
            (issue("google: {}"), "write one of them"),
            (issue("google: { scopes: [a], audience: b }"), "write one of them"),
            (issue("google: { scopes: [a], token_uri: \"http://x/t\" }"), "begins with `https://`"),
            (azure(""), ""),
            (azure(", certificate: true, authority: \"https://login.microsoftonline.us\""), ""),
            (azure("").replace("tenant: t", "tenant: \"a/b\""), "a tenant is"),
            (azure("").replace("/.default", "/User.Read"), "one resource as a whole"),
            (azure(", authority: \"http://x\""), "begins with `https://`"),
            (issue("google: { scopes: [a] }, github_app: { app_id: 1, owner: a }"), "names one issuer"),
            (issue("google: { scopes: [a] }").replace("issue:", "kind: gcp, issue:"), ""),
            (issue("google: { scopes: [a] }").replace("issue:", "kind: azure, issue:"), "take `kind` out"),
            (issue("github_app: { app_id: 1, owner: a }").replace("issue:", "kind: github-app, issue:"), ""),
            ("credentials:\n  c: { service: github, kind: private-key }\n".to_owned(), "goes on no request"),
        ] {
            let faults = Document::parse(&text, "valetkey.yaml").err().unwrap_or_default();
            let found = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert_eq!(says.is_empty(), found.is_empty(), "{text}\n{found}");
            assert!(found.contains(says), "{text}\n{found}");
        }
    }
}
