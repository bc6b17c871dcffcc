//! Transcripts of the command line: what is typed, what stands on which stream, and the exit code. Each has a home of its
//! own and an environment of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

struct Home {
    folder: tempfile::TempDir,
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        std::fs::write(self.path().join(name), text).expect("written");
        self
    }

    fn says_with(&self, line: &str, input: &str) -> Said {
        let mut command = Command::cargo_bin("valetkey").expect("built");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path())
            .env("VALETKEY_HOME", self.path().join("home"));
        command
            .current_dir(self.path())
            .args(line.split_whitespace().map(|word| word.replace('_', " ").replace('~', "_")));
        let output = command.write_stdin(input).output().expect("ran");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    fn says(&self, line: &str) -> Said {
        self.says_with(line, "")
    }
}

const CONFIG: &str = r#"version: 1
credentials:
  github-token: { service: github }
agents:
  bot:
    permissions:
      - service: github
        credential: github-token
        actions: [pulls/create]
        resources: ["repo:acme/widgets"]
        conditions: { limit: 5/hour, approval: none }
    denied_actions: [repos/delete]
"#;

/// Every error of the command line: what is typed (`_` stands for a blank, `~` for an underline), the code, and what must
/// stand on standard error.
const ERRORS: &[(&str, i32, &str)] = &[
    ("", 2, "Usage: valetkey"),
    ("frobnicate", 2, "unrecognized subcommand 'frobnicate'"),
    ("ru", 2, "similar subcommand"),
    ("run", 2, "required arguments were not provided"),
    ("run --ttl forever -- true", 2, "`forever` is not a time span; write a number and s, m, h or d"),
    ("run --agent a/b -- true", 2, "`a/b` is not a valid agent name"),
    ("run --bind TOKEN -- true", 2, "`TOKEN` is not VAR=HOST or VAR=HOST:HEADER"),
    (
        "run --config none.yaml -- true",
        125,
        "none.yaml` does not exist; check the path of the configuration (--config)",
    ),
    ("run --receipt none/r.json -- true", 125, "r.json`; make it first"),
    ("run --keep NOT~SET -- true", 125, "--keep NOT_SET: the variable is not set"),
    ("serve --config none.yaml", 3, "does not exist"),
    ("serve --listen nowhere", 2, "invalid value 'nowhere'"),
    ("serve --config ok.yaml --listen 10.255.255.1:0 --dev-identify-by-header", 3, "works on a loopback address only"),
    ("serve --config ok.yaml --socket none/x.sock", 3, "does not exist; make it, or let the service manager"),
    (
        "serve --config ok.yaml --socket x.sock --socket-group no-such-group",
        3,
        "no group is called `no-such-group`; make it",
    ),
    ("serve --config ok.yaml --socket-group users", 2, "--socket <PATH>"),
    ("explain GET", 2, "<URL>"),
    ("explain GET /user", 2, "`/user` is not an http, https, tcp or postgres URL; write it whole"),
    ("explain G@T https://api.github.com/user", 2, "`G@T` is not a method"),
    ("explain -H nonsense GET https://api.github.com/user", 2, "`nonsense` is not a header field; write `Name: value`"),
    (
        "explain --body none GET https://api.github.com/user",
        3,
        "none` does not exist; check the path given with --body",
    ),
    ("explain --config bad.yaml GET https://api.github.com/user", 3, "bad.yaml:2:"),
    ("approve nonsense", 2, "`nonsense` is not an id of the form `apr_`"),
    (
        "approve apr~00000000000000000000000000",
        2,
        "this needs an operator's token, so that no agent can do it: name a file",
    ),
    (
        "approve apr~00000000000000000000000000 --token-file none",
        3,
        "none` does not exist; it is where your operator's token should be",
    ),
    ("approve apr~00000000000000000000000000 --token-file empty.yaml --for ever", 2, "or `session`"),
    ("approve apr~00000000000000000000000000 --token-file empty.yaml", 2, "can be read by others than you"),
    ("deny apr~00000000000000000000000000", 3, "start one with `valetkey serve --config FILE`"),
    ("approvals list", 3, "start one with `valetkey serve --config FILE`"),
    ("approvals list --api nowhere", 2, "invalid value 'nowhere' for '--api <ADDRESS>'"),
    ("approvals watch --api 127.0.0.1:1", 2, "this needs an operator's token"),
    ("stop", 2, "<--agent <NAME>|--session <ID>|--credential <NAME>|--all>"),
    ("stop --agent a --all", 2, "cannot be used with"),
    ("stop --session nonsense", 2, "`nonsense` is not an id of the form `ses_`"),
    ("agent show nobody", 1, "no agent `nobody` was ever seen in this home; `valetkey agent list`"),
    ("agent disable bot", 2, "use `valetkey stop --agent bot`"),
    ("session show ses~00000000000000000000000000", 1, "`valetkey session list --all` shows those that are"),
    ("session end ses~00000000000000000000000000", 1, "there is no session"),
    ("session start --agent bot", 3, "no gateway answers at"),
    ("session start --agent bot --socket none.sock", 3, "none.sock`; start one with `valetkey serve --config FILE`"),
    ("session end ses~00000000000000000000000000 --socket none.sock", 3, "no gateway answers at"),
    ("credential add", 2, "<NAME>"),
    ("credential add a_b", 2, "is not a valid credential name"),
    ("credential add x --service nowhere", 2, "no service is called `nowhere`; known are"),
    ("credential add x --service github", 2, "the value is empty; pipe it in, or type it at the prompt"),
    ("credential add x --replace --service github", 2, "cannot be used with"),
    ("credential add x --replace", 2, "there is no credential `x` to replace; leave --replace out"),
    ("credential show nobody", 1, "`valetkey credential list` shows those that are"),
    ("credential revoke nobody", 1, "there is no credential `nobody`"),
    ("credential rotate x", 1, "there is no credential `x` in this home"),
    ("credential rotate x --grace soon", 2, "soon"),
    ("credential rollback x", 1, "there is no credential `x` in this home"),
    ("policy check", 2, "<FILE>"),
    ("policy check none.yaml", 3, "none.yaml` does not exist"),
    ("policy prove x", 3, "`x` does not exist; check the path of the statements"),
    ("policy suggest --receipt none.json", 3, "`none.json` does not exist; `valetkey run --receipt FILE` writes one"),
    ("policy suggest --receipt empty.yaml", 3, "`empty.yaml` is no receipt"),
    ("policy test", 2, "<TABLE>"),
    ("policy test none.yaml", 3, "none.yaml` does not exist; check the path of the table"),
    ("policy test ok.yaml", 2, "ok.yaml:1:1: unknown field `version`"),
    ("policy test empty.yaml", 2, "has 0 tests; give 1 to 10000 under `tests:`"),
    ("policy test words.yaml", 2, "`now` is not a request; write `GET https://host/path`"),
    ("policy replay", 2, "<FILE>"),
    ("policy replay none.yaml", 3, "none.yaml` does not exist"),
    ("policy replay bad.yaml", 3, "bad.yaml:2:"),
    ("policy replay ok.yaml --since yesterday", 2, "`yesterday` is not a time"),
    ("policy diff ok.yaml", 2, "<NEW>"),
    ("policy diff none.yaml ok.yaml", 3, "none.yaml` does not exist"),
    ("policy diff ok.yaml none.yaml", 3, "none.yaml` does not exist"),
    ("policy diff ok.yaml bad.yaml", 3, "bad.yaml:2:"),
    ("policy diff ok.yaml ok.yaml --agent nobody", 2, "agent `nobody` is in neither configuration; they name: bot"),
    ("policy diff ok.yaml ok.yaml --agent a!b", 2, "only letters, digits"),
    ("policy diff tangled.yaml ok.yaml", 3, "can meet in too many ways to compare them all; write fewer patterns"),
    ("policy suggest", 1, "nothing on record matches that a permission could cover"),
    ("policy suggest --config none.yaml", 3, "none.yaml` does not exist"),
    ("policy suggest --config bad.yaml", 3, "bad.yaml:2:"),
    ("policy suggest --since yesterday", 2, "`yesterday` is not a time"),
    ("policy suggest --session nonsense", 2, "`nonsense` is not an id of the form `ses_`"),
    ("policy suggest --agent a!b", 2, "only letters, digits"),
    ("service show githob", 1, "no service is called `githob`"),
    ("service test githob", 2, "no service is called `githob`"),
    ("service test ./none.yaml", 3, "`./none.yaml` does not exist; name a service, or the path of a service file"),
    ("service test bad.yaml", 3, "bad.yaml:1:1: unknown field `version`; known are name, title"),
    ("service import none.json", 3, "`none.json` does not exist"),
    ("service import bad.yaml", 3, "this is neither an OpenAPI description (`openapi` or `swagger`, with `paths`) nor"),
    ("audit search --code nonsense", 2, "`nonsense` is not a code; known are malformed"),
    ("audit search --since yesterday", 2, "`yesterday` is not a time; write it as 2026-11-20T18:00:00Z"),
    ("audit search", 1, "nothing on record matches"),
    ("audit verify --head nonsense", 3, "nonsense"),
    ("audit evidence", 2, "`valetkey audit export` writes everything"),
    ("whose nothing", 1, "no placeholder of this home"),
    ("doctor --config none.yaml", 3, "none.yaml` does not exist; check the path of the configuration (--config)"),
    ("completions nosuchshell", 2, "invalid value 'nosuchshell'"),
    ("grant list", 3, "start one with `valetkey serve --config FILE`"),
    ("grant request --capability x --justification y", 2, "valetkey session start --agent NAME"),
    ("--passphrase-file none credential list", 3, "none` does not exist; check VALETKEY_PASSPHRASE_FILE"),
];

