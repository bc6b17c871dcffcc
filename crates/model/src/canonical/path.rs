//! Paths: what is judged (decoded segments) and what is sent (the raw text) can never mean different things.

use smallvec::SmallVec;

use super::Malformed;
use crate::bounds::{PATH_SEGMENTS_MAX, TARGET_BYTES_MAX};

/// A path that every parser reads alike. Holds the raw text and, where it has escapes, the decoded segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath {
    raw: Box<str>,
    ends: SmallVec<[u32; 12]>,
    decoded: Option<Vec<Box<str>>>,
    encoded_slash: bool,
    trailing_slash: bool,
}

impl CanonicalPath {
    /// Reads an absolute path without its query.
    ///
    /// # Errors
    /// See [`Malformed`]; rows B16-B24 of the attack catalogue.
    pub fn parse(raw: &str) -> Result<Self, Malformed> {
        let Some(inside) = raw.strip_prefix('/') else { return Err(Malformed::Target) };
        if raw.len() > TARGET_BYTES_MAX {
            return Err(Malformed::TooMany);
        }
        raw.bytes().try_for_each(check_raw)?;
        let mut path = Self {
            raw: raw.into(),
            ends: SmallVec::new(),
            decoded: None,
            encoded_slash: false,
            trailing_slash: inside.ends_with('/'),
        };
        if inside.is_empty() {
            return Ok(path);
        }
        let body = inside.strip_suffix('/').unwrap_or(inside);
        let escaped = raw.contains('%');
        let mut decoded = Vec::new();
        let mut at = 1u32;
        for segment in body.split('/') {
            if segment.is_empty() {
                return Err(Malformed::EmptySegment);
            }
            if path.ends.len() == PATH_SEGMENTS_MAX {
                return Err(Malformed::TooMany);
            }
            at += u32::try_from(segment.len()).unwrap_or(0);
            path.ends.push(at);
            at += 1;
            if escaped {
                let plain = decode_segment(segment, &mut path.encoded_slash)?;
                check_segment(&plain)?;
                decoded.push(plain.into_boxed_str());
            } else {
                check_segment(segment)?;
            }
        }
        path.decoded = escaped.then_some(decoded);
        Ok(path)
    }

    /// The text as it came and as it will be sent.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The decoded segments, without empty ones at either end.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        (0..self.ends.len()).map(move |index| self.segment(index).unwrap_or_default())
    }

    /// One decoded segment.
    #[must_use]
    pub fn segment(&self, index: usize) -> Option<&str> {
        if let Some(decoded) = &self.decoded {
            return decoded.get(index).map(|text| &**text);
        }
        let start = match index {
            0 => 1,
            _ => self.ends.get(index - 1).map(|end| *end as usize + 1)?,
        };
        self.raw.get(start..*self.ends.get(index)? as usize)
    }

    /// How many segments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether a segment holds `%2f`. The catalogue refuses that unless the segment is a parameter declared opaque.
    #[must_use]
    pub const fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// Whether the text ends in a slash (and is not the root). Patterns say whether they take one.
    #[must_use]
    pub const fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }
}

const fn check_raw(byte: u8) -> Result<(), Malformed> {
    match byte {
        b'\\' => Err(Malformed::Backslash),
        b';' => Err(Malformed::Semicolon),
        0..=0x20 | 0x7f => Err(Malformed::Control),
        0x80.. => Err(Malformed::Encoding),
        b'#' | b'?' => Err(Malformed::Target),
        _ => Ok(()),
    }
}

/// Decodes once, refusing what another parser might read as structure.
fn decode_segment(segment: &str, encoded_slash: &mut bool) -> Result<String, Malformed> {
    let plain = percent_decode(segment, false)?;
    for byte in plain.bytes() {
        match byte {
            b'\\' => return Err(Malformed::Backslash),
            b';' => return Err(Malformed::Semicolon),
            b'/' => *encoded_slash = true,
            _ => {}
        }
    }
    // Escapes inside escapes: harmless where a second decoding changes nothing that has meaning in a path.
    let meaning = |byte| matches!(byte, b'/' | b'.' | b'\\' | b';' | b'%' | 0..=0x1f);
    if plain.contains('%')
        && percent_decode(&plain, false).is_ok_and(|twice| twice != plain && twice.bytes().any(meaning))
    {
        return Err(Malformed::DoubleEncoding);
    }
    Ok(plain)
}

