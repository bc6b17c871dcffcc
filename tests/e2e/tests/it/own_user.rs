//! The gateway under a user of its own, and what an agent on the same machine can do to it: from another user's account
//! nothing (promise 7), from its own nothing to its memory (row I108). Every way is shown to work where nothing is protected.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Canary;
use testkit::process::{Finished, Running, finish};
use testkit::upstream::Upstream;

/// Numbers that no account has: the gateway's, the agent's, and the group that may reach the gateway's socket.
const GATEWAY: u32 = 61_101;
const AGENT: u32 = 61_102;
const STRANGER: u32 = 61_103;
const DOOR: u32 = 61_104;
const PATIENCE: Duration = Duration::from_secs(90);
/// What every secret of these tests begins with.
const MARK: &str = "vkcanary-";

/// Ways of another user, and what the control must have got besides a success.
const WAYS: [&str; 36] = [
    "home_list",
    "database",
    "vault_key",
    "audit_key",
    "audit_log",
    "secret_file",
    "via_symlink",
    "via_hard_link",
    "environ",
    "maps",
    "mem",
    "fd",
    "cwd",
    "exe",
    "root",
    "io",
    "ptrace",
    "process_vm_readv",
    "pidfd_getfd",
    "home_socket",
    "approve",
    "approve_forged",
    "approve_query",
    "approve_tcp",
    "list_approvals",
    "list_credentials",
    "add_credential",
    "stop",
    "lift_stop",
    "enable_agent",
    "other_agent",
    "other_person",
    "end_other",
    "change_configuration",
    "change_authority",
    "take_socket",
];
/// Ways of the same user to the memory and the process; the twelfth is the core file, after a signal that he may send.
const SAME_USER: [&str; 11] =
    ["environ", "maps", "mem", "fd", "cwd", "exe", "root", "io", "ptrace", "process_vm_readv", "pidfd_getfd"];
/// What holds the secret itself.
const SECRET: [&str; 4] = ["secret_file", "environ", "mem", "process_vm_readv"];

/// A folder that every user may enter, with a program, a configuration and secrets in it.
struct Machine {
    folder: tempfile::TempDir,
    upstream: Upstream,
    canary: Canary,
    operator: String,
}

struct Served {
    process: Running,
    ready: Value,
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A Python that other users may run.
fn python() -> &'static Path {
    let known = ["/usr/bin/python3", "/usr/local/bin/python3"].map(Path::new);
    let found = known.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no python3 that all users may run: apt-get install python3"))
}