#[test]
fn errors_say_what_why_and_what_to_do() {
    let home = Home::new();
    home.write("ok.yaml", CONFIG).write("bad.yaml", "version: 1\nagnets: {}\n").write("empty.yaml", "tests: []\n");
    home.write("words.yaml", "policy: ok.yaml\ntests: [{ agent: bot, request: now, expect: deny }]\n");
    let many: Vec<String> = (0..18).map(|at| format!("'repo:*{}*{at}*'", char::from(b'a' + at))).collect();
    let tangled = format!("actions: [read], resources: [{}]", many.join(", "));
    home.write("tangled.yaml", &format!("agents: {{ bot: {{ permissions: [{{ service: github, {tangled} }}] }} }}\n"));
    for (line, code, part) in ERRORS {
        let said = home.says(line);
        assert_eq!(said.code, *code, "`{line}`: {}{}", said.out, said.err);
        assert!(said.err.contains(part), "`{line}` says\n{}\nand not\n{part}", said.err);
        assert!(said.out.is_empty(), "`{line}` writes to standard output: {}", said.out);
        assert!(!said.err.contains('\x1b') && !said.err.contains("panicked"), "`{line}`: {}", said.err);
    }
}

#[test]
fn version_help_and_completions() {
    let home = Home::new();
    assert_eq!(home.says("version").out, format!("valetkey {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(home.says("version --json").json()["version"], env!("CARGO_PKG_VERSION"));
    let help = home.says("--help");
    assert_eq!(help.code, 0);
    for word in ["run", "serve", "demo", "explain", "stop", "credential", "audit", "Exit codes: 0 done"] {
        assert!(help.out.contains(word), "{word}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = home.says(&format!("completions {shell}"));
        assert!(said.code == 0 && said.out.contains("valetkey"), "{shell}");
    }
    assert!(!home.path().join("home").exists(), "none of these needs a home");
}

#[test]
fn policy_check_and_explain() {
    let home = Home::new();
    home.write("valetkey.yaml", CONFIG)
        .write("bad.yaml", "version: 1\nagents:\n  a:\n    permissions:\n      - service: githob\n");
    let said = home.says("policy check valetkey.yaml");
    assert_eq!((said.code, said.out.as_str()), (0, "1 file can be used\n"), "{}", said.err);
    let said = home.says("policy check bad.yaml");
    assert_eq!(said.code, 1);
    assert!(
        said.out.contains("bad.yaml:5:") && said.out.contains("githob") && said.out.contains("did you mean `github`"),
        "{}",
        said.out
    );
    assert_eq!(home.says("policy check --json bad.yaml").json()["ok"], false);
    assert!(home.says("policy schema").json().is_object());

    let said = home.says("explain --json POST https://api.github.com/repos/acme/widgets/pulls");
    assert_eq!(said.code, 0, "{}", said.err);
    let told = said.json();
    assert_eq!(told["service"], "github");
    assert_eq!(told["calls"][0]["action"], "pulls/create");
    assert_eq!(told["calls"][0]["class"], "write");
    assert_eq!(told["calls"][0]["resource"], "repo:acme/widgets");
    assert!(told.get("decision").is_none(), "a decision only with --agent");
    let said = home.says_with("explain --json --agent bot --body - -H content-type:application/json POST https://api.github.com/repos/acme/widgets/pulls", "{}");
    assert_eq!((said.code, said.json()["decision"].clone()), (0, "allow".into()), "{}", said.out);
    assert_eq!(said.json()["conditions"][0]["kind"], "limit");
    let said = home.says("explain --json --agent bot DELETE https://api.github.com/repos/acme/widgets");
    assert_eq!(
        (said.code, said.json()["decision"].clone(), said.json()["code"].clone()),
        (1, "deny".into(), "denied".into())
    );
    let said = home.says("explain --json GET https://nobody.example/x");
    assert_eq!(
        (said.code, said.json()["service"].clone(), said.json()["calls"].clone()),
        (0, Value::Null, Value::Array(Vec::new()))
    );
    let said = home.says("explain --json GET https://api.github.com/repos/../user");
    assert_eq!((said.code, said.json()["refusal"]["code"].clone()), (1, "malformed".into()), "{}", said.out);
    let people = home.says("explain --agent bot DELETE https://api.github.com/repos/acme/widgets");
    assert!(
        people.code == 1
            && people.out.contains("repos/delete (delete) on repo:acme/widgets")
            && people.out.contains("deny"),
        "{}",
        people.out
    );
}

#[test]
fn credentials_go_in_and_never_come_out() {
    let home = Home::new();
    let value = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";
    let said = home.says_with("credential add github-token --service github --json", &format!("{value}\n"));
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(said.json()["version"], 1);
    assert_eq!(home.says_with("credential add github-token", value).code, 2, "a name is taken once");
    assert_eq!(home.says_with("credential add github-token --replace --json", value).json()["version"], 2);
    let list = home.says("credential list --json");
    assert_eq!(list.json()[0]["credential"], "github-token");
    assert_eq!(list.json()[0]["versions"][0]["version"], 2);
    let show = home.says("credential show github-token");
    let revoked = home.says("credential revoke github-token");
    assert_eq!((show.code, revoked.code), (0, 0), "{}{}", show.err, revoked.err);
    assert_eq!(home.says("credential show github-token --json").json()["revoked"], true);
    let audit = home.says("audit export --json");
    assert!(audit.out.lines().count() >= 3 && audit.out.contains("\"credential\""), "{}", audit.out);
    for said in [&list, &show, &revoked, &audit] {
        assert!(!said.out.contains(value) && !said.err.contains(value));
    }
    assert!(!holds(&home.path().join("home"), value.as_bytes()), "the value stands in the home in clear");
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn stops_sessions_agents_and_the_record() {
    let home = Home::new();
    assert_eq!(home.says("stop --agent bot --json").json()["stopped"], true);
    assert_eq!(home.says("stop --all").out, "stopped all\n");
    assert_eq!(home.says("stop --agent bot --lift").out, "lifted the stop of agent bot\n");
    assert_eq!(home.says("stop --agent bot --lift").code, 1);
    assert_eq!(home.says("session list --json").json(), Value::Array(Vec::new()));
    assert_eq!(home.says("agent list --json").json(), Value::Array(Vec::new()));
    let verified = home.says("audit verify");
    assert!(verified.code == 0 && verified.out.starts_with("verified 4 records"), "{}{}", verified.out, verified.err);
    let head = home.says("audit verify --json").json()["head"].as_str().expect("a head").replace('_', "~");
    assert_eq!(home.says(&format!("audit verify --head {head}")).code, 0);
    let tail = home.says("audit tail -n 1 --json");
    assert_eq!(tail.json()["kind"], "operator");
    assert_eq!(home.says("audit search --json bot").out.lines().count(), 3);
    // One octet changed in the middle of a record is found.
    let lane = find_log(&home.path().join("home/audit")).expect("a lane");
    let text = std::fs::read_to_string(&lane).expect("read").replace("stopped all", "stopped one");
    std::fs::write(&lane, text).expect("written");
    let broken = home.says("audit verify");
    assert!(broken.code == 1 && broken.out.contains("not verified: "), "{}{}", broken.out, broken.err);
}

fn find_log(folder: &Path) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return find_log(&path);
        }
        let text = std::fs::read_to_string(&path).ok()?;
        text.contains("stopped all").then_some(path)
    })
}

