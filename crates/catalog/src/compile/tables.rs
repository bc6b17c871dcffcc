//! The tables: a tree of paths, routes, and templates and readings that many routes share.

use std::collections::{BTreeMap, BTreeSet};

use model::vocabulary::FactType;

use super::actions::Draft;
use super::{Wrong, action_id, order};
use crate::compiled::{Action, FactRule, Node, Piece, Reading, Route, Source, Test, Verb, When};
use crate::file::pattern::{Part, Pattern, Step, steps, template};
use crate::file::{Holds, ServiceFile};

/// Values of one body that one action may want; a bit each in the reader.
const WANTS_MAX: usize = 32;

/// Another spelling of a pattern, and what changes in templates.
type Mirrored = (Pattern, (String, String));

pub(super) struct Tables<'a> {
    written: &'a ServiceFile,
    roots: BTreeMap<String, u32>,
    pub actions: Vec<Action>,
    pub templates: Vec<Vec<Vec<Piece>>>,
    pub readings: Vec<Reading>,
    pub nodes: Vec<Node>,
    pub routes: Vec<Route>,
    areas: Vec<(String, Vec<Step>, Vec<String>)>,
    /// What changes in the templates of the pattern being added.
    mirror: Option<(String, String)>,
}

impl<'a> Tables<'a> {
    pub fn new(written: &'a ServiceFile) -> Self {
        let mut tables = Self {
            written,
            roots: BTreeMap::new(),
            actions: Vec::new(),
            // Template 0: nothing is known; the path itself.
            templates: vec![Vec::new()],
            readings: vec![Reading::default()],
            nodes: Vec::new(),
            routes: Vec::new(),
            areas: Vec::new(),
            mirror: None,
        };
        tables.root("");
        tables
    }

    /// The root of a role's patterns.
    pub fn root(&mut self, role: &str) -> u32 {
        if let Some(known) = self.roots.get(role) {
            return *known;
        }
        let node = self.grow();
        self.roots.insert(role.to_owned(), node);
        node
    }

    /// The same where it is known.
    pub fn known_root(&self, role: &str) -> Option<u32> {
        self.roots.get(role).copied()
    }

    fn grow(&mut self) -> u32 {
        self.nodes.push(Node::default());
        self.nodes.len() as u32 - 1
    }

    /// The node at the end of `path`, made where it is missing.
    fn walk(&mut self, root: u32, path: &[Step]) -> u32 {
        let mut at = root;
        for step in path {
            let node = self.nodes.get(at as usize);
            let known = match step {
                Step::Literal(text) => node.and_then(|node| {
                    node.literals.iter().find(|(known, _)| **known == *self.folded(text)).map(|(_, next)| *next)
                }),
                Step::One(_) => node.and_then(|node| node.one),
                Step::Many(_) => node.and_then(|node| node.many),
            };
            at = known.unwrap_or_else(|| {
                let next = self.grow();
                let text = match step {
                    Step::Literal(text) => Some(self.folded(text).into_boxed_str()),
                    _ => None,
                };
                if let Some(node) = self.nodes.get_mut(at as usize) {
                    match (step, text) {
                        (Step::One(_), _) => node.one = Some(next),
                        (Step::Many(_), _) => node.many = Some(next),
                        (Step::Literal(_), text) => node.literals.push((text.unwrap_or_default(), next)),
                    }
                }
                next
            });
        }
        at
    }

    fn folded(&self, text: &str) -> String {
        if self.written.paths.any_case { text.to_ascii_lowercase() } else { text.to_owned() }
    }

    /// Areas: what stands under a path.
    pub fn areas(&mut self, written: &ServiceFile) -> Result<(), Wrong> {
        for area in &written.areas {
            let (role, path) = area.under.split_once(' ').unwrap_or(("", &area.under));
            let wrong = |message| Wrong::new(&area.under, message);
            let path = steps(path).map_err(wrong)?;
            let root = self.role(role, &area.under)?;
            let node = self.walk(root, &path);
            let mut reading = Reading::default();
            let template = self.template(&area.resource.0, &path, &mut reading)?;
            if !reading.wants.is_empty() {
                return Err(Wrong::new(&area.under, "an area cannot depend on the body; say it at the action"));
            }
            if let Some(node) = self.nodes.get_mut(node as usize) {
                node.area = Some(template);
            }
            self.areas.push((role.to_owned(), path, area.resource.0.clone()));
        }
        Ok(())
    }

