//! Which records, by what they say.

use std::collections::VecDeque;
use std::path::Path;

use model::event::Verdict;
use model::refusal::Code;
use model::{AgentName, ServiceName, SessionId, Timestamp};

use crate::error::AuditError;
use crate::frame::{Record, read_line};
use crate::merge::Merge;

/// Records held while searching, whatever the limit says.
const FOUND_MAX: usize = 100_000;

/// What a record must match; nothing set matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The principal.
    pub agent: Option<AgentName>,
    /// The service.
    pub service: Option<ServiceName>,
    /// The action of one of its calls.
    pub action: Option<String>,
    /// The code of a refusal.
    pub code: Option<Code>,
    /// Allow or deny.
    pub decision: Option<Verdict>,
    /// The session.
    pub session: Option<SessionId>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Octets that stand anywhere in the line, as JSON writes them.
    pub text: Option<String>,
    /// Only the last so many.
    pub limit: Option<usize>,
}

fn wants<T: PartialEq>(wanted: Option<&T>, is: Option<&T>) -> bool {
    wanted.is_none_or(|wanted| Some(wanted) == is)
}

impl Filter {
    /// Whether a record matches. The text is looked for in `line`.
    #[must_use]
    pub fn matches(&self, record: &Record, line: &[u8]) -> bool {
        let event = &record.event;
        let action = |action: &String| event.calls.iter().any(|call| call.action.as_str() == action);
        wants(self.agent.as_ref(), event.agent.as_ref())
            && wants(self.service.as_ref(), event.service.as_ref())
            && self.action.as_ref().is_none_or(action)
            && wants(self.code.as_ref(), event.code.as_ref())
            && wants(self.decision.as_ref(), event.decision.as_ref())
            && wants(self.session.as_ref(), event.session.as_ref())
            && self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time < until)
            && self.holds_text(line)
    }

    fn holds_text(&self, line: &[u8]) -> bool {
        self.text.as_ref().is_none_or(|text| memchr::memmem::find(line, text.as_bytes()).is_some())
    }
}

/// The last records that match, oldest first. Lines that are no records are left out; `verify` reports them.
pub fn search(dir: &Path, filter: &Filter) -> Result<Vec<Record>, AuditError> {
    let limit = filter.limit.unwrap_or(FOUND_MAX).min(FOUND_MAX);
    let mut found = VecDeque::new();
    for line in Merge::open(dir)? {
        let line = line?;
        // The cheap test first.
        if !filter.holds_text(&line) {
            continue;
        }
        if let Ok(record) = read_line(&line)
            && filter.matches(&record, &line)
        {
            if found.len() >= limit {
                found.pop_front();
            }
            if limit > 0 {
                found.push_back(record);
            }
        }
    }
    Ok(found.into())
}
