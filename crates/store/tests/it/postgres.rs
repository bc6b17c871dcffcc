//! A real PostgreSQL for the suite: initialised in a temporary folder, reached by a Unix socket alone, stopped when the
//! last test that uses it is over.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Debian's `nobody`; PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

const HELP: &str = "PostgreSQL was not found; install it with `apt-get install postgresql` (the suite needs `initdb` and \
    `postgres` in /usr/lib/postgresql/*/bin or on PATH)";

/// One running server.
pub struct Postgres {
    folder: tempfile::TempDir,
    server: Child,
    databases: AtomicU32,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The server that tests running at the same time share.
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start());
        *shared = Arc::downgrade(&server);
        server
    }

    fn start() -> Self {
        let bin = programs();
        let folder = tempfile::tempdir().expect("a folder");
        let root = rustix_uid() == 0;
        if root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("mode");
        let data = folder.path().join("data");
        let initdb = run_as(root, &bin.join("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .expect("initdb starts");
        assert!(initdb.status.success(), "initdb: {}", String::from_utf8_lossy(&initdb.stderr));
        let server = run_as(root, &bin.join("postgres"))
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres starts");
        Self { folder, server, databases: AtomicU32::new(0) }
    }

    /// A new, empty database: its address.
    pub async fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        for _ in 0..600 {
            if let Ok((client, connection)) =
                tokio_postgres::connect(&self.address("postgres"), tokio_postgres::NoTls).await
            {
                let running = tokio::spawn(connection);
                client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("create database");
                drop(client);
                running.await.expect("connection").expect("connection");
                return self.address(&name);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("PostgreSQL did not come up within 30 seconds");
    }

    fn address(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT: immediate shutdown, children included. SIGKILL would leave them behind.
        let _ = Command::new("kill").arg("-QUIT").arg(self.server.id().to_string()).status();
        let _ = self.server.wait();
    }
}

fn run_as(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
    command
}

fn rustix_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("/proc").uid()
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    found.sort();
    found
        .pop()
        .or_else(|| {
            ["/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"]
                .map(PathBuf::from)
                .into_iter()
                .find(|bin| bin.join("initdb").is_file())
        })
        .expect(HELP)
}
