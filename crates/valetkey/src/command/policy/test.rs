//! `policy test`: tables of requests and what a policy must say to them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use model::{AgentName, Code, Refusal, Timestamp, UserName};
use policy::Question;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Ready, Verdict, ready, text_of};
use crate::clock::SystemClock;
use crate::command::{asked, usage};
use crate::config::{Ambient, Sources};
use crate::output::{self, Paint};

/// Cases of one table.
const CASES_MAX: usize = 10_000;

/// Run tables of cases against a policy
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Tables of cases (YAML)
    #[arg(required = true, value_name = "TABLE")]
    tables: Vec<PathBuf>,
    /// The configuration [default: the table's own `policy:`, else valetkey.yaml here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A table, as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// The configuration that it is about, from the table's own folder.
    #[serde(default)]
    policy: Option<PathBuf>,
    tests: Vec<Case>,
}

/// One request, and what must come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// For messages; the request itself where it has none.
    #[serde(default)]
    name: Option<String>,
    agent: AgentName,
    /// `GET https://api.github.com/user`.
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text as it is, anything else as JSON.
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    user: Option<UserName>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    task: Option<String>,
    #[serde(default)]
    source: Option<IpAddr>,
    /// When it comes (RFC 3339); now where it does not matter.
    #[serde(default)]
    at: Option<String>,
    /// When its session began; then too.
    #[serde(default)]
    session_started: Option<String>,
    expect: Verdict,
    /// What more is to be seen; nothing of it must be.
    #[serde(default)]
    code: Option<Code>,
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    credential: Option<String>,
}

/// What came of a case.
#[derive(Serialize)]
struct Outcome {
    table: String,
    name: String,
    passed: bool,
    expected: Verdict,
    got: Verdict,
    /// What was otherwise than it must be.
    differs: Vec<String>,
    code: Option<Code>,
    rules: Vec<String>,
    actions: Vec<String>,
    resources: Vec<String>,
    credential: Option<String>,
    /// What the agent would read.
    error: Option<String>,
}

impl Args {
    pub(super) fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let mut outcomes = Vec::new();
        for path in &self.tables {
            outcomes.extend(self.table(ambient, path)?);
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
        if self.json {
            output::json(&json!({ "passed": outcomes.len() - failed, "failed": failed, "tests": outcomes }))?;
            return Ok(failed == 0);
        }
        let paint = Paint::of_stdout(ambient.wants_colour());
        for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
            output::line(&format!("{} {}", paint.bad("failed"), output::safe(&outcome.name)));
            output::line(&format!("       {}: {}", outcome.table, output::safe(&outcome.differs.join("; "))));
            if let Some(error) = &outcome.error {
                output::line(&format!("       {}", output::safe(error)));
            }
        }
        output::line(&format!("{} passed, {failed} failed", outcomes.len() - failed));
        Ok(failed == 0)
    }

    fn table(&self, ambient: &Ambient, path: &Path) -> anyhow::Result<Vec<Outcome>> {
        let place = ambient.folder().join(path);
        let name = path.display().to_string();
        let text = text_of(ambient, path, "table")?;
        let table: Table = serde_saphyr::from_str(&text).map_err(|error| {
            let at = error.location().map_or_else(String::new, |place| format!("{}:{}:", place.line(), place.column()));
            let said = error.without_snippet().to_string();
            usage(format!("{name}:{at} {}", said.lines().next().unwrap_or_default()))
        })?;
        if table.tests.is_empty() || table.tests.len() > CASES_MAX {
            return Err(usage(format!(
                "`{name}` has {} tests; give 1 to {CASES_MAX} under `tests:`",
                table.tests.len()
            )));
        }
        let beside = table.policy.as_ref().map(|policy| place.parent().unwrap_or(Path::new(".")).join(policy));
        let named = self.config.clone().or(beside);
        let ready = ready(&Sources::find(ambient, named.as_deref())?)?;
        table.tests.iter().map(|case| case.run(&ready, &name)).collect()
    }
}

