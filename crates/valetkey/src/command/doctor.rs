//! `doctor`: proves the swap for each runtime, and each credential. The examination is in `wiring`.

use std::path::PathBuf;

use crate::config::Ambient;
use crate::output::{self, Paint};
use crate::wiring::{Finding, Group, State};

/// Prove the swap for each runtime and each credential on this machine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration whose credentials are tested [default: valetkey.yaml in this folder, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Have a hostile agent try to get over the walls of this machine, instead of anything else (two minutes; needs python3)
    #[arg(long, conflicts_with = "config")]
    attack: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        let findings = if self.attack {
            crate::wiring::attack(ambient)?
        } else {
            crate::wiring::doctor(ambient, self.config.as_deref()).await?
        };
        let well = findings.iter().all(|finding| finding.state != State::Failed);
        if self.json {
            output::json(&findings)?;
            return Ok(well);
        }
        let paint = Paint::of_stdout(ambient.wants_colour());
        let walls =
            findings.iter().any(|it| it.group == Group::Isolation && it.subject == "network" && it.state == State::Ok);
        for (group, title) in GROUPS {
            // Of more than a hundred attempts those that got nothing are counted alone.
            let is_told = |finding: &&Finding| group != Group::Attack || finding.state != State::Ok;
            let of_group: Vec<&Finding> =
                findings.iter().filter(|finding| finding.group == group).filter(is_told).collect();
            if !of_group.is_empty() {
                section(paint, title, &of_group, walls);
            }
        }
        output::line(&summary(&findings));
        Ok(well)
    }
}

/// In the order in which they are printed.
const GROUPS: [(Group, &str); 6] = [
    (Group::Setting, "setting"),
    (Group::Isolation, "isolation"),
    (Group::Runtime, "runtimes"),
    (Group::Backend, "back ends"),
    (Group::Credential, "credentials"),
    (Group::Attack, "the hostile agent"),
];

/// What a group found: one line each, and for what failed what was seen and the mend. What is absent is one line together.
fn section(paint: Paint, title: &str, findings: &[&Finding], walls: bool) {
    output::line(&paint.strong(title));
    let present = findings.iter().filter(|finding| finding.state != State::Absent);
    let width = present.clone().map(|finding| finding.subject.chars().count()).max().unwrap_or(0);
    for finding in present {
        let state = format!("{:8}", finding.state.as_str());
        let state = match finding.state {
            State::Ok => paint.good(&state),
            State::Failed => paint.bad(&state),
            State::Absent | State::Untested | State::Open => paint.faint(&state),
        };
        let subject = format!("{:width$}", finding.subject);
        output::line(&format!("  {state} {subject}  {}", output::safe(&told(finding))));
        if let Some(mend) = finding.mend.as_ref().filter(|_| finding.state == State::Failed) {
            output::line(&format!("  {:8} {:width$}  mend: {}", "", "", output::safe(mend)));
            if walls && finding.proof.proxy == Some(false) {
                output::line(&format!(
                    "  {:8} {:width$}  (between the walls of `run` it is diverted all the same)",
                    "", ""
                ));
            }
        }
    }
    let absent: Vec<&str> =
        findings.iter().filter(|it| it.state == State::Absent).map(|it| it.subject.as_str()).collect();
    if !absent.is_empty() {
        output::line(&format!("  {} {}", paint.faint("absent  "), absent.join(", ")));
    }
}

/// The proof in words, before what happened.
fn told(finding: &Finding) -> String {
    let word = |name: &str, proven: Option<bool>| match proven {
        Some(true) => format!("{name} yes"),
        Some(false) => format!("{name} no"),
        None => format!("{name} -"),
    };
    let proof = finding.proof;
    if finding.group != Group::Runtime {
        return finding.detail.clone();
    }
    let words = [word("trust", proof.trust), word("proxy", proof.proxy), word("swap", proof.swap)].join(", ");
    let version = finding.version.as_ref().map_or_else(String::new, |version| format!(" ({version})"));
    match finding.state {
        State::Failed => format!("{words}{version}; {}", finding.detail),
        _ => format!("{words}{version}"),
    }
}

fn summary(findings: &[Finding]) -> String {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let (ok, failed, absent) = (count(State::Ok), count(State::Failed), count(State::Absent));
    let open = match count(State::Open) {
        0 => String::new(),
        open => format!(", {open} open"),
    };
    format!("{ok} ok, {failed} failed, {absent} absent, {} untested{open}", count(State::Untested))
}
