//! GitHub's installation tokens behind an [`Upstream`](crate::Upstream), replayed from the documentation (docs.github.com/rest/apps/apps,
//! "Generating a JSON Web Token (JWT) for a GitHub App"): it looks at signature, times and issuer of what the App signed, gives tokens for the
//! repositories and permissions that were asked for and no more than the installation has, and lets them do no more than that.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clock::SeededRandom;
use crate::signed::{RsaKey, good_at, machine_seconds};
use crate::upstream::{Answer, Seen};

/// The longest life of what an App signs, seconds.
const SIGNED_SECONDS_MAX: i64 = 600;

/// The server. Copies share their state.
#[derive(Clone, Debug)]
pub struct GithubApp {
    state: Arc<Mutex<State>>,
}

/// A token that was given.
#[derive(Clone, Debug)]
pub struct Given {
    /// It.
    pub token: String,
    /// Names of repositories; none for all.
    pub repositories: Option<Vec<String>>,
    /// What it may do.
    pub permissions: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub ends: i64,
    /// Ended before its time.
    pub ended: bool,
}

#[derive(Debug)]
struct State {
    random: SeededRandom,
    key: RsaKey,
    app: String,
    installation: u64,
    owner: String,
    /// The owner is a user, and no organisation.
    is_user: bool,
    repositories: Vec<String>,
    permissions: BTreeMap<String, String>,
    suspended: bool,
    seconds: i64,
    /// Ahead of the machine's clock, seconds.
    ahead: i64,
    instead: Option<Answer>,
    given: Vec<Given>,
    /// Bodies of questions for tokens.
    asked: Vec<Value>,
    refused: Vec<String>,
}

impl GithubApp {
    /// An App with this key, installed on `acme` as 77, which has these repositories.
    #[must_use]
    pub fn new(seed: u64, app: &str, key: &RsaKey, repositories: &[&str], permissions: &[(&str, &str)]) -> Self {
        let state = State {
            random: SeededRandom::new(seed),
            key: key.clone(),
            app: app.to_owned(),
            installation: 77,
            owner: "acme".to_owned(),
            is_user: false,
            repositories: repositories.iter().map(ToString::to_string).collect(),
            permissions: permissions.iter().map(|(name, level)| ((*name).to_owned(), (*level).to_owned())).collect(),
            suspended: false,
            seconds: 3_600,
            ahead: 0,
            instead: None,
            given: Vec::new(),
            asked: Vec::new(),
            refused: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Answers what the API has of it; `None` for everything else.
    pub fn handler(&self) -> impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |seen| state.lock().answer(seen)
    }

    /// Whether what an upstream saw holds a token that may do this in this repository, and is in force.
    #[must_use]
    pub fn allows(&self, seen: &Seen, repository: &str, permission: &str, level: &str) -> bool {
        self.state.lock().allows(seen, repository, (permission, level))
    }

    /// How long tokens last from now on, seconds.
    pub fn set_seconds(&self, seconds: i64) {
        self.state.lock().seconds = seconds;
    }

    /// How far its clock is ahead of the machine's.
    pub fn set_ahead(&self, seconds: i64) {
        self.state.lock().ahead = seconds;
    }

    /// `acme` is a user from now on, and no organisation.
    pub fn belongs_to_user(&self) {
        self.state.lock().is_user = true;
    }

    /// Suspends the installation, or lifts that.
    pub fn suspend(&self, suspended: bool) {
        self.state.lock().suspended = suspended;
    }

    /// Answers whoever asks in the App's name with this, or as usual again. Tokens that were given work as before.
    pub fn refuse_tokens(&self, answer: Option<Answer>) {
        self.state.lock().instead = answer;
    }

    /// Tokens so far.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        self.state.lock().given.clone()
    }

    /// Tokens that were not ended.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.lock().given.iter().filter(|given| !given.ended).count()
    }

    /// What was asked for, body by body.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        self.state.lock().asked.clone()
    }

    /// Why it said no, each time.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state.lock().refused.clone()
    }
}

fn message(status: u16, text: &str) -> Answer {
    Answer::json(
        &json!({ "message": text, "documentation_url": "https://docs.github.com/rest", "status": status.to_string() }),
    )
    .with_status(status)
}

/// The token of a request, by `Bearer` or as the password of `Basic`.
fn token_of(seen: &Seen) -> String {
    let value = seen.values("authorization").pop().unwrap_or_default();
    if let Some(pair) = value.strip_prefix("Basic ") {
        let pair = STANDARD.decode(pair).unwrap_or_default();
        let pair = String::from_utf8_lossy(&pair).into_owned();
        return pair.strip_prefix("x-access-token:").unwrap_or_default().to_owned();
    }
    value.split_once(' ').map_or("", |(_, token)| token).to_owned()
}

