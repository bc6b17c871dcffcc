//! Commands of later versions: known words that say so, instead of being taken for mistakes.

use clap::Subcommand;

use super::usage;

/// Whatever follows is not looked at.
#[derive(Debug, clap::Args)]
pub struct Anything {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// Commands of later versions.
#[derive(Debug, Subcommand)]
pub enum Later {
    /// Send a configuration to a server (not in this version)
    #[command(hide = true)]
    Apply(Anything),
    /// Alerts (not in this version)
    #[command(hide = true)]
    Alert(Anything),
    /// Incidents (not in this version)
    #[command(hide = true)]
    Incident(Anything),
    /// Valetkey's own MCP server (not in this version)
    #[command(hide = true)]
    Mcp(Anything),
}

impl Later {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let (name, instead) = match self {
            Self::Apply(_) => ("apply", "`valetkey serve --config FILE` takes changes of its file in while it runs"),
            Self::Alert(_) => ("alert", "`valetkey audit search --decision deny` shows what was refused"),
            Self::Incident(_) => {
                ("incident", "`valetkey stop` ends what is under way, `valetkey audit export` keeps the evidence")
            }
            Self::Mcp(_) => ("mcp", "`valetkey explain --agent A METHOD URL` says what an agent may do"),
        };
        Err(usage(format!("`{name}` is not in this version; {instead}")))
    }
}
