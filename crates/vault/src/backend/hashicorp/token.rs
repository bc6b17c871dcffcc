//! Our token at Vault: got by a log-in, renewed before its end, got anew when it is over or refused.
#![expect(clippy::disallowed_methods, reason = "what logs us in goes into the log-in")]

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderName, HeaderValue, Method};
use model::Timestamp;
use secret::Secret;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::Asker;
use super::answer::{Answer, refused};
use crate::backend::pick::{body, field};
use crate::backend::{BackendError, Local, without_newline};
use crate::far::{Ask, encoded, secret_field};
use crate::instance::LogIn;

/// The field that carries it.
pub(super) const FIELD: HeaderName = HeaderName::from_static("x-vault-token");

/// A log-in's life is looked after from this part of it on: there is time for a second try.
const RENEW_AFTER: (u64, u64) = (2, 3);

/// A token that is good for now.
#[derive(Clone)]
pub(super) struct Good {
    pub value: HeaderValue,
    /// Which log-in it is of: what it makes ends with it.
    pub number: u64,
    /// When it ends, if it does.
    pub ends: Option<Timestamp>,
}

/// A token that is refused this soon after it was got is refused for what it may not do, not for being over, seconds.
const FRESH_SECONDS: u64 = 30;

pub(super) struct Tokens {
    login: LogIn,
    local: Local,
    /// Log-ins so far.
    count: AtomicU64,
    /// Held while one is got: there is one log-in at a time.
    held: Mutex<Option<Token>>,
}

struct Token {
    value: HeaderValue,
    /// Counts log-ins.
    number: u64,
    got: Timestamp,
    /// We logged in for it, so it is ours to revoke.
    own: bool,
    /// None: it has no end.
    ends: Option<Ends>,
}

#[derive(Clone, Copy)]
struct Ends {
    expires: Timestamp,
    look_after: Timestamp,
    renewable: bool,
}

impl Token {
    fn good(&self) -> Good {
        Good { value: self.value.clone(), number: self.number, ends: self.ends.map(|ends| ends.expires) }
    }
}

impl Ends {
    fn after(seconds: u64, renewable: bool, now: Timestamp) -> Option<Self> {
        let (part, whole) = RENEW_AFTER;
        let look_after = now.plus_secs(seconds.saturating_mul(part) / whole);
        (seconds > 0).then(|| Self { expires: now.plus_secs(seconds), look_after, renewable })
    }
}

impl Tokens {
    pub fn new(login: LogIn, local: Local) -> Self {
        Self { login, local, count: AtomicU64::new(0), held: Mutex::default() }
    }

    /// The token, good for now.
    pub async fn get(&self, asker: &Asker, now: Timestamp) -> Result<Good, BackendError> {
        let mut held = self.held.lock().await;
        if let Some(token) = &mut *held {
            match token.ends {
                None => return Ok(token.good()),
                Some(ends) if now < ends.look_after => return Ok(token.good()),
                Some(ends) if now < ends.expires => {
                    if ends.renewable && renew(asker, token, now).await {
                        return Ok(token.good());
                    }
                    // A new one if there is one to be had; else this one while it lasts.
                    if let Ok(fresh) = self.log_in(asker, now).await {
                        return Ok(held.insert(fresh).good());
                    }
                    return Ok(token.good());
                }
                Some(_) => {}
            }
        }
        *held = None;
        Ok(held.insert(self.log_in(asker, now).await?).good())
    }

    /// Forgets this token if it was refused because it is over; whether another may be had. One that may look itself up is alive, and one
    /// that is new is not over: a policy refused it, and no log-in changes that. What a user wrote down is read again: it may have changed.
    pub async fn renounce(&self, asker: &Asker, refused: &Good, now: Timestamp) -> bool {
        let mut held = self.held.lock().await;
        // Another question may have got a new one meanwhile.
        let Some(token) = held.as_ref().filter(|token| token.number == refused.number) else { return true };
        if now < token.got.plus_secs(FRESH_SECONDS) {
            return false;
        }
        let look = asker.ask(Ask::get("/v1/auth/token/lookup-self").with(FIELD, token.value.clone())).await;
        let over = look.is_ok_and(|reply| reply.status == 403);
        if over {
            *held = None;
        }
        over
    }

