//! Resource patterns: typed paths with `*`. A pattern covers what it contains: org > repo > branch.

use std::borrow::Cow;

use model::Resource;
use model::resource::split_tail;
use smallvec::SmallVec;

use super::text::{like, quote};
use crate::document::nearest;

/// A resource taken apart, with every kind that contains its kind.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) kind: &'a str,
    /// Its own kind and all that contain it, nearest first.
    pub(crate) within: &'a [String],
    /// In lower case where the service compares them without regard to case.
    pub(crate) segments: SmallVec<[Cow<'a, str>; 4]>,
    pub(crate) tail: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// `blind` where the service compares the segments of this kind without regard to ASCII case.
    pub(crate) fn of(resource: &'a Resource, within: &'a [String], blind: bool) -> Self {
        let segments = resource.segments().map(|segment| {
            if blind && segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
                Cow::Owned(segment.to_ascii_lowercase())
            } else {
                Cow::Borrowed(segment)
            }
        });
        Self { kind: resource.kind(), within, segments: segments.collect(), tail: resource.tail() }
    }

    /// The texts of every literal pattern that covers this resource.
    pub(crate) fn covering(&self, mut each: impl FnMut(&str)) {
        let mut text = String::with_capacity(64);
        for kind in self.within.iter().map(String::as_str).chain(self.within.is_empty().then_some(self.kind)) {
            text.clear();
            text.push_str(kind);
            let mut mark = ':';
            let own = kind == self.kind;
            for (at, segment) in self.segments.iter().enumerate() {
                text.push(mark);
                text.push_str(segment);
                mark = '/';
                if !own || at + 1 == self.segments.len() {
                    each(&text);
                }
            }
            if let (true, Some(tail)) = (own, self.tail) {
                text.push('@');
                text.push_str(tail);
                each(&text);
            }
        }
    }
}

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    /// None for a bare `*`.
    kind: Option<String>,
    segments: Vec<String>,
    tail: Option<String>,
}

impl Pattern {
    /// Everything.
    pub(crate) fn any() -> Self {
        Self { text: "*".to_owned(), kind: None, segments: Vec::new(), tail: None }
    }

