//! Live sessions: what the gateway knows of an agent at work, and how that ends at once.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use inject::{KnownSecrets, Needles, SessionPlaceholders};
use model::event::CredentialUse;
use model::{
    ActionId, CredentialName, Digest, GrantId, Part, Rank, Refusal, Resource, ServiceName, Session, SessionId,
    Timestamp, bounds,
};
use parking_lot::{Mutex, RwLock};
use policy::Given;
use tokio_util::sync::CancellationToken;

use crate::body::Budget;

/// Counts for the receipt.
#[derive(Debug, Default)]
pub struct Tally {
    /// Exchanges accepted.
    pub requests: AtomicU64,
    /// Exchanges answered by their upstream.
    pub allowed: AtomicU64,
    /// Exchanges we refused, whatever the code.
    pub denied: AtomicU64,
    /// Exchanges about which a person was asked.
    pub asked: AtomicU64,
    /// Placeholders seen where they do not belong.
    pub tripwires: AtomicU64,
    /// The first few calls that policy denied: service, action, resource.
    denied_calls: Mutex<Vec<DeniedCall>>,
}

/// A call that policy denied: service, action, resource.
pub type DeniedCall = (ServiceName, ActionId, Resource);

/// How many denied calls are kept for the receipt's suggestions.
const DENIED_CALLS_MAX: usize = 10;

impl Tally {
    /// Keeps a denied call, once.
    pub(crate) fn deny(&self, call: DeniedCall) {
        let mut calls = self.denied_calls.lock();
        if calls.len() < DENIED_CALLS_MAX && !calls.contains(&call) {
            calls.push(call);
        }
    }

    /// The denied calls that were kept.
    #[must_use]
    pub fn denials(&self) -> Vec<DeniedCall> {
        self.denied_calls.lock().clone()
    }
}

/// Alerts that were raised for a session already, so many of each rank: what is seen in every request of a conversation is
/// told once.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<HashSet<(Rank, String)>>);

/// Alerts of one rank and session. Beyond it there is no news, and a session may be stopped all the same.
const ALERTS_PER_RANK_MAX: usize = 64;

impl Alarms {
    /// Whether this was not told yet; from now on it is.
    pub(crate) fn is_new(&self, key: (Rank, String)) -> bool {
        let mut told = self.0.lock();
        told.iter().filter(|(rank, _)| *rank == key.0).count() < ALERTS_PER_RANK_MAX && told.insert(key)
    }
}

/// What must not come back, and from where.
#[derive(Default)]
pub struct Guarded {
    /// Services that credentials of the session are bound to.
    pub services: Vec<ServiceName>,
    /// All values of these credentials.
    pub needles: Option<Arc<Needles>>,
}

/// What a session holds. Never edited: what an answer hands out makes another one, swapped whole.
pub struct Holdings {
    /// Its placeholders, searched in what it sends.
    pub placeholders: SessionPlaceholders,
    /// Real secrets that must never be seen in what it sends.
    pub known: Option<Arc<KnownSecrets>>,
    /// Services that its credentials are bound to, and what must not come back from them: an API may show what it got
    /// with an earlier request.
    pub guarded: Guarded,
    /// It has logged in somewhere, or an earlier session of its agent had.
    pub logins: bool,
}

/// One session, alive in this process.
pub struct LiveSession {
    /// Who, for whom, on what.
    pub session: Session,
    /// Credentials that are put on without a placeholder (`inject: always`).
    pub always: Vec<CredentialName>,
    /// From which its placeholders follow.
    pub key: hmac::Key,
    holdings: ArcSwap<Holdings>,
    /// Its live grants, swapped whole.
    grants: ArcSwap<Vec<Arc<Given>>>,
    /// What cuts exchanges that stand on one of them.
    standing: Mutex<HashMap<GrantId, CancellationToken>>,
    /// Counts.
    pub tally: Tally,
    /// Alerts that were raised.
    pub(crate) alarms: Alarms,
    /// Its share of the memory for bodies that are judged.
    pub(crate) bodies: Budget,
    /// Its share of the files in which large ones wait for people.
    pub(crate) spooled: Budget,
    ended: AtomicBool,
    open: AtomicUsize,
    cancel: CancellationToken,
}

