//! Every placeholder of the process, live or dead for a short time, by its text; and the own ones of a session. What
//! searches them in what is sent is in [`super::watch`].

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use model::bounds::SESSION_PLACEHOLDERS_MAX;
use model::{AgentName, CredentialName, Part, ServiceName, SessionId};
use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;

use super::watch::{Searched, SightScan, Watch};
use crate::InjectError;
use crate::scrub::finder::Hits;

/// Placeholders of all sessions at once: a thousand sessions with as many credentials as one may hold would not fit, a
/// thousand with a hundred do. About 300 octets each.
const PLACEHOLDERS_MAX: usize = 128 * 1024;
/// Placeholders of ended sessions that are still recognised, so that a leak can be named.
const DEAD_MAX: usize = 16 * 1024;
/// Locks, so that threads that look things up do not meet.
const SHARDS: usize = 32;

/// What a placeholder stands for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its text.
    pub text: Arc<str>,
    /// The credential it stands for.
    pub credential: CredentialName,
    /// The credential's own service, where it is bound to one.
    pub service: Option<ServiceName>,
    /// The session it was made for.
    pub session: SessionId,
    /// The agent it was made for.
    pub agent: AgentName,
    /// Which part of the credential.
    pub part: Part,
    /// What is opened instead: a credential that an answer handed out while `credential` was in force, which alone
    /// policy knows.
    pub minted: Option<CredentialName>,
}

/// An entry and whether its session goes on.
pub(crate) struct Held {
    pub entry: Entry,
    live: AtomicBool,
}

impl Held {
    pub fn is_live(&self) -> bool {
        self.live.load(Relaxed)
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {}
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[derive(Clone, Copy, Default)]
struct SameBuilder;

impl BuildHasher for SameBuilder {
    type Hasher = Same;
    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

type Shard = RwLock<HashMap<u64, Vec<Arc<Held>>, SameBuilder>>;

/// All placeholders of the process. Bounded; looked up by a keyed hash and then in constant time.
pub struct Index {
    hasher: RandomState,
    shards: Vec<Shard>,
    order: RwLock<Order>,
    watch: RwLock<Arc<Watch>>,
    /// Held while the watch is made anew, so that two sessions that begin at once do not lose each other.
    watching: Mutex<()>,
}

#[derive(Default)]
struct Order {
    live: usize,
    dead: VecDeque<Arc<Held>>,
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl Index {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self {
            hasher: RandomState::new(),
            shards,
            order: RwLock::default(),
            watch: RwLock::default(),
            watching: Mutex::default(),
        }
    }

    fn shard(&self, key: u64) -> Option<&Shard> {
        self.shards.get((key >> 57) as usize % SHARDS)
    }

    /// Adds the placeholders of one session and gives what searches them.
    ///
    /// # Errors
    /// [`InjectError::TooMany`] over the bound of one session or of the process; nothing is added then.
    pub fn open(
        &self,
        session: SessionId,
        agent: &AgentName,
        entries: Vec<Entry>,
    ) -> Result<SessionPlaceholders, InjectError> {
        let mut order = self.order.write();
        if entries.len() > SESSION_PLACEHOLDERS_MAX {
            return Err(InjectError::TooMany { bound: SESSION_PLACEHOLDERS_MAX });
        }
        if order.live + entries.len() > PLACEHOLDERS_MAX {
            return Err(InjectError::TooMany { bound: PLACEHOLDERS_MAX });
        }
        order.live += entries.len();
        drop(order);
        let own = self.watched(&[], self.add(entries));
        Ok(SessionPlaceholders { session, agent: agent.clone(), own })
    }

    /// The same session with what it was given since: what it held stays live, texts that it holds already are not
    /// added again.
    ///
    /// # Errors
    /// As [`Self::open`]; `before` stays as it is then.
    pub fn extend(
        &self,
        before: &SessionPlaceholders,
        entries: Vec<Entry>,
    ) -> Result<SessionPlaceholders, InjectError> {
        let mut fresh: Vec<Entry> = Vec::new();
        for entry in entries {
            let known = before.entries().chain(&fresh).any(|known| known.text == entry.text);
            if !known {
                fresh.push(entry);
            }
        }
        let mut order = self.order.write();
        if before.own.held().len() + fresh.len() > SESSION_PLACEHOLDERS_MAX {
            return Err(InjectError::TooMany { bound: SESSION_PLACEHOLDERS_MAX });
        }
        if order.live + fresh.len() > PLACEHOLDERS_MAX {
            return Err(InjectError::TooMany { bound: PLACEHOLDERS_MAX });
        }
        order.live += fresh.len();
        drop(order);
        let own = self.watched(before.own.held(), self.add(fresh));
        Ok(SessionPlaceholders { session: before.session, agent: before.agent.clone(), own })
    }

    fn add(&self, entries: Vec<Entry>) -> Vec<Arc<Held>> {
        let held: Vec<Arc<Held>> =
            entries.into_iter().map(|entry| Arc::new(Held { entry, live: AtomicBool::new(true) })).collect();
        for one in &held {
            let key = self.hasher.hash_one(one.entry.text.as_bytes());
            if let Some(shard) = self.shard(key) {
                shard.write().entry(key).or_default().push(Arc::clone(one));
            }
        }
        held
    }

    /// Lets others' requests be searched for these too; what searches a session's own.
    fn watched(&self, before: &[Arc<Held>], fresh: Vec<Arc<Held>>) -> Arc<Searched> {
        let all: Vec<Arc<Held>> = before.iter().chain(&fresh).cloned().collect();
        let own = Arc::new(Searched::new(all));
        if !fresh.is_empty() {
            let added = if before.is_empty() { Arc::clone(&own) } else { Arc::new(Searched::new(fresh)) };
            let _alone = self.watching.lock();
            // Made outside of the lock that every request takes.
            let next = self.watch().with(added);
            *self.watch.write() = Arc::new(next);
        }
        own
    }

    pub(crate) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch.read())
    }

    /// Begins to look for placeholders in a body that passes as it comes.
    #[must_use]
    pub fn sight_stream(&self, session: &SessionPlaceholders) -> SightScan {
        SightScan::new(session, &self.watch())
    }

    /// The session is over: its placeholders are dead, recognised for a while, then forgotten.
    pub fn close(&self, session: &SessionPlaceholders) {
        let mut order = self.order.write();
        for one in session.own.held() {
            if one.live.swap(false, Relaxed) {
                order.live = order.live.saturating_sub(1);
                order.dead.push_back(Arc::clone(one));
            }
        }
        while order.dead.len() > DEAD_MAX {
            let Some(old) = order.dead.pop_front() else { break };
            let key = self.hasher.hash_one(old.entry.text.as_bytes());
            let Some(shard) = self.shard(key) else { continue };
            let mut map = shard.write();
            if let Some(list) = map.get_mut(&key) {
                list.retain(|known| !Arc::ptr_eq(known, &old));
                if list.is_empty() {
                    map.remove(&key);
                }
            }
        }
    }

    /// What `text` stands for, live or dead.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Option<Entry> {
        self.held(text).map(|held| held.entry.clone())
    }