/// A command as another user, in an environment that holds nothing.
fn as_user(uid: u32, groups: &str, program: &Path) -> Command {
    // Core files are allowed as far as the system allows them: that there is none must be the gateway's own doing.
    let become_user =
        "ulimit -c unlimited 2>/dev/null; exec setpriv --reuid=\"$0\" --regid=\"$0\" \"$1\" -- \"${@:2}\"";
    // Some containers close /proc to all but root. That would hide the attacker from the gateway's process, and the test
    // would show nothing: he gets one of his own, as any machine has it.
    let closed = std::fs::metadata("/proc").unwrap().permissions().mode() & 0o005 != 0o005;
    let script = if closed { format!("mount -t proc proc /proc; {become_user}") } else { become_user.to_owned() };
    let mut command = Command::new(if closed { "unshare" } else { "bash" });
    command.args(if closed { &["--mount", "bash"][..] } else { &[] });
    command.args(["-c", &script, &uid.to_string()]);
    command.arg(if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={groups}") });
    command.arg(program).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("NO_COLOR", "1");
    command
}

impl Machine {
    fn new(seed: u64) -> Self {
        let id = Command::new("id").arg("-u").output().unwrap();
        assert_eq!(
            id.stdout, b"0\n",
            "these tests start processes of other users: run them as root, in a container perhaps"
        );
        let folder = tempfile::tempdir().unwrap();
        mode(folder.path(), 0o755);
        let (canary, upstream) = (Canary::new(seed, MARK, 40), Upstream::start());
        let operator = Canary::new(seed + 1, "op-", 40).value();
        let machine = Self { folder, upstream, canary, operator };
        std::fs::copy(e2e::house::binary(), machine.path("valetkey")).unwrap();
        std::fs::copy(machine.upstream.ca_file(), machine.path("upstream-ca.pem")).unwrap();
        std::fs::copy(e2e::house::root().join("tests/e2e/services/echo.yaml"), machine.path("echo.yaml")).unwrap();
        for script in ["local.py", "victim.py"] {
            std::fs::copy(e2e::house::root().join("tests/e2e/hostile").join(script), machine.path(script)).unwrap();
        }
        std::fs::write(machine.path("valetkey.yaml"), machine.configuration()).unwrap();
        for name in ["valetkey", "upstream-ca.pem", "echo.yaml", "local.py", "victim.py", "valetkey.yaml"] {
            mode(&machine.path(name), 0o755);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder of this user.
    fn folder_of(&self, uid: u32, name: &str, bits: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        chown(&path, Some(uid), Some(uid)).unwrap();
        mode(&path, bits);
        path
    }

    fn configuration(&self) -> String {
        let mut hash = Command::new("sh");
        hash.args(["-c", "printf %s \"$0\" | sha256sum", &self.operator]);
        let hash = finish(&mut hash, PATIENCE).expect_success("sha256sum").stdout;
        let entry = self.upstream.entry("kit.echo.test");
        let entry = entry.replace(&self.upstream.ca_file().display().to_string(), "./upstream-ca.pem");
        let mut text = String::from("version: 1\negress: closed\nservices: [./echo.yaml]\n");
        let _ = writeln!(text, "operators: [{{ name: ada, token_hash: {}, roles: [approver] }}]", &hash[..64]);
        let _ = writeln!(text, "credentials: {{ echo-token: {{ service: echo, from: \"file:./secret\" }} }}");
        let rule = |methods: &str| format!("{{ service: echo, credential: echo-token, {methods} }}");
        let (read, create) = (
            rule("methods: [GET], endpoints: [/]"),
            rule("actions: [items/create], resources: [\"*\"], conditions: { approval: required }"),
        );
        let _ = writeln!(
            text,
            "agents:\n  worker:\n    local_users: [\"uid:{AGENT}\"]\n    permissions: [{read}, {create}]"
        );
        let _ = writeln!(text, "  other:\n    permissions: [{read}]\nupstreams:\n{entry}");
        text
    }

    /// `serve` as this user, with a home and a secret of his own.
    fn serve(&self, uid: u32, more: &[&str]) -> Served {
        self.folder_of(uid, "state", 0o700);
        std::fs::write(self.path("secret"), self.canary.value()).unwrap();
        chown(self.path("secret"), Some(uid), Some(uid)).unwrap();
        mode(&self.path("secret"), 0o600);
        let mut command = as_user(uid, if more.is_empty() { "" } else { "61104" }, &self.path("valetkey"));
        command.env("VALETKEY_HOME", self.path("state")).current_dir(self.folder.path());
        command.args([
            "serve",
            "--config",
            "valetkey.yaml",
            "--listen",
            "127.0.0.1:0",
            "--api",
            "127.0.0.1:0",
            "--json",
        ]);
        command.args(more).stderr(std::fs::File::create(self.path("serve.log")).unwrap());
        let (process, line) = Running::ready(command);
        let said = || std::fs::read_to_string(self.path("serve.log")).unwrap_or_default();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("`serve` is not ready: {line} {}", said()));
        Served { process, ready }
    }

    /// The control: a process of the agent's own user that protects nothing.
    fn victim(&self) -> Running {
        let place = self.folder_of(AGENT, "victim", 0o755);
        let mut command = as_user(AGENT, "", python());
        command.arg(self.path("victim.py")).env("CANARY", self.canary.value()).current_dir(place);
        let (victim, line) = Running::ready(command);
        assert_eq!(line, "ready\n");
        victim
    }

    /// Tries these ways as the agent's user; what each got, in clear text.
    fn tries(&self, name: &str, target: &Value, ways: &[&str]) -> BTreeMap<String, Result<Vec<u8>, String>> {
        let file = self.path(&format!("{name}.json"));
        std::fs::write(&file, target.to_string()).unwrap();
        mode(&file, 0o644);
        let mut command = as_user(AGENT, "61104", python());
        command.arg(self.path("local.py")).arg(file).args(ways).current_dir(self.folder.path());
        let output = finish(&mut command, PATIENCE).expect_success(name);
        let answers: BTreeMap<String, Value> = serde_json::from_str(&output.stdout).unwrap();
        let decode = |answer: &Value| {
            use base64::Engine;
            match answer["got"].as_str() {
                Some(got) => Ok(base64::engine::general_purpose::STANDARD.decode(got).unwrap()),
                None => Err(answer["no"].as_str().unwrap().to_owned()),
            }
        };
        answers.iter().map(|(way, answer)| (way.clone(), decode(answer))).collect()
    }

    /// Asks the API over TCP as the operator.
    fn operator(&self, served: &Served, words: &[&str]) -> Value {
        let (path, rest) = words.split_first().unwrap();
        let mut command = Command::new("curl");
        let token = format!("Authorization: Bearer {}", self.operator);
        command.args(["-sS", "-H", &token, "-H", "Content-Type: application/json"]).args(rest);
        command.arg(format!("{}{path}", served.ready["api"].as_str().unwrap()));
        let said = finish(&mut command, PATIENCE).expect_success(path).stdout;
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{path}: {said}"))
    }
}

/// Fails unless every way got something in the control and nothing in the attack.
fn judge(machine: &Machine, ways: &[&str], control: &Got, attack: &Got) {
    let mut table = String::new();
    let mut wrong = 0;
    for way in ways {
        let (control, attack) = (&control[*way], &attack[*way]);
        let whole = |got: &Vec<u8>| !SECRET.contains(way) || holds(got, machine.canary.value().as_bytes());
        let good = control.as_ref().is_ok_and(|got| !got.is_empty() && whole(got)) && attack.is_err();
        wrong += usize::from(!good);
        let short = |got: &Result<Vec<u8>, String>| match got {
            Ok(got) => format!("got {} octets", got.len()),
            Err(why) => why.clone(),
        };
        let _ = writeln!(table, "{way:22} control: {:40} here: {}", short(control), short(attack));
        if let Ok(got) = attack {
            machine.canary.assert_absent(way, got);
        }
    }
    assert_eq!(wrong, 0, "of {} ways:\n{table}", ways.len());
}

type Got = BTreeMap<String, Result<Vec<u8>, String>>;

fn holds(octets: &[u8], needle: &[u8]) -> bool {
    octets.windows(needle.len()).any(|window| window == needle)
}

/// Begins a session through the socket, as the agent's user.
fn session(machine: &Machine, uid: u32, groups: &str, agent: &str) -> Finished {
    let mut command = as_user(uid, groups, &machine.path("valetkey"));
    command.args(["session", "start", "--json", "--agent", agent, "--socket"]).arg(machine.path("run/api.sock"));
    finish(command.current_dir(machine.folder.path()), PATIENCE)
}

/// A request of the agent's user with the environment of his session.
fn curl(session: &Value, words: &[&str]) -> Command {
    let mut command = as_user(AGENT, "", Path::new("/bin/sh"));
    let variables = session["env"].as_object().unwrap();
    command.envs(variables.iter().map(|(name, value)| (name, value.as_str().unwrap())));
    command
        .args(["-c", "exec curl -sS --max-time 80 -H \"Authorization: Bearer $ECHO_TOKEN\" \"$@\"", "curl"])
        .args(words);
    command
}

/// Questions that wait for a person, each with the client that asks.
fn questions(machine: &Machine, served: &Served, session: &Value, count: usize) -> (Vec<String>, Vec<Running>) {
    let clients: Vec<Running> = (0..count)
        .map(|number| {
            let body = json!({ "amount": 1, "name": format!("item {number}") }).to_string();
            let json = "Content-Type: application/json";
            Running::start(curl(session, &["-d", &body, "-H", json, "-o", "/dev/null", "https://kit.echo.test/items"]))
        })
        .collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let open = machine.operator(served, &["/v1/approvals"]);
        let ids: Vec<String> = open.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().into()).collect();
        if ids.len() == count {
            return (ids, clients);
        }
        assert!(Instant::now() < until, "{} of {count} questions came: {open}", ids.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Copies of the gateway's files that everybody may read and change.
fn unprotected(machine: &Machine) -> PathBuf {
    let open = machine.path("open");
    let script =
        "cp -r state open && cp secret valetkey.yaml upstream-ca.pem open/ && touch open/door && chmod -R a+rwX open";
    let mut copy = Command::new("sh");
    copy.args(["-c", script]).current_dir(machine.folder.path());
    let _ = finish(&mut copy, PATIENCE).expect_success("cp");
    open
}

#[test]
fn an_agent_gets_nothing_from_a_gateway_under_its_own_user() {
    let machine = Machine::new(501);
    let run = machine.folder_of(GATEWAY, "run", 0o755);
    let door = run.join("api.sock").display().to_string();
    let served = machine.serve(GATEWAY, &["--socket", &door, "--socket-group", &DOOR.to_string()]);
    let begun = session(&machine, AGENT, "61104", "worker").expect_success("session start");
    let begun: Value = serde_json::from_str(&begun.stdout).unwrap();
    let got = finish(&mut curl(&begun, &["https://kit.echo.test/anything"]), PATIENCE).expect_success("curl");
    machine.canary.assert_absent("the answer", got.stdout.as_bytes());
    let seen = machine.upstream.journal().take();
    assert_eq!(seen.iter().filter(|seen| seen.count(&machine.canary.value()) == 1).count(), 1, "{seen:?}");

    let (questions, clients) = questions(&machine, &served, &begun, 4);
    let elsewhere = machine.operator(&served, &["/v1/sessions", "-d", r#"{"agent":"worker","user":"ada"}"#]);
    let (victim, open) = (machine.victim(), unprotected(&machine));
    let scratch = ["scratch-1", "scratch-2"].map(|name| machine.folder_of(AGENT, name, 0o700));
    let tcp = served.ready["api"].as_str().unwrap().trim_start_matches("http://");
    let state = machine.path("state");
    let target = |pid: u32, home: &Path, rest: Value| {
        let mut target =
            json!({ "pid": pid, "mark": MARK, "home": home, "tcp": tcp, "questions": questions, "door": door });
        target["session"] = elsewhere["session"].clone();
        target.as_object_mut().unwrap().append(&mut rest.as_object().unwrap().clone());
        target
    };
    let attacked = json!({
        "secret": machine.path("secret"), "scratch": scratch[0], "configuration": machine.path("valetkey.yaml"),
        "authority": begun["ca"], "door_file": door, "home_socket": state.join("api.sock"),
    });
    let attack = machine.tries("attack", &target(served.process.id(), &state, attacked), &WAYS);
    let waiting = machine.operator(&served, &["/v1/approvals"]);
    assert_eq!(waiting.as_array().unwrap().len(), 4, "a call was approved: {waiting}");
    assert!(machine.upstream.journal().is_empty(), "a call was sent");
    let open_target = json!({
        "secret": open.join("secret"), "scratch": scratch[1], "configuration": open.join("valetkey.yaml"),
        "authority": open.join("upstream-ca.pem"), "door_file": open.join("door"), "home_socket": door,
        "token": machine.operator,
    });
    let control = machine.tries("control", &target(victim.id(), &open, open_target), &WAYS);
    assert!(WAYS.len() >= 24);
    judge(&machine, &WAYS, &control, &attack);
    for mut client in clients {
        assert!(client.wait(PATIENCE).is_some_and(|status| status.success()));
    }
    assert_eq!(machine.upstream.journal().len(), 4, "what the operator approved was sent");
    recorded(&machine);
}

/// The record says who began the session: the user that the kernel named.
fn recorded(machine: &Machine) {
    let audit = |words: &[&str]| {
        let mut command = as_user(GATEWAY, "", &machine.path("valetkey"));
        command.env("VALETKEY_HOME", machine.path("state")).arg("audit").args(words);
        finish(command.current_dir(machine.folder.path()), PATIENCE).expect_success("audit").stdout
    };
    let began = audit(&["search", "--json", "session started for agent worker"]);
    assert!(began.contains(&format!("uid {AGENT} (uid-{AGENT}): session started")), "{began}");
    assert!(audit(&["verify"]).starts_with("verified "));
    machine.canary.assert_absent("the log", audit(&["export"]).as_bytes());
}

#[test]
fn the_socket_admits_its_group_and_whom_the_configuration_names() {
    let machine = Machine::new(511);
    let run = machine.folder_of(GATEWAY, "run", 0o755);
    let door = run.join("api.sock").display().to_string();
    let served = machine.serve(GATEWAY, &["--socket", &door, "--socket-group", &DOOR.to_string()]);
    for (uid, groups, agent, part) in [
        (AGENT, "", "worker", "you may not connect to"),
        (
            AGENT,
            "61104",
            "other",
            "may not begin a session for agent `other`; an operator allows it with `local_users`",
        ),
        (STRANGER, "61104", "worker", "user `uid-61103` (uid 61103) may not begin a session for agent `worker`"),
    ] {
        let refused = session(&machine, uid, groups, agent);
        assert!(refused.code() == Some(3) && refused.stderr.contains(part), "{}{}", refused.stdout, refused.stderr);
    }
    let begun = session(&machine, AGENT, "61104", "worker").expect_success("session start");
    let begun: Value = serde_json::from_str(&begun.stdout).unwrap();
    let end = |uid| {
        let mut command = as_user(uid, "61104", &machine.path("valetkey"));
        command.env("VALETKEY_SOCKET", &door).args(["session", "end", begun["session"].as_str().unwrap()]);
        finish(command.current_dir(machine.folder.path()), PATIENCE)
    };
    let refused = end(STRANGER);
    assert!(refused.code() == Some(3) && refused.stderr.contains("no such session"), "{}", refused.stderr);
    assert!(end(AGENT).expect_success("session end").stdout.starts_with("ended ses_"));
    let dead = finish(&mut curl(&begun, &["-f", "https://kit.echo.test/anything"]), PATIENCE);
    assert_ne!(dead.code(), Some(0), "{}", dead.stdout);
    drop(served);
}

#[test]
fn an_agent_of_the_same_user_gets_nothing_from_the_gateways_process() {
    let machine = Machine::new(521);
    let mut served = machine.serve(AGENT, &[]);
    let mut victim = machine.victim();
    let target = |pid: u32| json!({ "pid": pid, "mark": MARK });
    let attack = machine.tries("attack", &target(served.process.id()), &SAME_USER);
    let control = machine.tries("control", &target(victim.id()), &SAME_USER);
    judge(&machine, &SAME_USER, &control, &attack);
    // He may send signals; the twelfth way is the core file that one leaves.
    for pid in [served.process.id(), victim.id()] {
        let sent = machine.tries("abort", &target(pid), &["abort"]);
        assert!(sent["abort"].is_ok(), "{sent:?}");
    }
    let ended = [&mut served.process, &mut victim].map(|process| process.wait(PATIENCE).unwrap());
    assert_eq!(ended.map(|status| status.signal()), [Some(6), Some(6)]);
    assert_eq!(ended.map(|status| status.core_dumped()), [false, true], "core files: the gateway's, the control's");
}

#[test]
fn a_service_refuses_what_others_may_change() {
    let machine = Machine::new(531);
    machine.folder_of(GATEWAY, "state", 0o700);
    let serve = || {
        let mut command = as_user(GATEWAY, "", &machine.path("valetkey"));
        command.env("VALETKEY_HOME", machine.path("state")).current_dir(machine.folder.path());
        command.args(["serve", "--config", "valetkey.yaml", "--listen", "127.0.0.1:0"]);
        finish(&mut command, PATIENCE)
    };
    let cases: [(&str, u32, u32, &str); 6] = [
        ("valetkey.yaml", AGENT, 0o644, "valetkey.yaml` belongs to another user (uid 61102)"),
        ("echo.yaml", 0, 0o666, "echo.yaml` may be written by everybody (mode 666)"),
        ("upstream-ca.pem", GATEWAY, 0o664, "upstream-ca.pem` may be written by group 61101 (mode 664)"),
        ("state", GATEWAY, 0o777, "state` may be written by everybody (mode 777)"),
        ("state", AGENT, 0o700, "state` belongs to another user (uid 61102)"),
        (".", AGENT, 0o755, "which belongs to another user (uid 61102), who could exchange what is in it"),
    ];
    for (name, owner, bits, part) in cases {
        let path = machine.path(name);
        let before = std::fs::metadata(&path).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        mode(&path, bits);
        let refused = serve();
        assert_eq!(refused.code(), Some(3), "{name}: {}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains(part), "{name}: {}", refused.stderr);
        chown(&path, Some(before.uid()), Some(before.gid())).unwrap();
        mode(&path, before.mode() & 0o7777);
    }
}
