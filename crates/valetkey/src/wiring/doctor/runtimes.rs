//! Each runtime of [`probe`](super::probe), tried on a stage of its own: the real gateway, a stand-in for the upstream, and
//! a client that was told nothing but what its environment says.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use approval::WaitingRoom;
use audit::Tail;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use catalog::ServiceFile;
use model::event::Kind;
use model::{Code, Random};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::probe::{ALL, Probe};
use super::{Finding, Group, Proof, State, upstream};
use crate::clock::SystemRandom;
use crate::config::Ambient;
use crate::wiring::demo::Upstream;
use crate::wiring::open::Opened;
use crate::wiring::stage::{self, Play, Stage};

/// A runtime that has not ended by then has failed. Starting a virtual machine on a busy computer takes seconds.
const PATIENCE: Duration = Duration::from_mins(1);
/// What the gateway has seen is in the log after this time, whatever else goes on.
const RECORDED: Duration = Duration::from_millis(500);

const CONFIG: &str = r#"version: 1
credentials:
  doctor-token: { service: doctor }
agents:
  doctor:
    permissions: [{ service: doctor, credential: doctor-token, actions: [read], resources: ["*"] }]
upstreams:
"#;

/// The stage with what the doctor looks at.
struct Room<'a> {
    stage: &'a Stage,
    upstream: &'a Upstream,
    gate: &'a Gate,
    folder: &'a Path,
    ambient: &'a Ambient,
    real: String,
}

/// Tries every runtime that is here.
///
/// # Errors
/// Not even the stage can be set.
pub(super) async fn examine(ambient: &Ambient) -> anyhow::Result<Vec<Finding>> {
    let folder = ambient.temporary_folder("valetkey-doctor", &SystemRandom)?;
    let upstream = Upstream::start(&upstream::HOSTS, upstream::answer).await?;
    crate::config::write_private(&folder.path().join("upstream-ca.pem"), upstream.ca_pem.as_bytes())?;
    let mut noise = [0u8; 30];
    SystemRandom.fill(&mut noise);
    let real = format!("doctor_{}", URL_SAFE_NO_PAD.encode(noise).replace(['-', '_'], "x"));
    let mut config = CONFIG.to_owned();
    for host in upstream::HOSTS {
        let _ = writeln!(config, "  {host}: {{ address: \"{}\", ca: ./upstream-ca.pem }}", upstream.address);
    }
    let play = Play {
        folder: folder.path(),
        config: &config,
        services: vec![ServiceFile::parse(upstream::SERVICE, "doctor.yaml").context("the doctor's own service")?],
        agent: "doctor",
        credentials: vec![("doctor-token", "doctor", real.clone().into_bytes())],
    };
    let stage = stage::set(ambient, play, quiet_room).await?;
    let gate = Gate::before(stage.serving.address).await?;
    let room = Room { stage: &stage, upstream: &upstream, gate: &gate, folder: folder.path(), ambient, real };
    let mut findings = Vec::new();
    for probe in ALL {
        findings.push(room.examine(probe).await);
    }
    stage.serving.drain(Duration::from_millis(200)).await;
    folder.remove();
    Ok(findings)
}

fn quiet_room(opened: &Opened) -> WaitingRoom {
    WaitingRoom::new(opened.store.clone(), opened.clock.clone(), opened.random.clone(), Vec::new())
}

