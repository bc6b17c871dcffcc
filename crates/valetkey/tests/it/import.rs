//! `import` from the command line: what moves, what stays, what is shown, and that undoing gives back every octet.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("made");
        std::fs::write(path, text).expect("written");
        self
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("read")
    }

    fn says(&self, line: &str) -> Said {
        std::fs::create_dir_all(self.path("work")).expect("made");
        let mut command = Command::cargo_bin("valetkey").expect("built");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.path("me"))
            .env("VALETKEY_HOME", self.path("state"));
        let output = command.current_dir(self.path("work")).args(line.split_whitespace()).output().expect("ran");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let said =
            Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
        assert!(!said.out.contains("4q9Zr7TnB2") && !said.err.contains("4q9Zr7TnB2"), "`{line}` shows a value");
        said
    }

    /// Every octet of the state folder.
    fn state(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut folders = vec![self.path("state")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("read").flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    all.extend(std::fs::read(entry.path()).unwrap_or_default());
                }
            }
        }
        all
    }
}

fn holds(hay: &[u8], needle: &str) -> bool {
    hay.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn moves_and_gives_back() {
    let place = Place::new();
    let one = key("aB1x");
    let other = key("cD2y");
    let env = format!(
        "# pay\nSTRIPE_API_KEY={one}\nPORT=1\nSHOP_KEY=\"{other}\"\nAGAIN={one}\nURL=https://a:{one}@h/\nDB_PASSWORD=Kiel2024!xyZ\n"
    );
    place.write("work/.env", &env);
    std::fs::set_permissions(place.path("work/.env"), std::fs::Permissions::from_mode(0o640)).expect("set");
    place.write(
        "work/.mcp.json",
        &format!("{{\"mcpServers\": {{\"pay\": {{\"env\": {{\"SHOP_KEY\": \"{other}\"}}}}}}}}"),
    );
    let mcp = place.read("work/.mcp.json");

    let said = place.says("import --dry-run");
    assert_eq!(said.code, 0, "{}", said.err);
    let diff = ".env:2 (stripe)\n  - STRIPE_API_KEY=sk_live_...(32)\n  + STRIPE_API_KEY=valetkey://stripe-api-key\n";
    assert!(said.out.contains(diff), "{}", said.out);
    assert!(said.err.contains(".env:6:") && said.err.contains("it is part of a larger value"), "{}", said.err);
    assert!(said.err.contains("no service knows it, so that it could not be used from the vault"), "{}", said.err);
    assert_eq!(place.read("work/.env"), env, "--dry-run wrote");

    let said = place.says("import");
    assert_eq!(said.code, 2);
    assert!(said.err.contains("nobody can be asked without a terminal; --yes does it without asking"), "{}", said.err);

    let said = place.says("import --yes");
    assert_eq!(said.code, 0, "{}", said.err);
    let after = env
        .replacen(&one, "valetkey://stripe-api-key", 1)
        .replacen(&format!("AGAIN={one}"), "AGAIN=valetkey://stripe-api-key", 1)
        .replace(&other, "valetkey://stripe-shop-key");
    assert_eq!(place.read("work/.env"), after);
    assert_eq!(place.read("work/.mcp.json"), mcp.replace(&other, "valetkey://stripe-shop-key"));
    let mode = std::fs::metadata(place.path("work/.env")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let state = place.state();
    assert!(!holds(&state, &one) && !holds(&state, &other), "a value lies in the home in plain text");
    let left: Vec<_> =
        std::fs::read_dir(place.path("work")).expect("read").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "something was left beside the files: {left:?}");
    let listed: Value = serde_json::from_str(&place.says("credential list --json").out).expect("json");
    let names: Vec<&str> =
        listed.as_array().expect("a list").iter().filter_map(|one| one["credential"].as_str()).collect();
    assert_eq!(names, ["stripe-api-key", "stripe-shop-key"]);
    assert_eq!(place.says("import").out, "nothing to move\n");

    // What was written since stays.
    place.write("work/.env", &(after + "NEW=1\n"));
    let said = place.says("import --undo --yes");
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(place.read("work/.env"), env + "NEW=1\n");
    assert_eq!(place.read("work/.mcp.json"), mcp);
    assert!(place.says("credential list").out.contains("no credential is stored"));
    let said = place.says("import --undo --yes");
    assert_eq!(said.code, 1);
    assert!(said.err.contains("no import of this home can be undone"), "{}", said.err);
}

#[test]
fn names_that_are_taken_are_not_used_again() {
    let place = Place::new();
    place.write("work/.env", &format!("STRIPE_API_KEY={}\n", key("aB1x")));
    assert_eq!(place.says("import --yes").code, 0);
    place.write("work/.env", &format!("STRIPE_API_KEY={}\n", key("cD2y")));
    assert_eq!(place.says("import --yes").code, 0);
    assert_eq!(place.read("work/.env"), "STRIPE_API_KEY=valetkey://stripe-api-key-2\n");
    assert_eq!(place.says("import --undo --yes").code, 0);
    assert_eq!(place.read("work/.env"), format!("STRIPE_API_KEY={}\n", key("cD2y")));
    assert_eq!(place.says("import --undo --yes").code, 0, "the first one can be undone too");
}

#[test]
fn errors() {
    let place = Place::new();
    place.write("work/a.py", &format!("KEY = \"{}\"\n", key("aB1x")));
    for (line, code, part) in [
        ("import nowhere", 3, "`nowhere` cannot be looked at; check the path and its permissions"),
        ("import a.py", 1, "it does not stand in a file of settings"),
        ("import --undo --dry-run", 2, "cannot be used with"),
        ("import --undo", 1, "no import of this home can be undone; `valetkey credential list`"),
    ] {
        let said = place.says(line);
        assert_eq!(said.code, code, "`{line}`: {}{}", said.out, said.err);
        assert!(said.err.contains(part), "`{line}` says\n{}\nand not\n{part}", said.err);
    }
    assert_eq!(place.says("import").code, 1, "nothing to move is an honest no");
}
