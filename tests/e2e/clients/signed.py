"""An agent of an exchange, written as their SDKs are: it signs with what its environment says, and knows nothing of a gateway. Prints the status
and the answer of each request as JSON."""

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

key_id, secret, passphrase = (os.environ["EXCHANGE_" + name] for name in ("KEY", "SECRET", "PASSPHRASE"))
host, seen = "https://api.exchange.test", []


def send(method, target, headers, body=None):
    data = body.encode() if body is not None else None
    request = urllib.request.Request(host + target, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            seen.append([answer.status, json.loads(answer.read())])
    except urllib.error.HTTPError as error:
        seen.append([error.code, json.loads(error.read() or b"null")])


def by_headers(method, target, body=None, offset=0):
    now = str(int(time.time()) + offset)
    text = (now + method + target + (body or "")).encode()
    sign = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
    send(method, target, {"CB-ACCESS-KEY": key_id, "CB-ACCESS-SIGN": sign, "CB-ACCESS-TIMESTAMP": now,
                          "CB-ACCESS-PASSPHRASE": passphrase, "Content-Type": "application/json"}, body)


def by_query(method, path, parameters):
    query = urllib.parse.urlencode({**parameters, "timestamp": int(time.time() * 1000)})
    sign = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    send(method, f"{path}?{query}&signature={sign}", {"X-MBX-APIKEY": key_id})


by_headers("GET", "/headers/accounts")
by_headers("POST", "/headers/orders", '{"side": "buy", "size": "1.0"}')
by_headers("GET", "/headers/accounts", offset=86400)
by_query("GET", "/query/account", {"symbol": "LTC BTC", "recvWindow": 5000})
by_headers("DELETE", "/headers/orders")
print(json.dumps({"key_id": key_id, "secret": secret, "seen": seen}))
