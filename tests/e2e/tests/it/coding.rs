//! A coding session between walls is what it is without them: packages come from their registries and leave the same locks, the
//! project's tests reach a database of the host, a dev server is seen from the host, and git fetches and pushes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{binary, root, tool};
use e2e::postgres::{Postgres, free_port};
use tempfile::TempDir;
use testkit::process::{Finished, Running, finish};
use testkit::upstream::{GitHost, Upstream};
use testkit::{Ca, Canary};

/// A compiler, three package managers and a database, on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(5);

/// A user with a home that lies outside of `/tmp`, where everything is the agent's own between walls, and a project in it.
pub struct Desk {
    pub house: House,
    pub home: TempDir,
}

impl Desk {
    pub fn new(config: &str, secrets: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::create_dir(home.path().join("project")).unwrap();
        Self { house: House::new(config, secrets), home }
    }

    /// A file of the project.
    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("project").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A program that this user starts in the project.
    pub fn command(&self, program: &Path) -> Command {
        let cargo = Path::new(env!("CARGO")).parent().unwrap();
        let mut command = self.house.clean(program);
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", cargo.display()));
        command.env("HOME", self.home.path()).current_dir(self.path(""));
        command
    }

    /// `valetkey run` of a shell's script.
    fn session(&self, options: &[&str], script: &str) -> Command {
        let mut command = self.command(binary());
        command.arg("run").arg("--config").arg(self.house.config()).args(options).args(["--", "sh", "-ec", script]);
        command
    }

    fn run(&self, options: &[&str], script: &str) -> Finished {
        finish(&mut self.session(options, script), PATIENCE)
    }
}

/// Looks until there is something.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const REGISTRIES: [&str; 5] =
    ["registry.npmjs.org", "pypi.org", "files.pythonhosted.org", "index.crates.io", "static.crates.io"];

/// The registries of `origins/registry.py`.
struct Registry {
    folder: TempDir,
    port: u16,
    _process: Running,
}

impl Registry {
    fn start() -> Self {
        let (ca, folder) = (Ca::new("registries"), tempfile::tempdir().unwrap());
        let (cert, key) = ca.leaf_pem(&REGISTRIES);
        for (name, text) in [("cert.pem", &*cert), ("key.pem", &*key), ("ca.pem", ca.pem()), ("journal", "")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut command = Command::new(tool("venv/bin/python"));
        command.arg(root().join("tests/e2e/origins/registry.py")).args(["cert.pem", "key.pem", "journal"]);
        command.current_dir(folder.path());
        let (process, line) = Running::ready(command);
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the registries did not start: {line}"));
        Self { folder, port, _process: process }
    }

    /// A configuration without agents that finds them.
    fn config(&self) -> String {
        let ca = self.folder.path().join("ca.pem");
        let mut config = "version: 1\nupstreams:\n".to_owned();
        for host in REGISTRIES {
            let _ = writeln!(config, "  {host}: {{ address: \"127.0.0.1:{}\", ca: {} }}", self.port, ca.display());
        }
        config
    }

    /// What was asked since the last call.
    fn take(&self) -> Vec<String> {
        let journal = self.folder.path().join("journal");
        let text = std::fs::read_to_string(&journal).unwrap();
        std::fs::write(journal, "").unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }
}

/// A package manager, what its user types, and the files that must be the same wherever he types it.
struct Manager {
    name: &'static str,
    script: &'static str,
    kept: &'static [&'static str],
    prints: &'static str,
    locks: &'static [&'static str],
    fetches: &'static [&'static str],
}

const MANAGERS: [Manager; 3] = [
    Manager {
        name: "npm",
        script: "npm install valet-pad >log; npm ci >>log; node -e 'console.log(require(\"valet-pad\")(\"7\", 4))'",
        kept: &["package.json", "package-lock.json"],
        prints: "0007\n",
        locks: &["\"node_modules/valet-fill\"", "valet-fill-1.1.0.tgz", "sha512-"],
        fetches: &["valet-pad/-/valet-pad-2.0.0.tgz 200", "valet-fill/-/valet-fill-1.1.0.tgz 200"],
    },
    Manager {
        name: "pip",
        script: "PYTHON -m venv --without-pip .venv; pip=\"PYTHON -m pip --disable-pip-version-check --python .venv/bin/python\"; \
                 $pip install -q valet-words; .venv/bin/python -c 'import valet_words; print(valet_words.WORD)'; \
                 $pip freeze >requirements.lock",
        kept: &["requirements.lock"],
        prints: "cba\n",
        locks: &["letters==1.4", "words==2.1"],
        fetches: &["valet_words-2.1-py3-none-any.whl 200", "valet_letters-1.4-py3-none-any.whl 200"],
    },
    Manager {
        name: "cargo",
        script: "cargo add -q valet-sum; cargo build -q; target/debug/sample",
        kept: &["Cargo.toml", "Cargo.lock"],
        prints: "42\n",
        locks: &["name = \"valet-one\"", "version = \"1.0.2\"", "checksum = ", "rust-lang/crates.io-index"],
        fetches: &["crates/valet-sum/0.3.1/download 200", "crates/valet-one/1.0.2/download 200"],
    },
];

