//! What a statement turns out to do, as calls.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use model::bounds::CALLS_MAX;
use model::{Call, Effects, Fact, Facts, Resource};

use super::super::line::Calls;
use super::known;
use super::lexer::Doubt;
use crate::compiled::sql::{
    CATALOG, DIGEST_FACT, DOUBT_FACT, FUNCTION, REACH, SELECT, SEQUENCE, SESSION, UNLISTED, VERB_FACT, WHERE_FACT,
};
use crate::service::Service;

/// Where a name without a schema lives: the gateway holds every session to this search path.
pub(crate) const SCHEMA: &str = "public";

/// A name of one or more parts; whether each was quoted.
pub(crate) type Name<'a> = &'a [(Cow<'a, str>, bool)];

/// Calls as they are found. Each once.
pub(crate) struct Found<'a> {
    service: &'a Service,
    database: &'a str,
    calls: Calls,
    verb: Arc<str>,
    digest: Arc<str>,
    /// There is a statement.
    begun: bool,
}

/// What a relation is.
pub(crate) enum Relation {
    /// One of the catalogue that only describes.
    Describes,
    /// A table, a view or what else has rows; its schema and name, as they stand behind the `@` of a resource.
    Table(String),
}

impl<'a> Found<'a> {
    /// Nothing yet, of a database of this service. `digest` is of the text that was sent.
    pub fn new(service: &'a Service, database: &'a str, digest: Arc<str>) -> Self {
        Self { service, database, calls: Calls::new(), verb: Arc::from(""), digest, begun: false }
    }

    /// A statement begins with this word.
    pub fn begin(&mut self, verb: &str) {
        self.verb = Arc::from(verb);
        self.begun = true;
    }

    /// Adds a call of an action on the database itself.
    pub fn of_database(&mut self, action: &str) -> Result<(), Doubt> {
        let resource = format!("database:{}", self.database);
        self.add(action, &resource, None)
    }

    /// Adds a call of an action on a part of the database: a table, a function, a schema, a channel.
    pub fn of(&mut self, action: &str, kind: &str, name: &str) -> Result<(), Doubt> {
        let resource = format!("{kind}:{}@{name}", self.database);
        self.add(action, &resource, None)
    }

    /// The same with whether the rows are chosen by a condition.
    pub fn of_rows(&mut self, action: &str, table: &str, chosen: bool) -> Result<(), Doubt> {
        let resource = format!("table:{}@{table}", self.database);
        self.add(action, &resource, Some((WHERE_FACT, Fact::Bool(chosen))))
    }

    /// Rows of a relation are read.
    pub fn read(&mut self, name: Name<'_>) -> Result<(), Doubt> {
        match self.relation(name)? {
            Relation::Describes => self.of_database(CATALOG),
            Relation::Table(table) => self.of(SELECT, "table", &table),
        }
    }

    /// A function is called.
    pub fn function(&mut self, name: Name<'_>) -> Result<(), Doubt> {
        let (known, shown) = match name {
            [(name, false)] => (known::function(name), path(SCHEMA, name)),
            [(schema, _), (name, _)] if schema == "pg_catalog" => (known::function(name), path("pg_catalog", name)),
            [(name, true)] => (known::Does::Unknown, path(SCHEMA, name)),
            [(schema, _), (name, _)] => (known::Does::Unknown, path(schema, name)),
            _ => return Err("a function has a name of many parts"),
        };
        // What is known to reach out is judged by that, whatever the schema in which it was installed.
        let reaches = name.last().is_some_and(|(name, _)| known::function(name) == known::Does::Reaches);
        match known {
            known::Does::Computes => Ok(()),
            known::Does::Sequence => self.of_database(SEQUENCE),
            _ if reaches => self.of(REACH, "function", &shown),
            _ => self.of(FUNCTION, "function", &shown),
        }
    }

    /// What a name of a relation stands for, under the search path that the session is held to.
    pub fn relation(&self, name: Name<'_>) -> Result<Relation, Doubt> {
        match name {
            [(name, _)] if name.starts_with("pg_") && known::describes(name) => Ok(Relation::Describes),
            [(name, _)] if name.starts_with("pg_") => {
                Err("a relation whose name begins with `pg_` is named without its schema")
            }
            [(name, _)] => Ok(Relation::Table(path(SCHEMA, name))),
            [(schema, _), (name, _)] if schema == "pg_catalog" && known::describes(name) => Ok(Relation::Describes),
            [(schema, _), _] if schema == "information_schema" => Ok(Relation::Describes),
            [(schema, _), (name, _)] => Ok(Relation::Table(path(schema, name))),
            [(database, _), rest @ ..] if rest.len() == 2 && *database == *self.database => self.relation(rest),
            _ => Err("a relation has a name of many parts"),
        }
    }

    fn add(&mut self, action: &str, resource: &str, fact: Option<(&str, Fact)>) -> Result<(), Doubt> {
        let known = self.service.action(action).ok_or("its service is not whole")?;
        let same = |call: &Call| call.action == known.id && call.resource.as_str() == resource;
        let same_facts = |call: &Call| fact.as_ref().is_none_or(|(name, fact)| call.facts.get(name) == Some(fact));
        if self.calls.iter().any(|call| same(call) && same_facts(call)) {
            return Ok(());
        }
        if self.calls.len() >= CALLS_MAX {
            return Err("it touches too many tables");
        }
        let mut facts = self.facts();
        if let Some((name, fact)) = fact {
            facts.add(name.into(), fact);
        }
        let (action, class, effects) = (known.id.clone(), known.class, known.effects);
        self.calls.push(Call { action, class, effects, resource: Resource::new(resource), facts });
        Ok(())
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.add(VERB_FACT.into(), Fact::Text(Arc::clone(&self.verb)));
        facts.add(DIGEST_FACT.into(), Fact::Text(Arc::clone(&self.digest)));
        facts
    }

    /// Every table that is read.
    pub fn tables_read(&self) -> Vec<String> {
        let reads = self.calls.iter().filter(|call| call.action.as_str() == SELECT);
        reads.filter_map(|call| call.resource.tail().map(str::to_owned)).collect()
    }

    /// Statements that touch nothing are one call, of the session.
    pub fn settle(&mut self) -> Result<(), Doubt> {
        if self.begun && self.calls.is_empty() { self.of_database(SESSION) } else { Ok(()) }
    }

    /// The calls of a statement that is understood.
    pub fn calls(self) -> Calls {
        self.calls
    }

    /// What is not understood is two calls: a denial of any effect finds the first, and neither a class nor an effect permits the second.
    pub fn unlisted(self, doubt: Doubt) -> Calls {
        let Some(action) = self.service.action(UNLISTED) else { return Calls::new() };
        let one = |effects| {
            let mut facts = self.facts();
            facts.add(DOUBT_FACT.into(), Fact::Text(doubt.into()));
            let resource = Resource::new(&format!("database:{}", self.database));
            Call { action: action.id.clone(), class: action.class, effects, resource, facts }
        };
        [Effects::EVERY, Effects::NONE].into_iter().map(one).collect()
    }
}

/// Schema and name as they stand in a resource: what is neither letter, digit, `_`, `$` nor `-` is escaped, so that a point
/// divides and nothing else has a meaning.
pub(crate) fn path(schema: &str, name: &str) -> String {
    format!("{}.{}", escaped(schema), escaped(name))
}

/// One name, escaped.
pub(crate) fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for octet in name.bytes() {
        if octet.is_ascii_alphanumeric() || b"_$-".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}
