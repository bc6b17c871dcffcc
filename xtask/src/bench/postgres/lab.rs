//! The server, PgBouncer and Valetkey in a folder of their own, and pgbench.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::lab::{listening, stop};
use crate::{shell, tools};

/// Debian's `nobody`; neither PostgreSQL nor PgBouncer runs as root.
const NOBODY: u32 = 65_534;
/// Branches of the TPC-B script: as many as clients and more, so that they do not wait for each other's rows alone.
const SCALE: usize = 16;
const HOST: &str = "db.bench.test";
const PASSWORD: &str = "bench-password-of-no-worth";
const PORT: u16 = 18_600;
const PORT_BOUNCER: u16 = 18_601;
const PORT_VALETKEY: u16 = 18_602;

/// How the server is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    PgBouncer,
    Valetkey,
}

impl Way {
    /// In the order in which they take turns.
    pub const ALL: [Self; 3] = [Self::Direct, Self::PgBouncer, Self::Valetkey];

    /// As in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::PgBouncer => "pgbouncer",
            Self::Valetkey => "valetkey",
        }
    }
}

/// What pgbench says.
pub struct Told {
    pub transactions: f64,
    pub per_second: f64,
    pub median_us: f64,
}

/// Everything that runs; it stops, and its folder goes, when this is dropped.
pub struct Lab {
    folder: PathBuf,
    bin: PathBuf,
    clear: bool,
    root_user: bool,
    server: Option<Child>,
    bouncer: Option<Child>,
    valetkey: Option<Child>,
    /// The program, and the token of its session.
    program: PathBuf,
    token: String,
}

