//! The table of mutations: `[+]name[[condition]] actions resource.. fact=place..`, one a line.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::FactType;
use model::{Class, Effect, Effects};

use super::actions::Draft;
use super::{Wrong, nearest};
use crate::compiled::{ArgumentFact, ArgumentPiece, ArgumentWhen, GraphQl, Line, LineCall, Place};
use crate::file::pattern::{Part, Step, template};
use crate::file::{GraphQlEntry, Holds, ServiceFile, WhenEntry};

/// The action of queries.
pub(super) const QUERY: &str = "graphql/run-query";
/// The action of documents that ask for a secret.
pub(super) const SECRET: &str = "graphql/read-secret";
/// The action beside every mutation that is not listed.
pub(super) const UNLISTED: &str = "graphql/unlisted-mutation";
/// The filter of a template by which a value is two names with a slash between them.
const PAIR: &str = "pair";

/// What the section declares: an action with the class and effects that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub id: String,
    pub class: Class,
    pub effects: Effects,
    /// What it acts on.
    pub resource: Vec<String>,
}

/// A line, read.
struct Written<'a> {
    text: &'a str,
    beside: bool,
    name: &'a str,
    condition: Option<(&'a str, Holds)>,
    /// Ids, with class and effects where the line declares them.
    actions: Vec<(&'a str, Option<(Class, Effects)>)>,
    resource: Vec<&'a str>,
    /// Names of facts, and where they stand.
    facts: Vec<(&'a str, &'a str)>,
}

/// The actions that the section declares.
pub(super) fn own(written: &ServiceFile) -> Result<Vec<Own>, Wrong> {
    let Some(entry) = &written.graphql else { return Ok(Vec::new()) };
    let plain = |id: &str, class, effects| Own { id: id.to_owned(), class, effects, resource: Vec::new() };
    let mut all = vec![
        plain(QUERY, Class::Read, Effects::NONE),
        plain(SECRET, Class::Admin, Effects::NONE.with(Effect::Escalates)),
        plain(UNLISTED, Class::Admin, Effects::NONE),
    ];
    for line in lines(entry)? {
        for (id, strength) in &line.actions {
            let Some((class, effects)) = *strength else { continue };
            let resource = line.resource.iter().map(|text| (*text).to_owned()).collect();
            let own = Own { id: (*id).to_owned(), class, effects, resource };
            match all.iter().find(|known| known.id == own.id) {
                Some(known) if (known.class, known.effects) != (class, effects) => {
                    return Err(Wrong::new(line.text, format!("`{id}` has another class or other effects above")));
                }
                Some(_) => {}
                None => all.push(own),
            }
        }
    }
    Ok(all)
}

/// Compiles the section. `drafts` are all actions, in the order of their indices.
pub(super) fn compile(written: &ServiceFile, drafts: &[Draft]) -> Result<Option<GraphQl>, Wrong> {
    let Some(entry) = &written.graphql else { return Ok(None) };
    let table = Table { written, entry, drafts };
    let unread = table.action(&entry.action, &entry.action)?;
    if drafts.get(unread as usize).is_none_or(|draft| draft.patterns.is_empty()) {
        return Err(Wrong::new(
            &entry.action,
            format!("action `{}` has no pattern; say where GraphQL is spoken", entry.action),
        ));
    }
    for draft in drafts {
        if draft.id.strip_prefix("graphql/").is_some_and(is_name) {
            let message =
                format!("`{}` is what a mutation of this name is called that no line has; name it otherwise", draft.id);
            return Err(Wrong::new(&draft.id, message));
        }
    }
    let mut mutations: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
    let lines = lines(entry)?;
    for line in &lines {
        mutations.entry(line.name).or_default().push(table.line(line)?);
    }
    for (name, lines) in &mutations {
        let plain = lines.iter().filter(|line| !line.beside);
        if plain.clone().next_back().is_none_or(|line| line.condition.is_some()) {
            let message = format!("the last line of `{name}` has a condition; say what it is where none holds");
            return Err(Wrong::new(name, message));
        }
        if plain.clone().filter(|line| line.condition.is_none()).count() > 1 {
            return Err(Wrong::new(name, format!("`{name}` stands here twice without a condition; join the lines")));
        }
    }
    let secrets: BTreeSet<&str> = entry.secret_fields.iter().map(String::as_str).collect();
    Ok(Some(GraphQl {
        unread,
        query: table.action(QUERY, QUERY)?,
        secret: table.action(SECRET, SECRET)?,
        unlisted: table.action(UNLISTED, UNLISTED)?,
        secret_fields: secrets.into_iter().map(Into::into).collect(),
        mutations: mutations.into_iter().map(|(name, lines)| (name.into(), lines)).collect(),
    }))
}

/// Kinds of resource that the table can make.
pub(super) fn kinds(written: &ServiceFile) -> BTreeSet<String> {
    let lines = written.graphql.as_ref().and_then(|entry| lines(entry).ok()).unwrap_or_default();
    let kind = |text: &&str| text.split(':').next().unwrap_or_default().to_owned();
    lines.iter().flat_map(|line| &line.resource).map(kind).collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

fn lines(entry: &GraphQlEntry) -> Result<Vec<Written<'_>>, Wrong> {
    let lines = entry.mutations.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(read).collect()
}

fn read(text: &str) -> Result<Written<'_>, Wrong> {
    let wrong = |message: &str| Wrong::new(text, format!("`{text}` is no mutation: {message}"));
    let mut words = text.split_ascii_whitespace();
    let (head, ids) =
        words.next().zip(words.next()).ok_or_else(|| wrong("write `name actions resource fact=place`"))?;
    let (name, condition) = match head.split_once('[') {
        Some((name, rest)) => {
            let inside = rest.strip_suffix(']').ok_or_else(|| wrong("its condition has no `]`"))?;
            let (place, holds) = match inside.split_once('=') {
                Some((place, values)) => (place, Holds::Is(values.split('|').map(str::to_owned).collect())),
                None => (inside, Holds::Present),
            };
            (name, Some((place, holds)))
        }
        None => (head, None),
    };
    let beside = name.starts_with('+');
    let name = name.trim_start_matches('+');
    if !is_name(name) {
        return Err(wrong("its name is none of GraphQL"));
    }
    let mut line =
        Written { text, beside, name, condition, actions: Vec::new(), resource: Vec::new(), facts: Vec::new() };
    for id in ids.split(',') {
        line.actions.push(match id.split_once(':') {
            Some((strength, id)) => {
                (id, Some(strength_of(strength).ok_or_else(|| wrong("its class or effect is none"))?))
            }
            None => (id, None),
        });
    }
    for word in words {
        match word.split_once('=') {
            Some((fact, place)) if !word.contains('{') => line.facts.push((fact, place)),
            _ => line.resource.push(word),
        }
    }
    if line.resource.is_empty() {
        return Err(wrong("it acts on nothing; write `node:{id}`"));
    }
    Ok(line)
}

