//! `policy suggest`: the least permissions that cover what is on record, as a configuration whose comments say what they rest
//! on and what they change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use audit::{Filter, Record};
use model::canonical::CanonicalRequest;
use model::event::Kind;
use model::vocabulary::Vocabulary;
use model::{AgentName, Classification, Code, SessionId, Timestamp, bounds};
use policy::compare::{Comparison, Policy, compare};
use policy::suggest::{Suggested, Used, suggest};
use policy::{Decision, Document, Question, Rules, Subject};
use serde_json::{Value, json};

use super::{Ready, diff, ready, replay};
use crate::command::asked;
use crate::config::{Ambient, Faults, Home, Sources, read_bounded};
use crate::output;

/// The least permissions that cover what is on record
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What this agent did [default: every agent]
    #[arg(long, value_name = "NAME")]
    agent: Option<AgentName>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = super::super::audit::time)]
    since: Option<Timestamp>,
    /// What was done in this session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    /// What was done in the session of this receipt (`run --receipt`)
    #[arg(long, value_name = "FILE", conflicts_with = "session")]
    receipt: Option<PathBuf>,
    /// The present configuration: a file, or a folder of files [default: valetkey.yaml here, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Cover what no rule let through, too; it is marked
    #[arg(long)]
    denied: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One request on record.
struct Request {
    agent: AgentName,
    canonical: CanonicalRequest,
    classification: Classification,
    subject: Subject,
    credential: Option<String>,
    at: Timestamp,
    asked: bool,
    denied: bool,
}

/// What is on record, and how much of it was left out, by why.
#[derive(Default)]
struct Gathered {
    asked: Vec<Request>,
    left_out: BTreeMap<&'static str, u64>,
}

/// What is suggested for one agent.
struct One {
    agent: AgentName,
    requests: usize,
    permissions: Vec<Suggested>,
}

/// The least policy that covers what is on record.
pub(in super::super) struct Least {
    all: Vec<One>,
    yaml: String,
    failing: BTreeSet<String>,
    left_out: BTreeMap<&'static str, u64>,
    /// What it would change in the present configuration.
    pub(in super::super) comparison: Comparison,
}

/// Works out the least policy of what is on record, of one agent or of all; none where nothing of it could be covered.
///
/// # Errors
/// What it would change cannot be compared.
pub(in super::super) fn least<'a>(
    (present, document): (&Ready, &Document),
    records: impl Iterator<Item = &'a Record>,
    agent: Option<&AgentName>,
    with_denied: bool,
) -> anyhow::Result<Option<Least>> {
    let words = present.catalog.vocabulary();
    let mut gathered = Gathered::default();
    records.for_each(|record| gathered.add((present, document), record, with_denied));
    let bare = compiled(&bare(document), &words)?;
    gathered.leave_profiles(&bare);
    if gathered.asked.is_empty() {
        return Ok(None);
    }
    let mut all = suggested(&mut gathered, &words);
    let rules = fit(document, &words, &gathered, &mut all)?;
    let failing = gathered.refused(&rules);
    let sides = (Policy { rules: &present.rules, words: &words }, Policy { rules: &rules, words: &words });
    let comparison = compare(sides.0, sides.1, agent)?;
    let yaml = written(document, &all);
    Ok(Some(Least { all, yaml, failing, left_out: gathered.left_out, comparison }))
}

impl Args {
    pub(super) fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let sources = Sources::find(ambient, self.config.as_deref())?;
        let session = match &self.receipt {
            Some(path) => Some(session_of(ambient, path)?),
            None => self.session,
        };
        let present = ready(&sources)?;
        let (document, _) = sources.document()?;
        let filter = Filter { agent: self.agent, session, since: self.since, ..Filter::default() };
        let records = audit::search(&Home::open(ambient)?.audit(), &filter)?;
        let all = (&*present, &document);
        let Some(least) = least(all, records.iter(), filter.agent.as_ref(), self.denied)? else {
            output::remark("nothing on record matches that a permission could cover");
            return Ok(false);
        };
        if self.json {
            least.print_json()?;
        } else {
            least.print();
        }
        Ok(least.failing.is_empty())
    }
}

/// The session of a receipt.
fn session_of(ambient: &Ambient, path: &Path) -> anyhow::Result<SessionId> {
    let name = path.display();
    let bytes = read_bounded(&ambient.folder().join(path), bounds::CONFIG_BYTES_MAX)?;
    let bytes = bytes.with_context(|| format!("`{name}` does not exist; `valetkey run --receipt FILE` writes one"))?;
    let receipt: Option<Value> = serde_json::from_slice(&bytes).ok();
    let session = receipt.as_ref().and_then(|receipt| receipt.get("session")?.as_str()?.parse().ok());
    session.with_context(|| format!("`{name}` is no receipt of `valetkey run`"))
}

