//! Messages of JSON-RPC 2.0, alone or in a batch, read strictly: a member by another spelling, or one that the specification does not
//! have, is refused, because some servers take `Method` for `method`.

use std::borrow::Cow;

use model::Unknown;

use super::super::View;
use super::super::body::{Body, essence};
use super::super::line::{self, Fault};
use super::super::tree::{self, Json, Members};

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A request or a notification.
    Asks {
        /// Its method.
        method: Cow<'a, str>,
        /// Its parameters; null where it has none.
        params: Json<'a>,
    },
    /// An answer to what the server asked.
    Answers {
        /// It holds something: more than an error or an empty result.
        tells: bool,
    },
}

/// The messages of a body, and whether they came as a batch; no message at all where there is no body.
pub(super) fn messages(view: View<'_>) -> Result<(Vec<Message<'_>>, bool), Fault> {
    let Some(bytes) = Body::new(view).octets().map_err(Fault::Unknown)? else { return Ok((Vec::new(), false)) };
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Unknown(Unknown::Malformed))?;
    // Servers read JSON whatever the type says. A form would be searched for another method besides, so nothing but JSON passes.
    let essence = essence(view.request.headers()).map_err(Fault::Unknown)?;
    let json = essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json");
    if !json {
        return Err(Fault::Doubt("its Content-Type is not `application/json`"));
    }
    line::batch(tree::read(text)?, message)
}

fn message(members: Members<'_>) -> Result<Message<'_>, Fault> {
    let (mut method, mut params, mut tells, mut answers, mut version) = (None, Json::Null, false, 0, false);
    for (name, value) in members {
        match (&*name, value) {
            ("jsonrpc", Json::Text(text)) if text == "2.0" => version = true,
            ("jsonrpc", _) => return Err(Fault::Doubt("its version is not 2.0")),
            ("id", Json::Text(_) | Json::Int(_) | Json::Number | Json::Null) => {}
            ("method", Json::Text(text)) => method = Some(text),
            ("params", value @ (Json::Object(_) | Json::List(_) | Json::Null)) => params = value,
            ("result", value) => {
                answers += 1;
                tells |=
                    !matches!(&value, Json::Null) && !matches!(&value, Json::Object(members) if members.is_empty());
            }
            ("error", Json::Object(_)) => answers += 1,
            ("id" | "method" | "params" | "error", _) => return Err(Fault::Doubt("a part of it is not of its type")),
            _ => return Err(Fault::Doubt("it has a member that JSON-RPC 2.0 does not have")),
        }
    }
    match method {
        _ if !version => Err(Fault::Doubt("its version is not 2.0")),
        Some(method) if answers == 0 => Ok(Message::Asks { method, params }),
        None if answers == 1 => Ok(Message::Answers { tells }),
        _ => Err(Fault::Doubt("it is neither a request nor an answer")),
    }
}
