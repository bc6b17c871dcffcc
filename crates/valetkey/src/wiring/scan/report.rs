//! What was found, for people and for programs. Never a value.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Exposed, Seen};

/// Lines for people.
pub fn text(seen: &Seen) -> Vec<String> {
    let mut lines: Vec<String> = seen.found.iter().map(line).collect();
    let files = seen.found.iter().map(|one| &one.path).collect::<BTreeSet<_>>().len();
    let looked = match (seen.files, seen.changes) {
        (files, 0) => count(files, "file"),
        (0, changes) => count(changes, "change"),
        (files, changes) => format!("{} and {}", count(files, "file"), count(changes, "change")),
    };
    let known = if seen.known > 0 { format!(", {} more in the baseline", seen.known) } else { String::new() };
    lines.push(match seen.found.len() {
        0 => format!("no exposed secret in {looked}{known}"),
        1 => format!("1 exposed secret in {looked}{known}"),
        found => format!("{found} exposed secrets in {files} of {looked}{known}"),
    });
    if seen.cut {
        lines.push("there are more; look at a part of the tree".to_owned());
    }
    if !seen.found.is_empty() {
        lines.push(
            "revoke each at its service, then take it out; `valetkey:allow` on its line or a baseline keeps one that is meant"
                .to_owned(),
        );
    }
    lines
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn line(one: &Exposed) -> String {
    let Exposed { path, commit, finding, .. } = one;
    let commit =
        commit.as_deref().and_then(|hash| hash.get(..12)).map(|hash| format!(" (commit {hash})")).unwrap_or_default();
    let name = finding.name.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
    format!(
        "{path}:{}:{}{commit}: {} {}{name} [{}, {}]",
        finding.line,
        finding.column,
        finding.kind.title,
        finding.preview,
        finding.kind.name,
        finding.certainty.as_str()
    )
}

/// The whole as one object; documented in docs/guide/scan.md, fields are only ever added.
pub fn json(seen: &Seen) -> Value {
    let findings = seen.found.iter().map(|one| {
        let finding = &one.finding;
        json!({
            "kind": finding.kind.name,
            "title": finding.kind.title,
            "certainty": finding.certainty.as_str(),
            "path": one.path,
            "commit": one.commit,
            "line": finding.line,
            "column": finding.column,
            "name": finding.name,
            "preview": finding.preview,
            "fingerprint": finding.fingerprint.to_string(),
        })
    });
    json!({
        "version": 1,
        "findings": findings.collect::<Vec<_>>(),
        "in_baseline": seen.known,
        "files": seen.files,
        "changes": seen.changes,
        "octets": seen.octets,
        "binary": seen.binary,
        "left_out": seen.left_out,
        "cut": seen.cut,
    })
}
