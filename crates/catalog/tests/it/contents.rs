//! What a push changes: packs that git itself makes, told from the outside by the facts of their calls.

#![expect(clippy::expect_used, reason = "what helps a test may stop it")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use model::{Effect, Fact, Unknown};
use proptest::prelude::*;

use crate::git::calls;
use crate::packs::{ASKS, BLOB, Base, COMMIT, Pack, TREE, ZERO, commit_of, mebibyte, name, name_of, push, tree};

/// A repository in a folder of the build, without anybody's configuration.
struct Repo(PathBuf);

impl Repo {
    fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("contents-{test}"));
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).expect("a folder");
        let repo = Self(folder);
        repo.git(&["init", "-q", "-b", "main"], "");
        repo
    }

    fn git(&self, arguments: &[&str], input: &str) -> Vec<u8> {
        let who = ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"];
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.0).env_clear().envs(who.map(|name| (name, "ada@example.test")));
        command.env("PATH", env!("PATH")).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", &self.0);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git");
        child.stdin.take().expect("input").write_all(input.as_bytes()).expect("written");
        let done = child.wait_with_output().expect("an end");
        assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    fn word(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.git(arguments, "")).expect("text").trim().to_owned()
    }

    /// Writes files, all of them anew, and commits; gives the commit.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            std::fs::write(path, text).expect("written");
        }
        self.save()
    }

    /// Commits what is there.
    fn save(&self) -> String {
        self.git(&["add", "-A"], "");
        self.git(&["commit", "-q", "--allow-empty", "-m", "a message"], "");
        self.word(&["rev-parse", "HEAD"])
    }

    fn moved(&self, from: &str, to: &str) -> String {
        self.git(&["mv", from, to], "");
        self.save()
    }

    /// The push of `new` to a server that has `old`, as git packs it.
    fn push(&self, old: &str, new: &str, options: &[&str]) -> Vec<u8> {
        let pack =
            self.git(&[&["pack-objects", "--revs", "--stdout", "-q"], options].concat(), &format!("{new}\n^{old}\n"));
        push(&[format!("{old} {new} refs/heads/x")], ASKS, &pack)
    }

    fn told(&self, old: &str, new: &str) -> String {
        told(&self.push(old, new, &[]))
    }
}

/// What is said of workflows and of owners, and the effects beside that of every push.
fn told(body: &[u8]) -> String {
    let calls = calls(body);
    let call = calls.first().expect("a call");
    let word = |name: &str| match call.facts.get(name) {
        Some(Fact::Text(text)) => text.to_string(),
        Some(Fact::Unknown(Unknown::NotProven)) => "?".to_owned(),
        other => format!("{other:?}"),
    };
    let effects = call.effects.iter().filter(|effect| *effect != Effect::BranchWrite).map(Effect::as_str);
    let words = [word("touches.workflows"), word("touches.owners")].into_iter().chain(effects.map(str::to_owned));
    words.collect::<Vec<_>>().join(" ")
}

const CI: (&str, &str) = (".github/workflows/ci.yml", "on: push\n");

#[test]
fn what_git_packs_is_told() {
    let repo = Repo::new("packs");
    let old = repo.commit(&[("README.md", "one\n"), ("src/a/main.rs", "fn main() {}\n")]);
    let plain = repo.commit(&[("src/a/main.rs", "fn main() { }\n")]);
    assert_eq!(repo.told(&old, &plain), "none none");
    let added = repo.commit(&[CI]);
    assert_eq!(repo.told(&plain, &added), "yes none exfil");
    assert_eq!(repo.told(&old, &added), "yes none exfil", "of two commits the greater counts");
    let beside = repo.commit(&[("README.md", "two\n")]);
    assert_eq!(repo.told(&added, &beside), "kept kept", "the folder is not in the pack");
    let changed = repo.commit(&[(".github/workflows/ci.yml", "on: pull_request\n")]);
    assert_eq!(repo.told(&beside, &changed), "yes none exfil");
    let undone = repo.commit(&[CI]);
    assert_eq!(repo.told(&changed, &undone), "yes none exfil", "git leaves out what the old tip has, no more");
    let near = repo.commit(&[(".github/README.md", "beside\n")]);
    assert_eq!(repo.told(&undone, &near), "? none", "the folder that holds it is new");
    std::fs::remove_dir_all(repo.0.join(".github")).expect("removed");
    let gone = repo.save();
    assert_eq!(repo.told(&near, &gone), "none none");
    let empty = repo.save();
    assert_eq!(repo.told(&gone, &empty), "kept kept", "the same tree again");
    // A branch of what the server has: nothing is in the pack.
    let nothing = repo.git(&["pack-objects", "--revs", "--stdout", "-q"], &format!("{near}\n^{near}\n"));
    assert_eq!(told(&push(&[format!("{ZERO} {near} refs/heads/x")], ASKS, &nothing)), "kept kept");
    assert_eq!(told(&push(&[format!("{near} {ZERO} refs/heads/x")], ASKS, b"")), "no no");
}

