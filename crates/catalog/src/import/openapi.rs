//! OpenAPI 3 and Swagger 2 descriptions.

use std::collections::{BTreeSet, HashMap};

use model::Class;
use serde_json::{Map, Value};

use super::guess::guess;
use super::{FACTS_MAX, Found, ImportError, OPERATIONS_MAX, Operation, summary};

const METHODS: [&str; 7] = ["get", "head", "options", "post", "put", "patch", "delete"];
/// References that are followed to one schema.
const REFERENCES_MAX: usize = 8;

/// The operations of a document; none where it is no such description.
pub(super) fn find(document: &Value) -> Result<Option<Found>, ImportError> {
    let is = ["openapi", "swagger"].iter().any(|key| document[key].is_string() || document[key].is_number());
    let (true, Some(paths)) = (is, document["paths"].as_object()) else { return Ok(None) };
    let text = |place: &str| document.pointer(place).and_then(Value::as_str).map(str::to_owned);
    let mut found = Found {
        title: text("/info/title").and_then(|title| summary(&title)).unwrap_or_default(),
        docs: text("/externalDocs/url").filter(|url| url.starts_with("https://")),
        schemes: schemes(document),
        ..Found::default()
    };
    place(document, &mut found);
    let mut accepts = BTreeSet::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    let mut shapes: HashMap<String, usize> = HashMap::new();
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with('/')) {
        for method in METHODS {
            let Some(operation) = item.get(method).filter(|operation| operation.is_object()) else { continue };
            let (pattern, exact) = pattern(path);
            let made = one(document, (method, path, &pattern), operation, &mut accepts);
            let shape = shape(method, &pattern);
            if let Some(known) = shapes.get(&shape).and_then(|index| found.operations.get_mut(*index)) {
                known.guess.join(&made.guess);
                found.left_out.push(format!(
                    "`{} {path}`: in patterns it is the same as `{}`, which stands for both",
                    made.method, known.id
                ));
                continue;
            }
            if !exact {
                found.left_out.push(format!(
                    "`{} {path}`: text beside a parameter in one segment; the segment is a parameter now",
                    made.method
                ));
            }
            shapes.insert(shape, found.operations.len());
            let count = ids.entry(made.id.clone()).or_default();
            *count += 1;
            let id = if *count > 1 { format!("{}-{count}", made.id) } else { made.id.clone() };
            found.operations.push(Operation { id, ..made });
            if found.operations.len() > OPERATIONS_MAX {
                return Err(ImportError::TooMany);
            }
        }
    }
    found.accepts = accepts.into_iter().collect();
    Ok(Some(found))
}

/// Host, port and base path of the first server.
fn place(document: &Value, found: &mut Found) {
    if let Some(host) = document["host"].as_str() {
        let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, port.parse().ok()));
        (found.host, found.port) = (Some(name.to_ascii_lowercase()), port);
        found.base = base(document["basePath"].as_str().unwrap_or_default());
        return;
    }
    let Some(server) = document.pointer("/servers/0") else { return };
    let mut url = server["url"].as_str().unwrap_or_default().to_owned();
    for (name, variable) in server["variables"].as_object().into_iter().flatten() {
        let default = variable["default"].as_str().unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = if rest.is_empty() { url.trim_start_matches('/') } else { path };
    let (name, port) = authority.split_once(':').map_or((authority, None), |(name, port)| (name, port.parse().ok()));
    found.base = base(path);
    found.host = Some(name.to_ascii_lowercase()).filter(|name| !name.is_empty() && !name.contains(['{', '}', '@']));
    found.port = port.filter(|port| *port != 443);
}

fn base(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let plain = !path.is_empty() && !path.contains(['{', '}']) && path.split('/').all(|segment| !segment.is_empty());
    if plain { format!("/{path}") } else { String::new() }
}

fn schemes(document: &Value) -> Vec<String> {
    let declared = document.pointer("/components/securitySchemes").or_else(|| document.get("securityDefinitions"));
    let mut all: Vec<String> = Vec::new();
    for scheme in declared.and_then(Value::as_object).into_iter().flat_map(Map::values) {
        let name = scheme["name"].as_str().unwrap_or_default().to_owned();
        let kind = scheme["type"].as_str().unwrap_or_default();
        let way = scheme["scheme"].as_str().unwrap_or_default().to_ascii_lowercase();
        let line = match (kind, scheme["in"].as_str().unwrap_or_default(), way.as_str()) {
            ("http", _, "bearer") | ("oauth2" | "openIdConnect", ..) => "bearer: {}".to_owned(),
            ("http", _, "basic") | ("basic", ..) => "basic: {}".to_owned(),
            ("apiKey", "header", _) if name.eq_ignore_ascii_case("authorization") => "bearer: {}".to_owned(),
            ("apiKey", place @ ("header" | "query" | "cookie"), _) if is_token(&name) => {
                format!("{place}: {{ name: {} }}", serde_json::to_string(&name).unwrap_or_default())
            }
            _ => continue,
        };
        if !all.contains(&line) {
            all.push(line);
        }
    }
    if all.is_empty() {
        all.push("bearer: {}".to_owned());
    }
    all
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The path as a pattern, and whether every parameter was a whole segment.
fn pattern(path: &str) -> (String, bool) {
    let mut seen: Vec<String> = Vec::new();
    let mut exact = true;
    let mut out = String::new();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        out.push('/');
        if !segment.contains(['{', '}']) {
            out.push_str(&segment.replace(char::is_whitespace, "%20"));
            continue;
        }
        exact &= segment.starts_with('{') && segment.ends_with('}') && segment.matches('{').count() == 1;
        let name = segment.split(['{', '}']).nth(1).unwrap_or_default();
        let mut name: String =
            name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
        if name.is_empty() {
            name.push_str("part");
        }
        while seen.contains(&name) {
            name.push('2');
        }
        out.extend(["{", &name, "}"]);
        seen.push(name);
    }
    if out.is_empty() {
        out.push('/');
    }
    (out, exact)
}

