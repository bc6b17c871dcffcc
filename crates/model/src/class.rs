//! Classes and effects of actions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What kind of change an action makes. Where several fit, the later variant wins: admin > spend > delete > write >
/// read. Model calls are `Read`, with a metered cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Changes nothing that another could see.
    Read,
    /// Creates or changes.
    Write,
    /// Destroys.
    Delete,
    /// Moves money.
    Spend,
    /// Changes who may do what, or mints credentials.
    Admin,
}

impl Class {
    /// Every class, weakest first.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Delete, Self::Spend, Self::Admin];

    /// The word of the glossary.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Spend => "spend",
            Self::Admin => "admin",
        }
    }

    /// The class of an unknown path of a known service, from the method alone (RFC 9110 9.2.1: safe methods read).
    #[must_use]
    pub fn of_method(method: &http::Method) -> Self {
        match *method {
            http::Method::GET | http::Method::HEAD | http::Method::OPTIONS => Self::Read,
            http::Method::DELETE => Self::Delete,
            _ => Self::Write,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or(())
    }
}

/// A shared group of actions with the same outcome by whatever road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Changes the tip of a branch.
    BranchWrite,
    /// Makes a repository disappear.
    RepoDelete,
    /// Changes who may do what, or mints something that can.
    Escalates,
    /// Sends data to an address that the agent chose.
    Exfil,
    /// Makes something public.
    Publishes,
    /// Reaches people outside the conversation.
    MessagesPeople,
}

impl Effect {
    /// Every effect.
    pub const ALL: [Self; 6] =
        [Self::BranchWrite, Self::RepoDelete, Self::Escalates, Self::Exfil, Self::Publishes, Self::MessagesPeople];

    /// The word of the glossary.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BranchWrite => "branch-write",
            Self::RepoDelete => "repo-delete",
            Self::Escalates => "escalates",
            Self::Exfil => "exfil",
            Self::Publishes => "publishes",
            Self::MessagesPeople => "messages-people",
        }
    }

    const fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl FromStr for Effect {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == text).ok_or(())
    }
}

/// A set of effects in one octet; written as a list of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Effects(u8);

impl Effects {
    /// No effect.
    pub const NONE: Self = Self(0);
    /// Every effect: what may do anything.
    pub const EVERY: Self = Self((1 << Effect::ALL.len()) - 1);
    /// Effects that no raw rule, class or `*` ever covers, and that ask unless the permission says `approval: none`.
    pub const GUARDED: Self =
        Self(Effect::Escalates.bit() | Effect::Exfil.bit() | Effect::Publishes.bit() | Effect::MessagesPeople.bit());

    /// Adds one.
    #[must_use]
    pub const fn with(self, effect: Effect) -> Self {
        Self(self.0 | effect.bit())
    }

    /// Whether `effect` is in the set.
    #[must_use]
    pub const fn contains(self, effect: Effect) -> bool {
        self.0 & effect.bit() != 0
    }

    /// Whether the two sets share an effect.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The effects, in the order of [`Effect::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().filter(move |effect| self.contains(*effect))
    }
}

impl FromIterator<Effect> for Effects {
    fn from_iter<I: IntoIterator<Item = Effect>>(from: I) -> Self {
        from.into_iter().fold(Self::NONE, Self::with)
    }
}

impl Serialize for Effects {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // With its length, which binary formats want first.
        self.iter().collect::<Vec<_>>().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Vec::<Effect>::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stronger_classes_win() {
        assert_eq!(Class::ALL.into_iter().max(), Some(Class::Admin));
        assert!(Class::Spend > Class::Delete);
    }

    #[test]
    fn effects_are_words() {
        assert_eq!(Effects::EVERY, Effect::ALL.into_iter().collect());
        let set: Effects = [Effect::Exfil, Effect::BranchWrite].into_iter().collect();
        assert_eq!(serde_json::to_string(&set).ok().as_deref(), Some(r#"["branch-write","exfil"]"#));
        assert!(set.meets(Effects::GUARDED));
        assert!(!Effects::NONE.with(Effect::BranchWrite).meets(Effects::GUARDED));
    }
}
