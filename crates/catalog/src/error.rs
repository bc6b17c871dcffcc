//! What can be wrong with a service file.

/// A service file that cannot be used; says where and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The file does not read as a service file.
    #[error("{file}:{line}:{column}: {message}")]
    File {
        /// The file's name, as it was given.
        file: String,
        /// Line, from 1; 0 where the place is not known.
        line: u64,
        /// Column, from 1; 0 where the place is not known.
        column: u64,
        /// What is wrong, with the offending text and the nearest valid word.
        message: String,
    },
    /// Two services claim one host and port.
    #[error("services `{first}` and `{second}` both claim `{host}`; leave it to one of them")]
    HostTwice {
        /// The host, with its port.
        host: String,
        /// The service that has it.
        first: String,
        /// The service that wants it too.
        second: String,
    },
    /// What was built into the program cannot be read; only a broken build does that.
    #[error("built-in service `{service}` cannot be read: {reason}; build again from a clean tree")]
    BuiltIn {
        /// Its name.
        service: String,
        /// What the decoder says.
        reason: String,
    },
}

impl CatalogError {
    /// An error at the first place where `text` stands in `source`.
    pub(crate) fn at(source: &str, file: &str, text: &str, message: String) -> Self {
        let (line, column) = place_of(source, text);
        Self::File { file: file.to_owned(), line, column, message }
    }
}

/// Line and column of the first occurrence of `text`, both from 1; zeros where there is none.
fn place_of(source: &str, text: &str) -> (u64, u64) {
    let Some(at) = source.find(text).filter(|_| !text.is_empty()) else { return (0, 0) };
    let before = source.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    (line, column)
}

/// The word of `known` that is nearest to `word`, where one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    let ranked = known.into_iter().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    ranked.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= limit).map(|(_, word)| word)
}
