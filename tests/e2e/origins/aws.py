"""AWS on one port, over TLS: moto, which verifies signatures (what it makes of a wrong key is what AWS does: SignatureDoesNotMatch).

usage: aws.py CERT KEY; prints {"port", "id", "key", "session": {..}}: an address, the keys of a user who may do everything, and those of a role, with a
session token. That user may take on the role `agents`, for which `~/sts.jsonl` gets a line each time: what STS was sent, and what it gave.

moto keeps session policies and does not look at them. Here it does, with its own evaluator: for actions, and for resources where moto knows them (S3).
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
from moto.core.utils import utcnow
from moto.iam.access_control import AssumedRoleAccessKey, IAMPolicy, IAMRequestBase, PermissionResult
from moto.server import DomainDispatcherApplication, create_backend_app
from moto.sts.models import STSBackend
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


def may_be_taken_on():
    """A role that the user may take on, if it says the word; its policy allows everything, so what is refused is by a session policy."""
    iam = get_backend("iam")[ACCOUNT]["aws"]
    whose = {"AWS": f"arn:aws:iam::{ACCOUNT}:user/agent"}
    said = {"StringEquals": {"sts:ExternalId": "the-word"}}
    statement = {"Effect": "Allow", "Principal": whose, "Action": "sts:AssumeRole", "Condition": said}
    iam.create_role("agents", json.dumps({"Version": "2012-10-17", "Statement": [statement]}), "/", "", "", {}, 3600)
    iam.put_role_policy("agents", "everything", EVERYTHING)


def noting(assume):
    def noted(self, *given, **named):
        role = assume(self, *given, **named)
        told = {
            "role": role.role_arn,
            "session": role.session_name,
            "policy": role.policy,
            "external_id": role.external_id,
            "seconds": round((role.expiration - utcnow()).total_seconds()),
            "keys": [role.access_key_id, role.secret_access_key, role.session_token],
        }
        with open(os.path.expanduser("~/sts.jsonl"), "a") as out:
            out.write(json.dumps(told) + "\n")
        return role

    return noted


def bounding(check):
    def bounded(self, resource):
        check(self, resource)
        if self._action == "sts:GetCallerIdentity" or not isinstance(self._access_key, AssumedRoleAccessKey):
            return
        for role in get_backend("sts")[ACCOUNT]["aws"].assumed_roles:
            if role.access_key_id == self._access_key._access_key_id and role.policy:
                policy = json.loads(role.policy)
                # IAM has no action for a transaction; whoever may do its parts may do it.
                action = self._action.replace("TransactWriteItems", "PutItem")
                if ":s3:::" not in resource:
                    for statement in policy["Statement"]:
                        statement["Resource"] = "*"
                if IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource) != PermissionResult.PERMITTED:
                    self._raise_access_denied()

    return bounded


def main():
    assert settings.INITIAL_NO_AUTH_ACTION_COUNT == 0
    pair = keys()
    function()
    may_be_taken_on()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet, ssl_context=tuple(sys.argv[1:3]))
    given = session()
    STSBackend.assume_role = noting(STSBackend.assume_role)
    IAMRequestBase.check_action_permitted = bounding(IAMRequestBase.check_action_permitted)
    ready = {"port": server.server_port, "id": pair.access_key_id, "key": pair.secret_access_key, "session": given}
    print(json.dumps(ready), flush=True)
    server.serve_forever()


main()
