//! What undoing an import needs: which file refers to which credential. The values themselves lie sealed in the vault; nothing here
//! is secret.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use model::CredentialName;
use policy::Upkeep;
use serde::{Deserialize, Serialize};

use crate::config::{REFERENCE, read_bounded, rewrite, write_private};

/// Thousands of imports.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A file in which a reference took a secret's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What it refers to.
    pub credential: CredentialName,
}

/// Every import that was not undone, the newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Imports {
    version: u32,
    imports: Vec<Vec<Change>>,
}

impl Imports {
    /// Reads them; none where nothing was imported.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let Some(bytes) = read_bounded(path, FILE_BYTES_MAX)? else {
            return Ok(Self { version: 1, ..Self::default() });
        };
        serde_json::from_slice(&bytes).with_context(|| {
            format!("`{}` is damaged; move it away to import again, which undoes nothing", path.display())
        })
    }

    /// Adds one, or takes the last one away.
    ///
    /// # Errors
    /// The home cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_private(path, &serde_json::to_vec_pretty(self)?)
    }

    /// Adds one.
    pub fn push(&mut self, changes: Vec<Change>) {
        self.imports.push(changes);
    }

    /// Takes the last one.
    pub fn pop(&mut self) -> Option<Vec<Change>> {
        self.imports.pop()
    }
}

/// Puts the values of an import back into their files; the credentials that are needed no more.
///
/// # Errors
/// A value does not open, or a file cannot be written; those before it are written.
pub async fn put_back(
    vault: &vault::Vault,
    upkeep: &Upkeep,
    changes: &[Change],
) -> anyhow::Result<BTreeSet<CredentialName>> {
    let mut files: BTreeMap<&Path, BTreeSet<&CredentialName>> = BTreeMap::new();
    for change in changes {
        files.entry(&change.path).or_default().insert(&change.credential);
    }
    for (path, names) in files {
        let before = read_bounded(path, FILE_BYTES_MAX)?.with_context(|| {
            format!("`{}` is gone; put it back, or take its values from their services anew", path.display())
        })?;
        let mut after = before.clone();
        for name in names {
            let within = || format!("the value of `{name}` for `{}`", path.display());
            let reference = format!("{REFERENCE}{name}");
            vault
                .put_back(upkeep, name, &mut |value| after = replace(&after, reference.as_bytes(), value))
                .await
                .with_context(within)?;
        }
        if after != before {
            rewrite(path, &before, &after)?;
        }
    }
    Ok(changes.iter().map(|change| change.credential.clone()).collect())
}

/// Every whole occurrence of a reference; `valetkey://a` is no part of `valetkey://a-2`.
fn replace(text: &[u8], reference: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + value.len());
    let mut rest = text;
    while let Some(octet) = rest.first() {
        let tail = rest.strip_prefix(reference);
        let whole =
            tail.filter(|tail| !tail.first().is_some_and(|next| next.is_ascii_alphanumeric() || b"-_.".contains(next)));
        if let Some(tail) = whole {
            out.extend_from_slice(value);
            rest = tail;
        } else {
            out.push(*octet);
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_references_alone() {
        let text = b"A=valetkey://a\nB=valetkey://a-2 \"valetkey://a\"valetkey://a";
        let out = replace(text, b"valetkey://a", b"v");
        assert_eq!(out, b"A=v\nB=valetkey://a-2 \"v\"v");
    }
}
