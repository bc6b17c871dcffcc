//! The seam for systems that are not Linux: the same words as `isolate/`, and no walls yet. Every preparation says so, and `run`
//! goes on as without isolation, with the line that tells what is not protected.
//!
//! What is to come here: on macOS the command of `seatbelt.rs`, which is written and untested (docs/decisions/0018); on Windows an
//! AppContainer, of which nothing is written. Both lack the network namespace, so that diversion becomes a refusal of everything but the
//! proxy's port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::SandboxError;
use crate::plan::{Isolation, Listeners};

/// As on Linux.
pub const OWN_V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// As on Linux.
pub const OWN_V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

/// There are none.
#[derive(Debug)]
pub enum Isolated {}

/// Nothing is ever started with the hidden argument here.
#[must_use]
pub const fn inside(_control: i32) -> u8 {
    2
}

impl Isolation {
    /// Always refuses.
    ///
    /// # Errors
    /// [`SandboxError::NoNamespaces`].
    pub fn prepare(self, _program: &Path) -> Result<(Isolated, Listeners), SandboxError> {
        Err(SandboxError::NoNamespaces { cause: io::ErrorKind::Unsupported.into() })
    }
}
