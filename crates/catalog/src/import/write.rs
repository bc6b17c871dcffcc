//! The draft as text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use model::{Class, Effects};

use super::guess::{Guess, singular, words};
use super::{Found, Operation};

/// A request, its body, and what it must be.
type Case = (String, Option<String>, String);

/// Writes the file.
pub(super) fn yaml(found: &Found, (name, host, at): (&str, &str, &str), cases: &[Case]) -> String {
    let mut out = String::from(
        "# A draft, made of the service's own description. Names, paths and types are the description's; classes, effects and\n\
         # resources are guesses from names. Look at every `review` before a policy leans on it, and then take the mark away.\n",
    );
    let _ = writeln!(out, "name: {name}\ntitle: {}", quoted(&found.title));
    if let Some(docs) = &found.docs {
        let _ = writeln!(out, "docs: {}", quoted(docs));
    }
    let port = found.port.map(|port| format!(", ports: [{port}]")).unwrap_or_default();
    let base = if found.base.is_empty() { String::new() } else { format!(", base: {}", quoted(&found.base)) };
    let _ = writeln!(out, "hosts: [{{ host: {}{port}{base} }}]", quoted(host));
    let schemes: Vec<String> = found.schemes.iter().map(|scheme| format!("{{ {scheme} }}")).collect();
    let _ = writeln!(out, "schemes: [{}]", schemes.join(", "));
    let variable = name.to_ascii_uppercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let _ = writeln!(
        out,
        "environment: [{variable}_TOKEN, {variable}_API_KEY]   # review: what the service's own clients read"
    );
    if !found.accepts.is_empty() && found.accepts != ["json"] {
        let _ = writeln!(out, "accepts: [{}]", found.accepts.join(", "));
    }
    if found.is_mcp {
        tools(found, at, &mut out);
    } else {
        operations(found, &mut out);
    }
    actions(found, &mut out);
    if !cases.is_empty() {
        out.push_str("# What the draft takes each request for.\ncases:\n");
    }
    for (request, body, expect) in cases {
        let body = body.as_ref().map(|body| format!(", body: {}", quoted(body))).unwrap_or_default();
        let _ = writeln!(out, "  - {{ request: {}{body}, expect: {} }}", quoted(request), quoted(expect));
    }
    out
}

fn tools(found: &Found, at: &str, out: &mut String) {
    let _ = writeln!(out, "mcp:\n  at: {}\n  tools: |", quoted(at));
    for operation in &found.operations {
        for why in reasons(&operation.guess) {
            let _ = writeln!(out, "    # review: {} {why}", operation.path);
        }
        let strength = strength(operation.guess.class, operation.guess.effects);
        let _ = writeln!(out, "    {} {strength}:{}", operation.path, operation.id);
    }
}

fn operations(found: &Found, out: &mut String) {
    areas(found, out);
    let mut groups: BTreeMap<(Class, Vec<&str>), Vec<&Operation>> = BTreeMap::new();
    for operation in found.operations.iter().filter(|operation| !reasons(&operation.guess).is_empty()) {
        let effects = operation.guess.effects.iter().map(model::Effect::as_str).collect();
        groups.entry((operation.guess.class, effects)).or_default().push(operation);
    }
    if !groups.is_empty() {
        out.push_str("groups:\n");
    }
    for ((class, effects), members) in groups {
        for why in members.iter().flat_map(|member| reasons(&member.guess)).collect::<BTreeSet<_>>() {
            let of: Vec<&str> =
                members.iter().filter(|one| reasons(&one.guess).contains(&why)).map(|one| one.id.as_str()).collect();
            let _ = writeln!(out, "  # review: {why}: {}", of.join(", "));
        }
        let ids: Vec<String> = members.iter().map(|one| quoted(&one.id)).collect();
        let effects = if effects.is_empty() { String::new() } else { format!(", effects: [{}]", effects.join(", ")) };
        let _ = writeln!(out, "  - {{ actions: [{}], class: {class}{effects} }}", ids.join(", "));
    }
    out.push_str("operations: |\n");
    for operation in &found.operations {
        let _ = writeln!(out, "  {} {} {}", operation.id, operation.method, operation.path);
    }
}

