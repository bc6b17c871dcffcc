//! Where records go besides the log. The log is the truth: a sink is fed from it, behind it, and may fail.

use std::path::Path;

use crate::error::AuditError;
use crate::tail::Tail;

mod jsonl;

/// A place that takes records.
pub trait Sink: Send {
    /// What it is, for messages.
    fn name(&self) -> &'static str;
    /// Takes one raw line (without its line feed).
    fn put(&mut self, line: &[u8]) -> Result<(), AuditError>;
    /// Returns when all that was put is out of our hands.
    fn flush(&mut self) -> Result<(), AuditError>;
}

/// Opens a sink on its target (a path, an address).
type Opener = fn(&str) -> Result<Box<dyn Sink>, AuditError>;

/// Every sink: its word in the configuration, and what opens it.
const SINKS: &[(&str, Opener)] = &[("jsonl", jsonl::open)];

/// Opens the sink called `name`.
pub fn open(name: &str, target: &str) -> Result<Box<dyn Sink>, AuditError> {
    let Some((_, opener)) = SINKS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = SINKS.iter().map(|(known, _)| *known).collect();
        return Err(AuditError::Sink { name: name.to_owned(), known: known.join(", ") });
    };
    opener(target)
}

/// Gives `sink` everything that is new; says how many records. Call it again and again.
pub fn feed(tail: &mut Tail, sink: &mut dyn Sink) -> Result<usize, AuditError> {
    let lines = tail.look()?;
    for line in &lines {
        sink.put(line)?;
    }
    if !lines.is_empty() {
        sink.flush()?;
    }
    Ok(lines.len())
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> AuditError {
    AuditError::io("write", path)
}
