//! `explain`: what a request would be, and whether it would pass.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use model::{AgentName, Classification, Refusal, Timestamp, UserName, bounds};
use policy::Question;
use serde_json::{Map, Value, json};

use super::asked;
use super::policy::{Checked, check};
use crate::clock::SystemClock;
use crate::config::{Ambient, Faults, Sources, read_bounded};
use crate::output;

/// What a request would be, and whether it would pass
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The method
    method: String,
    /// The URL
    url: String,
    /// The configuration: a file, or a folder of files [default: valetkey.yaml here, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Would it pass for this agent?
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// The task of its session
    #[arg(long, value_name = "TEXT")]
    task: Option<String>,
    /// On whose behalf
    #[arg(long, value_name = "USER")]
    user: Option<UserName>,
    /// A role of that person; several may be given
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// The address of the client
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// When it comes (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME", value_parser = super::audit::time)]
    at: Option<Timestamp>,
    /// When its session began (RFC 3339) [default: then too]
    #[arg(long, value_name = "TIME", value_parser = super::audit::time)]
    session_started: Option<Timestamp>,
    /// A header field
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The body: a file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let ready = match check(&Sources::find(ambient, self.config.as_deref())?)? {
            Checked::Good(ready) => ready,
            Checked::Bad(faults) => return Err(Faults(faults).into()),
        };
        let body = self.read_body(ambient)?;
        let request = match asked::canonical((&self.method, &self.url), &self.headers, body.as_deref()) {
            Ok(Ok(request)) => request,
            Ok(Err(refusal)) => return self.refused(&refusal),
            Err(error) => return Err(error),
        };
        let classification = match ready.catalog.classify(&request, asked::body_view(body.as_deref())) {
            Ok(classification) => classification,
            Err(refusal) => return self.refused(&refusal),
        };
        let mut answer = told(&classification)?;
        let Some(agent) = &self.agent else {
            self.print(&answer)?;
            return Ok(true);
        };
        let now = self.at.unwrap_or_else(|| model::Clock::now(&SystemClock));
        let mut subject = asked::subject(agent, self.user.clone(), self.task.clone(), now);
        subject.roles.clone_from(&self.roles);
        subject.source = self.source.unwrap_or(subject.source);
        subject.session_started = self.session_started.unwrap_or(now);
        let question = Question {
            subject: &subject,
            classification: &classification,
            method: request.method(),
            origin: request.origin(),
            presented: None,
            grants: &[],
            now,
        };
        let explained = ready.rules.explain(&question);
        if let Value::Object(more) = serde_json::to_value(&explained)? {
            answer.extend(more);
        }
        self.print(&answer)?;
        Ok(explained.decision == "allow")
    }

    fn read_body(&self, ambient: &Ambient) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = &self.body else { return Ok(None) };
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            std::io::stdin().lock().take(bounds::BODY_FACT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
        let path = ambient.folder().join(path);
        let bytes = read_bounded(&path, bounds::BODY_FACT_BYTES_MAX)?;
        Ok(Some(
            bytes.with_context(|| format!("`{}` does not exist; check the path given with --body", path.display()))?,
        ))
    }

    fn refused(&self, refusal: &Refusal) -> anyhow::Result<bool> {
        let mut said = Map::new();
        said.insert("code".to_owned(), json!(refusal.code));
        said.insert("error".to_owned(), json!(refusal.public));
        if let Some(hint) = &refusal.hint {
            said.insert("hint".to_owned(), json!(hint));
        }
        let mut answer = Map::new();
        answer.insert("service".to_owned(), Value::Null);
        answer.insert("calls".to_owned(), json!([]));
        answer.insert("refusal".to_owned(), Value::Object(said));
        self.print(&answer)?;
        Ok(false)
    }

    fn print(&self, answer: &Map<String, Value>) -> anyhow::Result<()> {
        if self.json {
            return output::json(answer);
        }
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let say = |line: String| output::line(&output::safe(&line));
        if let Some(refusal) = answer.get("refusal") {
            say(format!("refused before policy: {}: {}", text(refusal.get("code")), text(refusal.get("error"))));
            if let Some(hint) = refusal.get("hint").and_then(Value::as_str) {
                say(format!("hint     {hint}"));
            }
            return Ok(());
        }
        match answer.get("service") {
            Some(Value::String(service)) => say(format!("service  {service}")),
            _ => say("service  none: a host that nobody knows".to_owned()),
        }
        for call in answer.get("calls").and_then(Value::as_array).into_iter().flatten() {
            let effects = call.get("effects").map(list).unwrap_or_default();
            say(format!(
                "call     {} ({}) on {} {effects}",
                text(call.get("action")),
                text(call.get("class")),
                text(call.get("resource"))
            ));
        }
        if let Some(decision) = answer.get("decision").and_then(Value::as_str) {
            let rules = answer.get("rules").map(list).unwrap_or_default();
            say(format!("{decision:8} {} {rules}", text(answer.get("error"))));
            for condition in answer.get("conditions").and_then(Value::as_array).into_iter().flatten() {
                say(format!("if       {condition}"));
            }
            if let Some(hint) = answer.get("hint").and_then(Value::as_str) {
                say(format!("hint     {hint}"));
            }
        }
        Ok(())
    }
}

fn list(value: &Value) -> String {
    let words = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    words.collect::<Vec<_>>().join(" ")
}

fn told(classification: &Classification) -> anyhow::Result<Map<String, Value>> {
    let mut answer = Map::new();
    answer.insert("service".to_owned(), json!(classification.service));
    // For a host that nobody knows there is nothing to say about calls.
    let calls = if classification.service.is_some() {
        serde_json::to_value(classification.calls.as_slice())?
    } else {
        json!([])
    };
    answer.insert("calls".to_owned(), calls);
    Ok(answer)
}