#[test]
fn a_folder_is_not_moved_into_place_unseen() {
    let repo = Repo::new("moves");
    let old = repo.commit(&[("README.md", "one\n")]);
    // In two pushes: a folder under another name, then that folder in place.
    let first = repo.commit(&[("x/workflows/evil.yml", "on: push\n")]);
    assert_eq!(repo.told(&old, &first), "? none", "it could be moved");
    let second = repo.moved("x", ".github");
    assert_eq!(repo.told(&first, &second), "kept kept");
    let repo = Repo::new("moves-deep");
    let old = repo.commit(&[("README.md", "one\n")]);
    let first = repo.commit(&[("wf/evil.yml", "on: push\n"), (".github/a", "a\n")]);
    assert_eq!(repo.told(&old, &first), "none none", "nothing is named so");
    let second = repo.moved("wf", ".github/workflows");
    assert_eq!(repo.told(&first, &second), "? none", "it may be what was there");
    // A folder that becomes the root of everything.
    let repo = Repo::new("moves-root");
    let old = repo.commit(&[("README.md", "one\n")]);
    let first = repo.commit(&[("x/.github/workflows/evil.yml", "on: push\n")]);
    assert_eq!(repo.told(&old, &first), "? none");
    let tree = repo.word(&["rev-parse", "HEAD:x"]);
    let second = repo.word(&["commit-tree", "-p", &first, "-m", "m", &tree]);
    assert_eq!(repo.told(&first, &second), "kept kept");
    // Files have no names of their own.
    let repo = Repo::new("moves-file");
    let old = repo.commit(&[("README.md", "one\n"), ("x", "* @nobody\n")]);
    let moved = repo.moved("x", "CODEOWNERS");
    assert_eq!(repo.told(&old, &moved), "none ?");
    let written = repo.commit(&[("CODEOWNERS", "* @eve\n")]);
    assert_eq!(repo.told(&moved, &written), "none yes escalates");
    let kept = repo.commit(&[("README.md", "two\n")]);
    assert_eq!(repo.told(&written, &kept), "none ?");
}

#[test]
fn links_modules_and_other_letters() {
    let repo = Repo::new("links");
    let old = repo.commit(&[("README.md", "one\n"), ("x/ci.yml", "on: push\n")]);
    std::fs::create_dir_all(repo.0.join(".github")).expect("a folder");
    std::os::unix::fs::symlink("../x", repo.0.join(".github/workflows")).expect("a link");
    let link = repo.save();
    assert_eq!(repo.told(&old, &link), "? none");
    let module = format!("160000,{old},.github");
    repo.git(&["rm", "-rq", ".github"], "");
    repo.git(&["update-index", "--add", "--cacheinfo", &module], "");
    repo.git(&["commit", "-q", "-m", "a module"], "");
    let module = repo.word(&["rev-parse", "HEAD"]);
    assert_eq!(repo.told(&link, &module), "? ?");
    let repo = Repo::new("letters");
    let old = repo.commit(&[("README.md", "one\n")]);
    // GitHub looks for `.github/workflows` alone; a name of its own that could be moved is seen.
    let upper = repo.commit(&[(".GitHub/Workflows/ci.yml", "on: push\n"), ("codeowners", "* @eve\n")]);
    assert_eq!(repo.told(&old, &upper), "none none");
    let half = repo.commit(&[(".GitHub/workflows/ci.yml", "on: push\n")]);
    assert_eq!(repo.told(&upper, &half), "? none");
}

