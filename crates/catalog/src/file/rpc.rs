//! The parts of a service file about JSON-RPC, and about MCP, which travels in it.

use serde::Deserialize;

use super::OneOrMany;

/// MCP over HTTP: where it is spoken, and what its tools are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpEntry {
    /// Paths, each perhaps after a role: `/mcp`. With the older transport of two paths, both.
    pub at: OneOrMany,
    /// One tool a line: `name[condition] actions resource.. fact=place..`; services/README.md explains it.
    #[serde(default)]
    pub tools: String,
}

/// JSON-RPC 2.0 over HTTP: where it is spoken, and what its methods are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcEntry {
    /// Paths, each perhaps after a role: `/rpc`.
    pub at: OneOrMany,
    /// One method a line, like tools; parameters by position stand at `0`, `1` ..
    #[serde(default)]
    pub methods: String,
}
