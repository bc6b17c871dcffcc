//! Brings together what a file says about each action: table of operations, groups, and the action's own entry.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::FactType;
use model::{Class, Effects};

use super::{Wrong, aws, covers, graphql, lines, rpc, sockets, sql};
use crate::compiled::{BARE_RESOURCE, CONNECT};
use crate::file::pattern::Pattern;
use crate::file::{ActionEntry, AnswerHint, CaptureMap, Holds, Protocol, ServiceFile, WhenEntry};

/// One action, complete.
#[derive(Debug)]
pub(crate) struct Draft {
    pub id: String,
    pub class: Class,
    pub effects: Effects,
    pub patterns: Vec<(Pattern, BTreeMap<String, Holds>)>,
    pub resource: Option<Vec<String>>,
    pub facts: BTreeMap<String, FactType>,
    pub when: Vec<WhenEntry>,
    pub touches: Option<Vec<String>>,
    pub sentence: Option<String>,
    pub made: BTreeMap<String, String>,
    pub answer: AnswerHint,
    pub captures: Vec<CaptureMap>,
    pub model_request: bool,
    pub implied_by: Vec<String>,
}

/// Every action of a file, in order of first appearance.
pub(super) fn drafts(written: &ServiceFile) -> Result<Vec<Draft>, Wrong> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let mut at = |drafts: &mut Vec<Draft>, id: &str| {
        *place.entry(id.to_owned()).or_insert_with(|| {
            drafts.push(Draft::empty(id));
            drafts.len() - 1
        })
    };
    for line in written.operations.as_deref().unwrap_or_default().lines() {
        let line = line.trim();
        let Some((id, pattern)) = line.split_once(char::is_whitespace) else {
            if line.is_empty() {
                continue;
            }
            return Err(Wrong::new(line, format!("`{line}` is no operation; write `id METHOD /path`")));
        };
        let pattern = Pattern::parse(pattern).map_err(|message| Wrong::new(line, message))?;
        let index = at(&mut drafts, id);
        if let Some(draft) = drafts.get_mut(index) {
            draft.patterns.push((pattern, BTreeMap::new()));
        }
    }
    let mut entries: BTreeMap<&str, &ActionEntry> = BTreeMap::new();
    for entry in &written.actions {
        if entries.insert(&entry.id, entry).is_some() {
            return Err(Wrong::new(&entry.id, format!("action `{}` stands here twice; join them", entry.id)));
        }
        let index = at(&mut drafts, &entry.id);
        for matched in &entry.matches.0 {
            let pattern = Pattern::parse(&matched.request).map_err(|message| Wrong::new(&matched.request, message))?;
            if let Some(draft) = drafts.get_mut(index) {
                draft.patterns.push((pattern, matched.body.clone()));
            }
        }
    }
    if written.hosts.iter().any(|entry| entry.0.protocol == Some(Protocol::Tcp)) {
        let index = at(&mut drafts, CONNECT);
        if let Some(draft) = drafts.get_mut(index) {
            draft.resource = Some(vec![BARE_RESOURCE.to_owned()]);
        }
    }
    for (id, pattern) in rpc::places(written)? {
        let index = at(&mut drafts, id);
        if let Some(draft) = drafts.get_mut(index) {
            draft.patterns.push((pattern, BTreeMap::new()));
        }
    }
    let own = of_tables(written, &entries)?;
    for own in &own {
        let index = at(&mut drafts, &own.id);
        if let Some(draft) = drafts.get_mut(index).filter(|draft| draft.patterns.is_empty()) {
            draft.resource = (!own.resource.is_empty()).then(|| own.resource.clone());
        }
    }
    check_groups(written, &drafts)?;
    check_captures(written)?;
    for draft in &mut drafts {
        draft.fill(written, entries.get(draft.id.as_str()).copied());
    }
    lines::settle(&own, &mut drafts);
    sockets::imply(written, &mut drafts)?;
    imply(&mut drafts)?;
    Ok(drafts)
}

/// The actions that tables of calls declare.
fn of_tables(written: &ServiceFile, entries: &BTreeMap<&str, &ActionEntry>) -> Result<Vec<lines::Own>, Wrong> {
    let mut own = graphql::own(written)?;
    own.extend(rpc::own(written)?);
    own.extend(sockets::own(written)?);
    own.extend(aws::own(written)?);
    own.extend(sql::own(written));
    let with_class = |own: &&lines::Own| {
        entries.get(own.id.as_str()).is_some_and(|entry| entry.class.is_some() && entry.matches.0.is_empty())
    };
    match own.iter().find(with_class) {
        Some(own) => {
            let message = format!("`{}` has its class and effects in its line: `{}:{0}`", own.id, own.class);
            Err(Wrong::new(&own.id, message))
        }
        None => Ok(own),
    }
}

