//! The one module with `unsafe`: what happens between fork and exec, descriptors handed to the event loop, and system calls
//! for which no safe wrapper exists.
#![expect(unsafe_code, reason = "pre_exec, raw descriptors and raw system calls; each is a few lines and argued")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process;
use tokio::io::unix::AsyncFd;

#[cfg(target_os = "linux")]
pub(crate) use walls::{
    adopt, child_signals, close_all_but, confine, drain, fork, inherit, leave_keyring, make_read_only, set_transparent,
    signal_all, unshare,
};

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

/// What isolation needs of Linux.
#[cfg(target_os = "linux")]
mod walls {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::Command;

    use rustix::process::{self, Pid, Signal};
    use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets, UnshareFlags};

    /// Lets `command` inherit one descriptor that is closed on exec everywhere else.
    pub(crate) fn inherit(command: &mut Command, fd: &OwnedFd) {
        let number = fd.as_raw_fd();
        let steps = move || -> io::Result<()> {
            // SAFETY: the parent holds the descriptor open until `spawn` has returned, and the child has a copy of its table.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
        };
        // SAFETY: one system call; see `lead_session`.
        unsafe { command.pre_exec(steps) };
    }

    /// Takes over a descriptor that this program was started with.
    pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
        if number < 3 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: nothing else in this program knows the number: it was an argument, and no file has been opened yet. A number
        // that is not open fails in the next line.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        match rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC) {
            Ok(()) => Ok(fd),
            Err(cause) => {
                std::mem::forget(fd);
                Err(cause.into())
            }
        }
    }

    /// Closes what was inherited, except standard input, output and error, pipes (`<(...)` of a shell) and `kept`.
    pub(crate) fn close_all_but(kept: BorrowedFd<'_>) -> io::Result<()> {
        let listing = std::fs::read_dir("/proc/self/fd")?;
        let numbers: Vec<RawFd> = listing
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|number| *number > 2 && *number != kept.as_raw_fd())
            .collect();
        for number in numbers {
            // SAFETY: the listing's own descriptor has gone; asking about any other only fails.
            let stat = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(number) });
            let pipe =
                stat.is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Fifo);
            if !pipe {
                // SAFETY: called before this program opens anything that an owner would close again.
                unsafe { libc::close(number) };
            }
        }
        Ok(())
    }

    /// Forks a process that has one thread.
    pub(crate) fn fork() -> io::Result<Option<Pid>> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            return Err(io::Error::other("more than one thread"));
        }
        // SAFETY: with one thread no lock can be held by another one that the child would lack.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(None),
            pid => Ok(Pid::from_raw(pid)),
        }
    }

    /// Leaves namespaces; see unshare(2).
    pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
        // SAFETY: descriptors are not unshared, so none of this process changes its meaning.
        Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
    }

    /// Begins an empty session keyring, so that what is in the user's is out of reach (keyctl(2)).
    pub(crate) fn leave_keyring() -> io::Result<()> {
        const JOIN_SESSION_KEYRING: libc::c_long = 1;
        // SAFETY: a null name asks for an anonymous keyring; no memory of ours is touched.
        done(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) })
    }

    /// Makes a mount read-only and ignorant of set-user-id bits (mount_setattr(2)); with `below` all mounts below it too. An
    /// empty path means the descriptor itself.
    pub(crate) fn make_read_only(at: impl AsFd, path: &Path, below: bool) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        const READ_ONLY_NO_SETUID: u64 = 1 | 2;
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let mut flags = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
        if below {
            flags |= libc::AT_RECURSIVE;
        }
        // struct mount_attr: set, clear, propagation, user namespace.
        let attributes: [u64; 4] = [READ_ONLY_NO_SETUID, 0, 0, 0];
        // SAFETY: the path ends with a zero and the attributes are as long as is said; both outlive the call.
        done(unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                at.as_fd().as_raw_fd(),
                path.as_ptr(),
                flags.cast_unsigned(),
                attributes.as_ptr(),
                size_of_val(&attributes),
            )
        })
    }

    /// Lets a listener accept connections to any address (`IP_TRANSPARENT`, ip(7)).
    pub(crate) fn set_transparent(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
        let (level, option) =
            if v6 { (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT) } else { (libc::IPPROTO_IP, libc::IP_TRANSPARENT) };
        let on: libc::c_int = 1;
        let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
        // SAFETY: the value is an int of the stated length and outlives the call.
        let code = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), length) };
        done(code.into())
    }

    /// Turns the ends of children into something that can be read, and blocks their signal.
    pub(crate) fn child_signals() -> io::Result<OwnedFd> {
        // SAFETY: the set is made empty before it is used; this process has one thread.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGCHLD);
            done(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into())?;
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            done(fd.into())?;
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }

    /// Reads away what [`child_signals`] holds; which child it was is asked of the kernel.
    pub(crate) fn drain(signals: BorrowedFd<'_>) {
        let mut buffer = [0u8; 1024];
        while rustix::io::read(signals, &mut buffer).is_ok_and(|count| count > 0) {}
    }

    /// Sends a signal to every process of this namespace but the caller.
    pub(crate) fn signal_all(signal: Signal) {
        // SAFETY: no memory is touched. -1 reaches the namespace of the caller alone, whose first process the caller is.
        unsafe { libc::kill(-1, signal.as_raw()) };
    }

    /// Makes the child lead a session and takes everything from it that it could undo its walls with: capabilities, the way to
    /// get new ones, and the system calls that `filter` refuses.
    pub(crate) fn confine(command: &mut Command, terminal: bool, filter: Vec<libc::sock_filter>) {
        let steps = move || -> io::Result<()> {
            process::setsid()?;
            if terminal {
                process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            unblock_signals()?;
            rustix::thread::clear_ambient_capability_set()?;
            for capability in CapabilitySet::all().iter() {
                // Capabilities that this kernel does not know are nobody's.
                let _ = rustix::thread::remove_capability_from_bounding_set(capability);
            }
            // A user who is root has no capabilities by that alone, now and after each exec.
            rustix::thread::set_capabilities_secure_bits(
                CapabilitiesSecureBits::NO_ROOT
                    | CapabilitiesSecureBits::NO_ROOT_LOCKED
                    | CapabilitiesSecureBits::NO_SETUID_FIXUP
                    | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED,
            )?;
            let none = CapabilitySet::empty();
            rustix::thread::set_capabilities(
                None,
                CapabilitySets { effective: none, permitted: none, inheritable: none },
            )?;
            rustix::thread::set_no_new_privs(true)?;
            set_filter(&filter)
        };
        // SAFETY: system calls only; the filter was made before the fork. This process has one thread besides.
        unsafe { command.pre_exec(steps) };
    }

    fn unblock_signals() -> io::Result<()> {
        // SAFETY: as in `child_signals`.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            done(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()).into())
        }
    }

    fn set_filter(filter: &[libc::sock_filter]) -> io::Result<()> {
        let length = libc::c_ushort::try_from(filter.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
        let zero: libc::c_ulong = 0;
        // SAFETY: the kernel copies the program, which outlives the call, and writes nothing.
        let code = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
                &raw const program,
                zero,
                zero,
            )
        };
        done(code.into())
    }

    fn done(code: libc::c_long) -> io::Result<()> {
        if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
