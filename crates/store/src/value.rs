//! Values and rows as both engines know them: whole numbers, texts, octets and nothing.

use std::fmt;

use model::{Digest, Sealed, Timestamp};

use crate::StoreError;

/// One value of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Int(i64::from(yes))
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        Self::Int(time.0)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&Digest> for Value {
    fn from(digest: &Digest) -> Self {
        Self::Blob(digest.0.to_vec())
    }
}

impl From<&Sealed> for Value {
    fn from(sealed: &Sealed) -> Self {
        Self::Blob(sealed.0.clone())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! named {
    ($($name:ty),*) => { $(impl From<&$name> for Value {
        fn from(name: &$name) -> Self {
            Self::Text(name.as_str().to_owned())
        }
    })* };
}
named!(model::Tenant, model::AgentName, model::UserName, model::ServiceName, model::CredentialName);

macro_rules! shown {
    ($($id:ty),*) => { $(impl From<$id> for Value {
        fn from(id: $id) -> Self {
            Self::Text(id.to_string())
        }
    })* };
}
shown!(model::SessionId, model::CredentialId, model::ApprovalId, model::GrantId, model::id::ReservationId);

/// A list of parameters, in the order of `$1, $2, ..`.
macro_rules! vals {
    ($($value:expr),* $(,)?) => { &[$($crate::value::Value::from($value)),*] };
}
pub(crate) use vals;

/// An enum whose variants are words in rows and in JSON.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// The word in the store and in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, out: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}` is none of {}", concat!($($text, " "),*))),
                }
            }
        }
    };
}

pub(crate) use words;

/// A number that a row can hold.
pub(crate) fn whole(number: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| StoreError::TooLarge { what })
}

/// One row of an answer, read by position.
#[derive(Debug)]
pub(crate) struct Row(pub Vec<Value>);

impl Row {
    fn at(&self, column: usize) -> Result<&Value, StoreError> {
        self.0.get(column).ok_or_else(|| StoreError::corrupt(format!("column {column} is missing")))
    }

    fn wrong(column: usize, wanted: &str) -> StoreError {
        StoreError::corrupt(format!("column {column} is not {wanted}"))
    }

    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        match self.at(column)? {
            Value::Int(number) => Ok(*number),
            _ => Err(Self::wrong(column, "a number")),
        }
    }

    pub fn count(&self, column: usize) -> Result<u64, StoreError> {
        u64::try_from(self.int(column)?).map_err(|_| Self::wrong(column, "a count"))
    }

    pub fn time(&self, column: usize) -> Result<Timestamp, StoreError> {
        self.int(column).map(Timestamp)
    }

    pub fn opt_time(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            _ => self.time(column).map(Some),
        }
    }

    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        match self.at(column)? {
            Value::Text(text) => Ok(text),
            _ => Err(Self::wrong(column, "a text")),
        }
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    pub fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        match self.at(column)? {
            Value::Blob(bytes) => Ok(bytes),
            _ => Err(Self::wrong(column, "octets")),
        }
    }

    pub fn sealed(&self, column: usize) -> Result<Sealed, StoreError> {
        self.blob(column).map(|bytes| Sealed(bytes.to_vec()))
    }

    pub fn opt_sealed(&self, column: usize) -> Result<Option<Sealed>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            _ => self.sealed(column).map(Some),
        }
    }

    pub fn digest(&self, column: usize) -> Result<Digest, StoreError> {
        self.blob(column)?.try_into().map(Digest).map_err(|_| Self::wrong(column, "a digest"))
    }

    pub fn opt_digest(&self, column: usize) -> Result<Option<Digest>, StoreError> {
        match self.at(column)? {
            Value::Null => Ok(None),
            _ => self.digest(column).map(Some),
        }
    }

    /// A name or an id, through its own parser.
    pub fn parsed<T>(&self, column: usize) -> Result<T, StoreError>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        self.text(column)?.parse().map_err(|error: T::Err| StoreError::corrupt(error.to_string()))
    }

    pub fn opt_parsed<T>(&self, column: usize) -> Result<Option<T>, StoreError>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        match self.at(column)? {
            Value::Null => Ok(None),
            _ => self.parsed(column).map(Some),
        }
    }

    /// JSON that we wrote.
    pub fn json<T: serde::de::DeserializeOwned>(&self, column: usize) -> Result<T, StoreError> {
        serde_json::from_str(self.text(column)?)
            .map_err(|error| StoreError::corrupt(format!("column {column}: {error}")))
    }
}

/// JSON of a value that always has one.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Engine { what: error.to_string() })
}
