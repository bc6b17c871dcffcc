//! `cargo xtask test`: everything that must hold, in an order in which the cheap things fail first.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::{codegen, shell, tidy, tools};

/// Which steps.
#[derive(Args)]
pub struct Options {
    /// Runs these steps alone (names as in the summary).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leaves these steps out.
    #[arg(long, value_delimiter = ',')]
    skip: Vec<String>,
}

/// How a step went.
#[derive(Default)]
pub struct Outcome {
    /// Whether it held.
    pub good: bool,
    /// How many cases ran, where that can be counted.
    pub passed: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many were left out.
    pub skipped: u64,
}

type Step = (&'static str, fn(&Path) -> Result<Outcome>);

const STEPS: &[Step] = &[
    ("tools", |root| tools::install(root).map(|_| Outcome { good: true, ..Outcome::default() })),
    ("fmt", |root| cargo(root, "fmt --all --check")),
    ("tidy", |root| tidy::run(root).map(|good| Outcome { good, ..Outcome::default() })),
    ("clippy", |root| cargo(root, "clippy --workspace --all-targets --locked -- -D warnings")),
    ("deny", deny),
    ("unit", unit),
    ("doc", |root| cargo(root, "test --workspace --locked --doc")),
    ("codegen", |root| {
        let good = codegen::run(root, &codegen::Options { check: true })?;
        Ok(Outcome { good, ..Outcome::default() })
    }),
    ("build", |root| cargo(root, "build --locked -p valetkey")),
    ("e2e", |root| cargo(root, "test --locked -p e2e")),
];

/// Runs the steps and prints the summary; false where one did not hold. Goes on after a failure, so that one run says
/// everything.
pub fn run(root: &Path, options: &Options) -> bool {
    let mut rows: Vec<(&str, Outcome, Duration)> = Vec::new();
    for (name, step) in STEPS {
        let named = |list: &[String]| list.iter().any(|one| one == name);
        if !options.only.is_empty() && !named(&options.only) || named(&options.skip) {
            continue;
        }
        println!("== {name}");
        let start = Instant::now();
        let outcome = step(root).unwrap_or_else(|error| {
            eprintln!("xtask: {error:#}");
            Outcome::default()
        });
        let stop = *name == "tools" && !outcome.good;
        rows.push((name, outcome, start.elapsed()));
        if stop {
            break;
        }
    }
    summary(&rows)
}

fn summary(rows: &[(&str, Outcome, Duration)]) -> bool {
    println!("\n{:<8} {:>6} {:>7} {:>7} {:>8} {:>9}", "step", "", "passed", "failed", "skipped", "seconds");
    for (name, outcome, time) in rows {
        let word = if outcome.good { "ok" } else { "FAILED" };
        let (passed, failed, skipped) = (outcome.passed, outcome.failed, outcome.skipped);
        println!("{name:<8} {word:>6} {passed:>7} {failed:>7} {skipped:>8} {:>9.1}", time.as_secs_f64());
    }
    let (cases, time) =
        rows.iter().fold((0, 0.0), |(cases, time), row| (cases + row.1.passed, time + row.2.as_secs_f64()));
    let good = rows.iter().all(|(_, outcome, _)| outcome.good);
    println!("{} in {time:.0} s, {cases} cases passed", if good { "all good" } else { "NOT good" });
    good
}

fn cargo(root: &Path, arguments: &str) -> Result<Outcome> {
    let (good, lines) = shell::watched(&mut shell::command(root, &format!("cargo {arguments}")))?;
    Ok(counted(good, &lines))
}

/// nextest where it is installed (a process for each test), else plain `cargo test`.
fn unit(root: &Path) -> Result<Outcome> {
    let nextest = shell::output(&mut shell::command(root, "cargo nextest --version")).is_ok();
    if nextest {
        cargo(root, "nextest run --workspace --locked --exclude e2e --no-fail-fast --status-level slow --no-tests pass")
    } else {
        cargo(root, "test --workspace --locked --exclude e2e --lib --bins --tests --no-fail-fast")
    }
}

/// cargo-deny where it is installed; `tidy` looks at the lock file in any case.
fn deny(root: &Path) -> Result<Outcome> {
    if shell::output(&mut shell::command(root, "cargo deny --version")).is_err() {
        println!("cargo-deny is not installed; the bans were checked by tidy");
        return Ok(Outcome { good: true, skipped: 1, ..Outcome::default() });
    }
    cargo(root, "deny --offline check licenses bans sources")
}

/// Adds up `test result:` lines of the standard harness and the `Summary` line of nextest, which shows what a failed
/// test printed, indented: such lines were counted already.
fn counted(good: bool, lines: &[String]) -> Outcome {
    let mut sum = Outcome { good, ..Outcome::default() };
    for line in lines.iter().filter(|line| line.starts_with("test result:") || line.contains("tests run:")) {
        let mut last = 0;
        for word in line.split([' ', ',', ';', '(']).filter(|word| !word.is_empty()) {
            match word {
                "passed" => sum.passed += last,
                "failed" => sum.failed += last,
                "ignored" | "skipped" => sum.skipped += last,
                _ => last = word.parse().unwrap_or(last),
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_harnesses_are_counted() {
        let lines = [
            "test result: ok. 8 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.91s",
            "     Summary [   0.101s] 12 tests run: 11 passed (1 slow), 1 failed, 3 skipped",
            "test some::passed ... ok",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 74 filtered out; finished in 0.26s",
        ];
        let sum = counted(true, &lines.map(str::to_owned));
        assert_eq!((sum.passed, sum.failed, sum.skipped), (19, 2, 5));
    }
}
