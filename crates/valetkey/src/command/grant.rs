//! `grant request|list|give|end`: access at run time, with a reason and a time to live.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;
use http::{Method, StatusCode};
use model::{GrantId, SessionId};
use serde_json::{Value, json};

use super::control::{self, As, Gateway};
use super::run::span_seconds;
use super::usage;
use crate::config::Ambient;
use crate::output;

/// Between two looks at a request that waits for a person.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What can be done with grants.
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Ask for one, as the agent of this session (its token stands in `HTTPS_PROXY`)
    Request {
        #[command(flatten)]
        asked: Asked,
        /// Wait so long for a person, where one is asked: `90s`, `5m`
        #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
        wait: Option<u64>,
        #[command(flatten)]
        gateway: control::Wanted,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The latest thousand
    List {
        /// Those of one session
        #[arg(long, value_name = "ID")]
        session: Option<SessionId>,
        /// Ended and denied ones too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        gateway: control::Wanted,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give one to a session, as an operator who may approve
    Give {
        /// The session
        #[arg(long, value_name = "ID")]
        session: SessionId,
        #[command(flatten)]
        asked: Asked,
        #[command(flatten)]
        gateway: control::Wanted,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End one: what stands on it is cut
    End {
        /// Its id
        id: GrantId,
        #[command(flatten)]
        gateway: control::Wanted,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What is asked for.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// The service
    #[arg(long, value_name = "NAME", required_unless_present = "capability")]
    service: Option<String>,
    /// An action by id, class, alias or scope; several times for several
    #[arg(long, value_name = "WORD")]
    action: Vec<String>,
    /// A resource such as `repo:org/name`, with `*`; all of them where none is named
    #[arg(long, value_name = "PATH")]
    resource: Vec<String>,
    /// A capability set of the configuration, instead of service and actions
    #[arg(long, value_name = "NAME", conflicts_with_all = ["service", "action", "resource"])]
    capability: Option<String>,
    /// How long: `90s`, `10m` [default: 5m]
    #[arg(long, value_name = "SPAN", value_parser = span_seconds)]
    ttl: Option<u64>,
    /// Why it is needed, for the record and for whoever is asked
    #[arg(long, value_name = "TEXT")]
    justification: String,
    /// For which task
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
}

impl Asked {
    fn body(&self, session: Option<SessionId>) -> Value {
        let mut body = json!({ "justification": self.justification });
        let texts = [("service", &self.service), ("capability", &self.capability), ("task", &self.task)];
        if let Some(fields) = body.as_object_mut() {
            for (name, text) in texts {
                fields.extend(text.clone().map(|text| (name.to_owned(), text.into())));
            }
            for (name, words) in [("actions", &self.action), ("resources", &self.resource)] {
                if !words.is_empty() {
                    fields.insert(name.to_owned(), words.clone().into());
                }
            }
            fields.extend(self.ttl.map(|ttl| ("ttl_seconds".to_owned(), ttl.into())));
            fields.extend(session.map(|session| ("session".to_owned(), session.to_string().into())));
        }
        body
    }
}

impl Grant {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::Request { asked, wait, gateway, json } => {
                let (address, token) = session_of(ambient)?;
                let gateway = gateway.as_session(ambient, (address, &token))?;
                ask(&gateway, &asked.body(None), wait.unwrap_or(0), json).await
            }
            Self::Give { session, asked, gateway, json } => {
                let gateway = gateway.gateway(ambient, As::Operator)?;
                ask(&gateway, &asked.body(Some(session)), 0, json).await
            }
            Self::List { session, all, gateway, json } => {
                list(&gateway.gateway(ambient, As::Anybody)?, session, all, json).await
            }
            Self::End { id, gateway, json } => {
                gateway.gateway(ambient, As::Anybody)?.delete(&format!("/v1/grants/{id}")).await?;
                if json {
                    output::json(&json!({ "grant": id, "ended": true }))?;
                } else {
                    output::line(&format!("ended {id}"));
                }
                Ok(true)
            }
        }
    }
}

/// The session whose environment this is: where its proxy is, and the password there.
fn session_of(ambient: &Ambient) -> anyhow::Result<(SocketAddr, String)> {
    let names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let found = names.iter().filter_map(|name| ambient.var(name)).find_map(|url| {
        let (_, rest) = url.split_once("://")?;
        let (userinfo, address) = rest.rsplit_once('@')?;
        let (_, password) = userinfo.split_once(':')?;
        let address = address.trim_end_matches('/').parse().ok()?;
        password.starts_with("vkt_").then(|| (address, password.to_owned()))
    });
    found.ok_or_else(|| {
        usage("this asks for the session whose environment it is started in, and HTTPS_PROXY holds no session's token: \
               `eval \"$(valetkey session start --agent NAME)\"` gives one; an operator gives a grant with `valetkey grant give`")
    })
}

async fn ask(gateway: &Gateway, body: &Value, wait: u64, in_json: bool) -> anyhow::Result<bool> {
    let (mut status, mut answer) = gateway.status_of((Method::POST, "/v1/grants"), body).await?;
    let until = tokio::time::Instant::now() + Duration::from_secs(wait);
    while status == StatusCode::ACCEPTED && tokio::time::Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default();
        (status, answer) = gateway.status_of((Method::GET, &format!("/v1/grants/{id}")), &Value::Null).await?;
    }
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if in_json {
        output::json(&answer)?;
    }
    match (status, text("state").as_str()) {
        (StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, _) => {
            Err(usage(format!("{} {}", text("error"), text("hint")).trim()))
        }
        (StatusCode::FORBIDDEN, _) | (_, "denied" | "ended") => {
            if !in_json {
                let why = if text("error").is_empty() { text("reason") } else { text("error") };
                output::line(&format!("no: {why}"));
                if !text("hint").is_empty() {
                    output::line(&text("hint"));
                }
            }
            Ok(false)
        }
        (status, _) if !status.is_success() => anyhow::bail!("the gateway says: {}", text("error")),
        (_, "pending") => {
            if !in_json {
                output::line(&format!("{} waits for a person (question {})", text("id"), text("approval")));
            }
            Ok(false)
        }
        _ => {
            if !in_json {
                say(&answer);
            }
            Ok(true)
        }
    }
}

