//! GraphQL: every field of a mutation's root is a call of its own, by the table of the service file; a query is one call.
//!
//! Start reading at [`calls`]; then [`envelope`] (how a document travels), [`parse`] (what it says) and [`argument`] (what its
//! fields are given). Nothing is less than it may be: a field under `@skip` counts, a fragment counts wherever its type
//! condition points, a mutation that the table does not have is an action that no rule names.

mod argument;
mod envelope;
mod parse;
mod token;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use http::Method;
use model::bounds::CALLS_MAX;
use model::{ActionId, Call, Class, Effects, Fact, Facts, Refusal, Resource, Unknown};

use self::argument::{Given, Scope};
use self::envelope::Asked;
use self::parse::{Document, Field, Fragment, Item, Kind, Operation, Set};
use super::line::{self, Calls, Doubt, Fault, Road};
use super::{Found, View};
use crate::compiled::{FIELDS_FACT, GraphQl, Line, MUTATION_FACT};

/// Levels of fields below a mutation in which only what was changed can be read: the payload and its object. One more, and a star on
/// a repository reads its files (`starrable { object(expression: ..) { text } }`): that is a query.
const PAYLOAD_LEVELS: usize = 2;
/// Letters of a mutation's name, so that it stays an action's id.
const NAME_BYTES_MAX: usize = 100;
const HINT: &str = "send strict JSON: {\"query\": \"..\", \"variables\": {..}}, with the document itself";

/// The calls of a request for the place where GraphQL is spoken; nothing where `found` is another action, or all that can
/// be said of it: the body has not been read, or what travels is no document (a WebSocket, a PUT).
pub(super) fn calls(view: View<'_>, found: &Found) -> Result<Option<Calls>, Refusal> {
    let service = view.at.service;
    let Some(graphql) = &service.tables.graphql else { return Ok(None) };
    if service.tables.actions.get(graphql.unread as usize).is_none_or(|action| !found.is(&action.id)) {
        return Ok(None);
    }
    let method = view.request.method();
    if view.request.is_websocket() || ![Method::GET, Method::HEAD, Method::POST].contains(method) {
        return Ok(None);
    }
    let mut reading = Reading::new(view, graphql);
    let read = envelope::open(view).and_then(|asked| match asked {
        None => {
            reading.reads = true;
            reading.finish()
        }
        Some(all) => all.iter().try_for_each(|asked| reading.document(asked)).and_then(|()| reading.finish()),
    });
    match read {
        Ok(()) => Ok(Some(reading.calls)),
        Err(Fault::Unknown(Unknown::NotRead)) => Ok(None),
        Err(fault) => Err(fault.refusal("GraphQL", HINT)),
    }
}

/// Marks the place whose body decides: until it is read, the call is the most that it could be.
pub(super) fn needs_body(view: View<'_>, found: &Found) -> bool {
    let tables = &view.at.service.tables;
    let unread = tables.graphql.as_ref().and_then(|graphql| tables.actions.get(graphql.unread as usize));
    *view.request.method() == Method::POST && unread.is_some_and(|action| found.is(&action.id))
}

struct Reading<'v> {
    view: View<'v>,
    graphql: &'v GraphQl,
    calls: Calls,
    /// Steps to arguments that may still be taken.
    left: Rc<Cell<usize>>,
    /// Root fields of queries.
    fields: Vec<Arc<str>>,
    reads: bool,
    secret: bool,
}

impl<'v> Reading<'v> {
    fn new(view: View<'v>, graphql: &'v GraphQl) -> Self {
        let left = Rc::new(Cell::new(argument::STEPS_MAX));
        Self { view, graphql, calls: Calls::new(), left, fields: Vec::new(), reads: false, secret: false }
    }

    fn document(&mut self, asked: &Asked<'_>) -> Result<(), Fault> {
        let document = parse::parse(&asked.document, &self.graphql.secret_fields)?;
        self.secret |= document.asks_secret;
        let operation = chosen(&document, asked.operation.as_deref())?;
        check_spreads(&document)?;
        let mut fields = Vec::new();
        roots(&document.fragments, &operation.set, &mut fields);
        if operation.kind == Kind::Query {
            self.reads = true;
            self.fields.extend(fields.iter().map(|field| Arc::from(field.name)));
            return Ok(());
        }
        let left = Rc::clone(&self.left);
        let scope = Scope { operation, given: &asked.variables, left: &left };
        for field in fields {
            if field.levels > PAYLOAD_LEVELS || field.name == "__typename" {
                self.reads = true;
            }
            match self.graphql.lines(field.name).filter(|_| operation.kind == Kind::Mutation) {
                _ if field.name == "__typename" => {}
                Some(lines) => self.listed(field, lines, scope)?,
                None => self.unlisted(field)?,
            }
        }
        Ok(())
    }

    /// The lines of a mutation: the first that holds and every one that may, and those that hold beside.
    fn listed(&mut self, field: &Field<'_>, lines: &[Line], scope: Scope<'_, '_>) -> Result<(), Fault> {
        let arguments = Given { scope, field };
        let road =
            Road { service: self.view.at.service, mark: (MUTATION_FACT, field.name), anywhere: &|| self.anywhere() };
        for call in line::calls(lines, &arguments, road)? {
            self.push(call)?;
        }
        Ok(())
    }

