//! `hashicorp:MOUNT/PATH[?version=N][#FIELD]`: HashiCorp Vault and OpenBao, by their HTTP API
//! (<https://developer.hashicorp.com/vault/api-docs>, <https://openbao.org/api-docs>).
//!
//! What kind of engine is mounted is asked (`sys/internal/ui/mounts`) and remembered, or declared (`kv: 1`, `kv: 2`). Of a KV engine a field is read; of any
//! other engine (`database/creds/ROLE`, `aws/creds/ROLE`) the path is read as it stands, which makes a credential with a lease. Leases are
//! renewed while they are used and ended with the process. A token that we logged in for is renewed before its end, and revoked with the process.

mod answer;
mod token;

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use model::{Timestamp, bounds};
use parking_lot::{Mutex, RwLock};
use secret::Lease;

use self::answer::{Answer, refused};
use self::token::{Good, Tokens};
use super::{Backend, BackendError, Fetched, Local, Wanted, pick};
use crate::far::{Ask, Client, Reply, encoded};
use crate::instance::Site;
use crate::reference::Spot;
use crate::{Pending, Scheme};

/// Mounts that are remembered.
const MOUNTS_MAX: usize = 64;

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Kv1,
    Kv2,
    /// One that makes credentials when it is read.
    Other,
}

pub(crate) struct Hashicorp {
    asker: Asker,
    tokens: Tokens,
    /// Declared, where it is.
    kv: Option<u8>,
    /// Mount with its last slash, and what it is.
    mounts: RwLock<Vec<(String, Engine)>>,
    /// Leases, and the log-in that made each.
    made: Mutex<HashMap<Arc<str>, u64>>,
}

/// Asks questions that carry no token of their own.
struct Asker {
    client: Client,
    namespace: Option<HeaderValue>,
}

impl Asker {
    async fn ask(&self, ask: Ask) -> Result<Reply, BackendError> {
        // Refused by Vault from clients that were tricked into asking (X-Vault-Request, `require_request_header`).
        let ask = ask.with(HeaderName::from_static("x-vault-request"), HeaderValue::from_static("true"));
        let ask = match &self.namespace {
            Some(name) => ask.with(HeaderName::from_static("x-vault-namespace"), name.clone()),
            None => ask,
        };
        self.client.ask(&ask).await
    }
}

impl Hashicorp {
    pub fn new(site: &Site, client: Client, local: Local) -> Self {
        let namespace = site.namespace.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
        Self {
            asker: Asker { client, namespace },
            tokens: Tokens::new(site.login.clone(), local),
            kv: site.kv,
            mounts: RwLock::default(),
            made: Mutex::default(),
        }
    }

    /// Asks with our token; once more with a new one where it is over, because it may have been revoked. Gives the token, too.
    async fn ask(&self, make: &(dyn Fn() -> Ask + Sync), now: Timestamp) -> Result<(Reply, Good), BackendError> {
        let good = self.tokens.get(&self.asker, now).await?;
        let reply = self.asker.ask(make().with(token::FIELD, good.value.clone())).await?;
        if reply.status != 403 || !self.tokens.renounce(&self.asker, &good, now).await {
            return Ok((reply, good));
        }
        let good = self.tokens.get(&self.asker, now).await?;
        Ok((self.asker.ask(make().with(token::FIELD, good.value.clone())).await?, good))
    }

    /// Asks as whoever the configuration says that we are.
    pub async fn ask_known(&self, make: &(dyn Fn() -> Ask + Sync), now: Timestamp) -> Result<Reply, BackendError> {
        self.ask(make, now).await.map(|(reply, _)| reply)
    }

    /// Asks as somebody else, or as nobody.
    pub async fn ask_bare(&self, ask: Ask) -> Result<Reply, BackendError> {
        self.asker.ask(ask).await
    }

