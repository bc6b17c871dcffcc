//! Time and randomness, as values and as the two traits through which they come in.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment: microseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC with six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Microseconds of one second.
pub const MICROS: i64 = 1_000_000;

impl Timestamp {
    /// From whole seconds since the epoch.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * MICROS)
    }

    /// Later by `secs` seconds, saturating.
    #[must_use]
    pub const fn plus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_add((if secs > 1 << 40 { 1i64 << 40 } else { secs as i64 }) * MICROS))
    }

    /// Earlier by `secs` seconds, saturating.
    #[must_use]
    pub const fn minus_secs(self, secs: u64) -> Self {
        Self(self.0.saturating_sub((if secs > 1 << 40 { 1i64 << 40 } else { secs as i64 }) * MICROS))
    }

    /// Microseconds from `earlier` to here, zero if it is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        let gap = self.0.saturating_sub(earlier.0);
        if gap < 0 { 0 } else { gap as u64 }
    }

    /// Hour and minute of the day in UTC, and the day of the week (0 = Monday).
    #[must_use]
    pub const fn clock_utc(self) -> (u32, u32, u32) {
        let secs = self.0.div_euclid(MICROS);
        let day = secs.div_euclid(86_400);
        let rest = secs.rem_euclid(86_400);
        // 1970-01-01 was a Thursday.
        ((rest / 3_600) as u32, (rest / 60 % 60) as u32, (day + 3).rem_euclid(7) as u32)
    }

    /// Reads RFC 3339 (any offset, up to nine decimals, truncated to microseconds); `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let part = text.get(range)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let mark = |at: usize, allowed: &[u8]| text.as_bytes().get(at).is_some_and(|byte| allowed.contains(byte));
        if !(mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":")) {
            return None;
        }
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let (micros, rest) = decimals(text.get(19..)?)?;
        let offset = offset_seconds(rest)?;
        let days = days_from_civil(year, month, day);
        Some(Self((days * 86_400 + hour * 3_600 + minute * 60 + second - offset) * MICROS + micros))
    }
}

fn decimals(text: &str) -> Option<(i64, &str)> {
    let Some(tail) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = tail.bytes().take_while(u8::is_ascii_digit).count();
    if end == 0 || end > 9 {
        return None;
    }
    let micros = tail.bytes().take(end).chain(std::iter::repeat(b'0')).take(6);
    Some((micros.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')), tail.get(end..)?))
}

fn offset_seconds(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    (hours.len() == 2 && minutes.len() == 2).then_some(())?;
    Some(sign * (i64::from(hours.parse::<u8>().ok()?) * 3_600 + i64::from(minutes.parse::<u8>().ok()?) * 60))
}

/// Days since the epoch of a date of the proleptic Gregorian calendar (algorithm: Hinnant, "chrono-compatible
/// low-level date algorithms").
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + if month <= 2 { 1 } else { 0 }, month, of_year - (153 * shifted + 2) / 5 + 1)
}

impl Timestamp {
    /// RFC 3339 in a buffer on the stack: every record has a time, and `fmt` takes longer than the rest of a field.
    /// None outside the years 0 to 9999.
    fn text(self, out: &mut [u8; 27]) -> Option<&str> {
        let secs = self.0.div_euclid(MICROS);
        let (year, month, day) = civil_from_days(secs.div_euclid(86_400));
        let rest = secs.rem_euclid(86_400);
        let micros = self.0.rem_euclid(MICROS);
        if !(0..=9_999).contains(&year) {
            return None;
        }
        *out = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |end: usize, digits: usize, mut number: i64| {
            for slot in out.iter_mut().take(end).rev().take(digits) {
                *slot = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(4, 4, year);
        put(7, 2, month);
        put(10, 2, day);
        put(13, 2, rest / 3_600);
        put(16, 2, rest / 60 % 60);
        put(19, 2, rest % 60);
        put(26, 6, micros);
        std::str::from_utf8(out).ok()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.text(&mut [0; 27]) {
            return out.write_str(text);
        }
        let (year, month, day) = civil_from_days(self.0.div_euclid(MICROS).div_euclid(86_400));
        let (rest, micros) = (self.0.div_euclid(MICROS).rem_euclid(86_400), self.0.rem_euclid(MICROS));
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.text(&mut [0; 27]) {
            Some(text) => to.serialize_str(text),
            None => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected an RFC 3339 time"))
    }
}

/// Where the time comes from. Rings 0 and 1 take a [`Timestamp`] as an argument; planes hold a `dyn Clock`.
pub trait Clock: Send + Sync {
    /// Wall time, for records and for limits that survive a restart.
    fn now(&self) -> Timestamp;
}

/// Where randomness comes from: the operating system in the program, a seeded source in tests.
pub trait Random: Send + Sync {
    /// Fills `out` with unpredictable octets.
    fn fill(&self, out: &mut [u8]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_there_and_back() {
        for (text, micros) in [
            ("1970-01-01T00:00:00.000000Z", 0),
            ("2026-11-20T18:38:47.123456Z", 1_795_199_927_123_456),
            ("2000-02-29T23:59:59.000001Z", 951_868_799_000_001),
        ] {
            assert_eq!(Timestamp::parse(text), Some(Timestamp(micros)), "{text}");
            assert_eq!(Timestamp(micros).to_string(), text);
        }
        assert_eq!(Timestamp::parse("2026-11-20T19:38:47+01:00"), Timestamp::parse("2026-11-20T18:38:47Z"));
        for bad in ["", "2026-11-20", "2026-13-20T00:00:00Z", "2026-11-20T00:00:00", "2026-11-20T00:00:00.Z"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn day_of_week() {
        // 2026-11-20 is a Friday.
        let friday = Timestamp::parse("2026-11-20T18:38:47Z").unwrap_or_default();
        assert_eq!(friday.clock_utc(), (18, 38, 4));
    }
}
