//! The hostile agent: a script that tries to get over the walls in every way that the threat model names, and a judge that looks
//! from outside at what it got. Both are the ones that the project's own tests run.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde::Deserialize;

use super::{Finding, Group, State};
use crate::clock::SystemRandom;
use crate::config::{Ambient, write_private};
use crate::wiring::note;

const AGENT: &str = include_str!("../../../../../tests/e2e/hostile/agent.py");
const JUDGE: &str = include_str!("../../../../../tests/e2e/hostile/judge.py");
/// The judge's own code where it could not work.
const COULD_NOT: i32 = 3;

/// One line of the judge.
#[derive(Deserialize)]
struct Row {
    attack: String,
    tries: String,
    /// What it got without walls; what it got inside.
    control: Option<String>,
    inside: Option<String>,
    /// Whether both of them ran.
    ran: bool,
    /// Why nothing can be shown without walls here.
    no_control: Option<String>,
    /// Why it may succeed inside.
    open: Option<String>,
}

/// Runs the agent twice in a home of its own, without walls and inside them. A minute or two.
///
/// # Errors
/// There is no Python, or the judge could not make its own machine: the error says why.
pub(super) fn attack(ambient: &Ambient) -> anyhow::Result<Vec<Finding>> {
    let folder = ambient.temporary_folder("valetkey-attack", &SystemRandom)?;
    for (name, text) in [("agent.py", AGENT), ("judge.py", JUDGE)] {
        write_private(&folder.path().join(name), text.as_bytes())?;
    }
    note("a hostile agent is at work in a home made for it, first without walls, then inside; this takes two minutes");
    let findings = judge(ambient, folder.path());
    folder.remove();
    findings
}

fn judge(ambient: &Ambient, folder: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut command = Command::new("python3");
    command.arg(folder.join("judge.py")).args(["--json", "--binary"]).arg(ambient.own_program()?);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.context("the hostile agent is a Python program: install python3")?;
    let mut findings = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let row: Row = serde_json::from_str(&line?).context("the judge said something that is no row")?;
        findings.push(finding(row));
    }
    let mut said = String::new();
    if let Some(mut errors) = child.stderr.take() {
        // What is no text says nothing.
        let _ = errors.read_to_string(&mut said);
    }
    let status = child.wait()?;
    if status.code() == Some(COULD_NOT) || findings.is_empty() {
        bail!("the hostile agent could not be judged: {}", said.trim());
    }
    Ok(findings)
}

fn finding(row: Row) -> Finding {
    let (state, detail) = match (&row.inside, row.open) {
        _ if !row.ran => (State::Failed, format!("{}: it did not run to its end", row.tries)),
        (Some(got), Some(why)) => (State::Open, format!("{}: it {got}; {why}", row.tries)),
        (Some(got), None) => (State::Failed, format!("{}: it {got}", row.tries)),
        (None, _) => match (row.control, row.no_control) {
            (Some(got), _) => (State::Ok, format!("{}: without walls it {got}", row.tries)),
            (None, Some(why)) => (State::Ok, format!("{}: {why}", row.tries)),
            (None, None) => {
                (State::Failed, format!("{}: nothing was shown, since it fails without walls too", row.tries))
            }
        },
    };
    Finding::new(Group::Attack, row.attack, state, detail)
}