impl Least {
    fn print_json(&self) -> anyhow::Result<()> {
        let told = |one: &One| json!({ "agent": one.agent, "requests": one.requests, "permissions": one.permissions });
        output::json(&json!({
            "agents": self.all.iter().map(told).collect::<Vec<Value>>(),
            "yaml": self.yaml,
            "not_covered": self.failing,
            "left_out": self.left_out,
            "changes": diff::told(&self.comparison)?,
        }))
    }

    fn print(&self) {
        for one in &self.all {
            remark(&format!("the least policy for {} requests of {}", one.requests, one.agent));
        }
        for (why, count) in &self.left_out {
            remark(&format!("{count} left out: {why}"));
        }
        for what in &self.failing {
            remark(&format!("not covered: {what}"));
        }
        remark("what it changes:");
        for line in self.comparison.lines() {
            remark(&format!("  {line}"));
        }
        if self.comparison.is_same() {
            remark("  nothing");
        }
        output::line(self.yaml.trim_end());
    }
}

fn suggested(gathered: &mut Gathered, words: &Vocabulary) -> Vec<One> {
    let names: BTreeSet<AgentName> = gathered.asked.iter().map(|one| one.agent.clone()).collect();
    let mut all = Vec::new();
    for agent in names {
        let mine: Vec<&Request> = gathered.asked.iter().filter(|one| one.agent == agent).collect();
        let used: Vec<Used<'_>> = mine.iter().flat_map(|one| one.used()).collect();
        let suggestion = suggest(words, &used);
        let requests = mine.len();
        for (why, count) in suggestion.left_out {
            *gathered.left_out.entry(why).or_default() += count;
        }
        all.push(One { agent, requests, permissions: suggestion.permissions });
    }
    all
}

/// A comment of the configuration that is printed.
fn remark(text: &str) {
    output::line(&output::safe(&format!("# {text}")));
}

impl Gathered {
    fn add(&mut self, (present, document): (&Ready, &Document), record: &Record, with_denied: bool) {
        let event = &record.event;
        let denied = match (event.kind, event.code) {
            (Kind::Attempt, _) => false,
            // What a rule denies by name stays denied whatever is permitted.
            (Kind::Refusal, Some(Code::Denied)) if event.rules.iter().all(|rule| rule.starts_with("guarded/")) => true,
            (Kind::Refusal, Some(Code::Denied)) => return self.leave("denied by a rule of its own"),
            _ => return,
        };
        if let (true, Some(repeated)) = (denied, event.repeated) {
            *self.left_out.entry("counted, not told one by one").or_default() += repeated.times;
            return;
        }
        if denied && !with_denied {
            return self.leave("denied; --denied covers them too");
        }
        let Some(agent) = &event.agent else { return self.leave("of nobody") };
        let Some((canonical, classification)) = replay::understood(present, record) else {
            return self.leave("not to be understood any more");
        };
        if classification.service.is_none() {
            return self.leave("to hosts that no service knows, which `egress` and profiles let through");
        }
        if event.calls.is_empty() {
            return self.leave("refused before it was classified");
        }
        let subject = asked::subject(agent, event.user.clone(), event.task.clone(), event.time);
        self.asked.push(Request {
            agent: agent.clone(),
            canonical,
            classification,
            subject,
            credential: event.credential.as_ref().map(|used| judged_as(document, used.name.as_str()).to_owned()),
            at: event.time,
            asked: event.approval.is_some(),
            denied,
        });
    }

    fn leave(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    /// What a profile lets through needs no permission.
    fn leave_profiles(&mut self, bare: &Rules) {
        let before = self.asked.len();
        self.asked.retain(|one| {
            let explained = bare.explain(&one.question());
            explained.decision != "allow" || !explained.rules.iter().all(|rule| rule.starts_with("profile/"))
        });
        let covered = before - self.asked.len();
        if covered > 0 {
            self.left_out.insert("let through by a profile", covered as u64);
        }
    }

    /// What was let through and would not be.
    fn refused(&self, rules: &Rules) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for one in self.asked.iter().filter(|one| !one.denied) {
            let explained = rules.explain(&one.question());
            if explained.decision != "allow" {
                let calls = one.classification.calls.iter().map(|call| format!("{} on {}", call.action, call.resource));
                let calls = calls.collect::<Vec<_>>().join(", ");
                all.insert(format!("{} {calls}: {}", one.agent, explained.error.unwrap_or_default()));
            }
        }
        all
    }
}

