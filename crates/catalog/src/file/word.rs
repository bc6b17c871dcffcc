//! Shorthands: a text where a map would do, one thing where a list would do.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A text, or a map that says more.
#[derive(Clone, Debug)]
pub enum Word<T> {
    /// The shorthand.
    Text(String),
    /// The long form.
    Map(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Word<T>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text or a map")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Word<T>, E> {
                Ok(Word::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Word<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Word::Map)
            }
        }
        from.deserialize_any(Either(PhantomData))
    }
}

/// A list; one thing alone stands for a list of one.
#[derive(Clone, Debug)]
pub struct Listed<T>(pub Vec<T>);

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Several<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Several<T> {
            type Value = Listed<T>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a text, a map or a list")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Listed<T>, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| Listed(vec![one]))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Listed<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| Listed(vec![one]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Listed<T>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Listed)
            }
        }
        from.deserialize_any(Several(PhantomData))
    }
}

/// One text or several.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Listed<String>")]
pub struct OneOrMany(pub Vec<String>);

impl From<Listed<String>> for OneOrMany {
    fn from(listed: Listed<String>) -> Self {
        Self(listed.0)
    }
}
