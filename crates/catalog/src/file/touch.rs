//! The part of a service file about paths of a repository that matter more than others.

use model::Effects;
use serde::{Deserialize, Serialize};

use super::OneOrMany;

/// A named set of paths that a change may touch: files that run with a repository's secrets, or say who must review it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TouchEntry {
    /// Its name: the fact is `touches.NAME`.
    pub name: String,
    /// Files, and folders with a slash behind them: `CODEOWNERS`, `.github/workflows/`. Compared exactly, case included.
    pub paths: OneOrMany,
    /// Effects of a change that touches it.
    #[serde(default)]
    pub effects: Effects,
}

/// One path of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TouchPath {
    /// Its segments.
    pub steps: Vec<Box<str>>,
    /// It is a folder, with everything beneath it.
    pub folder: bool,
}

/// How a path that a change names stands to one of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stand {
    /// Elsewhere.
    Out,
    /// Elsewhere, under a name by which it could be moved there without being named again.
    Near,
    /// It may be read as another path than it looks.
    Odd,
    /// There, or a folder that holds the place.
    In,
}

impl TouchPath {
    /// Reads a path; nothing where it is no plain one.
    pub fn parse(text: &str) -> Option<Self> {
        let (inside, folder) = text.strip_suffix('/').map_or((text, false), |inside| (inside, true));
        let steps: Vec<Box<str>> = inside.split('/').map(Into::into).collect();
        steps.iter().all(|step| is_plain(step)).then_some(Self { steps, folder })
    }

    /// How `path` stands to it.
    pub fn stand(&self, path: &str) -> Stand {
        if !path.split('/').all(is_plain) {
            return Stand::Odd;
        }
        let mut steps = self.steps.iter().peekable();
        let mut segments = path.split('/').peekable();
        while let (Some(step), Some(segment)) = (steps.peek(), segments.peek())
            && ***step == **segment
        {
            steps.next();
            segments.next();
        }
        if steps.peek().is_none() || segments.peek().is_none() {
            return Stand::In;
        }
        let last = self.steps.last();
        if segments.any(|segment| last.is_some_and(|last| **last == *segment)) { Stand::Near } else { Stand::Out }
    }
}

/// Whether a segment reads the same for everybody: no dots that lead elsewhere, nothing that is decoded or divided again.
fn is_plain(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && !segment.bytes().any(|byte| byte.is_ascii_control() || matches!(byte, b'\\' | b'%'))
}

/// Whether a path stands at one of these places, or may be read so.
pub(crate) fn may_touch(places: &[String], path: &str) -> bool {
    places.iter().filter_map(|text| TouchPath::parse(text)).any(|place| place.stand(path) >= Stand::Odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand() {
        let folder = TouchPath::parse(".github/workflows/").expect("a path");
        let file = TouchPath::parse("CODEOWNERS").expect("a path");
        for (path, to_folder, to_file) in [
            (".github/workflows/ci.yml", Stand::In, Stand::Out),
            (".github/workflows/a/b", Stand::In, Stand::Out),
            (".github/workflows", Stand::In, Stand::Out),
            (".github", Stand::In, Stand::Out),
            (".github/README.md", Stand::Out, Stand::Out),
            (".GitHub/workflows/ci.yml", Stand::Near, Stand::Out),
            (".github/Workflows/ci.yml", Stand::Out, Stand::Out),
            ("workflows/ci.yml", Stand::Near, Stand::Out),
            ("src/workflows/a.ts", Stand::Near, Stand::Out),
            ("src/main.rs", Stand::Out, Stand::Out),
            ("CODEOWNERS", Stand::Out, Stand::In),
            ("CODEOWNERS/x", Stand::Out, Stand::In),
            ("x/CODEOWNERS", Stand::Out, Stand::Near),
            ("codeowners", Stand::Out, Stand::Out),
            ("./CODEOWNERS", Stand::Odd, Stand::Odd),
            ("/CODEOWNERS", Stand::Odd, Stand::Odd),
            ("a//b", Stand::Odd, Stand::Odd),
            ("a/../b", Stand::Odd, Stand::Odd),
            ("a\\b", Stand::Odd, Stand::Odd),
            ("%2e/b", Stand::Odd, Stand::Odd),
            ("", Stand::Odd, Stand::Odd),
        ] {
            assert_eq!((folder.stand(path), file.stand(path)), (to_folder, to_file), "{path}");
        }
        for odd in ["", "/", "a//", "/a", "./a", "a/..", "a\\b"] {
            assert_eq!(TouchPath::parse(odd), None, "{odd}");
        }
    }
}
