//! `completions`: for a shell to read at its start.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::output;

/// Completions for a shell
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "valetkey", &mut text);
        output::line(String::from_utf8(text)?.trim_end());
        Ok(true)
    }
}
