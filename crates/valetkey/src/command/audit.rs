//! `audit tail|search|verify|export`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use audit::{Filter, Format, Record, Tail, Verified, read_line};
use clap::{Subcommand, ValueEnum};
use model::event::Verdict;
use model::{AgentName, Code, ServiceName, SessionId, Timestamp};
use serde_json::json;

use super::later::Anything;
use super::usage;
use crate::clock::SystemRandom;
use crate::config::{Ambient, Home};
use crate::output;

/// What can be done with the record.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// The last records, and what comes
    Tail {
        /// How many of the last
        #[arg(short = 'n', long, default_value_t = 10)]
        lines: usize,
        /// Go on with what comes
        #[arg(short, long)]
        follow: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Records that match everything given
    Search(SearchArgs),
    /// Whether the record is whole
    Verify {
        /// A head that was kept elsewhere (a receipt, an export)
        #[arg(long, value_name = "HEAD")]
        head: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Everything, one event a line
    Export {
        /// The form
        #[arg(long, value_enum, default_value = "json", conflicts_with = "json")]
        format: Form,
        /// The events as they stand, chain and all: the same as `--format json`
        #[arg(long)]
        json: bool,
        /// Into this file (0600) instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// A package for auditors (not in this version)
    #[command(hide = true)]
    Evidence(Anything),
}

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Events as they stand, chain and all
    Json,
    /// One flat object for each exchange
    Flat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decision {
    Allow,
    Deny,
}

/// Records that match everything given
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// A text that stands anywhere in the record
    text: Option<String>,
    /// The agent
    #[arg(long)]
    agent: Option<AgentName>,
    /// The service
    #[arg(long)]
    service: Option<ServiceName>,
    /// The action of one of its calls
    #[arg(long)]
    action: Option<String>,
    /// The code of a refusal
    #[arg(long, value_parser = code)]
    code: Option<Code>,
    /// The decision
    #[arg(long, value_enum)]
    decision: Option<Decision>,
    /// The session
    #[arg(long)]
    session: Option<SessionId>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only the last so many
    #[arg(short = 'n', long)]
    limit: Option<usize>,
    /// Print JSON, one record a line
    #[arg(long)]
    json: bool,
}

pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| format!("`{text}` is not a time; write it as 2026-11-20T18:00:00Z"))
}

fn code(text: &str) -> Result<Code, String> {
    let words = || Code::ALL.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(", ");
    Code::ALL
        .iter()
        .find(|code| code.as_str() == text)
        .copied()
        .ok_or_else(|| format!("`{text}` is not a code; known are {}", words()))
}

impl Audit {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let home = Home::open(ambient)?;
        match self {
            Self::Tail { lines, follow, json } => tail(&home, lines, follow, json).await,
            Self::Search(args) => args.run(&home),
            Self::Verify { head, json } => verify(&home, head.as_deref(), json),
            Self::Export { format, json, output } => {
                let _ = json;
                export(ambient, &home, format, output)
            }
            Self::Evidence(_) => {
                Err(usage("`audit evidence` is not in this version; `valetkey audit export` writes everything"))
            }
        }
    }
}

/// One record on one line for people.
fn sentence(record: &Record) -> String {
    let event = &record.event;
    let kind =
        serde_json::to_value(event.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    let mut text = format!("{} {kind:9}", event.time);
    let mut add = |part: String| {
        text.push(' ');
        text.push_str(&part);
    };
    event.agent.iter().for_each(|agent| add(agent.to_string()));
    match event.decision {
        Some(Verdict::Allow) => add("allow".to_owned()),
        Some(Verdict::Deny) => add("deny".to_owned()),
        None => {}
    }
    event.code.iter().for_each(|code| add(code.to_string()));
    event.credential.iter().for_each(|used| add(format!("{}@{}", used.name, used.version)));
    for call in event.calls.iter().take(3) {
        add(format!("{} {}", call.action, call.resource.as_str()));
    }
    if let Some(request) = &event.request {
        add(format!("{} {}{}", request.method, request.host, request.path));
    }
    event.response.iter().for_each(|response| add(format!("-> {}", response.status)));
    event.reason.iter().for_each(|reason| add(format!("({reason})")));
    output::safe(&text)
}

fn print(record: &Record, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(record);
    }
    output::line(&sentence(record));
    Ok(())
}

