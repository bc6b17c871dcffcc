//! `scan` from the command line: what is found where, what is left out, and that no value is ever shown.

use std::path::Path;
use std::process::Command as System;

use assert_cmd::Command;
use serde_json::Value;

/// A key in two parts, so that nothing finds it here.
fn key(end: &str) -> String {
    ["sk_", "live_", "4q9Zr7TnB2vXw8Lk5Jh3"].concat() + end
}

struct Place {
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

    /// Path, line and kind of each finding.
    fn found(&self) -> Vec<(String, u64, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = self.json()["findings"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| (text(&one["path"]), one["line"].as_u64().unwrap_or(0), text(&one["kind"]))).collect()
    }
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::cargo_bin("valetkey").expect("built");
        let home = self.path().join("me");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &home).env("VALETKEY_HOME", home.join("state"));
        command.current_dir(self.path().join("work"));
        command
    }

    fn says_with(&self, line: &str, input: &str) -> Said {
        std::fs::create_dir_all(self.path().join("work")).expect("made");
        let output = self.command().args(line.split_whitespace()).write_stdin(input).output().expect("ran");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let said =
            Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
        assert!(!said.out.contains("4q9Zr7TnB2") && !said.err.contains("4q9Zr7TnB2"), "`{line}` shows a value");
        said
    }

    fn says(&self, line: &str) -> Said {
        self.says_with(line, "")
    }

    fn git(&self, line: &str) -> &Self {
        let settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        let mut git = System::new("git");
        git.current_dir(self.path().join("work")).args(settings).args(line.split(' ')).env("HOME", self.path());
        assert!(git.output().expect("git is installed").status.success(), "git {line}");
        self
    }
}

fn one(path: &str, line: u64) -> (String, u64, String) {
    (path.to_owned(), line, "stripe-key".to_owned())
}

#[test]
fn files_of_the_current_folder() {
    let place = Place::new();
    place.write("work/a/.env", &format!("A=1\nPAY={}\n", key("aB1x"))).write("work/clean.py", "token = None\n");
    place.write("work/binary", &format!("\0{}", key("aB1x")));
    place.write("outside", &key("aB1x"));
    std::os::unix::fs::symlink(place.path().join("outside"), place.path().join("work/link")).expect("linked");
    let said = place.says("scan");
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.starts_with("a/.env:2:5: Stripe secret key sk_live_...(32) as PAY [stripe-key, certain]\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("1 exposed secret in 2 files"), "{}", said.out);
    let said = place.says("scan --format json");
    assert_eq!((said.code, said.found()), (1, vec![one("a/.env", 2)]));
    assert_eq!(said.json()["binary"], 1);
    assert_eq!(place.says("scan --exit-zero").code, 0);
    let said = place.says("scan clean.py");
    assert_eq!((said.code, said.out.as_str()), (0, "no exposed secret in 1 file\n"), "{}", said.err);
    assert!(!place.path().join("me/state").exists(), "looking makes no home");
    assert_eq!(place.says_with("scan --json -", &format!("x\n{}", key("aB1x"))).found(), [one("-", 2)]);
}

#[test]
fn a_baseline_knows_what_it_saw() {
    let place = Place::new();
    place.write("work/.env", &format!("PAY={}\n", key("aB1x")));
    let said = place.says("scan --write-baseline known.json");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("1 findings written to `known.json`"), "{}", said.err);
    let said = place.says("scan --baseline known.json .env");
    assert_eq!((said.code, said.out.as_str()), (0, "no exposed secret in 1 file, 1 more in the baseline\n"));
    // Moved within its file it is known, another one is not.
    place.write("work/.env", &format!("# moved\n\nPAY={}\nNEW={}\n", key("aB1x"), key("cD2y")));
    assert_eq!(place.says("scan --json --baseline known.json .env").found(), [one(".env", 4)]);
    place.write("work/known.json", "{}");
    let said = place.says("scan --baseline known.json .env");
    assert_eq!(said.code, 3);
    assert!(
        said.err.contains("`known.json` is not a baseline; make one with --write-baseline")
            || said.err.contains("is not a baseline"),
        "{}",
        said.err
    );
}

#[test]
fn history_has_what_was_taken_out() {
    let place = Place::new();
    place
        .write("work/b.env", &format!("A=1\n\nPAY={}\n", key("aB1x")))
        .git("init -q .")
        .git("add -A")
        .git("commit -q -m one");
    place.write("work/b.env", "A=1\n").git("commit -q -a -m two");
    // Amended away: no branch has it any more.
    place.write("work/c.env", &format!("PAY={}\n", key("cD2y"))).git("add -A").git("commit -q -m three");
    place.write("work/c.env", "PAY=\n").git("commit -q -a --amend -m four");
    assert_eq!(place.says("scan").code, 0);
    let said = place.says("scan --git --json");
    assert_eq!((said.code, said.found()), (1, vec![one("b.env", 3), one("c.env", 1)]), "{}", said.err);
    let commit = said.json()["findings"][0]["commit"].as_str().map(str::len);
    assert_eq!(commit, Some(40));
}

