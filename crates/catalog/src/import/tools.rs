//! The tools of an MCP server: the answer to `tools/list`, or what stands in it.

use model::Class;
use serde_json::Value;

use super::guess::{Guess, guess, reads, words};
use super::openapi::kind_of;
use super::{FACTS_MAX, Found, ImportError, OPERATIONS_MAX, Operation, summary};
use crate::compile::rpc::is_name;

/// The tools of a document; none where it is something else.
pub(super) fn find(document: &Value) -> Result<Option<Found>, ImportError> {
    let list = ["/result/tools", "/tools"].into_iter().find_map(|place| document.pointer(place)).unwrap_or(document);
    let Some(list) = list.as_array().filter(|list| list.iter().all(|tool| tool["name"].is_string())) else {
        return Ok(None);
    };
    if list.len() > OPERATIONS_MAX {
        return Err(ImportError::TooMany);
    }
    let info = document.pointer("/result/serverInfo").or_else(|| document.get("serverInfo"));
    let title = info.and_then(|info| info["title"].as_str().or_else(|| info["name"].as_str())).unwrap_or_default();
    let mut found =
        Found { title: title.to_owned(), schemes: vec!["bearer: {}".to_owned()], is_mcp: true, ..Found::default() };
    if document.pointer("/result/nextCursor").or_else(|| document.get("nextCursor")).is_some_and(Value::is_string) {
        found.left_out.push("this is one page of the list (`nextCursor`): join the tools of all pages".to_owned());
    }
    for tool in list {
        let name = tool["name"].as_str().unwrap_or_default();
        if !is_name(name) || found.operations.iter().any(|known| known.path == name) {
            found
                .left_out
                .push(format!("tool `{}`: its name comes twice or cannot stand in a line", crate::visible(name)));
            continue;
        }
        found.operations.push(tool_of(name, tool));
    }
    Ok(Some(found))
}

fn tool_of(name: &str, tool: &Value) -> Operation {
    let hint = |name: &str| tool.pointer(&format!("/annotations/{name}")).and_then(Value::as_bool);
    // What a server says of its own tools is a hint, and a name is one too: they make a read where no word of the name lets expect
    // more, and that is marked.
    let plain = if hint("destructiveHint") == Some(true) { Class::Delete } else { Class::Write };
    let mut guess = guess(plain, &[name]);
    if !guess.is_more() && plain == Class::Write && hint("readOnlyHint") != Some(false) {
        if reads(&words(name)) {
            guess = Guess::read("is taken for a read by its name");
        } else if hint("readOnlyHint") == Some(true) {
            guess = Guess::read("is taken for a read because its server says so");
        }
    }
    let properties = tool.pointer("/inputSchema/properties").and_then(Value::as_object);
    let plain_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    let facts = properties.into_iter().flatten().filter(|(name, _)| plain_name(name));
    Operation {
        id: format!("tools/{name}"),
        method: String::new(),
        path: name.to_owned(),
        guess,
        facts: facts.filter_map(|(name, schema)| Some((name.clone(), kind_of(schema)?))).take(FACTS_MAX).collect(),
        summary: tool["title"].as_str().or_else(|| tool["description"].as_str()).and_then(summary),
    }
}
