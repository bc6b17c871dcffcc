//! What a name alone says: `api_key = "..."`, `DB_PASSWORD=...`. The vaguest kinds; their suppressions are in `plausible`.

use super::Read;
use crate::assignment;
use crate::finding::Certainty;
use crate::format::Format;
use crate::plausible;
use crate::window::Window;

/// A name has at most this many words.
const WORDS_MAX: usize = 12;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Token,
    /// `X_KEY`: often the name of an entry, so only a very random value counts.
    Key,
    Password,
}

/// Ends of names that say nothing about what is named.
const TAILS: &[&str] = &[
    "prod",
    "production",
    "dev",
    "live",
    "staging",
    "stage",
    "value",
    "base",
    "b64",
    "base64",
    "primary",
    "secondary",
    "old",
    "new",
    "default",
    "str",
    "string",
    "env",
    "v1",
    "v2",
    "main",
    "raw",
    "plain",
    "text",
    "current",
];
/// Words that make the name one of something else.
const OTHERS: &[&str] = &[
    "csrf",
    "xsrf",
    "public",
    "max",
    "min",
    "next",
    "page",
    "paging",
    "continuation",
    "cancellation",
    "cancel",
    "hash",
    "digest",
    "checksum",
    "etag",
    "integrity",
    "publishable",
    "idempotency",
    "placeholder",
    "label",
    "message",
    "translation",
    "i18n",
    "cache",
    "site",
    "sitekey",
    "example",
    "sample",
    "sync",
    "fake",
    "mock",
    "dummy",
    "test",
    "tests",
    "invalid",
    "wrong",
    "bad",
    "expected",
    "pub",
    "pubkey",
    "pagination",
    "sha256",
    "sha1",
    "sha512",
    "md5",
    "commit",
    "revision",
    "thumbprint",
    "fingerprint",
];
const TOKENS: &[&str] = &[
    "token",
    "secret",
    "apikey",
    "secretkey",
    "accesskey",
    "authkey",
    "privatekey",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "bearer",
    "jwt",
    "pat",
    "cookie",
    "signingkey",
    "masterkey",
    "apitoken",
];
const PASSWORDS: &[&str] = &["password", "passwd", "passphrase", "pwd", "pass", "pw"];
/// Words before `key` that make it a secret.
const KEYS: &[&str] = &[
    "api",
    "access",
    "secret",
    "private",
    "auth",
    "encryption",
    "encrypt",
    "signing",
    "signature",
    "sign",
    "master",
    "service",
    "account",
    "app",
    "application",
    "client",
    "shared",
    "admin",
    "server",
    "webhook",
    "session",
    "hmac",
    "jwt",
    "aes",
    "deploy",
    "write",
    "subscription",
    "consumer",
    "security",
    "license",
    "integration",
    "ingest",
    "rest",
    "token",
];
/// Words before `key` that make it the name of an entry.
const ENTRIES: &[&str] = &[
    "primary",
    "foreign",
    "partition",
    "sort",
    "object",
    "s3",
    "map",
    "row",
    "group",
    "lookup",
    "host",
    "storage",
    "unique",
    "index",
    "json",
    "hot",
    "short",
    "data",
    "field",
    "column",
    "routing",
    "dedup",
    "bucket",
    "registry",
    "react",
    "list",
    "item",
    "ssh",
    "gpg",
];

/// Whether a name says that its value is secret; for rules that know the vendor too.
pub(crate) fn names_a_secret(name: &[u8]) -> bool {
    class(name).is_some()
}

fn class(name: &[u8]) -> Option<Class> {
    let words = words(name);
    if words.iter().any(|word| OTHERS.contains(&word.as_str())) {
        return None;
    }
    let tail = |word: &String| TAILS.contains(&word.as_str()) || word.bytes().all(|octet| octet.is_ascii_digit());
    let end = words.len() - words.iter().rev().take_while(|word| tail(word)).count();
    let (last, rest) = words.get(..end)?.split_last()?;
    let joined = |ends: &[&str]| ends.iter().any(|end| end.len() >= 5 && last.ends_with(end));
    if PASSWORDS.contains(&last.as_str()) || joined(PASSWORDS) {
        return Some(Class::Password);
    }
    if TOKENS.contains(&last.as_str()) || joined(TOKENS) {
        return Some(Class::Token);
    }
    let before = rest.last().map_or("", String::as_str);
    (last == "key" && !before.is_empty() && !ENTRIES.contains(&before))
        .then(|| if KEYS.contains(&before) { Class::Token } else { Class::Key })
}

