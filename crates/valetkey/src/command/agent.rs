//! `agent list|show`.

use clap::Subcommand;
use model::AgentName;
use serde_json::{Value, json};
use store::{AgentRow, StopKind};

use super::local::Local;
use super::usage;
use crate::config::Ambient;
use crate::output;

/// What can be done with agents.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// All that were ever seen
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One of them
    Show {
        /// Its name
        name: AgentName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Forbid it everything (not in this version)
    #[command(hide = true)]
    Disable {
        /// Its name
        name: AgentName,
    },
    /// Allow it again (not in this version)
    #[command(hide = true)]
    Enable {
        /// Its name
        name: AgentName,
    },
}

impl Agent {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::List { json } => list(ambient, json).await,
            Self::Show { name, json } => show(ambient, &name, json).await,
            Self::Disable { name } => {
                Err(usage(format!("`agent disable` is not in this version; use `valetkey stop --agent {name}`")))
            }
            Self::Enable { name } => {
                Err(usage(format!("`agent enable` is not in this version; use `valetkey stop --agent {name} --lift`")))
            }
        }
    }
}

/// An agent, whether it is stopped, and how many of its sessions are open.
async fn facts(local: &Local, row: &AgentRow) -> anyhow::Result<Value> {
    let stops = local.store.stops().list(&local.tenant).await?;
    let stopped = stops
        .iter()
        .any(|stop| stop.kind == StopKind::All || (stop.kind == StopKind::Agent && stop.name == row.name.as_str()));
    let open = local.store.sessions().list(&local.tenant, Some(local.now())).await?;
    let open = open.iter().filter(|session| session.agent == row.name).count();
    Ok(json!({ "agent": row.name, "enabled": row.enabled && !stopped, "open_sessions": open, "seen": row.seen }))
}

fn cell(value: &Value, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

async fn list(ambient: &Ambient, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let mut all = Vec::new();
    for row in local.store.agents().list(&local.tenant).await? {
        all.push(facts(&local, &row).await?);
    }
    if json {
        output::json(&all)?;
    } else if all.is_empty() {
        output::line("no agent was seen yet; `valetkey run --agent NAME -- CMD` starts one");
    } else {
        let row = |agent: &Value| ["agent", "enabled", "open_sessions", "seen"].map(|key| cell(agent, key)).to_vec();
        output::table(&["AGENT", "ENABLED", "OPEN", "SEEN"], &all.iter().map(row).collect::<Vec<_>>());
    }
    Ok(true)
}

async fn show(ambient: &Ambient, name: &AgentName, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let Some(row) = local.store.agents().get(&local.tenant, name).await? else {
        output::remark(&format!(
            "no agent `{name}` was ever seen in this home; `valetkey agent list` shows those that were"
        ));
        return Ok(false);
    };
    let agent = facts(&local, &row).await?;
    if json {
        output::json(&agent)?;
    } else {
        for key in ["agent", "enabled", "open_sessions", "seen"] {
            output::line(&format!("{key:14} {}", output::safe(&cell(&agent, key))));
        }
    }
    Ok(true)
}
