//! Why an agent could not be started or asked about.

use std::io;
use std::path::PathBuf;

use crate::exit::OUR_FAILURE;

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// No command was given.
    #[error("no command to run; give one after `--`, such as `valetkey run -- bash`")]
    NoCommand,
    /// The program does not exist.
    #[error("`{program}` was not found; check the spelling, or give its path")]
    NotFound {
        /// As it was typed.
        program: String,
    },
    /// The program exists and cannot be executed.
    #[error("`{program}` cannot be executed: {cause}; check that it is a program and that you may execute it")]
    CannotExecute {
        /// As it was typed.
        program: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The directory to start in cannot be used.
    #[error("cannot start in `{path}`: {cause}; choose a directory that exists")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A session file could not be written.
    #[error("cannot write `{path}`: {cause}; check space and permissions of its directory")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The terminal could not be taken over.
    #[error("cannot {what}: {cause}; run without a terminal (redirect standard input) to go on")]
    Terminal {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Something of the system's that has no remedy of its own.
    #[error("cannot {what}: {cause}; the system is short of processes, memory or descriptors")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A path that the walls cannot be told of.
    #[error("`{}` cannot be named in a profile of the sandbox; give it a name without control characters", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The system gives this user no namespaces.
    #[error(
        "this system gives no namespaces to ordinary users ({cause}); allow them (sysctl kernel.unprivileged_userns_clone=1, or \
         kernel.apparmor_restrict_unprivileged_userns=0), or run with --isolate=off"
    )]
    NoNamespaces {
        /// What the system said.
        cause: io::Error,
    },
    /// The agent's surroundings could not be made.
    #[error("cannot isolate the agent: {what}: {cause}; `--isolate=off` runs it without walls")]
    Isolation {
        /// What was being done.
        what: String,
        /// What the system said.
        cause: io::Error,
    },
    /// The program cannot be started inside; [`crate::Launch`] knows its name.
    #[error("the program cannot be started: {cause}; check its path")]
    Program {
        /// What the system said.
        cause: io::Error,
    },
    /// The agent has ended, so nobody can be asked on its terminal.
    #[error("the agent has ended; nothing can be asked on its terminal any more")]
    Ended,
}

impl SandboxError {
    /// The exit code by the shells' convention: 127 not found, 126 cannot execute, 125 for what is our own failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::CannotExecute { .. } => 126,
            _ => OUR_FAILURE,
        }
    }
}
