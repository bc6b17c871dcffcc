//! Where placeholders were seen in a request, before anything was decided.

use serde::{Deserialize, Serialize};

use crate::id::SessionId;
use crate::name::{AgentName, CredentialName, ServiceName};

/// Whose placeholder it is, seen from the session that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// This session's own.
    Own,
    /// An earlier session of the same agent that has ended.
    DeadSession,
    /// Another session or another agent.
    Other,
}

/// Where it stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// As the whole value of the slot that the credential's scheme declares.
    Slot,
    /// As part of the value of the declared slot.
    SlotPart,
    /// In an authentication slot that is not the credential's own (another service's `Authorization`, say).
    ForeignSlot,
    /// In another header, by name.
    Header(String),
    /// In the path.
    Path,
    /// In the query.
    Query,
    /// In the body.
    Body,
}

/// One placeholder seen in one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The credential it stands for.
    pub credential: CredentialName,
    /// The credential's own service, where it is bound to one.
    pub service: Option<ServiceName>,
    /// The session it was made for.
    pub session: SessionId,
    /// The agent it was made for.
    pub agent: AgentName,
    /// Whose it is.
    pub holder: Holder,
    /// Where it stood.
    pub place: Place,
}
