//! System calls that an agent has no use for and an attacker has (seccomp(2)): the keys of the user's session, keys put into a
//! terminal's input, kernel interfaces that are known for their faults, and socket families that no namespace confines.
//!
//! A list of what is refused, not of what is allowed: an agent runs compilers, browsers and debuggers, and the walls are the
//! namespaces. What it adds to them is named at each entry.

use libc::sock_filter;

const NR_OFFSET: u32 = 0;
const ARCH_OFFSET: u32 = 4;
const fn argument_offset(number: u32) -> u32 {
    16 + 8 * number
}

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Call, errno.
const REFUSED: &[(libc::c_long, i32)] = &[
    // The user's keyrings hold log-ins; they belong to the user, not to a namespace that we make.
    (libc::SYS_add_key, libc::EPERM),
    (libc::SYS_request_key, libc::EPERM),
    (libc::SYS_keyctl, libc::EPERM),
    // Does what it is told past this filter. Programs fall back to what they did before it.
    (libc::SYS_io_uring_setup, libc::ENOSYS),
    (libc::SYS_io_uring_enter, libc::ENOSYS),
    (libc::SYS_io_uring_register, libc::ENOSYS),
    // Many of the kernel's faults of late were reached by these, often from a namespace in a namespace.
    (libc::SYS_bpf, libc::EPERM),
    (libc::SYS_userfaultfd, libc::EPERM),
    (libc::SYS_perf_event_open, libc::EPERM),
    // Its flags lie in memory, where no filter reads them; the C library falls back to `clone`, whose flags are looked at below.
    (libc::SYS_clone3, libc::ENOSYS),
    // A handle names a file past every mount (CVE-2014-3519 and kin).
    (libc::SYS_open_by_handle_at, libc::EPERM),
    // Of the machine, not of a user; they need capabilities that the agent lacks. Twice is safer.
    (libc::SYS_kexec_load, libc::EPERM),
    (libc::SYS_init_module, libc::EPERM),
    (libc::SYS_finit_module, libc::EPERM),
    (libc::SYS_delete_module, libc::EPERM),
    (libc::SYS_swapon, libc::EPERM),
    (libc::SYS_swapoff, libc::EPERM),
    (libc::SYS_reboot, libc::EPERM),
    (libc::SYS_acct, libc::EPERM),
    (libc::SYS_quotactl, libc::EPERM),
    (libc::SYS_syslog, libc::EPERM),
];

/// `CLONE_NEWNS`. A mask that falls off is laid again in the agent's own mount namespace; in another, made before that, what lies
/// beneath would stay bare. Chromium's sandbox needs none; bubblewrap does, and is refused.
const MOUNT_NAMESPACE: u32 = 0x0002_0000;
/// `TIOCSTI` puts keys into a terminal's input, `TIOCLINUX` pastes on a console.
const REFUSED_IOCTLS: [u32; 2] = [0x5412, 0x541c];
/// Unix, IPv4, IPv6, netlink. Others (vsock reaches the machine's own host, Bluetooth, CAN ..) are in no namespace.
const FAMILIES: [u32; 4] = [1, 2, 10, 16];

const ALLOW: u32 = 0x7fff_0000;
const fn errno(number: i32) -> u32 {
    0x0005_0000 | (number.cast_unsigned() & 0xffff)
}

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const HAS: u16 = 0x45;
const RETURN: u16 = 0x06;

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Returns `action` where the loaded word compares, else goes on.
fn if_then(program: &mut Vec<sock_filter>, code: u16, k: u32, action: u32) {
    program.push(sock_filter { code, jt: 0, jf: 1, k });
    program.push(step(RETURN, action));
}

