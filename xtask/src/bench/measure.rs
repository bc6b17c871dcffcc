//! The measures of "first bar", for one candidate in one round.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::candidate::{EVENTS, Kind, environment, first_request};
use super::lab::{COLD_HOSTS, HOST, LARGE, PORT_H1, READ, WRITE, stop};
use super::{Candidate, Lab, Live, Options};
use crate::shell;

type Figures = Vec<(&'static str, f64)>;

/// Every measure that fits the candidate.
pub fn one(lab: &Lab, candidate: &Candidate, options: &Options) -> Figures {
    let run = Run { lab, candidate, seconds: if options.quick { 1.0 } else { options.seconds } };
    let wanted = |name: &str| options.measures.is_empty() || options.measures.iter().any(|one| name.starts_with(one));
    let mut all = Figures::new();
    let proxied = !matches!(candidate.kind, Kind::Direct { .. });
    let steps: &[(&str, bool, Step)] = &[
        ("samecore", true, same_core),
        ("busy", true, busy),
        ("newconn", candidate.intercepts() && !candidate.h2(), new_connections),
        ("events", !candidate.h2(), events),
        ("rss", proxied && !candidate.h2(), memory),
        ("startup", proxied && !candidate.h2(), start_up),
        ("run", candidate.name == "valetkey", run_start_up),
        ("inside", candidate.name == "valetkey", inside),
    ];
    for (name, fits, step) in steps {
        if *fits && wanted(name) {
            match step(&run) {
                Ok(figures) => all.extend(figures),
                Err(error) => eprintln!("bench: {}: {name}: {error:#}", candidate.name),
            }
        }
    }
    all
}

type Step = fn(&Run<'_>) -> Result<Figures>;

struct Run<'a> {
    lab: &'a Lab,
    candidate: &'a Candidate,
    seconds: f64,
}

impl Run<'_> {
    /// loadgen against the candidate, on these CPUs.
    fn load(&self, live: &Live, cpus: &str, path: &str, options: &str) -> Result<Value> {
        let text = shell::output(&mut self.loadgen(live, cpus, path, options))?;
        let json: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
        let bad = count(&json, "errors").unwrap_or(0) + count(&json, "non200").unwrap_or(0);
        let good = count(&json, "ok").unwrap_or(1);
        if bad * 1000 > good {
            bail!("{path} {options}: {bad} of {} failed: {}", bad + good, first_error(&json));
        }
        Ok(json)
    }

    fn loadgen(&self, live: &Live, cpus: &str, path: &str, options: &str) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", cpus]).arg(self.lab.tools.join("loadgen"));
        command.arg("--url").arg(format!("{}{path}", live.base)).args(&live.arguments).args(options.split_whitespace());
        command.stdin(Stdio::null());
        command
    }

    fn start(&self) -> Result<Live> {
        self.lab.pin("1")?;
        self.candidate.start(self.lab, PORT_H1, 0)
    }
}

fn count(json: &Value, name: &str) -> Option<u64> {
    json.get(name).and_then(Value::as_u64)
}

fn first_error(json: &Value) -> &str {
    json.get("first_error").and_then(Value::as_str).unwrap_or_default()
}

