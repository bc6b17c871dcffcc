//! The one module with `unsafe`: what happens between fork and exec, and descriptors handed to the event loop.
#![expect(unsafe_code, reason = "pre_exec runs between fork and exec; AsyncFd::register trusts its descriptor")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process;
use tokio::io::unix::AsyncFd;

/// Makes the child lead a session of its own: it has no controlling terminal but the one on its standard input (where
/// `terminal` says so), so it cannot push keys into the user's (`TIOCSTI` reaches the controlling terminal only), and it
/// and all that it starts can be found again. It dies with the thread that forks it.
pub(crate) fn lead_session(command: &mut Command, terminal: bool) {
    let parent = process::getpid();
    let steps = move || -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            process::set_parent_process_death_signal(Some(process::Signal::KILL))?;
            // The parent may have died between fork and prctl.
            if process::getppid() != Some(parent) {
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = parent;
        process::setsid()?;
        if terminal {
            process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only: it takes no lock, allocates nothing and touches no memory that another
    // thread of the parent could have left half-written.
    unsafe { command.pre_exec(steps) };
}

/// Watches a descriptor for readiness.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always yields the same open descriptor and closes it only when dropped; we never take it back out
    // of the `AsyncFd`, nor replace it there.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}