    async fn read(&self, wanted: Wanted<'_>) -> Result<Fetched, BackendError> {
        let malformed = |why: &str| BackendError::Malformed { what: format!("`{}`: {why}", wanted.reference) };
        let spot = Spot::read(Scheme::Hashicorp, wanted.reference.rest()).map_err(malformed)?;
        let (mount, engine) = self.engine(&spot, wanted.now).await?;
        let (front, behind) = spot.segments.split_at_checked(mount).unwrap_or((&[], &spot.segments));
        let (front, behind) = (joined(front), joined(behind));
        let target = match (engine, spot.version) {
            (Engine::Kv2, Some(version)) => format!("/v1/{front}/data/{behind}?version={version}"),
            (Engine::Kv2, None) => format!("/v1/{front}/data/{behind}"),
            (_, Some(_)) => return Err(malformed("only version 2 of the KV engine has versions")),
            _ => format!("/v1/{front}/{behind}"),
        };
        let (reply, good) = self.ask(&|| Ask::get(target.clone()), wanted.now).await?;
        let path = spot.segments.join("/");
        if reply.status != 200 {
            return Err(refused(&reply, &format!("`{path}`")));
        }
        let mut answer = Answer::read(&reply)?;
        let (data, version) = answer
            .take_data(engine == Engine::Kv2)
            .map_err(|why| BackendError::Missing { what: format!("`{path}`: {why}") })?;
        let value = data.pick(spot.field).map_err(|why| BackendError::Missing { what: format!("`{path}`: {why}") })?;
        let lease = self.bound(answer.lease(wanted.now), &good);
        Ok(Fetched { version, value, renewable: answer.renewable && lease.id.is_some(), lease })
    }

    /// How many segments the mount has, and what is mounted there.
    async fn engine(&self, spot: &Spot<'_>, now: Timestamp) -> Result<(usize, Engine), BackendError> {
        if let Some(version) = self.kv {
            return Ok((1, if version == 1 { Engine::Kv1 } else { Engine::Kv2 }));
        }
        let path = spot.segments.join("/");
        if let Some(known) = self.known(&path) {
            return Ok(known);
        }
        let target = format!("/v1/sys/internal/ui/mounts/{}", joined(&spot.segments));
        let (reply, _) = self.ask(&|| Ask::get(target.clone()), now).await?;
        if reply.status != 200 {
            return Err(refused(&reply, &format!("the mount of `{path}`")));
        }
        let (mount, engine) =
            Answer::read(&reply)?.mount().filter(|(mount, _)| path.starts_with(mount)).ok_or_else(|| {
                let what = format!("it does not say what is mounted at `{path}`; declare it with `kv: 1` or `kv: 2`");
                BackendError::Malformed { what }
            })?;
        let count = mount.matches('/').count();
        let mut mounts = self.mounts.write();
        if mounts.len() < MOUNTS_MAX && !mounts.iter().any(|(known, _)| *known == mount) {
            mounts.push((mount, engine));
        }
        Ok((count, engine))
    }

    /// The longest mount that the path is under.
    fn known(&self, path: &str) -> Option<(usize, Engine)> {
        let mounts = self.mounts.read();
        let under = mounts.iter().filter(|(mount, _)| path.starts_with(mount.as_str()));
        under.max_by_key(|(mount, _)| mount.len()).map(|(mount, engine)| (mount.matches('/').count(), *engine))
    }

    /// A lease ends with the token that made it, whatever it says itself.
    fn bound(&self, lease: Lease, good: &Good) -> Lease {
        let Lease { id: Some(id), expires: Some(expires) } = lease else { return lease };
        let mut made = self.made.lock();
        if made.len() >= bounds::LEASES_MAX {
            // One that is not known is not renewed: a new one is fetched in its place.
            made.clear();
        }
        made.insert(Arc::clone(&id), good.number);
        let expires = good.ends.map_or(expires, |ends| ends.min(expires));
        Lease { id: Some(id), expires: Some(expires) }
    }

