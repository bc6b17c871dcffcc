//! The whole log as one stream: the lines as they stand, or the flat form that other tools read.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use model::Event;
use model::event::Kind;
use serde_json::{Map, Value, json};

use crate::error::AuditError;
use crate::frame::read_line;
use crate::merge::Merge;

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The record's line as it stands in the log, chain and all.
    Json,
    /// `timestamp, agent_id, action, service, resource, credential_used, request, response, duration_ms, ip_address`:
    /// one line for each record that ends an exchange or is a call within one, with a `count` where it stands for many.
    Flat,
}

impl FromStr for Format {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "json" => Ok(Self::Json),
            "flat" => Ok(Self::Flat),
            _ => Err(()),
        }
    }
}

/// Writes the log to `out`, one record a line, in order of time; gives how many lines were written.
pub fn export(dir: &Path, format: Format, out: &mut dyn Write) -> Result<u64, AuditError> {
    let mut written = 0;
    let mut put = |line: &[u8]| -> Result<(), AuditError> {
        let wrote = out.write_all(line).and_then(|()| out.write_all(b"\n"));
        written += 1;
        wrote.map_err(AuditError::io("write", Path::new("the export")))
    };
    for line in Merge::open(dir)? {
        let line = line?;
        match format {
            Format::Json => put(&line)?,
            Format::Flat => {
                if let Some(flat) = read_line(&line).ok().and_then(|record| flat(&record.event)) {
                    put(&serde_json::to_vec(&flat)?)?;
                }
            }
        }
    }
    out.flush().map_err(AuditError::io("write", Path::new("the export")))?;
    Ok(written)
}

/// The flat form of an event; `None` for kinds that are not part of an exchange, and for attempts, whose end repeats
/// all that they say. Several calls stand beside each other, divided by a comma and a space.
#[must_use]
pub fn flat(event: &Event) -> Option<Value> {
    if !matches!(event.kind, Kind::Outcome | Kind::Refusal | Kind::Abandoned | Kind::Call) {
        return None;
    }
    let join = |parts: Vec<&str>| if parts.is_empty() { Value::Null } else { Value::from(parts.join(", ")) };
    let request = event.request.as_ref();
    let mut response = Map::new();
    if let Some(answer) = &event.response {
        response.insert("status".into(), answer.status.into());
        response.extend(answer.made.clone().unwrap_or_default());
    }
    let mut flat = json!({
        "timestamp": event.time,
        "agent_id": event.agent,
        "action": join(event.calls.iter().map(|call| call.action.as_str()).collect()),
        "service": event.service,
        "resource": join(event.calls.iter().map(|call| call.resource.as_str()).collect()),
        "credential_used": event.credential.as_ref().map(|used| used.name.as_str()),
        "request": request.map(|request| json!({
            "method": request.method,
            "path": request.path,
            "body_hash": request.body_hash.map(|hash| format!("sha256:{hash}")),
        })),
        "response": event.response.as_ref().map(|_| response),
        "duration_ms": event.duration_us.map(|micros| (micros as f64 / 1_000.0).round() as u64),
        "ip_address": request.map(|request| &request.source),
    });
    if let (Some(repeated), Some(flat)) = (&event.repeated, flat.as_object_mut()) {
        flat.insert("count".into(), repeated.times.into());
    }
    Some(flat)
}