/// Installs in a new home, and gives what the files say and what was printed.
fn install(registry: &Registry, manager: &Manager, isolate: &str) -> BTreeMap<&'static str, String> {
    let desk = Desk::new(&registry.config(), &[]);
    git(&desk.path(""), &["init", "-q"]);
    desk.write("package.json", "{\"name\": \"sample\", \"version\": \"1.0.0\"}\n");
    desk.write("Cargo.toml", "[package]\nname = \"sample\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n");
    desk.write("src/main.rs", "fn main() {\n    println!(\"{}\", valet_sum::next(41));\n}\n");
    let script = manager.script.replace("PYTHON", &tool("venv/bin/python").display().to_string());
    let finished = desk.run(&[isolate], &script).expect_success(manager.name);
    assert!(finished.stderr.contains(" 0 refused"), "{}: {}", manager.name, finished.stderr);
    desk.house.assert_audit();
    let mut all: BTreeMap<_, _> = manager.kept.iter().map(|name| (*name, desk.read(name))).collect();
    all.insert("output", finished.stdout);
    all
}

#[test]
fn packages_install_as_they_do_without_walls() {
    let registry = Registry::start();
    for manager in &MANAGERS {
        let outside = install(&registry, manager, "--isolate=off");
        let asked_outside = registry.take();
        let inside = install(&registry, manager, "--isolate=on");
        let asked = registry.take();
        assert_eq!(inside, outside, "{}", manager.name);
        assert_eq!(inside["output"], manager.prints, "{}", manager.name);
        let lock = &inside[manager.kept.last().unwrap()];
        for part in manager.locks {
            assert!(lock.contains(part), "{}: `{part}` is not in {lock}", manager.name);
        }
        for file in manager.fetches {
            for asked in [&asked, &asked_outside] {
                assert!(asked.iter().any(|line| line.ends_with(file)), "{}: {file} in {asked:#?}", manager.name);
            }
        }
    }
}

#[test]
fn tests_of_a_project_reach_a_database_of_the_host() {
    let database = Postgres::start(&[], &[]);
    let url = format!("postgres://postgres@localhost:{}/postgres", database.port);
    let desk = Desk::new("version: 1\n", &[]);
    // What a project says of its database stays readable: it holds no password.
    desk.write(".env", &format!("DATABASE_URL={url}\n"));
    let psql = format!("{}/psql -qAtX \"$DATABASE_URL\"", database.bin.display());
    desk.write(
        "check.sh",
        &format!(
            ". ./.env\n{psql} -c 'create table orders(id int, note text)'\n\
             seq 1 4 | xargs -P 4 -I N {psql} -c \"insert into orders select i, repeat('x', 100) from generate_series(1, 5000) i\"\n\
             {psql} -c 'select count(*), sum(id) from orders'\n{psql} -c 'select * from orders' | wc -c\n"
        ),
    );
    let closed = desk.run(&["--isolate=on"], "sh -e check.sh");
    assert_ne!(closed.code(), Some(0), "{}", closed.stdout);
    assert!(closed.stderr.contains("refused"), "{}", closed.stderr);
    let reach = format!("localhost:{}", database.port);
    let open = desk.run(&["--isolate=on", "--reach", &reach], "sh -e check.sh").expect_success("the tests");
    let lines: Vec<&str> = open.stdout.split_whitespace().collect();
    // 20,000 rows of a number, a bar, 100 letters and a line's end.
    assert_eq!(lines, ["20000|50010000", "2115572"], "{}", open.stderr);
    assert_eq!(database.ask("postgres", "select count(*) from orders").stdout, "20000\n");
    desk.house.assert_audit();
}

/// As bundlers' dev servers do it: pages from the disk, and word to the browser when they change.
const DEV_SERVER: &str = "const fs = require('fs'), http = require('http'), browsers = new Set();
fs.watch('.', (_, name) => {
  if (name === 'page.html') browsers.forEach(one => one.write('data: reload\\n\\n'));
  if (name === 'stop') process.exit(0);
});
http.createServer((request, answer) => {
  if (request.url !== '/events') return answer.end(fs.readFileSync('page.html'));
  answer.writeHead(200, {'content-type': 'text/event-stream'});
  answer.write('data: open\\n\\n');
  browsers.add(answer);
}).listen(Number(process.argv[2]), 'localhost', () => console.log('ready'));
";

