//! Tables of calls, one a line, for roads that say by a name what is asked: `[+]name[[condition]] actions resource.. fact=place..`.
//! The names are mutations of GraphQL, tools of MCP, methods of JSON-RPC or messages of a WebSocket.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::FactType;
use model::{Class, Effect, Effects};

use super::actions::Draft;
use super::{Wrong, nearest};
use crate::compiled::{ArgumentFact, ArgumentPiece, ArgumentWhen, Line, LineCall, Place};
use crate::file::pattern::{Part, Step, template};
use crate::file::{Holds, ServiceFile, WhenEntry};

/// The filter of a template by which a value is two names with a slash between them.
const PAIR: &str = "pair";
/// What begins the name of a fact that stands among the arguments under the rest of its name.
const ARGUMENTS: &str = "arguments.";

/// An action that a table declares, with the class and effects that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub id: String,
    pub class: Class,
    pub effects: Effects,
    /// What it acts on.
    pub resource: Vec<String>,
    /// Actions that nobody can do without it.
    pub implied_by: Vec<String>,
}

impl Own {
    /// One that acts on the place where it is asked for.
    pub fn plain(id: &str, class: Class, effects: Effects) -> Self {
        Self { id: id.to_owned(), class, effects, resource: Vec::new(), implied_by: Vec::new() }
    }
}

/// What the lines of one table name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// For messages: `mutation`, `tool`.
    pub what: &'static str,
    /// For messages: `GraphQL`, `MCP`.
    pub road: &'static str,
    /// Whether a text is such a name.
    pub is: fn(&str) -> bool,
    /// The kind of resource that a line without one acts on: itself. None where a line must say.
    pub kind: Option<&'static str>,
}

/// Lines, by what they are about, sorted.
type ByName = Vec<(Box<str>, Vec<Line>)>;