impl Room<'_> {
    async fn examine(&self, probe: &Probe) -> Finding {
        let absent = |why: String| Finding::new(Group::Runtime, probe.subject, State::Absent, why);
        let Some(program) = probe.programs.iter().find_map(|name| self.ambient.on_path(name)) else {
            return absent(format!("no {} on the PATH", probe.programs.join(", ")));
        };
        let Ok(place) = self.place(probe) else { return absent("its files cannot be written".to_owned()) };
        if !probe.needs.is_empty() && !self.sh(probe.needs, &program, &place).await.is_ok_and(|it| it.status.success())
        {
            return absent(format!("`{}` is here, but not what this needs of it", program.display()));
        }
        let version = self.sh(probe.version, &program, &place).await.ok().and_then(|output| first_line(&output.stdout));
        let finding = self.try_it(probe, &program, &place).await;
        let _ = std::fs::remove_dir_all(&place);
        Finding { version, ..finding }
    }

    /// A folder for one probe, with its files.
    fn place(&self, probe: &Probe) -> anyhow::Result<PathBuf> {
        let place = self.folder.join("probe").join(probe.subject.replace(' ', "-"));
        std::fs::create_dir_all(&place)?;
        for (name, text) in probe.files {
            std::fs::write(place.join(name), text)?;
        }
        Ok(place)
    }

    async fn try_it(&self, probe: &Probe, program: &Path, place: &Path) -> Finding {
        let finding = |state, detail: String| Finding::new(Group::Runtime, probe.subject, state, detail);
        let before = self.upstream.seen().len();
        let came = self.gate.count();
        let tail = Tail::from_end(&self.stage.opened.home.audit());
        let output = match self.sh(probe.script, program, place).await {
            Ok(output) => output,
            Err(why) => return finding(State::Failed, why).with_mend(probe.mend),
        };
        let seen = self.upstream.seen();
        let arrived = seen.iter().skip(before).any(|seen| !probe.swaps || self.is_real(&seen.authorization));
        let holds_real = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&self.real);
        let leaked = holds_real(&output.stdout) || holds_real(&output.stderr);
        if arrived && !leaked {
            let swap = probe.swaps.then_some(true);
            let proof = Proof { trust: Some(true), proxy: Some(true), swap };
            let detail = if probe.swaps { "its placeholder is swapped" } else { "it sends no token of this kind" };
            let detail = format!("trusts the session's certificate and goes through the proxy; {detail}");
            return Finding { proof, ..finding(State::Ok, detail) };
        }
        let proof = match tail {
            Ok(tail) if !arrived => {
                Proof { swap: probe.swaps.then_some(false), ..self.seen_by_gateway(tail, came).await }
            }
            _ => Proof { trust: Some(true), proxy: Some(true), swap: Some(!leaked && arrived) },
        };
        let said = last_lines(&output.stderr).or_else(|| last_lines(&output.stdout));
        let said = said.map_or_else(|| "it said nothing".to_owned(), |said| format!("it said: {said}"));
        Finding { proof, ..finding(State::Failed, said) }.with_mend(probe.mend)
    }

    /// How far a request came that did not arrive. Some clients break off by themselves once they have seen a certificate
    /// that they do not trust; then nothing is in the log, and only the gate has seen them.
    async fn seen_by_gateway(&self, mut tail: Tail, before: usize) -> Proof {
        if self.gate.count() == before {
            return Proof { proxy: Some(false), ..Proof::default() };
        }
        tokio::time::sleep(RECORDED).await;
        // Outcomes come late, that of the runtime before perhaps; what is written before an answer begins is of this one.
        let lines = tail.look().unwrap_or_default();
        let events = lines.iter().filter_map(|line| Some(audit::read_line(line).ok()?.event));
        let events = events.filter(|event| matches!(event.kind, Kind::Attempt | Kind::Refusal));
        let (mut trusted, mut nameless, mut broken) = (false, false, false);
        for event in events {
            let tunnel = event.request.is_some_and(|request| &*request.method == "CONNECT");
            match event.code {
                Some(Code::Unidentified) => nameless = true,
                Some(Code::Misdirected) if tunnel => broken = true,
                _ => trusted = true,
            }
        }
        let nameless = nameless && !broken;
        match (trusted, nameless) {
            (true, _) => Proof { trust: Some(true), proxy: Some(true), swap: None },
            // It came, but without the session's token.
            (false, true) => Proof { trust: None, proxy: Some(false), swap: None },
            (false, false) => Proof { trust: Some(false), proxy: Some(true), swap: None },
        }
    }

    /// Whether a value of `Authorization` holds the real token, in clear or as Basic.
    fn is_real(&self, authorization: &str) -> bool {
        let value = authorization.split_once(' ').map_or(authorization, |(_, value)| value);
        let decoded = STANDARD.decode(value).unwrap_or_default();
        value == self.real || String::from_utf8_lossy(&decoded).ends_with(&format!(":{}", self.real))
    }

    /// Runs a line of shell as the agent's; the program that was found is `$PROGRAM`.
    async fn sh(&self, script: &str, program: &Path, place: &Path) -> Result<Output, String> {
        let mut command = Command::new("sh");
        let (real, gate) = (self.stage.serving.address.to_string(), self.gate.address.to_string());
        let through = |(name, value): &(OsString, OsString)| match value.to_str() {
            Some(text) => (name.clone(), OsString::from(text.replace(&real, &gate))),
            None => (name.clone(), value.clone()),
        };
        command.args(["-c", script]).env_clear().envs(self.stage.environment.iter().map(through));
        command.env("PROGRAM", program);
        command.current_dir(place).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| error.to_string())?;
        let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        // Browsers leave helpers behind.
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        match ended {
            Ok(output) => output.map_err(|error| error.to_string()),
            Err(_) => Err(format!("did not finish within {} s", PATIENCE.as_secs())),
        }
    }
}

/// Stands before the gateway and counts who comes.
struct Gate {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
}

impl Gate {
    async fn before(gateway: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, came) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&came);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut gateway = TcpStream::connect(gateway).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut gateway).await
                });
            }
        });
        Ok(Self { address, came })
    }

    fn count(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

fn first_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find(|line| line.contains(|letter: char| letter.is_ascii_digit()))?;
    Some(line.trim().chars().take(40).collect())
}

/// The end of what was said: stack traces name their cause there.
fn last_lines(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    // What every Java says where JAVA_TOOL_OPTIONS is set.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Picked up JAVA_TOOL"));
    let lines: Vec<&str> = lines.collect();
    let last = lines.get(lines.len().saturating_sub(3)..)?.join(" | ");
    (!last.is_empty()).then(|| last.chars().take(300).collect())
}
