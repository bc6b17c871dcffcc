"""Sends a signed answer as a receiver's people would, with the specification's own library.

usage: hook_answer.py URL BODY [ID] [SECONDS] [SENT]; prints the status and the body of the answer. The secret comes in OPS_WEBHOOK_SECRET; SECONDS
are added to the time; SENT is sent in place of the body that was signed.
"""

import datetime
import os
import sys
import urllib.error
import urllib.request
import uuid

from standardwebhooks import Webhook

url, body = sys.argv[1:3]
more = dict(enumerate(sys.argv[3:]))
message = more.get(0) or f"msg_{uuid.uuid4().hex}"
signed = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=int(more.get(1) or 0))
headers = {
    "content-type": "application/json",
    "webhook-id": message,
    "webhook-timestamp": str(int(signed.timestamp())),
    "webhook-signature": Webhook(os.environ["OPS_WEBHOOK_SECRET"]).sign(message, signed, body),
}
request = urllib.request.Request(url, (more.get(2) or body).encode(), headers, method="POST")
try:
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
