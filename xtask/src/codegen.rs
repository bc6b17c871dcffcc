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

/// Page, and the example that prints it. One folder holds what all crates' examples become, so a name stands for one alone.
const PAGES: &[(&str, &str)] = &[
    ("docs/reference/configuration.schema.json", "schema"),
    ("docs/reference/configuration.md", "configuration"),
    ("docs/reference/services.md", "services"),
    ("docs/reference/headers.md", "headers"),
    ("docs/reference/secrets.md", "secrets"),
];

/// Built with the features of the whole workspace, as the unit tests build them: `cargo run -p` chooses features for each
/// crate anew, and compiles half of all libraries for each of them (330 s of a cold run).
const BUILD: &str = "cargo build --locked --workspace --exclude e2e --examples";

/// Writes the pages whose crate can print them; with `check` says whether they are up to date.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    if !shell::watched(&mut shell::command(root, BUILD))?.0 {
        return Ok(false);
    }
    let mut good = true;
    for (page, example) in PAGES {
        let line = root.join("target/debug/examples").join(example);
        let text =
            shell::output(&mut std::process::Command::new(&line)).with_context(|| format!("cannot make {page}"))?;
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
