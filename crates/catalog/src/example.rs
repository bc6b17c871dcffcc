//! From a call to requests that make it, for people to try: the other way about than everything else here. What comes out is a
//! guess that the caller classifies like any request before he believes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::{Call, Fact};
use serde_json::{Map, Value};

use crate::compiled::{ArgumentPiece, HostRule, Line, Node, PUSH_ACTIONS, Piece, Reading, Route, Source, Test, Verb};
use crate::file::{Accepts, Holds};
use crate::service::Service;

/// Patterns of one action that are tried.
const PATTERNS_MAX: usize = 32;
/// Segments of a path that are followed.
const DEPTH_MAX: usize = 24;
/// What stands where a call says nothing.
const ANY: &str = "1";

/// A request, as it is given on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// `PUT`.
    pub method: &'static str,
    /// Absolute.
    pub url: String,
    /// The type of the body, where there is one.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Option<String>,
}

/// One step of a path.
#[derive(Clone)]
enum Step<'a> {
    Literal(&'a str),
    Capture,
}

/// A pattern of an action at a host.
struct Place<'a> {
    host: &'a HostRule,
    steps: Vec<Step<'a>>,
    route: &'a Route,
}

/// Values by where they stand.
#[derive(Clone, Default)]
struct Values {
    captures: BTreeMap<u8, String>,
    query: BTreeMap<String, String>,
    body: BTreeMap<u8, Value>,
}

