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
    /// Another session of the same agent that goes on.
    OtherSession,
    /// Another agent.
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

/// How much a sighting says that something leaks. A closed list, in order; an alert is raised from [`Rank::ALERT`] on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// A session's own in its slot, or quoted in a body: no tripwire.
    #[default]
    Expected,
    /// A session's own where it may spread: in a URL, in a header that upstreams log, as a part of its slot.
    Low,
    /// One of another session of the same agent as plain text: a transcript that is resumed goes on quoting it.
    Medium,
    /// It was tried on somebody else's door, or another agent's is at hand.
    High,
    /// Another agent's was tried on a door, or a real secret was sent.
    Critical,
}

impl Rank {
    /// From here on a sighting is an alert of its own, whatever the configuration says.
    pub const ALERT: Self = Self::Medium;
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Expected, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The word of configurations and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The rank of a placeholder that was seen. A body may quote one's own: conversations and code do.
    #[must_use]
    pub const fn of(holder: Holder, place: &Place) -> Self {
        let door = matches!(place, Place::Slot | Place::SlotPart | Place::ForeignSlot);
        match (holder, place) {
            (Holder::Own, Place::Slot | Place::Body) => Self::Expected,
            (Holder::Own, Place::ForeignSlot) => Self::High,
            (Holder::Own, _) => Self::Low,
            (Holder::DeadSession | Holder::OtherSession, _) if door => Self::High,
            (Holder::DeadSession | Holder::OtherSession, _) => Self::Medium,
            (Holder::Other, _) if door => Self::Critical,
            (Holder::Other, _) => Self::High,
        }
    }
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
    /// How much that says.
    #[serde(default)]
    pub rank: Rank,
}

impl Sighting {
    /// Whether it can only be a leak (the glossary's tripwire).
    #[must_use]
    pub fn is_tripwire(&self) -> bool {
        self.rank > Rank::Expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_every_holder_has_its_rank() {
        let header = || Place::Header("x-note".to_owned());
        let places =
            [Place::Slot, Place::SlotPart, Place::ForeignSlot, header(), Place::Path, Place::Query, Place::Body];
        let (none, low, medium, high, critical) = (Rank::Expected, Rank::Low, Rank::Medium, Rank::High, Rank::Critical);
        for (holder, ranks) in [
            (Holder::Own, [none, low, high, low, low, low, none]),
            (Holder::DeadSession, [high, high, high, medium, medium, medium, medium]),
            (Holder::OtherSession, [high, high, high, medium, medium, medium, medium]),
            (Holder::Other, [critical, critical, critical, high, high, high, high]),
        ] {
            for (place, rank) in places.iter().zip(ranks) {
                assert_eq!(Rank::of(holder, place), rank, "{holder:?} {place:?}");
            }
        }
    }

    #[test]
    fn ranks_are_ordered_and_named_once() {
        assert!(Rank::ALL.is_sorted());
        for rank in Rank::ALL {
            assert_eq!(serde_json::to_value(rank).expect("json"), rank.as_str());
        }
    }

    #[test]
    fn records_of_earlier_versions_are_read() {
        let old =
            r#"{"credential":"one","service":null,"session":"SES","agent":"bot","holder":"other","place":"body"}"#;
        let old = old.replace("SES", &SessionId::from_bits(1).to_string());
        let read: Sighting = serde_json::from_str(&old).expect("a sighting without a rank");
        assert_eq!((read.holder, read.rank), (Holder::Other, Rank::Expected));
    }
}