#[test]
fn services_are_listed_shown_and_tested() {
    let home = Home::new();
    let list = home.says("service list --json").json();
    assert!(list.as_array().is_some_and(|all| all.iter().any(|service| service["service"] == "github")));
    let show = home.says("service show github");
    assert!(show.code == 0 && show.out.contains("pulls/create") && show.out.contains("GITHUB_TOKEN"), "{}", show.out);
    let test = home.says("service test github stripe");
    assert!(test.code == 0 && test.out.contains("cases, 0 failed"), "{}{}", test.out, test.err);
}

#[test]
fn a_home_of_somebody_else_is_refused() {
    let home = Home::new();
    let mut command = Command::cargo_bin("valetkey").expect("built");
    let output = command.env_clear().env("VALETKEY_HOME", "/proc").arg("session").arg("list").output().expect("ran");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    // A folder with other people's things stays as open as it was.
    let shared = home.path().join("shared");
    std::fs::create_dir(&shared).expect("made");
    std::fs::write(shared.join("notes"), "").expect("written");
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o755)).expect("set");
    let mut command = Command::cargo_bin("valetkey").expect("built");
    let output = command.env_clear().env("VALETKEY_HOME", &shared).arg("session").arg("list").output().expect("ran");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && told.contains("set VALETKEY_HOME to an empty folder"), "{told}");
    assert_eq!(std::fs::metadata(&shared).expect("there").permissions().mode() & 0o777, 0o755);
    let mut command = Command::cargo_bin("valetkey").expect("built");
    let output = command.env_clear().current_dir(home.path()).arg("session").arg("list").output().expect("ran");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("set VALETKEY_HOME to a folder of yours"));
}

