//! Who is measured, and how each is started and asked.

use std::fmt::Write as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use super::lab::{self, HOST, Lab, PORT_H1, PORT_H2, PORT_SSE, READ};
use crate::shell;

/// How a candidate is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing between.
    Direct { h2: bool },
    /// The least interceptor, with this way of recording.
    Floor(&'static str),
    /// nginx as a reverse proxy that adds a header (one TLS leg).
    Nginx,
    /// Valetkey by CONNECT, by its reverse leg, or by CONNECT with HTTP/2 on both legs; with this `audit.sync`.
    Valetkey { reverse: bool, h2: bool, sync: &'static str },
}

/// A candidate.
pub struct Candidate {
    /// As in the table.
    pub name: String,
    /// How it is reached.
    pub kind: Kind,
}

/// A running candidate; stops when dropped.
pub struct Live {
    child: Option<Child>,
    /// Options of loadgen that reach it.
    pub arguments: Vec<String>,
    /// Scheme and authority, and what stands before a path.
    pub base: String,
}

const PORT: u16 = 18_500;

/// Every candidate, in the order of the table.
pub fn all() -> Vec<Candidate> {
    let one = |name: &str, kind| Candidate { name: name.to_owned(), kind };
    let valetkey = |reverse, h2, sync| Kind::Valetkey { reverse, h2, sync };
    vec![
        one("direct", Kind::Direct { h2: false }),
        one("direct-h2", Kind::Direct { h2: true }),
        one("floor", Kind::Floor("none")),
        one("floor-buffered", Kind::Floor("buffered")),
        one("floor-durable", Kind::Floor("durable")),
        one("nginx", Kind::Nginx),
        one("valetkey", valetkey(false, false, "changes")),
        one("valetkey-always", valetkey(false, false, "always")),
        one("valetkey-reverse", valetkey(true, false, "changes")),
        one("valetkey-h2", valetkey(false, true, "changes")),
    ]
}

impl Candidate {
    /// Whether clients open a TLS connection to it by CONNECT.
    pub const fn intercepts(&self) -> bool {
        matches!(self.kind, Kind::Floor(_) | Kind::Valetkey { reverse: false, .. })
    }

    /// Whether it speaks HTTP/2 (and nothing else is asked of it).
    pub const fn h2(&self) -> bool {
        matches!(self.kind, Kind::Direct { h2: true } | Kind::Valetkey { h2: true, .. })
    }

    /// The words that start it; none for `direct`. `upstream` is the port it has to dial, `hosts` so many names besides.
    pub fn command(&self, lab: &Lab, upstream: u16, hosts: usize) -> Result<Option<Vec<String>>> {
        Ok(match self.kind {
            Kind::Direct { .. } => None,
            Kind::Floor(audit) => {
                let dial = format!("127.0.0.1:{upstream}");
                let words = ["ca.pem", "ca.key", "floor.audit"].map(|name| lab.path(name));
                let mut all = vec![lab.tools.join("floor").display().to_string(), PORT.to_string()];
                all.extend(words);
                all.extend([audit.to_owned(), dial]);
                Some(all)
            }
            Kind::Nginx => {
                std::fs::write(lab.path("nginx-proxy.conf"), nginx_conf(lab, upstream))?;
                Some(["nginx", "-p", &lab.path(""), "-c", &lab.path("nginx-proxy.conf")].map(str::to_owned).to_vec())
            }
            Kind::Valetkey { h2, sync, .. } => {
                let upstream = if h2 && upstream == PORT_H1 { PORT_H2 } else { upstream };
                std::fs::write(lab.path("valetkey.yaml"), valetkey_conf(lab, upstream, sync, hosts)?)?;
                let listen = format!("127.0.0.1:{PORT}");
                let words = ["serve", "--config", &lab.path("valetkey.yaml"), "--listen", &listen, "--json"];
                let program = lab.valetkey.display().to_string();
                Some(std::iter::once(program).chain(words.map(str::to_owned)).collect())
            }
        })
    }

    /// Starts it on CPU 0 and says how loadgen reaches it.
    pub fn start(&self, lab: &Lab, upstream: u16, hosts: usize) -> Result<Live> {
        let Some(words) = self.command(lab, upstream, hosts)? else { return self.reach(lab, upstream, None) };
        let child = self.spawn(lab, &words)?;
        lab::listening(PORT)?;
        self.reach(lab, upstream, Some(child))
    }

    fn spawn(&self, lab: &Lab, words: &[String]) -> Result<Child> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]).args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if matches!(self.kind, Kind::Valetkey { .. }) {
            // A home of its own each time; a full audit of the last candidate would not be fair.
            let _ = std::fs::remove_dir_all(lab.path("home"));
            environment(&mut command, lab);
        }
        command.spawn().with_context(|| format!("cannot start {}", self.name))
    }

    fn reach(&self, lab: &Lab, upstream: u16, child: Option<Child>) -> Result<Live> {
        let mut live = Live { child, arguments: Vec::new(), base: format!("https://{HOST}") };
        let mut option = |name: &str, value: String| live.arguments.extend([name.to_owned(), value]);
        match self.kind {
            Kind::Direct { h2 } => {
                let port = if h2 && upstream == PORT_H1 { PORT_H2 } else { upstream };
                option("--connect", format!("127.0.0.1:{port}"));
                option("--ca", lab.path("ca.pem"));
            }
            Kind::Floor(_) => {
                option("--proxy", format!("127.0.0.1:{PORT}"));
                option("--ca", lab.path("ca.pem"));
            }
            Kind::Nginx => live.base = format!("http://127.0.0.1:{PORT}"),
            Kind::Valetkey { reverse, .. } => {
                let session = Session::start(lab)?;
                option("-H", format!("Authorization: Bearer {}", session.placeholder));
                if reverse {
                    option("-H", format!("X-Valetkey-Session: {}", session.token));
                    live.base = format!("http://127.0.0.1:{PORT}/proxy/github");
                } else {
                    option("--proxy", format!("127.0.0.1:{PORT}"));
                    option("--proxy-auth", format!("bench:{}", session.token));
                    option("--ca", session.ca);
                }
            }
        }
        if self.h2() {
            live.arguments.push("--h2".to_owned());
        }
        Ok(live)
    }
}

