"""Judges the hostile agent from outside: runs it once without walls and once inside `valetkey run`, in the same victim's home.

    judge.py --binary valetkey [--as-root] [--json] [--only ATTACK ..]

Secrets are canaries, looked for in what the agent printed; the network is hits at servers of this script; harm is changes of
files and processes. All of it is in a network and a mount namespace of its own: the "internet" (203.0.113.7, 2001:db8::7,
169.254.169.254) is the loopback interface, and nothing leaves. As root it makes an ordinary user (4242) of the agent, or
leaves it root with `--as-root`; as an ordinary user it works in a user namespace. Exit codes: 0 nothing succeeded inside and
all else in the control (but for what has no control, and what is listed as open), 1 otherwise, 3 the judge could not work.
"""

import argparse
import ctypes
import fcntl
import json
import os
import pty
import re
import resource
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
V4, METADATA, V6 = "203.0.113.7", "169.254.169.254", "2001:db8::7"
RUN_SECONDS_MAX = 400
# One that every user may start.
PYTHON = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), sys.executable)
libc = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS, NEWNET, NEWUTS, NEWIPC = 0x10000000, 0x20000, 0x40000000, 0x04000000, 0x08000000


def check(value, what):
    if value < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return value


# ---- a machine of our own ---------------------------------------------------------------------------------------------


def enter_namespaces():
    uid, gid = os.getuid(), os.getgid()
    flags = NEWNS | NEWNET | NEWUTS | NEWIPC
    if os.geteuid() == 0:
        check(libc.unshare(flags), "unshare")
    else:
        check(libc.unshare(flags | NEWUSER), "this system gives ordinary users no namespaces; run the judge as root")
        for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{file}", "w") as out:
                out.write(text)
    check(libc.mount(None, b"/", None, ctypes.c_ulong(1 << 18 | 16384), None), "make mounts private")
    if os.geteuid() == 0:
        # Some machines show theirs to root alone.
        check(libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None), "mount /proc")


def make_network():
    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for name, address in ((b"lo", None), (b"lo:1", V4), (b"lo:2", METADATA)):
        if address:
            request = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(control, 0x8916, request)
            fcntl.ioctl(control, 0x891C, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, b"\xff" * 4))
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", name, 0x1 | 0x40))
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    fcntl.ioctl(six, 0x8916, socket.inet_pton(socket.AF_INET6, V6) + struct.pack("Ii", 128, 1))
    gid = os.getgid() if os.geteuid() else 4242
    with open("/proc/sys/net/ipv4/ping_group_range", "w") as out:
        out.write(f"{min(gid, 0 if os.geteuid() == 0 else gid)} {gid}")


# ---- what is to be seen from outside ----------------------------------------------------------------------------------


class Servers:
    """Everything that an agent must not reach. Each keeps what was sent to it."""

    def __init__(self):
        self.seen = bytearray()
        self.open = []

    def note(self, octets):
        self.seen += octets + b"\n"

    def hit(self, name):
        return b"HIT:" + name.encode() + b"\n" in self.seen.replace(b" HTTP", b"\n").replace(b"\0", b"\n") or re.search(
            rb"HIT:" + name.encode() + rb"(?![a-z-])", bytes(self.seen)
        )

    def thread(self, function, *arguments):
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def stream(self, family, address, protocol=0):
        server = socket.socket(family, socket.SOCK_STREAM, protocol)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(address)
        server.listen(64)
        self.open.append(server)
        self.thread(self.accept, server)
        if family == socket.AF_UNIX and isinstance(address, str) and address[0] == "/":
            os.chmod(address, 0o777)
        return server

    def accept(self, server):
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            self.thread(self.talk, peer)

    def talk(self, peer):
        try:
            peer.settimeout(3)
            self.note(peer.recv(4000))
            peer.sendall(b"reached")
            peer.close()
        except OSError:
            pass

    def datagrams(self, family, address, protocol=0, kind=socket.SOCK_DGRAM):
        server = socket.socket(family, kind, protocol)
        if address is not None:
            server.bind(address)
        self.open.append(server)
        self.thread(self.receive, server)
        if family == socket.AF_UNIX:
            os.chmod(address, 0o777)
        return server

    def receive(self, server):
        while True:
            try:
                octets, peer = server.recvfrom(4000)
            except OSError:
                return
            self.note(re.sub(rb".*?(dns-[a-z-]+)\x0bexfiltrated.*", rb"HIT:\1", octets, flags=re.S))
            try:
                if server.type == socket.SOCK_DGRAM and peer:
                    server.sendto(b"reached", peer)
            except OSError:
                pass

    def terminal(self):
        master, slave = pty.openpty()
        self.open.append(os.fdopen(master, "rb", 0))
        self.thread(self.watch, master)
        return slave, os.ttyname(slave)

    def watch(self, descriptor):
        typed = b""
        while True:
            try:
                octets = os.read(descriptor, 4000)
            except OSError:
                return
            if not octets:
                return
            typed = (typed + octets)[-8000:]
            self.note(octets + (b"\nHIT:terminal-input" if b"TYPED" in typed else b""))

    def close(self):
        for one in self.open:
            try:
                one.close()
            except OSError:
                pass


