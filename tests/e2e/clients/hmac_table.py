"""Makes `crates/inject/tests/data/hmac.jsonl`: requests signed with Python's hmac as vendors document it, with the signatures that they print
where they print some (`documented`). Run it by hand; a row is a service file's scheme, a credential, what the agent sends, and what must leave."""
import base64, datetime, hashlib, hmac, json, os, urllib.parse

def mac(algorithm, key, text):
    return hmac.new(key, text, getattr(hashlib, algorithm)).digest()

def b64(octets):
    return base64.b64encode(octets).decode()

rows = []

def row(vendor, spec, secret, now_micros, sent, leaves, documented=None, key_id=None, passphrase=None):
    if documented is not None:
        assert documented in json.dumps(leaves), (vendor, documented, leaves)
    rows.append({"vendor": vendor, "spec": spec, "secret": secret, "key_id": key_id, "passphrase": passphrase, "now": now_micros, "sent": sent,
                 "leaves": leaves, "documented": documented is not None})

# Binance, "SIGNED Endpoint Examples for POST /api/v3/order", example 1 and 3; the keys are the ones printed there.
key_id = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv" + "sw0MuIgwCIPy6utIco14y7Ju91duEh8A"
secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP" + "1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
spec = {"sign": "{query}{body}", "timestamp": "milliseconds", "headers": {"X-MBX-APIKEY": "{key_id}"},
        "query": {"timestamp": "{timestamp}", "signature": "{signature}"}}
whole = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
made = mac("sha256", secret.encode(), whole.encode()).hex()
row("Binance, all in the query", spec, secret, 1499827319559000,
    {"method": "POST", "url": "https://api.binance.test/api/v3/order?" + whole.replace("1499827319559", "1499827310000") + "&signature=00",
     "headers": {"X-MBX-APIKEY": "placeholder"}},
    {"target": "/api/v3/order?" + whole + "&signature=" + made, "headers": {"x-mbx-apikey": key_id}},
    "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71", key_id)
query, body = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC", "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
made = mac("sha256", secret.encode(), (query + body).encode()).hex()
row("Binance, query and body", {**spec, "query": {"signature": "{signature}"}}, secret, 1499827319559000,
    {"method": "POST", "url": "https://api.binance.test/api/v3/order?" + query, "headers": {"X-MBX-APIKEY": "placeholder"}, "body": body},
    {"target": "/api/v3/order?" + query + "&signature=" + made, "headers": {"x-mbx-apikey": key_id}},
    "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77", key_id)