fn check_segment(plain: &str) -> Result<(), Malformed> {
    if plain == "." || plain == ".." || plain.split('/').any(|part| part == "." || part == "..") {
        return Err(Malformed::DotSegment);
    }
    if plain.ends_with('.') || plain.ends_with(' ') || plain.starts_with(' ') {
        return Err(Malformed::SegmentEdge);
    }
    if plain.chars().any(char::is_control) {
        return Err(Malformed::Control);
    }
    Ok(())
}

/// Undoes percent escapes (and `+` where asked) strictly: every `%` begins an escape, the outcome is UTF-8.
pub(super) fn percent_decode(text: &str, plus: bool) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let pair = (bytes.next(), bytes.next());
                let (Some(high), Some(low)) = pair else { return Err(Malformed::Percent) };
                out.push(hex(high)? << 4 | hex(low)?);
            }
            b'+' if plus => out.push(b' '),
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).map_err(|_| Malformed::Encoding)
}

const fn hex(digit: u8) -> Result<u8, Malformed> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Malformed::Percent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(raw: &str) -> Result<Vec<String>, Malformed> {
        CanonicalPath::parse(raw).map(|path| path.segments().map(str::to_owned).collect())
    }

    #[test]
    fn plain_paths_pass() {
        assert_eq!(segments("/"), Ok(vec![]));
        assert_eq!(segments("/repos/o/r"), Ok(vec!["repos".into(), "o".into(), "r".into()]));
        assert_eq!(segments("/user/%6beys"), Ok(vec!["user".into(), "keys".into()]));
        assert_eq!(segments("/a/b/").map(|all| all.len()), Ok(2));
        assert_eq!(
            segments("/o/r/compare/main...x"),
            Ok(vec!["o".into(), "r".into(), "compare".into(), "main...x".into()])
        );
        assert_eq!(segments("/caf%C3%A9"), Ok(vec!["café".into()]));
        let opaque = CanonicalPath::parse("/projects/group%2Fproject/x").expect("parses");
        assert!(opaque.has_encoded_slash());
        assert_eq!(opaque.segment(1), Some("group/project"));
    }

    #[test]
    fn ambiguity_is_refused() {
        use Malformed as M;
        for (raw, why) in [
            ("/a/../b", M::DotSegment),
            ("/a/%2e%2e/b", M::DotSegment),
            ("/a/.%2E/b", M::DotSegment),
            ("/a/./b", M::DotSegment),
            ("/a/..%2fb", M::DotSegment),
            ("/a\\b", M::Backslash),
            ("/a%5cb", M::Backslash),
            ("/a;b", M::Semicolon),
            ("/..;x/", M::Semicolon),
            ("/a%3bb", M::Semicolon),
            ("//a", M::EmptySegment),
            ("/a//b", M::EmptySegment),
            ("/a/%", M::Percent),
            ("/a/%4", M::Percent),
            ("/a/%zz", M::Percent),
            ("/a/%252e%252e/b", M::DoubleEncoding),
            ("/a/%252fb", M::DoubleEncoding),
            ("/a%00", M::Control),
            ("/a%0ab", M::Control),
            ("/a%7f", M::Control),
            ("/a b", M::Control),
            ("/a\tb", M::Control),
            ("/a%c0%ae", M::Encoding),
            ("/a%ff", M::Encoding),
            ("/caf\u{e9}", M::Encoding),
            ("/a./b", M::SegmentEdge),
            ("/a%20/b", M::SegmentEdge),
            ("a/b", M::Target),
            ("", M::Target),
            ("*", M::Target),
            ("/a#b", M::Target),
        ] {
            assert_eq!(segments(raw), Err(why), "{raw:?}");
        }
        assert_eq!(segments(&format!("/{}", "a/".repeat(65))), Err(M::TooMany));
    }
}
