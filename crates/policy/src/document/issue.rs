//! `issue:`: what is stored stays with us, and something short-lived that is had for it goes on requests. One of these a credential.
//!
//! To add an issuer: its settings here, a line in [`Issue::chosen`], and its file in `vault/issue`.

mod vendors;

use schemars::JsonSchema;
use serde::Deserialize;

use super::at::{At, Words};
use super::backend::is_local;
use super::check::{Checker, pasted};
use super::schema::CredentialEntry;
use super::value::Span;
use super::webhook::Receiver;

pub use vendors::{AZURE_AUTHORITY, Azure, GITHUB_API, GOOGLE_TOKENS, GithubApp, Google};

/// Kinds of credentials that exist only as something that is issued.
const KINDS: [&str; 3] = ["github-app", "gcp", "azure"];

/// The kind of what issuers alone are asked with.
const PRIVATE_KEY: &str = "private-key";

/// Whether a kind is known here, where something else is said of it.
pub(super) fn is_kind(word: &str) -> bool {
    KINDS.contains(&word) || word == PRIVATE_KEY
}

/// Who issues what is used for what is stored: exactly one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Issue {
    /// A token endpoint of OAuth 2.0.
    pub oauth2: Option<At<OAuth2>>,
    /// A GitHub App.
    pub github_app: Option<At<GithubApp>>,
    /// A service account of Google.
    pub google: Option<At<Google>>,
    /// An application in Microsoft Entra.
    pub azure: Option<At<Azure>>,
    /// A role of AWS.
    pub aws_role: Option<At<AwsRole>>,
}

/// A token endpoint of OAuth 2.0. For `client_credentials` the client's secret (or its private key) is what is stored, for `refresh_token` the
/// tokens of a log-in or a refresh token, for `token_exchange` the token that is exchanged.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// `https://HOST/PATH`. A host that is no public one is named under `upstreams:` too.
    pub token_url: At<String>,
    /// The client's id.
    pub client_id: At<String>,
    /// What is asked for; `client_credentials` where nothing is written.
    #[serde(default)]
    pub grant: Option<At<Grant>>,
    /// How the client says who it is: in the header, in the body, by its private key, or not; in the header where it has a secret.
    #[serde(default)]
    pub authentication: Option<At<Authentication>>,
    /// Where the client's secret or private key lives, if that is not what is stored: `env:NAME`, `file:PATH`, `exec:COMMAND`, `keyring:SERVICE/ACCOUNT`.
    #[serde(default)]
    pub client_secret: Option<At<String>>,
    /// The id of the client's private key.
    #[serde(default)]
    pub key_id: Option<At<String>>,
    /// Scopes.
    #[serde(default)]
    pub scopes: Words,
    /// For whom the token is, as some servers want it.
    #[serde(default)]
    pub audience: Option<At<String>>,
    /// For whom the token is, by URL (RFC 8707).
    #[serde(default)]
    pub resource: Option<At<String>>,
    /// What kind of token is exchanged (RFC 8693 3): the whole URN; an access token where nothing is written.
    #[serde(default)]
    pub subject_token_type: Option<At<String>>,
    /// Where people log in (`credential login`): `https://HOST/PATH`.
    #[serde(default)]
    pub authorize_url: Option<At<String>>,
    /// Where a device asks for a code that people type in elsewhere (`credential login --device`): `https://HOST/PATH`.
    #[serde(default)]
    pub device_url: Option<At<String>>,
}

/// A role of AWS that is taken on (AssumeRole), by a pair of keys that is stored. Each agent has a session of its own, called `valetkey-AGENT`, with a
/// session policy made of its permissions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsRole {
    /// `arn:aws:iam::ACCOUNT:role/NAME`.
    pub role: At<String>,
    /// The region whose STS is asked: `eu-central-1`.
    pub region: At<String>,
    /// How long a session is good: `15m` to `12h`, and no longer than the role allows; an hour where nothing is written.
    #[serde(default)]
    pub duration: Option<At<Span>>,
    /// What the role's trust policy asks for.
    #[serde(default)]
    pub external_id: Option<At<String>>,
    /// What stands in CloudTrail for all that is done with it.
    #[serde(default)]
    pub source_identity: Option<At<String>>,
    /// Who takes it on; whose keys are stored, where nothing is written.
    #[serde(default)]
    pub source: Option<At<AwsSource>>,
    /// Whether each session is bound to what its agent may do; it is where nothing is written. Grants at run time and conditions are not in it.
    #[serde(default)]
    pub session_policy: Option<At<bool>>,
}

