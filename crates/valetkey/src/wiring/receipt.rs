//! What a session did, told when it is over.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use policy::Rules;
use proxy::LiveSession;
use serde_json::{Value, json};

use super::{note, warn};
use crate::config::write_private;

/// The receipt as JSON; scripts rely on its members.
pub fn json(live: &LiveSession, head: &str) -> Value {
    let tally = &live.tally;
    json!({
        "session": live.session.id,
        "requests": tally.requests.load(Relaxed),
        "allowed": tally.allowed.load(Relaxed),
        "denied": tally.denied.load(Relaxed),
        "asked": tally.asked.load(Relaxed),
        "tripwires": tally.tripwires.load(Relaxed),
        "spent": {},
        "audit_head": head,
    })
}

/// Prints it in words on standard error, and writes it to a file where one was named.
///
/// # Errors
/// The file cannot be written.
pub fn give((live, rules): (&LiveSession, &Rules), head: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let tally = &live.tally;
    let (requests, denied) = (tally.requests.load(Relaxed), tally.denied.load(Relaxed));
    let (asked, tripwires) = (tally.asked.load(Relaxed), tally.tripwires.load(Relaxed));
    note(&format!("{requests} requests, {denied} refused, {asked} asked, session {}", live.session.id));
    if tripwires > 0 {
        warn(&format!(
            "{tripwires} placeholders were seen where they do not belong; `valetkey audit search` shows them"
        ));
    }
    for (service, action, resource) in live.tally.denials() {
        note("allow this next time? add to the agent's permissions:");
        note(&format!("  - {}", rules.permission_for((&service, None), action.as_str(), &resource)));
    }
    if requests > 0 {
        note(&format!("look closer: valetkey audit search --session {}", live.session.id));
    }
    // Where it was when the agent began: one that has put a link there would have another file written over.
    let is_there =
        |path: &&Path| path.parent().is_some_and(|folder| folder.canonicalize().is_ok_and(|real| real == folder));
    if let Some(path) = file.filter(|path| !is_there(path)) {
        warn(&format!("the receipt is not written: the folder of `{}` is another by now", path.display()));
        return Ok(());
    }
    match file {
        Some(path) => write_private(path, format!("{}\n", json(live, head)).as_bytes()),
        None => Ok(()),
    }
}
