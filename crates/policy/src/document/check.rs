//! What can be found wrong without knowing any service: names, references, and what a later version implements.

use model::canonical::parse_authority;
use model::{AgentName, CredentialName, Digest, UserName};

use super::at::At;
use super::schema::{Agent, Channel, CredentialEntry, Document, Permission};
use super::{Diagnostic, Source, backend, issue, nearest, rotate, webhook};
use crate::{alert, fallback, profile};

/// Kinds of credential that this version knows.
const KINDS: [&str; 7] = ["token", "basic", "database", "oauth2", "aws", "mtls", "hmac"];
/// Kinds of a later version.
const KINDS_LATER: [&str; 1] = ["ssh"];

pub(super) struct Checker<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) found: Vec<Diagnostic>,
}

impl Checker<'_> {
    pub(super) fn say(&mut self, at: &At<String>, message: impl Into<String>) {
        self.found.push(self.source.problem(&at.with(at.value.as_str()), message));
    }

    pub(super) fn unknown<'w>(&mut self, at: &At<String>, what: &str, words: impl IntoIterator<Item = &'w str>) {
        let mut problem = self.source.problem(&at.with(at.value.as_str()), format!("unknown {what} `{}`", at.value));
        problem.nearest = nearest(&at.value, words);
        self.found.push(problem);
    }

    fn later<T>(&mut self, at: &At<T>, key: &str) {
        self.found.push(self.source.problem(&at.with(key), format!("`{key}` is not in this version; take it out")));
    }
}

/// All faults of meaning that need no knowledge of services.
pub(super) fn check(document: &Document, source: &Source<'_>) -> Vec<Diagnostic> {
    let mut checker = Checker { source, found: Vec::new() };
    top(document, &mut checker);
    for (name, entry) in &document.credentials {
        if let Err(error) = CredentialName::new(&name.value) {
            checker.say(name, error.to_string());
        }
        credential(entry, document, &mut checker);
        fallback::check(&name.value, entry, document, &mut |at, message| checker.say(at, message));
    }
    for (name, agent) in &document.agents {
        if let Some(error) = AgentName::new(&name.value).err().filter(|_| name.value != "*") {
            checker.say(name, error.to_string());
        }
        for permission in &agent.permissions {
            self::permission(&permission.value, document, &mut checker);
        }
        local_users(agent, &mut checker);
    }
    for hash in document.operators.iter().filter_map(|operator| operator.value.token_hash.as_ref()) {
        if Digest::parse(&hash.value).is_none() {
            // Not repeated: it may be the token itself.
            let why = "token_hash is the SHA-256 of the operator's token, 64 hex digits";
            checker.found.push(checker.source.problem(&hash.with(pasted(&hash.value).as_str()), why));
        }
    }
    upstreams(document, &mut checker);
    backend::check(document, &mut checker);
    webhook::check(document, &mut checker);
    alert::check(document, &mut |at, message, near| {
        let mut problem = source.problem(&at.with(at.value.as_str()), message);
        problem.nearest = near;
        checker.found.push(problem);
    });
    later(document, &mut checker);
    checker.found.sort_by_key(|problem| (problem.line, problem.column));
    checker.found
}

fn top(document: &Document, checker: &mut Checker<'_>) {
    if let Some(version) = document.version.filter(|version| version.value != 1) {
        checker.say(&version.with(version.value.to_string()), "this program reads `version: 1`");
    }
    for name in document.profiles.iter().filter(|name| profile::get(&name.value).is_none()) {
        checker.unknown(name, "profile", profile::names());
    }
}

/// What may be said of a text that stands where a reference belongs: it may be the secret itself.
pub(super) fn pasted(text: &str) -> String {
    if text.len() <= 8 { text.to_owned() } else { text.chars().take(4).chain("...".chars()).collect() }
}

fn credential(entry: &CredentialEntry, document: &Document, checker: &mut Checker<'_>) {
    backend::credential(entry, checker);
    issue::check(entry, checker);
    if let Some(kind) = &entry.kind {
        if KINDS_LATER.contains(&kind.value.as_str()) {
            checker.say(
                kind,
                format!(
                    "kind `{}` is not in this version; use token, basic, database, oauth2, aws, mtls or hmac",
                    kind.value
                ),
            );
        } else if !KINDS.contains(&kind.value.as_str()) && !issue::is_kind(&kind.value) {
            checker.unknown(kind, "kind of credential", KINDS);
        }
    }
    if let (Some(here), Some(environment)) = (&document.environment, &entry.environment)
        && here.value != environment.value
    {
        checker.say(
            environment,
            format!(
                "credential is bound to environment `{}`, and this configuration is for `{}`; sharing across environments is refused",
                environment.value, here.value
            ),
        );
    }
    if let Some(rotate) = &entry.rotate {
        rotate::check(rotate, entry, checker);
    }
    shared(entry, document, checker);
}

