//! `policy replay`: what is on record, judged by another policy. Requests are taken as they were understood then; limits are not
//! counted and nobody is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use audit::{Filter, Record};
use model::call::BodyView;
use model::canonical::{CanonicalRequest, Length, Origin, Scheme, clean, parse_authority};
use model::event::{Kind, Verdict as Decided};
use model::{AgentName, Classification, Code, Event, Timestamp};
use policy::Question;
use serde::Serialize;
use serde_json::json;

use super::{Ready, Verdict, ready};
use crate::command::asked;
use crate::config::{Ambient, Home, Sources};
use crate::output;

/// Judge what is on record by this policy: what would be otherwise, call by call
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration: a file, or a folder of files
    #[arg(value_name = "FILE")]
    config: PathBuf,
    /// What this agent did
    #[arg(long)]
    agent: Option<AgentName>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = super::super::audit::time)]
    since: Option<Timestamp>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = super::super::audit::time)]
    until: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Calls of one kind that would be judged otherwise.
#[derive(Serialize)]
struct Change {
    agent: String,
    service: Option<String>,
    /// Action and resource; method, host and path for a host that nobody knows.
    call: String,
    was: Verdict,
    would_be: Verdict,
    count: u64,
    first: String,
    /// The rules that would decide, or the sentence that the agent would read.
    why: String,
}

#[derive(Default)]
struct Tally {
    judged: u64,
    same: u64,
    /// Why what is on record could not be judged anew.
    left_out: BTreeMap<&'static str, u64>,
    changes: BTreeMap<(String, String, &'static str, &'static str), Change>,
}

impl Args {
    pub(super) fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let ready = ready(&Sources::find(ambient, Some(&self.config))?)?;
        let filter = Filter { agent: self.agent, since: self.since, until: self.until, ..Filter::default() };
        let mut tally = Tally::default();
        for record in audit::search(&Home::open(ambient)?.audit(), &filter)? {
            tally.add(&ready, &record);
        }
        let same = tally.changes.is_empty();
        if self.json {
            let changes: Vec<&Change> = tally.changes.values().collect();
            output::json(
                &json!({ "judged": tally.judged, "same": tally.same, "left_out": tally.left_out, "changes": changes }),
            )?;
            return Ok(same);
        }
        for change in tally.changes.values() {
            let verdicts = format!("{} -> {}", change.was.as_str(), change.would_be.as_str());
            let times = if change.count == 1 { String::new() } else { format!(", {} times", change.count) };
            let line = format!("{verdicts:14} {} {} (first {}{times})", change.agent, change.call, change.first);
            output::line(&output::safe(&line));
            output::line(&output::safe(&format!("{:14} {}", "", change.why)));
        }
        let otherwise = tally.judged - tally.same;
        output::line(&format!(
            "{} requests judged anew: {} as before, {otherwise} otherwise",
            tally.judged, tally.same
        ));
        for (why, count) in &tally.left_out {
            output::line(&format!("{count} left out: {why}"));
        }
        Ok(same)
    }
}