/// The words of `DB_PASSWORD`, `dbPassword`, `db-password`, in small letters.
fn words(name: &[u8]) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = b'_';
    for octet in name {
        let cut = !octet.is_ascii_alphanumeric() || octet.is_ascii_uppercase() && before.is_ascii_lowercase();
        if cut && words.last().is_some_and(|word| !word.is_empty()) && words.len() < WORDS_MAX {
            words.push(String::new());
        }
        if octet.is_ascii_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.push(char::from(octet.to_ascii_lowercase()));
        }
        before = *octet;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The class of the name around a hit; none where a letter goes on after the word (`tokenizer`), but for camel case.
fn class_at(window: Window<'_>, hit: (usize, usize)) -> Option<Class> {
    if window.at(hit.1).is_some_and(|octet| octet.is_ascii_lowercase()) {
        return None;
    }
    let (start, end) = assignment::name_around(window, hit.0, hit.1);
    class(window.slice(start, end))
}

pub(super) fn token(window: Window<'_>, hit: (usize, usize), format: Format) -> Option<Read> {
    if format == Format::Lock {
        return None;
    }
    let class = class_at(window, hit).filter(|class| *class != Class::Password)?;
    let found = assignment::around(window, hit.0, hit.1, format)?;
    let (start, end) = found.value;
    let value = window.slice(start, end);
    let bits = plausible::entropy(value);
    let hex = value.iter().all(u8::is_ascii_hexdigit);
    let enough = class == Class::Token || value.len() >= 20 && (hex && value.len() >= 32 || bits >= 3.7);
    // Without quotes outside of settings it may be prose or code.
    let sure = found.quoted || format == Format::Settings || bits >= 3.5 || hex && value.len() >= 32;
    let good = enough && sure && plausible::looks_random(value) && !is_expression(value, found.quoted);
    good.then(|| Read::new(start, end, Certainty::Likely))
}

/// `self.token1.value2` is an expression.
fn is_expression(value: &[u8], quoted: bool) -> bool {
    let names = value.split(|octet| *octet == b'.').all(|part| {
        part.first().is_some_and(u8::is_ascii_alphabetic)
            && part.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'_')
    });
    !quoted && names && value.contains(&b'.')
}

pub(super) fn password(window: Window<'_>, hit: (usize, usize), format: Format) -> Option<Read> {
    if format == Format::Lock {
        return None;
    }
    class_at(window, hit).filter(|class| *class == Class::Password)?;
    let found = assignment::around(window, hit.0, hit.1, format)?;
    let (start, mut end) = found.value;
    // A password may hold what ends other values; in settings it ends with the line.
    if !found.quoted
        && format == Format::Settings
        && !window.before(found.name.0).is_some_and(|octet| b";&?".contains(&octet))
    {
        end = window.skip(start, 128, |octet| octet.is_ascii_graphic());
    }
    let value = window.slice(start, end);
    plausible::looks_chosen(value, found.quoted || format == Format::Settings)
        .then(|| Read::new(start, end, Certainty::Likely))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, secret) in [
            ("API_KEY", true),
            ("apiKey", true),
            ("stripe_secret_key_prod", true),
            ("SECRET_KEY_BASE", true),
            ("dbPassword", true),
            ("dbpassword", true),
            ("github.token", true),
            ("X-Api-Key", true),
            ("FOO_KEY", true),
            ("key", false),
            ("csrf_token", false),
            ("nextPageToken", false),
            ("max_tokens", false),
            ("tokenizer", false),
            ("public_key", false),
            ("primaryKey", false),
            ("passwordHash", false),
            ("password_field", false),
            ("token_id", false),
        ] {
            assert_eq!(names_a_secret(name.as_bytes()), secret, "{name}");
        }
    }
}
