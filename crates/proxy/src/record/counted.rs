//! Refusals that repeat are counted: an agent that asks in vain a million times must neither fill the disk nor bury what
//! was recorded before.
//!
//! The first of a kind are told one by one; those that follow within the same minute are counted, and the count is one
//! record. What may be told one by one is bounded for each session besides, and so is the number of kinds. Nothing is
//! lost of the count, but what a killed process had not written yet: at most [`COUNT_WAIT_MAX`] of it. What let something
//! out is never counted: attempts and their ends do not come here.
//!
//! Rejected: counting at reading (the disk is filled all the same), and dropping beyond a rate (what is not on record
//! cannot be told from what did not happen).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::event::{Kind, Repeated, RequestRecord};
use model::{Class, Code, Event, EventId, SessionId};
use parking_lot::Mutex;

/// After this a kind is told one by one again.
const WINDOW: Duration = Duration::from_mins(1);
/// A count is written this long after it began: what a process that is killed may take along.
const COUNT_WAIT_MAX: Duration = Duration::from_secs(5);
/// Records of one kind, session and minute that are told one by one: more than a person reads.
const WHOLE_PER_KIND_MAX: usize = 100;
/// What the records of one session and minute may take that are told one by one, KiB: 430 MB a day.
const WHOLE_PER_SESSION_KIB_MAX: usize = 300;
/// Kinds told apart in one session and minute; what exceeds them is told apart by code and class alone.
const KINDS_PER_SESSION_MAX: usize = 32;
/// Sessions told apart at once; operators begin them, so that an agent has no way of having many.
const SESSIONS_MAX: usize = 4_096;
/// Up to so many in all, those who have no session are told apart by their address, of which each has any number.
const ADDRESSES_MAX: usize = 64;

/// Whose refusals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Session(SessionId),
    /// The address of somebody who has none.
    Nobody(Arc<str>),
    /// All for whom there was no room.
    Others,
}

/// What makes two refusals the same to a reader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Alike {
    kind: Kind,
    code: Option<Code>,
    class: Option<Class>,
    /// Empty for all for which there was no room.
    host: Arc<str>,
}

/// Refusals of one kind.
#[derive(Debug, Default)]
struct Same {
    /// How many were told one by one in this minute.
    whole: usize,
    waiting: Option<Waiting>,
}

/// A count that is not written yet.
#[derive(Debug)]
struct Waiting {
    due: Instant,
    /// What all of them say.
    event: Box<Event>,
    repeated: Repeated,
}

/// The refusals of one session.
#[derive(Debug)]
struct Book {
    since: Instant,
    whole_kib: usize,
    same: HashMap<Alike, Same>,
}

#[derive(Debug, Default)]
struct Books {
    books: HashMap<Whose, Book>,
    /// Nobody will write a count any more.
    closed: bool,
}

/// What was counted and is not written yet.
#[derive(Debug, Default)]
pub struct Counted(Mutex<Books>);

impl Counted {
    /// Whether this refusal is counted, and must not be written. `class` where its calls are known.
    pub(super) fn takes(&self, event: &Event, class: Option<Class>, now: Instant) -> bool {
        let mut all = self.0.lock();
        if all.closed {
            return false;
        }
        let whose = whose(&all.books, event);
        let book = all.books.entry(whose.clone()).or_insert_with(|| Book::begin(now));
        if now.saturating_duration_since(book.since) >= WINDOW {
            book.renew(now);
        }
        let is_others = whose == Whose::Others;
        let alike = book.alike(event, class, is_others);
        let cost = cost_kib(event);
        let room = book.whole_kib + cost <= WHOLE_PER_SESSION_KIB_MAX;
        let same = book.same.entry(alike.clone()).or_default();
        if room && same.whole < WHOLE_PER_KIND_MAX {
            same.whole += 1;
            book.whole_kib += cost;
            return false;
        }
        if let Some(waiting) = &mut same.waiting {
            waiting.repeated.times += 1;
            waiting.repeated.last = waiting.repeated.last.max(event.time);
            return true;
        }
        let repeated = Repeated { times: 1, first: event.time, last: event.time, class };
        let event = Box::new(what_is_the_same(event, &alike.host, is_others));
        same.waiting = Some(Waiting { due: now + COUNT_WAIT_MAX, event, repeated });
        true
    }

    /// Counts whose time has come, to be written with an id and a time of their own.
    pub(crate) fn due(&self, now: Instant) -> Vec<Event> {
        let mut all = self.0.lock();
        let mut out = Vec::new();
        all.books.retain(|_, book| {
            for same in book.same.values_mut() {
                out.extend(same.waiting.take_if(|waiting| waiting.due <= now).map(Waiting::into_event));
            }
            if now.saturating_duration_since(book.since) >= WINDOW {
                book.renew(now);
            }
            !book.same.is_empty()
        });
        out
    }

