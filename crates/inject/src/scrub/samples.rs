//! Plain occurrences. Every form is at least `shortest` octets long, so one of every `stride = shortest - gram + 1` places
//! of a text is enough: an occurrence covers a sampled place whole, and only the first `stride` grams of each form need be
//! known. A gram is 8 octets, 4 where a needle is short.

use super::finder::{Hit, Hits};
use super::forms::Form;
use super::grams::Grams;

/// Folds the case of letters in eight octets at once; other octets may collide, which only costs a comparison.
pub(crate) const FOLD: u64 = 0x2020_2020_2020_2020;
/// An odd multiplier for hashing, from splitmix64.
const SPREAD: u64 = 0xbf58_476d_1ce4_e5b9;
/// Grams of eight octets from this length of the shortest form on; below, a stride of one or two would cost more.
const WIDE_FROM_BYTES: usize = 16;

struct Entry {
    gram: u64,
    form: u32,
    offset: u32,
}

/// The grams that are looked for at sampled places.
pub(crate) struct Samples {
    wide: bool,
    stride: usize,
    grams: Grams,
    /// Numbers of the first entry of each gram, from 1 on, by hash.
    slots: Vec<u32>,
    slot_shift: u32,
    entries: Vec<Entry>,
}

impl Samples {
    /// Prepares the search; `shortest` is the length of the shortest form.
    pub fn of_forms(forms: &[Form], shortest: usize) -> Self {
        let wide = shortest >= WIDE_FROM_BYTES;
        let gram = if wide { 8 } else { 4 };
        let stride = shortest.saturating_sub(gram - 1).max(1);
        let mut entries = Vec::new();
        for (number, form) in (0u32..).zip(forms) {
            for (offset, window) in (0u32..).zip(form.bytes.windows(gram).take(stride)) {
                let mut octets = [0u8; 8];
                octets.iter_mut().zip(window).for_each(|(slot, byte)| *slot = *byte);
                let fold = if wide { FOLD } else { FOLD >> 32 };
                entries.push(Entry { gram: u64::from_le_bytes(octets) | fold, form: number, offset });
            }
        }
        entries.sort_unstable_by_key(|entry| entry.gram);
        let count = (entries.len() * 2).next_power_of_two().max(4);
        let grams = Grams::new(entries.len());
        let mut samples = Self { wide, stride, grams, slots: vec![0; count], slot_shift: 64 - count.ilog2(), entries };
        samples.index();
        samples
    }

    fn index(&mut self) {
        let mut last = None;
        for (number, entry) in (1u32..).zip(&self.entries) {
            self.grams.add(entry.gram);
            if last.replace(entry.gram) == Some(entry.gram) {
                continue;
            }
            let mut slot = (entry.gram.wrapping_mul(SPREAD) >> self.slot_shift) as usize;
            while self.slots.get(slot).is_some_and(|taken| *taken != 0) {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            if let Some(free) = self.slots.get_mut(slot) {
                *free = number;
            }
        }
    }

    /// Adds every plain occurrence in `text` to `hits`.
    pub fn scan(&self, forms: &[Form], text: &[u8], hits: &mut Hits) {
        if self.wide {
            let load = |part: &[u8]| part.first_chunk().map(|gram| u64::from_le_bytes(*gram) | FOLD);
            self.sample(forms, text, load, hits);
        } else {
            let load = |part: &[u8]| part.first_chunk().map(|gram| u64::from(u32::from_le_bytes(*gram)) | (FOLD >> 32));
            self.sample(forms, text, load, hits);
        }
    }

    #[inline]
    fn sample(&self, forms: &[Form], text: &[u8], load: impl Fn(&[u8]) -> Option<u64>, hits: &mut Hits) {
        for (turn, part) in text.chunks(self.stride).enumerate() {
            let Some(gram) = load(part) else { continue };
            if self.grams.has(gram) {
                self.check(forms, text, (turn * self.stride, gram), hits);
            }
        }
    }

    #[inline(never)]
    fn check(&self, forms: &[Form], text: &[u8], (at, gram): (usize, u64), hits: &mut Hits) {
        let mut slot = (gram.wrapping_mul(SPREAD) >> self.slot_shift) as usize;
        let first = loop {
            match self.slots.get(slot) {
                None | Some(0) => return,
                Some(number) => {
                    let index = *number as usize - 1;
                    if self.entries.get(index).is_some_and(|entry| entry.gram == gram) {
                        break index;
                    }
                }
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        };
        let same = self.entries.get(first..).unwrap_or_default().iter().take_while(|entry| entry.gram == gram);
        for entry in same {
            let Some(form) = forms.get(entry.form as usize) else { continue };
            let Some(start) = at.checked_sub(entry.offset as usize) else { continue };
            let end = start + form.bytes.len();
            if text.get(start..end).is_some_and(|part| form.same_all(0, part)) {
                hits.push(Hit { start, end, form: entry.form, escaped: false });
            }
        }
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.slots);
        for entry in &mut self.entries {
            (entry.gram, entry.offset) = (0, 0);
        }
        std::hint::black_box(&self.entries);
    }
}
