//! `version`.

use serde_json::json;

use crate::output;

/// The version
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let version = env!("CARGO_PKG_VERSION");
        if self.json {
            output::json(&json!({ "version": version }))?;
        } else {
            output::line(&format!("valetkey {version}"));
        }
        Ok(true)
    }
}
