//! `session list|show|start|end`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use model::event::Kind;
use model::{AgentName, Session as Row, SessionId, Timestamp, UserName};
use serde_json::{Value, json};

use super::control::{self, Gateway};
use super::local::Local;
use super::run::span_seconds;
use crate::config::{Ambient, Home};
use crate::output;

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum Session {
    /// Those that live
    List {
        /// Ended ones too, the latest thousand
        #[arg(long)]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One of them
    Show {
        /// Its id
        id: SessionId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin one on a gateway that serves, for an agent started elsewhere
    Start(StartArgs),
    /// End one: everything given to it is dead
    End {
        /// Its id
        id: SessionId,
        /// The socket of a gateway under another user [default: VALETKEY_SOCKET, else the home itself]
        #[arg(long, value_name = "PATH")]
        socket: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How the environment of a session is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object
    Json,
    /// `export NAME='value'` lines, for `eval`
    Sh,
    /// A `.env` file
    Dotenv,
    /// An `--env-file` for docker
    Docker,
    /// A Kubernetes secret
    K8s,
}

/// Begin a session
#[derive(Debug, clap::Args)]
pub struct StartArgs {
    /// Who it is for: an agent that the configuration names
    #[arg(long, value_name = "NAME")]
    agent: AgentName,
    /// What the agent is to do
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// On whose behalf
    #[arg(long, value_name = "USER")]
    user: Option<UserName>,
    /// How long it lives: `90s`, `30m`, `1h`, `2d` [default: 12h]
    #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
    ttl: Option<u64>,
    /// The socket of a gateway under another user [default: VALETKEY_SOCKET, else that of the home]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value = "sh", conflicts_with = "json")]
    format: Format,
    /// Print JSON: the same as `--format json`
    #[arg(long)]
    json: bool,
}

impl StartArgs {
    async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let socket = match control::named_socket(ambient, self.socket.as_deref()) {
            Some(socket) => socket,
            None => Home::open(ambient)?.socket(),
        };
        let wanted = json!({ "agent": self.agent, "task": self.task, "user": self.user, "ttl_seconds": self.ttl });
        let started = Gateway::behind(socket).post("/v1/sessions", &wanted).await?;
        if self.json || self.format == Format::Json {
            output::json(&started)?;
            return Ok(true);
        }
        let env = started.get("env").and_then(Value::as_object).cloned().unwrap_or_default();
        let pairs: Vec<(&str, &str)> =
            env.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
        print_environment(self.format, &self.agent, &pairs)?;
        Ok(true)
    }
}

/// Prints variables in one of the forms that other programs read.
fn print_environment(format: Format, agent: &AgentName, pairs: &[(&str, &str)]) -> anyhow::Result<()> {
    match format {
        Format::Json => {}
        Format::Sh => {
            for (name, value) in pairs {
                output::line(&format!("export {name}={}", output::shell_word(value)));
            }
        }
        Format::Dotenv => {
            for (name, value) in pairs {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                output::line(&format!("{name}=\"{value}\""));
            }
        }
        // docker takes what follows the equals sign as it stands.
        Format::Docker => pairs.iter().for_each(|(name, value)| output::line(&format!("{name}={value}"))),
        Format::K8s => {
            let data: serde_json::Map<String, Value> =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::String((*value).to_owned()))).collect();
            let name = format!("valetkey-{}", agent.as_str().to_ascii_lowercase().replace(['_', '.'], "-"));
            output::json(&json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": name },
                "type": "Opaque",
                "stringData": data,
            }))?;
        }
    }
    Ok(())
}

impl Session {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::List { all, json } => list(ambient, all, json).await,
            Self::Show { id, json } => show(ambient, id, json).await,
            Self::Start(args) => args.run(ambient).await,
            Self::End { id, socket, json } => match control::named_socket(ambient, socket.as_deref()) {
                Some(socket) => end_elsewhere(socket, id, json).await,
                None => end(ambient, id, json).await,
            },
        }
    }
}

fn state(session: &Row, now: Timestamp) -> &'static str {
    match (session.ended, session.is_live(now)) {
        (_, true) => "live",
        (Some(_), _) => "ended",
        (None, _) => "expired",
    }
}

fn facts(session: &Row, now: Timestamp) -> Value {
    json!({
        "session": session.id,
        "agent": session.agent,
        "user": session.user,
        "task": session.task,
        "state": state(session, now),
        "started": session.started,
        "expires": session.expires,
        "ended": session.ended,
    })
}

async fn list(ambient: &Ambient, all: bool, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let now = local.now();
    let sessions = local.store.sessions().list(&local.tenant, (!all).then_some(now)).await?;
    if json {
        output::json(&sessions.iter().map(|session| facts(session, now)).collect::<Vec<_>>())?;
    } else if sessions.is_empty() {
        output::line(if all { "no session was ever begun here" } else { "no session lives; --all shows ended ones" });
    } else {
        let row = |session: &Row| {
            let task = session.task.clone().unwrap_or_else(|| "-".to_owned());
            vec![
                session.id.to_string(),
                session.agent.to_string(),
                state(session, now).to_owned(),
                session.started.to_string(),
                task,
            ]
        };
        output::table(&["SESSION", "AGENT", "STATE", "STARTED", "TASK"], &sessions.iter().map(row).collect::<Vec<_>>());
    }
    Ok(true)
}

fn missing(id: SessionId) -> bool {
    output::remark(&format!(
        "there is no session `{id}` in this home; `valetkey session list --all` shows those that are"
    ));
    false
}

async fn show(ambient: &Ambient, id: SessionId, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let Some(session) = local.store.sessions().get(&local.tenant, id).await? else { return Ok(missing(id)) };
    let facts = facts(&session, local.now());
    if json {
        output::json(&facts)?;
    } else if let Value::Object(map) = facts {
        for (key, value) in map {
            let text = value
                .as_str()
                .map_or_else(|| if value.is_null() { "-".to_owned() } else { value.to_string() }, str::to_owned);
            output::line(&format!("{key:8} {}", output::safe(&text)));
        }
    }
    Ok(true)
}

/// Ends a session of a gateway under another user, by asking it.
async fn end_elsewhere(socket: PathBuf, id: SessionId, json: bool) -> anyhow::Result<bool> {
    Gateway::behind(socket).delete(&format!("/v1/sessions/{id}")).await?;
    if json {
        output::json(&json!({ "session": id, "ended": true }))?;
    } else {
        output::line(&format!("ended {id}"));
    }
    Ok(true)
}

async fn end(ambient: &Ambient, id: SessionId, json: bool) -> anyhow::Result<bool> {
    let local = Local::open(ambient).await?;
    let Some(session) = local.store.sessions().get(&local.tenant, id).await? else { return Ok(missing(id)) };
    let ended = local.store.sessions().end(&local.tenant, id, local.now()).await?;
    if ended {
        local.record(Kind::Session, |event| {
            event.session = Some(id);
            event.agent = Some(session.agent.clone());
            event.reason = Some(format!("{} ended the session", Local::operator()));
        })?;
    }
    if json {
        output::json(&json!({ "session": id, "ended": ended }))?;
    } else {
        output::line(&if ended { format!("ended {id}") } else { format!("{id} had ended already") });
    }
    Ok(ended)
}
