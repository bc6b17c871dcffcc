//! One home with its configuration, and the commands run in it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use testkit::process::{Finished, Running, finish};

/// Nothing that a transcript does takes longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The binary under test, built by the same cargo with the same profile as this test.
#[must_use]
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        // target/PROFILE/deps/it-HASH
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).unwrap();
        let target = folder.parent().unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "-p", "valetkey", "--target-dir"]).arg(target).current_dir(root());
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "cannot build valetkey");
        folder.join("valetkey")
    })
}

/// The folder of the workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A tool that `cargo xtask tools` installed.
#[must_use]
pub fn tool(path: &str) -> PathBuf {
    let tool = root().join("target/tools").join(path);
    assert!(tool.exists(), "{} is missing; run `cargo xtask tools`", tool.display());
    tool
}

/// A home, a configuration and secrets.
#[derive(Debug)]
pub struct House {
    folder: tempfile::TempDir,
    secrets: BTreeMap<String, String>,
}

/// What a run leaves besides its output that scripts rely on.
#[derive(Clone, Debug)]
pub struct Receipt(pub Value);

impl Receipt {
    /// A count, such as `denied`.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or_else(|| panic!("the receipt has no `{name}`: {}", self.0))
    }
}

/// A session of `session start --json`.
#[derive(Clone, Debug)]
pub struct Session {
    /// `ses_..`
    pub id: String,
    /// What identifies it at the proxy.
    pub token: String,
    /// PEM of the authority that signs our leaves for it.
    pub ca: String,
    /// Environment that an agent of it would have.
    pub env: BTreeMap<String, String>,
}

/// A running `serve`.
#[derive(Debug)]
pub struct Gateway {
    /// The process; killed when dropped.
    pub process: Running,
    /// Where agents connect.
    pub proxy: SocketAddr,
    /// Where operators do.
    pub api: SocketAddr,
    /// Ports of databases, by name.
    pub databases: Vec<(String, SocketAddr)>,
}

impl House {
    /// A home with this configuration; `secrets` are the environment that `env:` references name.
    #[must_use]
    pub fn new(config: &str, secrets: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let house =
            Self { folder, secrets: secrets.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect() };
        std::fs::write(house.config(), config).unwrap();
        house
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("valetkey.yaml")
    }

    /// A file beside the configuration.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command in this home with a clean environment: a path, a home, and the secrets.
    pub fn clean(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.path("home"))
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("VALETKEY_HOME", self.path("state"))
            .envs(&self.secrets)
            .current_dir(self.folder.path());
        command
    }

    /// `valetkey` with these arguments.
    #[must_use]
    pub fn valetkey(&self, arguments: &[&str]) -> Finished {
        finish(self.clean(binary()).args(arguments), PATIENCE)
    }

    /// `valetkey run --agent AGENT -- WORDS`, with its receipt.
    #[must_use]
    pub fn run(&self, agent: &str, words: &[&str]) -> (Finished, Receipt) {
        self.run_with(agent, &[], words)
    }

    /// The same with these options more.
    #[must_use]
    pub fn run_with(&self, agent: &str, options: &[&str], words: &[&str]) -> (Finished, Receipt) {
        let receipt = self.path("receipt.json");
        let _ = std::fs::remove_file(&receipt);
        let mut command = self.clean(binary());
        command.arg("run").arg("--config").arg(self.config()).args(["--agent", agent]);
        command.args(options).arg("--receipt").arg(&receipt).arg("--").args(words);
        let finished = finish(&mut command, PATIENCE);
        let text = std::fs::read_to_string(&receipt);
        let text = text.unwrap_or_else(|error| panic!("no receipt: {error}\n{}\n{}", finished.stdout, finished.stderr));
        (finished, Receipt(serde_json::from_str(&text).unwrap()))
    }

    /// `valetkey serve` on free ports.
    #[must_use]
    pub fn serve(&self) -> Gateway {
        self.serve_with(&[])
    }

    /// The same with these variables more in its environment.
    #[must_use]
    pub fn serve_with(&self, variables: &[(&str, &str)]) -> Gateway {
        let mut command = self.clean(binary());
        command.envs(variables.iter().copied());
        command.arg("serve").arg("--config").arg(self.config());
        command.args(["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--json"]);
        let errors = std::fs::File::create(self.path("serve.log")).unwrap();
        let (process, line) = Running::ready({
            command.stderr(errors);
            command
        });
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            panic!(
                "`serve` is not ready: {line} {}",
                std::fs::read_to_string(self.path("serve.log")).unwrap_or_default()
            )
        });
        assert_eq!(ready["ready"], true, "{ready}");
        let address = |name: &str| {
            ready[name].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').parse().unwrap()
        };
        let databases = ready["databases"].as_object().into_iter().flatten();
        let databases = databases.map(|(name, at)| (name.clone(), at.as_str().unwrap().parse().unwrap())).collect();
        Gateway { process, proxy: address("proxy"), api: address("api"), databases }
    }

    /// `valetkey session start --agent AGENT --json` at the running gateway.
    #[must_use]
    pub fn session(&self, agent: &str) -> Session {
        let output = self.valetkey(&["session", "start", "--agent", agent, "--json"]).expect_success("session start");
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {json}")).to_owned();
        let env = json["env"].as_object().unwrap();
        let env = env.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        let ca = std::fs::read_to_string(text("ca")).unwrap();
        Session { id: text("session"), token: text("token"), ca, env }
    }

    /// Every secret value.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.values().map(String::as_str)
    }

    /// Fails the test where a secret stands in this text.
    pub fn assert_clean(&self, what: &str, text: &str) {
        for secret in self.secrets() {
            assert!(!text.contains(secret), "a secret stands in {what}:\n{text}");
        }
    }

    /// `audit verify` holds, and no secret is in the log.
    pub fn assert_audit(&self) {
        let verified = self.valetkey(&["audit", "verify"]).expect_success("audit verify");
        assert!(verified.stdout.contains("verified "), "{}", verified.stdout);
        let export = self.valetkey(&["audit", "export", "--json"]).expect_success("audit export");
        self.assert_clean("the audit log", &export.stdout);
    }
}