async fn tail(home: &Home, lines: usize, follow: bool, json: bool) -> anyhow::Result<bool> {
    // The place is taken before the last records are read: what comes in between is shown twice rather than never.
    let mut new = Tail::from_end(&home.audit())?;
    let filter = Filter { limit: Some(lines), ..Filter::default() };
    for record in audit::search(&home.audit(), &filter)? {
        print(&record, json)?;
    }
    if !follow {
        return Ok(true);
    }
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        for line in new.look()? {
            match read_line(&line) {
                Ok(record) => print(&record, json)?,
                Err(_) => {
                    output::remark("a line that is no record; `valetkey audit verify` says what is wrong with it");
                }
            }
        }
    }
}

impl SearchArgs {
    fn run(self, home: &Home) -> anyhow::Result<bool> {
        let decision = self.decision.map(|decision| match decision {
            Decision::Allow => Verdict::Allow,
            Decision::Deny => Verdict::Deny,
        });
        let filter = Filter {
            agent: self.agent,
            service: self.service,
            action: self.action,
            code: self.code,
            decision,
            session: self.session,
            since: self.since,
            until: self.until,
            text: self.text,
            limit: self.limit,
        };
        let found = audit::search(&home.audit(), &filter)?;
        for record in &found {
            print(record, self.json)?;
        }
        if found.is_empty() && !self.json {
            output::remark("nothing on record matches");
        }
        Ok(!found.is_empty())
    }
}

fn verify(home: &Home, head: Option<&str>, json: bool) -> anyhow::Result<bool> {
    let signer = audit::Signer::from_seed(&home.signing_seed(&SystemRandom)?)?;
    match audit::verify(&home.audit(), &signer.public(), head)? {
        Verified::Whole(report) if json => {
            output::json(
                &json!({ "verified": true, "records": report.records, "counted": report.counted, "lanes": report.lanes, "checkpoints": report.checkpoints, "open": report.open, "head": report.head }),
            )?;
            Ok(true)
        }
        Verified::Whole(report) => {
            let counted = match report.counted {
                0 => String::new(),
                count => format!("; some stand for {count} refusals that were counted"),
            };
            output::line(&format!("verified {} records{counted}", report.records));
            output::line(&format!("head {} (keep it elsewhere, and give it back with --head)", report.head));
            Ok(true)
        }
        Verified::Broken(fault) if json => {
            output::json(
                &json!({ "verified": false, "lane": fault.lane, "segment": fault.segment, "line": fault.line, "seq": fault.seq, "why": fault.why }),
            )?;
            Ok(false)
        }
        Verified::Broken(fault) => {
            output::line(&output::safe(&format!("not verified: {fault}")));
            Ok(false)
        }
    }
}

fn export(ambient: &Ambient, home: &Home, form: Form, file: Option<PathBuf>) -> anyhow::Result<bool> {
    let format = if form == Form::Flat { Format::Flat } else { Format::Json };
    let Some(file) = file else {
        // Lines are written as they are read; the log may be larger than memory.
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        match audit::export(&home.audit(), format, &mut out) {
            Err(error) if is_broken_pipe(&error) => return Ok(true),
            other => other?,
        };
        out.flush().ok();
        return Ok(true);
    };
    let path = ambient.folder().join(&file);
    let mut out = crate::config::create_private(&path)?;
    let lines = audit::export(&home.audit(), format, &mut out)
        .with_context(|| format!("`{}` is incomplete", path.display()))?;
    output::remark(&format!("wrote {lines} lines to {}", path.display()));
    Ok(true)
}

fn is_broken_pipe(error: &audit::AuditError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}
