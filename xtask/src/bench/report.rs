//! The table, the bars, and the JSON.

use anyhow::Result;
use serde_json::json;

use super::measure::median;
use super::{Figures, Lab};
use crate::shell;

/// Columns of the table: title, measure, whether the direct figure is taken off, decimals.
const COLUMNS: &[(&str, &str, bool, usize)] = &[
    ("read +p50 us", "samecore_read_p50_us", true, 0),
    ("write +p50 us", "samecore_write_p50_us", true, 0),
    ("req/s", "busy_rps", false, 0),
    ("CPU us", "busy_cpu_us", false, 1),
    ("+p50 us 1k/s", "paced_p50_us", true, 0),
    ("+p99 us 1k/s", "paced_p99_us", true, 0),
    ("conn/s warm", "newconn_warm_per_s", false, 0),
    ("conn/s cold", "newconn_cold_per_s", false, 0),
    ("10 MiB MB/s", "large_mbps", false, 0),
    ("SSE p99 us", "events_p99_us", false, 0),
    ("RSS idle", "rss_idle_mib", false, 1),
    ("RSS 1,000", "rss_1000_mib", false, 1),
    ("RSS 9,500", "rss_9500_mib", false, 1),
    ("start ms", "startup_ms", false, 0),
    ("run ms", "run_over_bare_ms", false, 0),
    ("walls ms", "run_walls_ms", false, 0),
    ("inside us", "inside_off_p50_us", false, 0),
    ("+ walls us", "inside_proxy_us", false, 1),
    ("+ diverted us", "inside_diverted_us", false, 1),
];

