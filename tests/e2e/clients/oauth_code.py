"""Logs in as command-line programs do: authorization code, PKCE, loopback redirect; then calls, refreshes twice, and calls.

The browser is the user's own and no part of the agent: it goes straight to the authorization server, not through the proxy.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

import requests
from requests_oauthlib import OAuth2Session

authorize, authority, token_url, api, mode = sys.argv[1:6]
caught = {}


class Redirect(BaseHTTPRequestHandler):
    def do_GET(self):
        caught.update(parse_qs(urlparse(self.path).query))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Redirect)
threading.Thread(target=server.serve_forever, daemon=True).start()
redirect = f"http://127.0.0.1:{server.server_port}/callback"
session = OAuth2Session("client-1", redirect_uri=redirect, scope=["user:inference"], pkce="S256")
url, state = session.authorization_url(authorize)

browser = requests.Session()
browser.trust_env = False
browser.verify = authority
browser.get(url)
server.shutdown()
assert caught["state"] == [state], caught


def call():
    answer = session.get(api)
    print("call", answer.status_code)
    return answer


def keep(token):
    with open("login.json", "w") as file:
        json.dump(dict(token), file)
    print("token", json.dumps(dict(token)))


keep(session.fetch_token(token_url, code=caught["code"][0], include_client_id=True))
call()
for _ in range(2):
    old = dict(session.token)
    keep(session.refresh_token(token_url, client_id="client-1"))
    call()
    # The token before the refresh still stands for the log-in: the gateway puts the current one on.
    print("old", requests.get(api, headers={"authorization": f"Bearer {old['access_token']}"}).status_code)
if mode == "twice":
    # A program that was killed before it wrote its file refreshes with what it had.
    answer = requests.post(token_url, data={"grant_type": "refresh_token", "refresh_token": old["refresh_token"]})
    print("again", answer.status_code)
    call()
# What does not belong: a refresh token on a request, an access token in the place of one, one that nobody gave.
now = session.token
print("misplaced", requests.get(api, headers={"authorization": f"Bearer {now['refresh_token']}"}).status_code)
for token in (now["access_token"], "sk-ant-ort01-somebodyelses0123456789"):
    body = {"grant_type": "refresh_token", "refresh_token": token}
    print("foreign", requests.post(token_url, json=body).json()["code"])
print("elsewhere", requests.post(os.environ["ELSEWHERE"], data={"refresh_token": now["refresh_token"]}).status_code)
