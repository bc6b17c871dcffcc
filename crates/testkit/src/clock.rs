//! A clock that moves when the test says so, and randomness that is the same in every run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::{Clock, Random, Timestamp};

/// A clock that stands still until [`FakeClock::advance_secs`] or [`FakeClock::set`].
#[derive(Debug)]
pub struct FakeClock(AtomicI64);

impl FakeClock {
    /// Stands at `start`.
    #[must_use]
    pub const fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves forward by whole seconds.
    pub fn advance_secs(&self, secs: i64) {
        self.0.fetch_add(secs * model::time::MICROS, Ordering::SeqCst);
    }

    /// Moves forward by microseconds.
    pub fn advance_micros(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }

    /// Jumps, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Default for FakeClock {
    /// A Friday evening: 2026-11-20T18:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_795_197_600))
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to tell values apart; never for real secrets.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// The same seed gives the same octets in the same order of calls.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `len` letters and digits.
    pub fn text(&self, len: usize) -> String {
        const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..len).map(|_| char::from(LETTERS[(self.next() % 62) as usize])).collect()
    }
}

impl Random for SeededRandom {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_only_when_told() {
        let clock = FakeClock::default();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.advance_secs(61);
        assert_eq!(clock.now(), before.plus_secs(61));
    }

    #[test]
    fn the_same_seed_gives_the_same_octets() {
        let (mut one, mut two) = ([0u8; 21], [0u8; 21]);
        SeededRandom::new(7).fill(&mut one);
        SeededRandom::new(7).fill(&mut two);
        assert_eq!(one, two);
        assert_ne!(SeededRandom::new(8).text(20), SeededRandom::new(7).text(20));
    }
}
