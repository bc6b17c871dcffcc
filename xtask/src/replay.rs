//! Replays the fuzz corpora on the stable toolchain: every entry must pass through its parser without a panic.

use std::path::Path;

use anyhow::Result;

use crate::shell;

/// Runs the replay test of `fuzz/`.
pub fn run(root: &Path) -> Result<bool> {
    let line = "cargo test --locked -p fuzz --test replay";
    Ok(shell::watched(&mut shell::command(root, line))?.0)
}
