//! The folders that an agent works in: the current one, the repository around it, and what of that repository starts programs.

use std::fs;
use std::path::{Path, PathBuf};

use super::Ambient;
use super::private::read_bounded;

/// `gitdir: PATH` and the like are one line.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// How many repositories of submodules, and how deep below `modules` (a name may have slashes).
const MODULES_MAX: usize = 200;
const MODULES_DEPTH_MAX: usize = 6;
/// What git runs, or takes the names of programs from, in a folder of its own.
const STARTS_PROGRAMS: [&str; 3] = ["hooks", "config", "config.worktree"];

/// The work folder, and the repository around it: a commit from a subfolder writes into the repository's own files, one in a
/// linked worktree into those of the repository that it is linked to. Neither where it is the whole machine or the folder of all
/// homes; the user's own home only when it is the work folder.
pub fn work_folders(ambient: &Ambient) -> Vec<PathBuf> {
    let folder = ambient.folder();
    let home = ambient.user_home().unwrap_or_else(|| folder.to_owned());
    let too_wide = |path: &Path| home.starts_with(path) && path != home && path.components().count() <= 2;
    let mut all: Vec<PathBuf> = Some(folder).filter(|path| !too_wide(path)).map(Path::to_owned).into_iter().collect();
    let root = folder.ancestors().find(|path| path.join(".git").exists()).filter(|path| !home.starts_with(path));
    all.extend(root.map(Path::to_owned));
    all.extend(root.and_then(linked_to));
    all
}

/// Repositories around a folder, the user's home and what lies around it left out: an agent could make an inner one to hide what
/// lies in an outer.
pub(super) fn around(folder: &Path, home: &Path) -> impl Iterator<Item = PathBuf> {
    let is_one = |path: &&Path| path.join(".git").exists() && !home.starts_with(path);
    folder.ancestors().filter(is_one).map(Path::to_owned)
}

/// The repository's own folder, where `worktree` is linked to one (gitrepository-layout(5)). The file that says so is the agent's
/// to write, so what it names must say the same of the worktree: there an agent could not write.
fn linked_to(worktree: &Path) -> Option<PathBuf> {
    let pointer = worktree.join(".git");
    // A link is the agent's to make, to the pointer of another worktree.
    fs::symlink_metadata(&pointer).ok().filter(fs::Metadata::is_file)?;
    let own = line(&pointer)?.strip_prefix("gitdir:").map(|path| worktree.join(path.trim()))?.canonicalize().ok()?;
    let back = own.join(line(&own.join("gitdir"))?).canonicalize().ok()?;
    if back != pointer.canonicalize().ok()? {
        return None;
    }
    let common = own.join(line(&own.join("commondir"))?).canonicalize().ok()?;
    let is_one =
        own.starts_with(common.join("worktrees")) && common.join("HEAD").is_file() && common.join("objects").is_dir();
    is_one.then_some(common)
}

fn line(path: &Path) -> Option<String> {
    let bytes = read_bounded(path, LINE_BYTES_MAX).ok().flatten()?;
    Some(String::from_utf8(bytes).ok()?.trim_end().to_owned())
}

/// What exists of a repository that makes the user's own git start programs later: hooks and configurations, its own, those of
/// its worktrees and submodules.
pub(super) fn programs_of_git(top: &Path) -> Vec<PathBuf> {
    let pointer = top.join(".git");
    let own = if pointer.is_dir() { pointer.clone() } else { top.to_owned() };
    let mut all: Vec<PathBuf> = Some(pointer).filter(|path| path.is_file()).into_iter().collect();
    if !own.join("HEAD").is_file() {
        return all;
    }
    // Where there is none yet one could be made, and run at the user's next commit.
    let _ = fs::create_dir(own.join("hooks"));
    let mut repositories = vec![own.clone()];
    repositories.extend(folders(&own.join("worktrees")));
    modules(&own.join("modules"), 0, &mut repositories);
    let is_repository = |folder: &PathBuf| folder.join("HEAD").is_file();
    let found = repositories.iter().filter(|folder| is_repository(folder));
    all.extend(found.flat_map(|folder| STARTS_PROGRAMS.map(|name| folder.join(name))).filter(|path| path.exists()));
    all
}

