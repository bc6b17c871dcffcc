//! The rules: one entry a kind in `rules/*.yaml`, read once.
//!
//! An entry says by which words a kind is recognised and what its value looks like. Four ways, one an entry:
//!
//! | key | the value |
//! |---|---|
//! | `prefix` | begins with one of these and goes on with `shape` |
//! | `names` | is given to a name that holds one of these, and is `shape` from end to end |
//! | `middle` | has one of these inside; `shape` is the whole of it |
//! | `reader` | has a structure; code in `reader/` reads it where one of `words` stands |

use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::check::Check;
use crate::reader::Reader;

const FILES: &[(&str, &str)] = &[
    ("code.yaml", include_str!("../rules/code.yaml")),
    ("cloud.yaml", include_str!("../rules/cloud.yaml")),
    ("models.yaml", include_str!("../rules/models.yaml")),
    ("messages.yaml", include_str!("../rules/messages.yaml")),
    ("money.yaml", include_str!("../rules/money.yaml")),
    ("operations.yaml", include_str!("../rules/operations.yaml")),
    ("work.yaml", include_str!("../rules/work.yaml")),
    ("general.yaml", include_str!("../rules/general.yaml")),
];

/// Memory of one compiled expression; shapes with a large count are the reason for more than the usual.
const EXPRESSION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a secret is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Kind {
    /// Its name in output: lower case and hyphens, never changed once published.
    #[serde(rename = "kind")]
    pub name: String,
    /// For people.
    pub title: String,
    /// Where its form is documented.
    pub source: String,
    /// Whether a person may have chosen the value.
    #[serde(default)]
    pub guessable: bool,
}

/// An entry as it is written.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(flatten)]
    kind: Kind,
    #[serde(default)]
    prefix: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    middle: Vec<String>,
    #[serde(default)]
    words: Vec<String>,
    reader: Option<Reader>,
    shape: Option<String>,
    check: Option<Check>,
}

/// A rule that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("rule file `{file}`: {why}")]
pub struct RuleError {
    file: &'static str,
    why: String,
}

impl RuleError {
    pub(crate) fn of_words(why: String) -> Self {
        Self { file: "all", why }
    }
}

/// How a kind is recognised.
#[derive(Debug)]
pub(crate) enum Way {
    Prefix(Shape),
    Names(Shape),
    Middle(Shape),
    Reader(Reader),
}

/// An expression that is compiled when it is first needed: most rules never are.
#[derive(Debug)]
pub(crate) struct Shape {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Shape {
    fn new(text: String) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    /// The expression; none only where it is wrong, which a test of every rule excludes.
    pub(crate) fn get(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| expression(&self.text).ok()).as_ref()
    }
}

fn expression(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(EXPRESSION_BYTES_MAX).build()
}

/// A compiled entry.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) kind: Arc<Kind>,
    pub(crate) words: Vec<String>,
    pub(crate) way: Way,
    pub(crate) check: Option<Check>,
}

/// Every rule of the built-in files.
pub(crate) fn builtin() -> Result<Vec<Rule>, RuleError> {
    let mut rules = Vec::new();
    for (file, text) in FILES {
        let wrong = |why: String| RuleError { file, why };
        let entries: Vec<Entry> = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for entry in entries {
            rules.push(compile(entry).map_err(wrong)?);
        }
    }
    Ok(rules)
}

fn compile(entry: Entry) -> Result<Rule, String> {
    let Entry { kind, prefix, names, middle, words, reader, shape, check } = entry;
    let shape = |form: &dyn Fn(&str) -> String| match &shape {
        Some(text) => Ok(Shape::new(form(text))),
        None => Err(format!("`{}` has no shape", kind.name)),
    };
    let (words, way) = match (prefix.is_empty(), names.is_empty(), middle.is_empty(), reader) {
        (false, true, true, None) => (prefix, Way::Prefix(shape(&|text| format!("^(?:{text})"))?)),
        (true, false, true, None) => (names, Way::Names(shape(&|text| format!("^(?:{text})$"))?)),
        (true, true, false, None) => (middle, Way::Middle(shape(&str::to_owned)?)),
        (true, true, true, Some(reader)) => (words, Way::Reader(reader)),
        _ => return Err(format!("`{}` needs exactly one of prefix, names, middle and reader", kind.name)),
    };
    if words.iter().any(|word| word.len() < 2) || words.is_empty() {
        return Err(format!("`{}` needs words of at least two octets", kind.name));
    }
    Ok(Rule { kind: Arc::new(kind), words, way, check })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_can_be_used_and_names_its_source() {
        let rules = builtin().expect("the rules");
        let mut names = BTreeSet::new();
        for rule in &rules {
            let kind = &rule.kind;
            assert!(names.insert(kind.name.clone()), "`{}` stands twice", kind.name);
            assert!(kind.source.starts_with("https://"), "`{}` names no source", kind.name);
            assert!(
                !kind.title.is_empty()
                    && kind
                        .name
                        .bytes()
                        .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
            );
            if let Way::Prefix(shape) | Way::Names(shape) | Way::Middle(shape) = &rule.way {
                assert!(expression(&shape.text).is_ok(), "`{}`: {:?}", kind.name, expression(&shape.text));
            }
        }
        assert!(rules.len() >= 100, "{} kinds", rules.len());
    }

    #[test]
    fn wrong_entries_are_refused() {
        let entry = |text: &str| {
            let text = format!("kind: a\ntitle: A\nsource: https://a\n{text}");
            compile(serde_saphyr::from_str(&text).expect("yaml"))
        };
        assert!(entry("prefix: [ab]\nshape: x").is_ok());
        for bad in
            ["prefix: [ab]", "shape: x", "prefix: [a]\nshape: x", "prefix: [ab]\nnames: [cd]\nshape: x", "reader: pem"]
        {
            assert!(entry(bad).is_err(), "{bad}");
        }
    }
}