fn shape(method: &str, pattern: &str) -> String {
    let step = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
    format!("{method} {}", pattern.split('/').map(step).collect::<Vec<_>>().join("/"))
}

fn one(
    document: &Value,
    (method, path, pattern): (&str, &str, &str),
    operation: &Value,
    accepts: &mut BTreeSet<&'static str>,
) -> Operation {
    let plain = match method {
        "get" | "head" | "options" => Class::Read,
        "delete" => Class::Delete,
        _ => Class::Write,
    };
    let id = id_of(method, pattern, operation);
    let literals = path.split('/').filter(|segment| !segment.contains('{')).collect::<Vec<_>>().join("/");
    let facts = if plain == Class::Read { Vec::new() } else { facts(document, operation, accepts) };
    Operation {
        guess: guess(plain, &[&id, &literals]),
        id,
        method: method.to_ascii_uppercase(),
        path: pattern.to_owned(),
        facts,
        summary: operation["summary"].as_str().or_else(|| operation["description"].as_str()).and_then(summary),
    }
}

/// The vendor's own operation name; made of method and path where there is none.
fn id_of(method: &str, pattern: &str, operation: &Value) -> String {
    let own = operation["operationId"].as_str().unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '/' | ':');
    let clean: String =
        own.chars().map(|letter| if allowed(letter) { letter } else { '-' }).take(100).collect::<String>();
    let clean = clean.trim_matches(['-', '/', ':', '.']).to_owned();
    // Names of the house: what no pattern knows, and other roads.
    let taken = ["http/", "mcp/", "rpc/", "graphql/", "git/", "tcp/"].iter().any(|prefix| clean.starts_with(prefix));
    if !clean.is_empty() && !taken {
        return clean;
    }
    let literals: Vec<String> = pattern
        .split('/')
        .filter(|segment| !segment.is_empty() && !segment.starts_with('{'))
        .map(super::slug)
        .filter(|segment| !segment.is_empty())
        .collect();
    let name: String = std::iter::once(method.to_owned()).chain(literals).collect::<Vec<_>>().join("-");
    format!("operations/{}", name.chars().take(80).collect::<String>())
}

/// Fields of the body, and how it travels.
fn facts(document: &Value, operation: &Value, accepts: &mut BTreeSet<&'static str>) -> Vec<(String, &'static str)> {
    let mut all = Vec::new();
    let body = resolved(document, &operation["requestBody"]);
    for (kind, content) in body["content"].as_object().into_iter().flatten() {
        let kind = kind.to_ascii_lowercase();
        let word = match kind.as_str() {
            "application/x-www-form-urlencoded" => "form",
            "multipart/form-data" => "multipart",
            _ if kind.contains("json") => "json",
            _ => continue,
        };
        accepts.insert(word);
        properties(document, &content["schema"], &mut all, 0);
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolved(document, parameter);
        match parameter["in"].as_str() {
            Some("body") => {
                accepts.insert("json");
                properties(document, &parameter["schema"], &mut all, 0);
            }
            Some("formData") => {
                accepts.insert("form");
                if let (Some(name), Some(kind)) = (parameter["name"].as_str(), kind_of(parameter)) {
                    all.push((name.to_owned(), kind));
                }
            }
            _ => {}
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|(name, _)| is_token(name) && !name.contains('.') && seen.insert(name.clone()));
    all.truncate(FACTS_MAX);
    all
}

fn properties(document: &Value, schema: &Value, out: &mut Vec<(String, &'static str)>, depth: usize) {
    if depth > REFERENCES_MAX || out.len() > FACTS_MAX {
        return;
    }
    let schema = resolved(document, schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        properties(document, part, out, depth + 1);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(kind) = kind_of(resolved(document, property)) {
            out.push((name.clone(), kind));
        }
    }
}

/// What a local reference (RFC 6901 behind `#`) leads to.
fn resolved<'d>(document: &'d Value, mut value: &'d Value) -> &'d Value {
    for _ in 0..REFERENCES_MAX {
        let Some(place) = value["$ref"].as_str().and_then(|text| text.strip_prefix('#')) else { return value };
        value = document.pointer(place).unwrap_or(&Value::Null);
    }
    &Value::Null
}

/// The type of a fact that a JSON schema lets expect; none for what is no single value or list of texts.
pub(super) fn kind_of(schema: &Value) -> Option<&'static str> {
    let named = match &schema["type"] {
        Value::String(kind) => Some(kind.as_str()),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    };
    match named? {
        "string" => Some("text"),
        "integer" => Some("int"),
        "boolean" => Some("bool"),
        "array" if kind_of(&schema["items"]) == Some("text") => Some("list"),
        _ => None,
    }
}