impl LiveSession {
    /// A text with the session's placeholders in place of real secrets, and a mask for those that it has none for; none where
    /// the text holds no secret that is known here.
    #[must_use]
    pub fn without_secrets(&self, text: &[u8]) -> Option<Vec<u8>> {
        let holdings = self.holdings();
        let placeholder =
            |name: &CredentialName, part| holdings.placeholders.part_of(name, part).map(|entry| &*entry.text);
        Some(holdings.known.as_ref()?.replace_with_placeholder(text, &placeholder)?.0)
    }

    /// Begins to serve a session.
    #[must_use]
    pub fn new(session: Session, key: hmac::Key, always: Vec<CredentialName>, holdings: Holdings) -> Self {
        Self {
            session,
            always,
            key,
            holdings: ArcSwap::from_pointee(holdings),
            grants: ArcSwap::default(),
            standing: Mutex::default(),
            tally: Tally::default(),
            alarms: Alarms::default(),
            bodies: Budget::of(bounds::BODIES_HELD_PER_SESSION_BYTES_MAX),
            spooled: Budget::of(bounds::SPOOLED_PER_SESSION_BYTES_MAX),
            ended: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            cancel: CancellationToken::new(),
        }
    }

    /// What it holds now. To be dropped before anything is waited for.
    #[must_use]
    pub fn holdings(&self) -> arc_swap::Guard<Arc<Holdings>> {
        self.holdings.load()
    }

    /// Holds something else from now on.
    pub fn hold(&self, holdings: Holdings) {
        self.holdings.store(Arc::new(holdings));
    }

    /// Its live grants. To be dropped before anything is waited for.
    #[must_use]
    pub fn grants(&self) -> arc_swap::Guard<Arc<Vec<Arc<Given>>>> {
        self.grants.load()
    }

    /// Has these grants from now on; what stands on another is cut.
    pub fn grant(&self, grants: Vec<Arc<Given>>) {
        let ids: HashSet<GrantId> = grants.iter().map(|given| given.id).collect();
        // First what is decided by, then what was: an exchange that asks for a handle in between finds that it is over.
        self.grants.store(Arc::new(grants));
        self.standing.lock().retain(|id, handle| {
            if !ids.contains(id) {
                handle.cancel();
            }
            ids.contains(id)
        });
    }

    /// Drops grants whose time is over, and cuts what stands on them; whether there were any.
    pub fn lapse(&self, now: Timestamp) -> bool {
        let grants = self.grants.load_full();
        let left: Vec<_> = grants.iter().filter(|given| now < given.expires).cloned().collect();
        let any = left.len() < grants.len();
        if any {
            self.grant(left);
        }
        any
    }

    /// What is cut when this grant ends; cut already where it has.
    pub(crate) fn standing_on(&self, id: GrantId) -> CancellationToken {
        let mut standing = self.standing.lock();
        if self.grants.load().iter().any(|given| given.id == id) {
            return standing.entry(id).or_default().clone();
        }
        let over = CancellationToken::new();
        over.cancel();
        over
    }

    /// The real secrets that must never be seen in what it sends.
    #[must_use]
    pub fn known(&self) -> Option<Arc<KnownSecrets>> {
        self.holdings.load().known.clone()
    }

    /// Whether anything may be done in its name now.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.ended.load(Relaxed) && self.session.is_live(now)
    }

    /// Ends it: nothing more is accepted, and everything under way is cut.
    pub fn end(&self) {
        self.ended.store(true, Relaxed);
        self.cancel.cancel();
    }

    /// Cut when the session ends.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Takes a place among the exchanges under way; `None` at the bound.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.open.fetch_add(1, Relaxed) >= bounds::EXCHANGES_PER_SESSION_MAX {
            self.open.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Place(Arc::clone(self)))
    }
}

