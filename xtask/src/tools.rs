//! What the tests need besides Rust: a few Debian packages, Python clients in a virtual environment, Node clients in a
//! folder. All of it below `target/tools`, except the packages of the system.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// A program and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("faketime", "faketime"),
    ("certutil", "libnss3-tools"),
    ("gh", "gh"),
    ("git", "git"),
    ("h2load", "nghttp2-client"),
    ("ip", "iproute2"),
    ("java", "default-jdk-headless"),
    ("cvc5", "cvc5"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("ruby", "ruby"),
    ("python3", "python3-venv"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("vim", "vim"),
    ("wget", "wget"),
];

/// Where the tools are.
pub fn folder(root: &Path) -> PathBuf {
    root.join("target/tools")
}

/// Installs what is missing; afterwards everything that a test needs is there.
pub fn install(root: &Path) -> Result<PathBuf> {
    packages(PROGRAMS)?;
    let tools = folder(root);
    std::fs::create_dir_all(&tools)?;
    python(root, &tools).context("cannot install the Python clients")?;
    node(root, &tools).context("cannot install the Node clients")?;
    println!("tools: {}", tools.display());
    Ok(tools)
}

/// Installs what `bench --postgres` alone needs.
pub fn bench_postgres() -> Result<()> {
    packages(&[("setpriv", "util-linux"), ("openssl", "openssl"), ("pgbouncer", "pgbouncer")])
}

fn packages(programs: &[(&str, &'static str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !shell::exists(program)).map(|(_, package)| *package).collect();
    if !Path::new("/usr/lib/postgresql").exists() {
        missing.push("postgresql");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let here = Path::new("/");
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let root = shell::output(&mut shell::command(here, "id -u"))?.trim() == "0";
    if !root || !shell::exists("apt-get") {
        bail!("these programs are missing; install them with: sudo {install}");
    }
    println!("tools: {install}");
    shell::run(&mut shell::command(here, "apt-get update -qq"))?;
    shell::run(shell::command(here, &install).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Runs `install` unless the stamp says that this list was installed already.
fn once(stamp: &Path, list: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    list.hash(&mut hasher);
    let want = format!("{:016x}", hasher.finish());
    if std::fs::read_to_string(stamp).is_ok_and(|have| have == want) {
        return Ok(());
    }
    install()?;
    Ok(std::fs::write(stamp, want)?)
}

fn python(root: &Path, tools: &Path) -> Result<()> {
    let list = root.join("tests/e2e/requirements.txt");
    let text = std::fs::read_to_string(&list)?;
    once(&tools.join("python.stamp"), &text, || {
        let venv = tools.join("venv");
        shell::run(shell::command(root, "python3 -m venv").arg(&venv))?;
        // Not `bin/pip`: it names the folder that it was made in, and in a copy of the tools that is another's.
        let python = venv.join("bin/python").display().to_string();
        shell::run(
            shell::command(root, &format!("{python} -m pip install -q --disable-pip-version-check -r")).arg(&list),
        )
    })
}

fn node(root: &Path, tools: &Path) -> Result<()> {
    let list = root.join("tests/e2e/package.json");
    let text = std::fs::read_to_string(&list)?;
    once(&tools.join("node.stamp"), &text, || {
        let folder = tools.join("node");
        std::fs::create_dir_all(&folder)?;
        std::fs::copy(&list, folder.join("package.json"))?;
        let line = "npm install --no-audit --no-fund --no-package-lock --loglevel=error";
        shell::run(&mut shell::command(&folder, line))
    })
}
