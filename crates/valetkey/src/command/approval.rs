//! `approve`, `deny`, `approvals`: answering from another terminal. A later version; `run` asks on its own terminal.

use clap::Subcommand;

use super::usage;

/// An answer.
#[derive(Debug, clap::Args)]
pub struct Answer {
    /// The approval's id (`apr_..`)
    id: String,
    /// For how long: `session`, or a time such as `10m`
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<String>,
    /// Why, for the record
    #[arg(long)]
    reason: Option<String>,
}

/// What can be done with approvals.
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// Open ones
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One of them
    Show {
        /// The approval's id (`apr_..`)
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// As they come
    Watch {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const INSTEAD: &str = "not in this version; start the agent with `valetkey run` on a terminal, which asks there, \
                       or answer over the API of `valetkey serve --api ADDRESS` with an operator's token";

impl Answer {
    pub(super) fn run(self, word: &str) -> anyhow::Result<bool> {
        let _: model::ApprovalId = self.id.parse().map_err(|error: model::id::IdError| usage(error.to_string()))?;
        let _ = (self.span, self.reason);
        Err(usage(format!("`{word}` is {INSTEAD}")))
    }
}

impl Approvals {
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let word = match self {
            Self::List { .. } => "list",
            Self::Show { .. } => "show",
            Self::Watch { .. } => "watch",
        };
        Err(usage(format!("`approvals {word}` is {INSTEAD}")))
    }
}
