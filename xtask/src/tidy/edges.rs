//! Who may import whom (ARCHITECTURE.md): only lower rings, and not every lower ring.

use std::path::Path;

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// One dependency of one of our crates.
#[derive(Debug, PartialEq, Eq)]
pub struct Edge {
    /// Our crate.
    pub from: String,
    /// What it imports: ours or a library.
    pub to: String,
    /// Whether it is one of ours.
    pub ours: bool,
    /// Whether only its tests import it.
    pub dev: bool,
}

const RING_2: &[&str] = &["approval", "audit", "monitor", "solver", "store", "vault"];

/// Each crate and the crates of ours that it may import. What is not here may import nothing of ours.
const MAY: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("secret", &["model"]),
    ("policy", &["model", "secret"]),
    ("catalog", &["model"]),
    ("inject", &["model", "secret"]),
    ("scan", &["model"]),
    ("solver", &["policy"]),
    ("store", &["model", "policy"]),
    ("vault", &["model", "secret", "policy", "store"]),
    ("approval", &["model", "secret", "policy", "store"]),
    ("audit", &["model", "store"]),
    ("monitor", &["model", "store", "audit"]),
    ("proxy", &["model", "secret", "policy", "catalog", "inject", "approval", "audit", "monitor", "store", "vault"]),
    ("api", &["model", "secret", "policy", "catalog", "approval", "audit", "monitor", "store", "vault"]),
    ("sandbox", &["model"]),
    ("testkit", &["model"]),
    ("e2e", &["model", "testkit"]),
    ("fuzz", &["model", "secret", "policy", "catalog", "inject", "scan", "approval", "vault", "audit", "proxy"]),
    ("xtask", &[]),
];

/// Libraries that only some crates may know, each with the reason.
const ONLY: &[(&str, &[&str], &str)] = &[
    ("rusqlite", &["store"], "only store knows SQL"),
    (
        "tokio-postgres",
        &["store", "vault"],
        "only store knows SQL, but for the roles that vault makes at a user's server",
    ),
    ("deadpool-postgres", &["store"], "only store knows SQL"),
    ("cedar-policy", &["policy", "solver"], "policy alone decides, solver asks about its rules"),
    ("cedar-policy-symcc", &["solver"], "policy does no I/O, and this starts a program"),
    ("anyhow", &["valetkey", "xtask", "e2e"], "libraries have an error type of their own"),
    ("clap", &["valetkey", "xtask"], "only programs have arguments"),
];

/// Libraries that mean I/O, a clock or a runtime; rings 0 and 1 do without.
const IO: &[&str] = &["tokio", "hyper", "hyper-util", "tokio-rustls", "rustls", "socket2", "hickory-resolver", "axum"];
/// Of these, what a pure crate may know all the same: rustls speaks to no socket, and a key that it signs with is made where the octets of the
/// private key may be seen.
const BUT: &[(&str, &str)] = &[("inject", "rustls")];
const PURE: &[&str] = &["model", "secret", "policy", "catalog", "inject", "scan"];

/// Every dependency of every member.
pub fn of_workspace(root: &Path) -> Result<Vec<Edge>> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let names: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut edges = Vec::new();
    for package in &metadata.packages {
        for dependency in &package.dependencies {
            edges.push(Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                ours: names.contains(&dependency.name.as_str()),
                dev: dependency.kind == DependencyKind::Development,
            });
        }
    }
    Ok(edges)
}

/// The edges that the architecture does not have.
pub fn check(edges: &[Edge]) -> Vec<String> {
    edges.iter().filter_map(|edge| wrong(edge).map(|why| format!("edge {} -> {}: {why}", edge.from, edge.to))).collect()
}

fn wrong(edge: &Edge) -> Option<String> {
    let (from, to) = (edge.from.as_str(), edge.to.as_str());
    if edge.ours {
        return wrong_of_ours(edge);
    }
    if edge.dev {
        return None;
    }
    if let Some((_, who, why)) = ONLY.iter().find(|(library, ..)| *library == to)
        && !who.contains(&from)
    {
        return Some((*why).to_owned());
    }
    (PURE.contains(&from) && IO.contains(&to) && !BUT.contains(&(from, to)))
        .then(|| "rings 0 and 1 do no I/O and have no runtime".to_owned())
}

fn wrong_of_ours(edge: &Edge) -> Option<String> {
    let (from, to) = (edge.from.as_str(), edge.to.as_str());
    if edge.dev {
        // Tests may use the kit; anything else they import must be importable.
        return (to != "testkit" && !may(from, to)).then(|| "not even in tests".to_owned());
    }
    if to == "testkit" && from != "e2e" {
        return Some("testkit is for tests alone".to_owned());
    }
    if may(from, to) {
        return None;
    }
    let lower = RING_2.contains(&from) && RING_2.contains(&to);
    Some(if lower { "inside ring 2 all stand on store".to_owned() } else { "not a lower ring of the map".to_owned() })
}

fn may(from: &str, to: &str) -> bool {
    // The one binary wires everything together.
    from == "valetkey" && to != "testkit" && to != "xtask"
        || MAY.iter().any(|(name, list)| *name == from && list.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str, ours: bool, dev: bool) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), ours, dev }
    }

    #[test]
    fn what_the_map_does_not_have_is_refused() {
        for (from, to, ours, dev) in [
            ("policy", "catalog", true, false),
            ("model", "secret", true, false),
            ("store", "secret", true, false),
            ("audit", "vault", true, false),
            ("proxy", "api", true, false),
            ("api", "proxy", true, false),
            ("proxy", "testkit", true, false),
            ("catalog", "inject", true, true),
            ("proxy", "rusqlite", false, false),
            ("policy", "tokio", false, false),
            ("vault", "anyhow", false, false),
            ("a-new-one", "model", true, false),
        ] {
            assert_eq!(check(&[edge(from, to, ours, dev)]).len(), 1, "{from} -> {to}");
        }
    }

    #[test]
    fn what_the_map_has_passes() {
        for (from, to, ours, dev) in [
            ("valetkey", "proxy", true, false),
            ("vault", "policy", true, false),
            ("proxy", "testkit", true, true),
            ("store", "rusqlite", false, false),
            ("policy", "tokio", false, true),
        ] {
            assert_eq!(check(&[edge(from, to, ours, dev)]), Vec::<String>::new(), "{from} -> {to}");
        }
    }
}