#[test]
fn merges_and_tags() {
    let repo = Repo::new("merges");
    let base = repo.commit(&[("README.md", "one\n")]);
    repo.git(&["switch", "-q", "-c", "other"], "");
    let other = repo.commit(&[CI]);
    repo.git(&["switch", "-q", "main"], "");
    let mine = repo.commit(&[("a.txt", "a\n")]);
    repo.git(&["merge", "-q", "-m", "merged", "other"], "");
    let merged = repo.word(&["rev-parse", "HEAD"]);
    // The server has the other branch: what comes along is what it had there.
    let pack = repo.git(&["pack-objects", "--revs", "--stdout", "-q"], &format!("{merged}\n^{mine}\n^{other}\n"));
    assert_eq!(told(&push(&[format!("{mine} {merged} refs/heads/main")], ASKS, &pack)), "kept kept");
    assert_eq!(repo.told(&mine, &merged), "yes none exfil", "where it has not, it comes along");
    repo.git(&["tag", "-a", "-m", "a tag", "v1"], "");
    let tag = repo.word(&["rev-parse", "v1"]);
    let pack = repo.git(&["pack-objects", "--revs", "--stdout", "-q"], &format!("{tag}\n^{base}\n"));
    assert_eq!(told(&push(&[format!("{ZERO} {tag} refs/tags/v1")], ASKS, &pack)), "yes kept exfil");
}

