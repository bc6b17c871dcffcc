//! A PostgreSQL server of the machine's own, on a port of loopback.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::process::{Finished, Running, finish};

/// No step takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Debian's `nobody`; PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// A server that ends when it is dropped.
pub struct Postgres {
    /// Where its programs are.
    pub bin: PathBuf,
    /// Where it listens.
    pub port: u16,
    folder: TempDir,
    process: Running,
}

impl Postgres {
    /// With a superuser `postgres`, who needs no password. `files` are put into its data folder, names and texts; `settings` are given to the
    /// server, `NAME=VALUE`.
    #[must_use]
    pub fn start(files: &[(&str, &str)], settings: &[&str]) -> Self {
        let (folder, bin, port) = (tempfile::tempdir().unwrap(), programs(), free_port());
        let root = folder.path().metadata().unwrap().uid() == 0;
        let own = |path: &Path| {
            if root {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        };
        own(folder.path());
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let data = folder.path().join("data");
        let program = |name: &str| {
            let mut command = Command::new(if root { "setpriv".into() } else { bin.join(name) });
            if root {
                command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
                command.arg(bin.join(name));
            }
            command.arg("-D").arg(&data).current_dir(folder.path());
            command
        };
        let options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"];
        let _ = finish(program("initdb").args(options), PATIENCE).expect_success("initdb");
        for (name, text) in files {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            own(&path);
        }
        let mut server = program("postgres");
        server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off", "-k"]).arg(folder.path());
        for setting in settings {
            server.args(["-c", setting]);
        }
        server.stdout(Stdio::null()).stderr(Stdio::null());
        let process = Running::start(server);
        let server = Self { bin, port, folder, process };
        let begun = Instant::now();
        while server.ask("postgres", "select 1").code() != Some(0) {
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Asked by the superuser, over its socket.
    #[must_use]
    pub fn ask(&self, database: &str, sql: &str) -> Finished {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-qAtX", "-U", "postgres", "-d", database, "-p", &self.port.to_string(), "-c", sql, "-h"]);
        finish(psql.arg(self.folder.path()).current_dir(self.folder.path()), PATIENCE)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends its children too; SIGKILL would leave them behind.
        let _ = Command::new("kill").arg("-QUIT").arg(self.process.id().to_string()).status();
        self.process.wait(PATIENCE);
    }
}

fn programs() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let bins = folders.map(|entry| entry.path().join("bin"));
    let found = bins.filter(|bin| ["initdb", "postgres", "psql"].iter().all(|name| bin.join(name).is_file())).max();
    found.unwrap_or_else(|| panic!("PostgreSQL is missing in /usr/lib/postgresql; run `cargo xtask tools`"))
}

/// A port of loopback that nobody has.
#[must_use]
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
