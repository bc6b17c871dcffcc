//! Messages that a client sends on a WebSocket: JSON objects of which one member names the message. By the table of the service file
//! each is a call, as a request would be; what no line has may do anything.

use model::{Call, Class, Classification, Code, Effects, Fact, Facts, Refusal, Resource, Unknown};

use super::View;
use super::line::{self, Calls, Fault, Road};
use super::rpc::given::{Given, member};
use super::rpc::is_same_but_spelled;
use super::tree::{self, Json};
use crate::compile::rpc::is_name;
use crate::compiled::{MESSAGE_FACT, SOCKET_UNLISTED, Socket};
use crate::service::Service;

const HINT: &str = "send each message as strict JSON, with every name spelled as the service's documentation has it";

/// What stands where the name would: no name has parentheses, so no rule for a name admits one of these.
const BINARY: &str = "(binary)";
const UNREAD: &str = "(unread)";

/// Whether a WebSocket on a path that nobody knows may be taken for one whose messages are judged, by a server that forgets the case
/// of a path: then it may do anything.
pub(super) fn may_be_taken(view: View<'_>) -> bool {
    let here = |socket: &Socket| socket.roots.contains(&view.at.host.root);
    view.request.is_websocket() && view.at.service.tables.sockets.iter().any(here)
}

impl Service {
    /// Whether the messages of a WebSocket that these calls open are judged one by one.
    pub fn judges_messages(&self, opening: &Classification) -> bool {
        self.socket(opening).is_some()
    }

    /// What one message of a client is: the classification of what opened its WebSocket, with the calls of the message. `octets`
    /// are all of its payload, unmasked; `text` where the frames say that it is one.
    ///
    /// # Errors
    /// A refusal `malformed` for a message that servers could read in two ways, and for every message where the service has no table
    /// for what was opened.
    pub fn message(&self, opening: &Classification, octets: &[u8], text: bool) -> Result<Classification, Refusal> {
        let Some(socket) = self.socket(opening) else {
            let sentence = "The service's file does not say how messages of this WebSocket are read";
            return Err(Refusal::new(Code::Malformed, sentence).hint("open it again"));
        };
        let read = if text { self.by_name(socket, octets) } else { self.unlisted(None, BINARY) };
        let calls = read.map_err(|fault| fault.refusal("WebSocket", HINT))?;
        let opening = opening.clone();
        Ok(Classification { calls, needs_body: false, hands_out: false, reads_front: false, ..opening })
    }

    fn socket(&self, opening: &Classification) -> Option<&Socket> {
        let place = |socket: &Socket| self.tables.actions.get(socket.place as usize).map(|action| &action.id);
        let opens = |socket: &&Socket| opening.calls.iter().any(|call| Some(&call.action) == place(socket));
        self.tables.sockets.iter().find(opens)
    }

    fn by_name(&self, socket: &Socket, octets: &[u8]) -> Result<Calls, Fault> {
        let json = std::str::from_utf8(octets).ok().and_then(|text| tree::read(text).ok());
        let Some(json @ Json::Object(members)) = &json else { return self.unlisted(None, UNREAD) };
        let name = match member(members, &socket.key)? {
            Some(Json::Text(name)) if is_name(name) => name,
            _ => return self.unlisted(None, UNREAD),
        };
        let Some(lines) = socket.lines(name) else {
            // Servers that forgive a spelling would take it for what a rule denies under its own name.
            if socket.names.iter().any(|(known, _)| is_same_but_spelled(known, name)) {
                return Err("its name is that of a known message in another spelling".into());
            }
            return self.unlisted(Some(name), name);
        };
        let anywhere = || Resource::new(&format!("message:{name}"));
        let road = Road { service: self, mark: (MESSAGE_FACT, name), anywhere: &anywhere };
        let calls = line::calls(lines, &Given(json), road)?;
        if calls.is_empty() { Err("no line of its table holds".into()) } else { Ok(calls) }
    }

    /// What no table has is two calls: a denial of any effect finds the first, and neither a class nor an effect permits the second.
    fn unlisted(&self, name: Option<&str>, shown: &str) -> Result<Calls, Fault> {
        let action = self.action(SOCKET_UNLISTED).ok_or("its service is not whole")?;
        let one = |effects| {
            let mut facts = Facts::default();
            let fact = name.map_or(Fact::Unknown(Unknown::Malformed), |name| Fact::Text(name.into()));
            facts.add(MESSAGE_FACT.into(), fact);
            let resource = Resource::new(&format!("message:{shown}"));
            Call { action: action.id.clone(), class: Class::Admin, effects, resource, facts }
        };
        Ok([Effects::EVERY, Effects::NONE].into_iter().map(one).collect())
    }
}
