//! What is generated from the code: each page is printed by an example of the crate that knows it.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;

use crate::shell;

/// How to write.
#[derive(Args)]
pub struct Options {
    /// Writes nothing; says whether the tree is as it should be.
    #[arg(long)]
    pub check: bool,
}

/// Page, crate, example.
const PAGES: &[(&str, &str, &str)] = &[
    ("docs/reference/configuration.schema.json", "policy", "schema"),
    ("docs/reference/configuration.md", "policy", "reference"),
    ("docs/reference/services.md", "catalog", "reference"),
    ("docs/reference/headers.md", "model", "headers"),
    ("docs/reference/secrets.md", "scan", "reference"),
];

/// Writes the pages whose crate can print them; with `check` says whether they are up to date.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let mut good = true;
    for (page, package, example) in PAGES {
        if !root.join(format!("crates/{package}/examples/{example}.rs")).exists() {
            println!("codegen: {page}: crates/{package} has no example `{example}` that prints it");
            continue;
        }
        let line = format!("cargo run -q -p {package} --example {example}");
        let text = shell::output(&mut shell::command(root, &line)).with_context(|| format!("cannot make {page}"))?;
        let path = root.join(page);
        let same = std::fs::read_to_string(&path).is_ok_and(|old| old == text);
        match (same, options.check) {
            (true, _) => println!("codegen: {page} is up to date"),
            (false, true) => {
                eprintln!("codegen: {page} is out of date; run `cargo xtask codegen`");
                good = false;
            }
            (false, false) => {
                std::fs::create_dir_all(path.parent().unwrap_or(root))?;
                std::fs::write(&path, text)?;
                println!("codegen: {page} written");
            }
        }
    }
    Ok(good)
}
