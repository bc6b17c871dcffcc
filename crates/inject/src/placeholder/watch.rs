//! The watch: placeholders of every session, searched together in what one of them sends, in all the forms that the
//! scrubber knows.
//!
//! Sessions come one by one and each brings a finder of its own. The newest few are searched as they are; when there are
//! too many, all are made into one set, so that a request costs at most [`RECENT_MAX`] short searches more than with none.

use std::collections::HashSet;
use std::sync::Arc;

use model::sighting::{Holder, Place};
use model::{AgentName, CredentialName, Rank, SessionId, Sighting};

use super::index::{Entry, Held, SessionPlaceholders};
use crate::known::finder_of;
use crate::scrub::finder::{Finder, Hit, Hits};

/// Sessions that are searched one by one before they are joined to the rest.
const RECENT_MAX: usize = 8;
/// Placeholders of all sessions that are searched in what is sent, the newest; at about 12 KiB each this is 12 MiB. Older
/// ones are still told as a whole value of an authentication slot.
const WATCHED_MAX: usize = 1_024;
/// Different placeholders told of one stream.
const STREAM_SIGHTINGS_MAX: usize = 64;

/// Some placeholders and what finds them.
pub(crate) struct Searched {
    held: Vec<Arc<Held>>,
    finder: Finder,
}

impl Searched {
    pub fn new(held: Vec<Arc<Held>>) -> Self {
        let finder = finder_of((0u32..).zip(held.iter().map(|held| &*held.entry.text)));
        Self { held, finder }
    }

    pub fn held(&self) -> &[Arc<Held>] {
        &self.held
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether it holds the placeholders of this session and of no other.
    fn is_of(&self, session: SessionId) -> bool {
        self.held.iter().all(|held| held.entry.session == session)
    }

    /// What stands in `text`, in any form, each as often as it is there, in no order.
    pub fn search(&self, text: &[u8], hits: &mut Hits, mut seen: impl FnMut(&Arc<Held>, &Hit)) {
        hits.clear();
        self.finder.scan(text, hits);
        for hit in hits.iter() {
            let number = self.finder.form(hit.form).map_or(usize::MAX, |form| form.tag as usize);
            if let Some(held) = self.held.get(number) {
                seen(held, hit);
            }
        }
    }
}

/// The placeholders of all sessions, never changed, only replaced.
#[derive(Default)]
pub(crate) struct Watch {
    /// Newest last.
    recent: Vec<Arc<Searched>>,
    older: Option<Arc<Searched>>,
}

impl Watch {
    /// The same with one more session.
    pub fn with(&self, own: Arc<Searched>) -> Self {
        let mut recent = self.recent.clone();
        recent.push(own);
        if recent.len() <= RECENT_MAX {
            return Self { recent, older: self.older.clone() };
        }
        let sets = self.older.iter().chain(&recent);
        let mut all: Vec<Arc<Held>> = sets.flat_map(|set| set.held.iter().cloned()).collect();
        let mut surplus = all.len().saturating_sub(WATCHED_MAX);
        // The dead go first, the oldest of them before the others; what still lives only if that is not enough.
        all.retain(|held| {
            let goes = surplus > 0 && !held.is_live();
            surplus -= usize::from(goes);
            !goes
        });
        all.drain(..surplus);
        Self { recent: Vec::new(), older: Some(Arc::new(Searched::new(all))) }
    }

    /// Sets in which placeholders of others than this session may be.
    fn others(&self, session: SessionId) -> impl Iterator<Item = &Arc<Searched>> {
        self.recent.iter().chain(&self.older).filter(move |set| !set.is_of(session))
    }

    /// Placeholders in `text` of others than `session`.
    pub fn search(&self, session: SessionId, text: &[u8], hits: &mut Hits, mut seen: impl FnMut(&Arc<Held>)) {
        for set in self.others(session) {
            set.search(text, hits, |held, _| {
                if held.entry.session != session {
                    seen(held);
                }
            });
        }
    }
}

/// Whose a placeholder is to a session.
pub(crate) fn holder(held: &Held, session: SessionId, agent: &AgentName) -> Holder {
    if held.entry.session == session {
        Holder::Own
    } else if held.entry.agent != *agent {
        Holder::Other
    } else if held.is_live() {
        Holder::OtherSession
    } else {
        Holder::DeadSession
    }
}

/// A sighting with its rank.
pub(crate) fn sighting(entry: &Entry, holder: Holder, place: Place) -> Sighting {
    Sighting {
        credential: entry.credential.clone(),
        service: entry.service.clone(),
        session: entry.session,
        agent: entry.agent.clone(),
        holder,
        rank: Rank::of(holder, &place),
        place,
    }
}

/// A look for placeholders in a body that passes as it comes. Nothing is held back: what is told of a placeholder is who
/// sent it, and it is worth nothing to whoever gets it.
pub struct SightScan {
    session: SessionId,
    agent: AgentName,
    own: Arc<Searched>,
    sets: Vec<Arc<Searched>>,
    reach: usize,
    /// The last octets that may begin an occurrence.
    tail: Vec<u8>,
    told: HashSet<(SessionId, CredentialName)>,
}

impl SightScan {
    pub(crate) fn new(session: &SessionPlaceholders, watch: &Watch) -> Self {
        let own = Some(session.own()).filter(|own| !own.is_empty());
        let sets: Vec<Arc<Searched>> = own.into_iter().chain(watch.others(session.session())).cloned().collect();
        let reach = sets.iter().map(|set| set.finder.reach()).max().unwrap_or(0);
        Self {
            session: session.session(),
            agent: session.agent().clone(),
            own: Arc::clone(session.own()),
            sets,
            reach,
            tail: Vec::new(),
            told: HashSet::new(),
        }
    }

    /// Looks at the next octets; gives what was not told of this stream before.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Sighting> {
        let mut fresh = Vec::new();
        if self.sets.is_empty() {
            return fresh;
        }
        let border = self.tail.len();
        self.tail.extend_from_slice(chunk.get(..self.reach).unwrap_or(chunk));
        let seam = std::mem::take(&mut self.tail);
        if border > 0 {
            // What lies on this side of the border alone was seen, or is about to be.
            self.look(&seam, |hit| hit.start < border && hit.end > border, &mut fresh);
        }
        self.look(chunk, |_| true, &mut fresh);
        let keep = self.reach.saturating_sub(1);
        self.tail = seam;
        if chunk.len() > self.reach {
            self.tail.clear();
            self.tail.extend_from_slice(chunk.get(chunk.len() - keep..).unwrap_or(chunk));
        } else if self.tail.len() > keep {
            self.tail.drain(..self.tail.len() - keep);
        }
        fresh
    }

    fn look(&mut self, text: &[u8], counts: impl Fn(&Hit) -> bool, fresh: &mut Vec<Sighting>) {
        let mut hits = Hits::new();
        for set in &self.sets {
            set.search(text, &mut hits, |held, hit| {
                let is_own = held.entry.session == self.session;
                if !is_own && self.own.held().iter().any(|own| own.entry.text == held.entry.text) {
                    // Taken over by this session.
                    return;
                }
                let key = (held.entry.session, held.entry.credential.clone());
                if counts(hit) && self.told.len() < STREAM_SIGHTINGS_MAX && self.told.insert(key) {
                    fresh.push(sighting(&held.entry, holder(held, self.session, &self.agent), Place::Body));
                }
            });
        }
    }
}
