//! `review`: what is granted against what is used. Permissions, credentials, a checklist with evidence, and what the least policy would
//! change. It reads the configuration, the vault's list and the audit log, and changes nothing.

mod checklist;
mod credentials;
mod used;

use std::path::PathBuf;

use audit::Filter;
use model::{AgentName, Timestamp};
use serde_json::json;

use super::local::Local;
use super::policy::{Ready, ready, suggest};
use super::usage;
use crate::config::{Ambient, Sources};
use crate::output::{self, Paint};
use checklist::Is;
use credentials::Held;
use used::{Permission, Use};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// What is granted against what is used
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of this agent alone
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Use before this time does not count (RFC 3339) [default: 30 days ago]
    #[arg(long, value_name = "TIME", value_parser = super::audit::time)]
    since: Option<Timestamp>,
    /// The configuration: a file, or a folder of files [default: valetkey.yaml here]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask the services what each credential may do: one harmless request each
    #[arg(long)]
    ask: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Everything that a review looks at.
struct Review {
    since: Timestamp,
    now: Timestamp,
    permissions: Vec<Permission>,
    credentials: Vec<Held>,
    checks: Vec<checklist::Check>,
    /// What the least policy would change.
    least: Vec<String>,
    /// Events that were read.
    events: u64,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let sources = Sources::find(ambient, self.config.as_deref())?;
        let present = ready(&sources)?;
        anyhow::ensure!(
            !present.rules.is_guarded(),
            "the configuration names no agents, so nothing is granted that could be reviewed; `valetkey policy suggest` drafts one from \
             what was done"
        );
        if let Some(agent) = self.agent.as_ref().filter(|agent| !present.rules.knows_agent(agent)) {
            return Err(usage(format!("the configuration names no agent `{agent}`")));
        }
        let local = Local::open(ambient).await?;
        let now = local.now();
        if self.since.is_some_and(|since| since > now) {
            return Err(usage("`--since` lies in the future; nothing was done since then"));
        }
        let since = self.since.unwrap_or_else(|| now.minus_secs(30 * DAY));
        let review = self.review(ambient, (&sources, &present), &local, (since, now)).await?;
        if self.json {
            review.print_json()?;
        } else {
            review.print(Paint::of_stdout(ambient.wants_colour()));
        }
        Ok(review.checks.iter().all(|check| check.answer != checklist::Is::Fail))
    }

    async fn review(
        &self,
        ambient: &Ambient,
        (sources, present): (&Sources, &Ready),
        local: &Local,
        (since, now): (Timestamp, Timestamp),
    ) -> anyhow::Result<Review> {
        let (document, _) = sources.document()?;
        let words = present.catalog.vocabulary();
        // Everybody's: a credential that one agent leaves alone may be another's.
        let everybody = Filter { since: Some(since), ..Filter::default() };
        let mut using = Use::default();
        let records = audit::search(&local.home.audit(), &everybody)?;
        for record in &records {
            using.add(&document, &record.event);
        }
        let mine = |agent: &Option<AgentName>| self.agent.is_none() || agent.is_none() || *agent == self.agent;
        let granted = present.rules.granted(&words).into_iter().filter(|one| mine(&one.agent));
        let permissions: Vec<Permission> = granted.map(|granted| using.of(granted)).collect();
        let mut credentials = credentials::all(local, (&document, &present.rules), &using).await?;
        if let Some(agent) = &self.agent {
            credentials.retain(|held| held.agents.contains(agent.as_str()));
        }
        if self.ask {
            for held in &mut credentials {
                held.ask(ambient, self.config.as_deref(), (&present.catalog, &permissions)).await;
            }
        }
        let checks = checklist::all(&checklist::Seen {
            document: &document,
            rules: &present.rules,
            permissions: &permissions,
            credentials: &credentials,
            local,
            now,
            agent: self.agent.as_ref(),
            events: using.events,
            asked: self.ask,
        });
        let agent = self.agent.as_ref();
        let mine = records.iter().filter(|record| agent.is_none() || record.event.agent.as_ref() == agent);
        let least = suggest::least((present, &document), mine, agent, false)?;
        let least = least.map(|least| least.comparison.lines().collect()).unwrap_or_default();
        Ok(Review { since, now, permissions, credentials, checks, least, events: using.events })
    }
}

impl Review {
    fn print_json(&self) -> anyhow::Result<()> {
        output::json(&json!({
            "since": self.since,
            "until": self.now,
            "events": self.events,
            "permissions": self.permissions,
            "credentials": self.credentials,
            "checklist": self.checks,
            "least_policy_changes": self.least,
        }))
    }

    fn print(&self, paint: Paint) {
        let title = format!("Permissions, and what they were used for since {} ({} events)", self.since, self.events);
        output::line(&paint.strong(&title));
        for permission in &self.permissions {
            output::line(&output::safe(&permission.words()));
        }
        output::line(&paint.strong("Credentials"));
        for held in &self.credentials {
            output::line(&output::safe(&held.words()));
        }
        output::line(&paint.strong("Checklist"));
        for check in &self.checks {
            let word = match check.answer {
                Is::Pass => paint.good("pass"),
                Is::Fail => paint.bad("fail"),
                Is::Open => paint.faint("open"),
            };
            output::line(&format!("  {word}  {}", check.title));
            for line in &check.evidence {
                output::line(&output::safe(&format!("        {line}")));
            }
        }
        if !self.least.is_empty() {
            output::line(&paint.strong("The least policy for what was done (`valetkey policy suggest`) would change"));
            for line in &self.least {
                output::line(&output::safe(&format!("  {line}")));
            }
        }
        let of = |answer| self.checks.iter().filter(|check| check.answer == answer).count();
        output::line(&format!("{} pass, {} fail, {} open", of(Is::Pass), of(Is::Fail), of(Is::Open)));
    }
}
