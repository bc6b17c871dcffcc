//! What goes to the user: lines on standard output, remarks on standard error, colour on terminals only.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;

static COLOUR: OnceLock<bool> = OnceLock::new();

/// Says once whether colour is welcome at all (`NO_COLOR`, `TERM`).
pub fn allow_colour(allowed: bool) {
    let _ = COLOUR.set(allowed);
}

/// A line on standard output. When nobody reads any more (`valetkey audit tail | head`) the program has done what it was
/// asked to.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        sandbox::restore_terminal();
        std::process::exit(0);
    }
}

/// A remark on standard error.
pub fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What the user should know, on standard error; `run` says everything of its own this way.
pub fn note(text: &str) {
    remark(&format!("{} {}", Paint::of_stderr().faint("valetkey:"), safe(text)));
}

/// What the user must know, on standard error.
pub fn warn(text: &str) {
    remark(&format!("{} {}", Paint::of_stderr().bad("valetkey: warning:"), safe(text)));
}

/// One JSON value on one line.
///
/// # Errors
/// The value has no JSON form.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?);
    Ok(())
}

/// Text of foreign origin, fit for a terminal: nothing in it can move the cursor or hide.
pub fn safe(text: &str) -> String {
    sandbox::visible(text)
}

/// One word as a POSIX shell takes it, whatever stands in it.
pub fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A table with aligned columns; the last one is not padded.
pub fn table(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let longest = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(head.get(column).map_or(0, |cell| cell.chars().count()))
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let join = |cells: &[String]| {
        let mut text = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let pad = widths.get(at).copied().unwrap_or(0).saturating_sub(cell.chars().count());
            text.push_str(cell);
            if at + 1 < cells.len() {
                text.push_str(&" ".repeat(pad + 2));
            }
        }
        text
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    line(&Paint::of_stdout(true).faint(&join(&head)));
    for row in rows {
        let row: Vec<String> = row.iter().map(|cell| safe(cell)).collect();
        line(&join(&row));
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    fn new(wanted: bool) -> Self {
        Self { on: wanted && *COLOUR.get().unwrap_or(&false) }
    }

    /// For standard output, where it is a terminal and colour is welcome.
    pub fn of_stdout(wanted: bool) -> Self {
        Self::new(wanted && io::stdout().is_terminal())
    }

    /// For standard error, where it is a terminal and colour is welcome.
    pub fn of_stderr() -> Self {
        Self::new(io::stderr().is_terminal())
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Bold.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Faint.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Green.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Red.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }
}