#[test]
fn a_dev_server_inside_is_seen_from_the_host() {
    let desk = Desk::new("version: 1\n", &[]);
    let port = free_port();
    desk.write("server.js", DEV_SERVER);
    desk.write("page.html", "first");
    let mut session = desk.session(&["--isolate=on"], &format!("exec node server.js {port}"));
    session.stderr(std::fs::File::create(desk.house.path("run.log")).unwrap());
    let (mut server, line) = Running::ready(session);
    assert_eq!(line.trim(), "ready");
    let page = || {
        let mut curl = desk.command(Path::new("curl"));
        let seen = finish(curl.args(["-sS", &format!("http://localhost:{port}/")]), PATIENCE);
        (seen.code() == Some(0)).then_some(seen.stdout)
    };
    assert_eq!(eventually("the page", page), "first");
    let mut browser = TcpStream::connect(("127.0.0.1", port)).unwrap();
    browser.set_read_timeout(Some(PATIENCE)).unwrap();
    browser.write_all(format!("GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").as_bytes()).unwrap();
    let mut told = BufReader::new(browser).lines().map_while(Result::ok);
    assert!(told.any(|line| line == "data: open"));
    // As an editor saves.
    desk.write("page.new", "second");
    std::fs::rename(desk.path("page.new"), desk.path("page.html")).unwrap();
    assert!(told.any(|line| line == "data: reload"));
    assert_eq!(page().as_deref(), Some("second"));
    desk.write("stop", "");
    assert!(server.wait(PATIENCE).is_some_and(|status| status.success()));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port outlived its agent");
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=Test", "-c", "user.email=test@example.test", "-c", "commit.gpgsign=false"]);
    let finished = finish(command.args(arguments).current_dir(folder), PATIENCE);
    finished.expect_success(&arguments.join(" ")).stdout.trim().to_owned()
}

const GIT_CONFIG: &str = "version: 1
egress: closed
credentials:
  github-git: { service: github, from: env:GITHUB_TOKEN, inject: always }
agents:
  coder:
    permissions:
      - { service: github, credential: github-git, actions: [read, git/push, git/force-push], resources: [\"repo:acme/widget\"] }
upstreams:
";

/// A morning's work: a branch with a commit (the project's hook runs), pushed; a colleague's branch, fetched.
const GIT_SESSION: &str = "
export GIT_AUTHOR_NAME=Ada GIT_AUTHOR_EMAIL=ada@example.test GIT_COMMITTER_NAME=Ada GIT_COMMITTER_EMAIL=ada@example.test
git switch -q -c feature
echo more >> README.md
git commit -q -a -m more
git push -u origin feature
git fetch origin
git switch review
cat review.txt
git switch -q feature
git rebase -q origin/review
git log --format=%s -3
git push --force-with-lease origin feature
git status --short
";

#[test]
fn git_fetches_and_pushes() {
    let (canary, hosted) = (Canary::new(811, "ghp_", 36), tempfile::tempdir().unwrap());
    let host = GitHost::at(hosted.path());
    host.repository("acme/widget.git", &[("README.md", b"hello\n")]);
    let answering = host.clone();
    let upstream = Upstream::builder().handler(move |seen| answering.answer(seen)).start();
    let config = GIT_CONFIG.to_owned() + &upstream.entry("github.com");
    let desk = Desk::new(&config, &[("GITHUB_TOKEN", &canary.value())]);
    let (bare, project) = (hosted.path().join("acme/widget.git"), desk.path(""));
    git(&project, &["clone", "-q", &bare.display().to_string(), "."]);
    git(&project, &["remote", "set-url", "origin", "git@github.com:acme/widget.git"]);
    let hook = desk.path(".git/hooks/pre-commit");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho ran >> .git/hook-ran\n").unwrap();
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
    // The colleague's branch comes after the clone.
    let colleague = hosted.path().join("work/acme/widget.git");
    git(&colleague, &["switch", "-q", "-c", "review"]);
    std::fs::write(colleague.join("review.txt"), "look here\n").unwrap();
    git(&colleague, &["add", "-A"]);
    git(&colleague, &["commit", "-q", "-m", "review"]);
    git(&colleague, &["push", "-q", &bare.display().to_string(), "review"]);
    let done = desk.run(&["--agent", "coder", "--isolate=on"], GIT_SESSION).expect_success("git");
    for (what, text) in [("output", &done.stdout), ("errors", &done.stderr)] {
        canary.assert_absent(what, text.as_bytes());
    }
    assert!(done.stdout.ends_with("look here\nmore\nreview\nfirst\n"), "{}\n{}", done.stdout, done.stderr);
    let pushed = host.head("acme/widget.git", "refs/heads/feature");
    assert_eq!(pushed.as_deref(), Some(&*git(&project, &["rev-parse", "feature"])));
    assert!(done.stderr.contains("* [new branch]      feature -> feature"), "{}", done.stderr);
    assert!(done.stderr.contains("feature -> feature (forced update)"), "{}", done.stderr);
    for failure in ["fatal", "rejected", "failed"] {
        assert!(!done.stderr.contains(failure), "{}", done.stderr);
    }
    assert_eq!(desk.read(".git/hook-ran"), "ran\n");
    desk.house.assert_audit();
}