impl Service {
    /// How the resources of an action are written, with `*` for each name that a request gives: `branch:*/*@*`. Each once.
    pub fn resource_forms(&self, action: &str) -> Vec<String> {
        let places = self.places(action);
        let templates = places.iter().filter_map(|place| self.tables.templates.get(place.route.template as usize));
        let by_path = templates.flatten().map(|pieces| {
            let text = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => &**text,
                Piece::Value { .. } => "*",
            });
            text.collect::<String>()
        });
        let names = self.tables.graphql.iter().flat_map(|graphql| &graphql.mutations);
        let names = names.chain(self.tables.rpc.iter().flat_map(|rpc| &rpc.names));
        let names = names.chain(self.tables.sockets.iter().flat_map(|socket| &socket.names));
        let mine = |line: &&Line| {
            let mut called = line.calls.iter().filter_map(|call| self.tables.actions.get(call.action as usize));
            called.any(|known| known.id.as_str() == action)
        };
        let lines = names.flat_map(|(_, lines)| lines).filter(mine);
        let by_arguments = lines.flat_map(|line| &line.resource).map(|pieces| {
            let text = pieces.iter().map(|piece| match piece {
                ArgumentPiece::Text(text) => &**text,
                ArgumentPiece::Value { pair: true, .. } => "*/*",
                ArgumentPiece::Value { .. } => "*",
            });
            text.collect::<String>()
        });
        // A push names what it changes itself.
        let pushes = if PUSH_ACTIONS.contains(&action) { &["branch:*/*@*", "tag:*/*@*"][..] } else { &[] };
        // A path that the file does not describe is named by itself, where no area is.
        let unknown = action.starts_with("http/").then(|| "resource:/*".to_owned());
        let mut forms: Vec<String> = unknown.into_iter().collect();
        for text in by_path.chain(by_arguments).chain(pushes.iter().map(|text| (*text).to_owned())) {
            if !forms.contains(&text) {
                forms.push(text);
            }
        }
        forms
    }

    /// Requests that may make a call, by the patterns of its action.
    pub fn examples(&self, call: &Call) -> Vec<Example> {
        let mut all: Vec<Example> = self.unknown_path(call).into_iter().collect();
        for place in self.places(call.action.as_str()) {
            for values in self.values(&place, call) {
                all.extend(self.write(&place, &values));
            }
        }
        all
    }

    /// A request for a path that the file does not describe.
    fn unknown_path(&self, call: &Call) -> Option<Example> {
        const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let word = call.action.as_str().strip_prefix("http/")?;
        let method = METHODS.into_iter().find(|known| known.eq_ignore_ascii_case(word))?;
        let path = call.resource.as_str().strip_prefix("resource:/")?;
        let host = self.default_host()?;
        let base = host.base.iter().map(ToString::to_string);
        let path: Vec<String> = base.chain(path.split('/').map(encoded)).collect();
        let url = format!("https://{}/{}", host.name, path.join("/"));
        Some(Example { method, url, content_type: None, body: None })
    }

    fn places(&self, action: &str) -> Vec<Place<'_>> {
        let mut all = Vec::new();
        for host in &self.tables.hosts {
            self.walk((host, action), host.root, &mut Vec::new(), &mut all);
        }
        all.truncate(PATTERNS_MAX);
        all
    }

    fn walk<'a>(
        &'a self,
        (host, action): (&'a HostRule, &str),
        node: u32,
        path: &mut Vec<Step<'a>>,
        into: &mut Vec<Place<'a>>,
    ) {
        let Some(node): Option<&Node> = self.tables.nodes.get(node as usize) else { return };
        let routes = node.routes.iter().filter_map(|index| self.tables.routes.get(*index as usize));
        let mine = routes.filter(|route| self.action_of(route).is_some_and(|known| known.id.as_str() == action));
        into.extend(mine.map(|route| Place { host, steps: path.clone(), route }));
        if path.len() >= DEPTH_MAX {
            return;
        }
        let literals = node.literals.iter().map(|(text, next)| (Step::Literal(text), *next));
        let others = [node.one, node.many].into_iter().flatten().map(|next| (Step::Capture, next));
        for (step, next) in literals.chain(others) {
            path.push(step);
            self.walk((host, action), next, path, into);
            path.pop();
        }
    }

    /// Values that make the resource and the facts of a call, one set for each way in which its form could come about.
    fn values(&self, place: &Place<'_>, call: &Call) -> Vec<Values> {
        let templates = self.tables.templates.get(place.route.template as usize).map_or(&[][..], Vec::as_slice);
        let mut bases: Vec<Values> =
            templates.iter().filter_map(|pieces| named(pieces, call.resource.as_str())).collect();
        if templates.is_empty() {
            bases.push(Values::default());
        }
        let reading = self.reading(place.route);
        let mut all = Vec::new();
        for mut base in bases {
            base.facts(reading, call);
            base.tests(&place.route.conditions);
            let whens: Vec<&[Test]> = place.route.when.iter().map(|when| when.tests.as_slice()).collect();
            let mut every = base.clone();
            for tests in &whens {
                let mut one = base.clone();
                one.tests(tests);
                every.tests(tests);
                all.push(one);
            }
            all.push(base);
            all.push(every);
        }
        all
    }

    fn write(&self, place: &Place<'_>, values: &Values) -> Option<Example> {
        let method = match place.route.verb {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Post | Verb::Any => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
            Verb::Options => "OPTIONS",
        };
        let (name, base) = (&place.host.name, &place.host.base);
        let mut url = if place.host.wildcard { format!("https://any.{name}") } else { format!("https://{name}") };
        let port = place.host.ports.first().copied().unwrap_or(443);
        if port != 443 {
            let _ = write!(url, ":{port}");
        }
        let mut captures = (0u8..).map(|at| values.captures.get(&at).map_or(ANY, String::as_str));
        for segment in base {
            let _ = write!(url, "/{segment}");
        }
        for step in &place.steps {
            match step {
                Step::Literal(text) => {
                    let _ = write!(url, "/{text}");
                }
                Step::Capture => {
                    for part in captures.next()?.split('/') {
                        let _ = write!(url, "/{}", encoded(part));
                    }
                }
            }
        }
        let mut mark = '?';
        for (name, value) in &values.query {
            let _ = write!(url, "{mark}{}={}", encoded(name), encoded(value));
            mark = '&';
        }
        let (content_type, body) = self.body(place.route, values)?;
        Some(Example { method, url, content_type, body })
    }

    fn body(&self, route: &Route, values: &Values) -> Option<(Option<&'static str>, Option<String>)> {
        if values.body.is_empty() {
            return Some((None, None));
        }
        let wants = &self.reading(route)?.wants;
        let json = self.tables.accepts.iter().any(|kind| matches!(kind, Accepts::Json | Accepts::AnyAsJson));
        if json {
            let mut object = Map::new();
            for (at, value) in &values.body {
                put(&mut object, wants.get(usize::from(*at))?, value.clone());
            }
            return Some((Some("application/json"), Some(Value::Object(object).to_string())));
        }
        let mut text = String::new();
        for (at, value) in &values.body {
            let path = wants.get(usize::from(*at))?;
            let mut name = path.first()?.to_string();
            for part in path.iter().skip(1) {
                let _ = write!(name, "[{part}]");
            }
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let mark = if text.is_empty() { "" } else { "&" };
            let _ = write!(text, "{mark}{}={}", encoded(&name), encoded(&value));
        }
        Some((Some("application/x-www-form-urlencoded"), Some(text)))
    }
}

