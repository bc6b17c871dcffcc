//! The parts about MCP and JSON-RPC: where they are spoken, what is asked there, and the tables of tools and methods.

use std::collections::BTreeSet;

use model::{Class, Effects};

use super::Wrong;
use super::actions::Draft;
use super::lines::{self, Names, Own, Table, Written};
use crate::compiled::{
    MCP_ACTIONS, MCP_ANSWER, MCP_CONNECT, MCP_LIST_TOOLS, MCP_MESSAGE, MCP_PROMPT, MCP_READ, MCP_UNLISTED_TOOL,
    RPC_MESSAGE, RPC_UNLISTED, Rpc,
};
use crate::file::pattern::Pattern;
use crate::file::{OneOrMany, ServiceFile};

const METHODS_OF_HTTP: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY"];
/// An action of the protocol, and those that imply it.
const SETTLED_FIRST: [(&str, &[&str]); 4] = [
    (MCP_CONNECT, &[MCP_UNLISTED_TOOL, MCP_READ, MCP_PROMPT, "mcp/complete", MCP_ANSWER]),
    (MCP_LIST_TOOLS, &[MCP_UNLISTED_TOOL]),
    ("mcp/list-resources", &[MCP_READ]),
    ("mcp/list-prompts", &[MCP_PROMPT]),
];
/// Those of them that tools imply.
const BEFORE_TOOLS: [&str; 2] = [MCP_CONNECT, MCP_LIST_TOOLS];

const TOOLS: Names = Names { what: "tool", road: "MCP", is: is_name, kind: Some("tool") };
const METHODS: Names = Names { what: "method", road: "JSON-RPC", is: is_name, kind: Some("method") };

fn tools(written: &ServiceFile) -> Result<Vec<Written<'_>>, Wrong> {
    lines::lines(written.mcp.as_ref().map_or("", |entry| &entry.tools), TOOLS)
}

fn methods(written: &ServiceFile) -> Result<Vec<Written<'_>>, Wrong> {
    lines::lines(written.rpc.as_ref().map_or("", |entry| &entry.methods), METHODS)
}

/// The places where they are spoken: an action, and its patterns.
pub(super) fn places(written: &ServiceFile) -> Result<Vec<(&'static str, Pattern)>, Wrong> {
    let mcp = written.mcp.as_ref().map(|entry| (MCP_MESSAGE, &entry.at));
    let rpc = written.rpc.as_ref().map(|entry| (RPC_MESSAGE, &entry.at));
    let mut all = Vec::new();
    for (action, OneOrMany(paths)) in mcp.into_iter().chain(rpc) {
        for path in paths {
            if METHODS_OF_HTTP.iter().any(|method| path.starts_with(&format!("{method} "))) {
                return Err(Wrong::new(path, format!("`{path}` says a method; `at` takes a path alone: `/mcp`")));
            }
            let text = match path.split_once(' ') {
                Some((role, path)) => format!("{role} ANY {path}"),
                None => format!("ANY {path}"),
            };
            all.push((action, Pattern::parse(&text).map_err(|message| Wrong::new(path, message))?));
        }
        if paths.is_empty() {
            return Err(Wrong::new("at", "`at` names no path; say where it is spoken"));
        }
    }
    Ok(all)
}

/// The actions that the sections declare.
pub(super) fn own(written: &ServiceFile) -> Result<Vec<Own>, Wrong> {
    let mut all = Vec::new();
    if written.mcp.is_some() {
        let lines = tools(written)?;
        let mut asked: Vec<String> =
            lines.iter().flat_map(|line| &line.actions).map(|(id, _)| (*id).to_owned()).collect();
        asked.sort();
        asked.dedup();
        for (id, class, effects) in MCP_ACTIONS {
            let mut own = Own::plain(id, class, effects);
            let after = SETTLED_FIRST.iter().find(|(first, _)| *first == id).map_or(&[][..], |(_, after)| after);
            own.implied_by.extend(after.iter().map(|id| (*id).to_owned()));
            if BEFORE_TOOLS.contains(&id) {
                own.implied_by.extend(asked.iter().cloned());
            }
            all.push(own);
        }
        all.push(Own::plain(MCP_MESSAGE, Class::Admin, Effects::EVERY));
        all.push(unlisted(MCP_UNLISTED_TOOL, "tool:{name}"));
        lines::declare(&lines, &mut all)?;
    }
    if written.rpc.is_some() {
        all.push(Own::plain(RPC_MESSAGE, Class::Admin, Effects::EVERY));
    }
    if written.rpc.is_some() || written.mcp.is_some() {
        all.push(unlisted(RPC_UNLISTED, "method:{name}"));
        lines::declare(&methods(written)?, &mut all)?;
    }
    Ok(all)
}

/// What no table has may do anything.
fn unlisted(id: &str, resource: &str) -> Own {
    Own { resource: vec![resource.to_owned()], ..Own::plain(id, Class::Admin, Effects::EVERY) }
}

/// Compiles the sections. `drafts` are all actions, in the order of their indices.
pub(super) fn compile(
    written: &ServiceFile,
    drafts: &[Draft],
    root_of: &dyn Fn(&str) -> Option<u32>,
) -> Result<Vec<Rpc>, Wrong> {
    let table = Table { written, under: None, drafts };
    let roots = |place: u16| roots(drafts, place, root_of);
    let mut all = Vec::new();
    if written.mcp.is_some() {
        let place = table.place_of(MCP_MESSAGE, "MCP")?;
        all.push(Rpc { place, roots: roots(place), is_mcp: true, names: table.compile(&tools(written)?)? });
    }
    if written.rpc.is_some() {
        let place = table.place_of(RPC_MESSAGE, "JSON-RPC")?;
        all.push(Rpc { place, roots: roots(place), is_mcp: false, names: table.compile(&methods(written)?)? });
    }
    Ok(all)
}

/// Roots of the hosts where an action has patterns.
pub(super) fn roots(drafts: &[Draft], place: u16, root_of: &dyn Fn(&str) -> Option<u32>) -> Vec<u32> {
    let patterns = drafts.get(place as usize).into_iter().flat_map(|draft| &draft.patterns);
    let all: BTreeSet<u32> = patterns.filter_map(|(pattern, _)| root_of(&pattern.role)).collect();
    all.into_iter().collect()
}

/// Kinds of resource that the tables can make.
pub(super) fn kinds(written: &ServiceFile) -> BTreeSet<String> {
    let all = [tools(written), methods(written)];
    all.into_iter().filter_map(Result::ok).flat_map(|lines| lines::kinds(&lines)).collect()
}

/// A name that stands in a line and in a resource: what MCP allows for tools (revision 2025-11-25), and the marks of methods.
pub(crate) fn is_name(text: &str) -> bool {
    let mark = |byte: u8| matches!(byte, b'_' | b'-' | b'.' | b'/' | b'$' | b':');
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || mark(byte))
        && text.split('/').all(|part| !part.is_empty())
}
