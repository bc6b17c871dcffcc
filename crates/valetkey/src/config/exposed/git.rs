//! What changed, as git tells it: a stream of added lines, each with its commit, file and number.
//!
//! git runs programs that a repository's configuration names (text conversion, external diffs, file system monitors, lazy
//! fetching); all of them are switched off, because the repository may be a stranger's.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// Added lines that are given together; a file of a commit is given in several pieces if it has more.
const PIECE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Which changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Every commit that can be reached, also from the log of references: what was amended away is still there.
    History,
    /// What the next commit would hold.
    Staged,
}

/// Added lines of one file in one commit, or the message of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The commit; none for what is staged.
    pub commit: Option<String>,
    /// The file; none for the message.
    pub path: Option<String>,
    /// The lines, each with its end.
    pub octets: Vec<u8>,
    /// Where a run of lines that follow each other begins: place in `octets`, number in the file.
    runs: Vec<(usize, u64)>,
}

impl Piece {
    /// The number in the file of a line of the piece, from 1.
    pub fn line(&self, place: usize) -> u64 {
        let run = self.runs.iter().rev().find(|(start, _)| *start <= place);
        run.map_or(1, |(start, number)| {
            let between = self.octets.get(*start..place).unwrap_or_default();
            number + between.split(|octet| *octet == b'\n').count() as u64 - 1
        })
    }
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder);
    for setting in ["core.quotePath=false", "core.fsmonitor=false", "log.showSignature=false", "diff.noprefix=false"] {
        command.args(["-c", setting]);
    }
    command.envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_NO_LAZY_FETCH", "1")]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn output(mut command: Command) -> anyhow::Result<std::process::Output> {
    command.stdout(Stdio::piped()).output().context("git cannot be started; install it, or leave the option out")
}

/// Files that git would not leave out; none where it is no repository.
pub(super) fn listed(folder: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let mut command = git(folder);
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let done = output(command)?;
    let names = done.stdout.split(|octet| *octet == 0).filter(|name| !name.is_empty());
    Ok(done.status.success().then(|| names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()))
}

