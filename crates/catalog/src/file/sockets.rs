//! The part of a service file about WebSockets whose messages are judged one by one.

use serde::Deserialize;

/// A WebSocket, and what its client's messages are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SocketEntry {
    /// The action whose patterns are where it is opened.
    pub action: String,
    /// The member of a message that names it.
    #[serde(default = "key")]
    pub key: String,
    /// One message a line: `name[condition] actions resource.. fact=place..`; services/README.md explains it.
    #[serde(default)]
    pub messages: String,
}

fn key() -> String {
    "type".to_owned()
}
