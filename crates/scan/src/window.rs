//! Octets around a place, and the steps that readers take in them. Nothing here can leave the slice.

/// What the readers look at: a stretch of the input with some context on both sides.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) octets: &'a [u8],
}

impl<'a> Window<'a> {
    pub(crate) fn at(&self, at: usize) -> Option<u8> {
        self.octets.get(at).copied()
    }

    pub(crate) fn before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).and_then(|at| self.at(at))
    }

    /// At most `max` octets from `at`.
    pub(crate) fn from(&self, at: usize, max: usize) -> &'a [u8] {
        let rest = self.octets.get(at..).unwrap_or_default();
        rest.get(..max).unwrap_or(rest)
    }

    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.octets.get(start..end).unwrap_or_default()
    }

    /// The first place from `at` on where `is` does not hold, at most `max` further.
    pub(crate) fn skip(&self, at: usize, max: usize, is: impl Fn(u8) -> bool) -> usize {
        at + self.from(at, max).iter().take_while(|octet| is(**octet)).count()
    }

    /// The last place up to `at` before which `is` does not hold, at most `max` back.
    pub(crate) fn back(&self, at: usize, max: usize, is: impl Fn(u8) -> bool) -> usize {
        let head = self.slice(at.saturating_sub(max), at);
        at - head.iter().rev().take_while(|octet| is(**octet)).count()
    }

    /// The line that holds `at`, at most `max` octets in each direction.
    pub(crate) fn line(&self, at: usize, max: usize) -> (usize, usize) {
        let start = self.back(at, max, |octet| octet != b'\n');
        (start, self.skip(at, max, |octet| octet != b'\n'))
    }

    /// Whether a word may begin at `at`: no letter, digit or underline before it, or the end of an escape (`\n`, `%3D`).
    pub(crate) fn begins(&self, at: usize) -> bool {
        let Some(before) = self.before(at) else { return true };
        if !is_word(before) {
            return true;
        }
        let second = at.checked_sub(2).and_then(|at| self.at(at));
        let third = at.checked_sub(3).and_then(|at| self.at(at));
        second == Some(b'\\') && b"nrt".contains(&before)
            || third == Some(b'%')
                && before.is_ascii_hexdigit()
                && second.is_some_and(|octet| octet.is_ascii_hexdigit())
    }

    /// Whether a word may end before `at`.
    pub(crate) fn ends(&self, at: usize) -> bool {
        !self.at(at).is_some_and(is_word)
    }
}

/// What words and names are made of.
pub(crate) fn is_word(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'_'
}
