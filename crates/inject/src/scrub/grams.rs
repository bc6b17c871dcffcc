//! Sets of grams (a few octets in a row, case folded) that are asked about everything and hardly ever say yes: a Bloom
//! filter whose two bits lie in one word, so that a question is one look into the cache. A false yes costs a
//! comparison; there is no false no.

use zeroize::Zeroize;

/// An odd multiplier for hashing: the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Bits for each gram at least; with two bits of each set, one other gram in 64 passes at most.
const BITS_PER_GRAM: usize = 16;
/// 256 KiB: more would leave the second-level cache of small machines.
const WORDS_MAX: usize = 1 << 15;

/// A set of grams.
pub(crate) struct Grams {
    words: Vec<u64>,
}

impl Grams {
    /// An empty set with room for `count`.
    pub fn new(count: usize) -> Self {
        Self { words: vec![0; (count * BITS_PER_GRAM / 64).next_power_of_two().min(WORDS_MAX)] }
    }

    /// Takes one more.
    pub fn add(&mut self, gram: u64) {
        let (word, bits) = self.place(gram);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bits;
        }
    }

    #[inline]
    fn place(&self, gram: u64) -> (usize, u64) {
        let mixed = gram.wrapping_mul(SPREAD);
        let word = (mixed >> 32) as usize & (self.words.len() - 1);
        (word, 1 << (mixed >> 58) | 1 << (mixed >> 52 & 63))
    }

    /// Whether a gram may be in the set.
    #[inline]
    pub fn has(&self, gram: u64) -> bool {
        let (word, bits) = self.place(gram);
        self.words.get(word).is_some_and(|word| word & bits == bits)
    }
}

impl Drop for Grams {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}
