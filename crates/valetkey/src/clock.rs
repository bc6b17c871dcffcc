//! The one real clock and the one real source of randomness. Everything else is handed a `dyn Clock` and a `dyn Random`.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use model::{Clock, Random, Timestamp};

/// Wall time of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one real clock")]
    fn now(&self) -> Timestamp {
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match std::time::SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp(micros(since)),
            Err(before) => Timestamp(-micros(before.duration())),
        }
    }
}

/// A clock may be this far behind what it has shown and only stands still until it has caught up; beyond it, it was set
/// back, and what was over could live again.
pub const BACK_MAX: Duration = Duration::from_mins(10);

/// Whoever looks after the clock does so more often than this; then reading the time writes nothing.
const LOOKED_WITHIN_MICROS: i64 = 1_000_000;

/// A clock that does not go back by itself: it stands still where the one below was set back, until somebody has done
/// what is to be done about it and accepts the new time.
#[derive(Debug)]
pub struct Steady<C> {
    below: C,
    /// What was shown at the last [`look`](Self::look) or, where that is long ago, later; microseconds. It costs reading
    /// the time one load.
    floor: AtomicI64,
}

impl<C: Clock> Steady<C> {
    /// Over this clock.
    pub fn over(below: C) -> Self {
        let floor = AtomicI64::new(below.now().0);
        Self { below, floor }
    }

    /// To be called again and again: remembers the time, and says how far the clock was set back, where it was by more than
    /// [`BACK_MAX`].
    pub fn look(&self) -> Option<Duration> {
        let now = self.below.now();
        let floor = Timestamp(self.floor.fetch_max(now.0, Relaxed));
        let back = Duration::from_micros(floor.micros_since(now));
        (back > BACK_MAX).then_some(back)
    }

    /// The time that the clock below shows, whatever was shown before.
    pub fn below(&self) -> Timestamp {
        self.below.now()
    }

    /// Shows that from now on.
    pub fn accept(&self) {
        self.floor.store(self.below.now().0, Relaxed);
    }
}

impl<C: Clock> Clock for Steady<C> {
    fn now(&self) -> Timestamp {
        let (now, floor) = (self.below.now().0, self.floor.load(Relaxed));
        if now.saturating_sub(floor) > LOOKED_WITHIN_MICROS {
            // It was set ahead, and may be back before the next look: what was shown once is remembered.
            self.floor.fetch_max(now, Relaxed);
        }
        Timestamp(now.max(floor))
    }
}

/// Randomness of the operating system, through the generator of the TLS library. What ids take comes out of a block that
/// each thread draws at once; tokens and keys never lie in memory before they are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

/// Ids take no more than this.
const SMALL: usize = 16;
const BLOCK: usize = 1024;

thread_local! {
    /// Random octets, and how many of them are unused.
    static DRAWN: RefCell<([u8; BLOCK], usize)> = const { RefCell::new(([0; BLOCK], 0)) };
}

fn draw(out: &mut [u8]) {
    // A process without randomness must not go on: tokens and keys would be guessable. `aws_lc_rs::rand::fill` fails
    // only where the kernel has none to give.
    if aws_lc_rs::rand::fill(out).is_err() {
        std::process::abort();
    }
}

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        if out.len() > SMALL {
            return draw(out);
        }
        DRAWN.with_borrow_mut(|(block, left)| {
            if *left < out.len() {
                draw(block);
                *left = BLOCK;
            }
            *left -= out.len();
            match block.get(*left..).and_then(|rest| rest.get(..out.len())) {
                Some(fresh) => out.copy_from_slice(fresh),
                None => draw(out),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_stands_still_where_the_clock_below_was_set_back() {
        struct Hand(Arc<testkit::FakeClock>);
        impl Clock for Hand {
            fn now(&self) -> Timestamp {
                self.0.now()
            }
        }
        let below = Arc::new(testkit::FakeClock::default());
        let start = below.now();
        let steady = Steady::over(Hand(Arc::clone(&below)));
        let year: i64 = 365 * 86_400;
        for (moved, shown, told) in [
            (5, 5, None),
            // Back by a little: it waits.
            (-300, 5, None),
            (100, 5, None),
            (210, 15, None),
            // Ahead is believed: a machine that slept is no different.
            (year, year + 15, None),
            // And back again is told until it is accepted.
            (-year, year + 15, Some(year)),
            (60, year + 15, Some(year - 60)),
        ] {
            below.advance_secs(moved);
            assert_eq!(steady.look(), told.map(|secs| Duration::from_secs(secs as u64)), "{moved}");
            assert_eq!(steady.now(), start.plus_secs(shown as u64), "{moved}");
        }
        steady.accept();
        // Ahead and back between two looks: what was shown counts.
        below.advance_secs(year);
        assert_eq!(steady.now(), start.plus_secs(year as u64 + 75));
        below.advance_secs(-year);
        assert_eq!(steady.look(), Some(Duration::from_secs(year as u64)));
        steady.accept();
        assert_eq!((steady.look(), steady.now()), (None, start.plus_secs(75)));
    }

    #[test]
    fn real_and_different() {
        assert!(SystemClock.now() > Timestamp::from_secs(1_700_000_000));
        let (mut one, mut two) = ([0u8; 32], [0u8; 32]);
        SystemRandom.fill(&mut one);
        SystemRandom.fill(&mut two);
        assert_ne!(one, two);
        let ids: std::collections::HashSet<[u8; 10]> = (0..1_000)
            .map(|_| {
                let mut id = [0u8; 10];
                SystemRandom.fill(&mut id);
                id
            })
            .collect();
        assert_eq!(ids.len(), 1_000, "no octet of a block is given twice");
    }
}
