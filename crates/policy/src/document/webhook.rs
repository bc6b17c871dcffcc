//! `channels: { NAME: { webhook: .. } }`: where a receiver is, where its secrets live, and names that nobody else may have.

use model::canonical::{Host, parse_authority};

use super::backend;
use super::check::{Checker, pasted};
use super::schema::{Document, Webhook};

/// Octets of a URL; receivers' are short.
const URL_BYTES_MAX: usize = 2 * 1024;
/// Octets of a channel's name.
const NAME_BYTES_MAX: usize = 32;
/// Secrets of one webhook: what signs, and what is on its way out.
const SECRETS_MAX: usize = 4;
/// Webhooks of one configuration: each is told of every question.
const WEBHOOKS_MAX: usize = 16;

/// Where the messages of a webhook go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The host, whose certificate must say so.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// Path and query.
    pub target: String,
}

impl Receiver {
    /// Reads `https://HOST[:PORT][/PATH][?QUERY]`.
    ///
    /// # Errors
    /// What is wrong with it and what to write.
    pub fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("https://").ok_or("a webhook's URL begins with `https://`")?;
        if url.len() > URL_BYTES_MAX {
            return Err(format!("a webhook's URL has at most {URL_BYTES_MAX} octets"));
        }
        if !rest.bytes().all(|octet| octet.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(&octet)) {
            return Err("a webhook's URL is plain ASCII without blanks and `#`; write the rest as `%20`".to_owned());
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a webhook's URL holds no user or password; messages are signed instead".to_owned());
        }
        let (host, port) = parse_authority(authority).map_err(|error| error.to_string())?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { host, port: port.unwrap_or(443), target })
    }
}

/// Names of channels that are webhooks.
pub(super) fn names(document: &Document) -> impl Iterator<Item = &str> {
    document.channels.iter().filter(|(_, channel)| channel.webhook.is_some()).map(|(name, _)| name.value.as_str())
}

pub(super) fn check(document: &Document, checker: &mut Checker<'_>) {
    let operators = || document.operators.iter().map(|operator| &operator.value.name);
    for name in operators().filter(|name| name.value.contains(':')) {
        checker.say(name, "an operator's name holds no `:`, which stands between a webhook and a person at it");
    }
    let mut count = 0;
    for (name, channel) in &document.channels {
        let Some(webhook) = &channel.webhook else { continue };
        count += 1;
        let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-' || octet == b'_';
        if name.value.is_empty() || name.value.len() > NAME_BYTES_MAX || !name.value.bytes().all(plain) {
            checker.say(
                name,
                format!("a webhook's name has 1 to {NAME_BYTES_MAX} of lower-case letters, digits, `-` and `_`"),
            );
        }
        if operators().any(|operator| operator.value == name.value) {
            checker.say(name, format!("an operator is called `{}` already; answers must tell them apart", name.value));
        }
        if count > WEBHOOKS_MAX {
            checker.say(name, format!("a configuration has at most {WEBHOOKS_MAX} webhooks"));
        }
        one(&webhook.value, &webhook.with(name.value.clone()), checker);
    }
}

fn one(webhook: &Webhook, at: &super::At<String>, checker: &mut Checker<'_>) {
    if let Err(why) = Receiver::parse(&webhook.url.value) {
        checker.say(&webhook.url.with(pasted(&webhook.url.value)), why);
    }
    let secrets = webhook.secret.iter().count();
    if secrets == 0 || secrets > SECRETS_MAX {
        checker.say(at, format!("a webhook has 1 to {SECRETS_MAX} secrets; write `secret: env:NAME`"));
    }
    for secret in &webhook.secret {
        if !backend::is_local(&secret.value) {
            // Not repeated whole: it may be the secret itself.
            let why = "a webhook's secret is written as `env:NAME`, `file:PATH`, `exec:COMMAND` or `keyring:SERVICE/ACCOUNT`; its value is never written here";
            checker.say(&secret.with(pasted(&secret.value)), why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, host, port, target) in [
            ("https://hooks.example.com/a/b?c=d", "hooks.example.com", 443, "/a/b?c=d"),
            ("https://hooks.example.com", "hooks.example.com", 443, "/"),
            ("https://hooks.example.com:8443?x", "hooks.example.com", 8443, "/?x"),
        ] {
            let receiver = Receiver::parse(url).expect(url);
            assert_eq!((receiver.host.as_str(), receiver.port, &*receiver.target), (host, port, target), "{url}");
        }
        for (url, says) in [
            ("http://hooks.example.com/", "https://"),
            ("hooks.example.com", "https://"),
            ("https://u:p@hooks.example.com/", "no user"),
            ("https://hooks.example.com/#a", "plain ASCII"),
            ("https://hooks.example.com/a b", "plain ASCII"),
            ("https://hooks.ex\u{430}mple.com/", "plain ASCII"),
            ("https://hooks.example.com:0/", "port"),
            ("https:///a", "host"),
            (&format!("https://hooks.example.com/{}", "x".repeat(URL_BYTES_MAX)), "at most"),
        ] {
            let why = Receiver::parse(url).expect_err(url);
            assert!(why.contains(says), "{url}: {why}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_webhook() {
        let faults = |text: &str| -> String {
            let faults = Document::parse(text, "valetkey.yaml").err().unwrap_or_default();
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let good = "channels:\n  ops: { webhook: { url: \"https://hooks.example.com/\", secret: [env:A, file:b] } }\n";
        assert_eq!(faults(good), "");
        let pasted = "whsec_".to_owned() + &"QUJD".repeat(8);
        let agents = |conditions: &str| {
            format!(
                "agents:\n  bot:\n    permissions:\n      - {{ service: github, actions: [read], conditions: {{ {conditions} }} }}\n"
            )
        };
        let operators = "operators: [{ name: ada, roles: [approver] }]\n";
        for (text, says) in [
            (good.replace("[env:A, file:b]", &pasted), "never written here"),
            (good.replace("[env:A, file:b]", "builtin:x"), "never written here"),
            (good.replace("[env:A, file:b]", "[]"), "1 to 4 secrets"),
            (good.replace("https:", "http:"), "begins with `https://`"),
            (good.replace("  ops:", "  Ops:"), "lower-case letters"),
            (good.replace("  ops:", "  a:b:"), "lower-case letters"),
            (format!("{good}operators: [{{ name: ops }}]\n"), "is called `ops` already"),
            ("operators: [{ name: \"ops:ada\" }]\n".to_owned(), "holds no `:`"),
            (format!("{good}{operators}{}", agents("approvers: { of: [ada, \"pos:joan\"] }")), "unknown operator"),
            (format!("{good}{operators}{}", agents("approvers: { count: 3 }")), "more people must agree than the 2"),
            (format!("{good}{}", agents("approvers: { count: 2, of: ops }")), "more people must agree than the 1"),
            (format!("{good}{}", agents("approvers: { count: 2 }")), "than the 1 who are operators or webhooks"),
        ] {
            let found = faults(&text);
            assert!(found.contains(says), "{text}\n{found}");
            assert!(!found.contains(&pasted), "{found}");
        }
        let people = "approvers: { count: 2, of: [ada, ops, \"ops:joan\"] }";
        assert_eq!(faults(&format!("{good}{operators}{}", agents(people))), "");
    }
}
