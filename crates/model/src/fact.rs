//! Typed facts about one call: what conditions and limits can speak of.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Why a fact's value is not known. A rule that needs an unknown fact denies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// The body has not been read (yet).
    NotRead,
    /// Larger than the bound of its service.
    TooLarge,
    /// Under a content coding that we do not undo, or under several.
    Encoded,
    /// Not what its content type says: not strict JSON, a duplicate key, a broken form.
    Malformed,
    /// Not of the type that the service file declares.
    WrongType,
    /// Given more than once.
    Ambiguous,
    /// The road that was taken does not say it, though another to the same action does: a node's identifier instead of a
    /// number.
    NotTold,
    /// It depends on what the upstream holds, and what was sent does not prove it: whether a push drops commits.
    NotProven,
}

/// One fact. Money is in minor units (cents).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact {
    /// A text.
    Text(Arc<str>),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// Several texts.
    List(Vec<Arc<str>>),
    /// It exists or may exist, but we cannot say.
    Unknown(Unknown),
}

/// The facts of one call, by name. Names have dots: `body.amount`, `query.state`, `path.owner`. Absent is not
/// unknown: a fact that is absent is known to be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(SmallVec<[(Arc<str>, Fact); 4]>);

impl Facts {
    /// Adds a fact; one of the same name is replaced by `Unknown::Ambiguous`, because two values are none.
    pub fn add(&mut self, name: Arc<str>, fact: Fact) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = Fact::Unknown(Unknown::Ambiguous),
            None => self.0.push((name, fact)),
        }
    }

    /// The fact of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, fact)| fact)
    }

    /// All facts, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.0.iter().map(|(name, fact)| (&**name, fact))
    }

    /// The same with the names as they are kept.
    pub fn entries(&self) -> impl Iterator<Item = (&Arc<str>, &Fact)> {
        self.0.iter().map(|(name, fact)| (name, fact))
    }

    /// The same facts with texts replaced where `change` gives another.
    #[must_use]
    pub fn map_text(&self, change: &dyn Fn(&str) -> Option<String>) -> Self {
        let changed = |text: &Arc<str>| change(text).map_or_else(|| Arc::clone(text), Arc::from);
        let map = |(name, fact): &(Arc<str>, Fact)| {
            let fact = match fact {
                Fact::Text(text) => Fact::Text(changed(text)),
                Fact::List(items) => Fact::List(items.iter().map(changed).collect()),
                other => other.clone(),
            };
            (Arc::clone(name), fact)
        };
        Self(self.0.iter().map(map).collect())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Facts {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(name, fact)| (name, Plain(fact))))
    }
}

/// A fact as it stands in JSON for people: the bare value, or `{"unknown": why}`.
struct Plain<'a>(&'a Fact);

impl Serialize for Plain<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fact::Text(text) => to.serialize_str(text),
            Fact::Int(number) => to.serialize_i64(*number),
            Fact::Bool(flag) => to.serialize_bool(*flag),
            Fact::List(items) => to.collect_seq(items.iter().map(|item| &**item)),
            Fact::Unknown(why) => to.collect_map([("unknown", why)]),
        }
    }
}

impl<'de> Deserialize<'de> for Facts {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(from)?;
        let mut facts = Self::default();
        for (name, value) in map {
            let fact = match value {
                serde_json::Value::String(text) => Fact::Text(text.into()),
                serde_json::Value::Bool(flag) => Fact::Bool(flag),
                serde_json::Value::Number(number) => {
                    number.as_i64().map_or(Fact::Unknown(Unknown::WrongType), Fact::Int)
                }
                serde_json::Value::Array(items) => {
                    Fact::List(items.iter().filter_map(|item| item.as_str().map(Arc::from)).collect())
                }
                other => Fact::Unknown(
                    serde_json::from_value(other.get("unknown").cloned().unwrap_or_default())
                        .unwrap_or(Unknown::WrongType),
                ),
            };
            facts.add(name.into(), fact);
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_values_are_none() {
        let mut facts = Facts::default();
        facts.add("query.repo".into(), Fact::Text("ok".into()));
        facts.add("query.repo".into(), Fact::Text("evil".into()));
        assert_eq!(facts.get("query.repo"), Some(&Fact::Unknown(Unknown::Ambiguous)));
    }

    #[test]
    fn plain_json_there_and_back() {
        let mut facts = Facts::default();
        facts.add("body.amount".into(), Fact::Int(1_200));
        facts.add("body.draft".into(), Fact::Bool(true));
        facts.add("body.note".into(), Fact::Unknown(Unknown::TooLarge));
        let text = serde_json::to_string(&facts).unwrap_or_default();
        assert_eq!(text, r#"{"body.amount":1200,"body.draft":true,"body.note":{"unknown":"too_large"}}"#);
        assert_eq!(serde_json::from_str::<Facts>(&text).ok(), Some(facts));
    }
}
