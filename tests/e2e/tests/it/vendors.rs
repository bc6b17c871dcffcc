//! Opt-in: two vendors' own agents, unchanged from npm, get on behind Valetkey with the log-in of a subscription, renew it
//! themselves, and never hold a token. Their models and token endpoints are a script on loopback (`origins/models.py`); of
//! the internet nothing is reached but the two packages.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use e2e::House;
use e2e::house::{binary, root, tool};
use e2e::origin::{Origin, Sent};
use serde_json::{Value, json};
use testkit::process::{Finished, Running, finish};
use testkit::{Ca, Canary};

/// At the versions that the script was written for.
const PACKAGES: [&str; 2] = ["@anthropic-ai/claude-code@2.1.332", "@openai/codex@0.169.0"];
/// All that the two ask, but for what may fail: `claude.com` is asked by the person's browser alone.
const HOSTS: [&str; 7] = [
    "api.anthropic.com",
    "platform.claude.com",
    "claude.com",
    "chatgpt.com",
    "ab.chatgpt.com",
    "auth.openai.com",
    "api.openai.com",
];
/// The programs ask again and again before they give up, and start slowly on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
const ANSWER: &str = "The lighthouse is green.";

/// The folder of the two programs, installed where they are not.
fn programs() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = root().join("target/tools/vendors");
        let (stamp, list) = (folder.join("stamp"), PACKAGES.join(" "));
        if !std::fs::read_to_string(&stamp).is_ok_and(|have| have == list) {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("package.json"), "{\"private\":true}").unwrap();
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]).args(PACKAGES);
            let done = finish(npm.current_dir(&folder), Duration::from_mins(10));
            assert!(
                done.code() == Some(0),
                "npm could not install {list}: {}{}; these tests need npm, its registry and 800 MB below {}; make them \
                 reachable, or run the tests without `--ignored`",
                done.stdout,
                done.stderr,
                folder.display()
            );
            std::fs::write(stamp, list).unwrap();
        }
        folder.join("node_modules/.bin")
    })
}

