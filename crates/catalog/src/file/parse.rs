//! From text to [`ServiceFile`], with the place of every mistake.

use super::ServiceFile;
use crate::error::{CatalogError, nearest};

impl ServiceFile {
    /// Reads a service file. `file` is only for messages.
    ///
    /// # Errors
    /// Line and column, the offending text and the nearest valid word.
    pub fn parse(yaml: &str, file: &str) -> Result<Self, CatalogError> {
        let read = serde_saphyr::from_str(yaml).map_err(|error| {
            let place = error.location();
            let text = error.without_snippet().to_string();
            CatalogError::File {
                file: file.to_owned(),
                line: place.map_or(0, |place| place.line()),
                column: place.map_or(0, |place| place.column()),
                message: friendly(&text),
            }
        })?;
        Ok(Self { source: yaml.to_owned(), file: file.to_owned(), ..read })
    }
}

/// Takes the place out of the parser's message (it is said once, in front) and adds the nearest word.
fn friendly(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    let first = first.split_once(" at line ").map_or(first, |(front, _)| front).trim_end_matches([',', '.', ' ']);
    let Some((head, known)) = first.split_once(", expected one of ") else { return first.to_owned() };
    let wrong = head.split('`').nth(1).unwrap_or_default();
    match nearest(wrong, known.split(", ")) {
        Some(word) => format!("{head}; did you mean `{word}`?"),
        None => format!("{head}; known are {known}"),
    }
}
