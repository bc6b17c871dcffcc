//! One human sentence per call. It is what a person reads before saying yes, so nothing in it may be invisible, and
//! what is not known is said to be.

use std::fmt::Write as _;

use model::{Call, Fact};

use crate::compiled::{MCP_UNLISTED_TOOL, RPC_UNLISTED, SOCKET_UNLISTED};
use crate::file::pattern::{Part, template};

/// Characters of one value that are shown.
const VALUE_CHARS_MAX: usize = 200;

/// The sentence for a call: from its template, or made from action and resource.
pub(crate) fn of(call: &Call, text: Option<&str>, title: &str) -> String {
    let Some(text) = text else { return plain(call, title) };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, after) = after.split_once(']').unwrap_or((after, ""));
        render(before, call, &mut out);
        // A part in brackets is left out where one of its values is absent.
        let mut optional = String::new();
        if render(inside, call, &mut optional) {
            out.push_str(&optional);
        }
        rest = after;
    }
    render(rest, call, &mut out);
    out
}

/// `Issues: create comment on myorg/myrepo (GitHub)`.
fn plain(call: &Call, title: &str) -> String {
    let action = call.action.as_str();
    let (group, verb) = action.rsplit_once('/').or_else(|| action.rsplit_once('.')).unwrap_or(("", action));
    let mut words = String::new();
    for (index, character) in verb.chars().enumerate() {
        if index > 0 && character.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(if matches!(character, '-' | '_') { ' ' } else { character.to_ascii_lowercase() });
    }
    let mut head = if group.is_empty() { words } else { format!("{group}: {words}") };
    if let Some(first) = head.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let what = if call.resource.kind() == "resource" { call.resource.rest() } else { call.resource.as_str() };
    format!("{head} on {} ({title})", short(what))
}

/// The sentence for a call that came by a name: a mutation, a tool, a method. From the action's template where this road says all that
/// stands in it; otherwise the name in words, because a template of another road speaks of numbers that this one does not say.
/// `Merge pull request PR_1: merge method "squash" (GitHub, by GraphQL: pulls/merge)`.
pub(crate) fn of_name(call: &Call, name: &str, text: Option<&str>, (title, road): (&str, &str)) -> String {
    if let Some(text) = text.filter(|text| is_told(text, call)) {
        return of(call, Some(text), title);
    }
    let resource = &call.resource;
    // The agent chose the name of what no table has: it must not read as a sentence of ours.
    if matches!(call.action.as_str(), MCP_UNLISTED_TOOL | RPC_UNLISTED | SOCKET_UNLISTED) {
        return format!("Call the unknown {} {} ({title}, by {road})", resource.kind(), quoted(name));
    }
    let mut out = words(name);
    match resource.kind() {
        "resource" | "tool" | "method" | "message" => {}
        "node" => out.extend([" ", &plain_or_quoted(resource.rest())]),
        _ => out.extend([" in ", &plain_or_quoted(resource.as_str())]),
    }
    let mut mark = ": ";
    let own = |name: &str| ["graphql.", "mcp.", "rpc.", "socket."].iter().any(|road| name.starts_with(road));
    for (name, fact) in call.facts.iter().filter(|(name, _)| !own(name)) {
        let text = match fact {
            Fact::Text(text) => text.to_string(),
            Fact::Int(number) => number.to_string(),
            Fact::Bool(flag) => flag.to_string(),
            Fact::List(items) => items.join(", "),
            Fact::Unknown(model::Unknown::NotTold) => continue,
            Fact::Unknown(_) => "(unreadable)".to_owned(),
        };
        let name = name.rsplit('.').next().unwrap_or(name).replace('_', " ");
        let _ = write!(out, "{mark}{name} {}", quoted(&text));
        mark = ", ";
    }
    let _ = write!(out, " ({title}, by {road}: {})", call.action);
    out
}

/// Whether every value outside of a template's brackets is there.
fn is_told(text: &str, call: &Call) -> bool {
    let mut needed = String::new();
    let mut depth = 0usize;
    for character in text.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            other if depth == 0 => needed.push(other),
            _ => {}
        }
    }
    // The name of a tool is no place.
    let nowhere = matches!(call.resource.kind(), "tool" | "method" | "message")
        && ["{resource}", "{path}", "{last}"].iter().any(|part| needed.contains(part));
    !nowhere && render(&needed, call, &mut String::new())
}

/// A value in quotes that it cannot leave.
fn quoted(value: &str) -> String {
    format!("\"{}\"", escaped(value, '"'))
}

/// A value between such quotes.
fn escaped(value: &str, quote: char) -> String {
    short(value).replace('\\', "\\\\").replace(quote, &format!("\\{quote}"))
}

/// A name as it is; what could read as more than a name, in quotes.
fn plain_or_quoted(value: &str) -> String {
    let mark = |letter: char| {
        matches!(letter, '.' | '_' | '-' | '/' | '@' | ':' | '+' | '#' | '*' | '~' | '=' | '&' | '?' | '%')
    };
    let plain = !value.is_empty() && value.chars().all(|letter| letter.is_alphanumeric() || mark(letter));
    if plain { short(value) } else { quoted(value) }
}

/// `mergePullRequest` and `merge_pull_request` as `Merge pull request`.
fn words(name: &str) -> String {
    let mut out = String::new();
    for (index, character) in name.chars().enumerate() {
        if index > 0 && character.is_ascii_uppercase() {
            out.push(' ');
        }
        let character = if matches!(character, '_' | '-') { ' ' } else { character };
        out.push(if index == 0 { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() });
    }
    short(&out)
}

