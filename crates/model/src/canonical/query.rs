//! Queries and forms: every pair is seen, none is guessed.

use super::Malformed;
use super::path::percent_decode;
use crate::bounds::{QUERY_PAIRS_MAX, TARGET_BYTES_MAX};

/// A query as it came, and its decoded pairs (`application/x-www-form-urlencoded`, WHATWG URL 5.1) in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanonicalQuery {
    raw: Option<Box<str>>,
    pairs: Vec<Pair>,
}

/// A decoded name and value.
pub type Pair = (Box<str>, Box<str>);

/// Parameters with which frameworks replace the method (row B25), in small letters. The two that begin with `$http` are those of Google's
/// front end; the second carries header fields, `X-HTTP-Method-Override` among them.
pub const METHOD_OVERRIDES: [&str; 7] =
    ["_method", "$method", "_httpmethod", "x-http-method-override", "method_override", "$httpmethod", "$httpheaders"];

impl CanonicalQuery {
    /// Reads what follows the question mark; `None` where there is none.
    ///
    /// # Errors
    /// A raw `;` (some origins divide there), control characters, broken escapes, what is not UTF-8, a parameter that
    /// overrides the method, or more than the bounds.
    pub fn parse(raw: Option<&str>) -> Result<Self, Malformed> {
        let Some(raw) = raw else { return Ok(Self::default()) };
        if raw.len() > TARGET_BYTES_MAX {
            return Err(Malformed::TooMany);
        }
        for byte in raw.bytes() {
            match byte {
                b';' => return Err(Malformed::Semicolon),
                b'#' => return Err(Malformed::Target),
                0..=0x20 | 0x7f => return Err(Malformed::Control),
                0x80.. => return Err(Malformed::Encoding),
                _ => {}
            }
        }
        let pairs = pairs(raw)?;
        let overrides = |(name, _): &Pair| METHOD_OVERRIDES.contains(&&*name.to_ascii_lowercase());
        if pairs.iter().any(overrides) {
            return Err(Malformed::MethodOverride);
        }
        Ok(Self { raw: Some(raw.into()), pairs })
    }

    /// The text as it came and as it will be sent.
    #[must_use]
    pub fn raw(&self) -> Option<&str> {
        self.raw.as_deref()
    }

    /// Decoded pairs, in order, doubles included.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// All values of one name.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Decodes `a=b&c=d`, for queries and for form bodies.
///
/// # Errors
/// Broken escapes, what is not UTF-8, a NUL, or more pairs than the bound.
pub fn pairs(text: &str) -> Result<Vec<Pair>, Malformed> {
    let mut out = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if out.len() == QUERY_PAIRS_MAX {
            return Err(Malformed::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (percent_decode(name, true)?, percent_decode(value, true)?);
        if name.contains('\0') || value.contains('\0') {
            return Err(Malformed::Control);
        }
        out.push((name.into_boxed_str(), value.into_boxed_str()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_seen() {
        let query = CanonicalQuery::parse(Some("repo=ok&repo=evil&q=a+b%20c&flag")).expect("parses");
        assert_eq!(query.values("repo").collect::<Vec<_>>(), ["ok", "evil"]);
        assert_eq!(query.values("q").next(), Some("a b c"));
        assert_eq!(query.values("flag").next(), Some(""));
        assert_eq!(CanonicalQuery::parse(None).expect("parses").raw(), None);
    }

    #[test]
    fn ambiguity_is_refused() {
        use Malformed as M;
        for (raw, why) in [
            ("a=1;b=2", M::Semicolon),
            ("a=%zz", M::Percent),
            ("a=%ff", M::Encoding),
            ("a=%00", M::Control),
            ("a=b c", M::Control),
            ("_method=DELETE", M::MethodOverride),
            ("%5Fmethod=DELETE", M::MethodOverride),
            ("$method=DELETE", M::MethodOverride),
        ] {
            assert_eq!(CanonicalQuery::parse(Some(raw)), Err(why), "{raw}");
        }
    }
}