fn words(value: &Value, name: &str) -> String {
    let all = value.get(name).and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

/// What was given, and what was cut.
fn say(answer: &Value) {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    output::line(&format!("{} until {}", text(answer, "id"), text(answer, "expires")));
    for scope in answer.get("allowed").and_then(Value::as_array).into_iter().flatten() {
        let implied = if scope.get("implied").is_some() { " (goes with it)" } else { "" };
        let (service, actions, resources) =
            (text(scope, "service"), words(scope, "actions"), words(scope, "resources"));
        output::line(&format!("  {service}: {actions} on {resources}{implied}"));
    }
    for cut in answer.get("cut").and_then(Value::as_array).into_iter().flatten() {
        output::line(&format!("  not given: {}, {}", text(cut, "what"), text(cut, "why")));
    }
}

async fn list(gateway: &Gateway, session: Option<SessionId>, all: bool, in_json: bool) -> anyhow::Result<bool> {
    let rows = gateway.get("/v1/grants").await?;
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let wanted = |row: &&Value| {
        let open = ["live", "pending"].contains(&text(row, "state").as_str());
        (all || open) && session.is_none_or(|session| text(row, "session") == session.to_string())
    };
    let rows: Vec<&Value> = rows.as_array().into_iter().flatten().filter(wanted).collect();
    if in_json {
        output::json(&rows)?;
        return Ok(true);
    }
    for row in rows {
        let until = text(row, "expires");
        let until = if until.is_empty() { String::new() } else { format!(" until {until}") };
        let scopes: Vec<String> = row
            .get("allowed")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|scope| scope.get("implied").is_none())
            .map(|scope| {
                format!("{} {} on {}", text(scope, "service"), words(scope, "actions"), words(scope, "resources"))
            })
            .collect();
        let (id, state, agent) = (text(row, "id"), text(row, "state"), text(row, "agent"));
        // The agent chose these words.
        let chosen = format!("{}  ({})", scopes.join("; "), text(row, "justification"));
        output::line(&format!("{id}  {state}{until}  {agent}  {}", approval::render::visible(&chosen)));
    }
    Ok(true)
}