/// One of the two programs.
struct Vendor {
    name: &'static str,
    /// Asks its model once.
    ask: &'static str,
    /// Logs in; the person is played by the test.
    log_in: &'static str,
    /// Where it keeps its tokens, below the home, and in which members: access, refresh.
    file: &'static str,
    tokens: [&'static str; 2],
    /// Where it asks its model.
    model: &'static str,
}

const CLAUDE: Vendor = Vendor {
    name: "anthropic",
    ask: "claude -p 'say hello' --allowedTools Bash",
    log_in: "BROWSER=$PWD/browser timeout 60 claude auth login",
    file: ".claude/.credentials.json",
    tokens: ["/claudeAiOauth/accessToken", "/claudeAiOauth/refreshToken"],
    model: "/v1/messages",
};

const CODEX: Vendor = Vendor {
    name: "openai",
    ask: "codex exec --skip-git-repo-check 'say hello'",
    log_in: "timeout 60 codex login --device-auth",
    file: ".codex/auth.json",
    tokens: ["/tokens/access_token", "/tokens/refresh_token"],
    model: "/backend-api/codex/responses",
};

/// Where a program may log in; the log-in itself asks a person, who is not there.
const LOG_IN: &str = "profiles: [claude-code, codex]
credentials:
  claude: { service: anthropic, kind: oauth2 }
  codex: { service: openai, kind: oauth2 }
agents:
  coder:
    permissions:
      - { service: anthropic, credential: claude, actions: [oauth/token], resources: [\"*\"], conditions: { approval: none } }
      - { service: openai, credential: codex, actions: [oauth/token], resources: [\"*\"], conditions: { approval: none } }
";

/// The vendors' side, and a home with a project in it.
struct Scene {
    vendor: &'static Vendor,
    vendors: Origin,
    folder: tempfile::TempDir,
    ca: PathBuf,
    house: House,
}

impl Scene {
    fn new(vendor: &'static Vendor, config: &str, expired: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let ca = Ca::new("vendors");
        let (cert, key) = ca.leaf_pem(&HOSTS);
        for (name, text) in [("ca.pem", ca.pem()), ("pem", cert.as_str()), ("key", key.as_str()), ("answer", ANSWER)] {
            std::fs::write(file(name), text).unwrap();
        }
        if expired {
            std::fs::write(file("expired"), "").unwrap();
        }
        let mut script = Command::new(tool("venv/bin/python"));
        script.arg(root().join("tests/e2e/origins/models.py"));
        script.args([file("pem"), file("key"), folder.path().to_owned(), "801".into()]);
        let (process, line) = Running::ready(script);
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("the vendors' script did not start: {line}"));
        let journal = file("journal.jsonl");
        std::fs::write(&journal, "").unwrap();
        let vendors =
            Origin::Script { process, addr: ([127, 0, 0, 1], port).into(), journal, read: std::cell::Cell::new(0) };
        let ca = file("ca.pem");
        let entry = |host: &&str| format!("  {host}: {{ address: \"127.0.0.1:{port}\", ca: {} }}\n", ca.display());
        let upstreams: String = HOSTS.iter().map(entry).collect();
        let house = House::new(&format!("version: 1\n{config}upstreams:\n{upstreams}"), &[]);
        for path in ["project", ".claude", ".codex"] {
            std::fs::create_dir(house.path("home").join(path)).unwrap();
        }
        Self { vendor, vendors, folder, ca, house }
    }

    /// The log-in of a person who has used the program before, in its own file.
    fn with_file(vendor: &'static Vendor, expired: bool) -> Self {
        let scene = Self::new(vendor, "", expired);
        let first = scene.issued().remove(0);
        let expires = if expired { 1_700_000_000_000_u64 } else { 4_000_000_000_000 };
        let mut tree = match vendor.name {
            "anthropic" => json!({"claudeAiOauth": {
                "expiresAt": expires, "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
            }}),
            _ => json!({
                "OPENAI_API_KEY": null, "last_refresh": "2026-01-01T00:00:00Z",
                "tokens": {"id_token": first["id_token"], "account_id": "acc-1"},
            }),
        };
        for (pointer, name) in vendor.tokens.iter().zip(["access_token", "refresh_token"]) {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            tree.pointer_mut(parent).unwrap()[member] = first[name].clone();
        }
        std::fs::write(scene.file(), tree.to_string()).unwrap();
        std::fs::set_permissions(scene.file(), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        scene
    }

    /// The program's own file, as it is on the host.
    fn file(&self) -> PathBuf {
        self.house.path("home").join(self.vendor.file)
    }

    fn read(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.file()).unwrap()).unwrap()
    }

    /// What the vendor has handed out, the first at the start.
    fn issued(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("issued.jsonl")).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|tokens| tokens["vendor"] == self.vendor.name).collect()
    }

    /// Every token of it. Claims of a JWT and prefixes are no secret.
    fn canaries(&self) -> Vec<Canary> {
        let mut all = Vec::new();
        for tokens in self.issued() {
            for name in ["access_token", "refresh_token", "id_token"] {
                if let Some(value) = tokens[name].as_str() {
                    all.push(Canary::of(value, public(value)));
                }
            }
        }
        all
    }

    /// `run` of a script in the project; it also prints every argument and variable of the home's processes while the script
    /// runs, how many of them are the program's, and the program's file at the end.
    fn run(&self, options: &[&str], script: &str) -> Finished {
        let script = format!(
            r#"mark=/tmp/vendors-$$
            {{ {script}; echo "ended $?"; touch $mark.ended; }} 2>&1 &
            while [ ! -e $mark.ended ]; do
                for one in $(grep -slzx "HOME=$HOME" /proc/[0-9]*/environ); do cat $one ${{one%environ}}cmdline; done
                sleep 0.2
            done 2>/dev/null | tr '\0' '\n' | sort -u > $mark
            echo "processes $(grep -cx -e 'say hello' -e login $mark)"; cat $mark; rm $mark $mark.ended
            printf '\nkept '; tr -d '\n' < ~/{}; echo"#,
            self.vendor.file
        );
        let mut command = self.house.clean(binary());
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs().display()));
        command.current_dir(self.house.path("home/project")).arg("run").arg("--config").arg(self.house.config());
        command.args(options).args(["--", "sh", "-c", &script]);
        finish(&mut command, PATIENCE)
    }

    /// The program has ended well with the model's answer.
    fn assert_answered(&self, what: &str, done: &Finished) {
        let shown = format!("{what}: {:?}\n{:.4000}\n{:.4000}", done.status, done.stdout, done.stderr);
        assert!(done.stdout.contains("\nended 0\n") && done.stdout.contains(ANSWER), "{shown}");
    }

    /// Nothing that the program printed, and nothing in the home but what `besides`, holds a token.
    fn assert_quiet(&self, done: &Finished, besides: &[PathBuf]) {
        let canaries = self.canaries();
        let processes = done.stdout.lines().find_map(|line| line.strip_prefix("processes ")).unwrap();
        assert!(processes.parse::<u32>().unwrap() > 0, "no process of the program was seen: {}", done.stdout);
        let files = files_of(&self.house.path("home"));
        assert!(files.len() > besides.len());
        for canary in &canaries {
            canary.assert_absent("what it printed and its processes", done.stdout.as_bytes());
            canary.assert_absent("its errors", done.stderr.as_bytes());
            let value = canary.value();
            let secret = &value[public(&value)..];
            for file in files.iter().filter(|file| !besides.contains(file)) {
                let octets = std::fs::read(file).unwrap();
                assert!(!holds(&octets, secret), "a token stands in {}", file.display());
            }
        }
        self.house.assert_audit();
        let log = self.house.valetkey(&["audit", "export", "--json"]).expect_success("audit export").stdout;
        canaries.iter().for_each(|canary| canary.assert_absent("the audit log", log.as_bytes()));
    }

    /// What the program keeps at the end: placeholders of the tokens' shape, which the vendor never saw.
    fn assert_kept(&self, done: &Finished, arrived: &[Sent]) {
        let kept = done.stdout.lines().find_map(|line| line.strip_prefix("kept ")).unwrap();
        let kept: Value = serde_json::from_str(kept).unwrap_or_else(|error| panic!("{error}: {kept}"));
        let last = self.issued().pop().unwrap();
        for (pointer, name) in self.vendor.tokens.iter().zip(["access_token", "refresh_token"]) {
            let (have, real) = (kept.pointer(pointer).unwrap().as_str().unwrap(), last[name].as_str().unwrap());
            assert_eq!((have.len(), &have[..3]), (real.len(), &real[..3]), "{pointer} of {kept}");
            assert_ne!(have, real);
            assert!(arrived.iter().all(|sent| sent.count(have) == 0), "a placeholder arrived: {pointer}");
        }
    }

    /// All that arrived: the model was asked with a real token, and each refresh token came once at most, where it belongs.
    fn assert_arrived(&self) -> Vec<Sent> {
        let (issued, arrived) = (self.issued(), self.vendors.take());
        let bearers: Vec<String> =
            issued.iter().map(|tokens| format!("Bearer {}", tokens["access_token"].as_str().unwrap())).collect();
        let mut asked = 0;
        for sent in &arrived {
            for value in sent.values("authorization") {
                assert!(bearers.iter().any(|bearer| bearer == value), "{}: {value}", sent.target);
            }
            asked += usize::from(sent.method == "POST" && sent.target.starts_with(self.vendor.model));
        }
        assert!(
            asked > 0,
            "the model was not asked: {:?}",
            arrived.iter().map(|sent| &sent.target).collect::<Vec<_>>()
        );
        for tokens in &issued {
            let refresh = tokens["refresh_token"].as_str().unwrap();
            let renewals = arrived.iter().filter(|sent| sent.count(refresh) > 0);
            let targets: Vec<&str> = renewals.map(|sent| sent.target.as_str()).collect();
            let used = issued.iter().any(|later| later["by"] == refresh);
            assert!(targets.len() <= usize::from(used), "a refresh token went to {targets:?}");
            assert!(targets.iter().all(|target| target.ends_with("/oauth/token")), "{targets:?}");
        }
        arrived
    }
}

