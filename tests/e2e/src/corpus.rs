//! Rows of the attack corpus: what is sent, and what must have come of it. One driver replays them all.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::house::root;

/// One attack. `{H}` is the origin's host, `{P}` the session's placeholder of the echo service, `{P2}` that of another
/// service, `{PB}` that of another agent, `{TOK}` the session's token, `{S}` the real secret, `{S2}` the other service's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The row of the attack catalogue.
    pub row: u32,
    /// Its name; unique.
    pub name: String,
    /// How it travels.
    #[serde(default)]
    pub via: Via,
    /// Authority of CONNECT; `{H}:443` where nothing is said.
    #[serde(default)]
    pub connect: Option<String>,
    /// Name of the inner handshake; `{H}` where nothing is said.
    #[serde(default)]
    pub sni: Option<String>,
    /// Octets to send, as text; `\u00XX` is the octet XX.
    #[serde(default)]
    pub send: String,
    /// HTTP/2 instead: fields, body and trailers.
    #[serde(default)]
    pub h2: Option<H2>,
    /// Statuses of which one must come back.
    #[serde(default)]
    pub status: Vec<u16>,
    /// A closed or reset connection will do, too.
    #[serde(default)]
    pub closed: bool,
    /// `code` of our problem document.
    #[serde(default)]
    pub code: Option<String>,
    /// Requests that reach the origin.
    #[serde(default)]
    pub sent: usize,
    /// How many besides, where a kept connection may have been closed by its server: what may be done twice is sent on another.
    #[serde(default)]
    pub again: usize,
    /// Times the secret stands in the last one.
    #[serde(default)]
    pub secret: usize,
    /// Texts that no request that reached the origin may hold, besides the session's token.
    #[serde(default)]
    pub absent: Vec<String>,
    /// Header fields that the last request must have, each exactly once with this value; `null`: not at all.
    #[serde(default)]
    pub fields: BTreeMap<String, Option<String>>,
    /// The target that the last request must have.
    #[serde(default)]
    pub target: Option<String>,
    /// The body that the last request must have.
    #[serde(default)]
    pub body: Option<String>,
    /// Header fields that the answer may not have.
    #[serde(default)]
    pub answer_without: Vec<String>,
    /// Text that the answer's body must have.
    #[serde(default)]
    pub answer_with: Option<String>,
    /// Makes of origin; all three where nothing is said.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Why a row cannot hold yet; it is left out and counted.
    #[serde(default)]
    pub skip: Option<String>,
}

/// How a row travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// CONNECT, then TLS, then the octets.
    #[default]
    Connect,
    /// CONNECT, then the octets in clear text.
    Clear,
    /// The octets to the proxy's port (absolute form, reverse leg).
    Proxy,
}

/// A request in HTTP/2.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct H2 {
    /// Fields in order, pseudo-header fields included.
    pub fields: Vec<(String, String)>,
    /// Its body.
    #[serde(default)]
    pub body: String,
    /// Its trailers.
    #[serde(default)]
    pub trailers: Vec<(String, String)>,
}

/// Every row of one file of the corpus.
#[must_use]
pub fn rows(file: &str) -> Vec<Row> {
    let path = root().join("tests/e2e/corpus").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}:{}: {error}", number + 1))
        })
        .collect()
}

/// Octets of a text in which each character below U+0100 is an octet.
#[must_use]
pub fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("octets are below U+0100")).collect()
}

impl Row {
    /// Fills in what only the run knows.
    #[must_use]
    pub fn filled(&self, known: &BTreeMap<&str, String>) -> Self {
        let mut row = self.clone();
        let fill = |text: &str| {
            known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        row.connect = Some(fill(self.connect.as_deref().unwrap_or("{H}:443")));
        row.sni = Some(fill(self.sni.as_deref().unwrap_or("{H}")));
        row.send = fill(&self.send);
        row.absent = self.absent.iter().map(|text| fill(text)).collect();
        row.target = self.target.as_deref().map(fill);
        row.body = self.body.as_deref().map(fill);
        row.answer_with = self.answer_with.as_deref().map(fill);
        row.fields = self.fields.iter().map(|(name, value)| (name.clone(), value.as_deref().map(fill))).collect();
        if let Some(h2) = &mut row.h2 {
            h2.body = fill(&h2.body);
            for (name, value) in h2.fields.iter_mut().chain(&mut h2.trailers) {
                (*name, *value) = (fill(name), fill(value));
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of the corpus and the rows of the catalogue that they are about.
    const FILES: &[(&str, std::ops::RangeInclusive<u32>)] = &[
        ("A.jsonl", 1..=15),
        ("B.jsonl", 16..=33),
        ("C.jsonl", 34..=45),
        ("D.jsonl", 46..=55),
        ("E.jsonl", 56..=67),
        ("F.jsonl", 68..=83),
        ("G.jsonl", 84..=95),
        ("J.jsonl", 116..=142),
    ];

    #[test]
    fn rows_are_well_formed() {
        let mut names = std::collections::BTreeSet::new();
        for (file, range) in FILES {
            let rows = rows(file);
            assert!(!rows.is_empty(), "{file}");
            for row in rows {
                assert!(range.contains(&row.row), "{file}: {} is about row {}", row.name, row.row);
                assert!(names.insert(row.name.clone()), "{file}: `{}` is there twice", row.name);
                assert!(row.skip.is_some() || row.closed || !row.status.is_empty(), "{}: expects nothing", row.name);
                assert!(row.sent > 0 || row.secret == 0, "{}: a secret in a request that is not sent", row.name);
                let _ = octets(&row.send);
            }
        }
    }
}
