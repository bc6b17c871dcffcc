//! Credential files as an isolated agent sees them: the same files, with placeholders where its session holds a credential and
//! a word where it does not.
//!
//! Two passes. The first replaces every value that the gateway knows, in all the forms that the scrubber finds. The second
//! reads `name: value` pairs in whatever notation, and withholds what looks like a secret by its name or its shape; these
//! files hold credentials and little else, so it may be strict. What cannot be read as text is empty.

use std::collections::BTreeSet;
use std::path::Path;

use sandbox::{Mask, Surroundings};

use super::discovery::looks;

/// What stands for a secret that the agent gets no placeholder for.
pub(super) const WITHHELD: &str = "withheld-by-valetkey";
/// Shorter ones are names.
const TOKEN_BYTES_MIN: usize = 16;
/// Names that are told of one file.
const NAMES_TOLD_MAX: usize = 20;
/// Names beyond those of variables that hold a secret in some program's file.
const NAMES: [&str; 9] =
    ["auth", "_auth", "identitytoken", "client_key_data", "token_data", "secret", "pass", "pwd", "key"];
/// Ends of names whose values are secrets however short they are.
const ENDS: [&str; 8] = ["password", "passwd", "passphrase", "_pass", "secretkey", "jwt", "salt", "authident"];
/// Values that stand for themselves.
const WORDS: [&str; 6] = ["true", "false", "null", "none", "yes", "no"];

/// The file as the agent sees it. `known` gives the text without values that are known, where it holds any; `own` says
/// whether a value is a placeholder of the session.
pub(super) fn masked(bytes: &[u8], known: &dyn Fn(&[u8]) -> Option<Vec<u8>>, own: &dyn Fn(&str) -> bool) -> Vec<u8> {
    let replaced = known(bytes);
    let Ok(text) = std::str::from_utf8(replaced.as_deref().unwrap_or(bytes)) else { return Vec::new() };
    let text = without_elements(&without_keys(text), own);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['=', ':', ' ', '\t']) {
        let (before, after) = rest.split_at_checked(at + 1).unwrap_or((rest, ""));
        out.push_str(before);
        rest = after;
        let separator = before.ends_with(['=', ':']);
        // Of all that came before: a blank may stand between a name and its separator.
        let name = last_name(out.get(..out.len() - 1).unwrap_or_default());
        // `password VALUE` is how .netrc writes it; elsewhere a blank separates nothing.
        let equals = rest.trim_start_matches([' ', '\t']).starts_with(['=', ':']);
        if name.is_empty() || !separator && (equals || !matches!(name, "password" | "passwd")) {
            continue;
        }
        let (gap, value, after) = value_of(rest);
        // A reference (`valetkey://NAME`) stands for a secret and is none.
        let harmless = value.is_empty() || own(value) || inject::reference(value).is_some();
        if !harmless && is_secret(name, value) {
            // Without quotes a variable's value ends with its line, whatever is in it.
            let quoted = gap.ends_with(['"', '\'']);
            let whole = before.ends_with('=') && !quoted;
            out.push_str(gap);
            out.push_str(WITHHELD);
            rest = if whole { after.find('\n').and_then(|end| after.get(end..)).unwrap_or_default() } else { after };
        }
    }
    out.push_str(rest);
    without_blocks(&without_passwords(&out, own)).into_bytes()
}

/// The names under which something is withheld in masks of the user's own files.
pub fn withheld(surroundings: &Surroundings) -> Vec<(&Path, BTreeSet<String>)> {
    let names = |mask: &Mask| -> BTreeSet<String> {
        let text = String::from_utf8_lossy(&mask.bytes);
        let before = text.match_indices(WITHHELD).map(|(at, _)| text.get(..at).unwrap_or_default());
        let name = |before: &str| last_name(before.trim_end_matches([' ', '\t', '"', '\'', '=', ':'])).to_owned();
        before.map(name).filter(|name| !name.is_empty()).take(NAMES_TOLD_MAX).collect()
    };
    let all = surroundings.masks.iter().map(|mask| (mask.path.as_path(), names(mask)));
    all.filter(|(_, names)| !names.is_empty()).collect()
}

/// The name that text ends with, without quotes.
fn last_name(text: &str) -> &str {
    let text = text.trim_end_matches([' ', '\t']).trim_end_matches(['"', '\'']);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    text.rsplit(|letter: char| !plain(letter)).next().unwrap_or_default()
}

/// What is between the separator and the value, the value, and what comes after it. A value ends with its line.
fn value_of(text: &str) -> (&str, &str, &str) {
    let start = text.find(|letter| !matches!(letter, ' ' | '\t')).unwrap_or(text.len());
    let (gap, rest) = text.split_at_checked(start).unwrap_or((text, ""));
    let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''));
    let (open, body) = rest.split_at_checked(usize::from(quote.is_some())).unwrap_or(("", rest));
    let end = match quote {
        Some(quote) => closing(body, quote).or_else(|| body.find('\n')),
        None => body.find(|letter: char| letter.is_whitespace() || ",}]".contains(letter)),
    };
    let (value, after) = body.split_at_checked(end.unwrap_or(body.len())).unwrap_or((body, ""));
    (text.get(..gap.len() + open.len()).unwrap_or(gap), value, after)
}

