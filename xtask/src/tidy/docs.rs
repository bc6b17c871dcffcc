//! Documentation that points at something: links lead somewhere, and tests that a page names exist.

use super::File;

/// Pages whose tables name a test in their last column, in back-ticks.
const WITH_TESTS: &[&str] = &["docs/lessons.md", "docs/threat-model.md"];

/// Dead links and missing tests. `exists` says whether a path of the tree is there.
pub fn check(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.is("md")) {
        links(file, exists, &mut complaints);
        if WITH_TESTS.contains(&file.path.as_str()) {
            tests(file, files, &mut complaints);
        }
    }
    complaints
}

fn links(file: &File, exists: &dyn Fn(&str) -> bool, complaints: &mut Vec<String>) {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for rest in file.text.split("](").skip(1) {
        let target = rest.split([')', '#', ' ']).next().unwrap_or_default();
        if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let path = if folder.is_empty() { target.to_owned() } else { format!("{folder}/{target}") };
        if !exists(&path) {
            complaints.push(format!("{}: the link to `{target}` leads nowhere", file.path));
        }
    }
}

fn tests(page: &File, files: &[File], complaints: &mut Vec<String>) {
    for (number, line) in page.text.lines().enumerate() {
        let Some(row) = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|')) else { continue };
        let cell = row.rsplit('|').next().unwrap_or_default();
        for name in cell.split('`').skip(1).step_by(2) {
            let (function, row) = (format!("fn {name}("), format!("\"name\":\"{name}\""));
            let known = files.iter().any(|file| {
                file.is("rs") && file.text.contains(&function)
                    || file.is("jsonl") && file.text.replace("\": \"", "\":\"").contains(&row)
            });
            if !known {
                complaints.push(format!("{}:{}: no test or corpus row is named `{name}`", page.path, number + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn dead_links_and_missing_tests_are_found() {
        let exists = |path: &str| path == "docs/a.md";
        assert!(check(&[page("README.md", "[a](docs/a.md#x) [b](https://x.test/)")], &exists).is_empty());
        assert!(check(&[page("docs/b.md", "[a](a.md)")], &exists).is_empty());
        assert_eq!(check(&[page("README.md", "[a](docs/b.md)")], &exists).len(), 1);
        let source = page("crates/x/tests/it/main.rs", "fn it_holds() {}");
        let corpus = page("tests/e2e/corpus/A.jsonl", "{\"name\": \"a-1\"}");
        let lessons = page("docs/lessons.md", "| a | b | `it_holds`, `a-1` |\n");
        assert!(check(&[lessons, source, corpus], &exists).is_empty());
        assert_eq!(check(&[page("docs/lessons.md", "| a | `gone` |")], &exists).len(), 1);
    }
}