/// The folder of hooks, relative to `folder` or absolute.
///
/// # Errors
/// It is no repository.
pub(super) fn hooks(folder: &Path) -> anyhow::Result<String> {
    let mut command = git(folder);
    command.args(["rev-parse", "--git-path", "hooks"]);
    let done = output(command)?;
    if !done.status.success() {
        bail!(not_a_repository(folder, &done.stderr));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
}

fn not_a_repository(folder: &Path, said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let first = said.lines().next().unwrap_or("it ended without a word").trim();
    format!("git cannot read `{}`: {first}; name a folder that is a git repository", folder.display())
}

/// A running git whose changes are read.
pub struct Changes {
    child: Child,
    reader: Reader<BufReader<std::process::ChildStdout>>,
    folder: std::path::PathBuf,
    /// Reads what git complains about, so that it never waits for us.
    said: Option<std::thread::JoinHandle<Vec<u8>>>,
}

/// What git complained about is kept this far.
const SAID_BYTES_MAX: u64 = 4_096;

impl Changes {
    /// Starts git.
    ///
    /// # Errors
    /// It cannot be started, or it is no repository.
    pub fn of(folder: &Path, what: What) -> anyhow::Result<Self> {
        // Outside of a repository `git diff` compares files, and complains of other things.
        hooks(folder)?;
        let mut command = git(folder);
        match what {
            // Oldest first: what is shown of a secret is the commit that brought it.
            What::History => command.args(["log", "--all", "--reflog", "--reverse", "--cc", "-p", "--format=medium"]),
            What::Staged => command.args(["diff", "--cached"]),
        };
        command.args(["-U0", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"]);
        command.args(["--src-prefix=a/", "--dst-prefix=b/"]).stdout(Stdio::piped());
        let mut child = command.spawn().context("git cannot be started; install it, or leave the option out")?;
        let out = child.stdout.take().context("git has no output")?;
        let reader = Reader::new(BufReader::with_capacity(256 * 1024, out));
        let said = child.stderr.take().map(|mut stream| {
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let _ = stream.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut head);
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
                head
            })
        });
        Ok(Self { child, reader, folder: folder.to_owned(), said })
    }

    /// The next piece.
    ///
    /// # Errors
    /// git failed: it is no repository, or it is damaged.
    pub fn next(&mut self) -> anyhow::Result<Option<Piece>> {
        if let Some(piece) = self.reader.next()? {
            return Ok(Some(piece));
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(None);
        }
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        bail!(not_a_repository(&self.folder, &said))
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the output of `git log -p` and `git diff`.
struct Reader<R> {
    input: R,
    piece: Piece,
    place: Place,
    /// Columns of `+`, `-` and blank before a line: one for each parent.
    columns: usize,
    /// The number of the next line in the file.
    number: u64,
    /// Whether the next line follows the last one.
    follows: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Message,
    Head,
    Lines,
}

impl<R: BufRead> Reader<R> {
    fn new(input: R) -> Self {
        Self { input, piece: Piece::default(), place: Place::Head, columns: 1, number: 1, follows: false }
    }

    fn next(&mut self) -> std::io::Result<Option<Piece>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            // Lines longer than a piece come in parts; a part is a line of its own, with the same number.
            let whole = self.part(&mut line)?;
            if line.is_empty() {
                return Ok(self.full(0));
            }
            if let Some(done) = self.line(&line) {
                return Ok(Some(done));
            }
            if !whole || self.piece.octets.len() >= PIECE_BYTES_MAX {
                let (commit, path) = (self.piece.commit.clone(), self.piece.path.clone());
                let done = self.full(0);
                self.piece = Piece { commit, path, ..Piece::default() };
                self.follows = false;
                if !whole {
                    self.rest_of_line(&mut line)?;
                }
                if done.is_some() {
                    return Ok(done);
                }
            }
        }
    }

    /// A line with its end, or its first part; whether it is whole.
    fn part(&mut self, line: &mut Vec<u8>) -> std::io::Result<bool> {
        let mut limited = Read::take(&mut self.input, PIECE_BYTES_MAX as u64);
        limited.read_until(b'\n', line)?;
        Ok(line.last() == Some(&b'\n') || line.len() < PIECE_BYTES_MAX)
    }

    /// What follows the first part of a very long line, given as lines of the same file.
    fn rest_of_line(&mut self, line: &mut Vec<u8>) -> std::io::Result<()> {
        let added = self.place == Place::Lines && line.first() == Some(&b'+');
        loop {
            line.clear();
            let whole = self.part(line)?;
            if added && self.piece.octets.len() < 2 * PIECE_BYTES_MAX {
                self.piece.runs.push((self.piece.octets.len(), self.number.saturating_sub(1)));
                self.piece.octets.extend_from_slice(line);
            }
            if whole {
                return Ok(());
            }
        }
    }

    /// The piece so far, if it holds more than `least` octets.
    fn full(&mut self, least: usize) -> Option<Piece> {
        let done = std::mem::take(&mut self.piece);
        (done.octets.len() > least).then_some(done)
    }

    /// Takes a line; the piece that ends with it.
    fn line(&mut self, line: &[u8]) -> Option<Piece> {
        if self.place == Place::Lines && matches!(line.first(), Some(b'+' | b'-' | b' ' | b'\\')) {
            self.content(line);
            return None;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(hash) = text.strip_prefix(b"commit ") {
            let hash: Vec<u8> = hash.iter().copied().take_while(u8::is_ascii_hexdigit).collect();
            let done = self.full(0);
            self.piece.commit = Some(String::from_utf8_lossy(&hash).into_owned());
            (self.place, self.number, self.follows) = (Place::Message, 1, false);
            return done;
        }
        if text.starts_with(b"diff --") {
            let commit = self.piece.commit.clone();
            let done = self.full(0);
            self.piece.commit = commit;
            self.place = Place::Head;
            return done;
        }
        match self.place {
            Place::Message => {
                if let Some(said) = line.strip_prefix(b"    ") {
                    self.add(said);
                }
            }
            _ if text.starts_with(b"@@") => self.hunk(text),
            _ => {
                if let Some(name) = text.strip_prefix(b"+++ b/") {
                    let name = name.strip_suffix(b"\t").unwrap_or(name);
                    self.piece.path = Some(String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        None
    }

    /// `@@ -1,2 +3,4 @@`, with one more `@` for each further parent.
    fn hunk(&mut self, text: &[u8]) {
        self.columns = text.iter().take_while(|octet| **octet == b'@').count().saturating_sub(1).max(1);
        let text = String::from_utf8_lossy(text);
        let start = text.split(' ').find_map(|word| word.strip_prefix('+')).unwrap_or("1");
        self.number = start.split(',').next().and_then(|number| number.parse().ok()).unwrap_or(1);
        (self.place, self.follows) = (Place::Lines, false);
    }

    fn content(&mut self, line: &[u8]) {
        let Some((marks, text)) = line.split_at_checked(self.columns.min(line.len())) else { return };
        if marks.first() == Some(&b'\\') || marks.contains(&b'-') {
            return;
        }
        if marks.contains(&b'+') {
            self.add(text);
        } else {
            self.number += 1;
            self.follows = false;
        }
    }

    fn add(&mut self, text: &[u8]) {
        if !self.follows {
            self.piece.runs.push((self.piece.octets.len(), self.number));
            self.follows = true;
        }
        self.piece.octets.extend_from_slice(text);
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<Piece> {
        let mut reader = Reader::new(text.as_bytes());
        std::iter::from_fn(|| reader.next().expect("read")).collect()
    }

    #[test]
    fn a_log_is_read() {
        let text = "commit 00ff\nAuthor: A <a@b>\n\n    first\n    commit bad\n\ndiff --git a/x y b/x y\nnew file mode 100644\n--- /dev/null\n+++ b/x y\t\n@@ -0,0 +1,2 @@\n+one\n++++ b/two\n@@ -5 +9,2 @@ fn a() {\n-old\n+nine\n+ten\n\\ No newline at end of file\ncommit 00aa\nMerge: 1 2\n\n    m\n\ndiff --cc z\n--- a/z\n+++ b/z\n@@@ -1,1 -1,1 +1,2 @@@\n  same\n++evil\n -gone\n";
        let all = pieces(text);
        let shown: Vec<_> = all
            .iter()
            .map(|piece| {
                (piece.commit.as_deref(), piece.path.as_deref(), std::str::from_utf8(&piece.octets).expect("text"))
            })
            .collect();
        assert_eq!(
            shown,
            [
                (Some("00ff"), None, "first\ncommit bad\n"),
                (Some("00ff"), Some("x y"), "one\n+++ b/two\nnine\nten\n"),
                (Some("00aa"), None, "m\n"),
                (Some("00aa"), Some("z"), "evil\n"),
            ]
        );
        let lines: Vec<u64> = [0, 4, 14, 19].map(|at| all.get(1).map_or(0, |piece| piece.line(at))).to_vec();
        assert_eq!(lines, [1, 2, 9, 10]);
        assert_eq!(all.get(3).map(|piece| piece.line(0)), Some(2));
    }

    #[test]
    fn a_line_without_an_end_is_given_in_parts() {
        let long = "x".repeat(PIECE_BYTES_MAX + 100);
        let all = pieces(&format!("diff --git a/m b/m\n+++ b/m\n@@ -0,0 +1,2 @@\n+{long}\n+last\n"));
        let total: usize = all.iter().map(|piece| piece.octets.len()).sum();
        assert_eq!(total, long.len() + 1 + 5);
        assert!(all.iter().all(|piece| piece.path.as_deref() == Some("m")));
    }
}