    /// All of them. From now on nothing is counted.
    pub(crate) fn close(&self) -> Vec<Event> {
        let mut all = self.0.lock();
        all.closed = true;
        let books = all.books.drain().flat_map(|(_, book)| book.same.into_values());
        books.filter_map(|same| same.waiting).map(Waiting::into_event).collect()
    }
}

fn whose(books: &HashMap<Whose, Book>, event: &Event) -> Whose {
    let source = || event.request.as_ref().map(|request| Arc::clone(&request.source)).unwrap_or_default();
    let whose = event.session.map_or_else(|| Whose::Nobody(source()), Whose::Session);
    let most = if event.session.is_some() { SESSIONS_MAX } else { ADDRESSES_MAX };
    if books.len() < most || books.contains_key(&whose) { whose } else { Whose::Others }
}

impl Book {
    fn begin(now: Instant) -> Self {
        Self { since: now, whole_kib: 0, same: HashMap::new() }
    }

    /// Another minute begins; what waits goes on waiting.
    fn renew(&mut self, now: Instant) {
        self.since = now;
        self.whole_kib = 0;
        self.same.retain(|_, same| {
            same.whole = 0;
            same.waiting.is_some()
        });
    }

    fn alike(&self, event: &Event, class: Option<Class>, is_others: bool) -> Alike {
        let host = event.request.as_ref().map(|request| Arc::clone(&request.host)).unwrap_or_default();
        let mut alike = Alike { kind: event.kind, code: event.code, class, host };
        if is_others || self.same.len() >= KINDS_PER_SESSION_MAX && !self.same.contains_key(&alike) {
            alike.host = Arc::default();
        }
        alike
    }
}

/// About what its line takes, KiB and upwards.
fn cost_kib(event: &Event) -> usize {
    let path = event.request.as_ref().map_or(0, |request| request.path.len());
    1 + path / 1_024 + event.calls.len() / 4
}

/// What holds for every refusal of the kind, as this one said it.
fn what_is_the_same(event: &Event, host: &Arc<str>, is_others: bool) -> Event {
    let mut same = Event::new(event.id, event.time, event.kind, event.tenant.clone());
    same.code = event.code;
    same.decision = event.decision;
    if is_others {
        return same;
    }
    same.agent.clone_from(&event.agent);
    same.user.clone_from(&event.user);
    same.session = event.session;
    same.task.clone_from(&event.task);
    if !host.is_empty() {
        same.service.clone_from(&event.service);
    }
    let source = event.request.as_ref().map(|request| Arc::clone(&request.source)).unwrap_or_default();
    same.request = Some(RequestRecord { host: Arc::clone(host), source, ..RequestRecord::default() });
    same
}

impl Waiting {
    fn into_event(self) -> Event {
        let Self { mut event, repeated, .. } = self;
        let Repeated { times, first, last, class } = repeated;
        let class = class.map_or_else(String::new, |class| format!(", class {}", class.as_str()));
        event.reason = Some(format!("the same again, {times} times from {first} to {last}{class}"));
        event.repeated = Some(repeated);
        *event
    }
}

impl crate::Gateway {
    /// Writes the counts whose time has come.
    pub(crate) fn write_due_counts(&self, lane: &audit::Lane) {
        self.write_counts(self.counted.due(Instant::now()), lane);
    }

    /// Writes all counts, before the log is closed. Refusals that come later are written one by one.
    ///
    /// # Errors
    /// No lane can be made for them.
    pub fn close_counts(&self) -> Result<(), audit::AuditError> {
        let counts = self.counted.close();
        if !counts.is_empty() {
            self.write_counts(counts, &self.log.lane()?);
        }
        Ok(())
    }

