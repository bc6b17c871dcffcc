//! An authorization server with an API behind it, for an [`Upstream`](crate::Upstream): authorization code with PKCE and
//! loopback redirect (RFC 6749 4.1, RFC 7636, RFC 8252), device flow (RFC 8628), refresh with rotation, and what real ones
//! do to a refresh token that comes twice: everything of that log-in is taken back (RFC 9700 4.14.2).
//!
//! Paths: `/oauth/authorize`, `/oauth/device`, `/v1/oauth/token` and `/oauth/token`; what is under `/v1/` or
//! `/backend-api/` otherwise asks for a current access token.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::clock::SeededRandom;
use crate::leak::Canary;
use crate::upstream::{Answer, Seen};

/// What its tokens look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Opaque, with these prefixes: access, refresh.
    Opaque(&'static str, &'static str),
    /// Access and ID tokens are JWTs; refresh tokens are opaque.
    Jwt,
}

/// The server. Copies share their state.
#[derive(Clone, Debug)]
pub struct OAuth {
    shape: Shape,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: SeededRandom,
    /// Codes: challenge and redirect, or none for a device's.
    codes: HashMap<String, Option<(String, String)>>,
    /// Device codes: how often they were asked for.
    devices: HashMap<String, u32>,
    /// Refresh token to log-in; whether it is the current one.
    refreshes: HashMap<String, (u32, bool)>,
    /// Access token to log-in.
    accesses: HashMap<String, u32>,
    revoked: Vec<u32>,
    logins: u32,
    issued: Vec<Canary>,
    refreshed: u32,
}

/// How long an access token is good for, seconds; nobody waits for it.
const EXPIRES_IN: u64 = 3_600;

impl OAuth {
    /// One with nobody logged in.
    #[must_use]
    pub fn new(seed: u64, shape: Shape) -> Self {
        let state = State {
            random: SeededRandom::new(seed),
            codes: HashMap::new(),
            devices: HashMap::new(),
            refreshes: HashMap::new(),
            accesses: HashMap::new(),
            revoked: Vec::new(),
            logins: 0,
            issued: Vec::new(),
            refreshed: 0,
        };
        Self { shape, state: Arc::new(Mutex::new(state)) }
    }

    /// Everything that was handed out so far.
    #[must_use]
    pub fn issued(&self) -> Vec<Canary> {
        self.state.lock().issued.clone()
    }

    /// How often somebody refreshed.
    #[must_use]
    pub fn refreshed(&self) -> u32 {
        self.state.lock().refreshed
    }

    /// Log-ins that were taken back because a refresh token came twice.
    #[must_use]
    pub fn revoked(&self) -> usize {
        self.state.lock().revoked.len()
    }

    /// No access token is good any more; refresh tokens are.
    pub fn expire(&self) {
        self.state.lock().accesses.clear();
    }

    /// Logs somebody in without asking: the tokens that a program would have in its file.
    #[must_use]
    pub fn log_in(&self) -> Value {
        let mut state = self.state.lock();
        state.logins += 1;
        let login = state.logins;
        state.issue(self.shape, login)
    }

    /// Answers what is its own.
    #[must_use]
    pub fn answer(&self, seen: &Seen) -> Option<Answer> {
        let mut state = self.state.lock();
        match (seen.method.as_str(), seen.path()) {
            ("GET", "/oauth/authorize") => Some(state.authorize(seen)),
            ("POST", "/oauth/device") => Some(state.device()),
            ("POST", "/v1/oauth/token" | "/oauth/token") => Some(state.token(self.shape, &parameters(seen))),
            (_, path) if path.starts_with("/v1/") || path.starts_with("/backend-api/") => Some(state.resource(seen)),
            _ => None,
        }
    }
}

impl State {
    fn authorize(&mut self, seen: &Seen) -> Answer {
        let field = |name: &str| unescape(seen.query(name).unwrap_or_default());
        let redirect = field("redirect_uri");
        let loopback = redirect.starts_with("http://127.0.0.1:") || redirect.starts_with("http://localhost:");
        if field("response_type") != "code" || field("code_challenge_method") != "S256" || !loopback {
            return Answer::json(&json!({"error": "invalid_request"})).with_status(400);
        }
        let code = self.random.text(32);
        self.codes.insert(code.clone(), Some((field("code_challenge"), redirect.clone())));
        let mark = if redirect.contains('?') { '&' } else { '?' };
        Answer::status(302).header("location", format!("{redirect}{mark}code={code}&state={}", field("state")))
    }

