//! Wrong tokens must cost little, whoever sends them and however many; a right one is served whatever else comes.
//!
//! A token that this process does not know may have been given out by another one, so that it is looked up in the store.
//! Once many were wrong within a minute, those look-ups are made together: one list of all live sessions answers for
//! everybody who came before it was read, and lists are read a moment apart. A flood costs the store the same then,
//! however fast it comes, and its senders wait for the next list. A token that is known here pays nothing; a right one
//! that is not is on the list and passes with the next, that once.
//!
//! Rejected: a limit for each address, after which it is refused or slowed down. All agents of a machine have one address,
//! so that one of them could lock out all others; and one machine may have any number of addresses. What is refused is
//! counted on record (`record/counted.rs`), and 2^256 tokens need no lock-out against guessing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::Digest;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::session::Later;

/// Wrong tokens in a minute that are looked up one by one: somebody who mistypes, a program that outlives its session.
const LOOKED_UP_PER_MINUTE_MAX: u64 = 20;
/// Between two lists, of which one takes well under a millisecond.
const LIST_EVERY: Duration = Duration::from_millis(20);

/// Live sessions as they were.
struct List {
    /// When it began to be read: whoever asked before is answered by it.
    began: Instant,
    tokens: Option<Arc<HashSet<Digest>>>,
}

/// How tokens that nobody knows here are looked up.
pub struct Guesses {
    since: Instant,
    /// The minute since then, and how many were wrong in it: minute * 2^32 + count.
    wrong: AtomicU64,
    list: Mutex<Option<List>>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self { since: Instant::now(), wrong: AtomicU64::new(0), list: Mutex::default() }
    }
}

impl Guesses {
    fn minute(&self) -> u64 {
        self.since.elapsed().as_secs() / 60
    }

    /// Notes that a token that was looked up is nobody's.
    pub(crate) fn wrong(&self) {
        let minute = self.minute();
        let next = |wrong: u64| Some(if wrong >> 32 == minute { wrong + 1 } else { (minute << 32) + 1 });
        // The closure never declines.
        let _ = self.wrong.fetch_update(Relaxed, Relaxed, next);
    }

    fn are_many(&self) -> bool {
        let wrong = self.wrong.load(Relaxed);
        wrong >> 32 == self.minute() && wrong & u64::from(u32::MAX) >= LOOKED_UP_PER_MINUTE_MAX
    }

    /// Whether this token need not be looked up: it is on no list that was read since it came.
    pub(crate) async fn rules_out<'a>(
        &self,
        token: &Digest,
        read: impl FnOnce() -> Later<'a, Option<HashSet<Digest>>>,
    ) -> bool {
        if !self.are_many() {
            return false;
        }
        let came = Instant::now();
        let mut list = self.list.lock().await;
        let tokens = match &*list {
            Some(list) if list.began >= came => list.tokens.clone(),
            before => {
                if let Some(before) = before {
                    sleep_until(before.began + LIST_EVERY).await;
                }
                let began = Instant::now();
                let tokens = read().await.map(Arc::new);
                *list = Some(List { began, tokens: tokens.clone() });
                tokens
            }
        };
        drop(list);
        // Where there is no list each is looked up.
        tokens.is_some_and(|tokens| !tokens.contains(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn token(number: u64) -> Digest {
        let mut octets = [0; 32];
        let number = number.to_le_bytes();
        let mut at = 0;
        while at < 8 {
            octets[at] = number[at];
            at += 1;
        }
        Digest(octets)
    }

    /// A store that counts how often it is asked.
    #[derive(Default)]
    struct Store {
        live: std::sync::Mutex<HashSet<Digest>>,
        lists: AtomicU64,
    }

    impl Store {
        fn read(&self) -> Later<'_, Option<HashSet<Digest>>> {
            Box::pin(async {
                self.lists.fetch_add(1, Relaxed);
                let live = self.live.lock().unwrap().clone();
                tokio::time::sleep(Duration::from_millis(1)).await;
                Some(live)
            })
        }
    }

    fn suspicious() -> Guesses {
        let guesses = Guesses::default();
        (0..LOOKED_UP_PER_MINUTE_MAX).for_each(|_| guesses.wrong());
        guesses
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_costs_a_list_a_moment() {
        let (guesses, store) = (suspicious(), Store::default());
        let start = Instant::now();
        let ask = async |number: u64| {
            for turn in 0..100 {
                assert!(guesses.rules_out(&token(number * 1_000 + turn), || store.read()).await);
            }
        };
        let mut all: Vec<_> = (0..200).map(|number| Box::pin(ask(number))).collect();
        std::future::poll_fn(|context| {
            all.retain_mut(|one| one.as_mut().poll(context).is_pending());
            if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        let lists = store.lists.load(Relaxed);
        let most = start.elapsed().as_millis() as u64 / LIST_EVERY.as_millis() as u64 + 2;
        assert!(lists <= most && lists <= 250, "20,000 wrong tokens: {lists} lists in {:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_token_passes_the_flood() {
        let (guesses, store) = (suspicious(), Store::default());
        for number in 0..50 {
            assert!(guesses.rules_out(&token(1_000 + number), || store.read()).await);
            // Another process begins a session: it is served at once, for no list is older than the question.
            store.live.lock().unwrap().insert(token(number));
            let start = Instant::now();
            assert!(!guesses.rules_out(&token(number), || store.read()).await);
            assert!(start.elapsed() <= LIST_EVERY * 2, "{:?}", start.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_looked_up_and_a_minute_forgets() {
        let (guesses, store) = (Guesses::default(), Store::default());
        for number in 0..LOOKED_UP_PER_MINUTE_MAX {
            assert!(!guesses.rules_out(&token(number), || store.read()).await, "looked up");
            guesses.wrong();
        }
        assert!(guesses.rules_out(&token(1), || store.read()).await);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!guesses.rules_out(&token(1), || store.read()).await);
        assert_eq!(store.lists.load(Relaxed), 1);
        // A store that cannot say rules nobody out.
        let blind = suspicious();
        assert!(!blind.rules_out(&token(1), || Box::pin(async { None })).await);
    }
}
