//! Token endpoints of Google and of Microsoft Entra behind an [`Upstream`](crate::Upstream), replayed from their documentation: they look at
//! the signature, the times and the members of what they are asked with.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;

use crate::clock::SeededRandom;
use crate::oauth::unescape;
use crate::signed::{RsaKey, good_at, machine_seconds};
use crate::upstream::{Answer, Seen};

/// What a client must show.
#[derive(Clone, Debug)]
pub enum Client {
    /// Google: a service account's name, and the key that signs for it.
    Account {
        /// `client_email`.
        email: String,
        /// Its key.
        key: RsaKey,
        /// Where it asks.
        endpoint: String,
    },
    /// Entra: a secret.
    Secret {
        /// The client's id.
        id: String,
        /// Its secret.
        secret: String,
    },
    /// Entra: a certificate.
    Certificate {
        /// The client's id.
        id: String,
        /// The key.
        key: RsaKey,
        /// SHA-256 of the certificate.
        thumbprint: Vec<u8>,
        /// Where it asks.
        endpoint: String,
    },
}

/// An endpoint. Copies share their state.
#[derive(Clone, Debug)]
pub struct Grants {
    client: Client,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: SeededRandom,
    given: Vec<String>,
    asked: Vec<BTreeMap<String, String>>,
    refused: Vec<String>,
}

impl Grants {
    /// One that knows this client.
    #[must_use]
    pub fn new(seed: u64, client: Client) -> Self {
        let state =
            State { random: SeededRandom::new(seed), given: Vec::new(), asked: Vec::new(), refused: Vec::new() };
        Self { client, state: Arc::new(Mutex::new(state)) }
    }

    /// Answers as an upstream's handler does.
    pub fn handler(&self) -> impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static {
        let own = self.clone();
        move |seen| Some(own.answer(seen))
    }

    /// Tokens so far.
    #[must_use]
    pub fn given(&self) -> Vec<String> {
        self.state.lock().given.clone()
    }

    /// Why it said no, each time.
    #[must_use]
    pub fn refused(&self) -> Vec<String> {
        self.state.lock().refused.clone()
    }

    /// What it was asked, without what proves it; claims of a token that was signed stand beside.
    #[must_use]
    pub fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().asked.clone()
    }

    fn answer(&self, seen: &Seen) -> Answer {
        let text = String::from_utf8_lossy(&seen.body).into_owned();
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        let form: BTreeMap<String, String> = pairs.map(|(name, value)| (unescape(name), unescape(value))).collect();
        let mut state = self.state.lock();
        let seen = match self.judged(&form) {
            Ok(seen) => seen,
            Err(why) => {
                state.refused.push(why);
                return Answer::json(
                    &json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." }),
                )
                .with_status(400);
            }
        };
        let identity = seen.contains_key("target_audience");
        state.asked.push(seen);
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let token = match (&self.client, identity) {
            (Client::Account { .. }, false) => format!("ya29.{}", state.random.text(190)),
            _ => format!("{}.{}.{}", part("{\"alg\":\"RS256\"}"), part("{\"aud\":\"x\"}"), state.random.text(342)),
        };
        state.given.push(token.clone());
        let name = if identity { "id_token" } else { "access_token" };
        Answer::json(&json!({ name: token, "expires_in": 3599, "token_type": "Bearer" }))
    }

    /// What it was asked for, or what is wrong with it.
    fn judged(&self, form: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let expect = |what: &str, is: &str, wanted: &str| {
            if is == wanted { Ok(()) } else { Err(format!("{what} is {is}, and should be {wanted}")) }
        };
        let now = machine_seconds();
        match &self.client {
            Client::Account { email, key, endpoint } => {
                expect("grant_type", field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer")?;
                let (head, claims) = key.claims(field("assertion"), "RS256")?;
                good_at(&claims, now, 3_600)?;
                expect("kid", head["kid"].as_str().unwrap_or_default(), "key-1")?;
                expect("iss", claims["iss"].as_str().unwrap_or_default(), email)?;
                expect("aud", claims["aud"].as_str().unwrap_or_default(), endpoint)?;
                let texts = claims.as_object().unwrap().iter();
                Ok(texts.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect())
            }
            Client::Secret { id, secret } => {
                expect("grant_type", field("grant_type"), "client_credentials")?;
                expect("client_id", field("client_id"), id)?;
                if field("client_secret") != secret {
                    return Err("another secret".to_owned());
                }
                Ok(BTreeMap::from([("scope".to_owned(), field("scope").to_owned())]))
            }
            Client::Certificate { id, key, thumbprint, endpoint } => {
                expect("grant_type", field("grant_type"), "client_credentials")?;
                expect("client_id", field("client_id"), id)?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                expect("client_assertion_type", field("client_assertion_type"), kind)?;
                let (head, claims) = key.claims(field("client_assertion"), "PS256")?;
                good_at(&claims, now, 600)?;
                expect("x5t#S256", head["x5t#S256"].as_str().unwrap_or_default(), &URL_SAFE_NO_PAD.encode(thumbprint))?;
                for (name, wanted) in [("iss", id), ("sub", id), ("aud", endpoint)] {
                    expect(name, claims[name].as_str().unwrap_or_default(), wanted)?;
                }
                if claims["jti"].as_str().is_none_or(str::is_empty) || claims["nbf"].as_i64().is_none_or(|at| at > now)
                {
                    return Err("no jti, or not good yet".to_owned());
                }
                Ok(BTreeMap::from([("scope".to_owned(), field("scope").to_owned())]))
            }
        }
    }
}