    fn device(&mut self) -> Answer {
        let code = self.random.text(40);
        self.devices.insert(code.clone(), 0);
        Answer::json(&json!({
            "device_code": code, "user_code": "WDJB-MJHT", "verification_uri": "https://login.test/device",
            "expires_in": 600, "interval": 1,
        }))
    }

    fn token(&mut self, shape: Shape, given: &HashMap<String, String>) -> Answer {
        let field = |name: &str| given.get(name).cloned().unwrap_or_default();
        let refused = |error: &str| Answer::json(&json!({"error": error})).with_status(400);
        let login = match field("grant_type").as_str() {
            "authorization_code" => {
                let challenge =
                    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, field("code_verifier").as_bytes()));
                let asked = Some(Some((challenge, field("redirect_uri"))));
                if self.codes.remove(&field("code")) != asked {
                    return refused("invalid_grant");
                }
                self.logins += 1;
                self.logins
            }
            "urn:ietf:params:oauth:grant-type:device_code" => match self.devices.get_mut(&field("device_code")) {
                None => return refused("invalid_grant"),
                Some(asked) if *asked == 0 => {
                    *asked += 1;
                    return refused("authorization_pending");
                }
                Some(_) => {
                    self.devices.remove(&field("device_code"));
                    self.logins += 1;
                    self.logins
                }
            },
            "refresh_token" => {
                let token = field("refresh_token");
                match self.refreshes.insert(token.clone(), (0, false)) {
                    Some((login, true)) if !self.revoked.contains(&login) => {
                        self.refreshes.insert(token, (login, false));
                        self.refreshed += 1;
                        login
                    }
                    Some((login, _)) => {
                        self.refreshes.insert(token, (login, false));
                        self.accesses.retain(|_, of| *of != login);
                        self.revoked.push(login);
                        return refused("invalid_grant");
                    }
                    None => {
                        self.refreshes.remove(&token);
                        return refused("invalid_grant");
                    }
                }
            }
            _ => return refused("unsupported_grant_type"),
        };
        Answer::json(&self.issue(shape, login))
    }

    fn issue(&mut self, shape: Shape, login: u32) -> Value {
        let mut answer = json!({
            "token_type": "Bearer", "expires_in": EXPIRES_IN, "scope": "user:inference",
            "account": {"uuid": "a-1", "email_address": "ada@example.test"},
        });
        let (access, refresh) = match shape {
            Shape::Opaque(access, refresh) => (self.opaque(access), self.opaque(refresh)),
            Shape::Jwt => {
                answer["id_token"] = self.jwt(login, "client-1").into();
                (self.jwt(login, "api"), self.opaque("rt_"))
            }
        };
        self.refreshes.insert(refresh.clone(), (login, true));
        self.accesses.insert(access.clone(), login);
        answer["access_token"] = access.into();
        answer["refresh_token"] = refresh.into();
        answer
    }

    fn opaque(&mut self, prefix: &str) -> String {
        let token = format!("{prefix}{}", self.random.text(60));
        self.issued.push(Canary::of(&token, prefix.len()));
        token
    }

    /// Its claims are no secret; its signature is.
    fn jwt(&mut self, login: u32, audience: &str) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let now = 1_790_000_000 + u64::from(self.random.next() as u16);
        let head = part(&json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let claims = part(&json!({
            "iss": "https://login.test", "aud": audience, "sub": format!("user-{login}"), "iat": now,
            "exp": 4_000_000_000_u64, "email": "ada@example.test",
        }));
        let signature = URL_SAFE_NO_PAD.encode(self.random.text(96));
        let token = format!("{head}.{claims}.{signature}");
        self.issued.push(Canary::of(&token, head.len() + claims.len() + 2));
        token
    }

    fn resource(&self, seen: &Seen) -> Answer {
        let authorization = seen.values("authorization").join(",");
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        match self.accesses.get(token) {
            Some(login) => Answer::json(&json!({"login": login, "object": "list", "data": []})),
            None => Answer::json(&json!({"error": "invalid_token"}))
                .with_status(401)
                .header("www-authenticate", "Bearer error=\"invalid_token\""),
        }
    }
}

/// A form or JSON.
fn parameters(seen: &Seen) -> HashMap<String, String> {
    if seen.values("content-type").iter().any(|kind| kind.contains("json")) {
        let tree: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let members = tree.as_object().cloned().unwrap_or_default();
        return members.into_iter().map(|(key, value)| (key, value.as_str().unwrap_or_default().to_owned())).collect();
    }
    let text = String::from_utf8_lossy(&seen.body).into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (unescape(key), unescape(value)))
        .collect()
}

pub(crate) fn unescape(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
