//! What is known already: findings by fingerprint and file, in a file that can be committed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::Seen;
use crate::config::read_bounded;

/// A baseline of a hundred thousand findings.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    findings: BTreeSet<Entry>,
}

/// A finding that is known, wherever in its file it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Entry {
    path: String,
    kind: String,
    fingerprint: String,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Baseline {
    known: BTreeSet<Entry>,
}

impl Baseline {
    /// Reads one.
    ///
    /// # Errors
    /// There is none, or it is of another make.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let bytes = read_bounded(path, FILE_BYTES_MAX)?
            .with_context(|| format!("the baseline `{shown}` does not exist; make it with --write-baseline {shown}"))?;
        let written: Written = serde_json::from_slice(&bytes)
            .with_context(|| format!("`{shown}` is not a baseline; make one with --write-baseline"))?;
        if written.version != 1 {
            bail!(
                "the baseline `{shown}` has version {}, this program knows 1; make a new one with --write-baseline",
                written.version
            );
        }
        Ok(Self { known: written.findings })
    }

    /// Takes out what is known.
    pub fn apply(&self, seen: &mut Seen) {
        let before = seen.found.len();
        seen.found.retain(|one| !self.known.contains(&entry(one)));
        seen.known += before - seen.found.len();
    }

    /// What was found now, as a file.
    ///
    /// # Errors
    /// Never in practice: it is all text.
    pub fn write(seen: &Seen) -> anyhow::Result<String> {
        let written = Written { version: 1, findings: seen.found.iter().map(entry).collect() };
        Ok(serde_json::to_string_pretty(&written)? + "\n")
    }
}

fn entry(one: &super::Exposed) -> Entry {
    let finding = &one.finding;
    Entry { path: one.path.clone(), kind: finding.kind.name.clone(), fingerprint: finding.fingerprint.to_string() }
}
