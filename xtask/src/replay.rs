//! Replays the fuzz corpora on the stable toolchain: every entry must pass through its parser without a panic.

use std::path::Path;

use anyhow::Result;

use crate::shell;

/// Runs the replay test of `fuzz/`, which stands outside the workspace; it shares `target/` with it.
pub fn run(root: &Path) -> Result<bool> {
    let target = root.join("target/fuzz");
    let line = "cargo test --manifest-path fuzz/Cargo.toml --test replay";
    let (good, _) = shell::watched(shell::command(root, line).arg("--target-dir").arg(target))?;
    Ok(good)
}
