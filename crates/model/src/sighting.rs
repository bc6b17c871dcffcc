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

impl Sighting {
    /// Whether it can only be a leak (the glossary's tripwire). A session's own placeholder belongs into its slot, and a
    /// body may quote it: conversations and code do.
    #[must_use]
    pub const fn is_tripwire(&self) -> bool {
        !matches!((self.holder, &self.place), (Holder::Own, Place::Slot | Place::Body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_ones_own_is_no_leak() {
        for (holder, place, tripwire) in [
            (Holder::Own, Place::Slot, false),
            (Holder::Own, Place::Body, false),
            (Holder::Own, Place::SlotPart, true),
            (Holder::Own, Place::ForeignSlot, true),
            (Holder::Own, Place::Query, true),
            (Holder::Other, Place::Slot, true),
            (Holder::Other, Place::Body, true),
            (Holder::DeadSession, Place::Slot, true),
        ] {
            let sighting = Sighting {
                credential: CredentialName::new("one").expect("a name"),
                service: None,
                session: SessionId::from_bits(1),
                agent: AgentName::new("bot").expect("a name"),
                holder,
                place,
            };
            assert_eq!(sighting.is_tripwire(), tripwire, "{sighting:?}");
        }
    }
}
