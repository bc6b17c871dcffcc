//! `approve`, `deny`, `approvals`: people answer what agents ask, from any terminal.
//!
//! A yes needs an operator's token: the agent runs as the same user, and could type these commands too. Looking and saying
//! no need none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Subcommand;
use model::ApprovalId;
use model::bounds::SESSION_SECONDS_DEFAULT;
use serde_json::{Value, json};

use super::control::{As, Gateway, Wanted};
use super::run::span_seconds;
use crate::config::Ambient;
use crate::output;

/// How often `watch` looks.
const LOOK: Duration = Duration::from_millis(500);

/// Say yes to a question
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The question's id (`apr_..`), as `approvals list` shows it
    id: ApprovalId,
    /// The same question again for so long: `session`, or a time such as `10m` [default: this very request, once]
    #[arg(long = "for", value_name = "SPAN", value_parser = reach)]
    reach: Option<Reach>,
    #[command(flatten)]
    gateway: Wanted,
}

/// Say no to a question
#[derive(Debug, clap::Args)]
pub struct Deny {
    /// The question's id (`apr_..`), as `approvals list` shows it
    id: ApprovalId,
    /// Why; the agent reads it
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    gateway: Wanted,
}

/// What can be done with approvals.
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// Questions that wait for an answer
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: Wanted,
    },
    /// One of them: what is sent where, and the octets behind it
    Show {
        /// The question's id (`apr_..`)
        id: ApprovalId,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: Wanted,
    },
    /// Questions as they come, and what becomes of them. While an approver watches, agents wait for his answer
    Watch {
        /// Print JSON, one value a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        gateway: Wanted,
    },
}

/// How far a yes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Session,
    Seconds(u64),
}

fn reach(text: &str) -> Result<Reach, String> {
    if text == "session" {
        return Ok(Reach::Session);
    }
    let seconds = span_seconds(text).map_err(|error| format!("{error}, or `session`"))?;
    if seconds > SESSION_SECONDS_DEFAULT {
        return Err(format!("`{text}` is longer than 12 hours, which is as long as a yes may hold"));
    }
    Ok(Reach::Seconds(seconds))
}

impl Approve {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let gateway = self.gateway.gateway(ambient, As::Operator)?;
        let (wanted, words) = match self.reach {
            None => (json!({ "decision": "approve" }), "once".to_owned()),
            Some(Reach::Session) => {
                (json!({ "decision": "approve", "scope": "session" }), "for the session".to_owned())
            }
            Some(Reach::Seconds(seconds)) => {
                let wanted = json!({ "decision": "approve", "scope": "time", "seconds": seconds });
                (wanted, format!("for {seconds} s"))
            }
        };
        answer(&gateway, self.id, &wanted).await?;
        let row = gateway.get(&format!("/v1/approvals/{}", self.id)).await?;
        if text(&row, "state") == "open" {
            let more = row.get("wanted").and_then(Value::as_u64).unwrap_or(1);
            output::line(&format!("yes counted for {}; {more} people must agree", self.id));
        } else {
            output::line(&format!("approved {} {words}: {}", self.id, shown(&row, "sentence")));
        }
        Ok(true)
    }
}

impl Deny {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let gateway = self.gateway.gateway(ambient, As::Anybody)?;
        answer(&gateway, self.id, &json!({ "decision": "deny", "reason": self.reason })).await?;
        output::line(&format!("denied {}", self.id));
        Ok(true)
    }
}

async fn answer(gateway: &Gateway, id: ApprovalId, wanted: &Value) -> anyhow::Result<()> {
    gateway.post(&format!("/v1/approvals/{id}"), wanted).await.map(drop)
}

impl Approvals {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        match self {
            Self::List { json, gateway } => list(&gateway.gateway(ambient, As::Anybody)?, json).await,
            Self::Show { id, json, gateway } => show(&gateway.gateway(ambient, As::Anybody)?, id, json).await,
            Self::Watch { json, gateway } => watch(&gateway.gateway(ambient, As::Anybody)?, json).await,
        }
    }
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A text that an agent may have chosen, with letters that pass for others by number, as on the terminal of `run`.
fn shown(row: &Value, name: &str) -> String {
    approval::render::visible(text(row, name))
}

