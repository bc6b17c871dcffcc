//! The one real clock and the one real source of randomness. Everything else is handed a `dyn Clock` and a `dyn Random`.

use std::cell::RefCell;
use std::time::UNIX_EPOCH;

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
    use super::*;

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
