//! `stop`: nothing is injected any more and streams are cut, in every process of the home within a quarter of a second.

use anyhow::Context;
use model::event::Kind;
use model::{AgentName, CredentialName, SessionId};
use serde_json::{Value, json};
use store::{StopKind, StopRow};

use super::control::Gateway;
use super::local::Local;
use crate::config::Ambient;
use crate::output;

/// Stop an agent, a session, a credential or everything
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Lift the stop again (a session that has ended stays ended). While a gateway serves the home it decides who may:
    /// where operators have tokens, one of them, over TCP
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
        let words = if name.is_empty() { kind.as_str().to_owned() } else { format!("{} {name}", kind.as_str()) };
        if self.lift
            && let Some(changed) = self.lift_by_gateway(&local).await?
        {
            return self.say("lifted the stop of", (&words, kind, &name), changed);
        }
        let stops = local.store.stops();
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
        if let (false, Some(agent)) = (self.lift, &self.what.agent) {
            let known = local.store.agents().list(&local.tenant).await?;
            if !known.iter().any(|row| row.name == *agent) {
                output::warn(&format!(
                    "no agent `{agent}` has ever been seen here; `valetkey agent list` names those that have"
                ));
            }
        }
        let verb = if self.lift { "lifted the stop of" } else { "stopped" };
        local.record(Kind::Operator, |event| {
            event.agent.clone_from(&self.what.agent);
            event.session = self.what.session;
            event.reason = Some(format!("{} {verb} {words}{}", row.by, because(self.reason.as_deref())));
        })?;
        self.say(verb, (&words, kind, &name), changed)
    }

    /// Asks the gateway that serves this home, which records it and knows whether its operators have tokens: the agent
    /// that was stopped may be the one who asks here. Nothing where nobody serves; then no agent is served either.
    async fn lift_by_gateway(&self, local: &Local) -> anyhow::Result<Option<bool>> {
        let stop = match &self.what {
            What { agent: Some(agent), .. } => json!({ "agent": agent }),
            What { session: Some(session), .. } => json!({ "session": session }),
            What { credential: Some(credential), .. } => json!({ "credential": credential }),
            _ => json!({ "all": true }),
        };
        let wanted = json!({ "stop": stop, "reason": self.reason });
        let answer = Gateway::behind(local.home.socket()).post_if_served("/v1/stop/lift", &wanted).await?;
        answer
            .map(|answer| {
                answer.get("changed").and_then(Value::as_bool).context("the gateway's answer lacks `changed`")
            })
            .transpose()
    }

    fn say(&self, verb: &str, (words, kind, name): (&str, StopKind, &str), changed: bool) -> anyhow::Result<bool> {
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