impl Tally {
    fn add(&mut self, ready: &Ready, record: &Record) {
        let event = &record.event;
        if let Some(repeated) = event.repeated {
            // What was asked is not on record: only how often.
            *self.left_out.entry("counted, not told one by one").or_default() += repeated.times;
            return;
        }
        let was = match (event.kind, event.decision, event.code) {
            (Kind::Attempt, _, _) if event.approval.is_some() => Verdict::Ask,
            (Kind::Attempt, _, _) => Verdict::Allow,
            (Kind::Refusal, Some(Decided::Deny), Some(code)) => match of_policy(code) {
                Some(was) => was,
                None => return self.leave_out("refused for another reason than a rule"),
            },
            // Outcomes repeat their attempts; the rest are no requests.
            _ => return,
        };
        let (Some(agent), Some(request)) = (&event.agent, &event.request) else {
            return self.leave_out("of nobody");
        };
        let Some((canonical, classification)) = understood(ready, record) else {
            return self.leave_out("not to be understood any more");
        };
        if event.calls.is_empty() && classification.service.is_some() {
            return self.leave_out("refused before it was classified");
        }
        let mut subject = asked::subject(agent, event.user.clone(), event.task.clone(), event.time);
        subject.source = request.source.parse().unwrap_or(subject.source);
        let grants = granted(ready, event);
        let explained = ready.rules.explain(&Question {
            subject: &subject,
            classification: &classification,
            method: canonical.method(),
            origin: canonical.origin(),
            presented: None,
            grants: &grants,
            now: event.time,
        });
        self.judged += 1;
        let would_be = Verdict::of(&explained);
        if would_be == was {
            self.same += 1;
            return;
        }
        let calls = classification.calls.iter().map(|call| format!("{} on {}", call.action, call.resource.as_str()));
        let call = if classification.calls.is_empty() {
            format!("{} {}{}", request.method, request.host, request.path)
        } else {
            calls.collect::<Vec<_>>().join(", ")
        };
        let rules = || format!("by {}", explained.rules.join(", "));
        let change = Change {
            agent: agent.to_string(),
            service: event.service.as_ref().map(ToString::to_string),
            call: call.clone(),
            was,
            would_be,
            count: 0,
            first: event.time.to_string(),
            why: explained.error.clone().unwrap_or_else(rules),
        };
        let key = (agent.to_string(), call, was.as_str(), would_be.as_str());
        self.changes.entry(key).or_insert(change).count += 1;
    }

    fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }
}

/// What a rule had said where this was the code; none where no rule was asked.
const fn of_policy(code: Code) -> Option<Verdict> {
    match code {
        Code::Denied | Code::UnknownHost => Some(Verdict::Deny),
        Code::ApprovalDenied | Code::ApprovalExpired | Code::ApprovalPending => Some(Verdict::Ask),
        // It was allowed, and there was too much of it.
        Code::LimitReached | Code::BudgetSpent => Some(Verdict::Allow),
        _ => None,
    }
}

/// The request as it was understood then: its calls are on record, its body is not.
pub(super) fn understood(ready: &Ready, record: &Record) -> Option<(CanonicalRequest, Classification)> {
    let (event, request) = (&record.event, record.event.request.as_ref()?);
    let (host, port) = parse_authority(&request.host).ok()?;
    let find = |scheme: Scheme| {
        let port = port.unwrap_or(scheme.default_port());
        ready.catalog.find(&host, port, scheme).map(|_| scheme)
    };
    // The scheme is not on record; whose host it is says it.
    let scheme = [Scheme::Https, Scheme::Http, Scheme::Tcp, Scheme::Postgres]
        .into_iter()
        .find_map(find)
        .unwrap_or(Scheme::Https);
    let port = port.unwrap_or(scheme.default_port());
    let canonical = if scheme == Scheme::Tcp {
        CanonicalRequest::connection(host, port).ok()?
    } else if scheme == Scheme::Postgres {
        CanonicalRequest::database(host, port, request.path.trim_start_matches('/')).ok()?
    } else {
        let method = http::Method::from_bytes(request.method.as_bytes()).ok()?;
        let headers = clean(http::HeaderMap::new()).ok()?;
        // How long its body was is known only where it was read; that there was none is not known of a method that takes one.
        let takes_body = !method.is_safe() && method != http::Method::DELETE;
        let length = match request.bytes {
            0 if takes_body => Length::Streamed,
            0 => Length::Empty,
            bytes => Length::Known(bytes),
        };
        CanonicalRequest::new(method, Origin { scheme, host, port }, &request.path, headers, length).ok()?
    };
    let mut classification = ready.catalog.classify(&canonical, BodyView::NotRead).ok()?;
    if classification.service.is_some() && !event.calls.is_empty() {
        classification.calls = event.calls.iter().cloned().collect();
    }
    Some((canonical, classification))
}

/// What passed under a grant passed under one: it covers the calls of the record, wherever they went.
fn granted(ready: &Ready, event: &Event) -> Vec<Arc<policy::Given>> {
    let (Some(id), Some(service)) = (event.grant, &event.service) else { return Vec::new() };
    let scope = policy::Scope {
        service: service.to_string(),
        actions: event.calls.iter().map(|call| call.action.to_string()).collect(),
        resources: vec!["*".to_owned()],
        implied: false,
    };
    vec![Arc::new(ready.rules.given((id, event.time.plus_secs(1)), None, &[scope]))]
}
