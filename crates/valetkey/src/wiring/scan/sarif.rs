//! SARIF 2.1.0 (OASIS), as code hosts take it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Exposed, Seen};

/// The log of one run.
pub fn sarif(seen: &Seen) -> Value {
    let kinds: BTreeMap<&str, Value> = seen
        .found
        .iter()
        .map(|one| {
            let kind = &one.finding.kind;
            let rule = json!({
                "id": kind.name,
                "name": kind.name,
                "shortDescription": { "text": kind.title },
                "helpUri": kind.source,
                "defaultConfiguration": { "level": "error" },
            });
            (kind.name.as_str(), rule)
        })
        .collect();
    let place_of = |name: &str| kinds.keys().position(|known| *known == name);
    let results: Vec<Value> = seen.found.iter().map(|one| result(one, place_of(&one.finding.kind.name))).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "valetkey",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": kinds.values().collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    })
}

fn result(one: &Exposed, rule: Option<usize>) -> Value {
    let Exposed { path, commit, finding, .. } = one;
    let level = if finding.certainty == scan::Certainty::Likely { "warning" } else { "error" };
    let place = json!({ "physicalLocation": {
        "artifactLocation": { "uri": address(path) },
        "region": { "startLine": finding.line, "startColumn": finding.column },
    }});
    json!({
        "ruleId": finding.kind.name,
        "ruleIndex": rule,
        "level": level,
        "message": { "text": format!("{} {} is exposed; revoke it at its service and take it out", finding.kind.title, finding.preview) },
        "locations": [place],
        "partialFingerprints": { "valetkeySecret/v1": finding.fingerprint.to_string() },
        "properties": { "commit": commit, "certainty": finding.certainty.as_str() },
    })
}

/// A path as a relative reference (RFC 3986): what is not unreserved or a slash is encoded.
fn address(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for octet in path.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet) {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}
