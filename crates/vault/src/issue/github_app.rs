//! Installation tokens of a GitHub App (docs.github.com/rest/apps/apps): an hour long, for one installation, and where that is wanted for some
//! of its repositories and permissions alone.
#![expect(
    clippy::disallowed_methods,
    reason = "the App's private key signs what asks for the token, and the token ends itself"
)]

use ::http::{HeaderName, HeaderValue, Method};
use model::{Random, Timestamp};
use secret::{Field, Material, Secret};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::held::Ender;
use super::http;
use super::jwt::{self, Signer};
use super::{Asked, Endpoint, Issued, Issuer, drawn};
use crate::Pending;
use crate::backend::BackendError;
use crate::far::{Ask, Reply, encoded};
use crate::kind::private_key;
use crate::road::Road;

/// A token may be this much ahead of GitHub's clock, as GitHub recommends, seconds.
const EARLY_SECONDS: i64 = 60;
/// And is good for this long from then on; GitHub takes ten minutes at most.
const GOOD_SECONDS: i64 = 540;
/// The longest life of a token that is believed, seconds.
const SECONDS_MAX: u64 = 24 * 60 * 60;
/// The version of the API that answers are read by.
const VERSION: &str = "2022-11-28";
/// Characters of a sample after `ghs_`: of the short form, which those take too who know the long one (`ghs_[A-Za-z0-9._]{36,}`).
const SAMPLE_CHARS: usize = 36;
/// What GitHub says permissions are, least first.
const LEVELS: [&str; 3] = ["read", "write", "admin"];

/// Which installation of the App.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installed {
    /// By its number.
    Id(u64),
    /// On this organisation or user.
    Owner(String),
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GithubApp {
    /// Where the API is: `https://api.github.com`.
    pub api: Endpoint,
    /// The App's client id, or its number.
    pub app: String,
    /// Its installation.
    pub installed: Installed,
    /// Each agent has a token of what its permissions need.
    pub narrow: bool,
}

/// An installation, as the App sees it.
#[derive(Deserialize)]
struct Installation {
    id: u64,
    account: Account,
    #[serde(default)]
    permissions: Map<String, Value>,
    #[serde(default)]
    suspended_at: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

/// What is given.
#[derive(Deserialize)]
struct Granted {
    token: String,
    expires_at: Timestamp,
}

impl Drop for Granted {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

/// What an agent needs, as `policy::installation` writes it.
#[derive(Deserialize)]
struct Narrowed {
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
    #[serde(default)]
    permissions: Option<Map<String, Value>>,
}

type Named = (HeaderName, HeaderValue);

impl GithubApp {
    async fn run(&self, asked: Asked<'_>) -> Result<Issued, BackendError> {
        let bearer = self.bearer(&asked)?;
        let found = self.installation(&asked, &bearer).await?;
        if let Some(when) = &found.suspended_at {
            let what =
                format!("the installation on `{}` is suspended since {when}; lift that at GitHub", found.account.login);
            return Err(BackendError::Forbidden { what });
        }
        let body = match asked.narrowed {
            Some(text) => narrowed(text, &found)?,
            None => json!({}),
        };
        let target = format!("/app/installations/{}/access_tokens", found.id);
        let ask = Ask::post(self.path(&target), Zeroizing::new(body.to_string().into_bytes()));
        let reply = self.ask(asked.way, ask, &bearer).await?;
        let mut granted: Granted = http::read(&self.api, &reply)?;
        let token = Secret::new(std::mem::take(&mut granted.token).into_bytes());
        if token.is_empty() {
            return Err(BackendError::Malformed { what: format!("{} gives an empty token", self.api.origin) });
        }
        let end = granted.expires_at.min(asked.now.plus_secs(SECONDS_MAX));
        Ok(Issued { material: Material::token(token), expires: Some(end), root: None })
    }

    /// The App's own name, signed.
    fn bearer(&self, asked: &Asked<'_>) -> Result<Named, BackendError> {
        let begins = jwt::seconds(asked.now) - EARLY_SECONDS;
        let claims = json!({ "iat": begins, "exp": begins + EARLY_SECONDS + GOOD_SECONDS, "iss": self.app });
        let token = Signer::of(&asked.root)?.sign(Map::new(), &claims)?;
        http::authorization(Zeroizing::new([b"Bearer ".as_slice(), token.as_slice()].concat()))
    }

    async fn installation(&self, asked: &Asked<'_>, bearer: &Named) -> Result<Installation, BackendError> {
        let owner = match &self.installed {
            Installed::Id(id) => {
                let ask = Ask::get(self.path(&format!("/app/installations/{id}")));
                return http::read(&self.api, &self.ask(asked.way, ask, bearer).await?);
            }
            Installed::Owner(owner) => owner,
        };
        for kind in ["orgs", "users"] {
            let ask = Ask::get(self.path(&format!("/{kind}/{}/installation", encoded(owner))));
            let reply = self.ask(asked.way, ask, bearer).await?;
            if reply.status != 404 {
                return http::read(&self.api, &reply);
            }
        }
        let what = format!("the App is not installed on `{owner}`; install it there, or mend `owner`");
        Err(BackendError::Forbidden { what })
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.api.target.trim_end_matches('/'))
    }

