//! What is wrong with a document, where, and what was probably meant.

use std::fmt;

/// One thing that is wrong: `valetkey.yaml:12:9: unknown key ...`. Line and column begin at 1.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: String,
    /// The line, 0 where there is none.
    pub line: u64,
    /// The column in characters, 0 where there is none.
    pub column: u64,
    /// What stands there.
    pub text: String,
    /// What is wrong with it and what to do, without the offending text.
    pub message: String,
    /// The nearest valid word.
    pub nearest: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: {}", self.file, self.line.max(1), self.column.max(1), self.message)?;
        if !self.text.is_empty() && !self.message.contains(&format!("`{}`", self.text)) {
            write!(out, ": `{}`", self.text)?;
        }
        if let Some(word) = &self.nearest {
            write!(out, "; did you mean `{word}`?")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// What a document means where it is not written in our own form.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Note {
    /// The file as it was named.
    pub file: String,
    /// What it means in ours.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.file, self.text)
    }
}

/// The candidate that a person most likely meant by `word`.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word = word.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let edits = strsim::normalized_damerau_levenshtein(&word, &lower);
        let score = edits.max(strsim::jaro_winkler(&word, &lower) - 0.15);
        if score >= 0.5 && best.is_none_or(|(known, _)| score > known) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_words() {
        let words = ["pulls/create", "pulls/merge", "repos/delete", "issues/create"];
        for (word, expected) in [
            ("pulls/craete", Some("pulls/create")),
            ("pull/merge", Some("pulls/merge")),
            ("Repos/Delete", Some("repos/delete")),
            ("zzz", None),
        ] {
            assert_eq!(nearest(word, words).as_deref(), expected, "{word}");
        }
    }
}
