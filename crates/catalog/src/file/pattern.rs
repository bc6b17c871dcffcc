//! Patterns of requests and templates of resources: `uploads POST /repos/{owner}/{name+}?a=b`, `repo:{owner}/{repo}`.

/// One step of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A segment that reads exactly so.
    Literal(String),
    /// One segment, whatever it is: `{name}`.
    One(String),
    /// One or more segments: `{name+}`.
    Many(String),
}

impl Step {
    /// The parameter's name.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::One(name) | Self::Many(name) => Some(name),
        }
    }
}

/// `[role ]METHOD /path[?query]`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The role of the hosts where it lives; empty for those without one.
    pub role: String,
    /// The method, or `ANY`.
    pub method: String,
    /// The path.
    pub steps: Vec<Step>,
    /// Query parameters that must have these values; a bare name must be there.
    pub query: Vec<(String, Option<String>)>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (role, method, target) = match words.as_slice() {
            [method, target] => ("", *method, *target),
            [role, method, target] => (*role, *method, *target),
            _ => return Err(format!("`{text}` is no pattern; write `METHOD /path` or `role METHOD /path`")),
        };
        let (path, query) = target.split_once('?').map_or((target, ""), |(path, query)| (path, query));
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (pair.to_owned(), None),
        };
        Ok(Self {
            role: role.to_owned(),
            method: method.to_owned(),
            steps: steps(path)?,
            query: query.split('&').filter(|part| !part.is_empty()).map(pair).collect(),
        })
    }
}

/// Reads the path of a pattern.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn steps(path: &str) -> Result<Vec<Step>, String> {
    let Some(inside) = path.strip_prefix('/') else {
        return Err(format!("`{path}` is no path; begin it with `/`"));
    };
    inside.split('/').filter(|segment| !segment.is_empty()).map(step).collect()
}

fn step(segment: &str) -> Result<Step, String> {
    let Some(inside) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if segment.contains(['{', '}']) {
            return Err(format!("`{segment}` mixes text and a parameter; a parameter is a whole segment"));
        }
        return Ok(Step::Literal(segment.to_owned()));
    };
    let (name, many) = inside.strip_suffix('+').map_or((inside, false), |name| (name, true));
    if name.is_empty() || name.contains(['{', '}']) {
        return Err(format!("`{segment}` is no parameter; write `{{name}}` or `{{name+}}`"));
    }
    Ok(if many { Step::Many(name.to_owned()) } else { Step::One(name.to_owned()) })
}

/// One piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `{name}` or `{name|prefix}`: the value, which must begin with the prefix, without it.
    Value {
        /// A path parameter, `query.x`, `body.x`, or in sentences the name of a fact.
        name: String,
        /// What the value must begin with.
        prefix: String,
    },
}

/// Reads a template.
///
/// # Errors
/// A brace without its partner.
pub fn template(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inside, after)) = after.split_once('}') else {
            return Err(format!("`{text}` has a `{{` without its `}}`"));
        };
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let (name, prefix) = inside.split_once('|').unwrap_or((inside, ""));
        parts.push(Part::Value { name: name.to_owned(), prefix: prefix.to_owned() });
        rest = after;
    }
    if rest.contains('}') {
        return Err(format!("`{text}` has a `}}` without its `{{`"));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}
