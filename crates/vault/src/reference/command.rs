//! Command lines of `exec:`.

/// Splits a command line: a JSON list of texts, or words separated by blanks, where `'..'` and `".."` hold blanks
/// together. There is no shell: `$`, `|`, `*` and `\` mean nothing.
pub(crate) fn argv(text: &str) -> Result<Vec<String>, &'static str> {
    if text.starts_with('[') {
        let list: Vec<String> = serde_json::from_str(text).map_err(|_| "it is not a JSON list of texts")?;
        return if list.first().is_some_and(|first| !first.is_empty()) { Ok(list) } else { Err("it names no program") };
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    match (quote, words.first()) {
        (Some(_), _) => Err("a quote is not closed"),
        (None, Some(first)) if !first.is_empty() => Ok(words),
        _ => Err("it names no program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_have_no_shell() {
        for (text, words) in [
            ("a b  c", &["a", "b", "c"][..]),
            ("a 'b c' \"d 'e\"", &["a", "b c", "d 'e"]),
            ("a $HOME | b", &["a", "$HOME", "|", "b"]),
            (r#"["a", "b c"]"#, &["a", "b c"]),
            ("a ''", &["a", ""]),
        ] {
            assert_eq!(argv(text).expect(text), words);
        }
    }
}
