//! Starts the agent: its environment, its files, its terminal, its signals and its end.
//!
//! The whole environment is given and nothing is inherited, the child leads a session of its own, the terminal that it sees is
//! not the user's, and when it ends nothing that it started is left. On Linux [`Isolation`] puts walls around it: namespaces,
//! sockets that all lead to the gateway, files that are masked or not there (`isolate/`). What macOS will have instead is written and
//! not used (`seatbelt.rs`).
//!
//! It must never know what a credential, a policy or a request is, never write to standard output except what the agent
//! itself printed, and never leave the user's terminal changed. `unsafe` lives in `kernel.rs` alone. Start reading at
//! [`Launch`], then `relay.rs` for what happens between two terminals, then [`Prompter`] for how a person is asked so that
//! the agent can neither draw over the question nor type into it.

mod driver;
mod error;
mod exit;
mod files;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod isolate;
mod kernel;
mod keys;
mod launch;
mod page;
mod plan;
mod prompt;
mod relay;
mod running;
mod screen;
mod seatbelt;
mod signals;
mod tree;
mod tty;

pub use error::SandboxError;
pub use exit::{Exit, OUR_FAILURE};
pub use files::{SessionDir, SessionFile};
pub use isolate::{Isolated, OWN_V4, OWN_V6, inside};
pub use keys::Key;
pub use launch::Launch;
pub use page::{Line, Page, Style, visible};
pub use plan::{Access, INSIDE, Isolation, Listeners, Mask, Surroundings};
pub use prompt::{Prompt, PromptTiming, Prompter};
pub use running::Running;
pub use rustix::process::Signal;
pub use seatbelt::{Confinement, physical};
pub use tty::{Terminal, restore_terminal};
