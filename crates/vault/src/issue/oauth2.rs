//! OAuth 2.0 by the gateway itself: an access token for what is stored.
//!
//! Grants: client credentials (RFC 6749 4.4), a chain of refresh tokens (RFC 6749 6, RFC 9700 4.14), token exchange (RFC 8693). The client
//! says who it is by its secret in a header or in the body (RFC 6749 2.3.1), by a token that its private key signed (RFC 7523 2.2), or not at all.
#![expect(clippy::disallowed_methods, reason = "what is stored is what the token endpoint is asked with")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Random, Timestamp};
use secret::{Field, Material, Secret};
use serde::Deserialize;
use serde_json::{Map, json};
use zeroize::{Zeroize, Zeroizing};

use super::http::{self, Form};
use super::jwt::{self, Signer};
use super::{Asked, Endpoint, Issued, Issuer, NewRoot, beside, drawn};
use crate::backend::BackendError;
use crate::far::{Ask, Reply};
use crate::kind::oauth2::{Parts, Tokens, join};
use crate::{Pending, Reference};

/// How long a token is good whose answer does not say so, seconds.
const SECONDS_UNSAID: u64 = 600;
/// The longest life that is believed, seconds.
const SECONDS_MAX: u64 = 30 * 24 * 60 * 60;
/// A stored access token is used where it has this long left, seconds.
const LEFT_SECONDS_MIN: u64 = 60;
/// How long a client's assertion is good, seconds.
const ASSERTION_SECONDS: i64 = 120;
/// Characters of the tokens that a sample stands for.
const SAMPLE_CHARS: usize = 43;

/// How a client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// By its id alone: a public client.
    None,
    /// By its secret, in the header.
    Basic,
    /// By its secret, in the body.
    Post,
    /// By a token that its private key signs.
    PrivateKeyJwt,
}

/// What is asked for, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuth2Grant {
    /// For the client itself; its secret or private key is stored.
    ClientCredentials,
    /// For whoever logged in; the tokens are stored, or a refresh token alone.
    RefreshToken,
    /// For whom another token speaks; that one is stored.
    TokenExchange,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token: Endpoint,
    /// The client's id.
    pub client_id: String,
    /// How it says who it is.
    pub authentication: Authentication,
    /// What it says it with, where that is not what is stored.
    pub client_secret: Option<Reference>,
    /// The id of its private key.
    pub key_id: Option<String>,
    /// What is asked for.
    pub grant: OAuth2Grant,
    /// Scopes, with blanks between.
    pub scope: Option<String>,
    /// For whom the token is.
    pub audience: Option<String>,
    /// The same by its URL (RFC 8707).
    pub resource: Option<String>,
    /// What kind of token is exchanged (RFC 8693 3); an access token where nothing is said.
    pub subject_token_type: Option<String>,
    /// Where people log in.
    pub authorize: Option<Endpoint>,
    /// Where a device asks for a code.
    pub device: Option<Endpoint>,
}

/// A good answer (RFC 6749 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<Seconds>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    id_token: Option<String>,
}

/// Some servers write numbers as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(String),
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
        self.id_token.zeroize();
    }
}

impl Answer {
    /// Its tokens.
    fn tokens(&mut self, at: &Endpoint, now: Timestamp) -> Result<Tokens, BackendError> {
        let bearer = self.token_type.as_deref().is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if self.access_token.is_empty() || !bearer {
            let what = format!("{} gives no bearer token; tokens of other types are not in this version", at.origin);
            return Err(BackendError::Malformed { what });
        }
        let seconds = match &self.expires_in {
            None => SECONDS_UNSAID,
            Some(Seconds::Number(seconds)) => *seconds as u64,
            Some(Seconds::Text(text)) => text.parse().unwrap_or(SECONDS_UNSAID),
        };
        let secret = |text: &mut String| Secret::new(std::mem::take(text).into_bytes());
        Ok(Tokens {
            value: secret(&mut self.access_token),
            refresh: self.refresh_token.as_mut().filter(|text| !text.is_empty()).map(secret),
            identity: self.id_token.as_mut().filter(|text| !text.is_empty()).map(secret),
            expires: Some(now.plus_secs(seconds.min(SECONDS_MAX))),
        })
    }
}

