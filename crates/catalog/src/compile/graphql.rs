//! The part about GraphQL: where it is spoken, and its table of mutations.

use std::collections::BTreeSet;

use model::{Class, Effect, Effects};

use super::Wrong;
use super::actions::Draft;
use super::lines::{self, Names, Own, Table};
use crate::compiled::GraphQl;
use crate::file::ServiceFile;

/// The action of queries.
pub(super) const QUERY: &str = "graphql/run-query";
/// The action of documents that ask for a secret.
pub(super) const SECRET: &str = "graphql/read-secret";
/// The action beside every mutation that is not listed.
pub(super) const UNLISTED: &str = "graphql/unlisted-mutation";
/// Names of its table.
pub(super) const MUTATIONS: Names = Names { what: "mutation", road: "GraphQL", is: is_name, kind: None };

/// The actions that the section declares.
pub(super) fn own(written: &ServiceFile) -> Result<Vec<Own>, Wrong> {
    let Some(entry) = &written.graphql else { return Ok(Vec::new()) };
    let mut all = vec![
        Own::plain(QUERY, Class::Read, Effects::NONE),
        Own::plain(SECRET, Class::Admin, Effects::NONE.with(Effect::Escalates)),
        Own::plain(UNLISTED, Class::Admin, Effects::NONE),
    ];
    lines::declare(&lines::lines(&entry.mutations, MUTATIONS)?, &mut all)?;
    Ok(all)
}

/// Compiles the section. `drafts` are all actions, in the order of their indices.
pub(super) fn compile(written: &ServiceFile, drafts: &[Draft]) -> Result<Option<GraphQl>, Wrong> {
    let Some(entry) = &written.graphql else { return Ok(None) };
    let table = Table { written, under: entry.under.as_deref(), drafts };
    let unread = table.place_of(&entry.action, "GraphQL")?;
    for draft in drafts {
        if draft.id.strip_prefix("graphql/").is_some_and(is_name) {
            let message =
                format!("`{}` is what a mutation of this name is called that no line has; name it otherwise", draft.id);
            return Err(Wrong::new(&draft.id, message));
        }
    }
    let secrets: BTreeSet<&str> = entry.secret_fields.iter().map(String::as_str).collect();
    Ok(Some(GraphQl {
        unread,
        query: table.action(QUERY, QUERY)?,
        secret: table.action(SECRET, SECRET)?,
        unlisted: table.action(UNLISTED, UNLISTED)?,
        secret_fields: secrets.into_iter().map(Into::into).collect(),
        mutations: table.compile(&lines::lines(&entry.mutations, MUTATIONS)?)?,
    }))
}

/// Kinds of resource that the table can make.
pub(super) fn kinds(written: &ServiceFile) -> BTreeSet<String> {
    let read = written.graphql.as_ref().and_then(|entry| lines::lines(&entry.mutations, MUTATIONS).ok());
    lines::kinds(&read.unwrap_or_default())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}
