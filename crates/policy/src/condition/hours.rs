//! `hours`: the permission applies at these times of the week: `09:00-17:00`, `mon-fri 09:00-17:00 +01:00`,
//! `sat,sun 22:00-06:00`. A window that ends before it begins runs past midnight and belongs to the day it began.

use model::Timestamp;

use super::{Condition, Needs, Reader};
use crate::Subject;
use crate::compile::text::quote;
use crate::document::Conditions;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: i64 = 24 * 60;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minutes of the day, from inclusive, until exclusive.
    from: i64,
    until: i64,
    /// Minutes east of UTC.
    offset: i64,
}

#[derive(Debug)]
struct Hours {
    windows: Vec<Window>,
    label: String,
    written: Vec<String>,
}

pub(super) fn read(written: &Conditions, reader: &mut Reader<'_>) -> Vec<Box<dyn Condition>> {
    let mut windows = Vec::new();
    for text in &written.hours {
        match Window::parse(&text.value) {
            Some(window) => windows.push(window),
            None => reader.say(text, "expected hours such as `09:00-17:00` or `mon-fri 09:00-17:00 +01:00`", None),
        }
    }
    if written.hours.is_empty() {
        return Vec::new();
    }
    let written: Vec<String> = written.hours.iter().map(|text| text.value.clone()).collect();
    vec![Box::new(Hours { windows, label: format!("hours {}", written.join(", ")), written })]
}

fn minutes(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?);
    (minute < 60 && (hour < 24 || (hour == 24 && minute == 0))).then(|| i64::from(hour) * 60 + i64::from(minute))
}

fn days(text: &str) -> Option<[bool; 7]> {
    let day = |word: &str| DAYS.iter().position(|name| *name == word);
    let mut set = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        for step in 0..=length {
            *set.get_mut((first + step) % 7)? = true;
        }
    }
    Some(set)
}

fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) =
        text.strip_prefix('+').map(|rest| (1, rest)).or_else(|| text.strip_prefix('-').map(|rest| (-1, rest)))?;
    minutes(rest).filter(|size| *size <= 14 * 60).map(|size| sign * size)
}

impl Window {
    fn parse(text: &str) -> Option<Self> {
        let lower = text.to_lowercase();
        let mut words = lower.split_whitespace().peekable();
        let mut window = Self { days: [true; 7], from: 0, until: 0, offset: 0 };
        if words.peek().is_some_and(|word| word.starts_with(|letter: char| letter.is_ascii_alphabetic())) {
            window.days = days(words.next()?)?;
        }
        let (from, until) = words.next()?.split_once('-')?;
        (window.from, window.until) = (minutes(from)?, minutes(until)?);
        if let Some(word) = words.next() {
            window.offset = offset(word)?;
        }
        (words.next().is_none() && window.from != window.until).then_some(window)
    }

    fn contains(&self, now: Timestamp) -> bool {
        let shifted = Timestamp(now.0.saturating_add(self.offset * 60 * 1_000_000));
        let (hour, minute, day) = shifted.clock_utc();
        let minute = i64::from(hour) * 60 + i64::from(minute);
        let on = |day: u32| self.days.get(day as usize % 7).copied().unwrap_or(false);
        if self.from < self.until {
            return on(day) && (self.from..self.until).contains(&minute);
        }
        (on(day) && (self.from..DAY_MINUTES).contains(&minute)) || (on(day + 6) && minute < self.until)
    }
}

impl Condition for Hours {
    fn cedar(&self) -> Option<String> {
        Some(format!("context.holds.contains({})", quote(&self.label)))
    }

    fn needs(&self) -> Needs {
        Needs::HOLDS
    }

    fn holds(&self, _: &Subject, now: Timestamp) -> Option<&str> {
        self.windows.iter().any(|window| window.contains(now)).then_some(&self.label)
    }

    fn explain(&self) -> Option<serde_json::Value> {
        Some(serde_json::json!({ "kind": "hours", "hours": self.written }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        // 2026-11-20 is a Friday.
        for (window, time, expected) in [
            ("09:00-17:00", "2026-11-20T09:00:00Z", true),
            ("09:00-17:00", "2026-11-20T17:00:00Z", false),
            ("09:00-17:00", "2026-11-20T08:59:59Z", false),
            ("mon-fri 09:00-17:00", "2026-11-20T12:00:00Z", true),
            ("mon-fri 09:00-17:00", "2026-11-21T12:00:00Z", false),
            ("sat,sun 00:00-24:00", "2026-11-21T12:00:00Z", true),
            ("fri 22:00-06:00", "2026-11-20T23:00:00Z", true),
            ("fri 22:00-06:00", "2026-11-21T05:59:00Z", true),
            ("fri 22:00-06:00", "2026-11-20T05:59:00Z", false),
            ("mon-fri 09:00-17:00 +02:00", "2026-11-20T07:30:00Z", true),
            ("mon-fri 09:00-17:00 -05:00", "2026-11-20T13:59:00Z", false),
            ("sun-mon 10:00-11:00 utc", "2026-11-22T10:30:00Z", true),
        ] {
            let parsed = Window::parse(window).expect(window);
            assert_eq!(parsed.contains(Timestamp::parse(time).expect(time)), expected, "{window} at {time}");
        }
        for bad in ["", "9-17", "09:00", "25:00-26:00", "xyz 09:00-17:00", "09:00-09:00", "09:00-17:00 +99:00", "mon"] {
            assert_eq!(Window::parse(bad), None, "{bad}");
        }
    }
}
