//! What was used: permissions by the rules that let requests through, credentials by the requests that they were put on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::event::Kind;
use model::{Event, Timestamp};
use policy::{Document, Granted};
use serde::Serialize;

use crate::command::policy::suggest::judged_as;

/// Actions that are named in a line.
const NAMED_MAX: usize = 6;

/// How often, and when last.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Times {
    pub(super) times: u64,
    pub(super) last: Option<Timestamp>,
}

impl Times {
    fn add(&mut self, at: Timestamp) {
        self.times += 1;
        self.last = self.last.max(Some(at));
    }

    pub(super) fn words(&self) -> String {
        if self.times == 1 { "once".to_owned() } else { format!("{} times", self.times) }
    }
}

/// What is on record.
#[derive(Debug, Default)]
pub(super) struct Use {
    pub(super) events: u64,
    rules: BTreeMap<Arc<str>, Times>,
    /// Actions that each rule let through.
    actions: BTreeMap<Arc<str>, BTreeSet<String>>,
    pub(super) credentials: BTreeMap<String, Times>,
    /// Agents that a credential was used for.
    pub(super) users: BTreeMap<String, BTreeSet<String>>,
    /// Answers of services that a credential may not do that (403).
    pub(super) forbidden: BTreeMap<String, u64>,
}

/// A permission and its use.
#[derive(Debug, Serialize)]
pub(super) struct Permission {
    #[serde(flatten)]
    pub(super) granted: Granted,
    #[serde(flatten)]
    pub(super) times: Times,
    /// Actions of it that were used.
    pub(super) used: BTreeSet<String>,
}

impl Use {
    pub(super) fn add(&mut self, document: &Document, event: &Event) {
        self.events += 1;
        let credential = event.credential.as_ref().map(|used| judged_as(document, used.name.as_str()).to_owned());
        if event.kind == Kind::Outcome
            && event.response.as_ref().is_some_and(|response| response.status == 403)
            && let Some(name) = &credential
        {
            *self.forbidden.entry(name.clone()).or_default() += 1;
        }
        if event.kind != Kind::Attempt {
            return;
        }
        for rule in &event.rules {
            self.rules.entry(Arc::clone(rule)).or_default().add(event.time);
            let mine = self.actions.entry(Arc::clone(rule)).or_default();
            mine.extend(event.calls.iter().map(|call| call.action.to_string()));
        }
        if let Some(name) = credential {
            self.credentials.entry(name.clone()).or_default().add(event.time);
            self.users.entry(name).or_default().extend(event.agent.iter().map(ToString::to_string));
        }
    }

    pub(super) fn of(&self, granted: Granted) -> Permission {
        let times = self.rules.get(&granted.rule).cloned().unwrap_or_default();
        let used = self.actions.get(&granted.rule).into_iter().flatten();
        // Several rules may have let one request through, each for some of its calls.
        let covers = |action: &&String| granted.actions.is_empty() || granted.actions.contains(*action);
        let used = used.filter(covers).cloned().collect();
        Permission { granted, times, used }
    }
}

impl Permission {
    /// Actions that it grants by name and that were not used.
    pub(super) fn unused(&self) -> Vec<&str> {
        self.granted.actions.iter().filter(|action| !self.used.contains(*action)).map(String::as_str).collect()
    }

    pub(super) fn words(&self) -> String {
        let Granted { rule, service, words, resources, .. } = &self.granted;
        let service = service.as_deref().unwrap_or("every service");
        let (words, resources) = (some(words.iter().map(String::as_str)), some(resources.iter().map(String::as_str)));
        let what = format!("  {rule}  {words} of {service} on {resources}: ");
        let Some(last) = self.times.last else { return format!("{what}never used") };
        let times = self.times.words();
        let of = self.granted.actions.len();
        let used = if of > 1 { format!(", {} of its {of} actions", self.used.len()) } else { String::new() };
        let unused = self.unused();
        let unused = if unused.is_empty() || unused.len() > NAMED_MAX {
            String::new()
        } else {
            format!("; not: {}", unused.join(", "))
        };
        format!("{what}{times}, last {last}{used}{unused}")
    }
}

/// So many of these; the others are counted.
pub(super) fn some<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.collect();
    let shown = all.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
