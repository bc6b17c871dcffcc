//! An agent as the tests drive it: it has what `session start` or the environment of `run` gave it, and speaks HTTP/1.1.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::house::binary;
use e2e::{Gateway, House, Session};
use testkit::ca::{client_trusting, roots_of};
use testkit::client::{Answer, Wire, proxy_authorization};
use testkit::process::Running;
use testkit::{Canary, Upstream};

/// The one host that these tests ask.
pub const HOST: &str = "kit.echo.test";

/// Numbers that are the same in every run (xorshift64).
pub struct Seeded(pub u64);

impl Seeded {
    /// One of `0..bound`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A home with the echo service, whose one credential is this canary, and these agents.
pub fn echo_house(upstream: &Upstream, agents: &str) -> (House, Canary) {
    let canary = Canary::new(401, "tok_", 40);
    let config = format!(
        "version: 1\nservices: [./echo.yaml]\ncredentials:\n  echo-token: {{ service: echo, from: env:ECHO_TOKEN }}\n\
         agents:\n{agents}upstreams:\n{}",
        upstream.entry(HOST)
    );
    let house = House::new(&config, &[("ECHO_TOKEN", &canary.value())]);
    std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), house.path("echo.yaml")).unwrap();
    (house, canary)
}

/// An agent that may do anything at the echo service, with this more in its permission.
pub fn agent(name: &str, more: &str) -> String {
    format!(
        "  {name}:\n    permissions:\n      - service: echo\n        credential: echo-token\n        \
         methods: [GET, POST]\n        endpoints: [/]\n{more}"
    )
}

/// What an agent needs to ask something.
#[derive(Clone)]
pub struct Agent {
    proxy: SocketAddr,
    token: String,
    /// What it holds instead of the secret.
    pub placeholder: String,
    tls: Arc<rustls::ClientConfig>,
}

impl Agent {
    /// With a session of `serve`.
    pub fn of(gateway: &Gateway, session: &Session) -> Self {
        Self::with(gateway, session, "ECHO_TOKEN")
    }

    /// The same with the placeholder of this variable.
    pub fn with(gateway: &Gateway, session: &Session, variable: &str) -> Self {
        Self {
            proxy: gateway.proxy,
            token: session.token.clone(),
            placeholder: session.env[variable].clone(),
            tls: client_trusting(roots_of(&session.ca), &["http/1.1"]),
        }
    }

    /// With the environment that `run` made.
    pub fn in_run(env: &BTreeMap<String, String>) -> Self {
        let (user, proxy) = env["HTTPS_PROXY"].trim_start_matches("http://").rsplit_once('@').unwrap();
        let bundle = std::fs::read_to_string(&env["SSL_CERT_FILE"]).unwrap();
        Self {
            proxy: proxy.trim_end_matches('/').parse().unwrap(),
            token: user.rsplit_once(':').unwrap().1.to_owned(),
            placeholder: env["ECHO_TOKEN"].clone(),
            tls: client_trusting(roots_of(&bundle), &["http/1.1"]),
        }
    }

    /// The same agent at another gateway.
    pub fn at(&self, gateway: &Gateway) -> Self {
        Self { proxy: gateway.proxy, ..self.clone() }
    }

    /// A connection to the host, through the gateway.
    pub fn open(&self) -> io::Result<Wire> {
        self.tunnel(HOST)?.tls(HOST, &self.tls)
    }

    /// A tunnel to this host, nothing said in it yet.
    pub fn tunnel(&self, host: &str) -> io::Result<Wire> {
        let mut wire = Wire::open(self.proxy)?;
        let answer = wire.connect(&format!("{host}:443"), &proxy_authorization("agent", &self.token))?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("CONNECT was answered {}", answer.status)));
        }
        Ok(wire)
    }

    /// Sends a request with the placeholder where it belongs.
    pub fn send(&self, wire: &mut Wire, method: &str, path: &str, body: &str) -> io::Result<()> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.placeholder,
            body.len()
        );
        wire.send(head.as_bytes())
    }

    /// A request and its whole answer.
    pub fn ask(&self, wire: &mut Wire, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        self.send(wire, method, path, body)?;
        wire.answer(method)
    }

    /// A `GET` on a connection of its own; the status, or 0 where none came.
    pub fn get(&self, path: &str) -> u16 {
        self.open().and_then(|mut wire| self.ask(&mut wire, "GET", path, "")).map_or(0, |answer| answer.status)
    }

    /// Asks again and again until it is refused; how.
    pub fn until_refused(&self, at_most: Duration) -> String {
        let start = Instant::now();
        let mut wire = self.open().unwrap();
        while start.elapsed() < at_most {
            match self.ask(&mut wire, "GET", "/json", "") {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => return format!("{} {}", answer.status, answer.code().unwrap_or_default()),
                // A connection that was cut says nothing; a new one says why.
                Err(_) => match self.open() {
                    Ok(next) => wire = next,
                    Err(error) => return error.to_string(),
                },
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("still not refused after {at_most:?}");
    }

    /// Opens an event stream that lasts for minutes, and reads until it ends.
    pub fn stream(&self, started: &std::sync::Barrier) {
        let mut wire = self.open().unwrap();
        self.send(&mut wire, "GET", "/events/60000/5", "").unwrap();
        let mut piece = [0u8; 4096];
        assert!(wire.read(&mut piece).unwrap() > 0);
        started.wait();
        let start = Instant::now();
        while let Ok(1..) = wire.read(&mut piece) {
            assert!(start.elapsed() < Duration::from_secs(30), "the stream is not cut");
        }
    }
}

/// A `run` whose agent waits, so that the test can act as it.
pub struct Held {
    process: Running,
    gate: PathBuf,
    receipt: PathBuf,
    /// The environment of the agent.
    pub env: BTreeMap<String, String>,
}

impl Held {
    /// Starts it; `name` tells it from others in the same home.
    pub fn start(house: &House, agent: &str, name: &str) -> Self {
        let path = |what: &str| house.path(&format!("{name}.{what}"));
        let (gate, env, receipt) = (path("gate"), path("env"), path("receipt"));
        std::fs::write(&gate, "").unwrap();
        let script = "env > \"$1.part\" && mv \"$1.part\" \"$1\"; while [ -e \"$2\" ]; do sleep 0.05; done";
        let mut command = house.clean(binary());
        command.arg("run").arg("--config").arg(house.config()).args(["--agent", agent, "--receipt"]).arg(&receipt);
        // The test itself speaks in the agent's place, from outside.
        command.args(["--isolate=off", "--", "sh", "-c", script, "sh"]).arg(&env).arg(&gate);
        command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(path("log")).unwrap());
        let process = Running::start(command);
        let text = wait_for(&env);
        let env = text.lines().filter_map(|line| line.split_once('='));
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { process, gate, receipt, env }
    }

    /// Lets the agent end; the receipt.
    pub fn end(mut self) -> serde_json::Value {
        let _ = std::fs::remove_file(&self.gate);
        assert!(self.process.wait(Duration::from_secs(20)).is_some(), "`run` does not end");
        serde_json::from_str(&std::fs::read_to_string(&self.receipt).unwrap()).unwrap()
    }
}

fn wait_for(path: &Path) -> String {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} does not appear", path.display());
}
