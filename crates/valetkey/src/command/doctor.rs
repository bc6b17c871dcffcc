//! `doctor`: proves the swap for each runtime. The examination is in `wiring`.

use super::usage;
use crate::config::Ambient;
use crate::output::{self, Paint};

/// Prove the swap for each runtime on this machine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run the hostile agent against this machine (not in this version)
    #[arg(long, hide = true)]
    attack: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        if self.attack {
            return Err(usage("`doctor --attack` is not in this version; `valetkey doctor` proves the swap"));
        }
        let findings = crate::wiring::doctor(ambient).await?;
        let well = findings.iter().all(|finding| finding.state != "failed");
        if self.json {
            output::json(&findings)?;
            return Ok(well);
        }
        let paint = Paint::of_stdout(ambient.wants_colour());
        for finding in &findings {
            let state = format!("{:7}", finding.state);
            let state = match finding.state {
                "ok" => paint.good(&state),
                "failed" => paint.bad(&state),
                _ => paint.faint(&state),
            };
            output::line(&format!("{state} {:10} {}", finding.subject, output::safe(&finding.detail)));
        }
        Ok(well)
    }
}