fn modules(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for inner in folders(folder) {
        if depth >= MODULES_DEPTH_MAX || found.len() >= MODULES_MAX {
            return;
        }
        if inner.join("HEAD").is_file() {
            modules(&inner.join("modules"), depth + 1, found);
            found.push(inner);
        } else {
            modules(&inner, depth + 1, found);
        }
    }
}

fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambient(folder: &Path, home: &Path) -> Ambient {
        Ambient::of([("HOME".into(), home.as_os_str().to_owned())], folder.to_owned())
    }

    fn put(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn how_wide_a_work_folder_is() {
        let root = tempfile::tempdir().expect("folder");
        let (home, project) = (root.path().join("u"), root.path().join("u/p"));
        fs::create_dir_all(project.join(".git")).expect("made");
        fs::create_dir_all(project.join("sub")).expect("made");
        let folders = |folder: &Path, home: &Path| work_folders(&ambient(folder, home));
        assert_eq!(folders(&project.join("sub"), &home), [project.join("sub"), project.clone()]);
        assert_eq!(folders(&home, &home), std::slice::from_ref(&home));
        assert!(folders(Path::new("/"), &home).is_empty());
        assert!(folders(Path::new("/home"), Path::new("/home/u")).is_empty());
    }

    #[test]
    fn a_linked_worktree_leads_to_its_repository_and_nowhere_else() {
        let root = tempfile::tempdir().expect("folder");
        let root = root.path().canonicalize().expect("real");
        let (main, tree) = (root.join("main/.git"), root.join("tree"));
        put(main.join("HEAD"), "ref: refs/heads/main\n");
        put(main.join("config"), "");
        fs::create_dir_all(main.join("objects")).expect("made");
        put(main.join("worktrees/tree/HEAD"), "ref: refs/heads/tree\n");
        put(main.join("worktrees/tree/commondir"), "../..\n");
        put(main.join("worktrees/tree/gitdir"), &format!("{}\n", tree.join(".git").display()));
        put(tree.join(".git"), &format!("gitdir: {}\n", main.join("worktrees/tree").display()));
        let home = root.join("home");
        assert_eq!(work_folders(&ambient(&tree, &home)), [tree.clone(), tree.clone(), main.clone()]);
        assert_eq!(programs_of_git(&tree), [tree.join(".git")]);
        assert_eq!(programs_of_git(&main), [main.join("hooks"), main.join("config")]);
        // An agent that writes another name gets nothing by it: what it names does not name the worktree.
        put(root.join("precious/HEAD"), "");
        put(root.join("precious/objects/x"), "");
        put(tree.join(".git"), &format!("gitdir: {}\n", root.join("precious").display()));
        assert_eq!(work_folders(&ambient(&tree, &home)), [tree.clone(), tree.clone()]);
        fs::remove_file(tree.join(".git")).expect("removed");
        fs::create_dir_all(root.join("other")).expect("made");
        put(root.join("other/.git"), &format!("gitdir: {}\n", main.join("worktrees/tree").display()));
        put(main.join("worktrees/tree/gitdir"), &format!("{}\n", root.join("other/.git").display()));
        std::os::unix::fs::symlink(root.join("other/.git"), tree.join(".git")).expect("a link");
        assert_eq!(work_folders(&ambient(&tree, &home)), [tree.clone(), tree.clone()], "a link to another's pointer");
        fs::remove_file(tree.join(".git")).expect("removed");
        put(tree.join("own/gitdir"), &format!("{}\n", tree.join(".git").display()));
        put(tree.join("own/commondir"), &format!("{}\n", root.join("precious").display()));
        put(tree.join(".git"), "gitdir: own\n");
        assert_eq!(work_folders(&ambient(&tree, &home)), [tree.clone(), tree]);
    }

    #[test]
    fn what_starts_programs_in_a_repository() {
        let root = tempfile::tempdir().expect("folder");
        let git = root.path().join(".git");
        for name in ["HEAD", "config", "hooks/x", "modules/a/HEAD", "modules/a/config", "modules/b/c/HEAD"] {
            put(git.join(name), "");
        }
        put(git.join("modules/b/c/config"), "");
        put(git.join("modules/none/config"), "");
        let mut found = programs_of_git(root.path());
        found.sort();
        let want = ["config", "hooks", "modules/a/config", "modules/b/c/config"].map(|name| git.join(name));
        assert_eq!(found, want);
    }
}
