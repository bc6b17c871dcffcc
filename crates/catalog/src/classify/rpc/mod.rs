//! JSON-RPC 2.0 over HTTP, and MCP, which travels in it: every message is a call of its own, by the tables of the service file.
//!
//! Start reading at [`calls`]; then [`message`] (how a message is read), [`mcp`] (what the protocol asks by itself) and [`given`] (what
//! tools and methods are given). A tool or a method that the table does not have may do anything: it is admitted by its own name,
//! `mcp/unlisted-tool` on `tool:NAME`, and by no class, effect or `*`.

pub(super) mod given;
mod mcp;
mod message;

use http::Method;
use model::bounds::CALLS_MAX;
use model::{Call, Class, Effects, Fact, Facts, Refusal, Resource, Unknown};

use self::given::Given;
use self::message::Message;
use super::line::{self, Calls, Fault, Road};
use super::tree::Json;
use super::{Found, View, endpoint};
use crate::compile::rpc::is_name;
use crate::compiled::{
    MCP_ANSWER, MCP_CONNECT, MCP_READ, MCP_UNLISTED_TOOL, METHOD_FACT, RPC_UNLISTED, Rpc, TOOL_FACT, URI_FACT,
};

const HINT: &str = "send strict JSON-RPC 2.0: {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"..\", \"params\": {..}}";

/// The calls of a request for a place where messages are sent; nothing where `found` is another action, or all that can be said of it:
/// the body has not been read, or what travels is no message (a WebSocket, a PUT).
pub(super) fn calls(view: View<'_>, found: &Found) -> Result<Option<Calls>, Refusal> {
    let Some(rpc) = place(view, found) else { return Ok(None) };
    let method = view.request.method();
    if view.request.is_websocket() || ![Method::GET, Method::HEAD, Method::POST, Method::DELETE].contains(method) {
        return Ok(None);
    }
    let mut reading = Reading { view, rpc, calls: Calls::new() };
    let read = message::messages(view).and_then(|(all, batch)| match *method {
        Method::POST => reading.all(&all, batch),
        // A stream of what the server says, and the end of a session. Nothing is sent by either.
        _ if all.is_empty() && rpc.is_mcp => reading.plain(MCP_CONNECT, None),
        _ => Err("it is not sent by POST".into()),
    });
    match read {
        Ok(()) => Ok(Some(reading.calls)),
        Err(Fault::Unknown(Unknown::NotRead)) => Ok(None),
        Err(fault) => Err(fault.refusal(if rpc.is_mcp { "MCP" } else { "JSON-RPC" }, HINT)),
    }
}

/// Marks a place whose body decides: until it is read, the call is the most that it could be.
pub(super) fn needs_body(view: View<'_>, found: &Found) -> bool {
    place(view, found).is_some() && *view.request.method() == Method::POST
}

fn place<'v>(view: View<'v>, found: &Found) -> Option<&'v Rpc> {
    let tables = &view.at.service.tables;
    let is = |rpc: &&Rpc| tables.actions.get(rpc.place as usize).is_some_and(|action| found.is(&action.id));
    tables.rpc.iter().find(is)
}

/// Whether what is sent to a path that nobody knows may be taken for a message: on a host where messages are, by servers that forget the
/// case of a path or have another for posting. Then it may do anything, whatever it says.
pub(super) fn may_be_taken(view: View<'_>) -> bool {
    let here = |rpc: &Rpc| rpc.roots.contains(&view.at.host.root);
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(view.request.method());
    (!reads || view.request.is_websocket()) && view.at.service.tables.rpc.iter().any(here)
}

/// Whether two names differ only in case or by `-` and `_`.
pub(crate) fn is_same_but_spelled(known: &str, name: &str) -> bool {
    let plain = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    known.bytes().map(plain).eq(name.bytes().map(plain))
}

struct Reading<'v> {
    view: View<'v>,
    rpc: &'v Rpc,
    calls: Calls,
}