/// `admin+escalates+exfil`.
fn strength_of(text: &str) -> Option<(Class, Effects)> {
    let mut words = text.split('+');
    let class = words.next()?.parse::<Class>().ok()?;
    let effects = words.map(|word| word.parse::<Effect>().ok()).collect::<Option<Vec<_>>>()?;
    Some((class, effects.into_iter().collect()))
}

struct Table<'a> {
    written: &'a ServiceFile,
    entry: &'a GraphQlEntry,
    drafts: &'a [Draft],
}

impl Table<'_> {
    fn action(&self, id: &str, text: &str) -> Result<u16, Wrong> {
        let index = self.drafts.iter().position(|draft| draft.id == id);
        index.map(|index| index as u16).ok_or_else(|| {
            let near = nearest(id, self.drafts.iter().map(|draft| draft.id.as_str()));
            let hint = near.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
            Wrong::new(text, format!("no action `{id}`{hint}"))
        })
    }

    fn line(&self, line: &Written<'_>) -> Result<Line, Wrong> {
        let mut calls = Vec::new();
        let mut used = BTreeSet::new();
        for (id, strength) in &line.actions {
            let action = self.action(id, line.text)?;
            let Some(draft) = self.drafts.get(action as usize) else { continue };
            if strength.is_some() && !draft.patterns.is_empty() {
                let message = format!("`{id}` has patterns; its class and effects are said there");
                return Err(Wrong::new(line.text, message));
            }
            let declared = declared(self.written, draft);
            let of =
                |name: &str| line.facts.iter().find(|(known, _)| *known == name).map(|(_, place)| self.place(place));
            let facts = declared.into_iter().map(|(name, kind)| {
                used.insert(name.clone());
                ArgumentFact { place: of(&name), name: name.into(), kind }
            });
            let facts = facts.collect();
            let when = draft.when.iter().map(|when| raised(when, &of)).collect();
            calls.push(LineCall { action, facts, when });
        }
        if let Some((fact, _)) = line.facts.iter().find(|(fact, _)| !used.contains(*fact)) {
            let near = nearest(fact, used.iter().map(String::as_str)).map(|word| format!("; did you mean `{word}`?"));
            let message = format!("no action of this line has a fact `{fact}`{}", near.unwrap_or_default());
            return Err(Wrong::new(line.text, message));
        }
        Ok(Line {
            beside: line.beside,
            condition: line.condition.as_ref().map(|(place, holds)| (self.place(place), holds.clone())),
            calls,
            resource: line.resource.iter().map(|text| self.pieces(text)).collect::<Result<_, _>>()?,
        })
    }

    /// `a.b`, `a.b|lower`, `'text'`, or `-` for what this road never gives.
    fn place(&self, text: &str) -> Place {
        if text == "-" {
            return Place::Argument { path: Vec::new(), lower: false };
        }
        if let Some(constant) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            return Place::Constant(constant.into());
        }
        let (path, lower) = text.strip_suffix("|lower").map_or((text, false), |path| (path, true));
        let under = self.entry.under.as_deref();
        let path = under.into_iter().chain(path.split('.')).map(Into::into).collect();
        Place::Argument { path, lower }
    }

    fn pieces(&self, text: &str) -> Result<Vec<ArgumentPiece>, Wrong> {
        if !text.contains(':') {
            return Err(Wrong::new(text, format!("resource `{text}` has no kind; write `kind:path`")));
        }
        let parts = template(text).map_err(|message| Wrong::new(text, message))?;
        let last = parts.len().saturating_sub(1);
        let piece = |(index, part): (usize, Part)| match part {
            Part::Text(text) => ArgumentPiece::Text(text.into()),
            Part::Value { name, prefix } => {
                let pair = prefix == PAIR;
                let prefix = if pair { "".into() } else { prefix.into() };
                ArgumentPiece::Value { place: self.place(&name), prefix, pair, head: index < last }
            }
        };
        Ok(parts.into_iter().enumerate().map(piece).collect())
    }
}

/// Every fact that an action may have by any of its patterns.
fn declared(written: &ServiceFile, draft: &Draft) -> BTreeMap<String, FactType> {
    let steps = || draft.patterns.iter().flat_map(|(pattern, _)| &pattern.steps);
    let mut all = draft.facts.clone();
    for (name, kind) in &written.facts {
        let parameter = name.strip_prefix("path.");
        if parameter.is_none_or(|name| steps().filter_map(Step::parameter).any(|known| known == name)) {
            all.entry(name.clone()).or_insert(*kind);
        }
    }
    all
}

/// What makes the action stronger, asked of the facts as this line says them.
fn raised(when: &WhenEntry, of: &dyn Fn(&str) -> Option<Place>) -> ArgumentWhen {
    let parts = [("path", &when.path), ("query", &when.query), ("body", &when.body)];
    let tests = parts.into_iter().flat_map(|(part, tests)| {
        tests.iter().map(move |(name, holds)| (of(&format!("{part}.{name}")), holds.clone()))
    });
    ArgumentWhen { tests: tests.collect(), class: when.class, effects: when.effects }
}
