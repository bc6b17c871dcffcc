//! The one place of this crate that talks to the memory manager. Locking is best effort: an ordinary user may lock
//! 64 KiB to 8 MiB, and a secret that cannot be locked is still zeroized.
#![expect(unsafe_code, reason = "mlock and munlock take raw pointers; each call is one line and argued")]

use rustix::mm;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Locks the pages of `bytes`; whether it worked.
pub(crate) fn lock(bytes: &[u8]) -> bool {
    if bytes.is_empty() {
        return false;
    }
    // SAFETY: the range is a live allocation that we own; mlock reads and writes none of it.
    unsafe { mm::mlock(bytes.as_ptr().cast_mut().cast(), bytes.len()).is_ok() }
}

/// Unlocks what [`lock`] locked. Pages are shared between small allocations and locks do not nest, so a neighbour may
/// become swappable early; the gateway therefore also runs with [`harden_process`].
pub(crate) fn unlock(bytes: &[u8]) {
    // SAFETY: as above; failure changes nothing.
    let _ = unsafe { mm::munlock(bytes.as_ptr().cast_mut().cast(), bytes.len()) };
}

/// Makes this process undumpable and unreadable for others of the same user (`PR_SET_DUMPABLE`), and writes no core.
///
/// # Errors
/// What the kernel says; the caller decides whether to go on without.
pub fn harden_process() -> std::io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}
