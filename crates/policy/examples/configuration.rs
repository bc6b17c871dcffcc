//! Prints the reference of the configuration, from its schema; `cargo xtask codegen` keeps it in `docs/reference`.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use serde_json::{Map, Value};

const HEAD: &str = "# Configuration

Every key of `valetkey.yaml`. Generated from the code by `cargo xtask codegen`; do not edit by hand. Editors read the same from
[configuration.schema.json](configuration.schema.json).
";

fn main() {
    let schema = policy::document::json_schema();
    let schema = serde_json::to_value(schema).unwrap_or_default();
    print!("{HEAD}");
    print!("{}", section("The file", &schema));
    // In the order in which a reader meets them.
    let (mut open, mut seen) = (references(&schema_without_parts(&schema)), BTreeSet::new());
    while let Some(name) = open.pop_front() {
        let Some(part) = schema.pointer(&format!("/$defs/{name}")).filter(|_| seen.insert(name.clone())) else {
            continue;
        };
        print!("{}", section(&name, part));
        open.extend(references(part));
    }
}

fn schema_without_parts(schema: &Value) -> Value {
    schema.get("properties").cloned().unwrap_or_default()
}

/// The parts that a schema names, in order.
fn references(schema: &Value) -> VecDeque<String> {
    let mut found = VecDeque::new();
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(name_of));
                open.extend(map.values().rev());
            }
            Value::Array(list) => open.extend(list.iter().rev()),
            _ => {}
        }
    }
    found
}

fn name_of(reference: &str) -> String {
    reference.rsplit('/').next().unwrap_or_default().to_owned()
}

fn section(title: &str, schema: &Value) -> String {
    let mut out = format!("\n## {title}\n");
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let _ = write!(out, "\n{}\n", sentence(text));
    }
    if let Some(keys) = schema.get("properties").and_then(Value::as_object) {
        out += &keys_of(keys, schema.get("required").and_then(Value::as_array));
    } else if let Some(words) = schema.get("oneOf").and_then(Value::as_array) {
        out += "\n| word | meaning |\n|---|---|\n";
        for word in words {
            let _ = writeln!(out, "| {} | {} |", kind(word), text(word));
        }
    } else {
        let _ = write!(out, "\n{}\n", kind(schema));
    }
    out
}

fn keys_of(keys: &Map<String, Value>, required: Option<&Vec<Value>>) -> String {
    let mut out = String::from("\n| key | value | meaning |\n|---|---|---|\n");
    for (key, schema) in keys {
        let must = required.is_some_and(|list| list.iter().any(|one| one.as_str() == Some(key)));
        let _ =
            writeln!(out, "| `{key}`{} | {} | {} |", if must { " (needed)" } else { "" }, kind(schema), text(schema));
    }
    out
}

fn text(schema: &Value) -> String {
    sentence(schema.get("description").and_then(Value::as_str).unwrap_or_default())
}

/// As a sentence that can stand in a table.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.is_empty() || text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

/// What may stand there, in words.
fn kind(schema: &Value) -> String {
    let any = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key).and_then(Value::as_array));
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = name_of(reference);
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(word) = schema.get("const") {
        return code(word);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter(|word| !word.is_null()).map(code).collect::<Vec<_>>().join(", ");
    }
    if let Some(any) = any {
        let kinds: Vec<String> = any.iter().map(kind).filter(|kind| !kind.is_empty()).collect();
        return kinds.join(" or ");
    }
    let names = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => vec!["anything"],
    };
    let kinds = names.into_iter().filter(|name| *name != "null").map(|name| match (name, schema) {
        ("array", _) => format!("list of {}", schema.get("items").map(kind).unwrap_or_default()),
        ("object", _) => match schema.get("additionalProperties").filter(|value| value.is_object()) {
            Some(of) => format!("map of names to {}", kind(of)),
            None => "map".to_owned(),
        },
        ("string", _) => "text".to_owned(),
        ("integer", _) => "whole number".to_owned(),
        ("boolean", _) => "`true` or `false`".to_owned(),
        (other, _) => other.to_owned(),
    });
    kinds.collect::<Vec<_>>().join(" or ")
}

fn code(word: &Value) -> String {
    format!("`{}`", word.as_str().map_or_else(|| word.to_string(), str::to_owned))
}
