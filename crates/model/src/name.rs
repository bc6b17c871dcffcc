//! Names that people choose, checked once and cheap to copy.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {why}")]
pub struct NameError {
    text: String,
    what: &'static str,
    why: &'static str,
}

fn check(text: &str, what: &'static str, extra: &[u8]) -> Result<(), NameError> {
    let fail = |why| Err(NameError { text: text.chars().take(64).collect(), what, why });
    if text.is_empty() {
        return fail("it is empty; give at least one letter");
    }
    if text.len() > 128 {
        return fail("it is longer than 128 characters; choose a shorter one");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || extra.contains(&byte)) {
        return fail("only letters, digits, `-`, `_` and `.` may be used");
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps a name.
            ///
            /// # Errors
            /// The text is empty, longer than 128 octets, or holds a character that names may not have.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, $what, $extra)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// Separates organisations; first column of every table.
    Tenant, "tenant", b"");
name!(
    /// The principal: a registered program.
    AgentName, "agent name", b"");
name!(
    /// The person on whose behalf a session works.
    UserName, "user name", b"@+");
name!(
    /// An upstream that we know.
    ServiceName, "service name", b"");
name!(
    /// What is stored in a vault or read through a back end.
    CredentialName, "credential name", b"");
name!(
    /// What is asked, without its service: `pulls/create`, `chat.postMessage`, `http/get`.
    ActionId, "action", b"/:+*");

impl Tenant {
    /// The tenant of a home that has only one.
    #[must_use]
    pub fn local() -> Self {
        Self(Arc::from("local"))
    }
}

impl AgentName {
    /// The principal of `run` without `--agent`: under the guarded policy it is a known word, not an absence.
    #[must_use]
    pub fn guest() -> Self {
        Self(Arc::from("guest"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(AgentName::new("refactoring-bot").is_ok());
        for bad in ["", "a b", "a\u{202e}b", "a/b", &"x".repeat(129)] {
            assert!(AgentName::new(bad).is_err(), "{bad}");
        }
        assert!(ActionId::new("pulls/create").is_ok());
        let message = AgentName::new("a b").map_err(|error| error.to_string());
        assert_eq!(
            message.err().as_deref(),
            Some("`a b` is not a valid agent name: only letters, digits, `-`, `_` and `.` may be used")
        );
    }
}