    fn write_counts(&self, counts: Vec<Event>, lane: &audit::Lane) {
        for mut event in counts {
            let now = self.clock.now();
            event.id = EventId::fresh(now, &*self.random);
            event.time = now;
            if let Err(error) = lane.append(&event) {
                // Where the disk is in trouble the lane keeps it and writes it later, as every refusal.
                tracing::error!(%error, "a count of refusals could not be written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{Tenant, Timestamp};

    use super::*;

    fn refusal(session: Option<u128>, host: &str, at: i64) -> Event {
        let mut event = Event::new(EventId::from_bits(1), Timestamp(at), Kind::Refusal, Tenant::local());
        event.session = session.map(SessionId::from_bits);
        event.code = Some(Code::Denied);
        event.request =
            Some(RequestRecord { host: host.into(), source: "192.0.2.1".into(), ..RequestRecord::default() });
        event
    }

    fn sum(events: &[Event]) -> u64 {
        events.iter().filter_map(|event| event.repeated).map(|repeated| repeated.times).sum()
    }

    /// How many of these were told one by one.
    fn told(counted: &Counted, events: impl IntoIterator<Item = Event>, now: Instant) -> u64 {
        events.into_iter().map(|event| u64::from(!counted.takes(&event, Some(Class::Delete), now))).sum()
    }

    #[test]
    fn the_first_of_a_kind_are_told_and_the_rest_counted() {
        let (counted, start) = (Counted::default(), Instant::now());
        let (whole, all) = (WHOLE_PER_KIND_MAX as u64, 1_000_000);
        assert_eq!(told(&counted, (0..all).map(|at| refusal(Some(7), "a.test", at)), start), whole);
        assert!(counted.due(start + Duration::from_secs(1)).is_empty(), "not yet");
        let due = counted.due(start + COUNT_WAIT_MAX);
        let [event] = due.as_slice() else { panic!("{due:?}") };
        let repeated = event.repeated.unwrap();
        assert_eq!((repeated.times, repeated.class), (all as u64 - whole, Some(Class::Delete)));
        assert_eq!((repeated.first, repeated.last), (Timestamp(whole as i64), Timestamp(all - 1)));
        assert_eq!(event.request.as_ref().map(|request| &*request.host), Some("a.test"));
        assert!(
            event.reason.as_ref().unwrap().starts_with("the same again, 999900 times from 1970-01-01T00:00:00.0001")
        );
        // It goes on counting within the minute, and tells one by one in the next.
        assert_eq!(told(&counted, [refusal(Some(7), "a.test", 0)], start + Duration::from_secs(30)), 0);
        assert_eq!(told(&counted, [refusal(Some(7), "b.test", 0)], start + Duration::from_secs(30)), 1);
        assert_eq!(told(&counted, [refusal(Some(7), "a.test", 0)], start + WINDOW), 1);
        assert_eq!(sum(&counted.close()), 1);
        assert_eq!(
            told(&counted, (0..500).map(|at| refusal(Some(7), "a.test", at)), start),
            500,
            "nobody writes counts"
        );
    }

    #[test]
    fn no_way_of_being_different_writes_more() {
        let start = Instant::now();
        let host = |at: i64| format!("h{at}.test");
        let mut long = refusal(Some(7), "a.test", 0);
        long.request.as_mut().unwrap().path = "x".repeat(16_000).into();
        let codes = Code::ALL.iter().cycle().zip(0..20_000).map(|(code, at)| {
            let mut event = refusal(Some(7), &host(at), at);
            event.code = Some(*code);
            event
        });
        let address = |at: i64| {
            let mut event = refusal(None, "a.test", at);
            event.request.as_mut().unwrap().source = format!("192.0.2.{at}").into();
            event
        };
        let attempts: Vec<(&str, Vec<Event>, usize)> = vec![
            ("hosts", (0..20_000).map(|at| refusal(Some(7), &host(at), at)).collect(), WHOLE_PER_SESSION_KIB_MAX),
            ("codes", codes.collect(), WHOLE_PER_SESSION_KIB_MAX),
            ("paths", vec![long; 1_000], WHOLE_PER_SESSION_KIB_MAX / 16),
            ("sessions", (0..20_000).map(|at| refusal(Some(at as u128), "a.test", at)).collect(), SESSIONS_MAX + 100),
            ("addresses", (0..20_000).map(address).collect(), ADDRESSES_MAX + 100),
        ];
        for (what, events, most) in attempts {
            let (counted, all) = (Counted::default(), events.len() as u64);
            let whole = told(&counted, events, start);
            assert!(whole <= most as u64, "{what}: {whole}");
            let counts = counted.due(start + COUNT_WAIT_MAX);
            assert!(counts.len() <= KINDS_PER_SESSION_MAX + Code::ALL.len(), "{what}: {}", counts.len());
            assert_eq!(whole + sum(&counts), all, "{what}: none is lost");
            let _ = counted.due(start + WINDOW);
            assert!(counted.0.lock().books.is_empty(), "{what}: nothing is kept");
        }
    }

    #[test]
    fn none_is_lost_between_threads() {
        let counted = Counted::default();
        let (mut whole, mut written) = (0, 0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|number| {
                    let counted = &counted;
                    scope.spawn(move || {
                        let events = (0..10_000).map(|at| refusal(Some(number % 2), "a.test", at));
                        told(counted, events, Instant::now())
                    })
                })
                .collect();
            for _ in 0..200 {
                written += sum(&counted.due(Instant::now() + COUNT_WAIT_MAX));
            }
            whole = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        });
        written += sum(&counted.close());
        assert_eq!(whole + written, 40_000);
    }
}
