//! `import`: moves exposed secrets into the built-in vault and leaves references to them.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use model::event::{CredentialUse, Kind};
use model::{CredentialName, ServiceName};
use policy::Upkeep;
use serde_json::json;
use vault::NewCredential;

use super::local::Local;
use super::usage;
use crate::config::{Ambient, REFERENCE};
use crate::output;
use crate::wiring::import::{Imports, Move, Proposal, put_back};
use crate::wiring::scan::Look;

/// What `run` reads of the current folder, and so can give back to the agent.
const HERE: [&str; 5] = [".env", ".npmrc", ".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json"];
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Move exposed secrets into the vault and leave references
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What `run` reads of the current folder is looked at: .env, .npmrc and MCP files. A reference `valetkey://NAME` is worth the \
                        secret on the way through the gateway, in the place where the secret would stand, and nothing anywhere else."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Args {
    /// Files and folders [default: .env, .npmrc and MCP files of the current folder]
    paths: Vec<PathBuf>,
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Put the secrets of the last import back where they were
    #[arg(long, conflicts_with_all = ["dry_run", "paths"])]
    undo: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) async fn run(self, ambient: &Ambient) -> anyhow::Result<bool> {
        if self.undo {
            return self.take_back(ambient).await;
        }
        let mut look = Look { file_bytes_max: FILE_BYTES_MAX, ..Look::default() };
        for path in &self.paths {
            look.tree.add(ambient.folder(), path, false)?;
        }
        for path in HERE.iter().filter(|path| self.paths.is_empty() && ambient.folder().join(path).is_file()) {
            look.tree.add(ambient.folder(), path.as_ref(), false)?;
        }
        let catalog = super::service::known(ambient)?;
        let local = Local::open(ambient).await?;
        let vault = local.vault().await?;
        let taken: Vec<CredentialName> =
            vault.list(&local.tenant).await?.into_iter().map(|summary| summary.name).collect();
        let mut proposal = Proposal::make(&look, &catalog, &taken)?;
        self.show(&proposal)?;
        if proposal.moves.is_empty() || self.dry_run {
            return Ok(!proposal.moves.is_empty());
        }
        if !self.yes && !agreed("Move them?", "--yes does it without asking, --dry-run only shows it")? {
            return Ok(false);
        }
        for (name, (service, value)) in proposal.take_values() {
            let new = NewCredential {
                tenant: local.tenant.clone(),
                name: name.clone(),
                service: Some(service.clone()),
                kind: "token".to_owned(),
                inject: "placeholder".to_owned(),
            };
            let added = vault.add(&new, value).await?;
            record(&local, &name, Some(&service), added.version, "imported")?;
        }
        let path = local.home.imports();
        let mut imports = Imports::read(&path, &local.home.signing_seed(&*local.random)?)?;
        imports.push(proposal.changes());
        imports.write(&path)?;
        proposal.write_files()?;
        self.done(&format!(
            "moved {} values; `valetkey run` gives them back on the way, `valetkey import --undo` in the files. Whoever saw a file before still \
             knows its secrets: renew them at their services",
            proposal.moves.len()
        ));
        Ok(true)
    }

    fn show(&self, proposal: &Proposal) -> anyhow::Result<()> {
        if self.json {
            let one = |one: &Move| {
                json!({ "path": one.shown, "line": one.line, "name": one.variable, "preview": one.preview,
                        "credential": one.credential, "service": one.service })
            };
            let moves: Vec<_> = proposal.moves.iter().map(one).collect();
            return output::json(&json!({ "version": 1, "moves": moves, "left": proposal.left }));
        }
        for one in &proposal.moves {
            output::line(&output::safe(&format!("{}:{} ({})", one.shown, one.line, one.service)));
            output::line(&output::safe(&format!("  - {}={}", one.variable, one.preview)));
            output::line(&output::safe(&format!("  + {}={REFERENCE}{}", one.variable, one.credential)));
        }
        for left in &proposal.left {
            output::remark(&output::safe(left));
        }
        if proposal.moves.is_empty() {
            output::line("nothing to move");
        }
        Ok(())
    }

    fn done(&self, text: &str) {
        if self.json {
            output::remark(text);
        } else {
            output::line(text);
        }
    }

    async fn take_back(&self, ambient: &Ambient) -> anyhow::Result<bool> {
        let local = Local::open(ambient).await?;
        let path = local.home.imports();
        let mut imports = Imports::read(&path, &local.home.signing_seed(&*local.random)?)?;
        let Some(changes) = imports.pop() else {
            output::remark(
                "no import of this home can be undone; `valetkey credential list` shows what the vault holds",
            );
            return Ok(false);
        };
        let question = format!("Write {} secrets back into files in plain text?", changes.len());
        if !self.yes && !agreed(&question, "--yes does it without asking")? {
            return Ok(false);
        }
        let vault = local.vault().await?;
        let upkeep = Upkeep::of(local.tenant.clone(), "import --undo");
        let names = put_back(&vault, &upkeep, &changes).await?;
        for name in &names {
            record(&local, name, None, 0, "took back the import of")?;
            vault.remove(&local.tenant, name).await?;
        }
        imports.write(&path)?;
        self.done(&format!("put {} values back; the vault has them no more", changes.len()));
        Ok(true)
    }
}

fn record(
    local: &Local,
    name: &CredentialName,
    service: Option<&ServiceName>,
    version: u64,
    what: &str,
) -> anyhow::Result<()> {
    local.record(Kind::Credential, |event| {
        event.service = service.cloned();
        event.credential = Some(CredentialUse { name: name.clone(), version });
        event.reason = Some(format!("{} {what} {name}", Local::operator()));
    })
}

/// Asks on the terminal; without one the answer must be an option.
fn agreed(question: &str, instead: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(usage(format!("nobody can be asked without a terminal; {instead}")));
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
