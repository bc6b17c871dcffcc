"""An exchange over TLS that takes requests signed with Python's own hmac and no others, in the two forms that vendors have.

usage: exchange.py CERT KEY JOURNAL; prints its port. The key comes in EXCHANGE_KEYS, one JSON object: {"key_id", "secret", "passphrase"}. /headers/..
wants CB-ACCESS-* (base64 over time, method, target and body), /query/.. wants X-MBX-APIKEY and a last parameter `signature` (hexadecimal over
query and body). What it was sent goes to the journal.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import ssl
import sys
import time

certificate, key, journal = sys.argv[1:4]
keys = json.loads(os.environ["EXCHANGE_KEYS"])
secret = keys["secret"].encode()


def fresh(seconds):
    return abs(time.time() - seconds) < 30


def by_headers(method, target, headers, body):
    text = (headers["CB-ACCESS-TIMESTAMP"] + method + target).encode() + body
    signature = base64.b64encode(hmac.new(secret, text, hashlib.sha256).digest()).decode()
    return (hmac.compare_digest(signature, headers["CB-ACCESS-SIGN"]) and headers["CB-ACCESS-KEY"] == keys["key_id"]
            and headers["CB-ACCESS-PASSPHRASE"] == keys["passphrase"] and fresh(int(headers["CB-ACCESS-TIMESTAMP"])))


def by_query(target, headers, body):
    query, _, signature = target.split("?", 1)[1].rpartition("&signature=")
    wanted = hmac.new(secret, query.encode() + body, hashlib.sha256).hexdigest()
    when = dict(pair.split("=", 1) for pair in query.split("&"))["timestamp"]
    return hmac.compare_digest(wanted, signature) and headers["X-MBX-APIKEY"] == keys["key_id"] and fresh(int(when) / 1000)


class Exchange(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            if self.path.startswith("/headers/"):
                holds = by_headers(self.command, self.path, self.headers, body)
            else:
                holds = by_query(self.path, self.headers, body)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError):
            holds = False
        with open(journal, "a") as out:
            sent = {"target": self.path, "headers": dict(self.headers.items()), "body": body.decode(), "holds": holds}
            out.write(json.dumps(sent) + "\n")
        # It says what it got: an echo must not give the agent what is not its own.
        text = json.dumps({"holds": holds, "echo": {name: self.headers[name] for name in self.headers}, "target": self.path}).encode()
        self.send_response(200 if holds else 401)
        self.send_header("content-length", str(len(text)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
