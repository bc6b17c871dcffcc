//! Cedar text: literals that cannot break out of themselves.

use std::fmt::Write as _;

/// A string literal.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            plain if plain.is_control() || !(plain.is_ascii() || plain.is_alphanumeric()) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(plain));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// `subject` matches a pattern in which `*` stands for any text.
pub(crate) fn like(subject: &str, pattern: &str) -> String {
    let verb = if pattern.contains('*') { "like" } else { "==" };
    format!("{subject} {verb} {}", quote(pattern))
}

/// A set of string literals.
pub(crate) fn set<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quote).collect();
    format!("[{}]", quoted.join(", "))
}

/// Alternatives, in brackets where there are several.
pub(crate) fn any_of(mut all: Vec<String>) -> String {
    match all.len() {
        0 => "false".to_owned(),
        1 => all.remove(0),
        _ => format!("({})", all.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" || ")),
    }
}
