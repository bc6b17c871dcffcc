//! What undoing an import needs: which file refers to which credential. The values themselves lie sealed in the vault; nothing here
//! is secret. But undoing writes secrets into the files that are named here, so that the list is sealed too: one that somebody
//! else changed, or that came with a backup from elsewhere, is refused (row J140).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use aws_lc_rs::hmac;
use model::{CredentialName, Digest};
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

/// The one form that is known.
const VERSION: u32 = 2;

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    imports: Vec<Vec<Change>>,
    /// HMAC-SHA-256 over `imports` as compact JSON.
    seal: Digest,
}

/// Every import that was not undone, the newest last.
pub struct Imports {
    imports: Vec<Vec<Change>>,
    key: hmac::Key,
}

impl Imports {
    /// Reads them; none where nothing was imported. `seed` is the home's own.
    ///
    /// # Errors
    /// The file is damaged, or was not written by this home.
    pub fn read(path: &Path, seed: &[u8; 32]) -> anyhow::Result<Self> {
        let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), b"valetkey imports");
        let mut imports = Self { imports: Vec::new(), key: hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()) };
        let Some(bytes) = read_bounded(path, FILE_BYTES_MAX)? else { return Ok(imports) };
        let kept: Kept = serde_json::from_slice(&bytes).with_context(|| {
            format!("`{}` is damaged; move it away to import again, which undoes nothing", path.display())
        })?;
        anyhow::ensure!(
            kept.version == VERSION,
            "`{}` has version {}, and this program knows {VERSION}; undo with the program that imported",
            path.display(),
            kept.version
        );
        if hmac::verify(&imports.key, &serde_json::to_vec(&kept.imports)?, &kept.seal.0).is_err() {
            anyhow::bail!(
                "`{}` is not as this home wrote it, and undoing by it could write secrets into files of somebody else's choice, so \
                 nothing was done; restore it from a backup of this home, or move it away: the values stay in the vault",
                path.display()
            );
        }
        imports.imports = kept.imports;
        Ok(imports)
    }

    /// Adds one, or takes the last one away.
    ///
    /// # Errors
    /// The home cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut seal = [0u8; 32];
        seal.copy_from_slice(hmac::sign(&self.key, &serde_json::to_vec(&self.imports)?).as_ref());
        let kept = Kept { version: VERSION, imports: self.imports.clone(), seal: Digest(seal) };
        write_private(path, &serde_json::to_vec_pretty(&kept)?)
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
    fn a_list_that_was_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imports.json");
        let change =
            |file: &str| Change { path: file.into(), credential: CredentialName::new("github-token").unwrap() };
        let mut imports = Imports::read(&path, &[7; 32]).unwrap();
        imports.push(vec![change("/home/ada/.env"), change("/home/ada/b.env")]);
        imports.write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let read = || Imports::read(&path, &[7; 32]).map(|imports| imports.imports);
        assert_eq!(read().unwrap(), [vec![change("/home/ada/.env"), change("/home/ada/b.env")]]);
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                std::fs::write(&path, &bad).unwrap();
                // What is between the words of JSON means nothing.
                assert!(read().map_or(true, |read| read == imports.imports), "octet {at}, bit {bit}");
            }
        }
        let text = String::from_utf8(whole.clone()).unwrap();
        for (from, to, told) in [
            ("/home/ada/b.env", "/tmp/theirs", "not as this home wrote it"),
            ("github-token", "stripe-token", "not as this home wrote it"),
            ("\"version\": 2", "\"version\": 3", "has version 3"),
            ("{", "", "is damaged"),
        ] {
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let error = format!("{:#}", read().unwrap_err());
            assert!(error.contains(told) && error.contains("imports.json"), "{error}");
        }
        // One of another home.
        std::fs::write(&path, &whole).unwrap();
        assert!(Imports::read(&path, &[8; 32]).is_err());
    }

    #[test]
    fn whole_references_alone() {
        let text = b"A=valetkey://a\nB=valetkey://a-2 \"valetkey://a\"valetkey://a";
        let out = replace(text, b"valetkey://a", b"v");
        assert_eq!(out, b"A=v\nB=valetkey://a-2 \"v\"v");
    }
}
