//! Slots as a service file declares them: whatever would break the line that a credential stands on is found when the file
//! is read, not when the first request needs it (row C37).

use model::scheme::SchemeSpec;

use super::Wrong;
use crate::file::ServiceFile;

/// What stands in a template for the value.
const HOLE: &str = "{value}";

/// Checks every scheme, of the service and of its hosts.
pub(crate) fn check(written: &ServiceFile) -> Result<(), Wrong> {
    let of_hosts = written.hosts.iter().filter_map(|host| host.0.schemes.as_ref()).flatten();
    written.schemes.iter().chain(of_hosts).try_for_each(one)
}

fn one(scheme: &SchemeSpec) -> Result<(), Wrong> {
    match scheme {
        SchemeSpec::Bearer { header, words } => {
            token(header, "header")?;
            if words.is_empty() {
                return Err(Wrong::new(header, "no word before the value; write `words: [Bearer]`"));
            }
            words.iter().try_for_each(|word| token(word, "word"))
        }
        SchemeSpec::Header { name, template } => {
            token(name, "header")?;
            if template.matches(HOLE).count() != 1 || !is_line(template) {
                let shown = template.escape_debug();
                let message = format!("template `{shown}` cannot stand in a header; write `{HOLE}` once, on one line");
                return Err(Wrong::new(name, message));
            }
            Ok(())
        }
        SchemeSpec::Basic { username, .. } => match username {
            Some(user) if user.contains(':') || !is_line(user) => {
                let message = format!("user `{}` cannot stand before a colon; write it without", user.escape_debug());
                Err(Wrong::new("username", message))
            }
            _ => Ok(()),
        },
        SchemeSpec::Query { name } => line(name, "parameter"),
        SchemeSpec::Cookie { name } => token(name, "cookie"),
        SchemeSpec::Body { field, .. } => line(field, "field"),
        SchemeSpec::Sigv4 {} => Ok(()),
    }
}

/// RFC 9110 5.6.2.
fn token(text: &str, what: &str) -> Result<(), Wrong> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        let shown = text.escape_debug();
        return Err(Wrong::new(text, format!("`{shown}` is no name of a {what}; use letters, digits and `-`")));
    }
    Ok(())
}

fn line(text: &str, what: &str) -> Result<(), Wrong> {
    if text.is_empty() || !is_line(text) {
        let shown = text.escape_debug();
        return Err(Wrong::new(text, format!("`{shown}` is no name of a {what}; write it on one line")));
    }
    Ok(())
}

/// No control character, and no space at either end, which would be lost on the way (RFC 9110 5.5).
fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}
