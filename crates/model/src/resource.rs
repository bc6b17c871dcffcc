//! Typed resources: `repo:myorg/myrepo`, `branch:o/r@feature/x`, `*`.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a call acts on: a kind, a colon, a path of segments divided by `/`, and perhaps `@` and the rest.
///
/// An `@` divides only where it does not begin a segment, so `package:@scope/name@1.2` has the segments `@scope`,
/// `name` and the tail `1.2`. The text is never normalised: it is what the classifier read.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

impl Resource {
    /// Keeps a resource's text. A text without a kind gets the kind `resource`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.split_once(':').is_some_and(|(kind, _)| !kind.is_empty()) {
            Self(Arc::from(text))
        } else {
            Self(format!("resource:{text}").into())
        }
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind: `repo`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// What follows the kind: `myorg/myrepo`.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// The segments before the tail.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        split_tail(self.rest()).0.split('/')
    }

    /// What follows the dividing `@`: a branch, a tag, a version.
    #[must_use]
    pub fn tail(&self) -> Option<&str> {
        split_tail(self.rest()).1
    }
}

/// Divides `o/r@tail` at the first `@` that does not begin a segment. Shared with patterns, which have the same form.
#[must_use]
pub fn split_tail(rest: &str) -> (&str, Option<&str>) {
    let mut previous = b'/';
    for (at, byte) in rest.bytes().enumerate() {
        if byte == b'@' && previous != b'/' {
            return (rest.get(..at).unwrap_or_default(), rest.get(at + 1..));
        }
        previous = byte;
    }
    (rest, None)
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self::new(&<std::borrow::Cow<'de, str>>::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let branch = Resource::new("branch:o/r@feature/x@y");
        assert_eq!(branch.kind(), "branch");
        assert_eq!(branch.segments().collect::<Vec<_>>(), ["o", "r"]);
        assert_eq!(branch.tail(), Some("feature/x@y"));
        let package = Resource::new("package:@scope/name@1.2");
        assert_eq!(package.segments().collect::<Vec<_>>(), ["@scope", "name"]);
        assert_eq!(package.tail(), Some("1.2"));
        assert_eq!(Resource::new("repo:o/r").tail(), None);
        assert_eq!(Resource::new("plain").as_str(), "resource:plain");
    }
}