    /// Reads a pattern; `kinds` are the kinds of the service, empty where any will do.
    ///
    /// # Errors
    /// What is wrong, and the nearest valid word.
    pub(crate) fn parse(text: &str, kinds: &[String]) -> Result<Self, (String, Option<String>)> {
        if text == "*" {
            return Ok(Self::any());
        }
        let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| !kind.is_empty()) else {
            let example = kinds.first().map_or("repo", String::as_str);
            return Err((format!("`{text}` has no kind; write `{example}:{text}`"), None));
        };
        if !kinds.is_empty() && !kinds.iter().any(|known| known == kind) {
            let word = nearest(kind, kinds.iter().map(String::as_str)).map(|word| format!("{word}:{rest}"));
            return Err((format!("unknown kind of resource `{kind}`"), word));
        }
        let (path, tail) = split_tail(rest);
        if path.is_empty() || path.split('/').any(str::is_empty) {
            return Err((format!("`{text}` has an empty segment; write `*` for any"), None));
        }
        Ok(Self {
            text: text.to_owned(),
            kind: Some(kind.to_owned()),
            segments: path.split('/').map(str::to_owned).collect(),
            tail: tail.map(str::to_owned),
        })
    }

    /// As written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The same pattern for a service that compares segments of some kinds without regard to case.
    pub(crate) fn blind(mut self, kinds: &[String]) -> Self {
        if let Some(kind) = self.kind.as_ref().filter(|kind| kinds.contains(kind)) {
            for segment in &mut self.segments {
                segment.make_ascii_lowercase();
            }
            let path = self.segments.join("/");
            self.text = match &self.tail {
                Some(tail) => format!("{kind}:{path}@{tail}"),
                None => format!("{kind}:{path}"),
            };
        }
        self
    }

    /// Whether it covers everything.
    pub(crate) fn is_any(&self) -> bool {
        self.kind.is_none()
    }

    /// Whether it has no `*`, so that it can be looked up.
    pub(crate) fn is_literal(&self) -> bool {
        !self.text.contains('*')
    }

    /// Its kind; none for a bare `*`.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Its first segment, where that has no `*`.
    pub(crate) fn first(&self) -> Option<&str> {
        self.segments.first().map(String::as_str).filter(|first| !first.contains('*'))
    }

    /// Its segments as written.
    pub(crate) fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Its tail as written.
    pub(crate) fn tail(&self) -> Option<&str> {
        self.tail.as_deref()
    }

    fn is_open_ended(&self) -> bool {
        self.segments.last().is_some_and(|last| last == "*")
    }

    /// Whether it covers a resource. The same as its Cedar text; a property test holds the two together.
    pub(crate) fn covers(&self, parts: &Parts<'_>) -> bool {
        let Some(kind) = &self.kind else { return true };
        let count = parts.segments.len();
        let fits = if parts.kind == kind {
            count == self.segments.len() || (self.is_open_ended() && count > self.segments.len())
        } else {
            self.tail.is_none() && parts.within.iter().any(|known| known == kind) && count >= self.segments.len()
        };
        fits && self.segments.iter().zip(&parts.segments).all(|(pattern, text)| glob(pattern, text))
            && self.tail.as_ref().is_none_or(|pattern| parts.tail.is_some_and(|text| glob(pattern, text)))
    }

    /// The same as a Cedar expression over the context.
    pub(crate) fn cedar(&self) -> String {
        let Some(kind) = &self.kind else { return "true".to_owned() };
        let (kind, count) = (quote(kind), self.segments.len());
        let exact = if self.is_open_ended() { ">=" } else { "==" };
        let own = format!("context.kind == {kind} && context.segments {exact} {count}");
        let mut all = if self.tail.is_some() {
            vec![own]
        } else {
            vec![format!(
                "(({own}) || (context.kind != {kind} && context.within.contains({kind}) && context.segments >= {count}))"
            )]
        };
        for (at, segment) in self.segments.iter().enumerate().filter(|(_, segment)| *segment != "*") {
            all.push(like(&format!("context.{}", segment_name(at)), segment));
        }
        if let Some(tail) = &self.tail {
            all.push("context has tail".to_owned());
            all.push(like("context.tail", tail));
        }
        all.join(" && ")
    }

    /// How many segments its Cedar text looks at.
    pub(crate) fn depth(&self) -> usize {
        self.segments.len()
    }

    /// What its Cedar text reads of such a resource.
    pub(crate) fn sees(&self, parts: &Parts<'_>) -> Seen {
        let Some(kind) = &self.kind else { return Seen::default() };
        // Only where `context.kind != kind` holds is there a look at what contains it.
        Seen { depth: self.depth(), within: self.tail.is_none() && parts.kind != kind }
    }
}

/// What Cedar texts of patterns read of a resource, beside its kind, its tail and the number of its segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// So many segments.
    pub(crate) depth: usize,
    /// The kinds that contain its kind.
    pub(crate) within: bool,
}

impl Seen {
    /// What either reads.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { depth: self.depth.max(other.depth), within: self.within || other.within }
    }
}

/// The name of a segment in the context.
pub(crate) fn segment_name(at: usize) -> Cow<'static, str> {
    const FIRST: [&str; 4] = ["s0", "s1", "s2", "s3"];
    FIRST.get(at).map_or_else(|| Cow::Owned(format!("s{at}")), |name| Cow::Borrowed(*name))
}

/// Whether `pattern`, in which `*` stands for any text, matches all of `text`. Linear but for one mark to go back to.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    counted(pattern, text, || {})
}

