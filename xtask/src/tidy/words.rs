//! Words that may not stand in the tree, or only in one place of it.

use super::{File, without_tests};

/// Code that only certain files may hold. (Text, files by prefix, reason.) Written in halves, so that this table does not
/// complain about itself.
const RESERVED: &[(&str, &[&str], &str)] = &[
    (
        concat!("std::env", "::var"),
        &["crates/valetkey/src/config", "xtask/", "tests/", "bench/"],
        "only config reads the environment",
    ),
    (
        concat!("env", "::vars"),
        &["crates/valetkey/src/config", "xtask/", "tests/", "bench/"],
        "only config reads the environment",
    ),
    (
        concat!("System", "Time::now"),
        &["crates/valetkey/src/clock.rs", "bench/"],
        "time comes in through `model::Clock`",
    ),
    (concat!("todo", "!("), &[], "finish it or leave it out"),
    (concat!("unimplemented", "!("), &[], "finish it or leave it out"),
    // rustls's name for "a verifier of your choice"; the proxy's are WebPKI and the platform's.
    (concat!("danger", "ous()"), &["bench/", "crates/proxy/src/net/tls.rs"], "no switch turns certificate checks off"),
    (concat!("ServerCertVerified::", "assertion"), &["bench/"], "no switch turns certificate checks off"),
];

/// Crates that may hold `unsafe`, in one module each.
const UNSAFE: &[&str] = &["crates/sandbox/", "crates/secret/"];

/// Words that nobody wants to read in any file.
const NOWHERE: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "open an issue instead"),
    (concat!("FIX", "ME"), "open an issue instead"),
    (concat!("XX", "X:"), "open an issue instead"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/."), "a path of one machine"),
    (concat!("/tmp/", "target-"), "a path of one machine"),
];

/// Files with words that may not be there.
pub fn check(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        everywhere(file, &mut complaints);
        if file.is("rs") {
            reserved(file, &mut complaints);
            root(file, &mut complaints);
        }
    }
    complaints.extend(unsafe_modules(files));
    complaints
}

fn everywhere(file: &File, complaints: &mut Vec<String>) {
    for (number, line) in file.text.lines().enumerate() {
        for (word, why) in NOWHERE.iter().filter(|(word, _)| line.contains(word)) {
            complaints.push(format!("{}:{}: `{word}`: {why}", file.path, number + 1));
        }
    }
}

fn reserved(file: &File, complaints: &mut Vec<String>) {
    // A build script runs on the builder's machine, with what cargo gives it in the environment.
    if file.path.contains("/tests/") || file.path.ends_with("/build.rs") {
        return;
    }
    for (number, line) in without_tests(&file.text).lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (word, places, why) in RESERVED {
            if line.contains(word) && !places.iter().any(|place| file.path.starts_with(place)) {
                complaints.push(format!("{}:{}: `{word}`: {why}", file.path, number + 1));
            }
        }
    }
}

/// Every crate root opens with what it is.
fn root(file: &File, complaints: &mut Vec<String>) {
    let is_root = ["src/lib.rs", "src/main.rs"].iter().any(|end| file.path.ends_with(end));
    if is_root && !file.text.starts_with("//!") && !file.path.starts_with("bench/") {
        complaints.push(format!("{}: open with `//!`: what it is, what it must never do, where to start", file.path));
    }
}

fn unsafe_modules(files: &[File]) -> Vec<String> {
    let holds = |file: &&File| {
        let block = concat!("un", "safe ");
        let code = file.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        file.is("rs") && code.into_iter().any(|line| line.contains(block) && !line.contains('"'))
    };
    let mut complaints = Vec::new();
    let mut allowed = vec![0; UNSAFE.len()];
    for file in files.iter().filter(|file| !file.path.starts_with("bench/")).filter(holds) {
        match UNSAFE.iter().position(|place| file.path.starts_with(place)) {
            Some(place) => {
                if let Some(count) = allowed.get_mut(place) {
                    *count += 1;
                }
                if allowed.get(place).is_some_and(|count| *count > 1) {
                    complaints.push(format!("{}: a second module with unsafe code in this crate", file.path));
                }
            }
            None => complaints.push(format!("{}: unsafe code outside its two modules", file.path)),
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: &str) -> usize {
        check(&[File { path: path.to_owned(), text: text.to_owned() }]).len()
    }

    #[test]
    fn bad_words_are_found() {
        for (path, text) in [
            ("crates/policy/src/a.rs", "let x = std::env::var(\"HOME\");"),
            ("crates/policy/src/a.rs", "let now = SystemTime::now();"),
            ("crates/policy/src/a.rs", "fn a() { unsafe { b() } }"),
            ("crates/policy/src/lib.rs", "pub mod a;"),
            ("docs/a.md", concat!("TO", "DO: write this")),
            ("README.md", concat!("see /wo", "rk/main/x")),
        ] {
            assert_eq!(complaints(path, text), 1, "{path}: {text}");
        }
    }

    #[test]
    fn words_in_their_place_pass() {
        for (path, text) in [
            ("crates/valetkey/src/config.rs", "let x = std::env::var(\"HOME\");"),
            ("crates/valetkey/src/clock.rs", "let now = SystemTime::now();"),
            ("crates/secret/src/memory.rs", "unsafe { mlock() }"),
            ("crates/policy/src/a.rs", "// never std::env::var here"),
            ("crates/policy/src/a.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n let x = std::env::var(\"A\");\n}\n"),
        ] {
            assert_eq!(complaints(path, text), 0, "{path}: {text}");
        }
    }

    #[test]
    fn one_unsafe_module_a_crate() {
        let file = |path: &str| File { path: path.to_owned(), text: "unsafe { x() }".to_owned() };
        assert!(check(&[file("crates/sandbox/src/kernel.rs")]).is_empty());
        assert_eq!(check(&[file("crates/sandbox/src/kernel.rs"), file("crates/sandbox/src/other.rs")]).len(), 1);
    }
}