impl OAuth2 {
    /// A question with these members and what is asked for, in the client's name.
    async fn question(&self, mut form: Form, secret: Option<&Secret>, asked: &Asked<'_>) -> Result<Ask, BackendError> {
        for (name, value) in [("scope", &self.scope), ("audience", &self.audience), ("resource", &self.resource)] {
            if let Some(value) = value {
                form.add(name, value.as_bytes());
            }
        }
        self.signed(form, secret, asked).await
    }

    /// A question about a log-in, which knows what was asked for.
    pub(super) async fn bare_question(&self, form: Form, asked: &Asked<'_>) -> Result<Ask, BackendError> {
        self.signed(form, None, asked).await
    }

    async fn signed(&self, mut form: Form, secret: Option<&Secret>, asked: &Asked<'_>) -> Result<Ask, BackendError> {
        let own = match (&self.client_secret, self.authentication) {
            (Some(reference), way) if way != Authentication::None => {
                Some(beside(asked.local, reference, asked.now).await?)
            }
            _ => None,
        };
        let secret = own.as_ref().or(secret);
        let missing =
            || BackendError::Missing { what: "nothing says who the client is; name its `client_secret`".to_owned() };
        match self.authentication {
            Authentication::None => form.add("client_id", self.client_id.as_bytes()),
            Authentication::Basic => {
                let basic = self.basic(secret.ok_or_else(missing)?)?;
                let mut ask = form.post(&self.token.target);
                ask.fields.push(basic);
                return Ok(ask);
            }
            Authentication::Post => {
                form.add("client_id", self.client_id.as_bytes());
                form.add("client_secret", secret.ok_or_else(missing)?.expose());
            }
            Authentication::PrivateKeyJwt => {
                let assertion = self.assertion(secret.ok_or_else(missing)?, asked)?;
                form.add("client_id", self.client_id.as_bytes());
                form.add("client_assertion_type", b"urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                form.add("client_assertion", &assertion);
            }
        }
        Ok(form.post(&self.token.target))
    }

    /// Both halves as a form has them, then as Basic has them.
    fn basic(&self, secret: &Secret) -> Result<(::http::HeaderName, ::http::HeaderValue), BackendError> {
        let mut pair = Zeroizing::new(Vec::with_capacity(3 * (self.client_id.len() + secret.len()) + 1));
        http::put(&mut pair, self.client_id.as_bytes());
        pair.push(b':');
        http::put(&mut pair, secret.expose());
        let encoded = Zeroizing::new(STANDARD.encode(&*pair));
        http::authorization(Zeroizing::new([b"Basic ", encoded.as_bytes()].concat()))
    }

    fn assertion(&self, key: &Secret, asked: &Asked<'_>) -> Result<Zeroizing<Vec<u8>>, BackendError> {
        let now = jwt::seconds(asked.now);
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": self.token.to_string(), "jti": jwt::id(asked.random),
            "iat": now, "exp": now + ASSERTION_SECONDS,
        });
        let head = self.key_id.iter().map(|id| ("kid".to_owned(), json!(id))).collect::<Map<_, _>>();
        Signer::of(key)?.sign(head, &claims)
    }

    pub(super) async fn tokens(&self, ask: Ask, asked: &Asked<'_>) -> Result<Tokens, BackendError> {
        let reply = http::ask(asked.way, &self.token, &ask).await?;
        self.tokens_of(&reply, asked.now)
    }

    /// The tokens of an answer.
    pub(super) fn tokens_of(&self, reply: &Reply, now: Timestamp) -> Result<Tokens, BackendError> {
        http::read::<Answer>(&self.token, reply)?.tokens(&self.token, now)
    }

    async fn run(&self, asked: Asked<'_>) -> Result<Issued, BackendError> {
        let mut form = Form::new();
        let ask = match self.grant {
            OAuth2Grant::RefreshToken => return self.refresh(asked).await,
            OAuth2Grant::ClientCredentials => {
                form.add("grant_type", b"client_credentials");
                self.question(form, Some(&asked.root), &asked).await?
            }
            OAuth2Grant::TokenExchange => {
                let kind = self.subject_token_type.as_deref();
                form.add("grant_type", b"urn:ietf:params:oauth:grant-type:token-exchange");
                form.add("subject_token", asked.root.expose());
                let usual = "urn:ietf:params:oauth:token-type:access_token";
                form.add("subject_token_type", kind.unwrap_or(usual).as_bytes());
                self.question(form, None, &asked).await?
            }
        };
        let tokens = self.tokens(ask, &asked).await?;
        Ok(Issued { material: Material::token(tokens.value), expires: tokens.expires, root: None })
    }

    /// The stored access token while it is good; else a new one for the refresh token.
    async fn refresh(&self, asked: Asked<'_>) -> Result<Issued, BackendError> {
        let before = stored(&asked.root)?;
        let left = before.expires.is_some_and(|end| end > asked.now.plus_secs(LEFT_SECONDS_MIN));
        if left && let Some(access) = before.material.field(Field::Value) {
            let material = Material::token(Secret::new(access.expose().to_vec()));
            if !asked.refused.has(material.mark()) {
                return Ok(Issued { material, expires: before.expires, root: None });
            }
        }
        let refresh = before.material.field(Field::Refresh).ok_or_else(|| BackendError::Missing {
            what: "no refresh token is stored; log in again with `valetkey credential login`".to_owned(),
        })?;
        let mut form = Form::new();
        form.add("grant_type", b"refresh_token");
        form.add("refresh_token", refresh.expose());
        // No scope: what was granted at the log-in, and not what was asked for then (RFC 6749 6).
        let ask = self.bare_question(form, &asked).await?;
        let tokens = self.tokens(ask, &asked).await?;
        let (material, expires) = (Material::token(Secret::new(tokens.value.expose().to_vec())), tokens.expires);
        let renews = tokens.refresh.as_ref().is_some_and(|new| !new.equals(refresh.expose()));
        let value = join(tokens, Some(&before.material))
            .map_err(|error| BackendError::Malformed { what: error.to_string() })?;
        Ok(Issued { material, expires, root: Some(NewRoot { value, must_be_kept: renews }) })
    }
}