/// Who takes a role on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AwsSource {
    /// Whose pair of keys is stored.
    #[default]
    Stored,
    /// Whose identity a token says that is stored, such as a service account's of Kubernetes (`from: \"file:..\"`).
    WebIdentity,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A token for the client itself.
    #[default]
    ClientCredentials,
    /// A token for whoever logged in, renewed as long as their log-in lasts.
    RefreshToken,
    /// A token for another one.
    TokenExchange,
}

/// How a client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// By its id alone.
    None,
    /// By its secret, in the header (`client_secret_basic`).
    Basic,
    /// By its secret, in the body (`client_secret_post`).
    Post,
    /// By a token that its private key signs.
    PrivateKeyJwt,
}

impl Issue {
    /// The one that is written: its word, the kind of what it issues, and the kinds that may be written beside it.
    pub fn chosen(&self) -> Option<Chosen> {
        let token = |word, kinds| Chosen { word, issues: "token", kinds };
        let all = [
            self.oauth2.as_ref().map(|_| token("oauth2", &["oauth2", "token"])),
            self.github_app.as_ref().map(|_| token("github_app", &["github-app", "token"])),
            self.google.as_ref().map(|_| token("google", &["gcp", "token"])),
            self.azure.as_ref().map(|_| token("azure", &["azure", "token"])),
            self.aws_role.as_ref().map(|_| Chosen { word: "aws_role", issues: "aws", kinds: &["aws"] }),
        ];
        let mut all = all.into_iter().flatten();
        all.next().filter(|_| all.next().is_none())
    }
}

/// What an issuer issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its word.
    pub word: &'static str,
    /// The kind of what goes on requests.
    pub issues: &'static str,
    /// Kinds that mean the same where they are written.
    pub kinds: &'static [&'static str],
}

/// What is wrong with `issue:`.
pub(super) fn check(entry: &CredentialEntry, checker: &mut Checker<'_>) {
    let Some(at) = &entry.issue else {
        if let Some(kind) = entry.kind.as_ref().filter(|kind| KINDS.contains(&kind.value.as_str())) {
            // Google's word for it is the vendor's.
            let word = if kind.value == "gcp" { "google".to_owned() } else { kind.value.replace('-', "_") };
            let what =
                format!("a credential of kind `{}` says who issues it: `issue: {{ {word}: {{ .. }} }}`", kind.value);
            checker.say(kind, what);
        } else if let Some(kind) = entry.kind.as_ref().filter(|kind| kind.value == PRIVATE_KEY) {
            checker.say(kind, "a private key goes on no request; write `issue:` to say who issues what does");
        }
        return;
    };
    let Some(chosen) = at.value.chosen() else {
        checker.say(
            &at.with("issue".to_owned()),
            "`issue` names one issuer: `oauth2`, `github_app`, `google`, `azure` or `aws_role`",
        );
        return;
    };
    if let Some(kind) = entry.kind.as_ref().filter(|kind| !chosen.kinds.contains(&kind.value.as_str())) {
        checker.say(kind, format!("what `{}` issues is of another kind; take `kind` out", chosen.word));
    }
    if let Some(oauth2) = &at.value.oauth2 {
        self::oauth2(&oauth2.value, &oauth2.with("oauth2".to_owned()), checker);
    }
    if let Some(app) = &at.value.github_app {
        vendors::github_app(&app.value, &app.with("github_app".to_owned()), checker);
    }
    if let Some(google) = &at.value.google {
        vendors::google(&google.value, &google.with("google".to_owned()), checker);
    }
    if let Some(azure) = &at.value.azure {
        vendors::azure(&azure.value, checker);
    }
    if let Some(role) = &at.value.aws_role {
        aws_role(&role.value, checker);
    }
}

