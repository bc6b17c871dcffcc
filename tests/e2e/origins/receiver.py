"""A receiver of webhooks over TLS that verifies with the specification's own library.

usage: receiver.py CERT KEY JOURNAL PORT [ANSWERS]; prints its port. The secret comes in OPS_WEBHOOK_SECRET. One JSON object a message goes
to the journal: {"holds", "id", "type", "data", "path"}. ANSWERS are statuses to give first, apart by commas.
"""

import http.server
import json
import os
import ssl
import sys

from standardwebhooks import Webhook, WebhookVerificationError

certificate, key, journal, port = sys.argv[1:5]
answers = sys.argv[5].split(",") if len(sys.argv) > 5 else []
webhook = Webhook(os.environ["OPS_WEBHOOK_SECRET"])


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message, holds = webhook.verify(body, {name.lower(): value for name, value in self.headers.items()}), True
        except WebhookVerificationError:
            message, holds = {}, False
        line = {"holds": holds, "id": self.headers["webhook-id"], "type": message.get("type"), "data": message.get("data")}
        with open(journal, "a") as out:
            out.write(json.dumps({**line, "path": self.path, "text": body.decode()}) + "\n")
        self.send_response(int(answers.pop(0)) if answers else 204)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