/// Where the secret of a token begins: behind the claims of a JWT, or its prefix.
fn public(token: &str) -> usize {
    token.rfind('.').or_else(|| token.rfind(['-', '_'])).unwrap() + 1
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(files_of(&entry.path()));
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
    all
}

fn holds(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The log-in that a person left in the program's file is used between walls, and stays as it is.
fn works(vendor: &'static Vendor) {
    let scene = Scene::with_file(vendor, false);
    let before = scene.read();
    let done = scene.run(&["--isolate=on"], vendor.ask);
    scene.assert_answered("the program", &done);
    scene.assert_quiet(&done, &[scene.file()]);
    scene.assert_kept(&done, &scene.assert_arrived());
    assert_eq!((scene.read(), scene.issued().len()), (before, 1));
}

/// The program logs in by itself between walls, goes on in later runs without them, and renews what is over.
fn logs_in(vendor: &'static Vendor) {
    let scene = Scene::new(vendor, LOG_IN, false);
    let browser = scene.house.path("home/project/browser");
    std::fs::write(&browser, "#!/bin/sh\nprintf %s \"$1\" > \"$0.part\" && mv \"$0.part\" \"$0.url\"\n").unwrap();
    std::fs::set_permissions(&browser, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (house, ca, addr) = (&scene.house, &scene.ca, scene.vendors.addr());
    let done = std::thread::scope(|threads| {
        // A device's code needs none.
        let browser = (vendor.name == "anthropic").then(|| threads.spawn(move || browse(house, ca, addr)));
        let done = scene.run(&["--agent", "coder", "--isolate=on"], vendor.log_in);
        if let Some(browser) = browser {
            browser.join().unwrap();
        }
        done
    });
    assert!(done.stdout.contains("\nended 0\n"), "{:.4000}\n{:.4000}", done.stdout, done.stderr);
    // The first was issued at the start, and nobody has it.
    assert_eq!(scene.issued().len(), 2);
    scene.assert_quiet(&done, &[]);
    for turn in 0..2 {
        if turn == 1 {
            expire(&scene);
        }
        // The variable of a declared log-in would be taken for an API key.
        let ask = format!("unset ANTHROPIC_API_KEY OPENAI_API_KEY; {}", vendor.ask);
        let done = scene.run(&["--agent", "coder", "--isolate=off"], &ask);
        scene.assert_answered("a later run", &done);
        scene.assert_kept(&done, &scene.assert_arrived());
        scene.assert_quiet(&done, &[]);
        assert_eq!(scene.issued().len(), 2 + turn, "turn {turn}");
    }
}

/// What was issued until now is not good any more, as the vendor and the program's file say.
fn expire(scene: &Scene) {
    std::fs::write(scene.folder.path().join("expired"), "").unwrap();
    let mut tree = scene.read();
    if let Some(expires) = tree.pointer_mut("/claudeAiOauth/expiresAt") {
        *expires = 1_700_000_000_000_u64.into();
        std::fs::write(scene.file(), tree.to_string()).unwrap();
    }
}

/// The person's browser, which is not behind the gateway: it follows what the program asked to be opened, to the log-in's
/// page and back to the port that the program listens on.
fn browse(house: &House, ca: &Path, vendors: SocketAddr) {
    let (url, start) = (house.path("home/project/browser.url"), Instant::now());
    while !url.exists() {
        assert!(start.elapsed() < Duration::from_mins(1), "the program opened no browser");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut curl = house.clean(Path::new("/usr/bin/curl"));
    // A port of the agent's is reachable from outside a moment after it is opened; no person is that quick.
    curl.args(["--retry", "20", "--retry-connrefused", "--retry-delay", "1"]);
    curl.args(["-sSL", "-o", "/dev/null", "-w", "%{num_redirects}", "--cacert"]).arg(ca);
    for host in ["claude.com", "platform.claude.com"] {
        curl.args(["--connect-to", &format!("{host}:443:{vendors}")]);
    }
    let done = finish(curl.arg(std::fs::read_to_string(url).unwrap()), PATIENCE).expect_success("the browser");
    assert_eq!(done.stdout, "2", "to the program, and to the vendor's last page");
}

#[test]
#[ignore = "opt-in: downloads two vendors' programs from npm; cargo test -p e2e vendors -- --ignored"]
fn claude_code_works_with_the_log_in_of_its_file() {
    works(&CLAUDE);
}

#[test]
#[ignore = "opt-in: downloads two vendors' programs from npm; cargo test -p e2e vendors -- --ignored"]
fn claude_code_logs_in_and_goes_on() {
    logs_in(&CLAUDE);
}

#[test]
#[ignore = "opt-in: downloads two vendors' programs from npm; cargo test -p e2e vendors -- --ignored"]
fn codex_logs_in_and_goes_on() {
    logs_in(&CODEX);
}

/// The model asks the program to show its log-in: what it is told holds placeholders.
#[test]
#[ignore = "opt-in: downloads two vendors' programs from npm; cargo test -p e2e vendors -- --ignored"]
fn a_model_that_asks_for_the_log_in_gets_none() {
    let scene = Scene::with_file(&CLAUDE, false);
    let ask = "run: cat ~/.claude/.credentials.json; env; cat /proc/[0-9]*/environ";
    std::fs::write(scene.folder.path().join("answer"), ask).unwrap();
    let done = scene.run(&["--isolate=on"], CLAUDE.ask);
    assert!(done.stdout.contains("it printed: ") && done.stdout.contains("accessToken"), "{:.4000}", done.stdout);
    scene.assert_quiet(&done, &[scene.file()]);
    let canaries = scene.canaries();
    for sent in scene.assert_arrived() {
        canaries.iter().for_each(|canary| canary.assert_absent("what the model was told", &sent.body));
    }
}
