//! The house's own tools: `cargo xtask test | tidy | codegen | bench | sbom | reproduce`.
//!
//! Everything that a person or a machine has to run, in one place. It never ships: it may use processes, the clock and
//! packages of the system, but reads no setting from the environment and leaves nothing outside `target/`. Start reading at
//! [`test`] (what is run, in which order), then [`tidy`] (the house rules that are tests).

mod bench;
mod codegen;
mod replay;
mod shell;
mod supply;
mod test;
mod tidy;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The house's own tools.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Installs what is missing, then runs everything that must hold.
    Test(test::Options),
    /// The house rules that no compiler knows: import edges, sizes, lists, words.
    Tidy,
    /// Writes what is generated from the code: schema and reference pages.
    Codegen(codegen::Options),
    /// Measures Valetkey beside the floor and nginx, and prints the table.
    Bench(bench::Options),
    /// Replays the fuzz corpora on the stable toolchain.
    Replay,
    /// Prints what the program is made of, as CycloneDX.
    Sbom(supply::SbomOptions),
    /// Builds what is committed twice, from nothing and in different folders, and compares. Takes as long as two releases.
    Reproduce(supply::ReproduceOptions),
    /// Installs what the tests need and says where it is.
    Tools,
}

fn main() -> ExitCode {
    let root = root();
    let done = match Arguments::parse().command {
        Command::Test(options) => Ok(test::run(&root, &options)),
        Command::Tidy => tidy::run(&root),
        Command::Codegen(options) => codegen::run(&root, &options),
        Command::Bench(options) => bench::run(&root, &options),
        Command::Replay => replay::run(&root),
        Command::Sbom(options) => supply::sbom(&root, &options),
        Command::Reproduce(options) => supply::reproduce(&root, &options),
        Command::Tools => tools::install(&root).map(|_| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(3)
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}
