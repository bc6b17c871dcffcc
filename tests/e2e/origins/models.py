"""Two vendors' models and the log-ins of their subscriptions, as far as their own command-line programs use them, over TLS.

usage: models.py CERT KEY FOLDER SEED; prints its port. It answers for every host: Anthropic's Messages API and OpenAI's
Responses API, whole and as server-sent events, and the token endpoints of both, whose refresh tokens are good once.

FOLDER gets `journal.jsonl`, one object a request ({"method", "host", "target", "headers": [[name, value]], "body": base64}),
and `issued.jsonl`, one object for each set of tokens, the first of each vendor at the start: {"vendor", "access_token",
"refresh_token", "id_token", "by"}, where `by` is the refresh token or the code that it was given for. What was issued before
FOLDER's file `expired` was written is not good any more; nor are the first tokens, where it is there at the start. A model
says what is in FOLDER's file `answer`; where that begins with `run: `, Anthropic's asks for this command and says what it
printed.
"""

import base64
import hashlib
import json
import os
import random
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

CERT, KEY, FOLDER, SEED = sys.argv[1:]
ACCOUNT = {"chatgpt_account_id": "acc-1", "chatgpt_user_id": "user-1", "chatgpt_plan_type": "pro"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
lock, dice = threading.Lock(), random.Random(SEED)


def append(name, tree):
    with open(os.path.join(FOLDER, name), "a", encoding="utf-8") as file:
        file.write(json.dumps(tree) + "\n")


def text(count):
    return "".join(dice.choices(LETTERS, k=count))


def jwt(audience, good_for):
    def part(octets):
        return base64.urlsafe_b64encode(octets).decode().rstrip("=")

    now = int(time.time())
    claims = {"iss": "https://auth.openai.com", "aud": audience, "sub": "user-1", "email": "ada@example.test", "iat": now}
    claims |= {"exp": now + good_for, "https://api.openai.com/auth": ACCOUNT}
    head = {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    # As long as the real ones.
    return ".".join([part(json.dumps(head).encode()), part(json.dumps(claims).encode()), part(dice.randbytes(256))])


def ends():
    """When what was issued before stopped being good."""
    try:
        return os.stat(os.path.join(FOLDER, "expired")).st_mtime
    except FileNotFoundError:
        return 0


class Logins:
    """One log-in of each vendor."""

    def __init__(self):
        self.access, self.refresh, self.codes = {}, {}, {}
        for vendor in "anthropic", "openai":
            self.issue(vendor, None)

    def issue(self, vendor, by):
        if vendor == "anthropic":
            # As long as the real ones.
            tokens = {"access_token": "sk-ant-" + "oat01-" + text(95), "refresh_token": "sk-ant-" + "ort01-" + text(95)}
        else:
            # Its own claims say how long it is good.
            good_for = -60 if ends() and not by else 864000
            tokens = {"access_token": jwt(["https://api.openai.com/v1"], good_for), "refresh_token": "rt_" + text(80)}
            tokens["id_token"] = jwt(["app_1"], 3600)
        self.access[tokens["access_token"]] = time.time() if by else 0
        self.refresh[tokens["refresh_token"]] = vendor
        append("issued.jsonl", {"vendor": vendor, "by": by} | tokens)
        return tokens

    def renew(self, token):
        """New tokens for a refresh token that was not used."""
        with lock:
            vendor = self.refresh.pop(token, None)
            return vendor and self.issue(vendor, token)

    def code(self, vendor, challenge):
        """A code for new tokens, for whoever knows what was hashed."""
        with lock:
            code = text(40)
            self.codes[code] = vendor, challenge
            return code

    def begin(self, code, verifier):
        """Tokens for a code."""
        digest = hashlib.sha256((verifier or "").encode()).digest()
        with lock:
            vendor, challenge = self.codes.pop(code, (None, None))
            good = vendor and base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge
            return self.issue(vendor, code) if good else None

    def knows(self, token):
        return self.access.get(token, -1) >= ends()


def said(given):
    """What a model is to say: a command to run, or words."""
    with open(os.path.join(FOLDER, "answer"), encoding="utf-8") as file:
        words = file.read().strip()
    if not words.startswith("run: "):
        return None, words
    return (None, "it printed: " + given) if given else (words.removeprefix("run: "), None)


def anthropic(body):
    """An answer of the Messages API, and its events."""
    given = [
        json.dumps(block.get("content"))
        for message in body.get("messages", [])
        for block in (message["content"] if isinstance(message["content"], list) else [])
        if block.get("type") == "tool_result"
    ]
    has_tool = any(tool.get("name") == "Bash" for tool in body.get("tools", []))
    command, words = said("".join(given)) if has_tool else (None, said("nothing")[1])
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body.get("model"), "usage": usage}
    if command:
        block = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": command, "description": "Look"}}
        start, delta = block | {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    else:
        block = {"type": "text", "text": words}
        start, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": words}
    ends = {"stop_reason": "tool_use" if command else "end_turn", "stop_sequence": None}
    events = [
        {"type": "message_start", "message": message | {"content": [], "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": start},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ends, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]
    return message | {"content": [block]} | ends, events


def openai(body):
    """An answer of the Responses API, and its events. Codex sends its tools and their results coded, so it is asked nothing."""
    part = {"type": "output_text", "text": said("nothing")[1], "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = {"id": "resp_1", "object": "response", "created_at": int(time.time()), "model": body.get("model")}
    usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
    whole = response | {"status": "completed", "output": [item], "usage": usage}
    events = [
        {"type": "response.created", "response": response | {"status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item | {"content": [], "status": "in_progress"}},
        {"type": "response.content_part.added", "part": part | {"text": ""}} | place,
        {"type": "response.output_text.delta", "delta": part["text"]} | place,
        {"type": "response.output_text.done", "text": part["text"]} | place,
        {"type": "response.content_part.done", "part": part} | place,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [event | {"sequence_number": number} for number, event in enumerate(events)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def read(self):
        if "chunked" not in self.headers.get("transfer-encoding", "").lower():
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0].strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def send(self, status, content_type, body, close=False):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def json(self, status, tree):
        self.send(status, "application/json", json.dumps(tree).encode())

    def token(self, body):
        kind, tokens = body.get("grant_type"), None
        if kind == "refresh_token":
            tokens = LOGINS.renew(body.get("refresh_token"))
        elif kind == "authorization_code":
            # Anthropic's come as `code#state`.
            tokens = LOGINS.begin(body.get("code", "").split("#")[0], body.get("code_verifier"))
        if not tokens:
            return self.json(400, {"error": "invalid_grant", "error_description": "it was used, or was never given out"})
        scope = "user:inference user:profile user:sessions:claude_code"
        return self.json(200, {"token_type": "Bearer", "expires_in": 28800, "scope": scope} | tokens)

    def authorize(self, query):
        """The person says yes at once, in the browser."""
        code = LOGINS.code("anthropic" if "claude" in self.headers.get("host", "") else "openai", query.get("code_challenge"))
        self.send_response(302)
        self.send_header("Location", f'{query["redirect_uri"]}?code={code}&state={query["state"]}')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def device(self, path):
        """OpenAI's device flow: the person has said yes, elsewhere, by the first time that the program asks."""
        if path.endswith("/usercode"):
            return self.json(200, {"device_auth_id": "device-1", "user_code": "WDJB-MJHT", "interval": "1"})
        with lock:
            verifier = text(64)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        code = LOGINS.code("openai", challenge)
        return self.json(200, {"authorization_code": code, "code_challenge": challenge, "code_verifier": verifier})

    def model(self, answer, events, streams):
        if not streams:
            return self.json(200, answer)
        lines = "".join(f'event: {event["type"]}\ndata: {json.dumps(event)}\n\n' for event in events)
        return self.send(200, "text/event-stream", lines.encode(), close=True)

    def answer(self):
        body, host = self.read(), self.headers.get("host", "")
        fields = list(self.headers.items())
        seen = {"method": self.command, "host": host, "target": self.path, "headers": fields}
        with lock:
            append("journal.jsonl", seen | {"body": base64.b64encode(body).decode()})
        path, query = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
        try:
            tree = json.loads(body or b"{}")
        except ValueError:
            tree = dict(parse_qsl(body.decode("latin-1")))
        if path.endswith("/oauth/authorize"):
            return self.authorize(query)
        if path.startswith("/api/accounts/deviceauth/"):
            return self.device(path)
        if self.command == "POST" and path in ("/v1/oauth/token", "/oauth/token"):
            return self.token(tree)
        if not LOGINS.knows(self.headers.get("authorization", "").removeprefix("Bearer ")):
            error = {"type": "authentication_error", "message": "the access token is not good", "code": "token_expired"}
            return self.json(401, {"type": "error", "error": error})
        if self.command == "POST" and path == "/v1/messages":
            return self.model(*anthropic(tree), tree.get("stream"))
        if self.command == "POST" and path in ("/v1/responses", "/backend-api/codex/responses"):
            return self.model(*openai(tree), True)
        if path.endswith("/codex/responses"):
            # Over a WebSocket it could be asked too; this one does not speak it.
            return self.json(426, {"error": {"message": "ask over HTTP"}})
        if path == "/backend-api/wham/accounts/check":
            origin = {"workspace_backend_origin": "https://chatgpt.com", "account_routing_override": "NO_CONSTRAINT"}
            account = {"id": ACCOUNT["chatgpt_account_id"], "structure": "personal"} | origin
            return self.json(200, {"accounts": [account], "account_ordering": [account["id"]]})
        if path.endswith("/count_tokens"):
            return self.json(200, {"input_tokens": 10})
        return self.json(404, {"type": "error", "error": {"type": "not_found_error", "message": "there is no such thing"}})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer


LOGINS = Logins()
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
context.set_alpn_protocols(["http/1.1"])
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
# Each handshake in the thread of its connection.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
