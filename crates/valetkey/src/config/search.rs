//! What lies in a folder that an agent must not see as it is: files with credentials, sockets and pipes of other programs,
//! repositories whose hooks would run outside.

use std::collections::VecDeque;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Appear with placeholders in the work folder, wherever they are.
const MASKED_IN_FOLDER: [&str; 6] = [".npmrc", ".pypirc", ".netrc", ".yarnrc.yml", ".mcp.json", "mcp.json"];
/// `.env` and its kin, but for these, which are written to be shown.
const ENV_SHOWN: [&str; 5] = [".env.example", ".env.sample", ".env.template", ".env.dist", ".envrc.example"];
/// Folders of a project that hold other people's files.
const PASSED_BY: [&str; 8] = ["node_modules", "target", ".git", "venv", ".venv", "__pycache__", "vendor", "dist"];
/// How long is looked in one folder.
const ENTRIES_MAX: usize = 20_000;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Files with credentials, or links to them.
    pub(super) credentials: Vec<PathBuf>,
    /// Sockets and pipes: by either a program of the host could be talked to.
    pub(super) channels: Vec<PathBuf>,
    /// Folders with a `.git` in them.
    pub(super) repositories: Vec<PathBuf>,
    /// There was more than is looked at.
    pub(super) cut: bool,
}

/// Looks into a folder; what is near its top is looked at first, and no link is followed.
pub(super) fn look(folder: &Path, depth_max: usize) -> Seen {
    let mut seen = Seen::default();
    let mut looked_at = 0;
    let mut folders = VecDeque::from([(folder.to_owned(), 0)]);
    // Caches are large, and nobody's project.
    let mut dotted = VecDeque::new();
    while let Some((folder, depth)) = folders.pop_front().or_else(|| dotted.pop_front()) {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            looked_at += 1;
            if looked_at > ENTRIES_MAX {
                seen.cut = true;
                return seen;
            }
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            if kind.is_socket() || kind.is_fifo() {
                seen.channels.push(entry.path());
                continue;
            }
            let Some(name) = name.to_str() else { continue };
            if name == ".git" {
                seen.repositories.push(folder.clone());
            }
            if kind.is_dir() {
                if depth + 1 < depth_max && !PASSED_BY.contains(&name) {
                    let queue = if name.starts_with('.') { &mut dotted } else { &mut folders };
                    queue.push_back((entry.path(), depth + 1));
                }
            } else if holds_credentials(name) {
                seen.credentials.push(entry.path());
            }
        }
    }
    seen
}

fn holds_credentials(name: &str) -> bool {
    let env = name == ".env" || name.starts_with(".env.") || name == ".envrc";
    env && !ENV_SHOWN.contains(&name) || MASKED_IN_FOLDER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_in_a_project() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str| {
            std::fs::create_dir_all(at(name).parent().expect("a parent")).expect("made");
            std::fs::write(at(name), "x").expect("written");
        };
        let names = [
            ".env",
            "api/.env.local",
            "api/.npmrc",
            ".env.example",
            "node_modules/x/.env",
            "a/b/.env",
            "api/.git/HEAD",
        ];
        for name in names {
            write(name);
        }
        let _socket = std::os::unix::net::UnixListener::bind(at("dev.sock")).expect("bound");
        let mut seen = look(folder.path(), 2);
        seen.credentials.sort();
        assert_eq!(seen.credentials, [".env", "api/.env.local", "api/.npmrc"].map(at));
        assert_eq!((seen.channels, seen.repositories, seen.cut), (vec![at("dev.sock")], vec![at("api")], false));
    }
}
