//! `scan`: finds exposed secrets in files, histories, logs, agents' configuration and transcripts.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;
use model::{Digest, Tenant};

use super::usage;
use crate::config::{Ambient, Group, install_hook, known_files};
use crate::output;
use crate::wiring::scan::{self, Baseline, Look, Seen};

/// Standard input is kept whole.
const INPUT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Lines
    Text,
    /// One JSON object
    Json,
    /// SARIF 2.1.0
    Sarif,
}

/// Find exposed secrets: files, history, logs, transcripts
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 nothing found, 1 found, 2 wrong use, 3 could not. A value is never printed.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Args {
    /// Files and folders; `-` is standard input [default: the current folder]
    paths: Vec<PathBuf>,
    /// The history of the repositories named as PATH too: every commit, also what was amended away
    #[arg(long)]
    git: bool,
    /// What the next commit would hold, and nothing else (for a pre-commit hook)
    #[arg(long, conflicts_with_all = ["git", "history", "agents", "transcripts", "logs", "home"])]
    staged: bool,
    /// Histories of your shells and consoles
    #[arg(long)]
    history: bool,
    /// Configuration and log-ins of agents, MCP servers
    #[arg(long)]
    agents: bool,
    /// Transcripts of agents
    #[arg(long)]
    transcripts: bool,
    /// Logs of tools
    #[arg(long)]
    logs: bool,
    /// The last four together
    #[arg(long)]
    home: bool,
    /// Leave out what git ignores
    #[arg(long)]
    skip_ignored: bool,
    /// Leave out files that are larger
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_size: u64,
    /// Leave out what this file knows
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write what is found now into a file, to be left out later
    #[arg(long, value_name = "FILE", conflicts_with = "baseline")]
    write_baseline: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORM")]
    format: Form,
    /// Print JSON
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Exit with 0 whatever is found
    #[arg(long)]
    exit_zero: bool,
    /// Make the pre-commit hook of the repository, and scan nothing
    #[arg(long)]
    install_hook: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        if self.install_hook {
            let path = install_hook(&self.repository(ambient)?)?;
            output::line(&format!("`{}` looks at every commit before it is made", path.display()));
            return Ok(true);
        }
        let baseline = self.baseline.as_ref().map(|path| Baseline::read(&ambient.folder().join(path))).transpose()?;
        let look = self.look(ambient)?;
        let placeholders = Placeholders::open(ambient).await?;
        // The threads that look are no part of the runtime; they ask the store through it.
        let runtime = tokio::runtime::Handle::current();
        let scanned = tokio::task::spawn_blocking(move || {
            scan::scan(&look, &|value: &[u8]| placeholders.as_ref().is_some_and(|all| all.have(&runtime, value)))
        });
        let mut seen = scanned.await.context("the search failed")??;
        if let Some(path) = &self.write_baseline {
            return Self::write(ambient, path, &seen);
        }
        if let Some(baseline) = &baseline {
            baseline.apply(&mut seen);
        }
        self.print(&seen)?;
        Ok(self.exit_zero || seen.found.is_empty())
    }

    fn look(&self, ambient: &Ambient) -> anyhow::Result<Look> {
        let mut look = Look { file_bytes_max: self.max_size << 20, ..Look::default() };
        if self.staged {
            look.staged = Some(self.repository(ambient)?);
            return Ok(look);
        }
        let groups = [
            (self.history, Group::Histories),
            (self.agents, Group::Agents),
            (self.transcripts, Group::Transcripts),
            (self.logs, Group::Logs),
        ];
        for (_, group) in groups.iter().filter(|(wanted, _)| *wanted || self.home) {
            known_files(ambient, *group, &mut look.tree)?;
        }
        let any_group = self.home || groups.iter().any(|(wanted, _)| *wanted);
        let here = [PathBuf::from(".")];
        let paths: &[PathBuf] = if self.paths.is_empty() && (!any_group || self.git) { &here } else { &self.paths };
        for path in paths {
            if path == Path::new("-") {
                look.input = Some(input()?);
                continue;
            }
            // Of the current folder, asked for by `--git` beside groups, the history alone is meant.
            if !(self.paths.is_empty() && any_group) {
                look.tree.add(ambient.folder(), path, self.skip_ignored)?;
            }
            if self.git {
                look.histories.push(ambient.folder().join(path));
            }
        }
        Ok(look)
    }

    /// The one repository that is meant.
    fn repository(&self, ambient: &Ambient) -> anyhow::Result<PathBuf> {
        match self.paths.as_slice() {
            [] => Ok(ambient.folder().to_owned()),
            [one] => Ok(ambient.folder().join(one)),
            _ => Err(usage("name one repository, or none for that of the current folder")),
        }
    }

    fn write(ambient: &Ambient, path: &Path, seen: &Seen) -> anyhow::Result<bool> {
        let place = ambient.folder().join(path);
        std::fs::write(&place, Baseline::write(seen)?)
            .with_context(|| format!("the baseline `{}` cannot be written; check its folder", path.display()))?;
        output::remark(&format!(
            "{} findings written to `{}`; `--baseline {}` leaves them out",
            seen.found.len(),
            path.display(),
            path.display()
        ));
        Ok(true)
    }

    fn print(&self, seen: &Seen) -> anyhow::Result<()> {
        match self.format {
            _ if self.json => output::json(&scan::json(seen))?,
            Form::Json => output::json(&scan::json(seen))?,
            Form::Sarif => output::json(&scan::sarif(seen))?,
            Form::Text => scan::text(seen).iter().for_each(|line| output::line(&output::safe(line))),
        }
        for left_out in &seen.left_out {
            output::remark(&format!("left out: {}", output::safe(left_out)));
        }
        Ok(())
    }
}

fn input() -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    std::io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut octets)
        .context("standard input cannot be read")?;
    if octets.len() as u64 > INPUT_BYTES_MAX {
        return Err(usage("standard input is larger than 256 MiB; write it to a file and name that"));
    }
    Ok(octets)
}

/// The placeholders of this home, which are no secrets.
struct Placeholders {
    store: store::Store,
    tenant: Tenant,
}

impl Placeholders {
    /// None where there is no home yet: looking must not make one.
    async fn open(ambient: &Ambient) -> anyhow::Result<Option<Self>> {
        let made = ambient.state_folder().is_ok_and(|home| home.join("valetkey.db").exists());
        if !made {
            return Ok(None);
        }
        let local = super::local::Local::open(ambient).await?;
        Ok(Some(Self { store: local.store.clone(), tenant: local.tenant.clone() }))
    }

    fn have(&self, runtime: &tokio::runtime::Handle, value: &[u8]) -> bool {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value);
        let Ok(digest) = digest.as_ref().try_into().map(Digest) else { return false };
        // A store that cannot be asked knows no placeholder: better one finding too many.
        runtime.block_on(self.store.placeholders().find(&self.tenant, &digest)).is_ok_and(|row| row.is_some())
    }
}