    fn role(&self, role: &str, text: &str) -> Result<u32, Wrong> {
        self.roots.get(role).copied().ok_or_else(|| {
            Wrong::new(text, format!("no host has the role `{role}`; add it to a host, or leave it out here"))
        })
    }

    /// Adds one action with all its patterns.
    pub fn action(&mut self, draft: &Draft) -> Result<(), Wrong> {
        let index = self.actions.len() as u16;
        let mut kinds = BTreeSet::new();
        for (pattern, body) in &draft.patterns {
            kinds.insert(self.route(draft, pattern, body, index)?);
            for (mirrored, replace) in self.mirrored(pattern)? {
                self.mirror = Some(replace);
                self.route(draft, &mirrored, body, index)?;
                self.mirror = None;
            }
        }
        for text in draft.resource.iter().flatten() {
            kinds.insert(kind_of(text).to_owned());
        }
        let declared = draft.resource.as_ref().and_then(|all| all.first()).map(|text| kind_of(text).to_owned());
        // The kind of a bare path only where it has no other: it is what acts on nothing of its own.
        let kind = declared.or_else(|| kinds.into_iter().find(|kind| kind != "resource"));
        let kind = kind.unwrap_or_else(|| "resource".to_owned());
        if let Some(sentence) = &draft.sentence {
            template(&sentence.replace(['[', ']'], "")).map_err(|message| Wrong::new(sentence, message))?;
        }
        self.actions.push(Action {
            id: action_id(&draft.id)?,
            class: draft.class,
            effects: draft.effects,
            kind: kind.into(),
            sentence: draft.sentence.as_deref().map(Into::into),
            made: draft.made.iter().map(|(name, at)| (name.as_str().into(), at.as_str().into())).collect(),
            answer: draft.answer,
            captures: draft.captures.clone(),
            model_request: draft.model_request,
            implied_by: draft.implied_by.iter().map(|id| id.as_str().into()).collect(),
        });
        Ok(())
    }

    /// Other spellings of a pattern, with what changes in templates.
    fn mirrored(&self, pattern: &Pattern) -> Result<Vec<Mirrored>, Wrong> {
        let mut out = Vec::new();
        for mirror in &self.written.mirrors {
            let from = steps(&mirror.from).map_err(|message| Wrong::new(&mirror.from, message))?;
            let to = steps(&mirror.to).map_err(|message| Wrong::new(&mirror.to, message))?;
            let Some(rest) = pattern.steps.strip_prefix(from.as_slice()).filter(|_| pattern.role.is_empty()) else {
                continue;
            };
            let steps = [to.as_slice(), rest].concat();
            out.push((Pattern { steps, ..pattern.clone() }, mirror.replace.clone()));
        }
        Ok(out)
    }

