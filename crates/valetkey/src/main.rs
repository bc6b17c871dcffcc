//! `valetkey`: gives AI agents valet keys.
//!
//! This crate reads what the user typed ([`command`]) and wrote ([`config`]), wires the parts together ([`wiring`]) and
//! prints. It must never decide, never hold a secret's octets longer than it takes to hand them on, and never read the
//! environment or a file outside `config`. Start reading at [`command`], one file for each command.
//!
//! Exit codes: 0 done; 1 an honest no; 2 wrong use; 3 could not, with what to do next. `run` passes on the agent's code and
//! uses 125, 126 and 127 for its own.

mod clock;
mod command;
mod config;
mod output;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::command::{Cli, Usage};
use crate::config::{Ambient, Faults};

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(code) = inside() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runs_agent = cli.runs_agent();
    let code = match go(cli) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            code_of(&error, runs_agent)
        }
    };
    ExitCode::from(code)
}

/// The other side of an isolated `run`, before there is any other thread.
#[cfg(target_os = "linux")]
fn inside() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == sandbox::INSIDE).then(|| {
        let control = arguments.next().and_then(|number| number.to_str()?.parse().ok());
        control.map_or(ExitCode::from(2), |control| ExitCode::from(sandbox::inside(control)))
    })
}

fn go(cli: Cli) -> anyhow::Result<u8> {
    let ambient = Ambient::of_process()?;
    output::allow_colour(ambient.wants_colour());
    log(&ambient, cli.serves());
    // Others of the same user must not read our memory (attack 108), nor a core dump keep it.
    if let Err(cause) = secret::harden_process() {
        output::warn(&format!("this process cannot be closed to debuggers: {cause}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(cli.run(&ambient));
    // Whatever still blocks (a terminal read, a name look-up) is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    code
}

/// Log lines are for us, on standard error: `VALETKEY_LOG=debug`. `serve` says warnings unasked; `run` does not, because the
/// terminal is the agent's.
fn log(ambient: &Ambient, serves: bool) {
    let filter = ambient.var("VALETKEY_LOG").or_else(|| serves.then(|| "warn".to_owned()));
    let Some(filter) = filter.and_then(|filter| tracing_subscriber::EnvFilter::try_new(filter).ok()) else { return };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    lines.with_ansi(ambient.wants_colour() && std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
}

/// What happened, why, and what to do next, on standard error.
fn report(error: &anyhow::Error) {
    let paint = output::Paint::of_stderr();
    if error.downcast_ref::<Faults>().is_some() {
        output::remark(&error.to_string());
        return;
    }
    let mut causes: Vec<String> = error.chain().map(|cause| output::safe(&cause.to_string())).collect();
    // An error that prints its cause itself need not have it printed again.
    causes.dedup_by(|later, earlier| earlier.contains(later.as_str()));
    output::remark(&format!("{} {}", paint.bad("error:"), causes.join(": ")));
}

fn code_of(error: &anyhow::Error, runs_agent: bool) -> u8 {
    if let Some(error) = error.downcast_ref::<sandbox::SandboxError>() {
        return error.exit_code();
    }
    match (error.downcast_ref::<Usage>().is_some(), runs_agent) {
        (true, _) => 2,
        (false, true) => sandbox::OUR_FAILURE,
        (false, false) => 3,
    }
}