#[test]
fn what_others_may_change_is_not_believed() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.write("ok.yaml", CONFIG);
    let mode = |name: &str, bits: u32| {
        std::fs::set_permissions(home.path().join(name), std::fs::Permissions::from_mode(bits)).expect("chmod");
    };
    mode("ok.yaml", 0o646);
    for (line, code) in [("run --config ok.yaml --agent bot -- true", 125), ("serve --config ok.yaml", 3)] {
        let said = home.says(line);
        assert_eq!(said.code, code, "{}", said.err);
        assert!(said.err.contains("ok.yaml` may be written by everybody (mode 646)"), "{}", said.err);
        assert!(said.err.contains("`chmod go-w "), "{}", said.err);
    }
    // Only what is started believes it; checking may look at anything.
    assert_eq!(home.says("policy check ok.yaml").code, 0);
    mode("ok.yaml", 0o644);
    assert_eq!(home.says("session list").code, 0);
    mode("home", 0o777);
    let said = home.says("session list");
    assert!(said.code == 3 && said.err.contains("home` may be written by everybody (mode 777)"), "{}", said.err);
}

/// Cases that hold, in every form that a table has.
const TABLE: &str = r#"policy: ok.yaml
tests:
  - agent: bot
    request: POST https://api.github.com/repos/acme/widgets/pulls
    body: { title: x, head: y, base: main }
    expect: allow
    action: pulls/create
    resource: "repo:acme/widgets"
    credential: github-token
  - { name: nothing else, agent: bot, request: "GET https://api.github.com/user", expect: deny, code: denied }
  - { agent: bot, request: "DELETE https://api.github.com/repos/acme/widgets", expect: deny }
  - { agent: nobody, request: "GET https://api.github.com/user", expect: deny }
  - { agent: bot, request: "GET https://api.github.com/a/../b", expect: refused, code: malformed }
