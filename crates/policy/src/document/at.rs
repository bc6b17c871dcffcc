//! Values that remember where they were written.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value and the place where it was written. Line and column begin at 1; 0 means that the place is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At<T> {
    /// What was written.
    pub value: T,
    /// Its line.
    pub line: u64,
    /// Its column, in characters.
    pub column: u64,
}

impl<T> At<T> {
    /// A value from this place.
    pub const fn new(value: T, line: u64, column: u64) -> Self {
        Self { value, line, column }
    }

    /// A value that nobody wrote.
    pub const fn nowhere(value: T) -> Self {
        Self::new(value, 0, 0)
    }

    /// Another value at the same place.
    pub fn with<U>(&self, value: U) -> At<U> {
        At::new(value, self.line, self.column)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(from)?;
        Ok(Self::new(spanned.value, spanned.referenced.line(), spanned.referenced.column()))
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A mapping with free keys, in the order written, each key with its place.
#[derive(Clone, Debug)]
pub struct Table<V>(pub Vec<(At<String>, V)>);

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Table<V> {
    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
    }

    /// All entries, in the order written.
    pub fn iter(&self) -> std::slice::Iter<'_, (At<String>, V)> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Table<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Table<V>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a mapping")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry::<At<String>, V>()? {
                    entries.push(entry);
                }
                Ok(Table(entries))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Table::default())
            }
        }
        from.deserialize_any(Entries(PhantomData))
    }
}

impl<V: JsonSchema> JsonSchema for Table<V> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Table_of_{}", V::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inner = generator.subschema_for::<V>();
        schemars::json_schema!({ "type": "object", "additionalProperties": inner })
    }
}

impl<'a, V> IntoIterator for &'a Table<V> {
    type Item = &'a (At<String>, V);
    type IntoIter = std::slice::Iter<'a, (At<String>, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One value or a list of them; always read as a list.
#[derive(Clone, Debug)]
pub struct Many<T>(pub Vec<At<T>>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Many<T> {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, At<T>> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a, T> IntoIterator for &'a Many<T> {
    type Item = &'a At<T>;
    type IntoIter = std::slice::Iter<'a, At<T>>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Several words, or one.
pub type Words = Many<String>;

/// A list as it is, or a single value handed to `T`.
enum Loose<T> {
    One(T),
    List(Vec<At<T>>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Loose<T>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("one value or a list of them")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = seq.next_element::<At<T>>()? {
                    list.push(item);
                }
                Ok(Loose::List(list))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(de::value::StrDeserializer::new(text)).map(Loose::One)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                T::deserialize(de::value::U64Deserializer::new(number)).map(Loose::One)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(de::value::I64Deserializer::new(number)).map(Loose::One)
            }
            fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
                T::deserialize(de::value::BoolDeserializer::new(flag)).map(Loose::One)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(Loose::One)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Loose::List(Vec::new()))
            }
        }
        from.deserialize_any(Either(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let At { value, line, column } = At::<Loose<T>>::deserialize(from)?;
        Ok(Self(match value {
            Loose::One(one) => vec![At::new(one, line, column)],
            Loose::List(list) => list,
        }))
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("One_or_many_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inner = generator.subschema_for::<T>();
        schemars::json_schema!({ "anyOf": [inner, { "type": "array", "items": inner }] })
    }
}