/// A line, read.
pub(super) struct Written<'a> {
    pub text: &'a str,
    pub beside: bool,
    pub name: &'a str,
    condition: Option<(&'a str, Holds)>,
    /// Ids, with class and effects where the line declares them.
    pub actions: Vec<(&'a str, Option<(Class, Effects)>)>,
    resource: Vec<String>,
    /// Names of facts, and where they stand.
    facts: Vec<(&'a str, &'a str)>,
}

/// Adds the actions that lines declare.
pub(super) fn declare(lines: &[Written<'_>], all: &mut Vec<Own>) -> Result<(), Wrong> {
    for line in lines {
        for (id, strength) in &line.actions {
            let Some((class, effects)) = *strength else { continue };
            let own = Own { resource: line.resource.clone(), ..Own::plain(id, class, effects) };
            match all.iter().find(|known| known.id == own.id) {
                Some(known) if (known.class, known.effects) != (class, effects) => {
                    return Err(Wrong::new(line.text, format!("`{id}` has another class or other effects above")));
                }
                Some(_) => {}
                None => all.push(own),
            }
        }
    }
    Ok(())
}

/// Sets what tables declare into the drafts of their actions.
pub(super) fn settle(own: &[Own], drafts: &mut [Draft]) {
    let by_id: BTreeMap<&str, &Own> = own.iter().map(|own| (own.id.as_str(), own)).collect();
    // One that is not there is a mistake of its line, and said there.
    let known: BTreeSet<String> = drafts.iter().map(|draft| draft.id.clone()).collect();
    for draft in drafts {
        let Some(own) = by_id.get(draft.id.as_str()) else { continue };
        draft.class = own.class;
        draft.effects = draft.effects.iter().chain(own.effects.iter()).collect();
        draft.implied_by.extend(own.implied_by.iter().filter(|id| known.contains(*id)).cloned());
    }
}

/// Kinds of resource that lines can make.
pub(super) fn kinds(lines: &[Written<'_>]) -> BTreeSet<String> {
    let kind = |text: &String| text.split(':').next().unwrap_or_default().to_owned();
    lines.iter().flat_map(|line| &line.resource).map(kind).collect()
}

/// Reads a table.
pub(super) fn lines(text: &str, names: Names) -> Result<Vec<Written<'_>>, Wrong> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| read(line, names)).collect()
}

fn read(text: &str, names: Names) -> Result<Written<'_>, Wrong> {
    let wrong = |message: &str| Wrong::new(text, format!("`{text}` is no {}: {message}", names.what));
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
    if !(names.is)(name) {
        return Err(wrong(&format!("its name is none of {}", names.road)));
    }
    let mut line =
        Written { text, beside, name, condition, actions: Vec::new(), resource: Vec::new(), facts: Vec::new() };
    for id in ids.split(',') {
        line.actions.push(match id.split_once(':') {
            Some((strength, id)) => (
                id,
                Some(strength_of(strength).map_err(|word| {
                    let known = Class::ALL
                        .iter()
                        .map(|class| class.as_str())
                        .chain(Effect::ALL.iter().map(|effect| effect.as_str()));
                    let hint = nearest(word, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    wrong(&format!("no class or effect `{word}`{hint}"))
                })?),
            ),
            None => (id, None),
        });
    }
    for word in words {
        match word.split_once('=') {
            Some((fact, place)) if !word.contains('{') => line.facts.push((fact, place)),
            _ => line.resource.push(word.to_owned()),
        }
    }
    // What has no name among the arguments is the thing that is asked itself.
    line.resource.extend(names.kind.map(|kind| format!("{kind}:{name}")));
    if line.resource.is_empty() {
        return Err(wrong("it acts on nothing; write `node:{id}`"));
    }
    Ok(line)
}

/// `admin+escalates+exfil`.
///
/// # Errors
/// The word that is none.
fn strength_of(text: &str) -> Result<(Class, Effects), &str> {
    let mut words = text.split('+');
    let class = words.next().unwrap_or_default();
    let class = class.parse::<Class>().map_err(|()| class)?;
    let effects = words.map(|word| word.parse::<Effect>().map_err(|()| word)).collect::<Result<Vec<_>, _>>()?;
    Ok((class, effects.into_iter().collect()))
}

/// What lines are compiled against.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub written: &'a ServiceFile,
    /// The argument in which all others stand.
    pub under: Option<&'a str>,
    /// All actions, in the order of their indices.
    pub drafts: &'a [Draft],
}

impl Table<'_> {
    /// The index of an action that `text` names.
    pub fn action(&self, id: &str, text: &str) -> Result<u16, Wrong> {
        let index = self.drafts.iter().position(|draft| draft.id == id);
        index.map(|index| index as u16).ok_or_else(|| {
            let near = nearest(id, self.drafts.iter().map(|draft| draft.id.as_str()));
            let hint = near.map(|word| format!("; did you mean `{word}`?"));
            let hint = hint.unwrap_or_else(|| format!("; give it a class where it is new: `read:{id}`"));
            Wrong::new(text, format!("no action `{id}`{hint}"))
        })
    }

    /// The action whose patterns are where something is spoken.
    pub fn place_of(&self, id: &str, spoken: &str) -> Result<u16, Wrong> {
        let index = self.action(id, id)?;
        match self.drafts.get(index as usize) {
            Some(draft) if !draft.patterns.is_empty() => Ok(index),
            _ => Err(Wrong::new(id, format!("action `{id}` has no pattern; say where {spoken} is spoken"))),
        }
    }

    /// Compiles lines, by name, sorted.
    pub fn compile(&self, lines: &[Written<'_>]) -> Result<ByName, Wrong> {
        let mut all: BTreeMap<&str, Vec<Line>> = BTreeMap::new();
        for line in lines {
            all.entry(line.name).or_default().push(self.line(line)?);
        }
        for (name, lines) in &all {
            let plain = lines.iter().filter(|line| !line.beside);
            if plain.clone().next_back().is_none_or(|line| line.condition.is_some()) {
                let message = format!("the last line of `{name}` has a condition; say what it is where none holds");
                return Err(Wrong::new(name, message));
            }
            if plain.clone().filter(|line| line.condition.is_none()).count() > 1 {
                return Err(Wrong::new(
                    name,
                    format!("`{name}` stands here twice without a condition; join the lines"),
                ));
            }
        }
        Ok(all.into_iter().map(|(name, lines)| (name.into(), lines)).collect())
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
            let of = |name: &str| {
                let said = line.facts.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
                let place = said.or_else(|| name.strip_prefix(ARGUMENTS))?;
                Some(self.place(place, name.starts_with("path.")))
            };
            let facts = declared.into_iter().map(|(name, kind)| {
                used.insert(name.clone());
                ArgumentFact { place: of(&name), name: name.into(), kind }
            });
            let facts = facts.collect();
            let when = draft.when.iter().map(|when| raised(when, &of)).collect();
            let touches = draft.touches.as_ref().map(|places| places.iter().map(|place| of(place)).collect());
            calls.push(LineCall { action, facts, touches, when });
        }
        if let Some((fact, _)) = line.facts.iter().find(|(fact, _)| !used.contains(*fact)) {
            let near = nearest(fact, used.iter().map(String::as_str)).map(|word| format!("; did you mean `{word}`?"));
            let near = near.unwrap_or_else(|| format!("; declare it under `actions:`: `facts: {{ {fact}: text }}`"));
            let message = format!("no action of this line has a fact `{fact}`{near}");
            return Err(Wrong::new(line.text, message));
        }
        Ok(Line {
            beside: line.beside,
            condition: line.condition.as_ref().map(|(place, holds)| (self.place(place, false), holds.clone())),
            calls,
            resource: line.resource.iter().map(|text| self.pieces(text)).collect::<Result<_, _>>()?,
        })
    }

    /// `a.b`, `a.b|lower`, `'text'`, or `-` for what this road never gives.
    fn place(&self, text: &str, segments: bool) -> Place {
        if text == "-" {
            return Place::Argument { path: Vec::new(), lower: false, segments };
        }
        if let Some(constant) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
            return Place::Constant(constant.into());
        }
        let (path, lower) = text.strip_suffix("|lower").map_or((text, false), |path| (path, true));
        let path = self.under.into_iter().chain(path.split('.')).map(Into::into).collect();
        Place::Argument { path, lower, segments }
    }

    fn pieces(&self, text: &str) -> Result<Vec<ArgumentPiece>, Wrong> {
        if !text.contains(':') {
            return Err(Wrong::new(text, format!("resource `{text}` has no kind; write `kind:path`")));
        }
        let parts = template(text).map_err(|message| Wrong::new(text, message))?;
        // `kind:{all}`, or what stands behind `@`, may hold slashes.
        let whole = parts.len() == 2 && matches!(parts.first(), Some(Part::Text(text)) if text.ends_with(':'));
        let mut tail = false;
        let piece = |part: Part| match part {
            Part::Text(text) => {
                tail |= text.contains('@');
                ArgumentPiece::Text(text.into())
            }
            Part::Value { name, prefix } => {
                let pair = prefix == PAIR;
                let prefix = if pair { "".into() } else { prefix.into() };
                ArgumentPiece::Value { place: self.place(&name, false), prefix, pair, head: !whole && !tail }
            }
        };
        Ok(parts.into_iter().map(piece).collect())
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
    let parts = [("path", &when.path), ("query", &when.query), ("body", &when.body), ("arguments", &when.arguments)];
    let tests = parts.into_iter().flat_map(|(part, tests)| {
        tests.iter().map(move |(name, holds)| (of(&format!("{part}.{name}")), holds.clone()))
    });
    let unseen = when.header.values().map(|holds| (None, holds.clone()));
    ArgumentWhen { tests: tests.chain(unseen).collect(), class: when.class, effects: when.effects }
}