    async fn make_longer(&self, lease: &str, now: Timestamp) -> Result<Option<Timestamp>, BackendError> {
        let made_by = self.made.lock().get(lease).copied();
        let make = || of_lease("/v1/sys/leases/renew", lease);
        let (reply, good) = self.ask(&make, now).await?;
        match reply.status {
            // Another log-in's ends with that one.
            200 if made_by == Some(good.number) => {}
            // Over already, or revoked there: a new one is fetched.
            200 | 400 | 403 | 404 => return Ok(None),
            _ => return Err(refused(&reply, "a lease")),
        }
        Ok(self.bound(Answer::read(&reply)?.lease(now), &good).expires)
    }

    async fn leave(&self, leases: Vec<Arc<str>>, whole: bool) {
        // Whoever logged in revokes his token, and with it all that it made; a token of the user's own stays.
        if whole && let Some(token) = self.tokens.take_own().await {
            let ask = Ask { method: Method::POST, ..Ask::get("/v1/auth/token/revoke-self") };
            if self.asker.ask(ask.with(token::FIELD, token)).await.is_ok_and(|reply| reply.status == 204) {
                return;
            }
        }
        let Some(token) = self.tokens.held().await else { return };
        for lease in leases {
            let reply =
                self.asker.ask(of_lease("/v1/sys/leases/revoke", &lease).with(token::FIELD, token.clone())).await;
            if !reply.is_ok_and(|reply| matches!(reply.status, 200 | 204)) {
                tracing::warn!("a lease could not be ended; it ends by itself");
            }
        }
    }
}

impl Backend for Hashicorp {
    fn scheme(&self) -> Scheme {
        Scheme::Hashicorp
    }

    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> Pending<'a, Result<Fetched, BackendError>> {
        Box::pin(self.read(wanted))
    }

    fn renew<'a>(&'a self, lease: &'a str, now: Timestamp) -> Pending<'a, Result<Option<Timestamp>, BackendError>> {
        Box::pin(self.make_longer(lease, now))
    }

    fn check(&self, now: Timestamp) -> Pending<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let (reply, _) = self.ask(&|| Ask::get("/v1/auth/token/lookup-self"), now).await?;
            if reply.status == 200 { Ok(()) } else { Err(refused(&reply, "our own token")) }
        })
    }

    fn end(&self, leases: Vec<Arc<str>>, whole: bool) -> Pending<'_, ()> {
        Box::pin(self.leave(leases, whole))
    }
}

fn joined(segments: &[&str]) -> String {
    segments.iter().map(|segment| encoded(segment)).collect::<Vec<_>>().join("/")
}

fn of_lease(target: &str, lease: &str) -> Ask {
    // The id of a lease is no secret, and plain text: the body cannot fail.
    let body = pick::body(&[("lease_id", lease.as_bytes())]).unwrap_or_default();
    Ask { method: Method::PUT, ..Ask::post(target, body) }
}

impl Answer {
    /// The lease of what was read, if it has one.
    fn lease(&self, now: Timestamp) -> Lease {
        if self.lease_id.is_empty() {
            return Lease::default();
        }
        Lease { id: Some(Arc::from(self.lease_id.as_str())), expires: Some(now.plus_secs(self.lease_duration)) }
    }
}

/// Reads octets as every endpoint would.
#[cfg(feature = "fuzzing")]
pub(super) fn read_all(body: &[u8]) {
    if let Ok(mut answer) = Answer::parse(body) {
        let _ = (answer.mount(), answer.own(), answer.lease(Timestamp(0)));
        if let Ok((tree, _)) = answer.take_data(true) {
            let _ = tree.pick(None);
        }
    }
    for status in [400, 403, 404, 503] {
        let reply = Reply { status, retry_after: None, body: zeroize::Zeroizing::new(body.to_vec()) };
        let said = refused(&reply, "it").to_string();
        assert!(!said.contains(char::is_control), "{said:?}");
    }
}
