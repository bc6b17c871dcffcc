//! From the file as written to the tables of the engine. Runs at build time for built-in services; the same code reads
//! a user's file. Every mistake is an error with a place; nothing is guessed.

mod actions;
mod aws;
mod batch;
mod graphql;
mod hosts;
mod lines;
pub(crate) mod rpc;
mod schemes;
mod sockets;
pub(crate) mod sql;
mod tables;
mod touch;

use std::collections::{BTreeMap, BTreeSet};

use model::{ActionId, ServiceName};

use crate::compiled::{Compiled, Node, Test};
use crate::error::{CatalogError, nearest};
use crate::file::{OneOrMany, ServiceFile};

/// Effects and classes come from several places; this is what they add up to, before the tables are made.
pub(crate) use actions::Draft;

/// Compiles one file.
///
/// # Errors
/// The first mistake, with its place.
pub fn compile(written: &ServiceFile) -> Result<Compiled, CatalogError> {
    let fail = |text: &str, message: String| CatalogError::at(&written.source, &written.file, text, message);
    let name = ServiceName::new(&written.name).map_err(|error| fail(&written.name, error.to_string()))?;
    schemes::check(written).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let mut drafts = actions::drafts(written).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let touches = touch::compile(written, &mut drafts).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let mut tables = tables::Tables::new(written);
    let hosts = hosts::hosts(written, &mut tables).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    tables.areas(written).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    for draft in &drafts {
        tables.action(draft).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    }
    tables.finish();
    let graphql = graphql::compile(written, &drafts).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let rpc = rpc::compile(written, &drafts, &|role| tables.known_root(role))
        .map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let sockets = sockets::compile(written, &drafts, &|role| tables.known_root(role))
        .map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let batches = batch::compile(written, &drafts).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let aws = aws::compile(written, &drafts).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let ids: BTreeSet<&str> = drafts.iter().map(|draft| draft.id.as_str()).collect();
    let aliases = words(&written.aliases, &ids).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let of_tokens = written.token_scopes.as_ref().map_or_else(Default::default, |told| told.scopes.clone());
    let of_tokens = scopes(&of_tokens, &drafts).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let scopes = scopes(&written.scopes, &drafts).map_err(|wrong| fail(&wrong.text, wrong.message))?;
    let mut kinds: BTreeSet<String> = tables.kinds();
    kinds.extend(graphql::kinds(written));
    kinds.extend(rpc::kinds(written));
    kinds.extend(sockets::kinds(written));
    let parents = sql::parents(written);
    kinds.extend(parents.iter().flat_map(|(kind, parent)| [kind.clone(), parent.clone()]));
    let boxed = |list: &[String]| list.iter().map(|text| text.as_str().into()).collect();
    Ok(Compiled {
        name,
        title: written.title.as_str().into(),
        docs: written.docs.as_deref().map(Into::into),
        hosts,
        schemes: written.schemes.clone(),
        credentials: boxed(&sql::credentials(written)),
        environment: boxed(&written.environment),
        files: written.files.clone(),
        shapes: written.shapes.iter().map(|shape| shape.0.clone()).collect(),
        check: written.check.as_deref().map(Into::into),
        scopes_header: written.token_scopes.as_ref().map(|told| told.header.to_ascii_lowercase().into()),
        token_scopes: of_tokens,
        bounds: written.bounds,
        parents,
        kinds: kinds.into_iter().collect(),
        case_blind: written.case_blind.clone(),
        accepts: written.accepts.clone(),
        merges_query: written.merges_query,
        any_case: written.paths.any_case,
        slash_matters: written.paths.slash_matters,
        suffixes: boxed(&written.paths.suffixes),
        all_opaque: written.paths.opaque.iter().any(|name| name == "*"),
        aliases,
        scopes,
        actions: tables.actions,
        templates: tables.templates,
        readings: tables.readings,
        nodes: tables.nodes,
        routes: tables.routes,
        graphql,
        rpc,
        sockets,
        touches,
        batches,
        aws,
    })
}

/// A mistake: the text where it is, and the sentence.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub text: String,
    pub message: String,
}

impl Wrong {
    pub fn new(text: &str, message: impl Into<String>) -> Self {
        Self { text: text.to_owned(), message: message.into() }
    }
}

/// Whether `glob`, in which `*` stands for any text, covers `text`.
pub(crate) fn covers(glob: &str, text: &str) -> bool {
    let Some((front, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut left) = text.strip_prefix(front) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else { return false };
        left = after;
    }
    left.len() >= last.len() && left.ends_with(last)
}

/// The ids that a list of globs covers; a glob that covers none is a mistake.
fn expand(globs: &[String], ids: &BTreeSet<&str>) -> Result<Vec<String>, Wrong> {
    let mut all = Vec::new();
    for glob in globs {
        let before = all.len();
        all.extend(ids.iter().filter(|id| covers(glob, id)).map(|id| (*id).to_owned()));
        if all.len() == before {
            let hint = nearest(glob, ids.iter().copied()).map(|word| format!("; did you mean `{word}`?"));
            return Err(Wrong::new(glob, format!("no action `{glob}`{}", hint.unwrap_or_default())));
        }
    }
    all.sort();
    all.dedup();
    Ok(all)
}

fn words(
    written: &BTreeMap<String, crate::file::OneOrMany>,
    ids: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Vec<String>>, Wrong> {
    written.iter().map(|(word, globs)| Ok((word.clone(), expand(&globs.0, ids)?))).collect()
}

fn scopes(written: &BTreeMap<String, OneOrMany>, drafts: &[Draft]) -> Result<BTreeMap<String, Vec<String>>, Wrong> {
    let mut out = BTreeMap::new();
    for (scope, selectors) in written {
        let mut covered = Vec::new();
        for selector in &selectors.0 {
            let (class, glob) = match selector.split_once(' ') {
                Some((class, glob)) => {
                    let known = model::Class::ALL.into_iter().find(|known| known.as_str() == class);
                    (Some(known.ok_or_else(|| Wrong::new(selector, format!("no class `{class}`")))?), glob)
                }
                None => (None, selector.as_str()),
            };
            let fits = |draft: &&Draft| class.is_none_or(|class| draft.class == class);
            let ids: BTreeSet<&str> = drafts.iter().filter(fits).map(|draft| draft.id.as_str()).collect();
            covered.extend(expand(&[glob.to_owned()], &ids)?);
        }
        covered.sort();
        covered.dedup();
        out.insert(scope.clone(), covered);
    }
    Ok(out)
}

pub(crate) fn action_id(text: &str) -> Result<ActionId, Wrong> {
    ActionId::new(text).map_err(|error| Wrong::new(text, error.to_string()))
}

/// More conditions first, so that the general pattern is what remains.
pub(crate) fn order(node: &mut Node, conditions: &[Vec<Test>]) {
    node.routes.sort_by_key(|route| std::cmp::Reverse(conditions.get(*route as usize).map_or(0, Vec::len)));
}
