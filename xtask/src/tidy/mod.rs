//! The house rules that no compiler knows. Each rule is a function from what it looks at to complaints, so that each can be
//! shown to fail on a bad tree.

mod docs;
mod edges;
mod lists;
mod lock;
mod sizes;
mod words;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell;

/// One file of the tree.
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// Whether its name ends in a dot and `extension`.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// Every text file that is, or is about to be, part of the tree.
pub fn files(root: &Path) -> Result<Vec<File>> {
    let list = shell::output(&mut shell::command(root, "git ls-files --cached --others --exclude-standard"))?;
    let mut all = Vec::new();
    for path in list.lines() {
        // Binary corpora and files deleted but not yet committed are nobody's prose.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            all.push(File { path: path.to_owned(), text });
        }
    }
    Ok(all)
}

/// Checks everything and prints the complaints; true where there are none.
pub fn run(root: &Path) -> Result<bool> {
    let files = files(root)?;
    let edges = edges::of_workspace(root)?;
    let mut complaints = edges::check(&edges);
    complaints.extend(lock::check(&lock::packages(root)?));
    complaints.extend(sizes::check(&files));
    complaints.extend(lists::check(&files));
    complaints.extend(words::check(&files));
    complaints.extend(docs::check(&files, &|path: &str| exists(root, path)));
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    println!("tidy: {} files, {} edges, {} complaints", files.len(), edges.len(), complaints.len());
    Ok(complaints.is_empty())
}

fn exists(root: &Path, path: &str) -> bool {
    root.join(PathBuf::from(path)).exists()
}

/// The code of a Rust file: without its tests module, which by the house's habit is the end of the file.
pub fn without_tests(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod tests {").or_else(|| text.find("\n#[cfg(test)]\n#[expect"));
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
