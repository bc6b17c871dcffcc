//! What MCP asks by its messages: revisions 2024-11-05 to 2026-07-28 (modelcontextprotocol.io/specification).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

use super::super::line::Doubt;
use super::super::tree::Json;
use super::given::member;
use crate::compiled::{MCP_CONNECT, MCP_LIST_TOOLS, MCP_PROMPT, MCP_READ, PROMPT_FACT, URI_FACT};

/// The method that calls a tool.
pub(super) const CALL: &str = "tools/call";
/// What its parameters may have (revision 2026-07-28); other names are for decoders that take them for one of these.
const CALL_MEMBERS: [&str; 6] = ["name", "arguments", "_meta", "task", "inputResponses", "requestState"];

/// Methods of the protocol, and their actions.
const METHODS: [(&str, &str); 27] = [
    ("initialize", MCP_CONNECT),
    ("server/discover", MCP_CONNECT),
    ("ping", MCP_CONNECT),
    ("logging/setLevel", "mcp/set-log-level"),
    ("notifications/initialized", MCP_CONNECT),
    ("notifications/cancelled", MCP_CONNECT),
    ("notifications/progress", MCP_CONNECT),
    ("notifications/roots/list_changed", MCP_CONNECT),
    ("notifications/tasks/status", MCP_CONNECT),
    ("subscriptions/listen", MCP_CONNECT),
    ("tools/list", MCP_LIST_TOOLS),
    ("resources/list", "mcp/list-resources"),
    ("resources/templates/list", "mcp/list-resources"),
    ("resources/read", MCP_READ),
    ("resources/subscribe", MCP_READ),
    ("resources/unsubscribe", MCP_READ),
    ("prompts/list", "mcp/list-prompts"),
    ("prompts/get", MCP_PROMPT),
    ("completion/complete", "mcp/complete"),
    ("tasks/get", "mcp/read-task"),
    ("tasks/result", "mcp/read-task"),
    ("tasks/list", "mcp/read-task"),
    ("tasks/cancel", "mcp/change-task"),
    ("tasks/update", "mcp/change-task"),
    // Asked of clients. A client that asks it of a server asks for nothing that the server has.
    ("roots/list", MCP_CONNECT),
    ("notifications/message", MCP_CONNECT),
    ("notifications/elicitation/complete", MCP_CONNECT),
];

/// The action of a method, but for [`CALL`].
pub(super) fn action_of(method: &str) -> Option<&'static str> {
    METHODS.iter().find(|(known, _)| *known == method).map(|(_, action)| *action)
}

/// The fact that a method's parameters say what it is about.
pub(super) fn about<'j>(method: &str, params: &'j Json<'_>) -> Result<Option<(&'static str, &'j str)>, Doubt> {
    let (fact, name) = match method {
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => (URI_FACT, "uri"),
        "prompts/get" => (PROMPT_FACT, "name"),
        _ => return Ok(None),
    };
    Ok(Some((fact, text(params, name)?.ok_or("its parameters do not say what it asks for")?)))
}

/// A tool that is called.
pub(super) struct Called<'j, 'a> {
    pub name: &'j str,
    pub arguments: Option<&'j Json<'a>>,
}

/// Whether a message carries answers to what the server asked back, or says where it goes on after them (revision 2026-07-28).
pub(super) fn answers(params: &Json<'_>) -> Result<bool, Doubt> {
    let Json::Object(members) = params else { return Ok(false) };
    Ok(member(members, "inputResponses")?.is_some() || member(members, "requestState")?.is_some())
}

/// What else is read by a message that listens: the resources that it wants to hear of.
pub(super) fn listens<'j>(method: &str, params: &'j Json<'_>) -> Result<Vec<&'j str>, Doubt> {
    let Json::Object(members) = params else { return Ok(Vec::new()) };
    if method != "subscriptions/listen" {
        return Ok(Vec::new());
    }
    let filter = match member(members, "notifications")? {
        Some(Json::Object(filter)) => filter,
        _ => members,
    };
    match member(filter, "resourceSubscriptions")? {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::List(items)) => items
            .iter()
            .map(|item| match item {
                Json::Text(uri) => Ok(&**uri),
                _ => Err("a resource that it listens to is no text"),
            })
            .collect(),
        Some(_) => Err("the resources that it listens to are no list"),
    }
}

/// Reads the parameters of [`CALL`].
pub(super) fn called<'j, 'a>(params: &'j Json<'a>) -> Result<Called<'j, 'a>, Doubt> {
    let Json::Object(members) = params else { return Err("its parameters are no object") };
    let name = text(params, "name")?.ok_or("it does not name its tool")?;
    let arguments = match member(members, "arguments")? {
        None | Some(Json::Null) => None,
        Some(arguments @ Json::Object(_)) => Some(arguments),
        Some(_) => return Err("its arguments are no object"),
    };
    if members.iter().any(|(name, _)| !CALL_MEMBERS.contains(&&**name)) {
        return Err("its parameters have a member that a call of a tool does not have");
    }
    Ok(Called { name, arguments })
}

fn text<'j>(params: &'j Json<'_>, name: &str) -> Result<Option<&'j str>, Doubt> {
    let Json::Object(members) = params else { return Ok(None) };
    match member(members, name)? {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err("a parameter of it is not of its type"),
    }
}

/// Gateways before the server may go by `Mcp-Method` and `Mcp-Name` (revision 2026-07-28): they must say what the message says.
pub(super) fn check_headers(headers: &HeaderMap, method: Option<&str>, name: Option<&str>) -> Result<(), Doubt> {
    let agrees = |field: &str, wanted: Option<&str>| {
        let same = |value: &http::HeaderValue| match (value.to_str().ok().and_then(plain), wanted) {
            (Some(value), Some(wanted)) => value == wanted,
            _ => false,
        };
        headers.get_all(field).iter().all(same)
    };
    if agrees("mcp-method", method) && agrees("mcp-name", name) {
        return Ok(());
    }
    Err("its `Mcp-Method` or `Mcp-Name` says something else than its message")
}

/// A value of such a field: itself, or encoded where it would not be a header's.
fn plain(value: &str) -> Option<String> {
    match value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(coded) => String::from_utf8(STANDARD.decode(coded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

/// What `Mcp-Name` repeats of the parameters.
pub(super) fn name_of<'j>(method: &str, params: &'j Json<'_>) -> Result<Option<&'j str>, Doubt> {
    match method {
        CALL | "prompts/get" => text(params, "name"),
        "tasks/get" | "tasks/update" | "tasks/cancel" | "tasks/result" => text(params, "taskId"),
        _ => text(params, "uri"),
    }
}