/// A place among the exchanges under way of one session; given back when dropped.
pub(crate) struct Place(Arc<LiveSession>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// A future of a trait object.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a session is found that this process has not seen yet (another process on the same home began it). The
/// wiring implements it over store and vault; the proxy knows neither how tokens are kept nor how placeholders are made.
pub trait SessionSource: Send + Sync {
    /// The live session of this token.
    fn load<'a>(&'a self, token: &'a str) -> Later<'a, Option<Arc<LiveSession>>>;

    /// Digests of the tokens of all live sessions that any process began; none where they are too many or cannot be told.
    fn tokens(&self) -> Later<'_, Option<HashSet<Digest>>>;

    /// Takes in a placeholder that an earlier session of the same agent was given for a log-in that this one holds too;
    /// anything else is left alone. `part` is what its slot takes.
    fn adopt<'a>(&'a self, live: &'a Arc<LiveSession>, part: Part, text: &'a str) -> Later<'a, ()>;

    /// Keeps what an answer handed out, and makes the session hold placeholders for it.
    ///
    /// # Errors
    /// The refusal by which the answer is withheld.
    fn keep<'a>(&'a self, live: &'a Arc<LiveSession>, handed: Handed) -> Later<'a, Result<Kept, Refusal>>;
}

/// What one answer handed out.
pub struct Handed {
    /// The service that did.
    pub service: ServiceName,
    /// The credential in force: the one whose refresh token was sent, or by which the rule let the request through.
    pub credential: Option<CredentialName>,
    /// The credential that was captured under it and whose refresh token was sent.
    pub minted: Option<CredentialName>,
    /// A refresh token was put on: what came back renews what it belongs to.
    pub renews: bool,
    /// In the order of the service file.
    pub sets: Vec<HandedSet>,
}

/// One credential of an answer.
pub struct HandedSet {
    /// It is a log-in.
    pub login: bool,
    /// Its tokens.
    pub tokens: vault::Tokens,
}

/// What stands for it.
pub struct Kept {
    /// Placeholders by part, for each set.
    pub placeholders: Vec<Vec<(Part, Arc<str>)>>,
    /// Names and versions, for the record.
    pub captured: Vec<CredentialUse>,
}

/// Sessions alive in this process, by the digest of their token and by id.
#[derive(Default)]
pub struct Sessions {
    by_token: RwLock<HashMap<Digest, Arc<LiveSession>>>,
}

impl Sessions {
    /// Adds one under the digest of its token, unless another road was quicker: there is one for each token.
    pub fn insert(&self, token: Digest, live: Arc<LiveSession>) -> Arc<LiveSession> {
        Arc::clone(self.by_token.write().entry(token).or_insert(live))
    }

    /// The session of this token. Lookup is by digest of a 256-bit token, so its timing tells nothing (row J116).
    #[must_use]
    pub fn by_token(&self, token: &Digest) -> Option<Arc<LiveSession>> {
        self.by_token.read().get(token).cloned()
    }

    /// The session of this id.
    #[must_use]
    pub fn by_id(&self, id: SessionId) -> Option<Arc<LiveSession>> {
        self.by_token.read().values().find(|live| live.session.id == id).cloned()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<LiveSession>> {
        self.by_token.read().values().cloned().collect()
    }

    /// Ends those that `which` names and those whose time is over, and forgets what has long been dead. Gives those that
    /// ended now.
    pub fn end(&self, now: Timestamp, which: impl Fn(&LiveSession) -> bool) -> Vec<Arc<LiveSession>> {
        let mut ended = Vec::new();
        self.by_token.write().retain(|_, live| {
            let over = now >= live.session.expires;
            if (over || which(live)) && !live.ended.load(Relaxed) {
                live.end();
                ended.push(Arc::clone(live));
            }
            // An ended session stays for a while so that its agent hears `session_ended`, not `unidentified`.
            now < live.session.expires.plus_secs(3_600)
        });
        ended
    }
}
