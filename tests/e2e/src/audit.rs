//! The oracle AUD: exactly one complete record of every attempt.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::house::House;

/// The events of the log, by session.
#[derive(Debug, Default)]
pub struct Log(BTreeMap<String, Vec<Value>>);

impl Log {
    /// Reads the whole log.
    #[must_use]
    pub fn of(house: &House) -> Self {
        // An outcome may wait 5 ms for the next record (decision 12); an answer that was read just now may be one.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let export = house.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        let mut log = Self::default();
        for line in export.stdout.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let session = event["session"].as_str().unwrap_or_default().to_owned();
            log.0.entry(session).or_default().push(event);
        }
        log
    }

    /// The events of this kind that a session has, in order.
    pub fn events<'a>(&'a self, session: &str, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.get(session).into_iter().flatten().filter(move |event| event["kind"] == kind)
    }

    /// How many events of this kind a session has.
    #[must_use]
    pub fn count(&self, session: &str, kind: &str) -> usize {
        self.events(session, kind).count()
    }

    /// How many requests of a session, or of nobody's, were refused: told one by one or counted.
    #[must_use]
    pub fn refused(&self, session: &str) -> u64 {
        self.events(session, "refusal").map(|event| event["repeated"]["times"].as_u64().unwrap_or(1)).sum()
    }

    /// The log once that many of a session were refused on record; counts are written after a moment. As it is where that
    /// does not come about.
    #[must_use]
    pub fn once_refused(house: &House, session: &str, at_least: u64) -> Self {
        let start = std::time::Instant::now();
        loop {
            let log = Self::of(house);
            if log.refused(session) >= at_least || start.elapsed() > std::time::Duration::from_secs(30) {
                return log;
            }
        }
    }

    /// What is wrong with the record of a session: an attempt without its end, an end without an attempt, two of either.
    #[must_use]
    pub fn incomplete(&self, session: &str) -> Vec<String> {
        let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for event in self.0.get(session).into_iter().flatten() {
            let exchange = event["exchange"].as_str().unwrap_or_default();
            match event["kind"].as_str() {
                Some("attempt") => seen.entry(exchange).or_default().0 += 1,
                Some("outcome" | "abandoned") => seen.entry(exchange).or_default().1 += 1,
                _ => {}
            }
        }
        // A retry after a refresh is an attempt of its own in the same exchange; ends still pair with attempts.
        seen.into_iter()
            .filter(|(_, (attempts, ends))| attempts != ends)
            .map(|(exchange, (attempts, ends))| format!("{exchange}: {attempts} attempts, {ends} ends"))
            .collect()
    }
}
