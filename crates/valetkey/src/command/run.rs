//! `run`: starts an agent behind the gateway. The work is in `wiring`.

use std::ffi::OsString;
use std::path::PathBuf;

use model::{AgentName, UserName};

use crate::config::{Ambient, Bind, Flags};
use crate::wiring::{Isolate, Reach, Run};

/// Start an agent behind the gateway
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who it is: an agent that the configuration names
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// The configuration: a file, or a folder of files [default: valetkey.yaml here, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What it is to do, for conditions and for the record
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// On whose behalf
    #[arg(long, value_name = "USER")]
    user: Option<UserName>,
    /// How long its session lives: `90s`, `30m`, `1h`, `2d` [default: 12h]
    #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
    ttl: Option<u64>,
    /// Write the receipt as JSON to this file
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Let a variable that no service knows be used for one host: VAR=HOST or VAR=HOST:HEADER
    #[arg(long, value_name = "VAR=HOST[:HEADER]")]
    bind: Vec<Bind>,
    /// Pass a variable on as it is, although it looks like a secret (recorded)
    #[arg(long, value_name = "VAR")]
    keep: Vec<String>,
    /// Whether walls are put around the agent: files that are masked, a network that leads to the gateway alone (Linux)
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    isolate: Isolate,
    /// Open a port of this machine, or a Unix socket, to an isolated agent
    #[arg(long, value_name = "localhost:PORT|/SOCKET")]
    reach: Vec<Reach>,
    /// Let an isolated agent write this file or folder too, such as `.git/config`
    #[arg(long, value_name = "PATH")]
    writable: Vec<PathBuf>,
    /// The agent and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<u8> {
        let wanted = Run {
            config: self.config,
            agent: self.agent,
            task: self.task,
            user: self.user,
            ttl_seconds: self.ttl,
            receipt: self.receipt,
            flags: Flags { bind: self.bind, keep: self.keep },
            isolate: self.isolate,
            reach: self.reach,
            writable: self.writable,
            command: self.command,
        };
        crate::wiring::run(ambient, wanted).await
    }
}

/// Reads `90s`, `30m`, `1h`, `2d`; at most a year.
pub(crate) fn span_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a time span; write a number and s, m, h or d, such as 30m");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|total| (1..=366 * 86_400).contains(total)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [("90s", Some(90)), ("30m", Some(1_800)), ("1h", Some(3_600)), ("2d", Some(172_800))] {
            assert_eq!(span_seconds(text).ok(), seconds, "{text}");
        }
        for bad in ["", "h", "1", "0s", "-1h", "1.5h", "99999d", "1hour"] {
            assert!(span_seconds(bad).is_err(), "{bad}");
        }
    }
}
