//! `scan` on 300 seeded secrets of 68 kinds among 10,000 clean files and a history, and beside two public scanners; `import` and the
//! project after it.
//!
//! Recall: secrets that were found, by file and line. Precision: findings that are one of them. The table is printed, and
//! stands in docs/guide/scan.md; the floors here are what every later version must keep.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{binary, root, tool};
use serde_json::{Value, json};
use testkit::process::finish;
use testkit::{Answer, Upstream};

#[path = "../../../../crates/scan/tests/it/seeded.rs"]
mod seeded;

use seeded::{Dice, clean, kinds, leaks};

const PATIENCE: Duration = Duration::from_mins(3);
/// Secrets in files, and those that a commit brought and the next one took out.
const IN_FILES: usize = 200;
const IN_HISTORY: usize = 100;
const CLEAN_FILES: usize = 10_000;
/// Clean files that the other scanners look at too: they need up to a hundredth of a second for each.
const SAMPLE: usize = 1_000;

/// Where a secret stands: the first and the last line.
#[derive(Debug)]
struct Truth {
    kind: &'static str,
    lines: (u64, u64),
    found: bool,
}

/// Secrets by file.
type Truths = BTreeMap<String, Truth>;

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn write_leaks(folder: &Path, below: &str, dice: &mut Dice, count: usize) -> Truths {
    let mut truths = Truths::new();
    for (number, leak) in leaks(dice, count).into_iter().enumerate() {
        let (end, text) = leak.written(dice);
        let name = format!("{below}/{number}/settings.{end}");
        let at = text.find(&leak.value).unwrap();
        let line = |at: usize| text[..at].matches('\n').count() as u64 + 1;
        // Of what has several lines every line counts: an id belongs to its key.
        let first = if leak.text.is_some() { 1 } else { line(at) };
        truths
            .insert(name.clone(), Truth { kind: leak.kind, lines: (first, line(at + leak.value.len())), found: false });
        write(folder, &name, &text);
    }
    truths
}

fn write_clean(folder: &Path, below: &str, dice: &mut Dice, count: usize) {
    for number in 0..count {
        let (end, text) = clean(dice);
        write(folder, &format!("{below}/{}/{number}.{end}", number / 100), &text);
    }
}

/// Recall and precision in per cent, and what was missed.
#[derive(Debug)]
struct Score {
    recall: f64,
    precision: f64,
    missed: Vec<String>,
}

fn score(mut truths: Truths, findings: &[(String, u64)]) -> Score {
    let mut right = 0;
    for (path, line) in findings {
        if let Some(truth) = truths.get_mut(path)
            && (truth.lines.0..=truth.lines.1).contains(line)
        {
            truth.found = true;
            right += 1;
        }
    }
    let found = truths.values().filter(|truth| truth.found).count();
    let missed =
        truths.iter().filter(|(_, truth)| !truth.found).map(|(path, truth)| format!("{} in {path}", truth.kind));
    Score {
        recall: 100.0 * found as f64 / truths.len() as f64,
        precision: 100.0 * f64::from(right) / findings.len().max(1) as f64,
        missed: missed.collect(),
    }
}

fn git(folder: &Path, line: &str) {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]);
    let done = finish(command.args(line.split(' ')), PATIENCE);
    assert!(done.status.is_some_and(|status| status.success()), "git {line}: {}", done.stderr);
}

fn ours(folder: &Path, arguments: &[&str]) -> Vec<(String, u64)> {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .env("VALETKEY_HOME", home.path().join("home"));
    let done = finish(command.current_dir(folder).arg("scan").args(arguments), PATIENCE);
    let seen: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stderr));
    let one = |finding: &Value| (finding["path"].as_str().unwrap().to_owned(), finding["line"].as_u64().unwrap());
    seen["findings"].as_array().unwrap().iter().map(one).collect()
}

fn row(name: &str, score: &Score, time: Duration) {
    println!(
        "{name:<24} recall {:5.1} %  precision {:5.1} %  {:6.2} s",
        score.recall,
        score.precision,
        time.as_secs_f64()
    );
    println!("    missed: {:?}", score.missed);
}

#[test]
fn seeded_secrets_are_found_in_files_and_history() {
    assert!(kinds().len() >= 60);
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(300);
    let mut truths = write_leaks(folder.path(), "old", &mut dice, IN_HISTORY);
    git(folder.path(), "init -q .");
    git(folder.path(), "add -A");
    git(folder.path(), "commit -q -m first");
    std::fs::remove_dir_all(folder.path().join("old")).unwrap();
    write_clean(folder.path(), "kept", &mut dice, 200);
    git(folder.path(), "add -A");
    git(folder.path(), "commit -q -m second");
    truths.extend(write_leaks(folder.path(), "deploy", &mut dice, IN_FILES));
    write_clean(folder.path(), "src", &mut dice, CLEAN_FILES - 200);

    let begun = Instant::now();
    let found = ours(folder.path(), &["--git", "--json"]);
    let score = score(truths, &found);
    row("valetkey, whole corpus", &score, begun.elapsed());
    assert!(score.recall >= 98.0, "{score:?}");
    assert!(score.precision >= 98.0, "{score:?}");
}

