//! One permission, word by word.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::vocabulary::ServiceWords;
use model::{AgentName, Class, CredentialName};

use super::actions::{self, Named, Raw, Selector};
use super::pattern::Pattern;
use super::rule::{Draft, Place, Terms};
use super::{Compiler, unknown};
use crate::condition::{self, Reader};
use crate::document::{Agent, At, Conditions, Diagnostic, Permission, Standing};
use crate::rules::{Kind, Uses};

/// A service by name with its words; none for every service.
pub(super) type Known<'a> = Option<(&'a str, &'a ServiceWords)>;

impl Compiler<'_> {
    pub(super) fn permission(
        &mut self,
        id: &str,
        who: Option<&AgentName>,
        agent: &Agent,
        permission: &At<Permission>,
    ) -> Option<Draft> {
        let (file, written) = (Arc::clone(&agent.file), &permission.value);
        let here = permission.with(String::new());
        let vocabulary = self.vocabulary;
        let known: Known<'_> = match &written.service {
            None => {
                self.say(&file, &here, "permission names no service; add `service`", None);
                return None;
            }
            Some(at) if at.value == "*" => None,
            Some(at) => {
                let Some((name, words)) = vocabulary.services.get_key_value(&at.value) else {
                    self.problems.push(unknown(&file, at, "service", vocabulary.services.keys()));
                    return None;
                };
                Some((name.as_str(), words))
            }
        };
        let before = self.problems.len();
        let actions = self.actions(&file, written, known);
        let raw = self.raw(&file, written);
        if written.actions.is_empty() && raw.is_none() {
            self.say(&file, &here, "permission names no action; add `actions`, or `methods` and `endpoints`", None);
        }
        let resources = self.resources(&file, written, known, &here);
        let uses = self.uses(&file, written, known);
        let key = key(written);
        let conditions = self.conditions(&file, permission, known, &key);
        (self.problems.len() == before).then(|| Draft {
            id: Arc::from(id),
            kind: Kind::Permit,
            agent: who.cloned(),
            service: known.map(|(name, _)| name.to_owned()),
            actions,
            raw,
            resources,
            uses,
            key: Arc::from(key),
            conditions,
            terms: terms(written, agent),
            place: Place { file: file.to_string(), line: permission.line, column: permission.column },
        })
    }

    fn actions(&mut self, file: &str, written: &Permission, known: Known<'_>) -> Vec<Named> {
        let mut all = Vec::new();
        for word in &written.actions {
            match actions::read(&word.value, known) {
                Ok(Named { selector: Selector::Class(Class::Admin), .. }) => {
                    self.say(
                        file,
                        word,
                        "class admin is never covered by its class; name the actions one by one",
                        None,
                    );
                }
                Ok(named) => all.push(named),
                Err((message, nearest)) => self.say(file, word, message, nearest),
            }
        }
        all
    }

    fn raw(&mut self, file: &str, written: &Permission) -> Option<Raw> {
        if written.methods.is_empty() && written.endpoints.is_empty() {
            return None;
        }
        let mut raw = Raw { methods: Vec::new(), endpoints: Vec::new() };
        for word in &written.methods {
            match actions::read_method(&word.value) {
                Ok(method) => raw.methods.push(method),
                Err((message, nearest)) => self.say(file, word, message, nearest),
            }
        }
        let mut all = false;
        for word in &written.endpoints {
            match actions::read_endpoint(&word.value) {
                Ok(Some(prefix)) => raw.endpoints.push(prefix),
                Ok(None) => all = true,
                Err((message, nearest)) => self.say(file, word, message, nearest),
            }
        }
        if all {
            raw.endpoints.clear();
        }
        Some(raw)
    }

    fn resources(&mut self, file: &str, written: &Permission, known: Known<'_>, here: &At<String>) -> Vec<Pattern> {
        if written.resources.is_empty() {
            if written.methods.is_empty() && written.endpoints.is_empty() {
                self.say(file, here, "permission names no resources; for all of them write `resources: [\"*\"]`", None);
            }
            return vec![Pattern::any()];
        }
        let kinds: Vec<String> = known
            .map(|(_, words)| words.kinds.iter().chain(words.parents.values()).cloned().collect::<BTreeSet<_>>())
            .unwrap_or_default()
            .into_iter()
            .collect();
        let mut all = Vec::new();
        for word in &written.resources {
            match Pattern::parse(&word.value, &kinds) {
                Ok(pattern) => all.push(pattern.blind(known.map_or(&[], |(_, words)| words.case_blind.as_slice()))),
                Err((message, nearest)) => self.say(file, word, message, nearest),
            }
        }
        all
    }

    fn uses(&mut self, file: &str, written: &Permission, known: Known<'_>) -> Uses {
        let Some((service, _)) = known else { return self.uses_anywhere(file, written) };
        let Some(at) = &written.credential else {
            let all = self.services.get(service).map_or(&[][..], |service| service.credentials.as_slice());
            if all.len() > 1
                && let Some(at) = &written.service
            {
                let names: Vec<String> = all.iter().map(CredentialName::to_string).collect();
                let text = format!("rule could pick any of {}; name one in `credential`", names.join(", "));
                self.say(file, at, text, names.first().cloned());
            }
            return Uses::OfService;
        };
        let Ok(name) = CredentialName::new(&at.value) else { return Uses::OfService };
        let of = self.credentials.get(&name).and_then(|facts| facts.service.as_ref());
        if let Some(of) = of.filter(|of| of.as_str() != service) {
            let text = format!("credential `{name}` is for service `{of}`, not for `{service}`");
            let fitting = self.services.get(service).and_then(|service| service.credentials.first());
            self.say(file, at, text, fitting.map(CredentialName::to_string));
        }
        Uses::Named(name)
    }

    fn uses_anywhere(&mut self, file: &str, written: &Permission) -> Uses {
        if let Some(at) = &written.credential {
            self.say(file, at, "a credential is for one service; name it in `service` instead of `*`", None);
        }
        Uses::OfService
    }

    pub(super) fn conditions(
        &mut self,
        file: &str,
        permission: &At<Permission>,
        known: Known<'_>,
        key: &str,
    ) -> Vec<Box<dyn condition::Condition>> {
        let written = &permission.value;
        let mut all: Conditions = written.conditions.as_ref().map(|at| at.value.clone()).unwrap_or_default();
        all.rate_limit.0.extend(written.rate_limit.clone());
        if let (Some(inner), Some(outer)) = (all.max_amount, written.max_amount)
            && inner.value != outer.value
        {
            let at = outer.with("max_amount".to_owned());
            self.say(file, &at, "`max_amount` is written twice with different bounds; keep one", None);
        }
        all.max_amount = all.max_amount.or(written.max_amount);
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut reader = Reader { file, words: known.map(|(_, words)| words), key, problems: &mut problems };
        let conditions = condition::read(&all, &mut reader);
        self.problems.extend(problems);
        conditions
    }
}

/// Whether it holds by itself, and how long a grant of it lasts at most.
fn terms(written: &Permission, agent: &Agent) -> Terms {
    let standing = written.standing.or(agent.standing).map(|standing| standing.value).unwrap_or_default();
    Terms { on_grant: standing == Standing::None, ttl_seconds_max: written.max_ttl.map(|ttl| ttl.value.0) }
}

/// What a permission's counters are called: made of what it is about, so that they stay over restarts and over edits
/// of other rules. FNV-1a, 64 bits: a name, not a defence; whoever writes rules may share counters as he likes.
fn key(written: &Permission) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for words in [&written.actions, &written.resources, &written.methods, &written.endpoints] {
        let mut sorted: Vec<&str> = words.iter().map(|word| word.value.as_str()).collect();
        sorted.sort_unstable();
        sorted.into_iter().for_each(&mut feed);
        feed("");
    }
    for word in [&written.service, &written.credential] {
        feed(word.as_ref().map_or("", |word| word.value.as_str()));
    }
    let service = written.service.as_ref().map_or("*", |service| service.value.as_str());
    format!("{service}/{hash:016x}")
}