fn number(json: &Value, name: &str) -> f64 {
    json.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// One connection, everything on CPU 0: what a request costs without waking another core.
fn same_core(run: &Run<'_>) -> Result<Figures> {
    let live = run.start()?;
    run.lab.pin("0")?;
    let load = format!("-c 1 -d {} --warmup 0.3", run.seconds);
    let read = run.load(&live, "0", READ, &load)?;
    let write = run.load(&live, "0", WRITE, &format!("{load} --body 300"))?;
    Ok(vec![("samecore_read_p50_us", number(&read, "p50_us")), ("samecore_write_p50_us", number(&write, "p50_us"))])
}

/// 64 connections: as many requests as go, then 1,000 a second, then 10 MiB downloads.
fn busy(run: &Run<'_>) -> Result<Figures> {
    let live = run.start()?;
    run.load(&live, "1", READ, "-c 64 -d 0.5")?;
    let before = live.id().map(cpu_seconds).transpose()?;
    let full = run.load(&live, "1", READ, &format!("-c 64 -d {}", run.seconds))?;
    let mut all = vec![("busy_rps", number(&full, "rps"))];
    if let (Some(id), Some(before)) = (live.id(), before) {
        let used = cpu_seconds(id)? - before;
        all.push(("busy_cpu_us", used * 1e6 / number(&full, "ok").max(1.0)));
    }
    let paced = run.load(&live, "1", READ, &format!("-c 64 -d {} --rate 1000 --warmup 0.3", run.seconds))?;
    all.extend([("paced_p50_us", number(&paced, "p50_us")), ("paced_p99_us", number(&paced, "p99_us"))]);
    let large = run.load(&live, "1", LARGE, &format!("-c 1 -d {} --warmup 0.2", run.seconds))?;
    all.push(("large_mbps", number(&large, "mbps")));
    Ok(all)
}

/// A TCP connection, CONNECT, handshake and request each: a name known before, and names never seen.
fn new_connections(run: &Run<'_>) -> Result<Figures> {
    run.lab.pin("1")?;
    let live = run.candidate.start(run.lab, PORT_H1, COLD_HOSTS)?;
    let warm = run.load(&live, "1", READ, &format!("--mode newconn -c 8 -d {} --warmup 0.3", run.seconds))?;
    let count = COLD_HOSTS.min((run.seconds * 800.0) as usize);
    let cold = format!("--mode newconn -c 8 -n {count} --hosts {COLD_HOSTS}");
    // Names that no service has: a placeholder sent there would be refused, so none is.
    let cold = run.load(&live.bare(), "1", READ, &cold)?;
    Ok(vec![
        ("newconn_warm_per_s", number(&warm, "rps")),
        ("newconn_cold_per_s", number(&cold, "rps")),
        ("newconn_p50_us", number(&warm, "p50_us")),
    ])
}

/// 50 streams with an event each 20 ms: how late they arrive.
fn events(run: &Run<'_>) -> Result<Figures> {
    run.lab.pin("1")?;
    let live = run.candidate.start(run.lab, EVENTS, 0)?;
    let late = run.load(&live, "1", "/sse", &format!("--mode sse -c 50 -d {}", run.seconds.max(2.0)))?;
    Ok(vec![("events_p99_us", number(&late, "p99_us"))])
}

/// Resident memory with 0, 1,000 and 9,500 open connections that have served one request each.
fn memory(run: &Run<'_>) -> Result<Figures> {
    let live = run.start()?;
    let id = live.id().context("no process")?;
    std::thread::sleep(Duration::from_millis(300));
    let mut all = vec![("rss_idle_mib", resident_mib(id)?)];
    for (name, count) in [("rss_1000_mib", 1_000), ("rss_9500_mib", 9_500)] {
        let mut load = run.loadgen(&live, "1", READ, &format!("--mode idle -c {count} -d 600"));
        let mut child = load.stdout(Stdio::piped()).spawn()?;
        let figure = ready(&mut child).and_then(|()| {
            std::thread::sleep(Duration::from_millis(500));
            resident_mib(id)
        });
        stop(&mut child);
        all.push((name, figure?));
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(all)
}

fn ready(child: &mut Child) -> Result<()> {
    let out = child.stdout.take().context("no output")?;
    for line in BufReader::new(out).lines() {
        let line = line?;
        if line == "READY" {
            return Ok(());
        }
        let json: Value = serde_json::from_str(&line)?;
        if count(&json, "errors") != Some(0) {
            bail!("connections failed: {}", first_error(&json));
        }
    }
    bail!("loadgen ended before its connections were open")
}

/// From the start of the process to the first answer, polled each millisecond.
fn start_up(run: &Run<'_>) -> Result<Figures> {
    let words = run.candidate.command(run.lab, PORT_H1, 0)?.context("no process")?;
    let url = first_request(run.candidate);
    let mut all = Vec::new();
    for _ in 0..5 {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).args(&words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        environment(&mut command, run.lab);
        let start = Instant::now();
        let mut child = command.spawn()?;
        let answered = answers(&url);
        let millis = start.elapsed().as_secs_f64() * 1e3;
        stop(&mut child);
        if !answered {
            bail!("no answer within 10 s");
        }
        all.push(millis);
    }
    Ok(vec![("startup_ms", median(&mut all))])
}

/// Whether an HTTP answer of any status came from the proxy's port within 10 s. CONNECT for interceptors.
fn answers(url: &str) -> bool {
    use std::io::{Read, Write};
    let request = match url.strip_prefix("http://") {
        Some(rest) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
        }
        None => "CONNECT api.github.com:443 HTTP/1.1\r\nHost: api.github.com:443\r\n\r\n".to_owned(),
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if let Ok(mut tcp) = std::net::TcpStream::connect(("127.0.0.1", 18_500)) {
            let mut head = [0u8; 8];
            let _ = tcp.set_read_timeout(Some(Duration::from_secs(5)));
            if tcp.write_all(request.as_bytes()).is_ok() && tcp.read_exact(&mut head).is_ok() {
                return head.starts_with(b"HTTP/");
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// `valetkey run -- true` beside `true`.
fn run_start_up(run: &Run<'_>) -> Result<Figures> {
    run.candidate.command(run.lab, PORT_H1, 0)?;
    let program = run.lab.valetkey.display().to_string();
    let config = run.lab.path("valetkey.yaml");
    let (mut bare, mut open, mut walled) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..15 {
        bare.push(timed(Command::new("true").stdin(Stdio::null()))?);
        for (isolate, times) in [("--isolate=off", &mut open), ("--isolate=on", &mut walled)] {
            let mut command = Command::new(&program);
            environment(&mut command, run.lab);
            command.args(["run", "--config", &config, "--agent", "bench", isolate, "--", "true"]);
            times.push(timed(command.stdin(Stdio::null()).stderr(Stdio::null()))?);
        }
    }
    let (bare, open) = (median(&mut bare), median(&mut open));
    Ok(vec![("run_over_bare_ms", open - bare), ("run_walls_ms", median(&mut walled) - open)])
}

/// Times that each way is measured; what is compared are differences of few microseconds.
const INSIDE_TURNS: usize = 5;

/// One connection of an agent of `run`, everything on CPU 0: without walls, with them by the proxy, and diverted.
fn inside(run: &Run<'_>) -> Result<Figures> {
    run.candidate.command(run.lab, PORT_H1, 0)?;
    run.lab.pin("1")?;
    let ways = [("--isolate=off", true), ("--isolate=on", true), ("--isolate=on", false)];
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..INSIDE_TURNS {
        for ((isolate, proxy), figures) in ways.into_iter().zip(&mut all) {
            figures.push(agent_p50(run, isolate, proxy)?);
        }
    }
    let [off, on, diverted] = all.map(|mut figures| median(&mut figures));
    Ok(vec![("inside_off_p50_us", off), ("inside_proxy_us", on - off), ("inside_diverted_us", diverted - off)])
}

fn agent_p50(run: &Run<'_>, isolate: &str, proxy: bool) -> Result<f64> {
    let load = run.lab.tools.join("loadgen");
    let through = if proxy { "--proxy ${u#*@} --proxy-auth ${u%@*}" } else { "" };
    let script = format!(
        "u=${{HTTPS_PROXY#http://}}; u=${{u%/}}; exec {} --url https://{HOST}{READ} {through} --ca $SSL_CERT_FILE \
         -H \"Authorization: Bearer $GITHUB_TOKEN\" -c 1 -d {} --warmup 0.3",
        load.display(),
        run.seconds / 2.0
    );
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(&run.lab.valetkey);
    environment(&mut command, run.lab);
    command.args(["run", "--config", &run.lab.path("valetkey.yaml"), "--agent", "bench", isolate]);
    command.args(["--", "sh", "-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    let text = shell::output(&mut command)?;
    let json: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    if count(&json, "errors").unwrap_or(1) + count(&json, "non200").unwrap_or(1) > 0 {
        bail!("{isolate}: {}", first_error(&json));
    }
    Ok(number(&json, "p50_us"))
}

fn timed(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    shell::run(command)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// The middle value.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// User and system time of a process, seconds (proc(5): fields 14 and 15, in ticks of 10 ms).
pub fn cpu_seconds(id: u32) -> Result<f64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat"))?;
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

fn resident_mib(id: u32) -> Result<f64> {
    let text = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1024.0)
}
