//! The one real clock and the one real source of randomness. Everything else is handed a `dyn Clock` and a `dyn Random`.

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

/// Randomness of the operating system, through the generator of the TLS library.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) {
        // A process without randomness must not go on: tokens and keys would be guessable. `aws_lc_rs::rand::fill` fails
        // only where the kernel has none to give.
        if aws_lc_rs::rand::fill(out).is_err() {
            std::process::abort();
        }
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
    }
}