    /// A mutation that the table does not have may do anything: a denial of any effect finds it, and neither a class nor
    /// an effect permits it, because the second call has none.
    fn unlisted(&mut self, field: &Field<'_>) -> Result<(), Fault> {
        let name = Some(field.name).filter(|name| name.len() <= NAME_BYTES_MAX);
        let id = name.and_then(|name| ActionId::new(&format!("graphql/{name}")).ok());
        let id = id.ok_or("it names a mutation that is too long")?;
        let actions = &self.view.at.service.tables.actions;
        let second = actions.get(self.graphql.unlisted as usize).ok_or("its service is not whole")?.id.clone();
        for (action, effects) in [(id, Effects::EVERY), (second, Effects::NONE)] {
            let mut facts = Facts::default();
            facts.add(MUTATION_FACT.into(), Fact::Text(field.name.into()));
            self.push(Call { action, class: Class::Admin, effects, resource: self.anywhere(), facts })?;
        }
        Ok(())
    }

    fn push(&mut self, call: Call) -> Result<(), Fault> {
        if self.calls.len() + 2 >= CALLS_MAX {
            return Err(Fault::TooMany);
        }
        self.calls.push(call);
        Ok(())
    }

    fn anywhere(&self) -> Resource {
        Resource::new(&format!("resource:{}", super::endpoint(self.view.request.path(), self.view.skip)))
    }

    /// Adds what stands beside the mutations.
    fn finish(&mut self) -> Result<(), Fault> {
        let beside = [(self.graphql.query, self.reads), (self.graphql.secret, self.secret)];
        for (index, _) in beside.into_iter().filter(|(_, asked)| *asked) {
            let action = self.view.at.service.tables.actions.get(index as usize);
            let action = action.ok_or("its service is not whole")?;
            let mut facts = Facts::default();
            if index == self.graphql.query {
                facts.add(FIELDS_FACT.into(), fields(std::mem::take(&mut self.fields)));
            }
            let resource = self.anywhere();
            let (id, class, effects) = (action.id.clone(), action.class, action.effects);
            self.calls.push(Call { action: id, class, effects, resource, facts });
        }
        if self.calls.is_empty() {
            return Err("it asks for nothing".into());
        }
        Ok(())
    }
}

fn fields(mut names: Vec<Arc<str>>) -> Fact {
    names.sort();
    names.dedup();
    let long = names.iter().map(|name| name.len()).sum::<usize>() > model::bounds::FACT_TEXT_BYTES_MAX;
    if long { Fact::Unknown(Unknown::TooLarge) } else { Fact::List(names) }
}

/// The operation that is run: the only one, or the one that is named.
fn chosen<'d, 'a>(document: &'d Document<'a>, name: Option<&str>) -> Result<&'d Operation<'a>, Doubt> {
    match (document.operations.as_slice(), name.filter(|name| !name.is_empty())) {
        ([], _) => Err("its document has no operation"),
        ([only], None) => Ok(only),
        (_, None) => Err("its document has several operations, and none is named"),
        (all, Some(name)) => {
            let found = all.iter().find(|operation| operation.name == Some(name));
            found.ok_or("it names an operation that its document does not have")
        }
    }
}

fn place_of(fragments: &[Fragment<'_>], name: &str) -> Option<usize> {
    fragments.binary_search_by(|fragment| fragment.name.cmp(name)).ok()
}

/// Every spread must name a fragment, and no fragment may come back to itself (Kahn's algorithm, without recursion).
fn check_spreads(document: &Document<'_>) -> Result<(), Doubt> {
    const MISSING: Doubt = "its document spreads a fragment that it does not have";
    let fragments = &document.fragments;
    for operation in &document.operations {
        if operation.set.spreads.iter().any(|name| place_of(fragments, name).is_none()) {
            return Err(MISSING);
        }
    }
    let mut spreads: Vec<Vec<usize>> = Vec::with_capacity(fragments.len());
    let mut waiting = vec![0usize; fragments.len()];
    for fragment in fragments {
        let mut inside = Vec::new();
        for name in &fragment.set.spreads {
            let index = place_of(fragments, name).ok_or(MISSING)?;
            if let Some(count) = waiting.get_mut(index) {
                *count += 1;
            }
            inside.push(index);
        }
        spreads.push(inside);
    }
    let mut free: Vec<usize> = (0..fragments.len()).filter(|index| waiting.get(*index) == Some(&0)).collect();
    let mut done = 0;
    while let Some(index) = free.pop() {
        done += 1;
        for next in spreads.get(index).into_iter().flatten() {
            let Some(count) = waiting.get_mut(*next) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                free.push(*next);
            }
        }
    }
    if done == fragments.len() { Ok(()) } else { Err("a fragment of its document comes back to itself") }
}

/// The fields of an operation's root, through spreads; each fragment once, as servers collect them.
fn roots<'d, 'a>(fragments: &'d [Fragment<'a>], set: &'d Set<'a>, out: &mut Vec<&'d Field<'a>>) {
    let mut seen = vec![false; fragments.len()];
    let mut open = vec![set.roots.iter()];
    while let Some(items) = open.last_mut() {
        match items.next() {
            None => drop(open.pop()),
            Some(Item::Field(field)) => out.push(field),
            Some(Item::Spread(name)) => {
                let Some(index) = place_of(fragments, name) else { continue };
                let (Some(seen), Some(fragment)) = (seen.get_mut(index), fragments.get(index)) else { continue };
                if !std::mem::replace(seen, true) {
                    open.push(fragment.set.roots.iter());
                }
            }
        }
    }
}

impl GraphQl {
    /// The lines of a mutation.
    fn lines(&self, name: &str) -> Option<&[Line]> {
        let index = self.mutations.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        self.mutations.get(index).map(|(_, lines)| lines.as_slice())
    }
}