/// Resources: what stands under `/things/{id}` is a `thing`, inside of what it stands under.
fn areas(found: &Found, out: &mut String) {
    let mut parents: BTreeMap<String, String> = BTreeMap::new();
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let mut lines: Vec<String> = Vec::new();
    for operation in &found.operations {
        let (mut prefix, mut shape, mut before) = (String::new(), String::new(), "");
        let (mut parameters, mut parent): (Vec<&str>, Option<String>) = (Vec::new(), None);
        let mut segments = operation.path.split('/').filter(|segment| !segment.is_empty()).peekable();
        while let Some(segment) = segments.next() {
            let _ = write!(prefix, "/{segment}");
            let Some(parameter) = parameter_of(segment) else {
                let _ = write!(shape, "/{segment}");
                before = segment;
                continue;
            };
            shape.push_str("/{}");
            parameters.push(parameter);
            // `/repos/{owner}/{repo}`: the two are one name.
            if segments.peek().is_some_and(|next| parameter_of(next).is_some()) {
                continue;
            }
            if let Some(known) = kinds.get(&shape) {
                parent = Some(known.clone());
                continue;
            }
            let kind = kind(&kinds, parent.as_deref(), [before, parameter]);
            let path = parameters.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join("/");
            lines.push(format!(
                "  - {{ under: {}, resource: {} }}",
                quoted(&prefix),
                quoted(&format!("{kind}:{path}"))
            ));
            if let Some(parent) = &parent {
                parents.insert(kind.clone(), parent.clone());
            }
            kinds.insert(shape.clone(), kind.clone());
            parent = Some(kind);
        }
    }
    if !parents.is_empty() {
        let all: Vec<String> = parents.iter().map(|(kind, parent)| format!("{kind}: {parent}")).collect();
        let _ = writeln!(out, "parents: {{ {} }}   # review", all.join(", "));
    }
    if !lines.is_empty() {
        let _ = writeln!(out, "areas:   # review\n{}", lines.join("\n"));
    }
}

fn parameter_of(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// A name for what stands at a place. A kind is in one place: two that would have one name are told apart by what they are in.
fn kind(known: &BTreeMap<String, String>, parent: Option<&str>, sources: [&str; 2]) -> String {
    let taken = |kind: &str| kind == "resource" || known.values().any(|known| known == kind);
    let last = |source: &str| words(source).last().map(|word| singular(word)).filter(|word| !word.is_empty());
    let mut kind = last(sources[0]).or_else(|| last(sources[1])).unwrap_or_else(|| "thing".to_owned());
    if taken(&kind) {
        kind = format!("{}-{kind}", parent.unwrap_or("other"));
    }
    let (stem, mut count) = (kind.clone(), 2);
    while taken(&kind) {
        kind = format!("{stem}-{count}");
        count += 1;
    }
    kind
}

/// Facts and sentences of what is no read.
fn actions(found: &Found, out: &mut String) {
    let told = |operation: &&Operation| {
        operation.guess.class != Class::Read && (operation.summary.is_some() || !operation.facts.is_empty())
    };
    let all: Vec<&Operation> = found.operations.iter().filter(told).collect();
    if !all.is_empty() {
        out.push_str("actions:\n");
    }
    let place = if found.is_mcp { "arguments" } else { "body" };
    for operation in all {
        let mut parts = vec![format!("id: {}", quoted(&operation.id))];
        if !operation.facts.is_empty() {
            let facts: Vec<String> = operation
                .facts
                .iter()
                .map(|(name, kind)| format!("{}: {kind}", quoted(&format!("{place}.{name}"))))
                .collect();
            parts.push(format!("facts: {{ {} }}", facts.join(", ")));
        }
        if let Some(summary) = &operation.summary {
            parts.push(format!("sentence: {}", quoted(&format!("{summary} ({{resource}})"))));
        }
        let _ = writeln!(out, "  - {{ {} }}", parts.join(", "));
    }
}

/// Why it must be looked at.
fn reasons(guess: &Guess) -> Vec<&'static str> {
    let mut all = guess.why.clone();
    all.sort_unstable();
    all.dedup();
    all
}

fn strength(class: Class, effects: Effects) -> String {
    effects.iter().fold(class.to_string(), |text, effect| text + "+" + effect.as_str())
}

/// A text as YAML reads it back: a JSON string is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::to_string(&crate::visible(text)).unwrap_or_default()
}
