//! Conditions on one value.

use serde::{Deserialize, Serialize};

use super::touch;

/// What a parameter must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holds {
    /// There, whatever it is.
    Present,
    /// Not there.
    Absent,
    /// One of these texts, numbers or booleans as text.
    Is(Vec<String>),
    /// It begins with one of these.
    Starts(Vec<String>),
    /// Some line of it begins with one of these, whatever the case and the blanks before: a command in a text.
    Lines(Vec<String>),
    /// It is a path to one of these files or into one of these folders, or may be read as one.
    Under(Vec<String>),
}

impl Holds {
    /// Whether a value, or its absence, is what it must be.
    pub fn fits(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Present, value) => value.is_some(),
            (Self::Absent, value) => value.is_none(),
            (Self::Is(words), Some(value)) => words.iter().any(|word| word == value),
            (Self::Starts(words), Some(value)) => words.iter().any(|word| value.starts_with(word.as_str())),
            (Self::Lines(words), Some(value)) => value.split(['\n', '\r']).map(str::trim_start).any(|line| {
                words.iter().any(|word| line.get(..word.len()).is_some_and(|front| front.eq_ignore_ascii_case(word)))
            }),
            (Self::Under(places), Some(value)) => touch::may_touch(places, value),
            (Self::Is(_) | Self::Starts(_) | Self::Lines(_) | Self::Under(_), None) => false,
        }
    }
}