impl State {
    fn now(&self) -> i64 {
        machine_seconds() + self.ahead
    }

    fn answer(&mut self, seen: &Seen) -> Option<Answer> {
        if let Some(instead) = self.instead.as_ref().filter(|_| seen.path().starts_with("/app/")) {
            return Some(instead.clone());
        }
        let path = seen.path().to_owned();
        let own = format!("/app/installations/{}", self.installation);
        let by_owner = format!("/{}/{}/installation", if self.is_user { "users" } else { "orgs" }, self.owner);
        match (seen.method.as_str(), path.as_str()) {
            ("DELETE", "/installation/token") => Some(self.end(seen)),
            ("GET", "/installation/repositories") => Some(match self.live_token(seen) {
                Some(_) => Answer::json(&json!({ "total_count": 0, "repositories": [] })),
                None => message(401, "Bad credentials"),
            }),
            ("GET", path) if path == own || path == by_owner => Some(self.signed(seen).unwrap_or_else(|| self.shown())),
            ("POST", path) if path == format!("{own}/access_tokens") => {
                Some(self.signed(seen).unwrap_or_else(|| self.give(seen)))
            }
            (_, path) if path.starts_with("/app/") || path.ends_with("/installation") => {
                Some(message(404, "Not Found"))
            }
            _ => None,
        }
    }

    /// What is wrong with what the App signed.
    fn signed(&mut self, seen: &Seen) -> Option<Answer> {
        let token = seen.values("authorization").pop().unwrap_or_default();
        let token = token.strip_prefix("Bearer ").unwrap_or_default();
        let (app, now) = (self.app.clone(), self.now());
        let wrong = self.key.claims(token, "RS256").and_then(|(_, claims)| {
            let issuer = claims["iss"].as_str().map_or_else(|| claims["iss"].to_string(), str::to_owned);
            if issuer == app { good_at(&claims, now, SIGNED_SECONDS_MAX) } else { Err(format!("issued by {issuer}")) }
        });
        let why = wrong.err()?;
        self.refused.push(why);
        Some(message(401, "A JSON web token could not be decoded"))
    }

    fn shown(&self) -> Answer {
        Answer::json(&json!({
            "id": self.installation, "account": { "login": self.owner, "type": "Organization" }, "app_id": 4711,
            "repository_selection": "selected", "permissions": self.permissions, "events": [],
            "suspended_at": self.suspended.then_some("2026-11-20T10:00:00Z"),
        }))
    }

    fn give(&mut self, seen: &Seen) -> Answer {
        if self.suspended {
            return message(403, "This installation has been suspended");
        }
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        self.asked.push(body.clone());
        let names = body["repositories"]
            .as_array()
            .map(|all| all.iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>());
        if names.iter().flatten().any(|name| !self.repositories.contains(name)) {
            return message(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            );
        }
        let permissions = match body.get("permissions") {
            None => self.permissions.clone(),
            Some(asked) => serde_json::from_value::<BTreeMap<String, String>>(asked.clone()).unwrap(),
        };
        let has = |(name, level): (&String, &String)| self.permissions.get(name).is_some_and(|has| has >= level);
        if !permissions.iter().all(has) {
            return message(422, "The permissions requested are not granted to this installation.");
        }
        let (token, ends) = (format!("ghs_{}", self.random.text(36)), self.now() + self.seconds);
        let written = Timestamp::from_secs(ends).to_string().replace(".000000Z", "Z");
        let answer = json!({
            "token": token, "expires_at": written, "permissions": permissions,
            "repository_selection": if names.is_some() { "selected" } else { "all" },
        });
        self.given.push(Given { token, repositories: names, permissions, ends, ended: false });
        Answer::json(&answer).with_status(201)
    }

    fn live_token(&self, seen: &Seen) -> Option<&Given> {
        let (token, now) = (token_of(seen), self.now());
        self.given.iter().find(|given| given.token == token && !given.ended && given.ends > now)
    }

    fn end(&mut self, seen: &Seen) -> Answer {
        let token = token_of(seen);
        match self.given.iter_mut().find(|given| given.token == token && !given.ended) {
            Some(given) => {
                given.ended = true;
                Answer::status(204)
            }
            None => message(401, "Bad credentials"),
        }
    }

    fn allows(&self, seen: &Seen, repository: &str, (permission, level): (&str, &str)) -> bool {
        self.live_token(seen).is_some_and(|given| {
            let may = given.permissions.get(permission).is_some_and(|has| has.as_str() >= level);
            may && given.repositories.as_ref().is_none_or(|all| all.iter().any(|name| name == repository))
        })
    }
}