/// Seconds of a session (STS API Reference, AssumeRole, `DurationSeconds`).
const SESSION_SECONDS: std::ops::RangeInclusive<u64> = 900..=43_200;

fn aws_role(role: &AwsRole, checker: &mut Checker<'_>) {
    let parts: Vec<&str> = role.role.value.splitn(6, ':').collect();
    let is_role = matches!(parts[..], ["arn", _, "iam", "", account, name]
        if account.len() == 12 && account.bytes().all(|it| it.is_ascii_digit()) && name.starts_with("role/"));
    let graphic = role.role.value.bytes().all(|octet| octet.is_ascii_graphic());
    if !is_role || !graphic || role.role.value.len() > 2_048 {
        checker.say(&role.role, "a role is written `arn:aws:iam::ACCOUNT:role/NAME`");
    }
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
    if role.region.value.is_empty() || !role.region.value.bytes().all(plain) {
        checker.say(&role.region, "a region is written like `eu-central-1`");
    }
    if let Some(span) = role.duration.as_ref().filter(|span| !SESSION_SECONDS.contains(&span.value.0)) {
        checker.say(&span.with(span.value.0.to_string()), "`duration` is from 15m to 12h");
    }
    for (key, at, most, more) in [
        ("external_id", &role.external_id, 1_224, "_+=,.@:/-"),
        ("source_identity", &role.source_identity, 64, "_+=,.@-"),
    ] {
        let fits = |text: &str| {
            (2..=most).contains(&text.len()) && text.chars().all(|it| it.is_ascii_alphanumeric() || more.contains(it))
        };
        if let Some(at) = at.as_ref().filter(|at| !fits(&at.value)) {
            checker.say(at, format!("`{key}` has 2 to {most} of letters, digits and `{more}`"));
        }
    }
    let by_token = role.source.is_some_and(|source| source.value == AwsSource::WebIdentity);
    let unused = [("external_id", &role.external_id), ("source_identity", &role.source_identity)];
    for (key, at) in unused.into_iter().filter_map(|(key, at)| Some((key, at.as_ref()?))).filter(|_| by_token) {
        checker.say(at, format!("`{key}` is not for `source: web_identity`; its token says who it is"));
    }
}

fn oauth2(oauth2: &OAuth2, word: &At<String>, checker: &mut Checker<'_>) {
    for url in
        [Some(&oauth2.token_url), oauth2.authorize_url.as_ref(), oauth2.device_url.as_ref()].into_iter().flatten()
    {
        endpoint(url, checker);
    }
    let grant = oauth2.grant.map_or(Grant::default(), |grant| grant.value);
    let authentication = oauth2.authentication.map(|at| at.value);
    let stored = grant == Grant::ClientCredentials;
    if let Some(secret) = oauth2.client_secret.as_ref() {
        if !is_local(&secret.value) {
            let why = "the client's secret is written as `env:NAME`, `file:PATH`, `exec:COMMAND` or `keyring:SERVICE/ACCOUNT`; its value is never written here";
            checker.say(&secret.with(pasted(&secret.value)), why);
        } else if stored {
            checker.say(
                secret,
                "for `client_credentials` the client's secret is what is stored: write it as `from`, and take this out",
            );
        }
    } else if !stored && authentication.is_some_and(|way| way != Authentication::None) {
        checker.say(word, "it does not say where the client's secret lives; write `client_secret: env:NAME`");
    }
    if stored && authentication == Some(Authentication::None) {
        checker
            .say(word, "a client without a secret has no credentials; `authentication: none` is for the other grants");
    }
    if oauth2.key_id.is_some() && authentication != Some(Authentication::PrivateKeyJwt) {
        checker.say(word, "`key_id` is for `authentication: private_key_jwt`");
    }
    if grant != Grant::RefreshToken && (oauth2.authorize_url.is_some() || oauth2.device_url.is_some()) {
        checker.say(word, "people log in for `grant: refresh_token`; take `authorize_url` and `device_url` out");
    }
    if grant != Grant::TokenExchange && oauth2.subject_token_type.is_some() {
        checker.say(word, "`subject_token_type` is for `grant: token_exchange`");
    }
}