#[test]
fn beside_two_public_scanners() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(301);
    write_leaks(folder.path(), "deploy", &mut dice, IN_FILES);
    write_clean(folder.path(), "src", &mut dice, SAMPLE);
    // The same again, to know what stands where.
    let truths = || write_leaks(folder.path(), "deploy", &mut Dice::new(301), IN_FILES);

    let begun = Instant::now();
    let own = score(truths(), &ours(folder.path(), &["--json"]));
    row("valetkey", &own, begun.elapsed());

    let begun = Instant::now();
    let done = finish(
        Command::new(tool("venv/bin/detect-secrets"))
            .args(["scan", "--all-files", "--no-verify", "."])
            .current_dir(folder.path()),
        PATIENCE,
    );
    let results: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stderr));
    let mut findings = Vec::new();
    for (path, list) in results["results"].as_object().unwrap() {
        findings
            .extend(list.as_array().unwrap().iter().map(|one| (path.clone(), one["line_number"].as_u64().unwrap())));
    }
    let detect = score(truths(), &findings);
    row("detect-secrets 1.5.0", &detect, begun.elapsed());

    let begun = Instant::now();
    let client = root().join("tests/e2e/clients/kingfisher_scan.py");
    let done = finish(Command::new(tool("venv/bin/python")).arg(client).arg(folder.path()), PATIENCE);
    let findings: Vec<(String, u64)> = done
        .stdout
        .lines()
        .map(|line| {
            let one: Value = serde_json::from_str(line).unwrap();
            let path = Path::new(one["path"].as_str().unwrap()).strip_prefix(folder.path()).unwrap();
            (path.display().to_string(), one["line"].as_u64().unwrap())
        })
        .collect();
    let kingfisher = score(truths(), &findings);
    row("Kingfisher 1.5.0", &kingfisher, begun.elapsed());

    // All three did look.
    assert!(detect.recall > 20.0, "{} {}", done.stderr, detect.recall);
    assert!(kingfisher.recall > 20.0, "{} {}", done.stderr, kingfisher.recall);
    assert!(own.recall >= 98.0 && own.precision >= 98.0, "{own:?}");
}

/// After an import the files hold references, and the project works through the gateway as before.
#[test]
fn an_imported_project_works() {
    let upstream = Upstream::builder().handler(|_| Some(Answer::json(&json!({"login": "me"})))).start();
    let house = House::new(&format!("version: 1\nupstreams:\n{}", upstream.entry("api.github.com")), &[]);
    let token = Dice::new(302).fill("ghp_{crc}");
    let env = format!("GITHUB_TOKEN={token}\nPORT=8080\n");
    std::fs::write(house.path(".env"), &env).unwrap();
    let moved = house.valetkey(&["import", "--yes"]).expect_success("import");
    assert!(
        !moved.stdout.contains(&token) && moved.stdout.contains("GITHUB_TOKEN=valetkey://github-token"),
        "{}",
        moved.stdout
    );
    assert_eq!(
        std::fs::read_to_string(house.path(".env")).unwrap(),
        "GITHUB_TOKEN=valetkey://github-token\nPORT=8080\n"
    );

    let script = "set -a; . ./.env; curl -sS -H \"Authorization: Bearer $GITHUB_TOKEN\" https://api.github.com/user";
    let mut command = house.clean(binary());
    command.arg("run").arg("--config").arg(house.config()).args(["--", "sh", "-c", script]);
    let done = finish(&mut command, PATIENCE).expect_success("the project");
    assert!(
        done.stdout.contains("\"login\"") && done.stderr.contains(".env found for github"),
        "{}{}",
        done.stdout,
        done.stderr
    );
    let arrived = upstream.journal().take();
    assert_eq!(arrived.iter().map(|seen| seen.count(&token)).collect::<Vec<_>>(), [1], "{arrived:?}");

    let _ = house.valetkey(&["import", "--undo", "--yes"]).expect_success("undo");
    assert_eq!(std::fs::read_to_string(house.path(".env")).unwrap(), env);
}

/// A placeholder has the shape of the real thing, checksum and all; its own home knows it, another one does not.
#[test]
fn placeholders_of_this_home_are_no_findings() {
    let token = Dice::new(303).fill("ghp_{crc}");
    let house = House::new("version: 1\n", &[("GITHUB_TOKEN", &token)]);
    let mut command = house.clean(binary());
    command.arg("run").arg("--config").arg(house.config());
    let script = "echo \"GITHUB_TOKEN=$GITHUB_TOKEN\" > saved.env";
    let _ = finish(command.args(["--", "sh", "-c", script]), PATIENCE).expect_success("the agent");
    let saved = std::fs::read_to_string(house.path("saved.env")).unwrap();
    assert!(saved.starts_with("GITHUB_TOKEN=ghp_") && !saved.contains(&token), "{saved}");

    let own = house.valetkey(&["scan", "--json", "saved.env"]).expect_success("scan at home");
    let seen: Value = serde_json::from_str(&own.stdout).unwrap();
    assert_eq!(seen["findings"], json!([]));
    assert_eq!(ours(house.path("").as_path(), &["--json", "saved.env"]), [("saved.env".to_owned(), 1)]);
}
