"""Ways in which a process on the same machine goes for the gateway's secrets, its process and its control plane.

One function for each way; each gives the octets that it got, or fails. Run as `local.py TARGET METHOD..`: TARGET is a file with
JSON that says where things are. Prints one JSON object, method to {"got": base64} or {"no": why}. It knows where to look and what
every secret begins with, so that it finds one in megabytes of memory; it knows no secret.
"""
import base64, ctypes, ctypes.util, json, os, re, signal, socket, sys

T = json.load(open(sys.argv[1]))
PID = T["pid"]
LIBC = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)
MARK = T["mark"].encode()


def read(path, most=1 << 20):
    with open(path, "rb") as file:
        return file.read(most)


def proc(name):
    return f"/proc/{PID}/{name}"


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def regions():
    """Writable memory of the process, where its map may be read."""
    for line in open(proc("maps")):
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
        if found:
            yield int(found[1], 16), int(found[2], 16)


def around(octets):
    at = octets.find(MARK)
    return octets[at:at + 200] if at >= 0 else b""


# Files.

def home_list(): return "\n".join(os.listdir(T["home"])).encode()
def database(): return read(T["home"] + "/valetkey.db")
def vault_key(): return read(T["home"] + "/vault.key")
def audit_key(): return read(T["home"] + "/audit.key")


def audit_log():
    for folder, _, files in os.walk(T["home"] + "/audit", onerror=fail):
        for name in files:
            octets = read(os.path.join(folder, name))
            if octets:
                return octets
    raise OSError("nothing there")


def fail(error): raise error
def secret_file(): return read(T["secret"])


def via_symlink():
    link = T["scratch"] + "/link"
    os.symlink(T["home"] + "/vault.key", link)
    return read(link)


def via_hard_link():
    link = T["scratch"] + "/hard"
    os.link(T["home"] + "/vault.key", link)
    return read(link)


def change_configuration():
    with open(T["configuration"], "a") as file:
        file.write("# changed\n")
    return b"changed"


def change_authority():
    with open(T["authority"], "r+b") as file:
        file.write(b"-")
    return b"changed"


def take_socket():
    own = socket.socket(socket.AF_UNIX)
    os.rename(T["door_file"], T["door_file"] + ".old")
    own.bind(T["door_file"])
    return b"taken"


# The process.

def environ(): return around(read(proc("environ")))
def maps(): return read(proc("maps"))
def fd(): return b"".join(os.readlink(proc("fd/" + name)).encode() for name in os.listdir(proc("fd")))
def cwd(): return os.readlink(proc("cwd")).encode()
def exe(): return read(proc("exe"), 4096)
def root(): return "\n".join(os.listdir(proc("root") + "/")).encode()
def io(): return read(proc("io"))


def mem():
    with open(proc("mem"), "rb", buffering=0) as memory:
        for begin, end in regions():
            try:
                memory.seek(begin)
                found = around(memory.read(end - begin))
            except OSError:
                continue
            if found:
                return found
    raise OSError("nothing found")


def ptrace():
    checked(LIBC.ptrace(16, PID, None, None))  # PTRACE_ATTACH
    os.waitpid(PID, 0x40000000)  # __WALL
    LIBC.ptrace(17, PID, None, None)  # PTRACE_DETACH
    return b"attached"


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def process_vm_readv():
    try:
        places = list(regions())
    except OSError:
        places = [(0x10000, 0x11000)]  # The kernel asks who we are before it asks what is there.
    why = OSError("nothing found")
    for begin, end in places:
        length = min(end - begin, 1 << 24)
        buffer = ctypes.create_string_buffer(length)
        here, there = Piece(ctypes.cast(buffer, ctypes.c_void_p).value, length), Piece(begin, length)
        try:
            count = checked(LIBC.process_vm_readv(PID, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
        except OSError as error:
            why = error
            continue
        found = around(buffer.raw[:count])
        if found:
            return found
    raise why


def pidfd_getfd():
    process = checked(LIBC.syscall(434, PID, 0))  # pidfd_open
    return os.fstat(checked(LIBC.syscall(438, process, 0, 0))).st_mode.to_bytes(4, "big")  # pidfd_getfd


def abort():
    os.kill(PID, signal.SIGABRT)
    return b"sent"


# The control plane.

def connect(place):
    if place.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place)
    else:
        host, _, port = place.rpartition(":")
        connection = socket.create_connection((host, int(port)))
    connection.settimeout(20)
    return connection


def ask(method, path, body=None, token=None, place=None):
    """Asks; with the operator's token where the target says that this is the control."""
    place = place or T["door"]
    token = T.get("token") or token
    octets = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: {place if ':' in place else 'localhost'}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(octets)}\r\n"
    head += f"Authorization: Bearer {token}\r\n" if token else ""
    connection = connect(place)
    connection.sendall(head.encode() + b"\r\n" + octets)
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    status = int(answer.split(b" ", 2)[1])
    if not 200 <= status < 300:
        raise OSError(f"{status}")
    return answer


YES = {"decision": "approve"}


def home_socket(): return str(connect(T["home_socket"])).encode()
def approve(): return ask("POST", "/v1/approvals/" + T["questions"][0], YES)
def approve_forged(): return ask("POST", "/v1/approvals/" + T["questions"][1], YES, token="0" * 64)
def approve_query(): return ask("POST", "/v1/approvals/" + T["questions"][2] + "?operator=ada", YES)
def approve_tcp(): return ask("POST", "/v1/approvals/" + T["questions"][3], YES, place=T["tcp"])
def list_approvals(): return ask("GET", "/v1/approvals")
def list_credentials(): return ask("GET", "/v1/credentials")
def add_credential(): return ask("POST", "/v1/credentials", {"name": "mine", "value": "v" * 20})
def stop(): return ask("POST", "/v1/stop", {"agent": "nobody"})
def lift_stop(): return ask("POST", "/v1/stop/lift", {"stop": {"agent": "nobody"}})
def enable_agent(): return ask("POST", "/v1/agents/nobody/enable")
def other_agent(): return ask("POST", "/v1/sessions", {"agent": "other"})
def other_person(): return ask("POST", "/v1/sessions", {"agent": "worker", "user": "ada"})
def end_other(): return ask("DELETE", "/v1/sessions/" + T["session"])


answers = {}
for method in sys.argv[2:]:
    try:
        got = globals()[method]()
        answers[method] = {"got": base64.b64encode(got).decode()}
    except Exception as error:
        answers[method] = {"no": f"{type(error).__name__}: {error}"}
print(json.dumps(answers))
