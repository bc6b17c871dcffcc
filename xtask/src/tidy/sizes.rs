//! Files of at most 500 lines of code. Functions, arguments and traits are clippy's to measure.

use super::{File, without_tests};

/// Lines of code of one file.
const CODE_LINES_MAX: usize = 500;

/// Files that are tables: long because the world is.
const TABLES: &[&str] = &[];

/// Files that are too long.
pub fn check(files: &[File]) -> Vec<String> {
    let ours = files.iter().filter(|file| file.is("rs") && !file.path.starts_with("bench/"));
    ours.filter(|file| !TABLES.contains(&file.path.as_str()))
        .map(|file| (file, code_lines(without_tests(&file.text))))
        .filter(|(_, lines)| *lines > CODE_LINES_MAX)
        .map(|(file, lines)| format!("{}: {lines} lines of code, {CODE_LINES_MAX} are allowed: split it", file.path))
        .collect()
}

/// Lines that are neither blank nor comment alone.
fn code_lines(text: &str) -> usize {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_tests_do_not_count() {
        let long = "let x = 1;\n".repeat(501);
        let file = |text: String| File { path: "crates/x/src/lib.rs".to_owned(), text };
        assert_eq!(check(&[file(long.clone())]).len(), 1);
        assert!(check(&[file("// no code\n\n".repeat(900))]).is_empty());
        assert!(check(&[file(format!("fn a() {{}}\n\n#[cfg(test)]\nmod tests {{\n{long}}}\n"))]).is_empty());
    }
}