/// Globs of `implied_by` become ids; an action that implies is implied by nothing, so that nothing must be followed.
fn imply(drafts: &mut [Draft]) -> Result<(), Wrong> {
    let all: Vec<String> = drafts.iter().map(|draft| draft.id.clone()).collect();
    let ids: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    let mut implying = BTreeSet::new();
    for draft in drafts.iter_mut() {
        draft.implied_by = super::expand(&draft.implied_by, &ids)?;
        implying.extend(draft.implied_by.iter().cloned());
    }
    match drafts.iter().find(|draft| implying.contains(&draft.id) && !draft.implied_by.is_empty()) {
        Some(draft) => Err(Wrong::new(&draft.id, format!("`{}` implies an action and is implied by one", draft.id))),
        None => Ok(()),
    }
}

fn check_groups(written: &ServiceFile, drafts: &[Draft]) -> Result<(), Wrong> {
    for glob in written.groups.iter().flat_map(|group| &group.actions.0) {
        if !drafts.iter().any(|draft| covers(glob, &draft.id)) {
            let near = super::nearest(glob, drafts.iter().map(|draft| draft.id.as_str()));
            let hint = near.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
            return Err(Wrong::new(glob, format!("no action `{glob}`{hint}")));
        }
    }
    Ok(())
}

fn check_captures(written: &ServiceFile) -> Result<(), Wrong> {
    for place in written.actions.iter().flat_map(|entry| &entry.captures.0).flat_map(CaptureMap::places) {
        if !place.starts_with('/') || place.len() < 2 {
            let message =
                format!("`{place}` is no place in an answer; write `oauth`, `refresh`, or a pointer: `/token`");
            return Err(Wrong::new(place, message));
        }
    }
    Ok(())
}

impl Draft {
    fn empty(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            class: Class::Read,
            effects: Effects::NONE,
            patterns: Vec::new(),
            resource: None,
            facts: BTreeMap::new(),
            when: Vec::new(),
            touches: None,
            sentence: None,
            made: BTreeMap::new(),
            answer: AnswerHint::Plain,
            captures: Vec::new(),
            model_request: false,
            implied_by: Vec::new(),
        }
    }

    /// Class by method, then groups in order, then the entry.
    fn fill(&mut self, written: &ServiceFile, entry: Option<&ActionEntry>) {
        let by_method = self.patterns.iter().map(|(pattern, _)| class_of(&pattern.method)).max();
        self.class = by_method.unwrap_or(Class::Write);
        for group in &written.groups {
            let named = group.actions.0.iter().any(|glob| covers(glob, &self.id));
            let method = group.methods.is_empty()
                || self.patterns.iter().any(|(pattern, _)| group.methods.contains(&pattern.method));
            if !(named && method) {
                continue;
            }
            self.class = group.class.unwrap_or(self.class);
            if group.class == Some(Class::Read) {
                self.effects = Effects::NONE;
            }
            self.effects = self.effects.iter().chain(group.effects.iter()).collect();
            self.model_request |= group.model_request;
            if let Some(resource) = &group.resource {
                self.resource = Some(resource.0.clone());
            }
            self.facts.extend(group.facts.iter().map(|(name, kind)| (name.clone(), *kind)));
            self.when.extend(group.when.iter().cloned());
        }
        let Some(entry) = entry else { return };
        self.class = entry.class.unwrap_or(self.class);
        self.effects = self.effects.iter().chain(entry.effects.iter()).collect();
        if let Some(resource) = &entry.resource {
            self.resource = Some(resource.0.clone());
        }
        self.facts.extend(entry.facts.iter().map(|(name, kind)| (name.clone(), *kind)));
        self.when.extend(entry.when.iter().cloned());
        self.sentence.clone_from(&entry.sentence);
        self.made.clone_from(&entry.made);
        self.captures.clone_from(&entry.captures.0);
        self.answer = if entry.captures.0.is_empty() { entry.answer } else { AnswerHint::Secret };
        self.model_request |= entry.model_request;
        self.implied_by.clone_from(&entry.implied_by.0);
    }
}

fn class_of(method: &str) -> Class {
    match method {
        "GET" | "HEAD" | "OPTIONS" => Class::Read,
        "DELETE" => Class::Delete,
        _ => Class::Write,
    }
}
