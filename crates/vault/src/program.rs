//! Runs a program for its output: no shell, bounded in time and size, its whole process group killed when it is late.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use model::bounds;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::Ambient;

/// What to run.
pub(crate) struct Program<'a> {
    pub argv: &'a [String],
    pub folder: &'a Path,
    /// Written to its standard input, which is closed afterwards.
    pub input: &'a [u8],
    pub seconds: u64,
    pub output_bytes_max: usize,
}

/// Why there is no output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProgramError {
    /// It could not be started.
    Start(String),
    /// It ended with this status (128 and the signal where one killed it).
    Failed(i32),
    /// It took too long.
    Late(u64),
    /// It wrote too much.
    Long(usize),
}

/// Kills the group unless the program has ended: also when the task that waits is cancelled.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The group's first process is not reaped yet, so the number is still its own.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the program that opens the system's keychain, which may ask the user first. None where it is not on the `PATH`.
pub(crate) async fn ask_keychain(
    ambient: &Ambient,
    (name, arguments): (&str, &[&str]),
    input: &[u8],
    output_bytes_max: usize,
) -> Option<Result<Zeroizing<Vec<u8>>, ProgramError>> {
    let found = ambient.program(name)?;
    let mut argv = vec![found.display().to_string()];
    argv.extend(arguments.iter().map(|word| (*word).to_owned()));
    let (folder, seconds) = (Path::new("/"), bounds::KEYCHAIN_SECONDS_MAX);
    Some(Program { argv: &argv, folder, input, seconds, output_bytes_max }.run().await)
}

impl Program<'_> {
    /// Its standard output. Standard error goes nowhere: it may hold what we must not log.
    pub async fn run(self) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let (first, rest) = self.argv.split_first().ok_or_else(|| ProgramError::Start("no program".to_owned()))?;
        let mut child = Command::new(first)
            .args(rest)
            .current_dir(self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| ProgramError::Start(error.to_string()))?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (mut to, from) = (child.stdin.take(), child.stdout.take());
        // Reserved whole: growing would leave copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(self.output_bytes_max + 1));
        let talk = async {
            if let Some(to) = &mut to {
                // A program that does not read its input may have closed it.
                let _ = to.write_all(self.input).await;
            }
            drop(to);
            if let Some(from) = from {
                let _ = from.take(self.output_bytes_max as u64 + 1).read_to_end(&mut out).await;
            }
            if out.len() > self.output_bytes_max {
                return Err(ProgramError::Long(self.output_bytes_max));
            }
            child.wait().await.map_err(|error| ProgramError::Start(error.to_string()))
        };
        let status = match tokio::time::timeout(Duration::from_secs(self.seconds), talk).await {
            Ok(status) => status?,
            Err(_) => return Err(ProgramError::Late(self.seconds)),
        };
        group.0 = None;
        if status.success() {
            return Ok(out);
        }
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        Err(ProgramError::Failed(status.code().unwrap_or(128 + signal)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(argv: &[&str], seconds: u64) -> Result<Zeroizing<Vec<u8>>, ProgramError> {
        let argv: Vec<String> = argv.iter().map(|word| (*word).to_owned()).collect();
        let folder = Path::new("/");
        Program { argv: &argv, folder, input: b"in", seconds, output_bytes_max: 8 }.run().await
    }

    #[tokio::test]
    async fn output_status_and_bounds() {
        assert_eq!(run(&["cat"], 10).await.expect("output").as_slice(), b"in");
        assert_eq!(run(&["sh", "-c", "exit 3"], 10).await.err(), Some(ProgramError::Failed(3)));
        assert_eq!(run(&["sh", "-c", "kill -9 $$"], 10).await.err(), Some(ProgramError::Failed(137)));
        assert_eq!(run(&["yes"], 10).await.err(), Some(ProgramError::Long(8)));
        assert!(matches!(run(&["/nonexistent"], 10).await, Err(ProgramError::Start(_))));
    }

    #[tokio::test]
    async fn a_late_program_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("sleep 1000 & echo $! > {}/pid; wait", folder.path().display());
        assert_eq!(run(&["sh", "-c", &script], 1).await.err(), Some(ProgramError::Late(1)));
        let pid = std::fs::read_to_string(folder.path().join("pid")).expect("pid");
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..200 {
            // Gone, or dead and waiting for whoever adopts orphans here.
            match std::fs::read_to_string(&stat) {
                Ok(text) if !text.contains(") Z ") => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => return,
            }
        }
        panic!("the child of a late program lives on");
    }
}