/// What is stored for a chain of refresh tokens.
struct Stored {
    material: Material,
    expires: Option<Timestamp>,
}

/// The tokens of a log-in as the kind `oauth2` has them, or a refresh token alone.
fn stored(root: &Secret) -> Result<Stored, BackendError> {
    let octets = root.expose();
    if !octets.starts_with(b"{") {
        return Ok(Stored {
            material: Material::new(vec![(Field::Refresh, Secret::new(octets.to_vec()))]),
            expires: None,
        });
    }
    let parts = Parts::of(root).map_err(|error| BackendError::Malformed { what: error.to_string() })?;
    let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
    let mut fields = vec![(Field::Value, secret(&parts.access))];
    fields.extend(parts.refresh.as_ref().map(|text| (Field::Refresh, secret(text))));
    fields.extend(parts.identity.as_ref().map(|text| (Field::Identity, secret(text))));
    Ok(Stored { material: Material::new(fields), expires: parts.expires })
}

impl Issuer for OAuth2 {
    fn name(&self) -> &'static str {
        "oauth2"
    }

    fn stores(&self) -> &'static str {
        match (self.grant, self.authentication) {
            (OAuth2Grant::RefreshToken, _) => "oauth2",
            (OAuth2Grant::ClientCredentials, Authentication::PrivateKeyJwt) => "private-key",
            _ => "token",
        }
    }

    fn issue<'a>(&'a self, asked: Asked<'a>) -> Pending<'a, Result<Issued, BackendError>> {
        Box::pin(self.run(asked))
    }

    fn sample(&self, random: &dyn Random) -> Material {
        Material::token(drawn(random, "", SAMPLE_CHARS))
    }

    fn renews_root(&self) -> bool {
        self.grant == OAuth2Grant::RefreshToken
    }
}

/// Reads octets as an answer of a token endpoint, good and not.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_all(body: &[u8]) {
    let Ok(origin) = model::canonical::parse_base("https://id.corp.test") else { return };
    let at = Endpoint { origin, target: "/token".to_owned() };
    for status in [200, 400, 503] {
        let reply = Reply { status, retry_after: None, body: Zeroizing::new(body.to_vec()) };
        let read = http::read::<Answer>(&at, &reply);
        let tokens = read.and_then(|mut answer| answer.tokens(&at, Timestamp::from_secs(0)));
        assert!(tokens.is_err() || status == 200, "a no that hands out tokens");
    }
}
