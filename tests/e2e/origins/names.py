"""A network with name servers in the wrong hands, for one command; needs namespaces of its own for mounts and network.

usage: unshare -mn python names.py FOLDER COMMAND ...

The loopback device also has 93.184.216.34, which is public to whoever checks. A name server on 127.0.0.1 answers, by the
first label of a name: `flip-..` public to the first question and loopback from then on, `both-..` with either at once,
`inside-..` with loopback, `public..` public; everything below evil.test is at loopback. Listeners on port 443 of both
addresses count who connects, and close. /etc/hosts and /etc/resolv.conf are as an agent would like them. Prints JSON:
{"code", "asked": [names], "public": connections, "loopback": connections}.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import threading

PUBLIC, LOOPBACK = "93.184.216.34", "127.0.0.1"
asked, counts = [], {PUBLIC: 0, LOOPBACK: 0}


def answers(name, nth):
    label = name.split(".")[0]
    if name.endswith("evil.test") or label.startswith("inside"):
        return [LOOPBACK]
    if label.startswith("both"):
        return [PUBLIC, LOOPBACK]
    if label.startswith("flip"):
        return [PUBLIC if nth == 0 else LOOPBACK]
    return [PUBLIC] if label.startswith("public") else []


def name_server(udp):
    seen = {}
    while True:
        question, client = udp.recvfrom(4096)
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += question[at] + 1
        end = at + 5
        name, (kind,) = ".".join(labels).lower(), struct.unpack("!H", question[at + 1 : at + 3])
        found = []
        if kind == 1:
            asked.append(name)
            found = answers(name, seen.get(name, 0))
            seen[name] = seen.get(name, 0) + 1
        # NXDOMAIN, where there is nothing, is what makes a resolver try its search domains.
        code = 0 if answers(name, 0) else 3
        head = question[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(found), 0, 0)
        rows = [struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(one) for one in found]
        udp.sendto(head + question[12:end] + b"".join(rows), client)


def count(listener, address):
    while True:
        client, _ = listener.accept()
        counts[address] += 1
        client.close()


def bind(folder, path, text):
    mine = os.path.join(folder, os.path.basename(path))
    with open(mine, "w") as file:
        file.write(text)
    subprocess.run(["mount", "--bind", mine, path], check=True)


def main():
    folder, command = sys.argv[1], sys.argv[2:]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", PUBLIC + "/32", "dev", "lo"], check=True)
    bind(folder, "/etc/resolv.conf", "nameserver 127.0.0.1\nsearch evil.test\noptions ndots:9\n")
    bind(folder, "/etc/hosts", f"{LOOPBACK} localhost public-hosted.kit.test absent.kit.test\n")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((LOOPBACK, 53))
    threading.Thread(target=name_server, args=(udp,), daemon=True).start()
    for address in counts:
        listener = socket.create_server((address, 443))
        threading.Thread(target=count, args=(listener, address), daemon=True).start()
    done = subprocess.run(command, stdout=sys.stderr)
    told = {"code": done.returncode, "asked": asked, "public": counts[PUBLIC], "loopback": counts[LOOPBACK]}
    print(json.dumps(told))


main()