#[test]
fn a_repository_runs_nothing() {
    let place = Place::new();
    let touch = format!("touch {}", place.path().join("ran").display());
    place.write("work/a.bin", &format!("PAY={}\n", key("aB1x"))).git("init -q .");
    place.write("work/.gitattributes", "* diff=bad\n").git("add -A").git("commit -q -m one");
    let config = place.path().join("work/.git/config");
    let text = std::fs::read_to_string(&config).expect("read");
    let bad = format!(
        "{text}[diff]\n\texternal = {touch}\n[diff \"bad\"]\n\ttextconv = {touch}\n\tcommand = {touch}\n[core]\n\tfsmonitor = {touch}\n\tpager = {touch}\n"
    );
    std::fs::write(&config, bad).expect("written");
    assert_eq!(place.says("scan --git --json").found().len(), 2);
    place.write("work/b.env", "B=1\n");
    assert_eq!(place.says("scan --staged").code, 0);
    assert!(!place.path().join("ran").exists(), "a program of the repository's configuration ran");
}

#[test]
fn the_hook_refuses_a_commit() {
    let place = Place::new();
    place.write("work/a.txt", "nothing\n").git("init -q .").git("add -A").git("commit -q -m one");
    let said = place.says("scan --install-hook");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(place.path().join("work/.git/hooks/pre-commit").exists());
    place.write("work/b.env", &format!("PAY={}\n", key("aB1x"))).git("add b.env");
    let said = place.says("scan --staged --json");
    assert_eq!((said.code, said.found()), (1, vec![one("b.env", 1)]));
    // The hook itself, with the program where it finds it.
    let program = assert_cmd::cargo::cargo_bin("valetkey");
    let path = format!("{}:/usr/bin:/bin", program.parent().expect("a folder").display());
    let commit = || {
        let mut git = System::new("git");
        git.current_dir(place.path().join("work")).env_clear().env("PATH", &path).env("HOME", place.path());
        git.args(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "two"]);
        git.output().expect("git is installed").status.success()
    };
    assert!(!commit(), "the commit was made");
    place.write("work/b.env", "PAY=\n").git("add b.env");
    assert!(commit(), "a clean commit was refused");
    assert_eq!(place.says("scan --install-hook").code, 0, "once more changes nothing");
    place.write("work/.git/hooks/pre-commit", "#!/bin/sh\nexit 0\n");
    let said = place.says("scan --install-hook");
    assert_eq!(said.code, 3);
    assert!(said.err.contains("add the line `valetkey scan --staged || exit 1` to it"), "{}", said.err);
}

#[test]
fn files_of_the_home() {
    let place = Place::new();
    let line = format!("{{\"message\":\"run it with PAY={} please\"}}\n", key("aB1x"));
    place
        .write("me/.claude/projects/p/1.jsonl", &line)
        .write("me/.bash_history", &format!("ls\nexport PAY={}\n", key("cD2y")));
    place.write(
        "work/.mcp.json",
        &format!("{{\"mcpServers\": {{\"pay\": {{\"env\": {{\"PAY\": \"{}\"}}}}}}}}", key("eF3z")),
    );
    place.write("me/.npm/_logs/1.log", &format!("PAY={}\n", key("gH4w")));
    let count = |line: &str| place.says(line).found().len();
    assert_eq!(count("scan --json --transcripts"), 1);
    assert_eq!(count("scan --json --history"), 1);
    assert_eq!(count("scan --json --agents"), 1);
    assert_eq!(count("scan --json --logs"), 1);
    assert_eq!(count("scan --json --home"), 4);
}

#[test]
fn ignored_files_can_be_left_out() {
    let place = Place::new();
    place.write("work/.env", &format!("PAY={}\n", key("aB1x"))).write("work/.gitignore", ".env\n").git("init -q .");
    assert_eq!(place.says("scan").code, 1);
    assert_eq!(place.says("scan --skip-ignored").code, 0);
}

#[test]
fn sarif_is_as_code_hosts_take_it() {
    let place = Place::new();
    place.write("work/a b.env", &format!("PAY={}\n", key("aB1x")));
    let log = place.says("scan --format sarif").json();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "stripe-key");
    let result = &run["results"][0];
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!((&result["ruleId"], &result["ruleIndex"]), (&Value::from("stripe-key"), &Value::from(0)));
    assert_eq!(
        (&place["artifactLocation"]["uri"], &place["region"]["startLine"]),
        (&Value::from("a%20b.env"), &Value::from(1))
    );
    assert_eq!(result["partialFingerprints"]["valetkeySecret/v1"].as_str().map(str::len), Some(20));
}

#[test]
fn errors() {
    let place = Place::new();
    place.write("work/known.json", "{\"version\": 2, \"findings\": []}");
    for (line, code, part) in [
        ("scan nowhere", 3, "`nowhere` cannot be looked at; check the path and its permissions"),
        ("scan --git", 3, "name a folder that is a git repository"),
        ("scan --staged", 3, "name a folder that is a git repository"),
        ("scan --staged a b", 2, "name one repository, or none for that of the current folder"),
        ("scan --install-hook", 3, "name a folder that is a git repository"),
        ("scan --baseline none.json", 3, "does not exist; make it with --write-baseline"),
        ("scan --baseline known.json", 3, "has version 2, this program knows 1"),
        ("scan --write-baseline no/where.json", 3, "the baseline `no/where.json` cannot be written"),
        ("scan --format xml", 2, "invalid value 'xml'"),
        ("scan --staged --git", 2, "cannot be used with"),
        ("scan --max-size 0", 2, "0 is not in"),
    ] {
        let said = place.says(line);
        assert_eq!(said.code, code, "`{line}`: {}{}", said.out, said.err);
        assert!(said.err.contains(part), "`{line}` says\n{}\nand not\n{part}", said.err);
        assert!(said.out.is_empty(), "`{line}` writes to standard output: {}", said.out);
    }
}