# Twilio, "Validating requests", example: URL, and the form's names and values in order.
form = {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234", "From": "+14158675309", "To": "+18005551212"}
text = "https://mycompany.com/myapp.php?foo=1&bar=2" + "".join(name + form[name] for name in sorted(form))
made = b64(mac("sha1", b"12345", text.encode()))
row("Twilio", {"algorithm": "sha1", "encoding": "base64", "sign": "{url}{form.sorted}", "headers": {"X-Twilio-Signature": "{signature}"}},
    "12345", 0,
    {"method": "POST", "url": "https://mycompany.com/myapp.php?foo=1&bar=2", "headers": {"content-type": "application/x-www-form-urlencoded"},
     "body": urllib.parse.urlencode(dict(reversed(form.items())))},
    {"target": "/myapp.php?foo=1&bar=2", "headers": {"x-twilio-signature": made}}, "RSOYDt4T1cUTdK1PDd93/VVr8B8=")

# Shopify, "Verify the installation request": the query without `hmac`, in order.
query = "code=0907a61c0c8d55e99db179b68161bc00&shop=some-shop.myshopify.com&state=0.6784241404160823&timestamp=1337178173"
made = mac("sha256", b"hush", query.encode()).hex()
row("Shopify", {"sign": "{query.sorted}", "query": {"hmac": "{signature}"}}, "hush", 0,
    {"method": "GET", "url": "https://shop.test/auth?hmac=old&shop=some-shop.myshopify.com&timestamp=1337178173&code=0907a61c0c8d55e99db179b68161bc00&state=0.6784241404160823", "headers": {}},
    {"target": "/auth?shop=some-shop.myshopify.com&timestamp=1337178173&code=0907a61c0c8d55e99db179b68161bc00&state=0.6784241404160823&hmac=" + made, "headers": {}},
    "700e2dadb827fcc8609e9d5ce208b2e9cdaab9df07390d2cbca10d7c328fc4bf")

# GitHub, "Validating webhook deliveries": the example to test with.
made = mac("sha256", b"It's a Secret to Everybody", b"Hello, World!").hex()
row("GitHub", {"sign": "{body}", "headers": {"X-Hub-Signature-256": "sha256={signature}"}}, "It's a Secret to Everybody", 0,
    {"method": "POST", "url": "https://receiver.test/hook", "headers": {}, "body": "Hello, World!"},
    {"target": "/hook", "headers": {"x-hub-signature-256": "sha256=" + made}}, "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")

# Slack, "Verifying requests from Slack": the example.
body = ("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA"
        "&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
        "96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
made = mac("sha256", b"8f742231b10e8888abcd99yyyzzz85a5", ("v0:1531420618:" + body).encode()).hex()
row("Slack", {"sign": "v0:{timestamp}:{body}", "headers": {"X-Slack-Request-Timestamp": "{timestamp}", "X-Slack-Signature": "v0={signature}"}},
    "8f742231b10e8888abcd99yyyzzz85a5", 1531420618000000,
    {"method": "POST", "url": "https://receiver.test/hook", "headers": {}, "body": body},
    {"target": "/hook", "headers": {"x-slack-request-timestamp": "1531420618", "x-slack-signature": "v0=" + made}},
    "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")

# Standard Webhooks, the example of its libraries: the id is the sender's own.
secret, body, ident = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", '{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek"
made = b64(mac("sha256", base64.b64decode(secret), f"{ident}.1614265330.{body}".encode()))
row("Standard Webhooks", {"key": "base64", "encoding": "base64", "sign": "{nonce}.{timestamp}.{body}",
    "headers": {"webhook-id": "{nonce}", "webhook-timestamp": "{timestamp}", "webhook-signature": "v1,{signature}"}}, secret, 1614265330000000,
    {"method": "POST", "url": "https://receiver.test/hook", "headers": {"webhook-id": ident, "webhook-timestamp": "1"}, "body": body},
    {"target": "/hook", "headers": {"webhook-id": ident, "webhook-timestamp": "1614265330", "webhook-signature": "v1," + made}},
    "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")

# Gate, "APIv4 signature string generation": the first example; secret `secret`, key `key`.
text = "GET\n/api/v4/futures/orders\ncontract=BTC_USD&status=finished&limit=50\n" + hashlib.sha512(b"").hexdigest() + "\n1541993715"
made = mac("sha512", b"secret", text.encode()).hex()
row("Gate", {"algorithm": "sha512", "sign": "{method}\n{path}\n{query}\n{body.sha512}\n{timestamp}",
    "headers": {"KEY": "{key_id}", "Timestamp": "{timestamp}", "SIGN": "{signature}"}}, "secret", 1541993715000000,
    {"method": "GET", "url": "https://gate.test/api/v4/futures/orders?contract=BTC_USD&status=finished&limit=50", "headers": {"KEY": "placeholder"}},
    {"target": "/api/v4/futures/orders?contract=BTC_USD&status=finished&limit=50", "headers": {"key": "key-of-gate", "timestamp": "1541993715", "sign": made}},
    "55f84ea195d6fe57ce62464daaa7c3c02fa9d1dde954e4c898289c9a2407a3d6fb3faf24deff16790d726b66ac9f74526668b13bd01029199cc4fcc522418b8a", "key-of-gate")

# Coinbase Exchange's form ("Signing a message"): no signature is printed there.
secret, body = b64(b"a key of coinbase, in base64"), '{"size":"1.0","price":"1.0","side":"buy","product_id":"BTC-USD"}'
made = b64(mac("sha256", base64.b64decode(secret), ("1700000000" + "POST" + "/orders?x=%20y" + body).encode()))
row("Coinbase", {"key": "base64", "encoding": "base64", "sign": "{timestamp}{method}{target}{body}",
    "headers": {"CB-ACCESS-KEY": "{key_id}", "CB-ACCESS-SIGN": "{signature}", "CB-ACCESS-TIMESTAMP": "{timestamp}", "CB-ACCESS-PASSPHRASE": "{passphrase}"}},
    secret, 1700000000999999,
    {"method": "POST", "url": "https://coinbase.test/orders?x=%20y",
     "headers": {"CB-ACCESS-KEY": "placeholder", "CB-ACCESS-SIGN": "xx==", "CB-ACCESS-TIMESTAMP": "1", "CB-ACCESS-PASSPHRASE": "p-holder"}, "body": body},
    {"target": "/orders?x=%20y", "headers": {"cb-access-key": "id-of-coinbase", "cb-access-sign": made, "cb-access-timestamp": "1700000000",
     "cb-access-passphrase": "open-sesame"}}, None, "id-of-coinbase", "open-sesame")

# OKX's form: the time as ISO 8601; and one whose header holds everything, with a digest beside.
when = datetime.datetime(2020, 12, 8, 9, 8, 57, 715000, tzinfo=datetime.timezone.utc)
micros = int(when.timestamp()) * 1000000 + 715000
made = b64(mac("sha256", b"k-of-okx", "2020-12-08T09:08:57.715ZGET/api/v5/account/balance?ccy=BTC".encode()))
row("OKX", {"encoding": "base64", "timestamp": "iso8601", "sign": "{timestamp}{method}{target}{body}",
    "headers": {"OK-ACCESS-KEY": "{key_id}", "OK-ACCESS-SIGN": "{signature}", "OK-ACCESS-TIMESTAMP": "{timestamp}"}}, "k-of-okx", micros,
    {"method": "GET", "url": "https://okx.test/api/v5/account/balance?ccy=BTC", "headers": {"OK-ACCESS-KEY": "placeholder"}},
    {"target": "/api/v5/account/balance?ccy=BTC", "headers": {"ok-access-key": "id-of-okx", "ok-access-sign": made,
     "ok-access-timestamp": "2020-12-08T09:08:57.715Z"}}, None, "id-of-okx")
digest = b64(hashlib.sha256(b'{"a":1}').digest())
text = "PUT\nacme.test\n/v1/items\napplication/json\n" + digest + "\n1700000000999"
made = mac("sha512", bytes.fromhex("00ff10"), text.encode()).hex()
row("one header", {"algorithm": "sha512", "key": "hex", "timestamp": "milliseconds",
    "sign": "{method}\n{host}\n{path}\n{header.content-type}\n{body.sha256.base64}\n{timestamp}",
    "headers": {"Authorization": "ACME id={key_id},ts={timestamp},sig={signature}", "X-Digest": "SHA-256={body.sha256.base64}"}}, "00ff10", 1700000000999999,
    {"method": "PUT", "url": "https://acme.test/v1/items", "headers": {"Authorization": "ACME id=placeholder,ts=5,sig=0", "content-type": "application/json"}, "body": '{"a":1}'},
    {"target": "/v1/items", "headers": {"authorization": f"ACME id=id-of-acme,ts=1700000000999,sig={made}", "x-digest": "SHA-256=" + digest}}, None, "id-of-acme")

at = os.path.join(os.path.dirname(__file__), "../../../crates/inject/tests/data/hmac.jsonl")
with open(at, "w") as out:
    out.writelines(json.dumps(one) + "\n" for one in rows)
print(len(rows), "rows,", sum(one["documented"] for one in rows), "documented")