impl Reading<'_> {
    fn all(&mut self, messages: &[Message<'_>], batch: bool) -> Result<(), Fault> {
        if messages.is_empty() {
            return Err("it has no message".into());
        }
        for message in messages {
            match message {
                Message::Asks { method, params } => {
                    self.check(batch, Some(method), params)?;
                    self.asks(method, params)?;
                }
                Message::Answers { tells } if self.rpc.is_mcp => {
                    self.check(batch, None, &Json::Null)?;
                    self.plain(if *tells { MCP_ANSWER } else { MCP_CONNECT }, None)?;
                }
                Message::Answers { .. } => return Err("it answers, and nothing was asked".into()),
            }
        }
        Ok(())
    }

    fn check(&self, batch: bool, method: Option<&str>, params: &Json<'_>) -> Result<(), Fault> {
        if !self.rpc.is_mcp {
            return Ok(());
        }
        let name = method.map_or(Ok(None), |method| mcp::name_of(method, params))?;
        // A batch has no one method; its headers would choose for one of them.
        let (method, name) = if batch { (None, None) } else { (method, name) };
        Ok(mcp::check_headers(self.view.request.headers(), method, name)?)
    }

    fn asks(&mut self, method: &str, params: &Json<'_>) -> Result<(), Fault> {
        if !self.rpc.is_mcp {
            return self.named((METHOD_FACT, method), params, (RPC_UNLISTED, "method"));
        }
        if mcp::answers(params)? {
            self.plain(MCP_ANSWER, None)?;
        }
        if method == mcp::CALL {
            let called = mcp::called(params)?;
            let arguments = called.arguments.unwrap_or(&Json::Null);
            return self.named((TOOL_FACT, called.name), arguments, (MCP_UNLISTED_TOOL, "tool"));
        }
        for uri in mcp::listens(method, params)? {
            self.plain(MCP_READ, Some((URI_FACT, uri)))?;
        }
        match mcp::action_of(method) {
            Some(action) => self.plain(action, mcp::about(method, params)?),
            None => self.unlisted((METHOD_FACT, method), (RPC_UNLISTED, "method")),
        }
    }

    /// A tool or a method, by its lines.
    fn named(&mut self, mark: (&'static str, &str), given: &Json<'_>, unlisted: (&str, &str)) -> Result<(), Fault> {
        let Some(lines) = self.rpc.lines(mark.1) else {
            // Servers that forgive a spelling would run a tool that a rule denies under its own name.
            if self.rpc.names.iter().any(|(known, _)| is_same_but_spelled(known, mark.1)) {
                return Err("what it asks for has the name of something known in another spelling".into());
            }
            return self.unlisted(mark, unlisted);
        };
        let (service, anywhere) = (self.view.at.service, || anywhere(self.view));
        for call in line::calls(lines, &Given(given), Road { service, mark, anywhere: &anywhere })? {
            self.push(call)?;
        }
        Ok(())
    }

    /// What no table has is two calls: a denial of any effect finds the first, and neither a class nor an effect permits the second.
    fn unlisted(&mut self, (fact, name): (&'static str, &str), (action, kind): (&str, &str)) -> Result<(), Fault> {
        if !is_name(name) {
            return Err("what it asks for has a name that cannot be part of a rule".into());
        }
        let action = self.view.at.service.action(action).ok_or("its service is not whole")?;
        let resource = Resource::new(&format!("{kind}:{name}"));
        for effects in [Effects::EVERY, Effects::NONE] {
            let mut facts = Facts::default();
            facts.add(fact.into(), Fact::Text(name.into()));
            let (id, resource) = (action.id.clone(), resource.clone());
            self.push(Call { action: id, class: Class::Admin, effects, resource, facts })?;
        }
        Ok(())
    }

    /// What the protocol asks by itself.
    fn plain(&mut self, action: &str, about: Option<(&'static str, &str)>) -> Result<(), Fault> {
        let action = self.view.at.service.action(action).ok_or("its service is not whole")?;
        let mut facts = Facts::default();
        if let Some((fact, text)) = about {
            let long = text.len() > model::bounds::FACT_TEXT_BYTES_MAX;
            let value = if long { Fact::Unknown(Unknown::TooLarge) } else { Fact::Text(text.into()) };
            facts.add(fact.into(), value);
        }
        let (id, class, effects) = (action.id.clone(), action.class, action.effects);
        self.push(Call { action: id, class, effects, resource: anywhere(self.view), facts })
    }

    fn push(&mut self, call: Call) -> Result<(), Fault> {
        if self.calls.len() >= CALLS_MAX {
            return Err(Fault::TooMany);
        }
        self.calls.push(call);
        Ok(())
    }
}

fn anywhere(view: View<'_>) -> Resource {
    Resource::new(&format!("resource:{}", endpoint(view.request.path(), view.skip)))
}