    async fn ask(&self, way: &dyn Road, ask: Ask, bearer: &Named) -> Result<Reply, BackendError> {
        let version = HeaderName::from_static("x-github-api-version");
        let ask = ask.with(bearer.0.clone(), bearer.1.clone()).with(version, HeaderValue::from_static(VERSION));
        http::ask(way, &self.api, &ask).await
    }

    async fn over(&self, material: &Material, way: &dyn Road) -> Result<(), BackendError> {
        let Some(token) = material.field(Field::Value) else { return Ok(()) };
        let bearer = http::authorization(Zeroizing::new([b"Bearer ".as_slice(), token.expose()].concat()))?;
        let target = self.path("/installation/token");
        let ask = Ask { method: Method::DELETE, target, fields: Vec::new(), body: None };
        match self.ask(way, ask, &bearer).await?.status {
            // Where it is not known any more it is over.
            200..=299 | 401 | 404 => Ok(()),
            status => Err(BackendError::Away { what: format!("{} answers {status}", self.api.origin) }),
        }
    }
}

/// What is asked for: what the agent needs, as far as the installation has it. More than that is refused whole.
fn narrowed(text: &str, found: &Installation) -> Result<Value, BackendError> {
    let malformed = |_| BackendError::Malformed { what: "what the agent may do cannot be read".to_owned() };
    let wanted: Narrowed = serde_json::from_str(text).map_err(malformed)?;
    let login = &found.account.login;
    if let Some(owner) = wanted.owner.filter(|owner| !owner.eq_ignore_ascii_case(login)) {
        let what = format!("the agent's resources are of `{owner}`, and the App's installation is on `{login}`");
        return Err(BackendError::Forbidden { what });
    }
    let mut body = Map::new();
    if let Some(names) = wanted.repositories {
        body.insert("repositories".to_owned(), json!(names));
    }
    if let Some(needed) = wanted.permissions {
        let both: Map<_, _> = needed
            .iter()
            .filter_map(|(name, level)| Some((name.clone(), json!(lesser(level, found.permissions.get(name)?)?))))
            .collect();
        if both.is_empty() {
            let names = needed.keys().cloned().collect::<Vec<_>>().join(", ");
            let what = format!(
                "the App's installation on `{login}` has none of the permissions that the agent's policy needs: {names}"
            );
            return Err(BackendError::Forbidden { what });
        }
        body.insert("permissions".to_owned(), Value::Object(both));
    }
    Ok(Value::Object(body))
}

/// What GitHub answers, of these octets.
#[cfg(feature = "fuzzing")]
pub(super) fn read_all(at: &Endpoint, reply: &Reply) {
    drop(http::read::<Granted>(at, reply));
    if let Ok(found) = http::read::<Installation>(at, reply) {
        drop(narrowed(r#"{"permissions":{"contents":"write"}}"#, &found));
    }
}

fn lesser(one: &Value, other: &Value) -> Option<&'static str> {
    let rank = |level: &Value| LEVELS.iter().position(|known| level.as_str() == Some(known));
    LEVELS.get(rank(one)?.min(rank(other)?)).copied()
}

impl Issuer for GithubApp {
    fn name(&self) -> &'static str {
        "github_app"
    }

    fn stores(&self) -> &'static str {
        private_key::NAME
    }

    fn issue<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Issued, BackendError>> {
        Box::pin(self.run(asked))
    }

    fn sample(&self, random: &dyn Random) -> Material {
        Material::token(drawn(random, "ghs_", SAMPLE_CHARS))
    }

    fn narrows(&self) -> bool {
        self.narrow
    }
}

impl Ender for GithubApp {
    fn end<'a>(&'a self, material: &'a Material, way: &'a dyn Road) -> Pending<'a, Result<(), BackendError>> {
        Box::pin(self.over(material, way))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_what_both_have() {
        let found = |login: &str| Installation {
            id: 1,
            account: Account { login: login.to_owned() },
            permissions:
                json!({ "contents": "write", "issues": "read", "metadata": "read", "organization_projects": "admin" })
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
            suspended_at: None,
        };
        for (needs, login, asks) in [
            ("{}", "acme", Some("{}")),
            (r#"{"owner":"ACME","repositories":["a"]}"#, "acme", Some(r#"{"repositories":["a"]}"#)),
            (r#"{"owner":"acme"}"#, "other", None),
            (
                r#"{"permissions":{"contents":"read","issues":"write","pull_requests":"write","organization_projects":"write"}}"#,
                "acme",
                Some(r#"{"permissions":{"contents":"read","issues":"read","organization_projects":"write"}}"#),
            ),
            (r#"{"permissions":{"workflows":"write"}}"#, "acme", None),
            (r#"{"permissions":{"contents":"everything"}}"#, "acme", None),
            ("nonsense", "acme", None),
        ] {
            let asked = narrowed(needs, &found(login)).ok();
            let wanted = asks.map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
            assert_eq!(asked, wanted, "{needs}");
        }
    }
}
