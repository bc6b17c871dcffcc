//! The files below a path.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// More files than any tree of a person has; a mount of a data centre is named in parts.
const FILES_MAX: usize = 4_000_000;

/// A file to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// How it is shown: as the user named it, or relative to the current folder.
    pub shown: String,
    /// Where it is.
    pub path: PathBuf,
}

/// What was found below the named paths.
#[derive(Debug, Default)]
pub struct Tree {
    /// Files, each once.
    pub files: BTreeSet<Target>,
    /// Folders that could not be read, for the user.
    pub unreadable: Vec<String>,
}

impl Tree {
    /// Adds a file, or everything below a folder. Links are not followed, except the path itself; `.git` is left out, because
    /// what it holds is packed and `--git` reads it.
    ///
    /// # Errors
    /// The path does not exist, or there are more files than can be kept.
    pub fn add(&mut self, base: &Path, named: &Path, ignored: bool) -> anyhow::Result<()> {
        let path = base.join(named);
        let state = fs::metadata(&path).with_context(|| {
            format!("`{}` cannot be looked at; check the path and its permissions", named.display())
        })?;
        let shown = named.strip_prefix("./").unwrap_or(named).to_string_lossy().into_owned();
        if !state.is_dir() {
            if state.is_file() {
                self.files.insert(Target { shown, path });
            }
            return Ok(());
        }
        if ignored && let Some(listed) = super::git::listed(&path)? {
            for name in listed {
                let file = path.join(&name);
                if fs::symlink_metadata(&file).is_ok_and(|state| state.is_file()) {
                    self.files.insert(Target { shown: join(&shown, &name), path: file });
                }
            }
            return Ok(());
        }
        let mut folders = vec![(path, if shown == "." { String::new() } else { shown })];
        while let Some((folder, shown)) = folders.pop() {
            self.folder(&folder, &shown, &mut folders)?;
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, shown: &str, folders: &mut Vec<(PathBuf, String)>) -> anyhow::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable.push(format!("{shown}: {error}"));
                return Ok(());
            }
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            let (path, shown) = (entry.path(), join(shown, &name));
            if kind.is_dir() && name != ".git" {
                folders.push((path, shown));
            } else if kind.is_file() {
                if self.files.len() >= FILES_MAX {
                    anyhow::bail!("there are more than {FILES_MAX} files; name a part of the tree");
                }
                self.files.insert(Target { shown, path });
            }
        }
        Ok(())
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder == "." {
        name.to_owned()
    } else {
        format!("{}/{name}", folder.trim_end_matches('/'))
    }
}