/// What a bar compares with.
enum Bar {
    /// At most the other's figure and this much more (both over direct).
    Plus(&'static str, f64),
    /// At least this share of the other's figure.
    Share(&'static str, f64),
    /// At most this many times the other's figure (both over direct).
    Times(&'static str, f64),
    /// At most this.
    Most(f64),
}

/// The first bar: measured candidate, measure, bar.
const BARS: &[(&str, &str, Bar)] = &[
    ("valetkey", "samecore_read_p50_us", Bar::Plus("floor", 15.0)),
    ("valetkey", "samecore_write_p50_us", Bar::Plus("floor-durable", 25.0)),
    ("valetkey", "busy_rps", Bar::Share("floor", 0.75)),
    ("valetkey", "busy_cpu_us", Bar::Most(26.0)),
    ("valetkey-always", "busy_rps", Bar::Share("floor-durable", 0.75)),
    ("valetkey", "paced_p99_us", Bar::Times("floor", 2.0)),
    ("valetkey", "newconn_warm_per_s", Bar::Share("floor", 0.9)),
    ("valetkey", "newconn_cold_per_s", Bar::Share("floor", 0.9)),
    ("valetkey", "large_mbps", Bar::Share("floor", 0.8)),
    ("valetkey", "events_p99_us", Bar::Most(1_000.0)),
    ("valetkey", "rss_idle_mib", Bar::Most(20.0)),
    ("valetkey", "rss_1000_mib", Bar::Most(45.0)),
    ("valetkey", "rss_9500_mib", Bar::Most(240.0)),
    ("valetkey", "startup_ms", Bar::Most(60.0)),
    ("valetkey", "run_over_bare_ms", Bar::Most(40.0)),
    ("valetkey", "run_walls_ms", Bar::Most(30.0)),
    // What two measurements of the same differ by.
    ("valetkey", "inside_proxy_us", Bar::Most(3.0)),
    ("valetkey", "inside_diverted_us", Bar::Most(3.0)),
];

/// Prints the table and the bars, writes `target/bench.json`; false where a bar is missed.
pub fn print(lab: &Lab, figures: &Figures, rounds: usize) -> Result<bool> {
    let titles: Vec<&str> = COLUMNS.iter().map(|(title, ..)| *title).collect();
    println!("\n| | {} |\n|---|{}", titles.join(" | "), "---|".repeat(titles.len()));
    let order = super::candidate::all();
    for name in order.iter().map(|candidate| &candidate.name).filter(|name| figures.contains_key(*name)) {
        let cells: Vec<String> = COLUMNS.iter().map(|column| cell(figures, name, column)).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    let mut good = true;
    let mut bars = Vec::new();
    println!();
    for (who, measure, bar) in BARS {
        let Some((value, limit, held)) = judge(figures, who, measure, bar) else { continue };
        good &= held;
        println!("{:<4} {who} {measure}: {value:.1}, bar {limit:.1}", if held { "ok" } else { "MISS" });
        bars.push(json!({"candidate": who, "measure": measure, "value": value, "bar": limit, "held": held}));
    }
    let date = shell::output(&mut shell::command(&lab.root, "date -u +%Y-%m-%d"))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\n{}, {cores} cores, `cargo xtask bench`, {rounds} rounds, medians", date.trim());
    let report = json!({"date": date.trim(), "cores": cores, "rounds": rounds, "figures": figures, "bars": bars});
    std::fs::write(lab.root.join("target/bench.json"), serde_json::to_string_pretty(&report)?)?;
    Ok(good)
}

fn values<'a>(figures: &'a Figures, name: &str, measure: &str) -> &'a [f64] {
    figures.get(name).and_then(|row| row.get(measure)).map_or(&[], Vec::as_slice)
}

/// The candidate's values with the direct figure of the same round taken off.
fn over_direct(figures: &Figures, name: &str, measure: &str) -> Vec<f64> {
    let direct = values(figures, if name.ends_with("-h2") { "direct-h2" } else { "direct" }, measure);
    let pairs = values(figures, name, measure).iter().zip(direct);
    pairs.map(|(value, direct)| value - direct).collect()
}

fn cell(figures: &Figures, name: &str, column: &(&str, &str, bool, usize)) -> String {
    let (_, measure, added, decimals) = *column;
    let whole = name.starts_with("direct");
    let mut all =
        if added && !whole { over_direct(figures, name, measure) } else { values(figures, name, measure).to_vec() };
    if all.is_empty() {
        return String::new();
    }
    let value = median(&mut all);
    if added && whole { format!("({value:.decimals$} in all)") } else { format!("{value:.decimals$}") }
}

/// Value, bar and whether it holds; `None` where somebody was not measured. Comparisons are made within each round.
fn judge(figures: &Figures, who: &str, measure: &str, bar: &Bar) -> Option<(f64, f64, bool)> {
    let mut own = match bar {
        Bar::Plus(..) | Bar::Times(..) => over_direct(figures, who, measure),
        Bar::Share(..) | Bar::Most(_) => values(figures, who, measure).to_vec(),
    };
    let mut limits: Vec<f64> = match bar {
        Bar::Plus(other, plus) => over_direct(figures, other, measure).iter().map(|value| value + plus).collect(),
        Bar::Times(other, times) => over_direct(figures, other, measure).iter().map(|value| value * times).collect(),
        Bar::Share(other, share) => values(figures, other, measure).iter().map(|value| value * share).collect(),
        Bar::Most(most) => vec![*most; own.len()],
    };
    if own.is_empty() || limits.is_empty() {
        return None;
    }
    let least = matches!(bar, Bar::Share(..));
    let mut slack: Vec<f64> =
        own.iter().zip(&limits).map(|(own, limit)| if least { own / limit } else { limit - own }).collect();
    let slack = median(&mut slack);
    let held = if least { slack >= 1.0 } else { slack >= 0.0 };
    Some((median(&mut own), median(&mut limits), held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[(&str, &str, &[f64])]) -> Figures {
        let mut all = Figures::new();
        for (name, measure, values) in rows {
            all.entry((*name).to_owned()).or_default().insert((*measure).to_owned(), values.to_vec());
        }
        all
    }

    #[test]
    fn bars_compare_within_a_round() {
        let all = figures(&[
            ("direct", "p", &[10.0, 100.0, 20.0]),
            ("floor", "p", &[30.0, 120.0, 40.0]),
            ("valetkey", "p", &[44.0, 136.0, 54.0]),
        ]);
        // 34, 36, 34 over direct against 20 + 15 each.
        let (value, limit, held) = judge(&all, "valetkey", "p", &Bar::Plus("floor", 15.0)).unwrap();
        assert_eq!((value, limit, held), (34.0, 35.0, true));
        assert!(!judge(&all, "valetkey", "p", &Bar::Plus("floor", 10.0)).unwrap().2);
        assert!(judge(&all, "nginx", "p", &Bar::Most(1.0)).is_none());
    }
}