"#;

#[test]
fn tables_of_cases_are_run_against_a_policy() {
    let home = Home::new();
    home.write("ok.yaml", CONFIG).write("good.yaml", TABLE);
    let said = home.says("policy test good.yaml");
    assert_eq!((said.code, said.out.as_str()), (0, "5 passed, 0 failed\n"), "{}", said.err);
    let wrong =
        TABLE.replace("nobody", "bot").replace("expect: allow\n", "expect: ask\n").replace("github-token", "other");
    home.write("wrong.yaml", &wrong);
    let said = home.says("policy test wrong.yaml");
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("expected ask, got allow; expected credential other, got github-token"), "{}", said.out);
    assert!(said.out.ends_with("4 passed, 1 failed\n"), "{}", said.out);
    let json = home.says("policy test --json wrong.yaml good.yaml").json();
    assert_eq!((&json["passed"], &json["failed"]), (&Value::from(9), &Value::from(1)), "{json:#}");
    assert_eq!(json["tests"][0]["got"], "allow", "{json:#}");
    // What is named on the command line wins over the table's own.
    home.write("strict.yaml", "version: 1\nagents: { bot: { permissions: [] } }\n");
    let said = home.says("policy test --config strict.yaml good.yaml");
    assert!(said.code == 1 && said.out.contains("expected allow, got deny"), "{}{}", said.out, said.err);
}
