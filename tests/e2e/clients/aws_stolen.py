"""What somebody who stole the keys of a session could do with them, past the gateway: prints what each try came to.

usage: aws_stolen.py ENDPOINT; the keys come from the environment
"""

import json
import sys
import warnings

import boto3
from botocore.config import Config

warnings.simplefilter("ignore")
OPTIONS = {"region_name": "us-east-1", "endpoint_url": sys.argv[1], "verify": False, "config": Config(retries={"max_attempts": 1})}
TRIES = {
    "whoami": lambda: boto3.client("sts", **OPTIONS).get_caller_identity()["Arn"],
    "allowed": lambda: bool(boto3.client("sqs", **OPTIONS).create_queue(QueueName="jobs")["QueueUrl"]),
    "denied": lambda: boto3.client("dynamodb", **OPTIONS).list_tables()["TableNames"],
    "escalates": lambda: boto3.client("iam", **OPTIONS).create_user(UserName="eve")["User"]["Arn"],
}
out = {}
for name, step in TRIES.items():
    try:
        out[name] = step()
    except Exception as error:
        out[name] = f"{type(error).__name__}: {error}"
print(json.dumps(out))