impl Live {
    /// The same process, asked without a credential.
    pub fn bare(&self) -> Self {
        let mut arguments = self.arguments.clone();
        if let Some(at) = arguments.iter().position(|text| text.starts_with("Authorization:")) {
            arguments.drain(at.saturating_sub(1)..=at);
        }
        Self { child: None, arguments, base: self.base.clone() }
    }

    /// The candidate's process, where it is one.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            lab::stop(child);
        }
    }
}

/// What `session start --json` says; scripts rely on its members.
struct Session {
    token: String,
    ca: String,
    placeholder: String,
}

impl Session {
    fn start(lab: &Lab) -> Result<Self> {
        let mut command = Command::new(&lab.valetkey);
        command.args(["session", "start", "--agent", "bench", "--json"]);
        environment(&mut command, lab);
        let text = shell::output(&mut command)?;
        let json: serde_json::Value = serde_json::from_str(&text).context("`session start --json` printed no JSON")?;
        let field = |path: &str| {
            let value = json.pointer(path).and_then(serde_json::Value::as_str).map(str::to_owned);
            value.with_context(|| format!("`session start --json` has no {path}"))
        };
        Ok(Self { token: field("/token")?, ca: field("/ca")?, placeholder: field("/env/GITHUB_TOKEN")? })
    }
}

/// What Valetkey reads from its environment, and nothing of ours.
pub fn environment(command: &mut Command, lab: &Lab) {
    command.env("VALETKEY_HOME", lab.path("home")).env("GITHUB_TOKEN", format!("ghp_{}", "B".repeat(36)));
}

fn nginx_conf(lab: &Lab, upstream: u16) -> String {
    let folder = lab.path("");
    format!(
        "{}events {{ worker_connections 16384; }}\nhttp {{ access_log off; tcp_nodelay on; keepalive_requests 100000000;\
         keepalive_timeout 600s; upstream up {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{PORT} backlog=4096; location / {{ proxy_pass https://up; proxy_http_version 1.1;\
         proxy_buffering off; proxy_set_header Connection ''; proxy_set_header Host {HOST};\
         proxy_set_header Authorization 'Bearer REAL-SECRET-0123456789'; proxy_ssl_verify on;\
         proxy_ssl_trusted_certificate ca.pem; proxy_ssl_name {HOST}; proxy_ssl_server_name on; }} }} }}\n",
        lab::preamble(&folder, "proxy")
    )
}

/// The policy of `bench/valetkey.yaml` with the upstreams of this run.
fn valetkey_conf(lab: &Lab, upstream: u16, sync: &str, hosts: usize) -> Result<String> {
    let mut text = std::fs::read_to_string(lab.root.join("bench/valetkey.yaml"))?;
    let ca = lab.path("ca.pem");
    let _ = write!(
        text,
        "audit: {{ sync: {sync} }}\nupstreams:\n  {HOST}: {{ address: \"127.0.0.1:{upstream}\", ca: {ca} }}\n"
    );
    for number in 0..hosts {
        let _ = writeln!(text, "  h{number}.bench.test: {{ address: \"127.0.0.1:{upstream}\", ca: {ca} }}");
    }
    Ok(text)
}

/// The words of a start-up measurement: a URL that answers 200 as soon as the candidate serves.
pub fn first_request(candidate: &Candidate) -> String {
    match candidate.kind {
        Kind::Nginx => format!("http://127.0.0.1:{PORT}{READ}"),
        // Without a session Valetkey answers 401 on its reverse leg; that it answers is what counts.
        Kind::Valetkey { .. } => format!("http://127.0.0.1:{PORT}/proxy/github{READ}"),
        _ => format!("https://{HOST}{READ}"),
    }
}

/// The port of the server of events.
pub const EVENTS: u16 = PORT_SSE;