/// Appends a template; whether all its values are there. A value stands in quotes that it cannot leave, unless it is a plain name, so
/// that a title which reads `x in repo:o/other (approved)` does not read as the sentence.
fn render(text: &str, call: &Call, out: &mut String) -> bool {
    let mut complete = true;
    for part in template(text).unwrap_or_default() {
        match part {
            Part::Text(text) => out.push_str(&text),
            Part::Value { name, prefix: format } => {
                // Quotes of the template are those of the value.
                let shown = match out.chars().last() {
                    Some(quote @ ('"' | '\'')) => value(&name, &format, call, &|value| escaped(value, quote)),
                    _ => value(&name, &format, call, &plain_or_quoted),
                };
                complete &= shown.is_some();
                out.push_str(&shown.unwrap_or_else(|| "?".to_owned()));
            }
        }
    }
    complete
}

fn value(name: &str, format: &str, call: &Call, shown: &dyn Fn(&str) -> String) -> Option<String> {
    match name {
        "resource" => return Some(shown(call.resource.rest())),
        "path" => return Some(shown(&call.resource.segments().collect::<Vec<_>>().join("/"))),
        "tail" => return call.resource.tail().map(shown),
        "last" => return call.resource.segments().last().map(shown),
        _ => {}
    }
    Some(match call.facts.get(name)? {
        Fact::Text(text) => shown(text),
        Fact::Int(number) if format == "money" => money(*number, call),
        Fact::Int(number) => number.to_string(),
        Fact::Bool(flag) => flag.to_string(),
        Fact::List(items) => short(&items.iter().map(|item| shown(item)).collect::<Vec<_>>().join(", ")),
        Fact::Unknown(_) => "(unreadable)".to_owned(),
    })
}

/// Minor units with their currency. ISO 4217 currencies without minor units as Stripe lists them.
fn money(amount: i64, call: &Call) -> String {
    const WHOLE: [&str; 16] = [
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
    ];
    let currency = match call.facts.get("body.currency") {
        Some(Fact::Text(currency)) => currency.to_ascii_uppercase(),
        _ => return format!("{amount} (minor units)"),
    };
    if WHOLE.contains(&currency.as_str()) {
        return format!("{amount} {currency}");
    }
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}.{:02} {currency}", amount.unsigned_abs() / 100, amount.unsigned_abs() % 100)
}

/// A value as a person may see it, cut where it is long; how much is missing is said.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= VALUE_CHARS_MAX {
        return visible(text);
    }
    let cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    format!("{}... ({} more characters)", visible(&cut), count - VALUE_CHARS_MAX)
}

/// Writes out every character that a terminal or browser would hide, move or take as a command: control characters,
/// direction marks, zero-width and filler characters, tags, variation selectors, private use (attack row 99).
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if hidden(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            u32::from(character),
            0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x200b..=0x200f
            | 0x2028..=0x202e | 0x2060..=0x206f | 0x2800 | 0x3164 | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0xfeff
            | 0xffa0 | 0xfff0..=0xfffb | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff | 0xf0000..
        )
}

#[cfg(test)]
mod tests {
    use model::{Class, Effects, Facts, Resource};

    use super::*;

    fn call(facts: &[(&str, Fact)]) -> Call {
        let mut all = Facts::default();
        for (name, fact) in facts {
            all.add((*name).into(), fact.clone());
        }
        Call {
            action: "pulls/create-review".parse().expect("an id"),
            class: Class::Write,
            effects: Effects::NONE,
            resource: Resource::new("repo:o/r"),
            facts: all,
        }
    }

    #[test]
    fn sentences() {
        let known = call(&[("body.base", Fact::Text("main".into())), ("body.n", Fact::Int(3))]);
        assert_eq!(
            of(&known, Some("Merge {body.n}[ into {body.base}] of {resource}"), "X"),
            "Merge 3 into main of o/r"
        );
        assert_eq!(of(&call(&[]), Some("Merge {body.n}[ into {body.base}] of {resource}"), "X"), "Merge ? of o/r");
        assert_eq!(of(&call(&[]), None, "GitHub"), "Pulls: create review on repo:o/r (GitHub)");
        let money = call(&[("body.amount", Fact::Int(123_456)), ("body.currency", Fact::Text("eur".into()))]);
        assert_eq!(of(&money, Some("Charge {body.amount|money}"), "X"), "Charge 1234.56 EUR");
    }

    #[test]
    fn nothing_is_invisible() {
        assert_eq!(visible("a\u{202e}b\u{1b}[2J\u{200b}\n"), "a\\u{202e}b\\u{1b}[2J\\u{200b}\\u{a}");
        assert_eq!(visible("Grüße, 世界"), "Grüße, 世界");
        let long = of(&call(&[("body.t", Fact::Text("x".repeat(300).into()))]), Some("{body.t}"), "X");
        assert!(long.ends_with("... (100 more characters)"));
    }

    #[test]
    fn a_value_cannot_leave_its_quotes() {
        let evil = "x in repo:o/other (approved). \"Not\" \\";
        let known =
            call(&[("body.t", Fact::Text(evil.into())), ("body.l", Fact::List(vec!["a".into(), "b c".into()]))]);
        assert_eq!(
            of(&known, Some("Create {body.t} with {body.l} in {resource}"), "X"),
            "Create \"x in repo:o/other (approved). \\\"Not\\\" \\\\\" with a, \"b c\" in o/r"
        );
        assert_eq!(of(&known, Some("Create '{body.t}'"), "X"), "Create 'x in repo:o/other (approved). \"Not\" \\\\'");
        let named = of_name(&known, "create_note", None, ("X", "MCP"));
        assert!(named.contains("t \"x in repo:o/other (approved). \\\"Not\\\" \\\\\", l "), "{named}");
    }
}