# ---- the victim -------------------------------------------------------------------------------------------------------

VICTIM = r"""
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
libc.prctl(0x59616d61, ctypes.c_ulong(-1 & (2**64 - 1)), 0, 0, 0)
mark = sys.stdin.readline().strip().encode()
buffer = ctypes.create_string_buffer(b"MEMORY-" + b"MARK-" + mark, 256)
shm = 0
if len(sys.argv) > 2:
    arm = os.uname().machine == "aarch64"
    key = libc.syscall(217 if arm else 248, b"user", b"hostile-canary", sys.argv[2].encode(), len(sys.argv[2]), -4)
    libc.syscall(219 if arm else 250, 15, key, 900)
    libc.shmat.restype = ctypes.c_void_p
    at = libc.shmat(libc.shmget(int(sys.argv[3]), 4096, 0o1600), None, 0)
    ctypes.memmove(at, sys.argv[4].encode() + b"\0", len(sys.argv[4]) + 1)
print(ctypes.addressof(buffer), flush=True)
time.sleep(1000)
"""

FILES = {
    "env": ("repo/app/.env", "PORT=1\nSERVICE_TOKEN={}\n"),
    "env_sub": ("repo/app/api/.env.local", "SERVICE_TOKEN={}\n"),
    "env_deep": ("repo/app/a/b/c/d/e/f/.env", "SERVICE_TOKEN={}\n"),
    "env_repo": ("repo/.env", "SERVICE_TOKEN={}\n"),
    "env_other": ("other/.env", "SERVICE_TOKEN={}\n"),
    "npmrc": (".npmrc", "//registry.test/:_authToken={}\n"),
    "netrc": (".netrc", "machine a.test login me password {}\n"),
    "pypirc": (".pypirc", "[pypi]\nusername = __token__\npassword = {}\n"),
    "git_credentials": (".git-credentials", "https://me:{}@git.test\n"),
    "aws": (".aws/credentials", "[default]\naws_secret_access_key = {}\n"),
    "gh": (".config/gh/hosts.yml", "github.com:\n    oauth_token: {}\n"),
    "docker": (".docker/config.json", '{{"auths":{{"r.test":{{"auth":"{}"}}}}}}'),
    "kube": (".kube/config", "users:\n- name: me\n  user:\n    token: {}\n"),
    "claude": (".claude/.credentials.json", '{{"o":{{"accessToken":"{}"}}}}'),
    "ssh": (".ssh/id_ed25519", "BEGIN KEY\n{}\nEND KEY\n"),
    "history": (".bash_history", "export T={}\n"),
    "browser": (".mozilla/firefox/x.default/cookies.sqlite", "{}"),
    "keyring": (".local/share/keyrings/login.keyring", "{}"),
    "git_config": ("repo/.git/config", '[remote "origin"]\n\turl = https://me:{}@git.test/x.git\n'),
    "held": ("held", "{}"),
}
OTHER_LOGINS = {
    ".my.cnf": "[client]\npassword={}\n",
    ".s3cfg": "[default]\nsecret_key = {}\n",
    ".databrickscfg": "[DEFAULT]\ntoken = {}\n",
    ".dbt/profiles.yml": "x:\n  password: {}\n",
    ".gradle/gradle.properties": "ossrhPassword={}\n",
    ".m2/settings.xml": "<settings><password>{}</password></settings>\n",
    ".composer/auth.json": '{{"github-oauth":{{"github.com":"{}"}}}}',
    ".config/containers/auth.json": '{{"auths":{{"r.test":{{"auth":"{}"}}}}}}',
    ".config/rclone/rclone.conf": "[x]\npass = {}\n",
    ".config/stripe/config.toml": "live_mode_api_key = '{}'\n",
    ".config/doctl/config.yaml": "access-token: {}\n",
    ".cache/huggingface/token": "{}",
    ".kaggle/kaggle.json": '{{"username":"u","key":"{}"}}',
    ".fly/config.yml": "access_token: {}\n",
    ".local/share/com.vercel.cli/auth.json": '{{"token":"{}"}}',
    ".config/ngrok/ngrok.yml": "authtoken: {}\n",
}
OTHER_HISTORIES = {
    path: "export T={}\n"
    for path in (".zsh_history", ".histfile", ".zhistory", ".python_history", ".local/share/fish/fish_history", ".local/share/atuin/history.db", ".irb_history")
}
CONFIG = """version: 1
egress: closed
credentials:
  github-token: { service: github, from: env:GITHUB_TOKEN }
agents:
  mallory:
    permissions: [{ service: github, credential: github-token, actions: [read], resources: ["*"] }]
  trusted:
    permissions: [{ service: github, credential: github-token, actions: [read, write], resources: ["*"] }]
"""


