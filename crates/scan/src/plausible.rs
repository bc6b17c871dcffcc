//! Whether a value can be a secret: random enough, and no example, template, identifier, digest or label.

/// Words that stand in examples and templates, never in secrets that a machine made; lower case.
const EXAMPLES: &[&str] = &[
    "example",
    "sample",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "replace",
    "redacted",
    "dummy",
    "insert",
    "your_",
    "your-",
    "yourtoken",
    "yourkey",
    "yoursecret",
    "yourpass",
    "xxxx",
    "****",
    "....",
    "____",
    "----",
    "fake",
    "mock",
    "not_a_",
    "notreal",
    "notasecret",
    "invalid",
    "lorem",
    "1234567",
    "abcdef",
    "qwerty",
    "deadbeef",
    "foobar",
    "00000000",
    "11111111",
    "aaaaaa",
    "todo",
    "<",
    "${",
    "{{",
    "#{",
    "$(",
    "%(",
    "<%",
    "[%",
    "process.env",
    "os.environ",
    "getenv",
    "secrets.",
    "env.",
    "valetkey://",
    "vault://",
    "op://",
    "enc[",
    "sops:",
    "undefined",
];

/// More of them that stand only in what people choose or write where a password belongs.
const LABELS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passw0rd",
    "secret",
    "token",
    "test",
    "admin",
    "required",
    "min:",
    "max:",
    "enter",
    "default",
    "none",
    "null",
    "true",
    "false",
    "string",
    "config",
    "http://",
    "https://",
    "hunter2",
    "letmein",
    "optional",
    "input",
    "confirm",
    "forgot",
    "reset",
    "username",
    "field",
    "credential",
    "random",
];

/// Whether the value is an example or a template, by its text alone.
pub(crate) fn is_example(value: &[u8]) -> bool {
    holds_any(value, EXAMPLES) || repeats(value)
}

fn holds_any(value: &[u8], words: &[&str]) -> bool {
    let lower = value.to_ascii_lowercase();
    words.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
}

/// The same octet five times in a row, or few different ones in all.
fn repeats(value: &[u8]) -> bool {
    let mut seen = [false; 256];
    for octet in value {
        if let Some(slot) = seen.get_mut(usize::from(*octet)) {
            *slot = true;
        }
    }
    let different = seen.iter().filter(|seen| **seen).count();
    value.windows(5).any(|five| five.iter().all(|octet| Some(octet) == five.first()))
        || different * 5 < value.len().min(40)
}

/// Bits an octet (Shannon).
pub(crate) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for octet in value {
        if let Some(count) = counts.get_mut(usize::from(*octet)) {
            *count += 1;
        }
    }
    let total = value.len().max(1) as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|part| -part * part.log2())
        .sum()
}

/// 8-4-4-4-12 hex digits (RFC 9562).
pub(crate) fn is_uuid(value: &[u8]) -> bool {
    value.len() == 36
        && value.iter().enumerate().all(|(at, octet)| match at {
            8 | 13 | 18 | 23 => *octet == b'-',
            _ => octet.is_ascii_hexdigit(),
        })
}

/// How a token without a prefix looks: long, of one word, with the disorder of chance.
pub(crate) fn looks_random(value: &[u8]) -> bool {
    let length = value.len();
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=_.~-:!@#%^&*$".contains(octet);
    if !(16..=512).contains(&length) || !value.iter().all(plain) || is_uuid(value) || is_example(value) {
        return false;
    }
    if value.first().is_some_and(|octet| b"/.@#$:%&*".contains(octet)) || memchr::memmem::find(value, b"://").is_some()
    {
        return false;
    }
    let hex = value.iter().all(u8::is_ascii_hexdigit);
    let changes = Changes::of(value);
    // 16 random hex digits have 3.3 bits on average, 20 of base 62 have 4.0.
    let enough = if hex { 2.8 } else { 3.3 };
    if entropy(value) < enough || changes.letters == 0 {
        return false;
    }
    if changes.digits == 0 {
        // Letters alone: only what no words are made of.
        return length >= 20 && changes.separators == 0 && changes.case * 3 >= length && entropy(value) >= 3.8;
    }
    let mixed = changes.kind * 12 >= length && changes.kind >= 3;
    // Words with a number: `my-project-v2-eu-west-1` changes between letters and digits at its separators alone.
    mixed && changes.separators * 5 <= length && changes.longest_word * 2 <= length.max(24)
}