    /// The token that we logged in for, taken away.
    pub async fn take_own(&self) -> Option<HeaderValue> {
        let mut held = self.held.lock().await;
        held.take_if(|token| token.own).map(|token| token.value)
    }

    pub async fn held(&self) -> Option<HeaderValue> {
        self.held.lock().await.as_ref().map(|token| token.value.clone())
    }

    fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    async fn log_in(&self, asker: &Asker, now: Timestamp) -> Result<Token, BackendError> {
        match &self.login {
            LogIn::Token(reference) => {
                let token = self.local.secret(reference, now).await?;
                let value = secret_field(field("", &token))?;
                let ends = look_up(asker, &value, now).await?;
                Ok(Token { value, number: self.number(), got: now, own: false, ends })
            }
            LogIn::AppRole { mount, role, secret } => {
                let secret = self.local.secret(secret, now).await?;
                let members = [("role_id", role.as_bytes()), ("secret_id", without_newline(secret.expose()))];
                by(asker, mount, &members, (self.number(), now)).await
            }
            LogIn::AwsKey { .. } | LogIn::AwsAmbient { .. } | LogIn::GoogleKey(_) | LogIn::AzureClient { .. } => Err(BackendError::Malformed {
                what: "a key of another cloud does not log in to Vault; write `token`, `approle`, `kubernetes` or `jwt`"
                    .to_owned(),
            }),
            LogIn::Jwt { mount, role, jwt } => {
                let jwt: Secret = self.local.secret(jwt, now).await?;
                let members = [("role", role.as_bytes()), ("jwt", without_newline(jwt.expose()))];
                by(asker, mount, &members, (self.number(), now)).await
            }
        }
    }
}

async fn by(
    asker: &Asker,
    mount: &str,
    members: &[(&str, &[u8])],
    (number, now): (u64, Timestamp),
) -> Result<Token, BackendError> {
    let body = body(members).map_err(|why| BackendError::Malformed { what: why.to_owned() })?;
    let mount: Vec<String> = mount.split('/').map(encoded).collect();
    let reply = asker.ask(Ask::post(format!("/v1/auth/{}/login", mount.join("/")), body)).await?;
    if reply.status != 200 {
        let refused = refused(&reply, "a log-in");
        // What is wrong with a log-in (a secret id that is over) is no wrong question.
        let BackendError::Malformed { what } = refused else { return Err(refused) };
        return Err(BackendError::Forbidden { what });
    }
    let auth = Answer::read(&reply)?.auth.filter(|auth| !auth.client_token.is_empty());
    let auth =
        auth.ok_or_else(|| BackendError::Malformed { what: "Vault answers a log-in without a token".to_owned() })?;
    let value = secret_field(Zeroizing::new(auth.client_token.as_bytes().to_vec()))?;
    Ok(Token { value, number, got: now, own: true, ends: Ends::after(auth.lease_duration, auth.renewable, now) })
}

/// When a token that was written down ends.
async fn look_up(asker: &Asker, token: &HeaderValue, now: Timestamp) -> Result<Option<Ends>, BackendError> {
    let reply = asker.ask(Ask::get("/v1/auth/token/lookup-self").with(FIELD, token.clone())).await?;
    match reply.status {
        200 => {
            let (left, renewable) = Answer::read(&reply)?.own();
            Ok(Ends::after(left, renewable, now))
        }
        // The policy `default` allows it, and not every token has that: it is taken as it is.
        403 => Ok(None),
        _ => Err(refused(&reply, "our own token")),
    }
}

/// Whether it could be made longer.
async fn renew(asker: &Asker, token: &mut Token, now: Timestamp) -> bool {
    let ask = Ask { method: Method::POST, ..Ask::get("/v1/auth/token/renew-self") };
    let Ok(reply) = asker.ask(ask.with(FIELD, token.value.clone())).await else { return false };
    let auth = if reply.status == 200 { Answer::read(&reply).ok().and_then(|answer| answer.auth) } else { None };
    let Some(ends) = auth.and_then(|auth| Ends::after(auth.lease_duration, auth.renewable, now)) else { return false };
    // At its longest life a renewal gives what is left: then it is time to log in.
    let longer = token.ends.is_none_or(|before| ends.expires > before.expires);
    token.ends = Some(ends);
    longer
}
