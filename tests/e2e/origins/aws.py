"""AWS on one port, over TLS: moto, which verifies signatures (what it makes of a wrong key is what AWS does: SignatureDoesNotMatch).

usage: aws.py CERT KEY; prints {"port", "id", "key", "session": {..}}: an address, the keys of a user who may do everything, and those of a role, with a
session token.
"""

import json
import os
import sys

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"
# A function's code is nothing that a test needs; without this moto would ask for Docker.
from moto.core.config import default_user_config

default_user_config["lambda"]["use_docker"] = False

from moto import settings
from moto.backends import get_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCOUNT, REGION = "123456789012", "us-east-1"
EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def keys():
    iam = get_backend("iam")[ACCOUNT]["aws"]
    iam.create_user("aws", "agent")
    iam.put_user_policy("agent", "everything", EVERYTHING)
    return iam.create_access_key("agent")


def function():
    """A function, made without its role being looked for."""
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    code = {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}
    spec = {"FunctionName": "hello", "Runtime": "python3.13", "Role": role, "Handler": "h.h", "Code": code}
    iam = get_backend("iam")[ACCOUNT]["aws"]
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role("r", trust, "/", "", "", {}, 3600)
    iam.put_role_policy("r", "everything", EVERYTHING)
    get_backend("lambda")[ACCOUNT][REGION].create_function(spec)


def session():
    role = f"arn:aws:iam::{ACCOUNT}:role/r"
    pair = get_backend("sts")[ACCOUNT]["aws"].assume_role(REGION, "day", role, None, 3600, None)
    return {"AccessKeyId": pair.access_key_id, "SecretAccessKey": pair.secret_access_key, "SessionToken": pair.session_token}


def main():
    assert settings.INITIAL_NO_AUTH_ACTION_COUNT == 0
    pair = keys()
    function()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet, ssl_context=tuple(sys.argv[1:3]))
    ready = {"port": server.server_port, "id": pair.access_key_id, "key": pair.secret_access_key, "session": session()}
    print(json.dumps(ready), flush=True)
    server.serve_forever()


main()