    pub(crate) fn held(&self, text: &[u8]) -> Option<Arc<Held>> {
        let key = self.hasher.hash_one(text);
        let map = self.shard(key)?.read();
        let same = |held: &&Arc<Held>| bool::from(held.entry.text.as_bytes().ct_eq(text));
        // A dead one may have been adopted by a later session.
        map.get(&key)?.iter().filter(same).max_by_key(|held| held.is_live()).cloned()
    }
}

/// The placeholders of one session, with what searches them in all the forms that the scrubber knows.
pub struct SessionPlaceholders {
    session: SessionId,
    agent: AgentName,
    own: Arc<Searched>,
}

impl SessionPlaceholders {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Its agent.
    #[must_use]
    pub const fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// What it holds.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.own.held().iter().map(|held| &held.entry)
    }

    /// The placeholder of one credential.
    #[must_use]
    pub fn of(&self, credential: &CredentialName) -> Option<&Entry> {
        self.part_of(credential, Part::Value)
    }

    /// The newest placeholder of one part of a credential.
    #[must_use]
    pub fn part_of(&self, credential: &CredentialName, part: Part) -> Option<&Entry> {
        let own = |entry: &&Entry| entry.part == part && entry.minted.is_none() && entry.credential == *credential;
        self.own.held().iter().rev().map(|held| &held.entry).find(own)
    }

    /// Whether this text is one of them.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.entries().any(|entry| *entry.text == *text)
    }

    pub(crate) const fn own(&self) -> &Arc<Searched> {
        &self.own
    }

    /// The own placeholders in `text`, in any form, each as often as it is there.
    pub(crate) fn search(&self, text: &[u8], hits: &mut Hits, mut seen: impl FnMut(&Entry)) {
        self.own.search(text, hits, |held, _| seen(&held.entry));
    }
}
