//! Running other programs, with what they print passed on and kept.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program with arguments in one line of words, run in `folder`. No shell: words are split at blanks.
pub fn command(folder: &Path, line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs it with its output passed on; an error where it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs it in silence and returns its standard output; an error with its standard error where it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}: {}", shown(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs it, passes every line on as it comes, and returns whether it succeeded and all lines.
pub fn watched(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let errors = child.stderr.take().map(|from| std::thread::spawn(move || lines(from, true)));
    let mut all = child.stdout.take().map(|from| lines(from, false)).unwrap_or_default();
    all.extend(errors.and_then(|thread| thread.join().ok()).unwrap_or_default());
    Ok((child.wait()?.success(), all))
}

fn lines(from: impl Read, error: bool) -> Vec<String> {
    let mut all = Vec::new();
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        if error {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
        all.push(line);
    }
    all
}

/// Whether a program can be started at all.
pub fn exists(program: &str) -> bool {
    let folders = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    folders.iter().any(|folder| Path::new(folder).join(program).exists())
        || Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.iter().map(|word| format!("`{}`", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}
