//! "One file in one folder": every file of a folder that has a list must be in the list.

use super::File;

/// The folders (below `crates/`), each with a `mod.rs` that holds the list.
const FOLDERS: &[&str] = &[
    "approval/src/channel",
    "audit/src/sink",
    "catalog/src/classify",
    "inject/src/scheme",
    "monitor/src/detector",
    "policy/src/condition",
    "proxy/src/identify",
    "store/src/engine",
    "valetkey/src/command",
    "valetkey/src/wiring/doctor/probe",
    "vault/src/backend",
    "vault/src/kind",
    "vault/src/rotate",
];

/// Files that nobody lists, and folders without a list.
pub fn check(files: &[File]) -> Vec<String> {
    FOLDERS.iter().flat_map(|folder| one(files, &format!("crates/{folder}/"))).collect()
}

fn one(files: &[File], folder: &str) -> Vec<String> {
    let below: Vec<(&str, &File)> =
        files.iter().filter_map(|file| Some((file.path.strip_prefix(folder)?.strip_suffix(".rs")?, file))).collect();
    let inside: Vec<(&str, &File)> = below.iter().filter(|(name, _)| !name.contains('/')).copied().collect();
    let Some((_, list)) = inside.iter().find(|(name, _)| *name == "mod") else {
        return if inside.is_empty() { Vec::new() } else { vec![format!("{folder}: no mod.rs with the list")] };
    };
    let names = inside.iter().map(|(name, _)| *name).filter(|name| *name != "mod");
    names.filter_map(|name| unlisted(list, &below, name).map(|why| format!("{folder}{name}.rs: {why}"))).collect()
}

/// A file is in its list where it is declared in `mod.rs` and some other file of the folder or below names something of it (shared
/// helpers are used by their siblings).
fn unlisted(list: &File, below: &[(&str, &File)], name: &str) -> Option<&'static str> {
    if !code(list).any(|line| line.ends_with(&format!("mod {name};"))) {
        return Some("not declared in mod.rs");
    }
    // A module of tests alone is its own user.
    let lines: Vec<&str> = code(list).collect();
    let testing =
        lines.windows(2).any(|two| matches!(two, ["#[cfg(test)]", next] if next.ends_with(&format!("mod {name};"))));
    let path = format!("{name}::");
    let used = |line: &str| line.contains(&path) || line.starts_with("use ") && words(line).any(|word| word == name);
    let listed = below.iter().filter(|(other, _)| *other != name).any(|(_, file)| code(file).any(used));
    (!testing && !listed).then_some("declared in mod.rs, but not in its list")
}

fn code(file: &File) -> impl Iterator<Item = &str> {
    file.text.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(list: &str) -> Vec<File> {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        vec![file("crates/inject/src/scheme/mod.rs", list), file("crates/inject/src/scheme/basic.rs", "")]
    }

    #[test]
    fn a_file_outside_the_list_is_found() {
        assert_eq!(check(&tree("pub mod bearer;")).len(), 1);
        assert_eq!(check(&tree("mod basic;\n// basic::Basic")).len(), 1);
        assert!(check(&tree("mod basic;\nconst ALL: &[&dyn S] = &[&basic::Basic];")).is_empty());
        assert_eq!(check(&tree("")[1..]).len(), 1);
    }
}