#[test]
fn deltas_are_followed_and_thin_packs_tell_nothing() {
    let repo = Repo::new("thin");
    let files: Vec<(String, String)> =
        (0..40).map(|number| (format!("file-{number:02}.txt"), format!("{number}\n").repeat(60))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let old = repo.commit(&files);
    let mut tip = old.clone();
    for number in 0..6 {
        tip = repo.commit(&[("file-07.txt", &format!("{number}\n").repeat(60))]);
    }
    for options in [&["--no-delta-base-offset"][..], &["--delta-base-offset"]] {
        let body = repo.push(&old, &tip, options);
        let pack = body.windows(4).position(|window| window == b"PACK").expect("a pack");
        let path = repo.0.join("some.pack");
        std::fs::write(&path, &body[pack..]).expect("written");
        let index = repo.0.join("some.idx");
        repo.git(&["index-pack", "-o", index.to_str().expect("text"), path.to_str().expect("text")], "");
        let shown = repo.word(&["verify-pack", "-v", index.to_str().expect("text")]);
        let deltas = shown.lines().filter(|line| line.contains(" tree ") && line.split_ascii_whitespace().count() == 7);
        assert!(deltas.count() > 0, "no tree is a delta: {shown}");
        std::fs::remove_file(path).expect("removed");
        std::fs::remove_file(index).expect("removed");
        assert_eq!(told(&body), "none none", "{options:?}");
    }
    assert_eq!(told(&repo.push(&old, &tip, &["--thin"])), "? ?", "a base that only the server has");
    let evil = repo.commit(&[CI]);
    assert_eq!(told(&repo.push(&tip, &evil, &["--thin"])), "? ?", "not even what is added");
}

#[test]
fn what_is_odd_is_unknown() {
    let of = |root: &[u8], more: &[(u8, &[u8])]| {
        let tip = commit_of(&name_of("tree", root), &[], "m");
        let mut pack = Pack::new(false);
        pack.add(COMMIT, &tip, &Base::None);
        pack.add(TREE, root, &Base::None);
        for (kind, content) in more {
            pack.add(*kind, content, &Base::None);
        }
        push(&[format!("{ZERO} {} refs/heads/x", name(&tip, false))], ASKS, &pack.finish())
    };
    let file = name_of("blob", b"x");
    let folder = tree(&[("100644", "ci.yml", &file)]);
    let github = tree(&[("40000", "workflows", &name_of("tree", &folder))]);
    let github_name = name_of("tree", &github);
    let good = tree(&[("100644", "a", &file), ("40000", ".github", &github_name)]);
    let whole: [(u8, &[u8]); 2] = [(TREE, &github), (TREE, &folder)];
    assert_eq!(told(&of(&good, &whole)), "yes none exfil");
    // A name twice: each is looked at.
    let empty = name_of("tree", b"");
    let twice = tree(&[("40000", ".github", &empty), ("40000", ".github", &github_name)]);
    assert_eq!(told(&of(&twice, &[(TREE, b""), (TREE, &github), (TREE, &folder)])), "yes none exfil");
    for odd in [
        tree(&[("100644", ".github/workflows/ci.yml", &file)]),
        tree(&[("100644", "", &file)]),
        tree(&[("1", "a", &file)]),
        tree(&[("10064x", "a", &file)]),
        [good.as_slice(), b"100644 a\0short"].concat(),
        b"no tree".to_vec(),
    ] {
        assert_eq!(told(&of(&odd, &[])), "? ?", "{:?}", String::from_utf8_lossy(&odd));
    }
    // A tree that no commit has could become a root.
    let plain = tree(&[("100644", "a", &file)]);
    assert_eq!(told(&of(&plain, &[(TREE, &github)])), "? none");
    assert_eq!(told(&of(&plain, &[(TREE, &tree(&[("100644", "CODEOWNERS", &file)])), (BLOB, b"y")])), "none ?");
    // More than is kept of trees: commits are known, trees are not.
    let large = tree(&vec![("100644", "a-name-that-is-long", file.as_str()); 120_000]);
    let many: Vec<Vec<u8>> =
        (0..2).map(|number| [&large, tree(&[("100644", &number.to_string(), &file)]).as_slice()].concat()).collect();
    let many: Vec<(u8, &[u8])> = many.iter().map(|content| (TREE, content.as_slice())).collect();
    assert_eq!(told(&of(&plain, &many[..1])), "none none");
    assert_eq!(told(&of(&plain, &many)), "? ?");
    assert_eq!(told(&push(&[format!("{ZERO} {} refs/heads/x", "2".repeat(40))], ASKS, b"")), "? ?", "no pack");
    assert_eq!(told(&mebibyte()), "none none");
}

#[test]
fn every_cut_tells_nothing() {
    let repo = Repo::new("cuts");
    let old = repo.commit(&[("README.md", "one\n")]);
    let plain = repo.commit(&[("README.md", "two\n")]);
    let body = repo.push(&old, &plain, &[]);
    assert_eq!(told(&body), "none none");
    let pack = body.windows(4).position(|window| window == b"PACK").expect("a pack");
    for cut in pack..body.len() {
        assert_eq!(told(&body[..cut]), "? ?", "{cut}");
    }
    let mut changed = body.clone();
    for at in pack..body.len() {
        changed[at] ^= 0x21;
        assert_eq!(told(&changed), "? ?", "{at}");
        changed[at] = body[at];
    }
}

/// What a server holds: trees by name, each with its entries.
type Held = BTreeMap<String, Vec<(&'static str, Option<String>)>>;

/// Makes a tree of some entropy: of files, new trees, and trees that the server has, under names of interest and others. What is new is added.
fn grow(entropy: &mut std::slice::Iter<'_, u8>, depth: usize, server: &Held, new: &mut Held) -> String {
    let mut entries = Vec::new();
    for entry in [".github", "workflows", "x"] {
        let choice = entropy.next().copied().unwrap_or_default();
        let known = server.keys().nth(usize::from(choice >> 2) % server.len().max(1));
        let held = match (choice & 3, known) {
            (0, _) => continue,
            (1, Some(known)) => Some(known.clone()),
            (2 | 3, _) if depth > 0 => Some(grow(entropy, depth - 1, server, new)),
            _ => None,
        };
        entries.push((entry, held));
    }
    let id = name_of("tree", &written(&entries));
    new.insert(id.clone(), entries);
    id
}

fn written(entries: &[(&'static str, Option<String>)]) -> Vec<u8> {
    let file = name_of("blob", b"x");
    let entry = |(name, held): &(&'static str, Option<String>)| match held {
        Some(id) => ("40000", *name, id.clone()),
        None => ("100644", *name, file.clone()),
    };
    let all: Vec<_> = entries.iter().map(entry).collect();
    tree(&all.iter().map(|(mode, name, id)| (*mode, *name, id.as_str())).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whoever may push only what is `none` or `kept`, and begins where no workflow is, never brings one into place, in however many pushes.
    #[test]
    fn no_row_of_pushes_puts_a_folder_in_place(pushes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..24), 1..12)) {
        let mut server = Held::new();
        for (number, entropy) in pushes.iter().enumerate() {
            let mut new = Held::new();
            let mut entropy = entropy.iter();
            let first = entropy.next().copied().unwrap_or_default();
            let root = match server.keys().nth(usize::from(first >> 2) % server.len().max(1)) {
                Some(known) if first % 4 == 0 => known.clone(),
                _ => grow(&mut entropy, 3, &server, &mut new),
            };
            new.retain(|id, _| !server.contains_key(id));
            let tip = commit_of(&root, &[], &number.to_string());
            let mut pack = Pack::new(false);
            pack.add(COMMIT, &tip, &Base::None);
            for entries in new.values() {
                pack.add(TREE, &written(entries), &Base::None);
            }
            let body = push(&[format!("{ZERO} {} refs/heads/x", name(&tip, false))], ASKS, &pack.finish());
            let word = told(&body);
            if !word.starts_with("none") && !word.starts_with("kept") {
                continue;
            }
            server.extend(new);
            let step = |id: &String, name: &str| {
                server.get(id)?.iter().find(|(known, _)| *known == name).map(|(_, held)| held.clone())
            };
            let placed = step(&root, ".github").flatten().and_then(|github| step(&github, "workflows"));
            prop_assert!(placed.is_none(), "push {} of {:?}", number, pushes);
        }
    }
}
