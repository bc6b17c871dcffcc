//! What all candidates share: certificates, the upstream (nginx over TLS, and a small server of events), the tools.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Options;
use crate::shell;

/// The host that every candidate is asked for; the upstream stands in for it.
pub const HOST: &str = "api.github.com";
/// A read and a write on it.
pub const READ: &str = "/repos/acme/widget/issues/1";
pub const WRITE: &str = "/repos/acme/widget/issues";
/// 10 MiB.
pub const LARGE: &str = "/repos/acme/widget/tarball/main";
/// Ports of the upstream: HTTP/1.1, HTTP/2, events.
pub const PORT_H1: u16 = 18_443;
pub const PORT_H2: u16 = 18_444;
pub const PORT_SSE: u16 = 18_445;
/// Names for cold leaves, used up once per round and candidate.
pub const COLD_HOSTS: usize = 4_000;

/// The laboratory; stops its servers when dropped.
pub struct Lab {
    /// The workspace.
    pub root: PathBuf,
    /// Everything that is written.
    pub folder: PathBuf,
    /// loadgen, sseup and floor.
    pub tools: PathBuf,
    /// The release build of Valetkey.
    pub valetkey: PathBuf,
    servers: Vec<Child>,
}

impl Lab {
    /// Builds the tools, makes the certificates, starts the upstreams.
    pub fn build(root: &Path, options: &Options) -> Result<Self> {
        let folder = root.join("target/bench");
        std::fs::create_dir_all(&folder)?;
        let tools = folder.join("build");
        for part in ["floor", "loadgen"] {
            let manifest = root.join("bench").join(part).join("Cargo.toml");
            let mut build = shell::command(root, "cargo build -q --release --manifest-path");
            shell::run(build.arg(manifest).arg("--target-dir").arg(&tools))?;
        }
        if options.only.is_empty() || options.only.iter().any(|name| name.starts_with("valetkey")) {
            shell::run(&mut shell::command(root, "cargo build -q --release --locked -p valetkey"))
                .context("cannot build valetkey; leave it out with --only")?;
        }
        let target = shell::output(&mut shell::command(root, "cargo metadata --no-deps --format-version 1"))?;
        let target: serde_json::Value = serde_json::from_str(&target)?;
        let target =
            PathBuf::from(target.get("target_directory").and_then(serde_json::Value::as_str).unwrap_or("target"));
        let mut lab = Self {
            root: root.to_owned(),
            tools: tools.join("release"),
            valetkey: target.join("release/valetkey"),
            folder,
            servers: Vec::new(),
        };
        lab.certificates()?;
        lab.upstream()?;
        Ok(lab)
    }

    /// A path in the laboratory as text.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        shell::output(&mut shell::command(&self.folder, &format!("openssl {arguments}"))).map(|_| ())
    }

    fn certificates(&self) -> Result<()> {
        if self.folder.join("leaf.pem").exists() {
            return Ok(());
        }
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        self.openssl(&format!("req -x509 {key} -days 3650 -subj /CN=bench -keyout ca.key -out ca.pem"))?;
        // floor reads PKCS#8; so does everything else.
        self.openssl(&format!("req -new {key} -subj /CN=leaf -keyout leaf.key -out leaf.csr"))?;
        let names = "subjectAltName=DNS:api.github.com,DNS:*.bench.test,DNS:localhost,IP:127.0.0.1\n";
        std::fs::write(self.folder.join("leaf.ext"), names)?;
        let sign = "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile leaf.ext";
        self.openssl(&format!("{sign} -out leaf.pem"))
    }

    fn upstream(&mut self) -> Result<()> {
        let site = self.folder.join("site");
        for (path, bytes) in [(READ, json_of(1024)), (LARGE, vec![b'x'; 10 << 20])] {
            let file = site.join(path.trim_start_matches('/'));
            std::fs::create_dir_all(file.parent().unwrap_or(&site))?;
            std::fs::write(file, bytes)?;
        }
        std::fs::write(self.folder.join("nginx-upstream.conf"), self.upstream_conf())?;
        let nginx = Command::new("nginx")
            .args(["-p", &self.path(""), "-c", &self.path("nginx-upstream.conf")])
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start nginx")?;
        self.servers.push(nginx);
        let events = Command::new(self.tools.join("sseup"))
            .args([PORT_SSE.to_string(), self.path("leaf.pem"), self.path("leaf.key")])
            .spawn()
            .context("cannot start the server of events")?;
        self.servers.push(events);
        for port in [PORT_H1, PORT_H2, PORT_SSE] {
            listening(port)?;
        }
        Ok(())
    }

    fn upstream_conf(&self) -> String {
        let body = String::from_utf8_lossy(&json_of(1024)).into_owned();
        let mut servers = String::new();
        for (port, option) in [(PORT_H1, "ssl"), (PORT_H2, "ssl http2")] {
            let _ = writeln!(
                servers,
                "server {{ listen 127.0.0.1:{port} {option} backlog=4096; ssl_certificate leaf.pem; ssl_certificate_key leaf.key;\
                 ssl_session_tickets on; root site; default_type application/json;\
                 location = {WRITE} {{ return 200 '{body}'; }} }}"
            );
        }
        let folder = self.path("");
        format!(
            "{}events {{ worker_connections 16384; }}\nhttp {{ {} keepalive_requests 100000000; keepalive_timeout 600s;\n{servers}}}\n",
            preamble(&folder, "upstream"),
            "access_log off; sendfile on; tcp_nodelay on;"
        )
    }

    /// Pins the upstreams' processes, workers included, to these CPUs.
    pub fn pin(&self, cpus: &str) -> Result<()> {
        for server in &self.servers {
            pin(server.id(), cpus)?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for server in &mut self.servers {
            stop(server);
        }
    }
}

/// The lines by which nginx keeps to one worker and one folder.
pub fn preamble(folder: &str, name: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000; pid {folder}{name}.pid; \
         error_log {folder}{name}.log error;\n"
    )
}

/// `n` octets of JSON.
pub fn json_of(n: usize) -> Vec<u8> {
    let frame = "{\"title\":\"\"}".len();
    format!("{{\"title\":\"{}\"}}", "a".repeat(n.saturating_sub(frame))).into_bytes()
}

/// Pins a process and its threads.
pub fn pin(id: u32, cpus: &str) -> Result<()> {
    shell::output(&mut shell::command(Path::new("/"), &format!("taskset -a -p -c {cpus} {id}"))).map(|_| ())
}

/// Asks a child to stop, then makes it.
pub fn stop(child: &mut Child) {
    let _ = shell::output(&mut shell::command(Path::new("/"), &format!("kill -TERM {}", child.id())));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits until somebody listens.
pub fn listening(port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("nobody listens on port {port}")
}
