//! `stop`: nothing is injected any more and streams are cut, in every process of the home within a quarter of a second.

use model::event::Kind;
use model::{AgentName, CredentialName, SessionId};
use serde_json::json;
use store::{StopKind, StopRow};

use super::local::Local;
use crate::config::Ambient;
use crate::output;

/// Stop an agent, a session, a credential or everything
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Lift the stop again (a session that has ended stays ended)
    #[arg(long)]
    lift: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One agent
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// One session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// One credential
    #[arg(long, value_name = "NAME")]
    credential: Option<CredentialName>,
    /// Everything
    #[arg(long)]
    all: bool,
}

impl What {
    fn row(&self) -> (StopKind, String) {
        match self {
            Self { agent: Some(agent), .. } => (StopKind::Agent, agent.to_string()),
            Self { session: Some(session), .. } => (StopKind::Session, session.to_string()),
            Self { credential: Some(credential), .. } => (StopKind::Credential, credential.to_string()),
            _ => (StopKind::All, String::new()),
        }
    }
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let local = Local::open(ambient).await?;
        let (kind, name) = self.what.row();
        let stops = local.store.stops();
        let words = if name.is_empty() { kind.as_str().to_owned() } else { format!("{} {name}", kind.as_str()) };
        let row = StopRow { kind, name: name.clone(), version: None, at: local.now(), by: Local::operator() };
        // A stop comes before its record: it must not fail because a disk is full.
        let changed = if self.lift {
            stops.lift(&local.tenant, kind, &name, None).await?
        } else {
            stops.insert(&local.tenant, &row).await?;
            if let Some(session) = self.what.session {
                local.store.sessions().end(&local.tenant, session, row.at).await?;
            }
            true
        };
        let verb = if self.lift { "lifted the stop of" } else { "stopped" };
        local.record(Kind::Operator, |event| {
            event.agent.clone_from(&self.what.agent);
            event.session = self.what.session;
            event.reason = Some(format!("{} {verb} {words}{}", row.by, because(self.reason.as_deref())));
        })?;
        if self.json {
            output::json(&json!({ "kind": kind.as_str(), "name": name, "stopped": !self.lift, "changed": changed }))?;
        } else if changed {
            output::line(&format!("{verb} {words}"));
        } else {
            output::line(&format!("there was no stop of {words}"));
        }
        Ok(changed)
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}