async fn list(gateway: &Gateway, is_json: bool) -> anyhow::Result<bool> {
    let all = gateway.get("/v1/approvals").await?;
    if is_json {
        output::json(&all)?;
        return Ok(true);
    }
    let rows: Vec<Vec<String>> = all
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| ["id", "agent", "expires", "sentence"].map(|name| shown(row, name)).to_vec())
        .collect();
    if rows.is_empty() {
        output::line("no question is open");
    } else {
        output::table(&["ID", "AGENT", "UNTIL", "QUESTION"], &rows);
    }
    Ok(true)
}

async fn show(gateway: &Gateway, id: ApprovalId, is_json: bool) -> anyhow::Result<bool> {
    let row = gateway.get(&format!("/v1/approvals/{id}")).await?;
    if is_json {
        output::json(&row)?;
        return Ok(true);
    }
    output::line(&shown(&row, "sentence"));
    output::line(&format!("  {} {}", shown(&row, "method"), shown(&row, "url")));
    for (label, name) in [
        ("agent", "agent"),
        ("session", "session"),
        ("rule", "rule"),
        ("state", "state"),
        ("until", "expires"),
        ("digest", "digest"),
    ] {
        output::line(&format!("  {label}: {}", shown(&row, name)));
    }
    if let Some(body) = row.get("body") {
        let bytes = body.get("bytes").and_then(Value::as_u64).unwrap_or(0);
        let whole = if body.get("whole").and_then(Value::as_bool) == Some(true) { "" } else { ", the first of them:" };
        output::line(&format!("  body: {bytes} octets {}{whole}", shown(body, "content_type")));
        output::line(&shown(body, "text"));
    } else if !text(&row, "body_hash").is_empty() {
        output::line(&format!("  body: SHA-256 {} (the process that holds it can show it)", shown(&row, "body_hash")));
    }
    Ok(true)
}

/// Until it is interrupted.
async fn watch(gateway: &Gateway, is_json: bool) -> anyhow::Result<bool> {
    let mut known = BTreeSet::new();
    look(gateway, &mut known, is_json).await?;
    loop {
        tokio::time::sleep(LOOK).await;
        // A gateway that is started anew is waited for; one that never answered was a mistake.
        if let Err(error) = look(gateway, &mut known, is_json).await {
            output::warn(&format!("{error:#}"));
            tokio::time::sleep(LOOK * 10).await;
        }
    }
}

/// Tells of what is new, and what became of what is gone.
async fn look(gateway: &Gateway, known: &mut BTreeSet<String>, is_json: bool) -> anyhow::Result<()> {
    let all = gateway.get("/v1/approvals?watch").await?;
    let open: BTreeMap<&str, &Value> = all.as_array().into_iter().flatten().map(|row| (text(row, "id"), row)).collect();
    let gone: Vec<String> = known.iter().filter(|id| !open.contains_key(id.as_str())).cloned().collect();
    for id in gone {
        let row = gateway.get(&format!("/v1/approvals/{id}")).await?;
        known.remove(&id);
        tell(&row, is_json)?;
    }
    for (id, row) in open {
        if known.insert(id.to_owned()) {
            tell(row, is_json)?;
        }
    }
    Ok(())
}

fn tell(row: &Value, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        return output::json(row);
    }
    let (id, state) = (shown(row, "id"), shown(row, "state"));
    if state != "open" {
        output::line(&format!("{id} {state}"));
        return Ok(());
    }
    output::line(&format!("{id} {} asks: {}", shown(row, "agent"), shown(row, "sentence")));
    output::line(&format!("    valetkey approve {id}   or   valetkey deny {id} --reason TEXT"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches() {
        assert_eq!(reach("session"), Ok(Reach::Session));
        assert_eq!(reach("10m"), Ok(Reach::Seconds(600)));
        assert_eq!(reach("12h"), Ok(Reach::Seconds(43_200)));
        for bad in ["", "ever", "13h", "0s"] {
            assert!(reach(bad).is_err(), "{bad}");
        }
    }
}