    /// Adds one pattern; gives the kind of resource that it acts on.
    fn route(
        &mut self,
        draft: &Draft,
        pattern: &Pattern,
        body: &BTreeMap<String, Holds>,
        action: u16,
    ) -> Result<String, Wrong> {
        let root = self.role(&pattern.role, &draft.id)?;
        let verb = verb(&pattern.method).ok_or_else(|| {
            Wrong::new(&draft.id, format!("`{}` is no method; use GET, POST .. or ANY", pattern.method))
        })?;
        let path = &pattern.steps;
        let mut reading = Reading::default();
        let mut resource = draft.resource.clone();
        if let (Some(texts), Some((from, to))) = (&mut resource, &self.mirror) {
            for text in texts.iter_mut() {
                *text = text.replace(from, to);
            }
        }
        let resource = resource.or_else(|| self.area_of(&pattern.role, path));
        let template = match &resource {
            Some(resource) => self.template(resource, path, &mut reading)?,
            None => 0,
        };
        let mut conditions = Vec::new();
        for (name, value) in &pattern.query {
            let holds = value.clone().map_or(Holds::Present, |value| Holds::Is(vec![value]));
            conditions.push(Test { source: Source::Query(name.as_str().into()), holds });
        }
        for (name, holds) in body {
            conditions.push(Test { source: want(&mut reading, name, &draft.id)?, holds: holds.clone() });
        }
        let when = whens(draft, path, &mut reading)?;
        self.facts(draft, path, &mut reading)?;
        if let Some(places) = &draft.touches {
            let place = |text: &String| source(text.strip_prefix("path.").unwrap_or(text), path, &mut reading, text);
            reading.touches = Some(places.iter().map(place).collect::<Result<_, _>>()?);
        }
        let reading = share(&mut self.readings, reading);
        self.routes.push(Route { verb, action, template, reading, conditions, when, opaque: self.opaque(path) });
        let route = self.routes.len() as u32 - 1;
        let node = self.walk(root, path);
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.routes.push(route);
        }
        let kind = resource.and_then(|all| all.first().map(|text| kind_of(text).to_owned()));
        Ok(kind.unwrap_or_else(|| "resource".to_owned()))
    }

    fn opaque(&self, path: &[Step]) -> u32 {
        let names = path.iter().filter_map(Step::parameter).enumerate();
        let declared = |name: &str| self.written.paths.opaque.iter().any(|known| known == name || known == "*");
        names.filter(|(_, name)| declared(name)).fold(0, |bits, (index, _)| bits | 1u32.wrapping_shl(index as u32))
    }

    /// The resource of the longest area that `path` stands under.
    fn area_of(&self, role: &str, path: &[Step]) -> Option<Vec<String>> {
        let under = self.areas.iter().filter(|(known, steps, _)| {
            known == role && steps.len() <= path.len() && steps.iter().zip(path).all(|(area, step)| alike(area, step))
        });
        let longest = under.max_by_key(|(_, steps, _)| steps.len())?;
        // Parameters keep the names that the area gave them.
        let rename: BTreeMap<&str, &str> = longest
            .1
            .iter()
            .zip(path)
            .filter_map(|(area, step)| Some((area.parameter()?, step.parameter()?)))
            .collect();
        let renamed = |text: &String| {
            rename
                .iter()
                .fold(text.clone(), |text, (from, to)| text.replace(&format!("{{{from}}}"), &format!("{{{to}}}")))
        };
        Some(longest.2.iter().map(renamed).collect())
    }

    /// Alternatives that name a parameter which this path does not have are for other patterns of the same action; one
    /// must remain.
    fn template(&mut self, texts: &[String], path: &[Step], reading: &mut Reading) -> Result<u16, Wrong> {
        let mut alternatives = Vec::new();
        let mut wrong = None;
        for text in texts {
            match pieces(text, path, reading) {
                Ok(pieces) => alternatives.push(pieces),
                Err(mistake) => wrong = wrong.or(Some(mistake)),
            }
        }
        match wrong {
            Some(mistake) if alternatives.is_empty() => Err(mistake),
            _ => Ok(share(&mut self.templates, alternatives)),
        }
    }

    /// Declared facts of the action, and facts of the service whose path parameter this path has.
    fn facts(&mut self, draft: &Draft, path: &[Step], reading: &mut Reading) -> Result<(), Wrong> {
        let mut declared: BTreeMap<&str, FactType> = BTreeMap::new();
        for (name, kind) in &self.written.facts {
            let parameter = name.strip_prefix("path.");
            if parameter.is_none_or(|name| path.iter().any(|step| step.parameter() == Some(name))) {
                declared.insert(name, *kind);
            }
        }
        declared.extend(draft.facts.iter().map(|(name, kind)| (name.as_str(), *kind)));
        for (name, kind) in declared {
            let source = match name.strip_prefix("path.") {
                Some(parameter) if path.iter().any(|step| step.parameter() == Some(parameter)) => {
                    source(parameter, path, reading, name)?
                }
                // Another pattern of the same action may have it, or another road.
                Some(_) => continue,
                None if name.starts_with("arguments.") => continue,
                None => source(name, path, reading, name)?,
            };
            reading.facts.push(FactRule { name: name.into(), kind, source });
        }
        Ok(())
    }

    /// Sorts what the engine searches.
    pub fn finish(&mut self) {
        let conditions: Vec<Vec<Test>> = self.routes.iter().map(|route| route.conditions.clone()).collect();
        for node in &mut self.nodes {
            node.literals.sort();
            order(node, &conditions);
        }
    }

    /// Every kind of resource that a template can make.
    pub fn kinds(&self) -> BTreeSet<String> {
        let first = |pieces: &Vec<Piece>| match pieces.first() {
            Some(Piece::Text(text)) => Some(kind_of(text).to_owned()),
            _ => None,
        };
        let of_actions = self.actions.iter().map(|action| action.kind.to_string());
        self.templates.iter().flatten().filter_map(first).chain(of_actions).chain(["resource".to_owned()]).collect()
    }
}

