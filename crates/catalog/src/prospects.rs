//! What calling a tool may be, before its arguments are known.

use model::call::Prospect;
use model::{Class, Effects, Resource};

use crate::classify::is_same_but_spelled;
use crate::compiled::{ArgumentPiece, Line, LineCall, MCP_CONNECT, MCP_LIST_TOOLS, MCP_UNLISTED_TOOL, Rpc};
use crate::forms;
use crate::service::Service;

impl Service {
    /// Whether the answer of an action may list tools: it was asked for them, or is the stream of what a server says, which may repeat
    /// what it said.
    pub fn may_list_tools(&self, action: &str) -> bool {
        matches!(action, MCP_CONNECT | MCP_LIST_TOOLS) && !self.tables.rpc.is_empty()
    }

    /// What calling a tool of MCP may be: alternatives, each of calls that all are meant.
    pub fn prospects(&self, tool: &str) -> Vec<Vec<Prospect>> {
        let of = |rpc: &Rpc| match rpc.lines(tool) {
            Some(lines) => self.of_lines(lines),
            // Another spelling of a known one is refused.
            None if rpc.names.iter().any(|(known, _)| is_same_but_spelled(known, tool)) => Vec::new(),
            None => self.of_unlisted(tool),
        };
        self.tables.rpc.iter().filter(|rpc| rpc.is_mcp).flat_map(of).collect()
    }

    fn of_lines(&self, lines: &[Line]) -> Vec<Vec<Prospect>> {
        let beside: Vec<Prospect> = lines
            .iter()
            .filter(|line| line.beside && line.condition.is_none())
            .flat_map(|line| self.of_line(line))
            .collect();
        let plain = lines.iter().filter(|line| !line.beside);
        plain.map(|line| self.of_line(line).chain(beside.iter().cloned()).collect()).collect()
    }

    fn of_line<'s>(&'s self, line: &'s Line) -> impl Iterator<Item = Prospect> + 's {
        let resource = fixed(line);
        line.calls.iter().filter_map(move |call: &LineCall| {
            let action = self.tables.actions.get(call.action as usize)?;
            let whens = call.when.iter().map(|when| (when.class, when.effects));
            let forms = forms::of((action.class, action.effects), whens);
            Some(Prospect { action: action.id.clone(), forms, resource: resource.clone() })
        })
    }

    /// Two calls, as when it is called.
    fn of_unlisted(&self, tool: &str) -> Vec<Vec<Prospect>> {
        let Some(action) = self.action(MCP_UNLISTED_TOOL) else { return Vec::new() };
        let one = |effects| Prospect {
            action: action.id.clone(),
            forms: vec![(Class::Admin, effects)],
            resource: Some(Resource::new(&format!("tool:{tool}"))),
        };
        vec![[Effects::EVERY, Effects::NONE].map(one).into()]
    }
}

/// The resource of a line that no argument changes.
fn fixed(line: &Line) -> Option<Resource> {
    let [only] = line.resource.as_slice() else { return None };
    let text = only.iter().map(|piece| match piece {
        ArgumentPiece::Text(text) => Some(&**text),
        ArgumentPiece::Value { .. } => None,
    });
    text.collect::<Option<String>>().map(|text| Resource::new(&text))
}