/// One reference used for two environments.
fn shared(entry: &CredentialEntry, document: &Document, checker: &mut Checker<'_>) {
    let (Some(from), Some(environment)) = (&entry.from, &entry.environment) else { return };
    let other = document.credentials.iter().find(|(_, other)| {
        other.from.as_ref().is_some_and(|theirs| theirs.value == from.value && theirs.line < from.line)
            && other.environment.as_ref().is_some_and(|theirs| theirs.value != environment.value)
    });
    if let Some((name, _)) = other {
        checker.say(from, format!("`{}` is already credential `{}` of another environment", from.value, name.value));
    }
}

fn local_users(agent: &Agent, checker: &mut Checker<'_>) {
    for user in &agent.local_users {
        match user.value.strip_prefix("uid:").map(str::parse::<u32>) {
            Some(Ok(_)) => {}
            Some(Err(_)) => checker.say(user, "the number of a user is written `uid:1001`"),
            None => {
                if let Err(error) = UserName::new(&user.value) {
                    checker.say(user, error.to_string());
                }
            }
        }
    }
}

fn permission(permission: &Permission, document: &Document, checker: &mut Checker<'_>) {
    if let Some(name) = &permission.credential
        && !document.credentials.is_empty()
        && document.credentials.get(&name.value).is_none()
    {
        checker.unknown(name, "credential", document.credentials.iter().map(|(known, _)| known.value.as_str()));
    }
    if let Some(ttl) = permission.max_ttl.filter(|ttl| ttl.value.0 == 0) {
        checker.say(
            &ttl.with("max_ttl".to_owned()),
            "a grant lasts a second at least; to give none, take the permission out",
        );
    }
    let Some(conditions) = &permission.conditions else { return };
    let Some(approvers) = &conditions.value.approvers else { return };
    if let Some(count) = approvers.value.count {
        if count.value == 0 {
            checker.say(&count.with("0".into()), "at least one approver is needed; for none write `approval: none`");
        }
        let named = &approvers.value.of;
        let all = || document.operators.iter().count() + webhook::names(document).count();
        let people = if named.is_empty() { all() } else { named.iter().count() };
        let are_known = !named.is_empty() || all() > 0;
        if are_known && u64::from(count.value) > people as u64 {
            let whose = if named.is_empty() { "are operators or webhooks here" } else { "are named in `of`" };
            checker.say(
                &count.with(count.value.to_string()),
                format!("more people must agree than the {people} who {whose}"),
            );
        }
    }
    let operators = || document.operators.iter().map(|operator| operator.value.name.value.as_str());
    let known = || operators().chain(webhook::names(document));
    for name in &approvers.value.of {
        // People at a webhook are known to its receiver alone.
        let (whose, must) = match name.value.split_once(':') {
            Some((channel, _)) => (channel, webhook::names(document).next().is_some()),
            None => (name.value.as_str(), !document.operators.is_empty()),
        };
        if must && !known().any(|known| known == whose) {
            checker.unknown(name, "operator", known());
        }
    }
}

fn upstreams(document: &Document, checker: &mut Checker<'_>) {
    for (host, upstream) in &document.upstreams {
        if let Err(error) = parse_authority(&host.value) {
            checker.say(host, error.to_string());
        }
        let address = &upstream.address;
        if !matches!(parse_authority(&address.value), Ok((_, Some(_)))) {
            checker.say(address, "an address is written `host:port`");
        }
    }
}

fn later(document: &Document, checker: &mut Checker<'_>) {
    if let Some(first) = document.budgets.0.first() {
        checker.later(first, "budgets");
    }
    if let Some(first) = document.redact.0.first() {
        checker.later(first, "redact");
    }
    for (_, channel) in &document.channels {
        let Channel { terminal: _, slack, webhook: _, email } = channel;
        if let Some(at) = slack {
            checker.later(at, "slack");
        }
        if let Some(at) = email {
            checker.later(at, "email");
        }
    }
}