impl Lab {
    /// Builds Valetkey, starts all three and fills the database. With `clear` without TLS anywhere.
    pub fn build(root: &Path, clear: bool) -> Result<Self> {
        tools::bench_postgres()?;
        shell::run(&mut shell::command(root, "cargo build -q --release --locked -p valetkey"))?;
        let target = shell::output(&mut shell::command(root, "cargo metadata --no-deps --format-version 1"))?;
        let target: Value = serde_json::from_str(&target)?;
        let target = target.get("target_directory").and_then(Value::as_str).unwrap_or("target").to_owned();
        let folder = PathBuf::from(format!("/tmp/valetkey-bench-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let root_user = shell::output(&mut shell::command(root, "id -u"))?.trim() == "0";
        let program = Path::new(&target).join("release/valetkey");
        let (bin, token) = (programs()?, String::new());
        let mut lab =
            Self { folder, bin, clear, root_user, server: None, bouncer: None, valetkey: None, program, token };
        lab.server()?;
        lab.fill()?;
        lab.bouncer()?;
        lab.valetkey()?;
        Ok(lab)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A file that those who are not root read too.
    fn file(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode))?;
        self.own(&path)
    }

    fn own(&self, path: &Path) -> Result<()> {
        if self.root_user {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    /// A program that must not be root's.
    fn humble(&self, program: &str) -> Command {
        let mut command = if self.root_user {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn certificates(&self) -> Result<()> {
        let openssl =
            |line: &str| shell::output(&mut shell::command(&self.folder, &format!("openssl {line}"))).map(drop);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!("req -x509 {key} -days 2 -subj /CN=bench -keyout ca.key -out ca.pem"))?;
        openssl(&format!("req -new {key} -subj /CN={HOST} -keyout leaf.key -out leaf.csr"))?;
        self.file("leaf.ext", &format!("subjectAltName=DNS:{HOST},DNS:localhost,IP:127.0.0.1\n"), 0o644)?;
        openssl(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem",
        )?;
        for name in ["leaf.key", "leaf.pem"] {
            let path = self.folder.join(name);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
            self.own(&path)?;
        }
        Ok(())
    }

    fn server(&mut self) -> Result<()> {
        std::fs::set_permissions(&self.folder, PermissionsExt::from_mode(0o755))?;
        // What the server and PgBouncer write is theirs; the rest stays ours.
        std::fs::create_dir(self.folder.join("run"))?;
        self.own(&self.folder.join("run"))?;
        self.certificates()?;
        let (data, run) = (self.path("run/data"), self.path("run"));
        let bin = |name: &str| self.bin.join(name).display().to_string();
        let options =
            ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D", &data];
        shell::output(self.humble(&bin("initdb")).args(options))?;
        let host = if self.clear { "host" } else { "hostssl" };
        self.file(
            "run/data/pg_hba.conf",
            &format!("local all all trust\n{host} all all 127.0.0.1/32 scram-sha-256\n"),
            0o600,
        )?;
        let port = PORT.to_string();
        let mut server = self.humble(&bin("postgres"));
        server.args(["-D", &data, "-h", "127.0.0.1", "-p", &port, "-k", &run, "-c", "max_connections=60"]);
        if !self.clear {
            for (name, file) in [("ssl_cert_file", "leaf.pem"), ("ssl_key_file", "leaf.key")] {
                server.args(["-c", &format!("{name}={}", self.path(file))]);
            }
            server.args(["-c", "ssl=on"]);
        }
        self.server = Some(server.spawn().context("cannot start PostgreSQL")?);
        let begun = Instant::now();
        while self.ask("postgres", "select 1").is_err() {
            if begun.elapsed() > Duration::from_mins(1) {
                bail!("PostgreSQL does not start");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// psql of the superuser, over the server's socket.
    fn ask(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-qAtX",
            "-U",
            "postgres",
            "-d",
            database,
            "-p",
            &PORT.to_string(),
            "-h",
            &self.path("run"),
            "-c",
            sql,
        ]);
        shell::output(psql.current_dir(&self.folder).stdin(Stdio::null()))
    }

    fn fill(&self) -> Result<()> {
        self.fsync("off")?;
        self.ask("postgres", &format!("create role bench login password '{PASSWORD}'"))?;
        self.ask("postgres", "create database bench owner bench")?;
        let mut made = self.client("pgbench", Way::Direct);
        shell::output(made.args(["-i", "-q", "-s", &SCALE.to_string(), "bench"])).map(drop)
    }

    /// Whether the server syncs what it commits; it does unless somebody says otherwise.
    pub fn fsync(&self, on: &str) -> Result<()> {
        self.ask("postgres", &format!("alter system set fsync = {on}"))?;
        self.ask("postgres", "select pg_reload_conf()")?;
        self.ask("postgres", "checkpoint").map(drop)
    }

    fn bouncer(&mut self) -> Result<()> {
        let tls = if self.clear {
            "client_tls_sslmode = disable\nserver_tls_sslmode = disable\n".to_owned()
        } else {
            format!(
                "client_tls_sslmode = require\nclient_tls_key_file = {}\nclient_tls_cert_file = {}\n\
                 server_tls_sslmode = verify-ca\nserver_tls_ca_file = {}\n",
                self.path("leaf.key"),
                self.path("leaf.pem"),
                self.path("ca.pem")
            )
        };
        let text = format!(
            "[databases]\nbench = host=127.0.0.1 port={PORT} dbname=bench user=bench password={PASSWORD}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {PORT_BOUNCER}\nunix_socket_dir =\nauth_type = scram-sha-256\n\
             auth_file = {}\npool_mode = session\ndefault_pool_size = 20\nmax_client_conn = 100\nlogfile = {}\n\
             log_connections = 0\nlog_disconnections = 0\n{tls}",
            self.path("users.txt"),
            self.path("run/pgbouncer.log")
        );
        self.file("pgbouncer.ini", &text, 0o600)?;
        self.file("users.txt", &format!("\"bench\" \"{PASSWORD}\"\n"), 0o600)?;
        let mut bouncer = self.humble("/usr/sbin/pgbouncer");
        self.bouncer = Some(bouncer.arg(self.path("pgbouncer.ini")).spawn().context("cannot start PgBouncer")?);
        listening(PORT_BOUNCER)
    }

    fn valetkey(&mut self) -> Result<()> {
        std::fs::write(
            self.folder.join("bench-db.yaml"),
            format!("name: bench-db\ntitle: The bench's database\nhosts: [{{ host: {HOST}, protocol: postgres }}]\n"),
        )?;
        let ca = if self.clear { "" } else { ", ca: ./ca.pem" };
        let text = format!(
            "version: 1\nservices: [./bench-db.yaml]\ncredentials:\n  bench: {{ service: bench-db, from: env:BENCH_LOGIN }}\n\
             databases:\n  bench: {{ service: bench-db, listen: \"127.0.0.1:{PORT_VALETKEY}\" }}\nagents:\n  bench:\n    permissions:\n      \
             - {{ service: bench-db, credential: bench, actions: [read, write, delete], resources: [\"database:bench\"] }}\n\
             upstreams:\n  {HOST}:5432: {{ address: \"127.0.0.1:{PORT}\"{ca} }}\n"
        );
        std::fs::write(self.folder.join("valetkey.yaml"), text)?;
        let mut serve = self.ours();
        serve.args([
            "serve",
            "--config",
            &self.path("valetkey.yaml"),
            "--listen",
            "127.0.0.1:0",
            "--api",
            "127.0.0.1:0",
        ]);
        serve.stdout(Stdio::null());
        self.valetkey = Some(serve.spawn().context("cannot start valetkey")?);
        listening(PORT_VALETKEY)?;
        let begun = Instant::now();
        let text = loop {
            match shell::output(self.ours().args(["session", "start", "--agent", "bench", "--json"])) {
                Ok(text) => break text,
                Err(error) if begun.elapsed() > Duration::from_secs(10) => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let json: Value = serde_json::from_str(&text)?;
        let token = json.get("token").and_then(Value::as_str).context("`session start --json` has no token")?;
        token.clone_into(&mut self.token);
        Ok(())
    }

    fn ours(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).stdin(Stdio::null()).env("VALETKEY_HOME", self.path("home"));
        command.env("BENCH_LOGIN", format!("bench:{PASSWORD}"));
        command
    }

    /// The proxy's process, where there is one.
    pub fn process(&self, way: Way) -> Option<u32> {
        match way {
            Way::Direct => None,
            Way::PgBouncer => self.bouncer.as_ref().map(Child::id),
            Way::Valetkey => self.valetkey.as_ref().map(Child::id),
        }
    }

    fn client(&self, program: &str, way: Way) -> Command {
        let (port, password) = match way {
            Way::Direct => (PORT, PASSWORD),
            Way::PgBouncer => (PORT_BOUNCER, PASSWORD),
            Way::Valetkey => (PORT_VALETKEY, self.token.as_str()),
        };
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.env("PGHOST", "127.0.0.1").env("PGPORT", port.to_string()).env("PGUSER", "bench");
        command.env("PGPASSWORD", password).env("PGSSLMODE", if self.clear { "disable" } else { "require" });
        command
    }

    /// So many clients for so long.
    pub fn pgbench(&self, way: Way, script: &[&str], (protocol, seconds): (&str, f64), clients: usize) -> Result<Told> {
        let seconds = (seconds.ceil() as u64).max(1).to_string();
        let log = self.path("latencies");
        let mut pgbench = self.client("pgbench", way);
        pgbench.args(["-n", "-T", &seconds, "-M", protocol, "-c", &clients.to_string(), "-j", "1"]).args(script);
        if clients == 1 {
            // A line for each transaction; the third word is how long it took.
            pgbench.args(["-l", "--log-prefix", &log]);
        }
        let text = shell::output(pgbench.arg("bench"))?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<f64>().ok());
            word.with_context(|| format!("pgbench does not say `{name}`: {text}"))
        };
        if !text.contains("number of failed transactions: 0 ") {
            bail!("transactions failed: {text}");
        }
        Ok(Told {
            transactions: number("number of transactions actually processed: ")?,
            per_second: number("tps = ")?,
            median_us: self.latencies()?,
        })
    }

    /// The median of what was logged; the logs are taken away.
    fn latencies(&self) -> Result<f64> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("latencies") {
                let text = std::fs::read_to_string(entry.path())?;
                let took = |line: &str| line.split(' ').nth(2).and_then(|word| word.parse::<f64>().ok());
                all.extend(text.lines().filter_map(took));
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(crate::bench::measure::median(&mut all))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in [&mut self.valetkey, &mut self.bouncer].into_iter().flatten() {
            stop(child);
        }
        if let Some(server) = &mut self.server {
            // SIGINT ends its sessions, too.
            let _ = shell::output(&mut shell::command(Path::new("/"), &format!("kill -INT {}", server.id())));
            let _ = server.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where PostgreSQL's programs are: the newest.
fn programs() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = folders.map(|entry| entry.path().join("bin"));
    let whole = |bin: &PathBuf| ["initdb", "postgres", "psql", "pgbench"].iter().all(|name| bin.join(name).is_file());
    bins.filter(whole).max().context("PostgreSQL is missing in /usr/lib/postgresql; run `cargo xtask tools`")
}