fn alike(area: &Step, step: &Step) -> bool {
    match (area, step) {
        (Step::Literal(a), Step::Literal(b)) => a == b,
        (Step::One(_), Step::One(_)) | (Step::Many(_), Step::Many(_)) => true,
        _ => false,
    }
}

fn kind_of(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}

fn whens(draft: &Draft, path: &[Step], reading: &mut Reading) -> Result<Vec<When>, Wrong> {
    let mut out = Vec::new();
    for when in draft.when.iter().filter(|when| when.arguments.is_empty()) {
        let mut tests = Vec::new();
        for (name, holds) in &when.path {
            // Another pattern of the same action may have it.
            if path.iter().any(|step| step.parameter() == Some(name)) {
                tests.push(Test { source: source(name, path, reading, &draft.id)?, holds: holds.clone() });
            }
        }
        for (name, holds) in &when.query {
            tests.push(Test { source: Source::Query(name.as_str().into()), holds: holds.clone() });
        }
        for (name, holds) in &when.header {
            let field = name.to_ascii_lowercase();
            if field.is_empty() || !field.bytes().all(|byte| byte == b'-' || byte.is_ascii_alphanumeric()) {
                return Err(Wrong::new(name, format!("`{name}` is no header field")));
            }
            tests.push(Test { source: Source::Header(field.into()), holds: holds.clone() });
        }
        for (name, holds) in &when.body {
            tests.push(Test { source: want(reading, name, &draft.id)?, holds: holds.clone() });
        }
        out.push(When { tests, class: when.class, effects: when.effects });
    }
    Ok(out)
}

fn pieces(text: &str, path: &[Step], reading: &mut Reading) -> Result<Vec<Piece>, Wrong> {
    if !text.contains(':') {
        return Err(Wrong::new(text, format!("resource `{text}` has no kind; write `kind:path`")));
    }
    let parts = template(text).map_err(|message| Wrong::new(text, message))?;
    let last = parts.len().saturating_sub(1);
    let mut pieces = Vec::new();
    for (index, part) in parts.into_iter().enumerate() {
        pieces.push(match part {
            Part::Text(text) => Piece::Text(text.into()),
            Part::Value { name, prefix } => {
                let source = source(&name, path, reading, text)?;
                Piece::Value { source, prefix: prefix.into(), head: index < last }
            }
        });
    }
    Ok(pieces)
}

/// `query.x`, `body.x`, or a path parameter.
fn source(name: &str, path: &[Step], reading: &mut Reading, text: &str) -> Result<Source, Wrong> {
    if let Some(query) = name.strip_prefix("query.") {
        return Ok(Source::Query(query.into()));
    }
    if let Some(body) = name.strip_prefix("body.") {
        return want(reading, body, text);
    }
    let mut parameters = path.iter().filter_map(Step::parameter);
    if let Some(index) = parameters.position(|known| known == name) {
        return Ok(Source::Capture(index as u8));
    }
    let known: Vec<&str> = path.iter().filter_map(Step::parameter).collect();
    let hint = match super::nearest(name, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("it has {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") }),
    };
    Err(Wrong::new(text, format!("the path has no parameter `{name}`; {hint}")))
}

fn want(reading: &mut Reading, name: &str, text: &str) -> Result<Source, Wrong> {
    let path: Vec<Box<str>> = name.split('.').map(Into::into).collect();
    let index = reading.wants.iter().position(|known| *known == path).unwrap_or_else(|| {
        reading.wants.push(path);
        reading.wants.len() - 1
    });
    if index >= WANTS_MAX {
        return Err(Wrong::new(text, format!("more than {WANTS_MAX} values of one body; declare fewer facts")));
    }
    Ok(Source::Body(index as u8))
}

/// The index of `value` in `all`, which holds each value once.
fn share<T: PartialEq>(all: &mut Vec<T>, value: T) -> u16 {
    let index = all.iter().position(|known| *known == value).unwrap_or_else(|| {
        all.push(value);
        all.len() - 1
    });
    index as u16
}

fn verb(method: &str) -> Option<Verb> {
    Some(match method {
        "ANY" => Verb::Any,
        "GET" => Verb::Get,
        "HEAD" => Verb::Head,
        "POST" => Verb::Post,
        "PUT" => Verb::Put,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        "OPTIONS" => Verb::Options,
        _ => return None,
    })
}
