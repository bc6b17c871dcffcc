//! The command line: one file for each command, with its arguments and its run.
//!
//! To add one: a file here and a line in [`Command`]. Secrets are never arguments: they come from standard input, a prompt that
//! does not echo, a file or a reference. Every command that prints data takes `--json`.

mod agent;
mod approval;
mod asked;
mod audit;
mod completions;
mod control;
mod credential;
mod credential_login;
mod demo;
mod doctor;
mod explain;
mod grant;
mod hidden;
mod import;
mod later;
mod local;
mod policy;
mod review;
mod run;
mod scan;
mod serve;
mod service;
mod session;
mod stop;
mod version;
mod whose;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::Ambient;

/// Wrong use: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Wrong use, with what to do instead.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// Gives AI agents valet keys: they work with placeholders, and every request is decided, recorded and can be stopped.
#[derive(Debug, Parser)]
#[command(name = "valetkey", version, propagate_version = false, disable_help_subcommand = true)]
#[command(
    after_help = "Begin with `valetkey run -- YOUR AGENT`. Exit codes: 0 done, 1 no (denied, not verified, something found), 2 wrong use, 3 could not; \
                  `run` passes on the agent's code and uses 125, 126 and 127 for its own."
)]
pub struct Cli {
    /// A file with the passphrase of the built-in vault [default: VALETKEY_PASSPHRASE_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
enum Command {
    /// Start an agent behind the gateway
    Run(run::Args),
    /// Gateway and API for many agents
    Serve(serve::Args),
    /// The main job end to end on this machine
    Demo(demo::Args),
    /// What a request would be, and whether it would pass
    Explain(explain::Args),
    /// Say yes to what an agent asks; needs an operator's token
    Approve(approval::Approve),
    /// Say no to it, with a reason that the agent reads
    Deny(approval::Deny),
    /// Questions that wait for an answer
    #[command(subcommand)]
    Approvals(approval::Approvals),
    /// Stop an agent, a session, a credential or everything: nothing is injected any more, streams are cut
    Stop(stop::Args),
    /// Agents of this home
    #[command(subcommand)]
    Agent(agent::Agent),
    /// Sessions of this home
    #[command(subcommand)]
    Session(session::Session),
    /// Run-time access with a reason and a time to live
    #[command(subcommand)]
    Grant(grant::Grant),
    /// Credentials: values go in and never come out
    #[command(subcommand)]
    Credential(credential::Credential),
    /// Check what a configuration says
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Services that are known
    #[command(subcommand)]
    Service(service::Service),
    /// The record of everything
    #[command(subcommand)]
    Audit(audit::Audit),
    /// What is granted against what is used: permissions, credentials, a checklist
    Review(review::Args),
    /// Find exposed secrets: files, history, logs, transcripts
    Scan(scan::Args),
    /// Move exposed secrets into the vault and leave references
    Import(import::Args),
    /// Whose a placeholder is
    Whose(whose::Args),
    /// Prove the swap for each runtime on this machine
    Doctor(doctor::Args),
    /// Completions for a shell
    Completions(completions::Args),
    /// The version
    Version(version::Args),
    #[command(flatten)]
    Later(later::Later),
}

impl Cli {
    /// Whether exit codes are the agent's.
    pub fn runs_agent(&self) -> bool {
        matches!(self.command, Command::Run(_))
    }

    /// Whether it serves many agents.
    pub fn serves(&self) -> bool {
        matches!(self.command, Command::Serve(_))
    }

    /// Does it; the exit code.
    ///
    /// # Errors
    /// Whatever could not be done; `main` maps it to an exit code.
    pub async fn run(self, ambient: &Ambient) -> anyhow::Result<u8> {
        let ambient = &match &self.passphrase_file {
            Some(path) => ambient.with_var("VALETKEY_PASSPHRASE_FILE", path.as_os_str()),
            None => ambient.clone(),
        };
        let done = match self.command {
            Command::Run(args) => return args.run(ambient).await,
            Command::Serve(args) => args.run(ambient).await.map(|()| true),
            Command::Demo(args) => args.run(ambient).await,
            Command::Explain(args) => args.run(ambient),
            Command::Approve(args) => args.run(ambient).await,
            Command::Deny(args) => args.run(ambient).await,
            Command::Approvals(args) => args.run(ambient).await,
            Command::Stop(args) => args.run(ambient).await,
            Command::Agent(args) => args.run(ambient).await,
            Command::Session(args) => args.run(ambient).await,
            Command::Grant(args) => args.run(ambient).await,
            Command::Credential(args) => args.run(ambient).await,
            Command::Policy(args) => args.run(ambient).await,
            Command::Service(args) => args.run(ambient),
            Command::Audit(args) => args.run(ambient).await,
            Command::Review(args) => args.run(ambient).await,
            Command::Scan(args) => args.run(ambient).await,
            Command::Import(args) => args.run(ambient).await,
            Command::Whose(args) => args.run(ambient).await,
            Command::Doctor(args) => args.run(ambient).await,
            Command::Completions(args) => args.run(),
            Command::Version(args) => args.run(),
            Command::Later(args) => args.run(),
        };
        // An honest no is 1.
        done.map(|yes| u8::from(!yes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_argument_takes_a_secret() {
        fn look(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let takes = argument.get_action().takes_values();
                assert!(
                    !(takes && ["value", "secret", "password", "token", "key"].contains(&name)),
                    "{} {name}",
                    command.get_name()
                );
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }
}
