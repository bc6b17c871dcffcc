//! What a package installs: the unit of the service and its users.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use testkit::process::finish;

const PATIENCE: Duration = Duration::from_secs(90);

fn unit() -> String {
    std::fs::read_to_string(e2e::house::root().join("packaging/systemd/valetkey.service")).unwrap()
}

#[test]
fn the_units_settings_are_those_that_the_guide_promises() {
    let unit = unit();
    let mut section = "";
    let mut found: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for line in unit.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=') {
            found.entry((section, key)).or_default().push(value);
        }
    }
    for (key, value) in [
        ("Type", "notify"),
        ("User", "valetkey"),
        ("StateDirectoryMode", "0700"),
        ("LimitCORE", "0"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("ProtectProc", "invisible"),
        ("UMask", "0077"),
    ] {
        assert_eq!(found.get(&("Service", key)), Some(&vec![value]), "{key}");
    }
    assert_eq!(found[&("Service", "SystemCallFilter")].first(), Some(&"@system-service"));
    let users = std::fs::read_to_string(e2e::house::root().join("packaging/sysusers.d/valetkey.conf")).unwrap();
    for line in ["u valetkey ", "g valetkey-agents ", "m valetkey valetkey-agents"] {
        assert!(users.lines().any(|known| known.starts_with(line)), "{line}");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let there = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        // The settings themselves are read by `the_units_settings_are_those_that_the_guide_promises`.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("valetkey.service");
    std::fs::write(&copy, unit().replace("/usr/bin/valetkey", &e2e::house::binary().display().to_string())).unwrap();
    let analyze = |words: &[&str]| {
        let mut command = Command::new("systemd-analyze");
        command.args(words).arg(&copy).env("SYSTEMD_PAGER", "");
        finish(&mut command, PATIENCE)
    };
    let verified = analyze(&["verify", "--man=no"]);
    assert!(verified.code() == Some(0) && verified.stderr.is_empty(), "{}{}", verified.stdout, verified.stderr);
    // 0 is nothing exposed, 100 is everything; an ordinary service has 96.
    let exposed = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    assert_eq!(exposed.code(), Some(0), "{}", exposed.stdout.lines().rev().take(3).collect::<Vec<_>>().join("\n"));
}