/// Where a quoted value ends; a backslash takes the quote its meaning, and the end may be lines away.
fn closing(body: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    body.char_indices().find_map(|(at, letter)| {
        let ends = letter == quote && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// A password file of PostgreSQL (libpq, 34.16): the last of five fields of each line.
pub(super) fn without_fields(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(':') {
        Some((before, password)) if !line.starts_with('#') && !password.is_empty() => format!("{before}:{WITHHELD}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A `.netrc`: words, blanks and line ends between them; what follows `password` or `account` is withheld.
pub(super) fn without_words(text: &str, own: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_next = false;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let blank = piece.get(word.len()..).unwrap_or_default();
        let is_value = is_next && !word.is_empty();
        out.push_str(if is_value && !own(word) { WITHHELD } else { word });
        out.push_str(blank);
        is_next = if word.is_empty() { is_next } else { !is_value && matches!(word, "password" | "account") };
    }
    out
}

/// YAML's values of several lines: `token: >-` and the lines below it that stand further in.
fn without_blocks(text: &str) -> String {
    /// Looks like a secret under any name that may hold one.
    const SHAPED: &str = "q7Rk2ZtVw9LxN4bYq7Rk2ZtVw9LxN4bY";
    let mut out = String::with_capacity(text.len());
    let mut below: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches(' ').len();
        if below.is_some_and(|outer| indent > outer || line.trim().is_empty()) {
            continue;
        }
        below = None;
        out.push_str(line);
        let Some((name, style)) = line.trim_end().rsplit_once(": ") else { continue };
        if style.starts_with(['>', '|']) && style.len() <= 3 && is_secret(last_name(name), SHAPED) {
            out.extend([" ".repeat(indent + 2).as_str(), WITHHELD, "\n"]);
            below = Some(indent);
        }
    }
    out
}

fn is_secret(name: &str, value: &str) -> bool {
    let nowhere = Path::new("/nonexistent");
    let name = name.replace(['-', '.'], "_").to_ascii_lowercase();
    // `${PASSWORD}` names a variable, and a bracket opens more of the file.
    let is_plain = !WORDS.contains(&value.to_ascii_lowercase().as_str())
        && !["${", "{", "["].iter().any(|start| value.starts_with(start));
    let named = NAMES.contains(&name.as_str()) || ENDS.iter().any(|end| name.ends_with(end));
    is_plain && named || looks::like_a_secret(&name, value, nowhere).is_some()
}

/// Private keys lose what is between their lines.
fn without_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("-----BEGIN ") {
        let (before, block) = rest.split_at_checked(start).unwrap_or((rest, ""));
        out.push_str(before);
        let head = block.find('\n').map_or(block, |end| block.get(..end).unwrap_or(block));
        let end = block.find("-----END ").unwrap_or(block.len());
        let (whole, after) = block.split_at_checked(end).unwrap_or((block, ""));
        if head.contains("PRIVATE KEY") {
            out.push_str(WITHHELD);
            // The end's own line goes with it.
            rest = after.split_once('\n').map_or("", |(_, after)| after);
        } else {
            out.push_str(whole);
            let (dashes, after) = after.split_at_checked(9).unwrap_or((after, ""));
            out.push_str(dashes);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// `<password>VALUE</password>`, as Maven and NuGet write it.
fn without_elements(text: &str, own: &dyn Fn(&str) -> bool) -> String {
    const ELEMENTS: [&str; 3] = ["<password>", "<passphrase>", "<ClearTextPassword>"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, element)) =
        ELEMENTS.iter().filter_map(|element| Some((rest.find(element)?, element))).min_by_key(|(start, _)| *start)
    {
        let (before, after) = rest.split_at_checked(start + element.len()).unwrap_or((rest, ""));
        let (value, after) = after.split_at_checked(after.find('<').unwrap_or(after.len())).unwrap_or(("", after));
        out.push_str(before);
        // `${env.PASSWORD}` names a variable.
        let is_plain = !value.trim().is_empty() && !value.trim_start().starts_with("${") && !own(value);
        out.push_str(if is_plain { WITHHELD } else { value });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `scheme://user:password@host`.
fn without_passwords(text: &str, own: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at_checked(at + 3).unwrap_or((rest, ""));
        out.push_str(before);
        let end = after.find(|letter: char| letter.is_whitespace() || "/?#\"'".contains(letter)).unwrap_or(after.len());
        let (authority, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?, host))) {
            Some(((user, password), host)) if !password.is_empty() && !own(password) => {
                out.extend([user, ":", WITHHELD, "@", host]);
            }
            _ => match authority.rsplit_once('@') {
                // A token alone, as `git clone https://TOKEN@host` leaves it.
                Some((user, host)) if !own(user) && is_no_name(user) => out.extend([WITHHELD, "@", host]),
                _ => out.push_str(authority),
            },
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Whether what stands where a user's name does is a token: long, and of letters and digits.
fn is_no_name(user: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| user.bytes().any(|byte| kind(&byte));
    user.len() >= TOKEN_BYTES_MIN && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> String {
        let known = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).ok()?;
            text.contains("REAL").then(|| text.replace("REAL", "ghp_placeholder0").into_bytes())
        };
        String::from_utf8(masked(text.as_bytes(), &known, &|value| value == "ghp_placeholder0")).expect("text")
    }

    #[test]
    fn every_notation() {
        let secret = ["q7Rk2ZtV", "w9LxN4bY"].concat();
        for (file, want) in [
            ("GITHUB_TOKEN=REAL\nPORT=8080\n", "GITHUB_TOKEN=ghp_placeholder0\nPORT=8080\n"),
            ("export API_TOKEN=\"SECRET\" # mine\n", "export API_TOKEN=\"withheld-by-valetkey\" # mine\n"),
            ("machine a.test login me password SECRET\n", "machine a.test login me password withheld-by-valetkey\n"),
            ("//registry.test/:_authToken=SECRET\n", "//registry.test/:_authToken=withheld-by-valetkey\n"),
            (
                "{\"a\":{\"accessToken\":\"SECRET\",\"n\":1}}",
                "{\"a\":{\"accessToken\":\"withheld-by-valetkey\",\"n\":1}}",
            ),
            (
                "{\"auths\":{\"r.test\":{\"auth\": \"SECRET\"}}}",
                "{\"auths\":{\"r.test\":{\"auth\": \"withheld-by-valetkey\"}}}",
            ),
            ("API_TOKEN=valetkey://github-token\n", "API_TOKEN=valetkey://github-token\n"),
            ("[pypi]\npassword = SECRET\n", "[pypi]\npassword = withheld-by-valetkey\n"),
            ("aws_secret_access_key = SECRET\n", "aws_secret_access_key = withheld-by-valetkey\n"),
            (
                "github.com:\n    oauth_token: SECRET\n    user: me\n",
                "github.com:\n    oauth_token: withheld-by-valetkey\n    user: me\n",
            ),
            ("api-key: SECRET\n", "api-key: withheld-by-valetkey\n"),
            ("DB_PASSWORD=dog\nASK_PASSWORD=true\n", "DB_PASSWORD=withheld-by-valetkey\nASK_PASSWORD=true\n"),
            ("<a><password>SECRET</password></a>\n", "<a><password>withheld-by-valetkey</password></a>\n"),
            ("<a><password>${env.P}</password></a>\n", "<a><password>${env.P}</password></a>\n"),
            ("https://me:SECRET@github.com\n", "https://me:withheld-by-valetkey@github.com\n"),
            ("DB=postgres://me:SECRET@db/x\n", "DB=withheld-by-valetkey\n"),
            ("https://SECRET@git.test/x\n", "https://withheld-by-valetkey@git.test/x\n"),
            ("https://me@git.test/x\n", "https://me@git.test/x\n"),
            ("DB_URL=postgres://postgres@localhost:5432/app\n", "DB_URL=postgres://postgres@localhost:5432/app\n"),
            ("DB_PASS=dog, cat and more\nPORT=1\n", "DB_PASS=withheld-by-valetkey\nPORT=1\n"),
            ("API_TOKEN=\"a\\\"SECRET\"\nPORT=1\n", "API_TOKEN=\"withheld-by-valetkey\"\nPORT=1\n"),
            ("API_TOKEN=\"one\nSECRET\"\nPORT=1\n", "API_TOKEN=\"withheld-by-valetkey\"\nPORT=1\n"),
            (
                "user:\n  token: >-\n    SECRET\n  name: me\n",
                "user:\n  token: >-\n    withheld-by-valetkey\n  name: me\n",
            ),
        ] {
            assert_eq!(seen(&file.replace("SECRET", &secret)), want, "{file}");
        }
    }

    #[test]
    fn formats_of_their_own() {
        let secret = ["q7Rk2ZtV", "w9LxN4bY"].concat();
        let seen = without_fields(&format!("# mine\ndb.test:5432:*:me:{secret}\n"));
        assert_eq!(seen, "# mine\ndb.test:5432:*:me:withheld-by-valetkey\n");
        let text = format!("machine a.test\n  login me\n  password\n{secret}\nmachine b.test account x password ok\n");
        let want = "machine a.test\n  login me\n  password\nwithheld-by-valetkey\nmachine b.test account \
                    withheld-by-valetkey password ok\n";
        assert_eq!(without_words(&text, &|word| word == "ok"), want);
    }

    #[test]
    fn keys_and_what_is_no_text() {
        let begin = ["-----BEGIN RSA ", "PRIVATE KEY-----"].concat();
        let key = format!("a: 1\n{begin}\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\nb: 2\n");
        assert_eq!(seen(&key), "a: 1\nwithheld-by-valetkeyb: 2\n");
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(seen(certificate), certificate);
        assert!(masked(&[0xff, 0xfe], &|_| None, &|_| false).is_empty());
    }
}