/// The same; `step` is called for every octet that is looked at.
fn counted(pattern: &str, text: &str, mut step: impl FnMut()) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        step();
        if pattern.get(p) == Some(&b'*') {
            back = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some() && pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = back {
            p = star + 1;
            t = from + 1;
            back = Some((star, t));
        } else {
            return false;
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(kind: &str) -> Vec<String> {
        let chain: &[&str] = match kind {
            "branch" => &["branch", "repo", "org"],
            "repo" => &["repo", "org"],
            "object" => &["object", "bucket"],
            other => &[other],
        };
        chain.iter().map(|kind| (*kind).to_owned()).collect()
    }

    #[test]
    fn containment() {
        let kinds: Vec<String> =
            ["org", "repo", "branch", "object", "bucket", "package"].iter().map(|kind| (*kind).to_owned()).collect();
        for (pattern, resource, expected) in [
            ("*", "repo:o/r", true),
            ("repo:o/r", "repo:o/r", true),
            ("repo:o/r", "repo:o/rr", false),
            ("repo:o/r", "branch:o/r@main", true),
            ("repo:o/r", "branch:o/x@main", false),
            ("repo:o/*", "repo:o/anything", true),
            ("repo:o/*", "repo:evil/anything", false),
            ("repo:o/*", "branch:o/r@x/y", true),
            ("repo:o/*", "org:o", false),
            ("repo:*", "repo:o/r", true),
            ("repo:o/*-docs", "repo:o/my-docs", true),
            ("repo:o/*-docs", "repo:o/my-docs-x", false),
            ("repo:o*/r", "repo:other/r", true),
            ("org:o", "repo:o/r", true),
            ("org:o", "branch:o/r@main", true),
            ("org:o", "org:o", true),
            ("org:o", "repo:o2/r", false),
            ("repo:o", "repo:o/r", false),
            ("branch:o/r@agent/*", "branch:o/r@agent/x/y", true),
            ("branch:o/r@agent/*", "branch:o/r@main", false),
            ("branch:o/r@agent/*", "repo:o/r", false),
            ("branch:o/r@main", "branch:o/r@main2", false),
            ("branch:o/r", "branch:o/r@main", true),
            ("repo:o/r@main", "branch:o/r@main", false),
            ("bucket:b", "object:b/k/1", true),
            ("object:b/*", "object:b/k/1", true),
            ("object:b/k", "object:b/k/1", false),
            ("package:@scope/*", "package:@scope/name@1.2", true),
            ("org:o", "user:o", false),
        ] {
            let parsed = Pattern::parse(pattern, &kinds).expect(pattern);
            let resource = Resource::new(resource);
            let within = within(resource.kind());
            let parts = Parts::of(&resource, &within, false);
            assert_eq!(parsed.covers(&parts), expected, "{pattern} over {resource}");
            if parsed.is_literal() {
                let mut found = false;
                parts.covering(|text| found |= text == pattern);
                assert_eq!(found, expected, "{pattern} looked up for {resource}");
            }
        }
    }

    #[test]
    fn case_where_the_service_does_not_care() {
        let kinds = vec!["repo".to_owned(), "branch".to_owned()];
        let pattern = |text: &str| Pattern::parse(text, &kinds).expect(text).blind(&kinds);
        let within = within("branch");
        for (text, resource, expected) in [
            ("repo:MyOrg/R", "branch:myorg/r@Main", true),
            ("branch:o/r@Main", "branch:O/R@Main", true),
            ("branch:o/r@main", "branch:O/R@Main", false),
        ] {
            let resource = Resource::new(resource);
            let parts = Parts::of(&resource, &within, true);
            assert_eq!(pattern(text).covers(&parts), expected, "{text} over {resource}");
            let mut found = false;
            parts.covering(|known| found |= known == pattern(text).text());
            assert_eq!(found, expected, "{text} looked up for {resource}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "a--b--c", true),
            ("a*b*c", "a--b--", false),
            ("", "", true),
            ("", "x", false),
            ("**x", "yx", true),
            ("*ab", "aab", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// Row J124: no pattern makes a text of 64 KiB cost more than its length times the longest run between two stars; going back to
    /// earlier stars would take years.
    #[test]
    fn evil_globs_take_few_steps() {
        let run = format!("*{}b", "a".repeat(30));
        let texts = ["a".repeat(64 * 1024), "ab".repeat(32 * 1024), format!("{}c", "a".repeat(64 * 1024 - 1))];
        for pattern in
            ["*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*x", &run, "****************x", "*ab*ab*ab*ab*ab*ab*ab*ab*x", "a*a*a*x"]
        {
            let longest = pattern.split('*').map(str::len).max().unwrap_or(0);
            for text in &texts {
                let mut steps = 0;
                assert!(!counted(pattern, text, || steps += 1) || pattern == run, "{pattern}");
                assert!(steps <= (longest + 1) * text.len() + pattern.len(), "{pattern}: {steps}");
            }
        }
    }

    #[test]
    fn bad_patterns() {
        let kinds = vec!["repo".to_owned(), "org".to_owned()];
        assert_eq!(Pattern::parse("rep:o/r", &kinds).err().and_then(|(_, word)| word).as_deref(), Some("repo:o/r"));
        for bad in ["o/r", ":o/r", "repo:", "repo:o//r", "repo:/r"] {
            assert!(Pattern::parse(bad, &kinds).is_err(), "{bad}");
        }
    }
}
