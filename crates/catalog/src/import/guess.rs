//! What a name lets expect. Upwards: a word that may mean more makes it more. A tool is taken for a read by its name or its server's word,
//! where no word of its name lets expect more, and that is marked.

use model::{Class, Effect, Effects};

/// What an operation is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    pub class: Class,
    pub effects: Effects,
    /// What its method or the server says by itself.
    plain: Class,
    /// What a person should look at.
    pub why: Vec<&'static str>,
}

impl Default for Guess {
    fn default() -> Self {
        Self { class: Class::Read, effects: Effects::NONE, plain: Class::Read, why: Vec::new() }
    }
}

impl Guess {
    /// A read, and what makes it one.
    pub fn read(why: &'static str) -> Self {
        Self { why: vec![why], ..Self::default() }
    }

    /// Whether it was made more than it says by itself.
    pub fn is_more(&self) -> bool {
        self.class != self.plain || self.effects != Effects::NONE
    }

    /// The stronger of both, in each respect.
    pub fn join(&mut self, other: &Self) {
        self.class = self.class.max(other.class);
        self.effects = self.effects.iter().chain(other.effects.iter()).collect();
        self.why.extend(other.why.iter().copied());
    }
}

/// Words, what they make of a change, and why.
type Row = (&'static [&'static str], Option<Class>, Option<Effect>, &'static str);

const ROWS: [Row; 8] = [
    (
        &["delete", "remove", "destroy", "purge", "revoke", "cancel", "trash", "drop", "wipe", "terminate", "erase"],
        Some(Class::Delete),
        None,
        "takes something away",
    ),
    (
        &[
            "permission",
            "role",
            "member",
            "membership",
            "collaborator",
            "acl",
            "grant",
            "invite",
            "invitation",
            "token",
            "key",
            "apikey",
            "secret",
            "credential",
            "password",
            "oauth",
            "sso",
            "saml",
            "scim",
            "impersonate",
            "owner",
            "admin",
            "user",
            "policy",
            "access",
            "authorization",
            "login",
            "session",
        ],
        Some(Class::Admin),
        Some(Effect::Escalates),
        "may change who may do what, or mint a credential",
    ),
    (
        &[
            "setting",
            "config",
            "configuration",
            "domain",
            "dns",
            "certificate",
            "integration",
            "app",
            "install",
            "plan",
        ],
        Some(Class::Admin),
        None,
        "may change how the service is set up",
    ),
    (
        &[
            "webhook",
            "hook",
            "callback",
            "forward",
            "forwarding",
            "export",
            "share",
            "sharing",
            "destination",
            "sink",
            "subscription",
            "import",
            "fetch",
            "upload",
        ],
        None,
        Some(Effect::Exfil),
        "may send data to an address of the caller's choice",
    ),
    (
        &["publish", "release", "public", "deploy", "deployment", "announce", "announcement"],
        None,
        Some(Effect::Publishes),
        "may show something to everybody",
    ),
    (
        &[
            "message",
            "send",
            "email",
            "mail",
            "notify",
            "notification",
            "sms",
            "comment",
            "reply",
            "chat",
            "invite",
            "invitation",
            "dm",
            "call",
            "broadcast",
        ],
        None,
        Some(Effect::MessagesPeople),
        "may reach people",
    ),
    (
        &[
            "charge",
            "payment",
            "pay",
            "refund",
            "payout",
            "transfer",
            "invoice",
            "order",
            "purchase",
            "checkout",
            "billing",
            "withdraw",
            "withdrawal",
            "trade",
        ],
        Some(Class::Admin),
        None,
        "may move money",
    ),
    (
        &["batch", "bulk", "graphql", "rpc", "execute", "exec", "eval", "run", "sql", "proxy"],
        Some(Class::Admin),
        None,
        "may do several things, or anything",
    ),
];

/// Verbs with which a name says that it reads.
const READING: [&str; 14] = [
    "get", "list", "search", "read", "find", "count", "fetch", "query", "lookup", "describe", "show", "check", "view",
    "whoami",
];
/// Words of what a read may hand out.
const SECRETS: [&str; 6] = ["token", "key", "apikey", "secret", "credential", "password"];

/// What the words of a name and a path let expect of an operation that is `plain` by itself.
pub(super) fn guess(plain: Class, texts: &[&str]) -> Guess {
    let words: Vec<String> = texts.iter().flat_map(|text| words(text)).collect();
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let mut guess = Guess { class: plain, effects: Effects::NONE, plain, why: Vec::new() };
    if plain == Class::Read {
        if has(&SECRETS) {
            guess.why.push("may hand out a secret: say `answer: secret` or `captures` if it does");
        }
        return guess;
    }
    for (known, class, effect, why) in ROWS {
        if !has(known) {
            continue;
        }
        guess.class = guess.class.max(class.unwrap_or(guess.class));
        guess.effects = guess.effects.iter().chain(effect).collect();
        guess.why.push(why);
    }
    if reads(&words) {
        guess.why.push("may only read: say so if it does");
    }
    guess
}

/// Whether a name begins with a verb that reads.
pub(super) fn reads(words: &[String]) -> bool {
    words.first().is_some_and(|word| READING.contains(&word.as_str()))
}

/// Words of a name, in small letters and the singular: `listUserKeys`, `list_user_keys`, `/user/keys`.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut all: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for character in text.chars() {
        let starts = character.is_ascii_uppercase() && before.is_ascii_lowercase();
        if starts || !character.is_ascii_alphanumeric() {
            all.push(String::new());
        }
        if let Some(word) = all.last_mut().filter(|_| character.is_ascii_alphanumeric()) {
            word.push(character.to_ascii_lowercase());
        }
        before = character;
    }
    all.into_iter().filter(|word| !word.is_empty()).map(|word| singular(&word)).collect()
}

/// The singular of an English word, as far as its ending tells.
pub(super) fn singular(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    for ending in ["sses", "xes", "ches", "shes"] {
        if word.ends_with(ending) {
            return word.strip_suffix("es").unwrap_or(word).to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(stem) if stem.len() > 1 && !stem.ends_with(['s', 'u', 'i']) => stem.to_owned(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        assert_eq!(words("listUserAPIKeys /v1/api-keys"), ["list", "user", "apikey", "v1", "api", "key"]);
        for (plural, one) in [
            ("policies", "policy"),
            ("boxes", "box"),
            ("classes", "class"),
            ("status", "status"),
            ("s", "s"),
            ("keys", "key"),
        ] {
            assert_eq!(singular(plural), one);
        }
    }

    #[test]
    fn guesses_go_upwards() {
        for (plain, text, class, effect) in [
            (Class::Read, "getUser", Class::Read, None),
            (Class::Write, "createContact", Class::Write, None),
            (Class::Write, "createUser", Class::Admin, Some(Effect::Escalates)),
            (Class::Write, "removeContact", Class::Delete, None),
            (Class::Delete, "deleteRole", Class::Admin, Some(Effect::Escalates)),
            (Class::Write, "addWebhook", Class::Write, Some(Effect::Exfil)),
            (Class::Write, "sendMessage", Class::Write, Some(Effect::MessagesPeople)),
            (Class::Write, "search", Class::Write, None),
            (Class::Write, "refundOrder", Class::Admin, None),
        ] {
            let guess = guess(plain, &[text]);
            assert_eq!(guess.class, class, "{text}");
            assert!(effect.is_none_or(|effect| guess.effects.contains(effect)), "{text}");
            assert!(guess.class >= plain);
        }
        assert!(guess(Class::Read, &["/tokens"]).why.len() == 1);
    }
}
