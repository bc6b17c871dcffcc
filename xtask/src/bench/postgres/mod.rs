//! `cargo xtask bench --postgres`: pgbench straight to a server, through PgBouncer, and through Valetkey, interleaved.
//!
//! Client, proxy and server share all cores of the machine, as they do wherever an agent and its database are on one; without a proxy, client
//! and server have them to themselves. Every leg is TLS 1.3, or with `--clear` none is. PgBouncer pools by session, as Valetkey does: a
//! connection of a client has one of the server's for as long as it lives.

mod lab;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use self::lab::{Lab, Way};
use super::measure::{cpu_seconds, median};
use super::{Figures, Options};
use crate::shell;

/// Clients that ask at once, where throughput is measured.
const CLIENTS: usize = 8;
/// Share of the direct throughput that must be left, and microseconds that may be added at the median of one client's reads.
const SHARE_MIN: f64 = 0.85;
const ADDED_US_MAX: f64 = 150.0;

/// What pgbench runs: its name in figures, its options.
const SCRIPTS: [(&str, &[&str]); 2] = [("read", &["-S"]), ("write", &["-b", "tpcb-like"])];
/// How it sends statements.
const PROTOCOLS: [&str; 2] = ["simple", "prepared"];

/// Measures, prints the table and writes `target/bench-postgres.json`; false where a bar is missed.
pub fn run(root: &Path, options: &Options) -> Result<bool> {
    let lab = Lab::build(root, options.clear)?;
    let seconds = if options.quick { 1.0 } else { options.seconds };
    let rounds = if options.quick { 1 } else { options.rounds };
    let mut figures = Figures::new();
    for fsync in ["on", "off"] {
        lab.fsync(fsync)?;
        for round in 1..=rounds {
            println!("bench: round {round} of {rounds}: the server's fsync is {fsync}");
            for (script, protocol, words) in jobs() {
                for way in Way::ALL {
                    let found = one(&lab, way, words, (protocol, seconds))
                        .with_context(|| format!("{script}, {protocol}, {}", way.name()))?;
                    for (measure, value) in found {
                        let measure = format!("{script}_{protocol}_fsync_{fsync}_{measure}");
                        figures.entry(way.name().to_owned()).or_default().entry(measure).or_default().push(value);
                    }
                }
            }
        }
    }
    report(root, &figures, (rounds, options.clear))
}

fn jobs() -> impl Iterator<Item = (&'static str, &'static str, &'static [&'static str])> {
    SCRIPTS.into_iter().flat_map(|(name, words)| PROTOCOLS.map(|protocol| (name, protocol, words)))
}

/// Throughput of many clients with what the proxy used for each transaction, and the median of one.
fn one(lab: &Lab, way: Way, script: &[&str], (protocol, seconds): (&str, f64)) -> Result<Vec<(&'static str, f64)>> {
    let mut all = Vec::new();
    let before = lab.process(way).map(cpu_seconds).transpose()?;
    let many = lab.pgbench(way, script, (protocol, seconds), CLIENTS)?;
    all.push(("tps", many.per_second));
    if let (Some(id), Some(before)) = (lab.process(way), before) {
        all.push(("cpu_us", (cpu_seconds(id)? - before) * 1e6 / many.transactions.max(1.0)));
    }
    let alone = lab.pgbench(way, script, (protocol, seconds / 2.0), 1)?;
    all.push(("p50_us", alone.median_us));
    Ok(all)
}

/// The ratio to the direct figure of the same round, or the difference; medians over the rounds.
fn beside_direct(figures: &Figures, way: &str, measure: &str, compare: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let values = |name: &str| figures.get(name).and_then(|row| row.get(measure));
    let (own, direct) = (values(way)?, values(Way::Direct.name())?);
    let mut all: Vec<f64> = own.iter().zip(direct).map(|(own, direct)| compare(*own, *direct)).collect();
    Some(median(&mut all))
}

fn middle(figures: &Figures, way: &str, measure: &str) -> Option<f64> {
    figures.get(way).and_then(|row| row.get(measure)).map(|all| median(&mut all.clone()))
}

fn report(root: &Path, figures: &Figures, (rounds, clear): (usize, bool)) -> Result<bool> {
    println!(
        "\n| fsync | script | protocol | way | transactions/s | of direct | proxy's CPU us | one client: p50 us | added us |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (mut good, mut bars) = (true, Vec::new());
    for fsync in ["on", "off"] {
        for (script, protocol, _) in jobs() {
            for way in Way::ALL.map(Way::name) {
                let measure = |name: &str| format!("{script}_{protocol}_fsync_{fsync}_{name}");
                let share = beside_direct(figures, way, &measure("tps"), |own, direct| own / direct);
                let added = beside_direct(figures, way, &measure("p50_us"), |own, direct| own - direct);
                let cell =
                    |value: Option<f64>, digits: usize| value.map_or(String::new(), |it| format!("{it:.digits$}"));
                println!(
                    "| {fsync} | {script} | {protocol} | {way} | {} | {} | {} | {} | {} |",
                    cell(middle(figures, way, &measure("tps")), 0),
                    cell(share, 2),
                    cell(middle(figures, way, &measure("cpu_us")), 0),
                    cell(middle(figures, way, &measure("p50_us")), 0),
                    cell(added, 0),
                );
                if way != Way::Valetkey.name() {
                    continue;
                }
                for (name, value, bar, held) in [
                    ("share", share, SHARE_MIN, share.is_some_and(|it| it >= SHARE_MIN)),
                    ("added_us", added, ADDED_US_MAX, added.is_some_and(|it| it <= ADDED_US_MAX)),
                ] {
                    good &= held;
                    bars.push(json!({"measure": measure(name), "value": value, "bar": bar, "held": held}));
                }
            }
        }
    }
    println!();
    for bar in bars.iter().filter(|bar| bar.get("held") != Some(&json!(true))) {
        println!("MISS {bar}");
    }
    write(root, figures, json!({"rounds": rounds, "tls": !clear, "bars": bars}))?;
    Ok(good)
}

/// The JSON, and the line that says where the figures come from.
fn write(root: &Path, figures: &Figures, mut report: serde_json::Value) -> Result<()> {
    let date = shell::output(&mut shell::command(root, "date -u +%Y-%m-%d"))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\n{}, {cores} cores for all, `cargo xtask bench --postgres`, medians", date.trim());
    if let Some(report) = report.as_object_mut() {
        let more: BTreeMap<&str, serde_json::Value> = BTreeMap::from([
            ("date", json!(date.trim())),
            ("cores", json!(cores)),
            ("clients", json!(CLIENTS)),
            ("pooling", json!("session")),
            ("figures", json!(figures)),
        ]);
        report.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    Ok(std::fs::write(root.join("target/bench-postgres.json"), serde_json::to_string_pretty(&report)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let rows = [("direct", [100.0, 10.0, 50.0]), ("valetkey", [90.0, 5.0, 40.0])];
        let mut figures = Figures::new();
        for (name, values) in rows {
            figures.entry(name.to_owned()).or_default().insert("tps".to_owned(), values.to_vec());
        }
        assert_eq!(beside_direct(&figures, "valetkey", "tps", |own, direct| own / direct), Some(0.8));
        assert_eq!(beside_direct(&figures, "valetkey", "tps", |own, direct| own - direct), Some(-10.0));
        assert_eq!(beside_direct(&figures, "pgbouncer", "tps", |own, _| own), None);
    }
}