/// A part that is run for one system call alone and always returns.
fn only_for(program: &mut Vec<sock_filter>, call: libc::c_long, part: &[sock_filter]) {
    let skip = u8::try_from(part.len()).unwrap_or(u8::MAX);
    program.push(sock_filter { code: EQUAL, jt: 0, jf: skip, k: number(call) });
    program.extend_from_slice(part);
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// The program, as `PR_SET_SECCOMP` takes it.
pub(super) fn filter() -> Vec<sock_filter> {
    let mut program = vec![step(LOAD, ARCH_OFFSET)];
    // Calls of another architecture have other numbers, and would pass every comparison below.
    program.push(sock_filter { code: EQUAL, jt: 1, jf: 0, k: ARCH });
    program.push(step(RETURN, errno(libc::ENOSYS)));
    program.push(step(LOAD, NR_OFFSET));
    // The same for x32.
    if_then(&mut program, AT_LEAST, 0x4000_0000, errno(libc::ENOSYS));
    for (call, error) in REFUSED {
        if_then(&mut program, EQUAL, number(*call), errno(*error));
    }
    let mut part = vec![step(LOAD, argument_offset(1))];
    for request in REFUSED_IOCTLS {
        if_then(&mut part, EQUAL, request, errno(libc::EPERM));
    }
    part.push(step(RETURN, ALLOW));
    only_for(&mut program, libc::SYS_ioctl, &part);
    for call in [libc::SYS_unshare, libc::SYS_clone] {
        let mut part = vec![step(LOAD, argument_offset(0))];
        if_then(&mut part, HAS, MOUNT_NAMESPACE, errno(libc::EPERM));
        part.push(step(RETURN, ALLOW));
        only_for(&mut program, call, &part);
    }
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        let mut part = vec![step(LOAD, argument_offset(0))];
        for family in FAMILIES {
            if_then(&mut part, EQUAL, family, ALLOW);
        }
        part.push(step(RETURN, errno(libc::EAFNOSUPPORT)));
        only_for(&mut program, call, &part);
    }
    program.push(step(RETURN, ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel does, for the instructions that it has.
    fn judge(arch: u32, call: u32, arguments: [u32; 2]) -> u32 {
        let program = filter();
        let (mut at, mut word) = (0usize, 0u32);
        loop {
            let one = program[at];
            at += 1;
            match one.code {
                LOAD => {
                    word = match one.k {
                        NR_OFFSET => call,
                        ARCH_OFFSET => arch,
                        16 => arguments[0],
                        24 => arguments[1],
                        other => panic!("no word at {other}"),
                    }
                }
                EQUAL => at += usize::from(if word == one.k { one.jt } else { one.jf }),
                HAS => at += usize::from(if word & one.k != 0 { one.jt } else { one.jf }),
                AT_LEAST => at += usize::from(if word >= one.k { one.jt } else { one.jf }),
                RETURN => return one.k,
                other => panic!("no instruction {other}"),
            }
        }
    }

    #[test]
    fn what_is_refused_and_what_is_not() {
        let of = |call, arguments| judge(ARCH, number(call), arguments);
        assert_eq!(of(libc::SYS_keyctl, [0, 0]), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_io_uring_setup, [0, 0]), errno(libc::ENOSYS));
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5412]), errno(libc::EPERM));
        assert_eq!(of(libc::SYS_ioctl, [0, 0x5413]), ALLOW);
        assert_eq!(of(libc::SYS_socket, [40, 0]), errno(libc::EAFNOSUPPORT));
        for family in FAMILIES {
            assert_eq!(of(libc::SYS_socket, [family, 0]), ALLOW);
        }
        for call in [libc::SYS_read, libc::SYS_ptrace, libc::SYS_unshare, libc::SYS_clone, libc::SYS_connect] {
            assert_eq!(of(call, [0, 0]), ALLOW, "{call}");
        }
    }

    #[test]
    fn no_mount_namespace_is_made() {
        let of = |call, arguments| judge(ARCH, number(call), arguments);
        let (user, process) = (0x1000_0000, 0x2000_0000);
        for call in [libc::SYS_unshare, libc::SYS_clone] {
            assert_eq!(of(call, [user | MOUNT_NAMESPACE, 0]), errno(libc::EPERM));
            assert_eq!(of(call, [user | process, 0]), ALLOW);
        }
        assert_eq!(of(libc::SYS_clone3, [0, 0]), errno(libc::ENOSYS));
    }

    #[test]
    fn other_tables_of_calls_are_refused_whole() {
        assert_eq!(judge(0x4000_0003, 1, [0, 0]), errno(libc::ENOSYS));
        assert_eq!(judge(ARCH, 0x4000_0000 | 1, [0, 0]), errno(libc::ENOSYS));
    }
}
