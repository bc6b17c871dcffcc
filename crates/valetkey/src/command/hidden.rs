//! Secrets that a person types: from standard input, or at a prompt that does not echo.

use std::io::{IsTerminal, Read, Write};

use model::bounds;

/// Reads what `asks` for; at most one octet more than a secret may have, so that the caller can tell.
///
/// # Errors
/// Standard input cannot be read.
pub(super) fn read(asks: &str) -> anyhow::Result<Vec<u8>> {
    let stdin = std::io::stdin();
    let mut bytes = Vec::with_capacity(4_096);
    if stdin.is_terminal() {
        let hidden = Hidden::begin()?;
        let _ = write!(std::io::stderr(), "{asks} (not shown): ");
        read_line(&mut bytes)?;
        drop(hidden);
        let _ = writeln!(std::io::stderr());
    } else {
        stdin.lock().take(bounds::SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn read_line(into: &mut Vec<u8>) -> anyhow::Result<()> {
    // Octet by octet from the descriptor: a buffered reader would leave a copy of the value behind.
    let mut byte = [0u8; 1];
    while rustix::io::read(rustix::stdio::stdin(), &mut byte)? == 1 && into.len() <= bounds::SECRET_BYTES_MAX {
        into.extend_from_slice(&byte);
        if byte == *b"\n" {
            break;
        }
    }
    Ok(())
}

/// A terminal that does not echo, until this is dropped.
struct Hidden {
    before: rustix::termios::Termios,
}

impl Hidden {
    fn begin() -> anyhow::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(rustix::stdio::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL);
        // What was typed before the prompt stood is not the value.
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let now = rustix::termios::OptionalActions::Now;
        let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), now, &self.before);
    }
}