/// A URL that is asked.
pub(super) fn endpoint(url: &At<String>, checker: &mut Checker<'_>) {
    if let Err(why) = Receiver::parse(&url.value) {
        // Its words are a webhook's; the form is the same.
        checker.say(url, why.replace("a webhook's URL", "this URL"));
    }
}

#[cfg(test)]
mod tests {
    use crate::Document;

    #[test]
    fn what_is_wrong_with_an_issuer() {
        let issue = |rest: &str| {
            format!(
                "credentials:\n  c: {{ service: github, from: \"env:S\", issue: {{ oauth2: {{ token_url: \"https://id.corp/token\", client_id: a{rest} }} }} }}\n"
            )
        };
        let role = |rest: &str| {
            format!(
                "credentials:\n  c: {{ service: aws, issue: {{ aws_role: {{ role: \"arn:aws:iam::123456789012:role/agents\", region: eu-central-1{rest} }} }} }}\n"
            )
        };
        for (text, says) in [
            (issue(""), ""),
            (issue(", scopes: [a, b], audience: x, authentication: post"), ""),
            (issue(", grant: refresh_token, authentication: none"), ""),
            (issue(", grant: refresh_token, client_secret: \"env:X\", authorize_url: \"https://id.corp/auth\""), ""),
            (issue(", grant: token_exchange, client_secret: \"file:x\", subject_token_type: \"urn:x\""), ""),
            (issue(", grant: password"), "`password` is not one of"),
            (issue("").replace("https://id", "http://id"), "begins with `https://`"),
            (issue(", client_secret: \"env:X\""), "is what is stored"),
            (issue(", grant: refresh_token, authentication: basic"), "where the client's secret lives"),
            (issue(", grant: refresh_token, client_secret: hunter2hunter2"), "never written here"),
            (issue(", authentication: none"), "has no credentials"),
            (issue(", key_id: x"), "is for `authentication: private_key_jwt`"),
            (issue(", authorize_url: \"https://id.corp/x\""), "people log in"),
            (issue(", subject_token_type: x"), "is for `grant: token_exchange`"),
            (issue("").replace("issue:", "kind: aws, issue:"), "take `kind` out"),
            (issue("").replace("issue:", "kind: oauth2, issue:"), ""),
            ("credentials:\n  c: { service: github, issue: {} }\n".to_owned(), "names one issuer"),
            (role(""), ""),
            (role(", duration: 15m, external_id: \"a:b/c\", source_identity: ada@corp, session_policy: false"), ""),
            (role(", source: web_identity"), ""),
            (role(", source: ambience"), "`ambience` is not one of"),
            (role(", duration: 5m"), "from 15m to 12h"),
            (role(", duration: 13h"), "from 15m to 12h"),
            (role(", external_id: \"a b\""), "`external_id` has 2 to 1224"),
            (role(", source_identity: a"), "`source_identity` has 2 to 64"),
            (role(", source: web_identity, external_id: abc"), "not for `source: web_identity`"),
            (role("").replace(":role/", ":user/"), "a role is written"),
            (role("").replace("123456789012", "1"), "a role is written"),
            (role("").replace("eu-central-1", "EU"), "a region is written"),
            (role("").replace("service: aws", "service: aws, kind: token"), "take `kind` out"),
            (
                role("").replace("issue: {", "issue: { oauth2: { token_url: \"https://a.b/c\", client_id: a },"),
                "names one issuer",
            ),
            ("credentials:\n  c: { service: github, kind: github-app }\n".to_owned(), "issue: { github_app: { .. } }"),
        ] {
            let faults = Document::parse(&text, "valetkey.yaml").err().unwrap_or_default();
            let found = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
            assert_eq!(says.is_empty(), found.is_empty(), "{text}\n{found}");
            assert!(found.contains(says), "{text}\n{found}");
            assert!(!found.contains("hunter2hunter2"), "{found}");
        }
    }
}