/// How a password looks that somebody chose: no label, no sentence, no identifier.
pub(crate) fn looks_chosen(value: &[u8], quoted: bool) -> bool {
    let length = value.len();
    if !(8..=128).contains(&length)
        || !value.iter().all(u8::is_ascii_graphic)
        || is_example(value)
        || holds_any(value, LABELS)
    {
        return false;
    }
    if value.first().is_some_and(|octet| b"/.$<{[(".contains(octet)) || is_uuid(value) {
        return false;
    }
    // Calls and indices are code.
    if !quoted && value.iter().any(|octet| b"()[]{}<>".contains(octet)) {
        return false;
    }
    let digit = value.iter().any(u8::is_ascii_digit);
    let letter = value.iter().any(u8::is_ascii_alphabetic);
    let symbol = value.iter().any(|octet| !octet.is_ascii_alphanumeric() && !b"_-./:,;".contains(octet));
    let changes = Changes::of(value);
    letter
        && entropy(value) >= 2.5
        && (digit && (symbol || changes.kind >= 2) || symbol && (changes.case >= 1 && length >= 10))
}

/// How often neighbours differ.
struct Changes {
    /// Between a letter and a digit.
    kind: usize,
    /// Between a capital and a small letter.
    case: usize,
    letters: usize,
    digits: usize,
    separators: usize,
    /// The longest run of small letters, or of capitals.
    longest_word: usize,
}

impl Changes {
    fn of(value: &[u8]) -> Self {
        let count = |is: fn(&u8) -> bool| value.iter().filter(|octet| is(octet)).count();
        let pairs = |differ: fn(u8, u8) -> bool| {
            value.windows(2).filter(|pair| matches!(pair, [one, two] if differ(*one, *two))).count()
        };
        let longest = |is: fn(&u8) -> bool| value.split(|octet| !is(octet)).map(<[u8]>::len).max().unwrap_or(0);
        Self {
            kind: pairs(|one, two| {
                one.is_ascii_digit() && two.is_ascii_alphabetic() || one.is_ascii_alphabetic() && two.is_ascii_digit()
            }),
            case: pairs(|one, two| {
                one.is_ascii_alphabetic()
                    && two.is_ascii_alphabetic()
                    && one.is_ascii_lowercase() != two.is_ascii_lowercase()
            }),
            letters: count(u8::is_ascii_alphabetic),
            digits: count(u8::is_ascii_digit),
            separators: count(|octet| b"_-./:".contains(octet)),
            longest_word: longest(u8::is_ascii_lowercase).max(longest(u8::is_ascii_uppercase)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for (value, random) in [
            ("9f86d081884c7d659a2feaa0c55ad015", true),
            ("tR7qLk2ZpW9xVb4Nc8Yd", true),
            ("Zk3/pQ+8vT1mXy7Lw2==", true),
            ("getUserAccessTokenFromStore", false),
            ("my-project-v2-eu-west-1a", false),
            ("550e8400-e29b-41d4-a716-446655440000", false),
            ("your_token_here_1234", false),
            ("0123456789abcdef0123456789abcdef", false),
            ("com.example.app.service2.Main1", false),
            ("https://a1b2c3d4e5f6g7h8i9", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaa1", false),
            ("short1", false),
        ] {
            assert_eq!(looks_random(value.as_bytes()), random, "{value}");
        }
    }

    #[test]
    fn passwords() {
        for (value, chosen) in [
            ("Tr0ub4dor&3x", true),
            ("winter2024!Berlin", true),
            ("kX9$mPq2vL", true),
            ("password123", false),
            ("${DB_PASSWORD}", false),
            ("changeme1!", false),
            ("user_password_1", false),
            ("required|min:8", false),
            ("Enter your password", false),
            ("abc", false),
            ("/etc/secret1!", false),
        ] {
            assert_eq!(looks_chosen(value.as_bytes(), true), chosen, "{value}");
        }
    }
}