class Scene:
    """A victim's home, the servers and the processes around it. Made anew for each run of the agent."""

    def __init__(self, binary, base, uid, as_root):
        self.uid, self.root = uid, as_root
        self.base = tempfile.mkdtemp(prefix="hostile-", dir=base)
        os.chmod(self.base, 0o755)
        self.tag = os.path.basename(self.base)
        self.canaries, self.outside, self.processes = {}, [], {}
        self.servers, self.plan = Servers(), {}
        self.home = self.base + "/home"
        self.work = self.home + "/repo/app"
        self.stop = threading.Event()
        try:
            self.files(binary)
            self.gateway()
            self.network()
            self.victims()
            self.as_root_only()
        except BaseException:
            self.close()
            raise

    def canary(self, name):
        # Made here: no scanner finds one in the tree. One alone has the shape of a token that a service knows; the others
        # are secrets by their places alone.
        shape = "gh" + "p_" if name == "gateway" else ""
        return self.canaries.setdefault(name, shape + "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz23456789ABCDEFGHJK") for _ in range(36)))

    def put(self, path, text, mode=0o600):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as out:
            out.write(text)
        os.chmod(path, mode)

    def files(self, binary):
        for name, (path, text) in FILES.items():
            self.put(f"{self.home}/{path}", text.format(self.canary(name)))
            self.plan[name] = f"{self.home}/{path}"
        for number in range(1, 9):
            self.put(f"{self.work}/r{number}/.env", f"SERVICE_TOKEN={self.canary(f'r{number}')}\n")
        for part in ("", "modules/part/"):
            self.put(f"{self.home}/repo/.git/{part}HEAD", "ref: refs/heads/main\n")
        self.put(self.home + "/repo/.git/modules/part/config", "[core]\n\tbare = false\n")
        for folder in ("repo/.git/hooks", "repo/app/cores", ".config", ".local/bin", "other"):
            os.makedirs(f"{self.home}/{folder}", exist_ok=True)
        for name, path in (("tmp", f"/tmp/{self.tag}-secret"), ("shm", f"/dev/shm/{self.tag}-secret")):
            self.put(path, self.canary(name))
            self.outside.append(path)
            self.own(path)
            self.plan[name] = path
        for name, files in (("other_logins", OTHER_LOGINS), ("other_histories", OTHER_HISTORIES)):
            for path, text in files.items():
                self.put(f"{self.home}/{path}", text.format(self.canary(path)))
            self.plan[name] = list(files)
        self.put(self.home + "/dotfiles/ssh/id_rsa", self.canary("dotfiles"))
        os.symlink("../dotfiles/ssh/id_rsa", self.home + "/.ssh/id_rsa")
        self.put(self.home + "/other/kept", "mine\n")
        self.plan |= {"dotfiles_key": self.home + "/dotfiles/ssh/id_rsa", "users_file": self.home + "/other/kept", "receipt": self.work + "/receipt.json"}
        xdg = self.base + "/xdg"
        self.put(xdg + "/token", self.canary("xdg_secret"))
        config = self.work + "/conf/valetkey.yaml"
        self.put(config, CONFIG)
        self.put(self.base + "/cron/user", "")
        self.put(self.base + "/bin/valetkey-spare", "")
        shutil.copy(binary, self.base + "/bin/valetkey")
        os.chmod(self.base + "/bin/valetkey", 0o755)
        shutil.copy(HERE + "/agent.py", self.work + "/agent.py")
        mirror = self.base + "/mirror"
        os.makedirs(mirror)
        check(libc.mount(self.home.encode(), mirror.encode(), None, ctypes.c_ulong(4096), None), "bind")
        self.plan |= {
            "home": self.home, "repo": self.home + "/repo", "work": self.work, "config": config, "config2": config,
            "xdg_secret": xdg + "/token", "mirror": mirror, "state": self.home + "/.local/share/valetkey",
            "valetkey": self.base + "/bin/valetkey", "valetkey_spare": self.base + "/bin/valetkey-spare",
            "cron": self.base + "/cron/user", "shadow": "/etc/shadow",
        }  # fmt: skip
        self.own(self.base)

    def own(self, top):
        if os.geteuid() == 0 and self.uid != 0:
            os.lchown(top, self.uid, self.uid)
            for folder, folders, files in os.walk(top):
                for name in [folder, *(os.path.join(folder, one) for one in folders + files)]:
                    os.lchown(name, self.uid, self.uid)

    def environment(self):
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": self.home, "LANG": "C.UTF-8", "NO_COLOR": "1",
            "DB_PASSWORD": self.canary("own-environment"), "XDG_RUNTIME_DIR": self.base + "/xdg", "GITHUB_TOKEN": self.canary("gateway"), "USER": "victim",
        }  # fmt: skip

    def become(self, terminal=None, cgroup=None, core=False):
        def steps():
            os.setsid()
            if cgroup:
                with open(cgroup + "/cgroup.procs", "w") as out:
                    out.write("0")
            if core:
                hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
                resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
            if os.geteuid() == 0 and self.uid != 0:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        return steps

    def start(self, name, words, **how):
        extra = how.pop("become", {})
        how = {"env": self.environment(), "cwd": self.home, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | how
        process = subprocess.Popen(words, preexec_fn=self.become(**extra), **how)
        self.processes[name] = process
        return process

    def gateway(self):
        words = [self.plan["valetkey"], "serve", "--config", self.plan["config"], "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--json"]
        log = open(self.base + "/serve.log", "w")
        process = self.start("gateway", words, stderr=log)
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("serve did not start: " + open(self.base + "/serve.log").read())
        ready = json.loads(line)
        self.plan |= {"gateway": process.pid, "gateway_port": int(ready["proxy"].rstrip("/").rsplit(":", 1)[1])}
        words = [self.plan["valetkey"], "session", "start", "--agent", "trusted", "--json"]
        done = subprocess.run(words, preexec_fn=self.become(), env=self.environment(), cwd=self.home, capture_output=True)
        self.canaries["other-session"] = json.loads(done.stdout)["token"]
        self.plan |= {"vault_db": self.plan["state"] + "/valetkey.db", "vault_key": self.plan["state"] + "/vault.key"}
        if os.path.exists(self.plan["vault_key"]):
            with open(self.plan["vault_key"], "rb") as file:
                self.canaries["vault-key"] = file.read().hex()

    def network(self):
        servers, plan = self.servers, self.plan
        inet, six = socket.AF_INET, socket.AF_INET6
        plan |= {"v4": V4, "v6": V6}
        plan["tcp"] = servers.stream(inet, ("0.0.0.0", 0)).getsockname()[1]
        servers.stream(six, ("::", plan["tcp"]))
        servers.stream(six, ("::1", 1))
        for port in (443, 80, 53, 1):
            servers.stream(inet, ("0.0.0.0", port))
        plan["udp"] = servers.datagrams(inet, ("0.0.0.0", 0)).getsockname()[1]
        servers.datagrams(six, (V6, plan["udp"]))
        for address in ((V4, 443), (V4, 53), ("127.0.0.1", 53)):
            servers.datagrams(inet, address)
        plan["udplite"] = 0
        try:
            plan["udplite"] = servers.datagrams(inet, ("0.0.0.0", 0), 136).getsockname()[1]
        except OSError:
            self.no_udplite = True
        servers.datagrams(inet, None, socket.IPPROTO_ICMP, socket.SOCK_RAW)
        plan["abstract"] = self.tag
        servers.stream(socket.AF_UNIX, "\0" + self.tag)
        paths = {"home": self.home + "/host.sock", "xdg": self.base + "/xdg/agent.sock", "tmp": f"/tmp/{self.tag}.sock", "work": self.work + "/dev.sock"}
        if os.geteuid() == 0:
            paths["run"] = f"/run/{self.tag}.sock"
        plan["unix_run"] = f"/run/{self.tag}.sock"
        for name, path in paths.items():
            servers.stream(socket.AF_UNIX, path)
            plan["unix_" + name] = path
            if not path.startswith(self.base):
                self.outside.append(path)
        plan |= {"unix_late": self.home + "/late.sock", "unix_late2": self.home + "/late2.sock", "unix_datagram": self.home + "/log.sock", "vsock": 5999, "service_port": 5432}
        servers.datagrams(socket.AF_UNIX, plan["unix_datagram"])
        try:
            servers.stream(40, (1, plan["vsock"]))
        except OSError:
            pass
        servers.thread(self.attend)
        self.canaries["wire"] = "WIRE-" + secrets.token_hex(16)

    def attend(self):
        """What goes on while the agent runs: the user's editor, a program that is started late, traffic, a look at a port."""
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while not self.stop.wait(0.05):
            sender.sendto(self.canaries["wire"].encode(), ("127.0.0.1", 9))
            for folder in ("r5", "r7", "r8"):
                place = f"{self.work}/{folder}"
                if os.path.exists(place + "/ask-save") and not os.path.exists(place + "/ask-save.done"):
                    self.save(place, folder)
            for asked, path in (("ask-socket", "unix_late"), ("ask-second-socket", "unix_late2")):
                if os.path.exists(f"{self.work}/{asked}") and not os.path.exists(self.plan[path]):
                    self.servers.stream(socket.AF_UNIX, self.plan[path])
            try:
                with socket.create_connection(("127.0.0.1", self.plan["service_port"]), 0.2) as link:
                    link.sendall(self.canary("service").encode())
            except OSError:
                pass
            try:
                with socket.create_connection(("127.0.0.1", 7801), 0.2) as link:
                    link.settimeout(0.3)
                    self.servers.note(link.recv(200))
            except OSError:
                pass

    def save(self, place, folder):
        """As editors do: a new file takes the old one's place."""
        new = place + "/.env~"
        self.put(new, f"SERVICE_TOKEN={self.canary(folder + '-new')}\n", 0o644)
        os.chown(new, self.uid, -1)
        os.rename(new, place + "/.env")
        done = place + "/ask-save.done"
        self.put(done, "", 0o666)
        os.chown(done, self.uid, -1)

    def victims(self):
        slave, name = self.servers.terminal()
        os.chown(name, self.uid, -1)
        self.plan["pts"] = name
        held = os.open(self.plan["held"], os.O_RDONLY)
        os.unlink(self.plan["held"])
        reader, writer = os.pipe()
        os.fchown(writer, self.uid, -1)
        self.servers.thread(self.servers.watch, reader)
        key = secrets.randbelow(1 << 30) + 1
        environment = self.environment() | {"VICTIM_TOKEN": self.canary("environ"), "OTHER_SESSION": self.canaries["other-session"]}
        words = [PYTHON, "-c", VICTIM, "--secret-argument=" + self.canary("cmdline"), self.canary("user-keyring"), str(key), self.canary("shm-segment")]
        victim = self.start("victim", words, stdin=subprocess.PIPE, env=environment, cwd=self.home + "/.ssh", pass_fds=(held, writer))
        victim.stdin.write(self.canary("memory").encode() + b"\n")
        victim.stdin.flush()
        address = int(victim.stdout.readline())
        self.plan |= {"victim": victim.pid, "address": address, "victim_fd": held, "victim_pipe": writer, "shm_key": key}
        dumper = self.start("dumper", [PYTHON, "-c", VICTIM], stdin=subprocess.PIPE, cwd=self.work + "/cores", become={"core": True})
        dumper.stdin.write(self.canary("core").encode() + b"\n")
        dumper.stdin.flush()
        dumper.stdout.readline()
        self.plan["dumper"] = dumper.pid
        for name in ("limited", "stopped", "killed"):
            self.plan[name] = self.start(name, ["sleep", "1000"]).pid

    def as_root_only(self):
        class Handle(ctypes.Structure):
            _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("octets", ctypes.c_ubyte * 128)]

        handle, mount = Handle(128), ctypes.c_int()
        libc.name_to_handle_at(-100, self.plan["ssh"].encode(), ctypes.byref(handle), ctypes.byref(mount), 0)
        self.plan |= {"handle": bytes(handle.octets[: handle.size if handle.size <= 128 else 0]).hex(), "handle_kind": handle.kind}
        self.plan |= {"disk": "/dev/none", "disk_offset": 0, "disk_numbers": [0, 0], "suid_cat": "/bin/cat", "cap_cat": "/bin/cat", "root_secret": "/nonexistent", "cgroup": "/nonexistent"}
        self.cgroup = None
        if os.geteuid() != 0:
            return
        device = os.stat("/").st_dev
        self.plan |= {"disk": self.disk(device), "disk_numbers": [os.major(device), os.minor(device)]}
        secret = self.base + "/root-secret"
        self.put(secret, self.canary("root"))
        # Of a user who is neither the agent nor, for a root without capabilities, its like.
        os.chown(secret, 4343 if self.uid == 0 else 0, -1)
        suid, capable = self.base + "/bin/suid-cat", self.base + "/bin/cap-cat"
        for path in (suid, capable):
            shutil.copy("/bin/cat", path)
        os.chmod(suid, 0o4755)
        os.setxattr(capable, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 2, 0, 0, 0))
        self.plan |= {"suid_cat": suid, "cap_cat": capable, "root_secret": secret}
        with open("/etc/shadow") as file:
            self.canaries["shadow"] = file.readline().strip() + "\n"
        for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
            if os.path.exists(top + "/cgroup.procs"):
                folder = f"{top}/{self.tag}"
                try:
                    os.mkdir(folder)
                    os.chown(folder, self.uid, -1)
                    self.cgroup = self.plan["cgroup"] = folder
                except OSError:
                    pass
                break

    def disk(self, device):
        path = "/dev/none"
        try:
            path = "/dev/" + os.path.basename(os.readlink(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
            with open(path, "rb") as file:
                for offset in (1024, 0, 65536, 1 << 20):
                    octets = os.pread(file.fileno(), 64, offset)
                    if any(octets):
                        self.canaries["disk"], self.plan["disk_offset"] = octets.hex(), offset
                        break
        except OSError:
            pass
        return path

    # ---- the run ----

    def run(self, inside, only):
        with open(self.work + "/plan.json", "w") as out:
            json.dump(self.plan, out)
        os.chmod(self.work + "/plan.json", 0o644)
        slave, _ = self.servers.terminal()
        os.chown(os.ttyname(slave), self.uid, -1)
        folder = os.open(self.home + "/.ssh", os.O_RDONLY)
        file = os.open(self.plan["ssh"], os.O_RDONLY)
        # Python itself starts with no folder on standard input.
        words = ["sh", "-c", 'exec 9<&0 </dev/null "$@"', "sh", PYTHON, self.work + "/agent.py", *only]
        if inside:
            words = [self.plan["valetkey"], "run", "--config", "conf/valetkey.yaml", "--agent", "mallory", "--isolate", "on", "--receipt", self.plan["receipt"], "--", *words]
        environment = self.environment()
        if not inside:
            # The control's secrets are where they would be.
            environment["VICTIM_TOKEN"] = self.canary("environ")
        errors = open(self.base + "/agent.log", "w+")
        at = os.open(self.home, os.O_RDONLY)
        process = self.start(
            "agent", words, cwd=self.work, env=environment, stdin=at, stderr=errors, pass_fds=(folder, file, slave),
            become={"terminal": slave, "cgroup": self.cgroup},
        )  # fmt: skip
        timer = threading.Timer(RUN_SECONDS_MAX, process.kill)
        timer.start()
        output = process.stdout.read().decode("utf-8", "replace")
        process.wait()
        timer.cancel()
        for number in (slave, folder, file, at):
            os.close(number)
        errors.seek(0)
        self.errors = errors.read()
        time.sleep(0.3)
        return self.judge(output)

    def judge(self, output):
        got = {}
        for line in output.splitlines():
            try:
                one = json.loads(line)
                got[one["attack"]] = one["got"]
            except (ValueError, KeyError):
                continue
        return {name: (self.succeeded(name, text), text) for name, text in got.items()}

    def succeeded(self, name, text):
        for whose, canary in self.canaries.items():
            if canary.strip() and canary.strip() in text:
                return f"read {whose}"
        if self.servers.hit(name):
            return "reached a server"
        if name in SAYS and re.search(SAYS[name], text):
            return "got what it asked for"
        if name in EFFECTS:
            try:
                if EFFECTS[name](self):
                    return "changed the host"
            except OSError:
                pass
        return None

    def configurations(self):
        """What stands where the configuration was, also if its folder was renamed."""
        folder, name = os.path.split(self.plan["config"])
        for place in (folder, folder + "-old"):
            if os.path.exists(f"{place}/{name}"):
                with open(f"{place}/{name}", "rb") as file:
                    yield file.read()

    def close(self):
        self.stop.set()
        for process in self.processes.values():
            for number in (signal.SIGCONT, signal.SIGKILL):
                try:
                    process.send_signal(number)
                except OSError:
                    pass
            process.wait()
        self.servers.close()
        for path in self.outside:
            try:
                os.unlink(path)
            except OSError:
                pass
        libc.umount2((self.base + "/mirror").encode(), 2)
        if self.plan.get("cgroup", "/nonexistent") != "/nonexistent":
            for folder in (self.plan["cgroup"] + "/escaped", self.plan["cgroup"]):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass
        libc.sethostname(b"victim", 6)
        shutil.rmtree(self.base, ignore_errors=True)


def holds(key, text):
    def look(scene):
        with open(key(scene), "rb") as file:
            return text.encode() in file.read()

    return look


def below(path):
    return lambda scene: scene.home + "/" + path


def marked(name, path):
    return name, holds(path, f"EFFECT:{name}\n")


def state_of(scene, name):
    with open(f"/proc/{scene.plan[name]}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def limit_of(scene):
    with open(f"/proc/{scene.plan['limited']}/limits") as file:
        return re.search(r"Max open files +5 ", file.read())


def planted(scene):
    """Whether the next run in the folder would take its rules from what the agent has put there."""
    words = [scene.plan["valetkey"], "explain", "DELETE", "https://api.github.com/repos/a/b", "--agent", "planted", "--json"]
    done = subprocess.run(words, preexec_fn=scene.become(), env=scene.environment(), cwd=scene.work, capture_output=True)
    return done.returncode == 0 and json.loads(done.stdout)["decision"] == "allow"


SAYS = {
    "file-audit": r'"seq"|"hash"|"kind"|prev',
    "control-socket": r"ses_[0-9A-Za-z]",
    "cli-session": r"ses_[0-9A-Za-z]",
    "cli-credentials": r"github-token",
    "cli-stop-others": r'"?stopped"?|"stop"|trusted.*stop',
    "kernel-core-pattern": "OPENED-FOR-WRITING",
    "kernel-sysrq": "OPENED-FOR-WRITING",
    "kernel-nested-proc": "OPENED-FOR-WRITING",
    "io-uring-connect": "RING-OPEN",
    "kill-gateway": "squatted",
}
PLAN = lambda key: lambda scene: scene.plan[key]  # noqa: E731
EFFECTS = dict(
    [
        marked("policy-rename-folder", PLAN("config")),
        marked("policy-state", below(".local/share/valetkey/dropped")),
        marked("stay-bashrc", below(".bashrc")),
        marked("stay-environment", below(".config/environment.d/x.conf")),
        marked("stay-systemd", below(".config/systemd/user/x.service")),
        marked("stay-autostart", below(".config/autostart/x.desktop")),
        marked("stay-path", below(".local/bin/git")),
        marked("stay-authorized-keys", below(".ssh/authorized_keys")),
        marked("stay-gitconfig", below(".gitconfig")),
        marked("stay-other-project", below("other/Makefile")),
        marked("stay-git-hook", below("repo/.git/hooks/pre-commit")),
        marked("stay-git-common", below("repo/app/common/config")),
        marked("stay-cron", PLAN("cron")),
        marked("own-binary", PLAN("valetkey_spare")),
    ]
) | {
    "nested-remount": holds(below("remounted"), "EFFECT:nested-remount"),
    # The folder may have been renamed by the attempt that came after it.
    "policy-edit": lambda scene: any(b"EFFECT:policy-edit\n" in octets for octets in scene.configurations()),
    "policy-rename": lambda scene: any(b"EFFECT:policy-rename\n" in octets for octets in scene.configurations()),
    "policy-plant": planted,
    "stay-git-config": lambda scene: any(
        holds(below(f"repo/.git/{part}config"), "EFFECT:stay-git-config\n")(scene) for part in ("", "modules/part/")
    ),
    "host-name": lambda scene: socket.gethostname() == "hostile-was-here",
    "cgroup": lambda scene: os.path.isdir(scene.plan["cgroup"] + "/escaped"),
    "deputy-receipt": lambda scene: open(scene.plan["users_file"]).read() != "mine\n",
    "limits": limit_of,
    "stop-process": lambda scene: state_of(scene, "stopped") == "T",
    "kill-process": lambda scene: scene.processes["killed"].poll() is not None,
    "kill-gateway": lambda scene: scene.processes["gateway"].poll() is not None,
}


# What succeeds inside as well, and why it is left so. docs/threat-model.md says what to do about each.
OPEN = {
    "save-anew-race": "a mask lies on one file; where the user's program puts another in its place, that one is bare until it is masked",
    "unix-late-race": "a socket that was bound after the start is hidden within a fifth of a second",
    "stay-git-common": "git trusts the folder that it is started in, and the agent writes that folder",
}


def without_control(scene):
    """Attempts that cannot be shown to succeed here without walls, and why."""
    root = os.geteuid() == 0
    none = {
        "proc-of-the-gateway": "the gateway hides its memory from its own user even without walls",
        "kernel-nested-proc": "whether the kernel gives it depends on what lies over its own tables",
        "vsock": "needs a virtual machine's transport",
        "nested-overlay": "the control reads the file beside the overlay",
    }
    if not scene.root:
        ordinary = "an ordinary user cannot do it anywhere"
        names = ("file-shadow", "block-device", "raw-socket", "packet-socket", "host-name", "kernel-core-pattern", "kernel-sysrq", "file-handle")
        none |= dict.fromkeys(names, ordinary)
    if not root:
        none |= dict.fromkeys(("setuid", "file-capability", "unix-run", "cgroup"), "only root can lay it out")
    if "disk" not in scene.canaries:
        none["block-device"] = "the disk's octets are not known here"
    if not os.path.exists("/proc/sysrq-trigger"):
        none["kernel-sysrq"] = "this kernel has none"
    if getattr(scene, "no_udplite", False):
        none["udp-lite"] = "this kernel has none"
    if not getattr(scene, "cgroup", None):
        none["cgroup"] = "no second version of control groups that may be written"
    # Whoever starts us may have forbidden them, as `doctor --attack` has; few may change that.
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        none["core-dump"] = "core files are forbidden here"
    with open("/proc/sys/kernel/core_pattern") as file:
        if file.read().strip() != "core":
            none["core-dump"] = "the system takes dumps away"
    try:
        with open("/proc/sys/dev/tty/legacy_tiocsti") as file:
            if file.read().strip() == "0":
                none["terminal-input"] = "this kernel refuses it to everybody"
    except OSError:
        pass
    return none


def bases():
    own = os.environ.get("HOSTILE_BASE")
    return [own] if own else ["/home", "/srv", "/opt", "/var/lib", os.path.expanduser("~/.cache"), os.path.expanduser("~")]


def base_folder():
    """A folder that isolation does not make fresh, and that an ordinary user can enter."""
    for folder in bases():
        if os.path.isdir(folder) and os.access(folder, os.W_OK) and not re.match(r"/(tmp|var/tmp|run|dev)(/|$)", os.path.realpath(folder)):
            return folder
    raise RuntimeError("no folder outside /tmp can be written; set HOSTILE_BASE to one")


def play(kind, options, base, uid):
    """One run, in a process and namespaces of its own: whatever it leaves open ends with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            enter_namespaces()
            make_network()
            scene = Scene(options.binary, base, uid, options.as_root)
            try:
                if kind == "inside":
                    # What a run leaves in the work folder, the next one finds.
                    scene.run(True, ["next-run", "plant-link"])
                outcome = scene.run(kind == "inside", options.only)
                said = {"outcome": outcome, "none": without_control(scene), "errors": scene.errors}
            finally:
                scene.close()
        except BaseException as error:
            import traceback

            said = {"failed": f"{error}\n{traceback.format_exc()}"}
        with os.fdopen(writer, "w") as out:
            json.dump(said, out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        said = json.loads(file.read() or '{"failed": "it ended early"}')
    os.waitpid(child, 0)
    if "failed" in said or not said["outcome"]:
        raise RuntimeError(f"the agent ({kind}) could not be judged: {said.get('failed') or said['errors']}")
    return said["outcome"], said["none"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--as-root", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    uid = os.geteuid() if os.geteuid() != 0 else (0 if options.as_root else 4242)
    if options.as_root and os.geteuid() != 0:
        raise RuntimeError("--as-root needs root")
    base = base_folder()
    outcomes, none = {}, {}
    for kind in ("control", "inside"):
        outcomes[kind], none = play(kind, options, base, uid)
    listed = subprocess.run([sys.executable, HERE + "/agent.py", "--list"], capture_output=True, text=True, check=True)
    good = True
    for one in map(json.loads, listed.stdout.splitlines()):
        name = one["attack"]
        if options.only and name not in options.only:
            continue
        control, inside = (outcomes[kind].get(name, (None, "DID NOT RUN")) for kind in ("control", "inside"))
        row = one | {"control": control[0], "inside": inside[0], "ran": name in outcomes["control"] and name in outcomes["inside"]}
        row |= {"no_control": none.get(name), "got_control": control[1][:400], "got_inside": inside[1][:400]}
        row["open"] = OPEN.get(name)
        fine = row["ran"] and (name in OPEN or not inside[0]) and (control[0] or name in none)
        good &= bool(fine)
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            mark = " " if fine else "!"
            shown = control[0] or ("(no control)" if name in none else "-")
            print(f"{mark} {name:28} {shown:24} {inside[0] or '-'}{' (open)' if inside[0] and name in OPEN else ''}")
            if options.verbose or not fine:
                print(f"      control: {control[1][:300]!r}\n      inside:  {inside[1][:300]!r}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        print(f"judge: {error}", file=sys.stderr)
        if "-v" in sys.argv or isinstance(error, OSError):
            import traceback

            traceback.print_exc()
        sys.exit(3)
