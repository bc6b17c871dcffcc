//! `cargo xtask bench`: Valetkey beside the floor, nginx and nothing at all, interleaved, each on one core.
//!
//! The candidates take turns within a round (A B C A B C), so that a neighbour who wakes up disturbs all alike; a ratio is
//! taken within its round, and the table shows medians over the rounds. Figures name date, cores and command. What databases cost is
//! measured by itself ([`postgres`]).

mod candidate;
mod lab;
mod measure;
mod postgres;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use clap::Args;

pub use candidate::{Candidate, Live};
pub use lab::Lab;

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// One short round, to see that everything works.
    #[arg(long)]
    pub quick: bool,
    /// How many rounds.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// These candidates alone (names as in the table).
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// These measures alone (names as in the JSON).
    #[arg(long, value_delimiter = ',')]
    pub measures: Vec<String>,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// pgbench through the proxy of databases instead, beside PgBouncer.
    #[arg(long)]
    pub postgres: bool,
    /// With `--postgres`: without TLS on any leg.
    #[arg(long, requires = "postgres")]
    pub clear: bool,
}

/// Figures: candidate, measure, one value for each round.
pub type Figures = BTreeMap<String, BTreeMap<String, Vec<f64>>>;

/// Measures, prints the table and writes `target/bench.json`; false where a bar is missed.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    if options.postgres {
        return postgres::run(root, options);
    }
    let lab = Lab::build(root, options)?;
    let candidates: Vec<Candidate> =
        candidate::all().into_iter().filter(|it| options.only.is_empty() || options.only.contains(&it.name)).collect();
    let rounds = if options.quick { 1 } else { options.rounds };
    let mut figures = Figures::new();
    for round in 1..=rounds {
        for candidate in &candidates {
            println!("bench: round {round} of {rounds}: {}", candidate.name);
            note(&mut figures, &candidate.name, measure::one(&lab, candidate, options));
        }
    }
    report::print(&lab, &figures, rounds)
}

fn note(figures: &mut Figures, name: &str, all: Vec<(&'static str, f64)>) {
    let row = figures.entry(name.to_owned()).or_default();
    for (measure, value) in all {
        row.entry(measure.to_owned()).or_default().push(value);
    }
}