/// The credential that rules name: what another minted (`parent.1`) is judged as that other.
pub(in super::super) fn judged_as<'a>(document: &Document, name: &'a str) -> &'a str {
    let declared = |name: &str| document.credentials.get(name).is_some();
    let parent = name.rsplit_once('.').map(|(parent, _)| parent).filter(|parent| !declared(name) && declared(parent));
    parent.unwrap_or(name)
}

impl Request {
    fn question(&self) -> Question<'_> {
        Question {
            subject: &self.subject,
            classification: &self.classification,
            method: self.canonical.method(),
            origin: self.canonical.origin(),
            presented: None,
            grants: &[],
            now: self.at,
        }
    }

    fn used(&self) -> impl Iterator<Item = Used<'_>> {
        let service = self.classification.service.as_ref().map_or("", |service| service.as_str());
        self.classification.calls.iter().map(move |call| Used {
            service,
            credential: self.credential.as_deref(),
            call,
            at: self.at,
            asked: self.asked,
            denied: self.denied,
        })
    }
}

/// The suggestion in force: the present configuration with it in the place of the agents' permissions. Limits are raised to
/// what their counters held on record, where several permissions count one call.
fn fit(document: &Document, words: &Vocabulary, gathered: &Gathered, all: &mut [One]) -> anyhow::Result<Rules> {
    // Where decisions are only recorded, nothing is counted.
    let mut enforced = document.clone();
    enforced.mode = None;
    let rules = compiled(&with(&enforced, all)?, words)?;
    let mut counters: BTreeMap<String, (u64, BTreeMap<String, Vec<Timestamp>>)> = BTreeMap::new();
    for one in &gathered.asked {
        let Decision::Allow(conditions) = rules.decide(&one.question()) else { continue };
        for need in conditions.limits() {
            let (max, times) = counters.entry(need.rule.clone()).or_default();
            *max = need.max;
            let taken = usize::try_from(need.amount).unwrap_or(usize::MAX).min(1_000);
            times.entry(need.key.clone()).or_default().extend(std::iter::repeat_n(one.at, taken));
        }
    }
    for one in all.iter_mut() {
        for (number, permission) in one.permissions.iter_mut().enumerate() {
            let rule = format!("{}/{}", one.agent, number + 1);
            let Some((max, times)) = counters.get(&rule) else { continue };
            let peak = times.values().map(|times| policy::suggest::peak(times.clone())).max().unwrap_or(0);
            if peak > *max {
                permission.raise(peak);
            }
        }
    }
    compiled(&with(document, all)?, words)
}

fn compiled(document: &Document, words: &Vocabulary) -> anyhow::Result<Rules> {
    Rules::compile(document, words).map_err(|faults| Faults(faults).into())
}

/// The present configuration without any permission.
fn bare(document: &Document) -> Document {
    let mut document = document.clone();
    for (_, agent) in &mut document.agents.0 {
        agent.permissions.clear();
    }
    document
}

/// The present configuration with the suggestion.
fn with(document: &Document, all: &[One]) -> anyhow::Result<Document> {
    let (suggested, _) = Document::parse(&agents(document, all), "suggestion").map_err(Faults)?;
    let mut document = document.clone();
    for (name, agent) in suggested.agents.0 {
        match document.agents.0.iter_mut().find(|(known, _)| known.value == name.value) {
            Some((_, known)) => known.permissions = agent.permissions,
            None => document.agents.0.push((name, agent)),
        }
    }
    Ok(document)
}

/// The suggestion as a configuration that can be used where its services are known.
fn written(document: &Document, all: &[One]) -> String {
    let mut text = "version: 1\n".to_owned();
    let services: Vec<&str> = document.services.iter().map(|path| path.value.as_str()).collect();
    if !services.is_empty() {
        let _ = writeln!(text, "services: {}", json!(services));
    }
    text + &agents(document, all)
}

fn agents(document: &Document, all: &[One]) -> String {
    let mut text = "agents:\n".to_owned();
    for one in all {
        let _ = writeln!(text, "  {}:", json!(one.agent));
        let denied = document.agents.get(one.agent.as_str()).map(|agent| &agent.denied_actions);
        let denied: Vec<&str> = denied.into_iter().flatten().map(|word| word.value.as_str()).collect();
        if !denied.is_empty() {
            let _ = writeln!(text, "    denied_actions: {}", json!(denied));
        }
        text += "    permissions:\n";
        for permission in &one.permissions {
            text += &permission.yaml(6);
        }
        if one.permissions.is_empty() {
            text += "      []\n";
        }
    }
    text
}
