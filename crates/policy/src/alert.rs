//! Alerts: which sightings are one, and what is done about it.

use std::fmt;

use model::Rank;

use crate::document::{At, Document, nearest};

/// The one condition of this version: a tripwire, of this rank or above.
const TRIPWIRE: &str = "tripwire";

/// What is done about an alert, mildest first. It is recorded whatever is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Response {
    /// The gateway says so on its standard error.
    NotifyAdmin,
    /// The session ends: what is under way is cut, nothing more is accepted.
    StopSession,
    /// The agent is stopped, with all its sessions, until an operator lifts that.
    DisableAgent,
}

impl Response {
    const ALL: [Self; 3] = [Self::NotifyAdmin, Self::StopSession, Self::DisableAgent];
    /// Actions that a later version takes.
    const LATER: [&'static str; 3] = ["require_approval", "open_incident", "revoke_credential"];

    /// The word of configurations and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotifyAdmin => "notify_admin",
            Self::StopSession => "stop_session",
            Self::DisableAgent => "disable_agent",
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// One entry of `alerts:`.
#[derive(Clone, Copy, Debug)]
struct Watch {
    from: Rank,
    response: Response,
}

/// The entries of `alerts:`, compiled.
#[derive(Clone, Debug, Default)]
pub struct Alerts(Vec<Watch>);

impl Alerts {
    /// Those of a document that was checked.
    pub(crate) fn of(document: &Document) -> Self {
        let entries = document.alerts.iter().filter_map(|entry| {
            let response = Response::ALL.into_iter().find(|known| known.as_str() == entry.value.action.value)?;
            Some(Watch { from: rank(&entry.value.condition.value)?, response })
        });
        Self(entries.collect())
    }

    /// Whether a sighting of this rank is an alert.
    #[must_use]
    pub fn raises(&self, rank: Rank) -> bool {
        rank >= Rank::ALERT || self.response(rank).is_some()
    }

    /// What is done about one: the sternest that any entry asks for.
    #[must_use]
    pub fn response(&self, rank: Rank) -> Option<Response> {
        self.0.iter().filter(|watch| rank >= watch.from).map(|watch| watch.response).max()
    }

    /// The lowest rank at which the session or its agent is stopped.
    #[must_use]
    pub fn stops_from(&self) -> Option<Rank> {
        self.0.iter().filter(|watch| watch.response >= Response::StopSession).map(|watch| watch.from).min()
    }
}

/// The rank that a condition names: `tripwire` is whatever raises an alert by itself.
fn rank(condition: &str) -> Option<Rank> {
    let rest = condition.strip_prefix(TRIPWIRE)?;
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some(Rank::ALERT),
        Some(word) => Rank::ALL.into_iter().find(|rank| *rank > Rank::Expected && rank.as_str() == word),
    }
}

fn conditions() -> Vec<String> {
    let ranks = Rank::ALL.into_iter().filter(|rank| *rank > Rank::Expected);
    std::iter::once(TRIPWIRE.to_owned()).chain(ranks.map(|rank| format!("{TRIPWIRE}:{}", rank.as_str()))).collect()
}

/// Takes a fault: its place, what is wrong, and the nearest valid word.
type Say<'s> = &'s mut dyn FnMut(&At<String>, String, Option<String>);

/// What is wrong with the entries of `alerts:`.
pub(crate) fn check(document: &Document, say: Say<'_>) {
    for entry in &document.alerts {
        let (condition, action) = (&entry.value.condition, &entry.value.action);
        if rank(&condition.value).is_none() {
            let known = conditions();
            let list = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
            if condition.value.starts_with(TRIPWIRE) {
                let near = nearest(&condition.value, known.iter().map(String::as_str));
                say(condition, format!("unknown condition `{}`; known are {list}", condition.value), near);
            } else {
                say(condition, format!("`{}` is not in this version; conditions are {list}", condition.value), None);
            }
        }
        let known = Response::ALL.map(Response::as_str);
        if Response::LATER.contains(&action.value.as_str()) {
            let message =
                format!("action `{}` is not in this version; write one of {}", action.value, known.join(", "));
            say(action, message, None);
        } else if !known.contains(&action.value.as_str()) {
            say(action, format!("unknown action `{}`", action.value), nearest(&action.value, known));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(text: &str) -> Alerts {
        let (document, _) = Document::parse(text, "f.yaml").expect("a document");
        Alerts::of(&document)
    }

    #[test]
    fn the_sternest_response_of_a_rank_holds() {
        let none = alerts("version: 1\n");
        assert_eq!((none.response(Rank::Critical), none.stops_from()), (None, None));
        assert_eq!(Rank::ALL.map(|rank| none.raises(rank)), [false, false, true, true, true]);
        let some = alerts(
            "alerts:\n- { condition: 'tripwire:low', action: notify_admin }\n- { condition: tripwire, action: notify_admin }\n- { condition: 'tripwire:high', action: stop_session }\n- { condition: 'tripwire:critical', action: disable_agent }\n",
        );
        let told = Rank::ALL.map(|rank| some.response(rank).map(Response::as_str));
        assert_eq!(
            told,
            [None, Some("notify_admin"), Some("notify_admin"), Some("stop_session"), Some("disable_agent")]
        );
        assert!(some.raises(Rank::Low) && !some.raises(Rank::Expected));
        assert_eq!(some.stops_from(), Some(Rank::High));
    }
}