impl Values {
    fn set(&mut self, source: &Source, value: Value) {
        let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match source {
            Source::Capture(at) => {
                self.captures.entry(*at).or_insert_with(text);
            }
            Source::Query(name) => {
                self.query.entry(name.to_string()).or_insert_with(text);
            }
            Source::Body(at) => {
                self.body.entry(*at).or_insert(value);
            }
            // No fact and no resource is made of a field.
            Source::Header(_) => {}
        }
    }

    fn facts(&mut self, reading: Option<&Reading>, call: &Call) {
        for rule in reading.into_iter().flat_map(|reading| &reading.facts) {
            let value = match call.facts.get(&rule.name) {
                Some(Fact::Text(text)) => Value::from(&**text),
                Some(Fact::Int(number)) => Value::from(*number),
                Some(Fact::Bool(flag)) => Value::from(*flag),
                Some(Fact::List(items)) => items.iter().map(|item| Value::from(&**item)).collect(),
                Some(Fact::Unknown(_)) | None => continue,
            };
            self.set(&rule.source, value);
        }
    }

    fn tests(&mut self, tests: &[Test]) {
        for test in tests {
            let value = match &test.holds {
                Holds::Present => ANY,
                Holds::Is(words) | Holds::Starts(words) | Holds::Lines(words) | Holds::Under(words) => {
                    words.first().map_or(ANY, String::as_str)
                }
                Holds::Absent => continue,
            };
            let value = match value {
                "true" => Value::from(true),
                "false" => Value::from(false),
                text => Value::from(text),
            };
            self.set(&test.source, value);
        }
    }
}

/// The values that a template needs to be this resource.
fn named(pieces: &[Piece], resource: &str) -> Option<Values> {
    let mut values = Values::default();
    let mut rest = resource;
    let mut at = pieces.iter().peekable();
    while let Some(piece) = at.next() {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(&**text)?,
            Piece::Value { source, prefix, .. } => {
                let end = match at.peek() {
                    Some(Piece::Text(text)) => rest.find(&**text)?,
                    Some(Piece::Value { .. }) => return None,
                    None => rest.len(),
                };
                let (value, after) = rest.split_at_checked(end)?;
                if value.is_empty() {
                    return None;
                }
                values.set(source, Value::from(format!("{prefix}{value}")));
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(values)
}

/// Puts a value at a place in an object.
fn put(object: &mut Map<String, Value>, path: &[Box<str>], value: Value) {
    match path {
        [] => {}
        [last] => {
            object.insert(last.to_string(), value);
        }
        [first, more @ ..] => {
            let inner = object.entry(first.to_string()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, more, value);
            }
        }
    }
}

/// Percent-encoded but for what is reserved for nothing (RFC 3986 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