impl Case {
    fn run(&self, ready: &Ready, table: &str) -> anyhow::Result<Outcome> {
        let name = self.name.clone().unwrap_or_else(|| format!("{} {}", self.agent, self.request));
        let wrong = |error: anyhow::Error| error.context(format!("{table}: `{name}`"));
        let asked = self.request.split_once(' ').ok_or_else(|| {
            wrong(usage(format!("`{}` is not a request; write `GET https://host/path`", output::safe(&self.request))))
        })?;
        let headers: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = match &self.body {
            None => None,
            Some(Value::String(text)) => Some(text.clone().into_bytes()),
            Some(value) => Some(serde_json::to_vec(value)?),
        };
        let mut outcome = Outcome {
            table: table.to_owned(),
            name: name.clone(),
            passed: false,
            expected: self.expect,
            got: Verdict::Refused,
            differs: Vec::new(),
            code: None,
            rules: Vec::new(),
            actions: Vec::new(),
            resources: Vec::new(),
            credential: None,
            error: None,
        };
        let made = asked::canonical((asked.0, asked.1.trim()), &headers, body.as_deref()).map_err(wrong)?;
        let classified = made.and_then(|request| {
            let classification = ready.catalog.classify(&request, asked::body_view(body.as_deref()))?;
            Ok((request, classification))
        });
        match classified {
            Err(Refusal { code, public, .. }) => (outcome.code, outcome.error) = (Some(code), Some(public)),
            Ok((request, classification)) => {
                let now = moment(self.at.as_deref()).map_err(wrong)?;
                let mut subject = asked::subject(&self.agent, self.user.clone(), self.task.clone(), now);
                subject.roles.clone_from(&self.roles);
                subject.source = self.source.unwrap_or(subject.source);
                if self.session_started.is_some() {
                    subject.session_started = moment(self.session_started.as_deref()).map_err(wrong)?;
                }
                let explained = ready.rules.explain(&Question {
                    subject: &subject,
                    classification: &classification,
                    method: request.method(),
                    origin: request.origin(),
                    presented: None,
                    grants: &[],
                    now,
                });
                outcome.got = Verdict::of(&explained);
                outcome.code = explained.code;
                outcome.rules = explained.rules.iter().map(ToString::to_string).collect();
                outcome.actions = classification.calls.iter().map(|call| call.action.to_string()).collect();
                outcome.resources = classification.calls.iter().map(|call| call.resource.as_str().to_owned()).collect();
                outcome.credential = explained.credential.map(|name| name.to_string());
                outcome.error = explained.error;
            }
        }
        outcome.differs = self.differs(&outcome);
        outcome.passed = outcome.differs.is_empty();
        Ok(outcome)
    }

    fn differs(&self, got: &Outcome) -> Vec<String> {
        let mut all = Vec::new();
        if got.got != self.expect {
            all.push(format!("expected {}, got {}", self.expect.as_str(), got.got.as_str()));
        }
        if self.code.is_some() && got.code != self.code {
            let word = |code: Option<Code>| code.map_or("no code", |code| code.as_str());
            all.push(format!("expected {}, got {}", word(self.code), word(got.code)));
        }
        let mut one_of = |what: &str, wanted: Option<&String>, found: &[String]| {
            if let Some(wanted) = wanted.filter(|wanted| !found.contains(wanted)) {
                let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
                all.push(format!("expected {what} {wanted}, got {found}"));
            }
        };
        one_of("rule", self.rule.as_ref(), &got.rules);
        one_of("action", self.action.as_ref(), &got.actions);
        one_of("resource", self.resource.as_ref(), &got.resources);
        one_of("credential", self.credential.as_ref(), got.credential.as_slice());
        all
    }
}

/// A time as it is written; now where none is.
fn moment(written: Option<&str>) -> anyhow::Result<Timestamp> {
    match written {
        None => Ok(model::Clock::now(&SystemClock)),
        Some(text) => Timestamp::parse(text)
            .ok_or_else(|| usage(format!("`{text}` is not a time; write it as 2026-11-20T18:00:00Z"))),
    }
}
